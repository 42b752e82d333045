"""What became of a made-up upstream, its pages and tables; and what can be said of UPSTREAM.md without a checkout."""
import ast
import itertools
import json
import pathlib
import re
from html.parser import HTMLParser

import pytest

from run.diff import comparison, packages
from run.diff.__main__ import main, read_site
from run.diff.alignment import Text, align, gains
from run.diff.code import Side, code_table
from run.diff.notes import EVERY_FILE, read_notes
from run.diff.sections import Section, statements
from run.diff.sequences import equal_pairs, in_order
from run.diff.tables import LEGEND

ROOT = pathlib.Path(__file__).parents[1]

UPSTREAM = '''\
import numpy as np
from baselines.common.shapes import Shape
try:
    from mpi4py import MPI
except ImportError:
    MPI = None

LIMIT = 10
A, B = 1, 2

def kept(x, name="a<b", *, scale=1e-8):
    """<script>alert('x')</script> & more"""
    return x & scale

def changed(x, y=1):
    return x + y

def dropped(x):
    return x

def moved(x):
    return x

def outside(x, y):
    first = x * x + y * y + 2 * x * y
    second = abs(first - x) + abs(y - first)
    return first / second

class Kept(Shape):
    def __init__(self, size):
        self.size = size
    @property
    def area(self):
        return self.size ** 2
    def draw(self, pen):
        return pen
    def hide(self):
        pass
    def _private(self):
        pass

class Gone(object):
    def method(self):
        pass

def _private():
    pass

def test_kept():
    assert kept(1)

if __name__ == '__main__':
    option = 1
'''

OURS = '''\
"""A file of the same name."""
import numpy as np

from onpolicybaselines.common.base import Base
from onpolicybaselines.common.other import moved

__all__ = ['moved']
LIMIT: int = 11
A, B = 1, 2


def kept(x: np.ndarray, name: str = 'a<b', *, scale: float = 1e-08) -> np.ndarray:
    """Fresh text."""
    print(name)
    return x & scale


def changed(x: int, y: int = 2) -> int:
    return x + y


class Kept(Base):
    def __init__(self, size: int):
        self.size = size

    @property
    def area(self) -> int:
        return self.size ** 2


def added() -> None:
    pass


def inside(x: int, y: int) -> int:
    """Fresh text."""
    first = x * x + y * y + 2 * x * y
    second = abs(first - x) + abs(y - first)
    return first / second
'''

BASE = '''\
class Base:
    def draw(self, pen: str) -> str:
        return pen
'''

NOTES = '''\
# Deviations

Structure: [0123abc](https://github.com/openai/baselines/tree/0123abc).

### every file

| name | change | why |
|---|---|---|
| `import` | behaviour | New libraries. |
| `__al*` | added | Names to hand on. |

### common/shapes.py

| name | change | why |
|---|---|---|
| `changed` | changed | A *better* `y` \\| two. |
| `dropped`, `Kept.hide`, `Kept._private`, `_private` | dropped | No use. |
| `Gone` | dropped | Neither. |
| `kept` | behaviour | Does <more>. |
| `LIMIT` | behaviour | One more. |
| `Kept` | behaviour | Another base. |
| `added` | added | Because. |
| `outside` | dropped | It is `inside`. |
| `inside` | added | It was `outside`. |
| `*` | behaviour | No option. |

## Afterwards

| `no` | row | here |
'''


@pytest.fixture
def trees(tmp_path):
    """(checkout of upstream, root of ours), with one mirrored file, one each that only one side has, and tests."""
    files = {
        'checkout/baselines/common/shapes.py': UPSTREAM,
        'checkout/baselines/common/only_theirs.py': 'def f(): pass\n',
        'checkout/baselines/common/test_shapes.py': 'def f(): pass\n',
        'checkout/baselines/common/tests/util.py': 'def f(): pass\n',
        'ours/onpolicybaselines/common/shapes.py': OURS,
        'ours/onpolicybaselines/common/base.py': BASE,
        'ours/onpolicybaselines/common/other.py': 'def moved(x: int) -> int:\n    return x\n',
        'ours/onpolicybaselines/common/test_shapes.py': 'def f(): pass\n',
        'ours/onpolicybaselines/common/tests/util.py': 'def f(): pass\n',
        'ours/UPSTREAM.md': NOTES,
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')
    return tmp_path / 'checkout', tmp_path / 'ours'


def run(trees, tmp_path, *more):
    return main([str(trees[0]), '--out', str(tmp_path / 'out'), *more], root=trees[1])


def edit(root, old, new):
    path = root / 'UPSTREAM.md'
    text = path.read_text(encoding='utf-8')
    assert old in text
    path.write_text(text.replace(old, new), encoding='utf-8')


class Cells(HTMLParser):
    """The cells of all tables: (class, text, texts of the spans marked as different, and as annotations), in `rows`;
    and all links, ids and summaries."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.links, self.summaries, self.ids = [], [], [], []
        self.open = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag in ('tr', 'td', 'th'):  # ends the cell before
            self.open = [(name, css) for name, css in self.open if name not in ('td', 'th')]
        self.open.append((tag, attrs.get('class', '')))
        if tag == 'tr': self.rows.append([])
        if tag == 'td': self.rows[-1].append([attrs.get('class', ''), '', [], []])
        if tag == 'summary': self.summaries.append('')
        if 'id' in attrs: self.ids.append(attrs['id'])
        if tag == 'a' and 'href' in attrs: self.links.append(attrs['href'])

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        tags = [tag for tag, _ in self.open]
        if 'td' in tags and self.rows:
            cell = self.rows[-1][-1]
            cell[1] += data
            if 'differs' in self.open[-1][1].split():
                cell[2].append(data)
            if 'note' in self.open[-1][1].split():
                cell[3].append(data)
        elif 'summary' in tags:
            self.summaries[-1] += data


def code_table_of(*codes):
    """The table of two whole sources, each as one section."""
    stated = [tuple(statements(ast.parse(code).body)) for code in codes]
    pairs = equal_pairs(*([statement.text for statement in some] for some in stated))
    whole = [Section('*', 'code', (), 0, range(len(code.split('\n'))), (), some)
             for code, some in zip(codes, stated, strict=True)]
    return code_table(*(Side(Text(code), section, [pair[k] for pair in pairs], {}, lambda line: str(line + 1), str)
                        for k, (code, section) in enumerate(zip(codes, whole, strict=True))))


def code_rows(left, right):
    """Rows of (left number, left cell, right number, right cell)."""
    return Cells(code_table_of(left, right)).rows


def texts(rows):
    return [(left[1], right[1]) for _, left, _, right in rows]


def compare(tmp_path, theirs, ours, notes='', file='a.py', **more):
    """Comparison of a.py in packages of one file, or more, each."""
    for package, code in (('baselines', theirs), ('onpolicybaselines', ours)):
        (tmp_path / package).mkdir(exist_ok=True)
        (tmp_path / package / 'a.py').write_text(code)
    (tmp_path / 'onpolicybaselines' / 'other.py').write_text('def g(x): pass')
    for name, code in more.items():
        (tmp_path / 'onpolicybaselines' / f'{name}.py').write_text(code)
    upstream = {'a.py': packages.Package(tmp_path / 'baselines')}
    rows = read_notes(f'### a.py\n{notes}')[0]
    return comparison.compare(upstream, packages.Package(tmp_path / 'onpolicybaselines'), rows)[0]['a.py']


def statuses(found):
    return {item.name: item.status for item in found.items}


# ---------------------------------------------------------------- names

def test_items_of_every_status(trees):
    site, errors = read_site([trees[0]], trees[1])
    assert errors == []
    found = site.comparisons['common/shapes.py']
    assert statuses(found) == {
        'import': 'behaviour', '__all__': 'added', 'LIMIT': 'behaviour', 'A': 'same', 'kept': 'behaviour',
        'changed': 'changed', 'dropped': 'dropped', 'moved': 'same', 'outside': 'dropped', 'Kept': 'behaviour',
        'Kept.__init__': 'same', 'Kept.area': 'same', 'Kept.draw': 'same', 'Kept.hide': 'dropped',
        'Kept._private': 'dropped', 'Gone': 'dropped', 'Gone.method': 'dropped', 'added': 'added', 'inside': 'added',
        '_private': 'dropped', 'test_kept': 'dropped', '*': 'behaviour'}
    why = {item.name: item.note.why for item in found.items if item.note}
    assert why['changed'] == 'A *better* `y` | two.' and why['Kept.hide'] == 'No use.'
    assert why['Gone.method'] == 'Neither.'
    assert why['import'] == 'New libraries.' and why['__all__'] == 'Names to hand on.'
    assert found.unexplained == []


def test_figures(trees):
    figures = read_site([trees[0]], trees[1])[0].comparisons['common/shapes.py'].figures
    assert figures._asdict() == {'names': 17, 'in_place': 8, 'in_order': 8, 'statements': 37, 'kept': 10, 'moved': 7,
                                 'explained': 16, 'unexplained': 0}


SIGNATURES = [
    ('def f(x): pass', 'def f(x: int) -> int: pass', 'same'),
    ('def f(x="a"): pass', "def f(x: str | None = 'a'): pass", 'same'),
    ('def f(x=1e-8): pass', 'def f(x=1e-08): pass', 'same'),
    ('def f(x, *, y): pass', 'def f(x, *, y: int): pass', 'same'),
    ('def f(*args, **kwargs): pass', 'def f(*args: int, **kwargs: str): pass', 'same'),
    ('f = 1', 'f: int = 1', 'same'),
    ('def f(x): pass', 'from onpolicybaselines.other import g as f', 'same'),
    ('def f(x): pass', 'from .other import g as f', 'same'),
    ('class f(object): pass', 'class f:\n    """Text."""', 'same'),
    ('def f(x):\n  return "a" "b", (x\n)', "def f(x):\n    # Why.\n    return 'ab', x", 'same'),
    ('def f():\n  y = 1', 'def f():\n    y: int = 1', 'same'),
    ('def f():\n  import baselines.a', 'def f():\n    import onpolicybaselines.a', 'same'),
    ('def f():\n  from baselines import a, b', 'def f():\n    from onpolicybaselines import a\n    '
     'from onpolicybaselines import b', 'same'),
    ('def f(x): pass', '@cache\ndef f(x): pass', 'behaviour'),
    ('f = 1', 'f: int = 2', 'behaviour'),
    ('def f():\n  return 1', 'def f():\n    return 2', 'behaviour'),
    ('def f():\n  return "a"', 'def f():\n    return "A"', 'behaviour'),
    ('def f():\n  if a: pass\n  else: b()', 'def f():\n    if a: b()', 'behaviour'),
    ('def f(x): pass', 'if True:\n    def f(x): pass', 'behaviour'),
    ('def f(x): pass', 'try:\n    import a\nexcept ImportError:\n    def f(x): pass', 'behaviour'),
    ('class f: pass', 'class f(Exception): pass', 'behaviour'),
    ('class f:\n    def __init__(self, x): pass', 'class f:\n    def __init__(this, x: int): pass', 'same'),
    ('class f:\n    def __init__(self, x): pass',
     'class g:\n    def __init__(self, x): pass\nclass f(g): pass', 'behaviour'),
    ('def f(x): pass', 'def f(y): pass', 'changed'),
    ('def f(x, y): pass', 'def f(y, x): pass', 'changed'),
    ('def f(x, y): pass', 'def f(x, *, y): pass', 'changed'),
    ('def f(x): pass', 'def f(x, /): pass', 'changed'),
    ('def f(x=1): pass', 'def f(x=2): pass', 'changed'),
    ('def f(x): pass', 'def f(x=None): pass', 'changed'),
    ('def f(x=[]): pass', 'def f(x=()): pass', 'changed'),
    ('def f(x): pass', 'def f(x, **kwargs): pass', 'changed'),
    ('def f(x): pass', 'f = lambda x: x', 'changed'),
    ('def f(x): pass', 'class f:\n    def __init__(self, x): pass', 'changed'),
    ('class f:\n    def __init__(self, x): pass', 'class f(Elsewhere): pass', 'changed'),
    ('def f(x): pass', 'def g(x): pass', 'dropped'),
    ('def f(x): pass', 'from elsewhere import f', 'dropped'),
    ('def f(x): pass', 'def g():\n    def f(x): pass', 'dropped'),
]


@pytest.mark.parametrize('theirs, ours, status', SIGNATURES, ids=range(len(SIGNATURES)))
def test_what_counts_as_a_change(theirs, ours, status, tmp_path):
    assert statuses(compare(tmp_path, theirs, ours))['f'] == status


def test_methods_are_compared_with_static_and_class_methods_in_mind(tmp_path):
    theirs = 'class C:\n    @staticmethod\n    def s(x): pass\n    @classmethod\n    def c(cls, x): pass\n' \
             '    @property\n    def p(self): pass\n    def m(self, x): pass\n'
    ours = 'class C:\n    @staticmethod\n    def s(x: int): pass\n    @classmethod\n    def c(klass, x): pass\n' \
           '    def p(self): pass\n    @staticmethod\n    def m(self, x): pass\n'
    assert statuses(compare(tmp_path, theirs, ours)) == {'C': 'same', 'C.s': 'same', 'C.c': 'behaviour',
                                                         'C.p': 'changed', 'C.m': 'changed'}


# ---------------------------------------------------------------- moved code

LONG = 'def {}(x):\n    first = x * x + 2 * x\n    second = abs(first - x) + 1\n    return sorted([first, second])\n'


def test_a_function_that_moved_is_beside_what_it_became(tmp_path):
    ours = 'from onpolicybaselines.rooms import f\ndef _g(x):\n' + LONG.format('_g').split('\n', 1)[1]
    found = compare(tmp_path, LONG.format('f') + LONG.format('h').replace('sorted', 'list'), ours,
                    rooms=LONG.format('f') + LONG.format('k').replace('sorted', 'list'))
    items = {item.name: item for item in found.items}
    where = {name: (item.is_moved, item.status, item.file, item.right.name, len(item.moved[0]))
             for name, item in items.items() if item.left}
    assert where == {'f': (True, 'same', 'rooms.py', 'f', 4), 'h': (True, 'dropped', 'rooms.py', 'k', 3)}
    assert items['_g'].status == 'added'
    assert found.figures.moved == 7 and found.figures.kept == 0


def test_inherited_methods_moved(tmp_path):
    theirs = 'class C:\n    def m(self, x):\n        return x\n    def n(self):\n        pass\n'
    ours = 'from .base import B\nclass C(B):\n    def n(self):\n        pass\n'
    found = compare(tmp_path, theirs, ours, base='class B:\n    def m(self, x: int):\n        return x\n')
    item = {item.name: item for item in found.items}['C.m']
    assert (item.is_moved, item.status, item.file, item.right.name) == (True, 'same', 'base.py', 'B.m')


STEPS = ('    first = np.zeros(horizon, float)\n    second = np.ones(horizon, int)\n'
         '    third = first + second * horizon\n')


def test_statements_that_moved_say_where(tmp_path):
    theirs = f'def f(horizon):\n{STEPS}    return third\ndef g(x):\n    return x\n'
    ours = f'def f(horizon):\n    return call(horizon)\ndef g(x):\n    return x\ndef call(horizon):\n{STEPS}'
    items = {item.name: item for item in compare(tmp_path, theirs, ours).items}
    assert items['f'].moved[0] == {k: ('a.py', k + 4) for k in (1, 2, 3)}
    assert items['call'].moved[1] == {k: ('a.py', k) for k in (1, 2, 3)}
    assert len(items['f'].kept) == 1  # its header


def test_statements_that_moved_to_another_file_are_found_if_there_are_enough_of_them(tmp_path):
    theirs = f'def f(horizon):\n{STEPS}    return third\n'
    ours = 'def f(horizon):\n    return call(horizon)\n'
    item = compare(tmp_path, theirs, ours, rooms=f'def other(x):\n    x()\ndef call(horizon):\n{STEPS}').items[0]
    assert item.moved[0] == {k: ('rooms.py', k + 2) for k in (1, 2, 3)}
    few = '    second = np.ones(horizon, int)\n'
    assert compare(tmp_path, theirs, ours, rooms=f'def call(horizon):\n{few}').items[0].moved[0] == {}


def test_names_in_place_and_in_order(tmp_path):
    theirs = 'def a(): pass\ndef b(): pass\ndef c(): pass\ndef d(): pass\n'
    ours = 'from .other import g as d\ndef b(): pass\ndef new(): pass\ndef c(): pass\ndef a(): pass\n'
    figures = compare(tmp_path, theirs, ours).figures
    assert (figures.names, figures.in_place, figures.in_order) == (4, 3, 2)


@pytest.mark.parametrize('names, reference, most', [
    ('abc', 'abc', 'abc'), ('cab', 'abc', 'ab'), ('', 'abc', ''), ('dbca', 'abcd', 'bc'), ('ac', 'abc', 'ac')])
def test_in_order(names, reference, most):
    assert ''.join(in_order(names, reference)) == most


# ---------------------------------------------------------------- reasons

TWO = 'class C:\n    def m(self):\n        return {0}\n    def n(self):\n        return {0}\n'


@pytest.mark.parametrize('rows, explained', [
    ('', []),
    ('| `C` | behaviour | Why. |', ['C.m', 'C.n']),
    ('| `C.m` | behaviour | Why. |', ['C.m']),
    ('| `C.m`, `C.n` | behaviour | Why. |', ['C.m', 'C.n']),
    ('| `C` | behaviour | Why. |\n| `C.n` | behaviour | Other. |', ['C.m', 'C.n']),
])
def test_the_row_of_a_class_is_that_of_its_methods(rows, explained, tmp_path):
    found = compare(tmp_path, TWO.format(1), TWO.format(2), rows)
    assert [item.name for item in found.items if item.needs_reason and item.note] == explained
    assert [item.name for item in found.unexplained] == [name for name in ('C.m', 'C.n') if name not in explained]
    assert found.errors == []


def test_methods_that_were_added_or_dropped_need_rows_of_their_own(tmp_path):
    theirs = 'class C(A):\n    def gone(self): pass\n'
    ours = 'class C(B):\n    def new(self): pass\nclass D:\n    def m(self): pass\n'
    found = compare(tmp_path, theirs, ours, '| `C` | behaviour | Why. |')
    assert [item.name for item in found.unexplained] == ['C.new', 'C.gone', 'D']
    found = compare(tmp_path, theirs, ours, '| `C` | behaviour | Why. |\n| `C.new`, `D` | added | Why. |\n'
                                            '| `C.gone` | dropped | Why. |')
    assert found.unexplained == [] and found.errors == []


def test_imports_and_code_outside_functions_have_rows(tmp_path):
    theirs, ours = 'import a\nimport b\nregister("a")\n', 'import a\nregister("a")\nregister("b")\n'
    found = compare(tmp_path, theirs, ours)
    assert [item.name for item in found.unexplained] == ['import', '*']
    found = compare(tmp_path, theirs, ours, '| `import`, `*` | behaviour | Why. |')
    assert found.unexplained == [] and found.errors == []


# ---------------------------------------------------------------- command line

def test_complete_notes_exit_0(trees, tmp_path, capsys):
    assert run(trees, tmp_path) == 0
    out, err = capsys.readouterr()
    assert err == '' and out.splitlines()[-1] == 'pages: 3, unexplained changes: 0'


FAULTS = [
    ("| `Gone` | dropped | Neither. |\n", '', 1, ['common/shapes.py: Gone (dropped)']),
    ('| `kept` | behaviour | Does <more>. |\n', '', 1, ['common/shapes.py: kept (behaviour)']),
    ('| `added` | added | Because. |\n', '', 1, ['common/shapes.py: added (added)']),
    ('| `import` | behaviour | New libraries. |\n', '', 1, ['common/shapes.py: import (behaviour)']),
    ('| `changed` | changed |', '| `changed` | behaviour |', 0, [
        "UPSTREAM.md, common/shapes.py: changed has a row 'behaviour', but is 'changed'"]),
    ('| `kept` | behaviour |', '| `kept` | dropped |', 0, [
        "UPSTREAM.md, common/shapes.py: kept has a row 'dropped', but is 'behaviour'"]),
    ('`kept` | behaviour', '`kept`, `Kept.area` | behaviour', 0, [
        "UPSTREAM.md, common/shapes.py: Kept.area has a row 'behaviour', but is as it was upstream"]),
    ('`dropped`,', '`dropped`, `nothing`,', 0, [
        'UPSTREAM.md, common/shapes.py: nothing is no name in the upstream file, nor here']),
    ('`__al*`', '`__al*`, `*.state`', 0, ['UPSTREAM.md, every file: no change needs the row of *.state']),
    ('`Kept.hide`', '`Kept.hide`, `dropped`', 0, ['UPSTREAM.md, common/shapes.py: dropped is there twice']),
    ('| Does <more>. |', '|  |', 0, ['UPSTREAM.md, common/shapes.py: kept has no reason']),
    ('## Afterwards', '### common/only_theirs.py\n\n## Afterwards', 0, [
        'UPSTREAM.md, common/only_theirs.py: there is no such file']),
    ('## Afterwards', '### common/shapes.py (of a branch)\n\n## Afterwards', 0, [
        "UPSTREAM.md: '### common/shapes.py (of a branch)' is no heading of one file, such as `### common/cg.py`"]),
]


@pytest.mark.parametrize('old, new, unexplained, lines', FAULTS, ids=range(len(FAULTS)))
def test_missing_and_stale_rows_exit_1_with_a_line_each(old, new, unexplained, lines, trees, tmp_path, capsys):
    edit(trees[1], old, new)
    assert run(trees, tmp_path) == 1
    out, err = capsys.readouterr()
    assert err.splitlines() == lines
    assert out.splitlines()[-1] == f'pages: 3, unexplained changes: {unexplained}'
    assert (tmp_path / 'out' / 'index.html').exists() and (tmp_path / 'out' / 'common.shapes.py.html').exists()


def test_missing_row_is_shown(trees, tmp_path):
    edit(trees[1], "| `Gone` | dropped | Neither. |\n", '')
    run(trees, tmp_path)
    for page in ('index', 'common.shapes.py'):
        assert 'no row in UPSTREAM.md' in (tmp_path / 'out' / f'{page}.html').read_text(encoding='utf-8')


@pytest.fixture
def branch(trees, tmp_path):
    """A checkout that has a file more, which ours mirrors, and another version of one that the first has."""
    for name, text in (('common/shapes.py', 'old = 1\n'), ('more.py', 'def f(): return 1\n')):
        path = tmp_path / 'branch/baselines' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (trees[1] / 'onpolicybaselines/more.py').write_text('def f(): return 2\n')
    edit(trees[1], '## Afterwards', '### more.py\n| `f` | behaviour | Two. |\n## Afterwards')
    edit(trees[1], 'tree/0123abc).', 'tree/0123abc), [4567def](https://github.com/openai/baselines/tree/4567def).')
    return tmp_path / 'branch'


def test_a_second_checkout_has_what_the_first_lacks(branch, trees, tmp_path, capsys):
    assert main([str(trees[0]), str(branch), '--out', str(tmp_path / 'out')], root=trees[1]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == 'pages: 4, unexplained changes: 0'
    page = (tmp_path / 'out/more.py.html').read_text(encoding='utf-8')
    assert 'openai/baselines/blob/4567def/baselines/more.py#L1' in page and '<p class="why">Two.</p>' in page
    edit(trees[1], '| `f` | behaviour | Two. |', '')
    assert main([str(trees[0]), str(branch), '--out', str(tmp_path / 'out')], root=trees[1]) == 1
    assert capsys.readouterr().err.splitlines() == ['more.py: f (behaviour)']


def test_without_the_second_checkout_its_files_are_left_out(branch, trees, tmp_path, capsys):
    assert run(trees, tmp_path) == 0
    out, err = capsys.readouterr()
    assert err == '' and 'ACKTR' in out and not (tmp_path / 'out/more.py.html').exists()


def test_table_of_figures_before_and_after(trees, tmp_path):
    older = tmp_path / 'older'
    (older / 'onpolicybaselines/common').mkdir(parents=True)
    (older / 'UPSTREAM.md').write_text('')
    (older / 'onpolicybaselines/common/shapes.py').write_text('import numpy as np\nA, B = 1, 2\n')
    table = tmp_path / 'results/files.md'
    assert run(trees, tmp_path, '--table', str(table), '--before', str(older)) == 0
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in table.read_text().splitlines() if '|' in line]
    assert rows[2][:4] == ['common/shapes.py', '2 of 17 → 8 of 17', '2 → 8', '2 of 37 → 10 of 37']
    assert rows[3][0] == '**all**' and rows[3][1:] == rows[2][1:]


def test_names_of_upstream(branch, trees, tmp_path):
    names = tmp_path / 'names.json'
    assert main([str(trees[0]), str(branch), '--out', str(tmp_path / 'out'), '--names', str(names)], root=trees[1]) == 0
    found = json.loads(names.read_text())
    assert set(found) == {'common/shapes.py', 'common/only_theirs.py', 'more.py'}
    assert found['common/shapes.py'][:4] == ['LIMIT', 'A', 'B', 'kept'] and '_private' in found['common/shapes.py']


@pytest.mark.parametrize('arguments', [['{}/nowhere'], ['{}/checkout/baselines'], []])
def test_wrong_path_is_one_line_and_exit_2(arguments, trees, tmp_path, capsys):
    arguments = [argument.format(tmp_path) for argument in arguments]
    assert main([*arguments, '--out', str(tmp_path / 'out')], root=trees[1]) == 2
    error, = capsys.readouterr().err.splitlines()
    assert error.startswith('error: ') and 'checkout of openai/baselines' in error
    assert not (tmp_path / 'out').exists()


def test_file_that_is_no_python_3_is_one_line_and_exit_2(trees, tmp_path, capsys):
    (trees[0] / 'baselines/common/shapes.py').write_text('print "old"\n')
    assert run(trees, tmp_path) == 2
    error, = capsys.readouterr().err.splitlines()
    assert 'shapes.py, line 1' in error


# ---------------------------------------------------------------- pages

def test_pages(trees, tmp_path):
    run(trees, tmp_path)
    out = tmp_path / 'out'
    assert {path.name for path in out.iterdir()} == {'index.html', 'common.shapes.py.html',  # and where code moved:
                                                     'common.other.py.html', 'common.base.py.html'}
    ids = {path.name: Cells(path.read_text(encoding='utf-8')).ids for path in out.iterdir()}
    for path in out.iterdir():
        text = path.read_text(encoding='utf-8')
        assert '<script' not in text and 'src=' not in text and '@import' not in text  # nothing runs, nothing is loaded
        for link in Cells(text).links:
            if not link.startswith('https://github.com/openai/baselines/'):
                file, _, place = link.partition('#')
                assert (not place and file in ids) or place in ids[file or path.name], link
        assert len(ids[path.name]) == len(set(ids[path.name]))
    page = (out / 'common.shapes.py.html').read_text(encoding='utf-8')
    assert '<b>baselines/common/shapes.py <small>openai/baselines 0123abc</small></b>' in page
    assert '&lt;script&gt;' in page
    assert 'href="https://github.com/openai/baselines/blob/0123abc/baselines/common/shapes.py#L11"' in page
    assert '<a href="#changed" class="is-changed">changed</a>' in page  # the outline
    section = re.search('<section id="changed".*?</section>', page, re.DOTALL)[0]
    assert '<p class="why">A *better* <code>y</code> | two.</p>' in section
    assert '<code>(x, y=1)</code><br><span class="dim">now</span> <code>(x, y=2)</code>' in section
    section = re.search('<section id="outside".*?</section>', page, re.DOTALL)[0]
    assert re.search(r'moved to <a href="common\.shapes\.py\.html#R\d+">inside</a>', section)
    index = (out / 'index.html').read_text(encoding='utf-8')
    assert '<p>3 pages: 1 files of Baselines' in index and 'and 2 of ours alone' in index and LEGEND in index
    rows = [[cell[1].strip() for cell in row] for row in Cells(index).rows]
    assert ['8 of 17', '8', '10 of 37', '7', '16', '0'] in rows
    assert ['kept', 'behaviour', 'Does <more>.'] in rows
    assert ['Gone, Gone.method', 'dropped', 'Neither.'] in rows


def test_files_without_text_have_no_page(trees, tmp_path):
    for package in (trees[0] / 'baselines', trees[1] / 'onpolicybaselines'):
        (package / '__init__.py').write_text('')
    run(trees, tmp_path)
    assert not (tmp_path / 'out/__init__.py.html').exists()


def test_code_that_moved_to_a_file_of_ours_has_a_page_that_leads_back(trees, tmp_path):
    edit(trees[1], '## Afterwards', '| `long` | dropped | Elsewhere. |\n\n## Afterwards')
    path = trees[0] / 'baselines/common/shapes.py'
    path.write_text(path.read_text() + LONG.format('long').replace('first', 'one'))
    (trees[1] / 'onpolicybaselines/room.py').write_text('x = 1\n' + LONG.format('longer').replace('first', 'one'))
    assert run(trees, tmp_path) == 0
    page = (tmp_path / 'out/common.shapes.py.html').read_text(encoding='utf-8')
    assert 'moved to <a href="room.py.html#R2">room.py: longer</a>' in page
    line = path.read_text().split('\n').index('    one = x * x + 2 * x') + 1
    assert f'href="common.shapes.py.html#L{line}"' in (tmp_path / 'out/room.py.html').read_text(encoding='utf-8')


def test_notes_are_tinted_apart(trees, tmp_path):
    run(trees, tmp_path)
    page = (tmp_path / 'out/common.shapes.py.html').read_text(encoding='utf-8')
    section = Cells(re.search('<section id="kept".*?</section>', page, re.DOTALL)[0])
    cells = {row[3][1]: row[3][0] for row in section.rows if len(row) == 4}
    assert cells['    """Fresh text."""'] == 'soft' and cells['    print(name)'] == 'right'
    assert cells['    return x & scale'] == ''
    assert cells["def kept(x: np.ndarray, name: str = 'a<b', *, scale: float = 1e-08) -> np.ndarray:"] == ''
    assert re.search('<span class="[^"]*note">', page)


def test_links_to_the_files_before_and_after(trees, tmp_path):
    for package in (trees[0] / 'baselines', trees[1] / 'onpolicybaselines'):
        for name in ('a.py', 'z/z.py'):
            (package / name).parent.mkdir(exist_ok=True)
            (package / name).write_text('x = 1\n')
    assert run(trees, tmp_path) == 0
    links = {name: [link for link in Cells(re.search('<nav>.*?</nav>', (tmp_path / 'out' / f'{name}.html').read_text(
        encoding='utf-8'))[0]).links] for name in ('a.py', 'common.shapes.py', 'z.z.py')}
    assert links == {'a.py': ['index.html', 'common.shapes.py.html'],
                     'common.shapes.py': ['index.html', 'a.py.html', 'z.z.py.html'],
                     'z.z.py': ['index.html', 'common.shapes.py.html', 'common.base.py.html']}


SOURCES = [ROOT / 'run/diff/pages.py', ROOT / 'run/diff/alignment.py', ROOT / 'onpolicybaselines/common/cg.py']


@pytest.mark.parametrize('left, right', list(itertools.permutations(SOURCES, 2)), ids=range(6))
def test_pages_hold_both_files_whole_and_in_order(left, right):
    rows = code_rows(left.read_text(encoding='utf-8'), right.read_text(encoding='utf-8'))
    for k, path in ((0, left), (2, right)):
        lines = path.read_text(encoding='utf-8').rstrip('\n').split('\n')
        cells = [row[k:k + 2] for row in rows if row[k][0] != 'none']
        assert [code[1] for _, code in cells] == lines
        assert [number[1] for number, _ in cells] == [str(n + 1) for n in range(len(lines))]


@pytest.mark.parametrize('code', ['', 'x = 1', 'x = "<&>"\n\n\n', 'if x:\n    y = 1\n# é ☃\n', 'f("""a\n\n  b\n""")\n'])
def test_any_text_survives(code):
    rows = code_rows(code, code)
    assert texts(rows) == [(line, line) for line in code.rstrip('\n').split('\n') if code]
    assert all(cell[0] == '' and not cell[2] for row in rows for cell in row)


def test_white_space_is_no_change():
    rows = code_rows('def f(x):\n  return x+1\n', 'def f(x):\n    return x + 1  \n')
    assert all(cell[0] == '' for row in rows for cell in row)


def test_unchanged_lines_are_folded_but_for_some_around_a_change():
    same = [f'x{i} = {i}' for i in range(40)]
    left, right = '\n'.join(same[:20] + ['a = 1'] + same[20:]), '\n'.join(same[:20] + ['a = 2'] + same[20:])
    table = code_table_of(left, right)
    cells = Cells(table)
    assert cells.summaries == ['17 unchanged lines', '17 unchanged lines']
    inside = ''.join(re.findall(r'<details.*?</details>', table, re.DOTALL))
    assert [row[1][1] for row in Cells(inside).rows] == same[:17] + same[23:]
    assert len(cells.rows) == 41
    assert 'open' not in re.findall(r'<details[^>]*>', table)[0]


def test_short_runs_and_changes_are_not_folded():
    left = '\n'.join(['a = 1', *(f'x{i} = 0' for i in range(10)), 'b = 1'])
    assert '<details' not in code_table_of(left, left.replace('= 1', '= 2'))
    left = '\n'.join(f'a{i}' for i in range(30))
    assert '<details' not in code_table_of(left, left.replace('a', 'b'))


# ---------------------------------------------------------------- alignment

def test_type_hints_and_docstrings_do_not_part_lines():
    left = 'import numpy as np\ndef cg(f_Ax, b, cg_iters=10, verbose=False):\n    p = b.copy()\n    return p\n'
    right = ('"""Conjugate gradients."""\n\nimport numpy as np\n\n\n'
             'def cg(f_Ax: Callable, b: np.ndarray, cg_iters: int = 10,\n       verbose: bool = False) -> np.ndarray:\n'
             '    """Solve.\n\n    Much text.\n    """\n    p = b.copy()\n    return p\n')
    rows = code_rows(left, right)
    pairs = texts(rows)
    assert ('import numpy as np', 'import numpy as np') in pairs
    assert ('    p = b.copy()', '    p = b.copy()') in pairs
    header = pairs.index((left.split('\n')[1], right.split('\n')[5]))
    _, mine, _, theirs = rows[header]
    assert mine[2] == []  # nothing of the header is gone, though it goes on in the next line
    assert theirs[2] == []
    words = [''.join(''.join(cell[3]).split()) for cell in (theirs, rows[header + 1][3])]
    assert words == [':Callable:np.ndarray:int', ':bool->np.ndarray']


def test_statements_are_kept_in_the_function_they_were_in_only(tmp_path):
    theirs = 'def a(self, x):\n    return self.value(x)\ndef b(self):\n    return x\n'
    ours = 'def a(self, x):\n    return x\ndef c(self, x):\n    return self.value(x)\ndef b(self):\n    return x\n'
    kept = {item.name: item.pairs for item in compare(tmp_path, theirs, ours).items}
    assert kept == {'a': [(0, 0)], 'c': [], 'b': [(0, 0), (1, 1)]}


def test_same_names_in_different_classes_are_different_definitions():
    left = 'class A:\n    def f(self): return 1\nclass B:\n    def f(self): return 2\n'
    right = 'class B:\n    def f(self): return 2\n'
    assert texts(code_rows(left, right))[2:] == [('class B:', 'class B:'), ('    def f(self): return 2',) * 2]


def test_words_of_alike_lines_are_marked():
    (_, mine, _, theirs), = code_rows('obs = env.reset(seed, 1)', 'obs, info = env.reset(seed, 2)')
    assert (mine[0], theirs[0]) == ('left', 'right')
    assert (mine[2], theirs[2]) == (['1'], [',', 'info', '2'])


def test_lines_without_anything_in_common_are_not_marked():
    rows = code_rows('alpha = beta(gamma)', 'import os')
    assert [cell[2] for row in rows for cell in row] == [[]] * 4


def test_alignment_is_the_best_of_all():
    """Against all ways to pair four lines with four, on their gains."""
    left = ['a b c d', 'e f g h', 'a b c x', 'i j k l']
    right = ['e f g y', 'a b c d', 'i j z l', 'e f g h']
    gain = gains(left, right)

    def total(pairs):
        return sum(gain[i, j] for i, j in pairs)
    ways = [list(zip(some, others, strict=True)) for n in range(5) for some in itertools.combinations(range(4), n)
            for others in itertools.combinations(range(4), n)]
    found = [(i, j) for i, j, alike in align(left, right) if alike]
    assert total(found) == pytest.approx(max(map(total, ways)))
    assert len(found) == 2


# ---------------------------------------------------------------- UPSTREAM.md

def test_rows_are_true_of_this_side():
    notes, errors = read_notes((ROOT / 'UPSTREAM.md').read_text(encoding='utf-8'))
    ours = packages.Package(ROOT / 'onpolicybaselines')
    assert notes and errors == []
    assert set(notes) - {EVERY_FILE} <= ours.files()
    for file, rows in notes.items():
        for name, note in rows.items():
            assert note.change in ('changed', 'dropped', 'behaviour', 'added') and note.why, (file, name)
            if file != EVERY_FILE and name not in ('import', '*'):
                assert (ours.entry(file, name) is None) == (note.change == 'dropped'), (file, name)


def test_tests_that_are_named_exist():
    named = set(re.findall(r'`(test_\w+)`', (ROOT / 'UPSTREAM.md').read_text(encoding='utf-8')))
    defined = set(re.findall(r'^def (test_\w+)', '\n'.join(path.read_text(encoding='utf-8') for path in
                                                            (ROOT / 'tests').rglob('test_*.py')), re.MULTILINE))
    assert named and named <= defined
