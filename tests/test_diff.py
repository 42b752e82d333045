"""The side-by-side pages and the coverage table, on a made-up upstream; and the rows of UPSTREAM.md that need none."""
import itertools
import pathlib
import re
from html.parser import HTMLParser

import pytest

from run import diff, side_by_side

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
'''

BASE = '''\
class Base:
    def draw(self, pen: str) -> str:
        return pen
'''

NOTES = '''\
# Deviations

Structure: openai/baselines 0123abc.

### common/shapes.py

| name | change | why |
|---|---|---|
| `changed` | changed | A *better* `y` \\| two. |
| `dropped`, `Kept.hide` | dropped | No use. |
| `Gone` | dropped | Neither. |
| `kept` | behaviour | Does <more>. |

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


def run(trees, tmp_path):
    return diff.main([str(trees[0]), '--out', str(tmp_path / 'out')], root=trees[1])


def edit(root, old, new):
    path = root / 'UPSTREAM.md'
    text = path.read_text(encoding='utf-8')
    assert old in text
    path.write_text(text.replace(old, new), encoding='utf-8')


class Cells(HTMLParser):
    """The cells of all tables: (class, text, texts of the spans marked as different), in `rows`; and all links."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.links, self.summaries = [], [], []
        self.open = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.open.append((tag, attrs.get('class', '')))
        if tag == 'tr': self.rows.append([])
        if tag == 'td': self.rows[-1].append([attrs.get('class', ''), '', []])
        if tag == 'summary': self.summaries.append('')
        if tag == 'a': self.links.append(attrs['href'])

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
        elif 'summary' in tags:
            self.summaries[-1] += data


def code_rows(left, right):
    """Rows of (left number, left cell, right number, right cell)."""
    return Cells(side_by_side.code_table(left, right)).rows


def texts(rows):
    return [(left[1], right[1]) for _, left, _, right in rows]


# ---------------------------------------------------------------- names

def test_names_of_every_category(trees):
    upstream, ours = diff.Package(trees[0] / 'baselines'), diff.Package(trees[1] / 'onpolicybaselines')
    notes, errors = diff.read_notes(NOTES)
    rows, faults = diff.coverage(upstream, ours, 'common/shapes.py', notes['common/shapes.py'])
    assert errors == faults == []
    assert {row.name: row.status for row in rows} == {
        'LIMIT': 'same', 'A': 'same', 'B': 'same', 'kept': 'same', 'moved': 'same', 'Kept': 'same',
        'Kept.area': 'same', 'Kept.draw': 'same', 'changed': 'changed', 'dropped': 'dropped', 'Kept.hide': 'dropped',
        'Gone': 'dropped', 'Gone.method': 'dropped', 'added': 'added'}
    why = {row.name: row.note.why for row in rows if row.note}
    assert why == {'kept': 'Does <more>.', 'changed': 'A *better* `y` | two.', 'dropped': 'No use.',
                   'Kept.hide': 'No use.', 'Gone': 'Neither.', 'Gone.method': 'Neither.'}


SIGNATURES = [
    ('def f(x): pass', 'def f(x: int) -> int: pass', 'same'),
    ('def f(x="a"): pass', "def f(x: str | None = 'a'): pass", 'same'),
    ('def f(x=1e-8): pass', 'def f(x=1e-08): pass', 'same'),
    ('def f(x, *, y): pass', 'def f(x, *, y: int): pass', 'same'),
    ('def f(*args, **kwargs): pass', 'def f(*args: int, **kwargs: str): pass', 'same'),
    ('def f(x): pass', '@cache\ndef f(x): pass', 'same'),
    ('f = 1', 'f: int = 2', 'same'),
    ('def f(x): pass', 'from onpolicybaselines.other import g as f', 'same'),
    ('def f(x): pass', 'from .other import g as f', 'same'),
    ('def f(x): pass', 'if True:\n    def f(x): pass', 'same'),
    ('def f(x): pass', 'try:\n    import a\nexcept ImportError:\n    def f(x): pass', 'same'),
    ('class f: pass', 'class f(Exception): pass', 'same'),
    ('class f:\n    def __init__(self, x): pass', 'class f:\n    def __init__(this, x: int): pass', 'same'),
    ('class f:\n    def __init__(self, x): pass',
     'class g:\n    def __init__(self, x): pass\nclass f(g): pass', 'same'),
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
def test_what_counts_as_a_change_of_signature(theirs, ours, status, tmp_path):
    for package, code in (('baselines', theirs), ('onpolicybaselines', ours)):
        (tmp_path / package).mkdir()
        (tmp_path / package / 'a.py').write_text(code)
        (tmp_path / package / 'other.py').write_text('def g(x): pass')
    packages = [diff.Package(tmp_path / package) for package in ('baselines', 'onpolicybaselines')]
    row = diff.coverage(*packages, 'a.py', {})[0][0]
    assert (row.name, row.status) == ('f', status)


def test_methods_are_compared_with_static_and_class_methods_in_mind(tmp_path):
    theirs = 'class C:\n    @staticmethod\n    def s(x): pass\n    @classmethod\n    def c(cls, x): pass\n' \
             '    @property\n    def p(self): pass\n    def m(self, x): pass\n'
    ours = 'class C:\n    @staticmethod\n    def s(x: int): pass\n    @classmethod\n    def c(klass, x): pass\n' \
           '    def p(self): pass\n    @staticmethod\n    def m(self, x): pass\n'
    for package, code in (('baselines', theirs), ('onpolicybaselines', ours)):
        (tmp_path / package).mkdir()
        (tmp_path / package / 'a.py').write_text(code)
    rows, _ = diff.coverage(*(diff.Package(tmp_path / p) for p in ('baselines', 'onpolicybaselines')), 'a.py', {})
    assert {row.name: row.status for row in rows} == {'C': 'same', 'C.s': 'same', 'C.c': 'same', 'C.p': 'changed',
                                                      'C.m': 'changed'}


# ---------------------------------------------------------------- command line

def test_complete_notes_exit_0(trees, tmp_path, capsys):
    assert run(trees, tmp_path) == 0
    assert capsys.readouterr().err == ''


FAULTS = [
    ("| `Gone` | dropped | Neither. |\n", '', [
        'common/shapes.py: Gone is dropped, but has no row in UPSTREAM.md',
        'common/shapes.py: Gone.method is dropped, but has no row in UPSTREAM.md']),
    ('| `changed` | changed |', '| `changed` | behaviour |', [
        "UPSTREAM.md, common/shapes.py: changed has a row 'behaviour', but its signature is changed"]),
    ('| `kept` | behaviour |', '| `kept` | dropped |', [
        "UPSTREAM.md, common/shapes.py: kept has a row 'dropped', but its signature is same"]),
    ('`dropped`,', '`dropped`, `nothing`,', [
        'UPSTREAM.md, common/shapes.py: nothing is no public name of the upstream file']),
    ('`Kept.hide`', '`Kept.hide`, `added`', [
        'UPSTREAM.md, common/shapes.py: added is no public name of the upstream file']),
    ('`Kept.hide`', '`Kept.hide`, `dropped`', ['UPSTREAM.md, common/shapes.py: dropped is there twice']),
    ('## Afterwards', '### common/only_theirs.py\n\n## Afterwards', [
        'UPSTREAM.md, common/only_theirs.py: there is no such mirrored file']),
]


@pytest.mark.parametrize('old, new, lines', FAULTS, ids=range(len(FAULTS)))
def test_missing_and_stale_rows_exit_1_with_a_line_each(old, new, lines, trees, tmp_path, capsys):
    edit(trees[1], old, new)
    assert run(trees, tmp_path) == 1
    assert capsys.readouterr().err.splitlines() == lines
    assert (tmp_path / 'out' / 'index.html').exists() and (tmp_path / 'out' / 'common.shapes.py.html').exists()


def test_missing_row_is_shown(trees, tmp_path):
    edit(trees[1], "| `Gone` | dropped | Neither. |\n", '')
    run(trees, tmp_path)
    assert (tmp_path / 'out' / 'index.html').read_text(encoding='utf-8').count('no row in UPSTREAM.md') == 1


@pytest.mark.parametrize('arguments', [['{}/nowhere'], ['{}/checkout/baselines'], []])
def test_wrong_path_is_one_line_and_exit_2(arguments, trees, tmp_path, capsys):
    arguments = [argument.format(tmp_path) for argument in arguments]
    assert diff.main([*arguments, '--out', str(tmp_path / 'out')], root=trees[1]) == 2
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
    assert {path.name for path in out.iterdir()} == {'index.html', 'common.shapes.py.html'}
    for path in out.iterdir():
        text = path.read_text(encoding='utf-8')
        assert '<script' not in text and 'http' not in text  # neither code that runs nor files from elsewhere
        assert all((out / link).exists() for link in Cells(text).links)
    page = (out / 'common.shapes.py.html').read_text(encoding='utf-8')
    assert '<b>baselines/common/shapes.py <small>openai/baselines 0123abc</small></b>' in page
    assert '&lt;script&gt;' in page
    index = Cells((out / 'index.html').read_text(encoding='utf-8'))
    rows = [[cell[1].strip() for cell in row] for row in index.rows]
    assert ['common/shapes.py', '8', '1', '4', '1'] in rows
    assert ['all', '8', '1', '4', '1'] in rows
    assert ['changed', 'changed', '(x, y=1)now (x, y=2)', 'A *better* y | two.'] in rows
    assert ['kept', 'same', "(x, name='a<b', *, scale=1e-08)", 'Does <more>.'] in rows
    assert ['1 name', 'added', 'added'] in rows


def test_links_to_the_files_before_and_after(trees, tmp_path):
    for package in (trees[0] / 'baselines', trees[1] / 'onpolicybaselines'):
        for name in ('a.py', 'z/z.py'):
            (package / name).parent.mkdir(exist_ok=True)
            (package / name).write_text('')
    assert run(trees, tmp_path) == 0
    links = {name: Cells((tmp_path / 'out' / f'{name}.html').read_text(encoding='utf-8')).links
             for name in ('a.py', 'common.shapes.py', 'z.z.py')}
    assert links == {'a.py': ['index.html', 'common.shapes.py.html'],
                     'common.shapes.py': ['index.html', 'a.py.html', 'z.z.py.html'],
                     'z.z.py': ['index.html', 'common.shapes.py.html']}


SOURCES = [ROOT / 'run' / 'diff.py', ROOT / 'run' / 'side_by_side.py', ROOT / 'onpolicybaselines' / 'common' / 'cg.py']


@pytest.mark.parametrize('left, right', list(itertools.permutations(SOURCES, 2)), ids=range(6))
def test_pages_hold_both_files_whole_and_in_order(left, right):
    rows = code_rows(left.read_text(encoding='utf-8'), right.read_text(encoding='utf-8'))
    for k, path in ((0, left), (2, right)):
        lines = path.read_text(encoding='utf-8').rstrip('\n').split('\n')
        cells = [row[k:k + 2] for row in rows if row[k][0] != 'none']
        assert [code[1] for _, code in cells] == lines
        assert [number[1] for number, _ in cells] == [str(n + 1) for n in range(len(lines))]


@pytest.mark.parametrize('code', ['', 'x = 1', 'x = "<&>"\n\n\n', 'if x:\n\ty = 1\n# é ☃\n', 'f("""a\n\n  b\n""")\n'])
def test_any_text_survives(code):
    rows = code_rows(code, code)
    assert texts(rows) == [(line, line) for line in code.expandtabs(4).rstrip('\n').split('\n')]
    assert all(cell[0] == '' and not cell[2] for row in rows for cell in row)


def test_white_space_is_no_change():
    rows = code_rows('def f(x):\n  return x+1\n', 'def f(x):\n    return x + 1  \n')
    assert all(cell[0] == '' for row in rows for cell in row)


def test_unchanged_lines_are_folded_but_for_some_around_a_change():
    same = [f'x{i} = {i}' for i in range(40)]
    left, right = '\n'.join(same[:20] + ['a = 1'] + same[20:]), '\n'.join(same[:20] + ['a = 2'] + same[20:])
    table = side_by_side.code_table(left, right)
    cells = Cells(table)
    assert cells.summaries == ['17 unchanged lines', '17 unchanged lines']
    inside = ''.join(re.findall(r'<details.*?</details>', table, re.DOTALL))
    assert [row[1][1] for row in Cells(inside).rows] == same[:17] + same[23:]
    assert len(cells.rows) == 41
    assert 'open' not in re.findall(r'<details[^>]*>', table)[0]


def test_short_runs_and_changes_are_not_folded():
    left = '\n'.join(['a = 1', *(f'x{i} = 0' for i in range(10)), 'b = 1'])
    assert '<details' not in side_by_side.code_table(left, left.replace('= 1', '= 2'))
    left = '\n'.join(f'a{i}' for i in range(30))
    assert '<details' not in side_by_side.code_table(left, left.replace('a', 'b'))


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
    assert ''.join(theirs[2]) == ':Callable:np.ndarray:int'
    assert ''.join(rows[header + 1][3][2]) == ':bool->np.ndarray'


def test_lines_of_different_functions_do_not_stand_side_by_side():
    left = 'def a(self, x):\n    return self.value(x)\ndef b(self):\n    pass\n'
    right = 'def a(self, x):\n    pass\ndef c(self, x):\n    return self.value(x)\ndef b(self):\n    pass\n'
    pairs = texts(code_rows(left, right))
    assert ('    return self.value(x)', '    pass') in pairs
    assert ('', '    return self.value(x)') in pairs
    assert ('def b(self):', 'def b(self):') in pairs


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
    gain = side_by_side._gains(left, right)

    def total(pairs):
        return sum(gain[i, j] for i, j in pairs)
    ways = [list(zip(some, others, strict=True)) for n in range(5) for some in itertools.combinations(range(4), n)
            for others in itertools.combinations(range(4), n)]
    found = [(i, j) for i, j, alike in side_by_side.align(left, right) if alike]
    assert total(found) == pytest.approx(max(map(total, ways)))
    assert len(found) == 2


# ---------------------------------------------------------------- UPSTREAM.md

def test_rows_are_true_of_this_side():
    notes, errors = diff.read_notes((ROOT / 'UPSTREAM.md').read_text(encoding='utf-8'))
    ours = diff.Package(ROOT / 'onpolicybaselines')
    assert notes and errors == []
    assert set(notes) <= ours.files()
    for file, rows in notes.items():
        for name, note in rows.items():
            assert note.change in ('changed', 'dropped', 'behaviour') and note.why, (file, name)
            assert (ours.entry(file, name) is None) == (note.change == 'dropped'), (file, name)


def test_tests_that_are_named_exist():
    named = set(re.findall(r'`(test_\w+)`', (ROOT / 'UPSTREAM.md').read_text(encoding='utf-8')))
    defined = set(re.findall(r'^def (test_\w+)', '\n'.join(path.read_text(encoding='utf-8') for path in
                                                            (ROOT / 'tests').rglob('test_*.py')), re.MULTILINE))
    assert named and named <= defined
