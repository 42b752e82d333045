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
ABOVE = ('', 'run', 'session')  # '' is the package itself, with `load`
# what environments are and how they step, and the only files below it that make environments, so need to know of it:
# the package's tasks are registered where gymnasium is asked for one, and whatever can step in machine code does
ENVIRONMENTS = ('envs', 'native')
MAKERS = ('common.cmd_util', 'common.learning')
# what imports a module of a name that is not in its text: an algorithm's, and that of a user's environments
NAMED_BY_USERS = ('run', 'session.tasks')


# ---------------------------------------------------------------- names

def added_names(folder, upstream, notes):
    """'file: name' of what mirrored files define, upstream does not, and no row of UPSTREAM.md allows."""
    package, faults = Package(folder), []
    for file in sorted(package.files() & set(upstream)):
        allowed = {**notes.get(EVERY_FILE, {}), **notes.get(file, {})}
        patterns = [name for name, note in allowed.items() if note.change == 'added']
        for name in package.names(file):
            owner, _, last = name.rpartition('.')
            names = [name, *(o for o in owners(name) if o not in upstream[file])]  # what a new class has shares its row
            is_named = f'`{last}`' in getattr(allowed.get(owner), 'why', '')  # as attributes are, in their class's row
            if name not in upstream[file] and not is_named and not any(
                    fnmatch.fnmatchcase(n, p) for n in names for p in patterns):
                faults.append(f'{file}: {name}')
    return faults


def owners(name):
    """The classes that a name is in.

    >>> owners('A.B.c')
    ['A', 'A.B']
    """
    parts = name.split('.')
    return ['.'.join(parts[:k]) for k in range(1, len(parts))]


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
    functions, under TYPE_CHECKING, by `import_module` or `__import__`, and by attributes of a package or module that it
    imports. Of a name that is put together, what it begins with counts, or '?' where that is nothing."""
    known, package = modules(folder), pathlib.Path(folder).name
    graph = {}
    for module, path in known.items():
        here = [package, *filter(None, module.split('.'))]
        here = here if path.name == '__init__.py' else here[:-1]
        nodes = list(ast.walk(ast.parse(path.read_text(encoding='utf-8'))))
        parts = {node.value for node in nodes if isinstance(node, ast.Attribute)}  # o.a in o.a.b
        bindings = [binding for node in nodes for binding in _bindings(node, here)]
        names = [name for _, name in bindings if name != package]
        names += [name for node in nodes for name in _called(node, here, bindings)]
        names += [name for node in set(nodes) - parts for name in _used(node, bindings)]
        targets = set()
        for name in names:
            first, _, rest = name.partition('.')
            while rest and rest not in known:
                rest = rest.rpartition('.')[0]
            targets.add(rest if first == package else first if first == '?' else f'/{first}')
        graph[module] = targets - {module}
    return graph


def _bindings(node, here):
    """(name here, module or what is in it) of what an import statement in the package `here` binds."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            first = alias.name.partition('.')[0]
            yield from [(alias.asname, alias.name)] if alias.asname else [('', alias.name), (first, first)]
    elif isinstance(node, ast.ImportFrom):
        base = _absolute('.' * node.level + (node.module or ''), here)
        yield from ((alias.asname or alias.name, f'{base}.{alias.name}') for alias in node.names)


def _used(node, bindings):
    """What an attribute is of a name that an import binds, with all attributes of attributes."""
    if isinstance(node, ast.Attribute):
        first, _, rest = ast.unparse(node).partition('.')
        yield from (f'{name}.{rest}' for bound, name in bindings if bound == first)


def _absolute(name, here):
    """The whole name of a relative one."""
    level = len(name) - len(name.lstrip('.'))
    return '.'.join([*here[:len(here) - level + 1], *filter(None, [name[level:]])]) if level else name


def _called(node, here, bindings):
    """The module that a call imports, as far as its text says."""
    if not isinstance(node, ast.Call):
        return
    function = ast.unparse(node.func).rpartition('.')[2]
    if dict(bindings).get(function, function).rpartition('.')[2] in ('import_module', '__import__'):
        argument = [*node.args, *(keyword.value for keyword in node.keywords)][0]
        start = argument.values[0] if isinstance(argument, ast.JoinedStr) else argument
        yield _absolute(start.value, here) if isinstance(getattr(start, 'value', None), str) else '?'


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
                    or (target == '?' and module not in NAMED_BY_USERS)
                    or (other in ENVIRONMENTS and part not in (*ABOVE, *ENVIRONMENTS) and module not in MAKERS)
                    or (other == 'native' and part == 'envs')
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
    attribute: Any = [k for k in 'ab']
    def __init__(self): self.x = 1
    def m(self): pass
'''


def test_an_added_name_is_found(package):
    upstream = {'a.py': ['LIMIT', 'f', 'C', 'C.attribute', 'C.__init__', 'C.m']}
    assert added_names(package({'a.py': MIRROR, 'ours.py': 'def g(): pass'}), upstream, {}) == []
    more = MIRROR + '    def _n(self): pass\ndef _g(): pass\nX, _Y = 1, 2\nclass New:\n    def m(self): pass\n'
    folder = package({'a.py': more})
    assert added_names(folder, upstream, {}) == [f'a.py: {name}' for name in ('C._n', '_g', 'X', '_Y', 'New', 'New.m')]


BOUND = {
    'for k, v in {}.items(): inner = 1': ['k', 'v', 'inner'],
    'with open("a") as (h, g): pass': ['h', 'g'],
    'while n := 1: w = 2': ['n', 'w'],
    'match LIMIT:\n    case [a, *b]: pass\n    case {"k": c, **d}: e = 1': ['a', 'b', 'c', 'd', 'e'],
    'match LIMIT:\n    case int() as i: pass': ['i'],
    '[last := k for k in "ab"]': ['last'],
    'print(h := 1)': ['h'],
    'def f(x=(default := 1)): pass': ['default'],
    'x += 1': ['x'],
    'try: t = 1\nfinally: u = 2': ['t', 'u'],
    'async def co(): pass': ['co'],
}


@pytest.mark.parametrize('text', BOUND)
@pytest.mark.parametrize('in_class', [False, True])
def test_names_are_found_however_they_are_bound(text, in_class, package):
    names = [f'C.{name}' for name in BOUND[text]] if in_class else BOUND[text]
    if in_class:
        text = 'class C:\n' + '\n'.join(f'    {line}' for line in text.split('\n'))
    assert added_names(package({'a.py': text}), {'a.py': ['C', 'C.f', 'f']}, {}) == [f'a.py: {name}' for name in names]


def test_attributes_and_classes_inside_classes_are_found(package):
    text = ('class C:\n    first = 1\n    second: int\n    class In:\n        third = 3\n        def m(self): pass\n'
            '    def m(self): self.free = 1\n    fourth = 4\n')
    upstream = {'a.py': ['C', 'C.m']}
    folder = package({'a.py': text})
    new = ['C.first', 'C.second', 'C.In', 'C.In.third', 'C.In.m', 'C.fourth']
    assert added_names(folder, upstream, {}) == [f'a.py: {name}' for name in new]
    notes, _ = read_notes('### a.py\n| `C` | behaviour | `first` and `fourth`. |\n| `C.In` | added | Why. |\n')
    assert added_names(folder, upstream, notes) == ['a.py: C.second']


def test_an_added_name_may_be_allowed(package):
    folder = package({'a.py': MIRROR + 'def g(): pass\nclass New:\n    def m(self): pass\n',
                      'b.py': 'class C:\n    def state(self): pass'})
    upstream = {'a.py': ['LIMIT', 'f', 'C', 'C.attribute', 'C.__init__', 'C.m'], 'b.py': ['C']}
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
    'import importlib\nimportlib.import_module("onpolicybaselines.common.a")',
    'from importlib import import_module as get\nget(name="onpolicybaselines.common.a")',
    'from importlib import import_module\ndef f(): import_module(".a", __package__)',
    '__import__("onpolicybaselines.common.a")',
    'import onpolicybaselines as o\ndef f(): return o.common.a.x',
    'import onpolicybaselines.logger\nonpolicybaselines.common.a.x()',
    'from onpolicybaselines import common as c\nc.a.x',
    'from .. import common\nclass C(common.a.x): pass',
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
    ('common/c.py', 'import importlib as i\ni.import_module("onpolicybaselines.a2c.a2c")', 'common.c -> a2c.a2c'),
    ('common/c.py', 'import importlib\nimportlib.import_module(f"onpolicybaselines.a2c.{x}")', 'common.c -> a2c'),
    ('common/c.py', '__import__("run.experiment")', 'common.c -> /run'),
    ('common/c.py', 'import onpolicybaselines as o\no.a2c.a2c.learn()', 'common.c -> a2c.a2c'),
    ('common/c.py', 'import importlib\nimportlib.import_module(name)', 'common.c -> ?'),
    ('common/c.py', 'from onpolicybaselines.native import step', 'common.c -> native'),
    ('common/c.py', 'import onpolicybaselines.envs', 'common.c -> envs'),
    ('a2c/utils.py', 'from onpolicybaselines import envs', 'a2c.utils -> envs'),
    ('envs/__init__.py', 'from onpolicybaselines import native', 'envs -> native'),
]


@pytest.mark.parametrize('module, text, fault', ARROWS, ids=[fault for *_, fault in ARROWS])
def test_an_arrow_that_goes_the_wrong_way_is_found(module, text, fault, package):
    folder = package({
        **dict.fromkeys(['__init__.py', 'a2c/__init__.py', 'acktr/__init__.py', 'common/__init__.py', 'logger.py',
                         'session/__init__.py', 'a2c/utils.py', 'a2c/runner.py', 'acktr/kfac.py', 'envs/__init__.py'],
                        ''),
        'native/__init__.py': 'from onpolicybaselines.envs import TASKS\nfrom onpolicybaselines.common import c',
        'common/cmd_util.py': 'import onpolicybaselines.envs\nfrom onpolicybaselines.native import step',
        'session/tasks.py': 'from importlib import import_module\ndef f(name): import_module(name)',
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
