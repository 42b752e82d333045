"""What holds the house up: mirrored files have upstream's names in upstream's order, and imports go one way.

`tests/upstream_names.json` has upstream's names (`python -m run.diff <checkouts> --names tests/upstream_names.json`).
What a mirrored file has more is allowed by a row `added` in UPSTREAM.md, which also says why.
"""
import ast
import fnmatch
import json
import pathlib
import re

import pytest

from run.diff.notes import EVERY_FILE, read_notes
from run.diff.packages import Package
from run.diff.sequences import in_order

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = 'onpolicybaselines'
UPSTREAM_NAMES = json.loads((ROOT / 'tests/upstream_names.json').read_text(encoding='utf-8'))

# names that cannot come in upstream's order: (file, name): reason
OUT_OF_ORDER: dict[tuple[str, str], str] = {}
# of algorithms, what others may import: upstream's arrows
SHARED = ('a2c.utils', 'a2c.runner')
# what stands above the algorithms
ABOVE = ('run', 'session')


# ---------------------------------------------------------------- names

def added_names(folder, upstream, notes):
    """'file: name' of what mirrored files define, upstream does not, and no row of UPSTREAM.md allows."""
    package, faults = Package(folder), []
    for file in sorted(package.files() & set(upstream)):
        allowed = {**notes.get(EVERY_FILE, {}), **notes.get(file, {})}
        patterns = [name for name, note in allowed.items() if note.change == 'added']
        for name in package.names(file):
            owner = name.partition('.')[0]
            names = (name, owner) if owner not in upstream[file] else (name,)  # methods of a new class share its row
            if name not in upstream[file] and not any(fnmatch.fnmatchcase(n, p) for n in names for p in patterns):
                faults.append(f'{file}: {name}')
    return faults


def names_out_of_order(folder, upstream, allowed=()):
    """'file: name' of names that come elsewhere among upstream's names than they do upstream."""
    package, faults = Package(folder), []
    for file in sorted(package.files() & set(upstream)):
        names = [name for name in package.names(file) if name in upstream[file] and (file, name) not in allowed]
        kept = set(in_order(names, upstream[file]))
        faults += [f'{file}: {name}' for name in names if name not in kept]
    return faults


def test_mirrored_files_have_no_names_that_upstream_lacks():
    notes, errors = read_notes((ROOT / 'UPSTREAM.md').read_text(encoding='utf-8'))
    assert errors == []
    assert added_names(ROOT / PACKAGE, UPSTREAM_NAMES, notes) == []


def test_allowed_names_are_there_and_have_a_reason():
    notes, _ = read_notes((ROOT / 'UPSTREAM.md').read_text(encoding='utf-8'))
    package = Package(ROOT / PACKAGE)
    for file, rows in notes.items():
        for name, note in rows.items():
            if note.change == 'added' and file != EVERY_FILE:
                assert name in package.names(file) and name not in UPSTREAM_NAMES[file] and note.why, (file, name)
    assert all((file in package.files() and reason) for (file, _), reason in OUT_OF_ORDER.items())


def test_names_come_in_the_order_of_upstream():
    assert names_out_of_order(ROOT / PACKAGE, UPSTREAM_NAMES, OUT_OF_ORDER) == []


# ---------------------------------------------------------------- imports

def modules(folder):
    """{module without the package's name: its file}; that of a folder is the folder's name, '' the package."""
    found = {}
    for path in sorted(pathlib.Path(folder).rglob('*.py')):
        parts = path.relative_to(folder).with_suffix('').parts
        found['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
    return found


def imports(folder):
    """{module: {module of the package, or '/name' of another one, that it imports}}, everywhere in its file: inside
    functions and under TYPE_CHECKING, too; names of modules given to `import_module` are not seen."""
    known, package = modules(folder), pathlib.Path(folder).name
    graph = {}
    for module, path in known.items():
        targets = set()
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ''
                if node.level:
                    parts = [package, *filter(None, module.split('.'))]
                    here = parts if path.name == '__init__.py' else parts[:-1]
                    base = '.'.join([*here[:len(here) - node.level + 1], *filter(None, [node.module])])
                names = [f'{base}.{alias.name}' for alias in node.names]
            else:
                continue
            for name in names:
                first, _, rest = name.partition('.')
                if first == package:
                    targets.add(rest if rest in known else rest.rpartition('.')[0])
                else:
                    targets.add(f'/{first}')
        graph[module] = targets - {module}
    return graph


def circles(graph):
    """Lists of modules that import each other, directly or not."""
    def reached(start):
        seen, todo = set(), [start]
        while todo:
            new = graph.get(todo.pop(), set()) - seen
            seen |= new
            todo += new
        return seen
    reach = {module: reached(module) for module in graph}
    return sorted({tuple(sorted(other for other in reach[module] if module in reach.get(other, ())))
                   for module in graph if module in reach[module]})


def algorithms_of(graph):
    """Folders with a module of their own name, such as a2c with a2c/a2c.py."""
    return {first for first, _, rest in (module.partition('.') for module in graph) if first and first == rest}


def wrong_arrows(graph):
    """'module -> module' of imports that go the wrong way."""
    algorithms = algorithms_of(graph)
    faults = []
    for module, targets in graph.items():
        part = module.partition('.')[0]
        for target in sorted(targets):
            other = target.partition('.')[0]
            if (target == '/run'
                    or (other in ABOVE and part not in ABOVE)
                    or (other in algorithms and part not in (*ABOVE, other) and target not in SHARED)):
                faults.append(f'{module} -> {target}')
    return sorted(faults)


def test_imports_form_no_circle():
    assert circles(imports(ROOT / PACKAGE)) == []


def test_imports_go_one_way():
    assert wrong_arrows(imports(ROOT / PACKAGE)) == []


def known_to_distributions(folder):
    """Algorithms that distributions.py imports, at any remove, or names; upstream's own arrow to a2c.utils, which has
    layers, is none."""
    graph = imports(folder)
    algorithms = algorithms_of(graph)
    seen, todo = set(), ['common.distributions']
    while todo:
        new = graph.get(todo.pop(), set()) - seen
        seen |= new
        todo += new
    text = (folder / 'common/distributions.py').read_text(encoding='utf-8')
    named = {word for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.Name, ast.Attribute))
             for word in re.split(r'\W+', ast.unparse(node))}
    return ({target for target in seen if target.partition('.')[0] in algorithms} - {'a2c.utils'}
            | named & (algorithms | {'kfac', 'trpo', 'ppo'}))


def test_distributions_know_no_algorithm():
    assert known_to_distributions(ROOT / PACKAGE) == set()


# ---------------------------------------------------------------- each rule can fail

@pytest.fixture
def package(tmp_path):
    """A function that writes files into a package of the name of ours, and returns its folder."""
    def write(files):
        for name, text in files.items():
            path = tmp_path / PACKAGE / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / PACKAGE
    return write


MIRROR = '''
import os
from typing import Any
try:
    from mpi4py import MPI
except ImportError:
    MPI = None
LIMIT = 1
def f():
    inner = 1
class C:
    attribute: Any = 1
    def __init__(self): self.x = 1
    def m(self): pass
'''


def test_an_added_name_is_found(package):
    upstream = {'a.py': ['LIMIT', 'f', 'C', 'C.__init__', 'C.m']}
    assert added_names(package({'a.py': MIRROR, 'ours.py': 'def g(): pass'}), upstream, {}) == []
    more = MIRROR + '    def _n(self): pass\ndef _g(): pass\nX, _Y = 1, 2\nclass New:\n    def m(self): pass\n'
    folder = package({'a.py': more})
    assert added_names(folder, upstream, {}) == [f'a.py: {name}' for name in ('C._n', '_g', 'X', '_Y', 'New', 'New.m')]


def test_an_added_name_may_be_allowed(package):
    folder = package({'a.py': MIRROR + 'def g(): pass\nclass New:\n    def m(self): pass\n',
                      'b.py': 'class C:\n    def state(self): pass'})
    upstream = {'a.py': ['LIMIT', 'f', 'C', 'C.__init__', 'C.m'], 'b.py': ['C']}
    notes, _ = read_notes('### every file\n| `*.state` | added | Why. |\n### a.py\n| `New` | added | Why. |\n'
                          '| `g` | changed | Why. |\n')
    assert added_names(folder, upstream, {}) == ['a.py: g', 'a.py: New', 'a.py: New.m', 'b.py: C.state']
    assert added_names(folder, upstream, notes) == ['a.py: g']


def test_a_name_out_of_order_is_found(package):
    folder = package({'a.py': 'def f(): pass\ndef new(): pass\ndef h(): pass\ndef g(): pass\ndef i(): pass\n'})
    assert names_out_of_order(folder, {'a.py': ['f', 'g', 'gone', 'h', 'i']}) == ['a.py: g']
    assert names_out_of_order(folder, {'a.py': ['f', 'g', 'h', 'i']}, {('a.py', 'g')}) == []
    assert names_out_of_order(folder, {'a.py': ['f', 'h', 'g', 'i']}) == []


def test_a_method_out_of_order_is_found(package):
    folder = package({'a.py': 'class C:\n    def b(self): pass\n    def a(self): pass\nclass D:\n    def a(self): 1'})
    assert names_out_of_order(folder, {'a.py': ['C', 'C.a', 'C.b', 'D', 'D.a']}) == ['a.py: C.a']


CIRCLES = [
    'from onpolicybaselines.common import a',
    'import onpolicybaselines.common.a',
    'from . import a',
    'from .a import x',
    'from ..common.a import x',
    'def f():\n    from onpolicybaselines.common.a import x',
    'from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from onpolicybaselines.common.a import x',
]


@pytest.mark.parametrize('back', CIRCLES, ids=range(len(CIRCLES)))
def test_a_circle_is_found(back, package):
    folder = package({'__init__.py': '', 'common/__init__.py': '', 'common/c.py': 'import os',
                      'common/a.py': 'from onpolicybaselines.common.b import f\nx = 1',
                      'common/b.py': 'import onpolicybaselines.common.c\nfrom onpolicybaselines.common.c import *'})
    assert circles(imports(folder)) == []
    package({'common/c.py': back})
    assert circles(imports(folder)) == [('common.a', 'common.b', 'common.c')]


ARROWS = [
    ('common/c.py', 'from onpolicybaselines.acktr import kfac', 'common.c -> acktr.kfac'),
    ('common/c.py', 'def f():\n    from onpolicybaselines.a2c.a2c import learn', 'common.c -> a2c.a2c'),
    ('common/c.py', 'import onpolicybaselines.a2c', 'common.c -> a2c'),
    ('acktr/kfac.py', 'from onpolicybaselines.a2c.a2c import learn', 'acktr.kfac -> a2c.a2c'),
    ('a2c/utils.py', 'from onpolicybaselines.acktr.kfac import x', 'a2c.utils -> acktr.kfac'),
    ('acktr/kfac.py', 'from onpolicybaselines.run import main', 'acktr.kfac -> run'),
    ('common/c.py', 'from onpolicybaselines.session.play import play', 'common.c -> session.play'),
    ('logger.py', 'import run.experiment', 'logger -> /run'),
    ('session/play.py', 'from run import jobs', 'session.play -> /run'),
]


@pytest.mark.parametrize('module, text, fault', ARROWS, ids=[fault for *_, fault in ARROWS])
def test_an_arrow_that_goes_the_wrong_way_is_found(module, text, fault, package):
    folder = package({
        **dict.fromkeys(['__init__.py', 'a2c/__init__.py', 'acktr/__init__.py', 'common/__init__.py', 'logger.py',
                         'session/__init__.py', 'a2c/utils.py', 'a2c/runner.py', 'acktr/kfac.py'], ''),
        'a2c/a2c.py': 'from onpolicybaselines.common import c',
        'acktr/acktr.py': 'from onpolicybaselines.a2c.runner import Runner',
        'common/c.py': 'from onpolicybaselines.a2c.utils import fc',
        'session/play.py': 'from onpolicybaselines.common import c',
        'run.py': 'from onpolicybaselines.a2c import a2c\nfrom onpolicybaselines.session import play'})
    assert wrong_arrows(imports(folder)) == []
    package({module: text})
    assert wrong_arrows(imports(folder)) == [fault]


@pytest.mark.parametrize('files, known', [
    ({'common/distributions.py': 'def f(): return 1'}, set()),
    ({'common/b.py': 'from onpolicybaselines.a2c.utils import fc'}, set()),
    ({'common/b.py': 'from onpolicybaselines.acktr.acktr import learn'}, {'acktr.acktr'}),
    ({'common/distributions.py': 'def f(alg): return alg.kfac'}, {'kfac'}),
], ids=['nothing', 'layers', 'imported at a remove', 'named'])
def test_an_algorithm_known_to_distributions_is_found(files, known, package):
    folder = package({**dict.fromkeys(['__init__.py', 'a2c/__init__.py', 'acktr/__init__.py', 'common/__init__.py',
                                       'a2c/a2c.py', 'a2c/utils.py', 'acktr/acktr.py'], ''),
                      'common/distributions.py': 'from onpolicybaselines.common.b import g', 'common/b.py': 'g = 1',
                      **files})
    assert known_to_distributions(folder) == known
