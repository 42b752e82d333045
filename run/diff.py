"""This package beside the Baselines it mirrors: a page per file, and what became of each public name.

    python -m run.diff path/to/a/checkout/of/openai/baselines --out diff

The reasons come from UPSTREAM.md. Exit status 1 if it lacks a row for a public name that was changed or dropped, or has
one that is not true any more; the pages are written all the same.
"""
import argparse
import ast
import copy
import functools
import html
import itertools
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pygments.formatters import HtmlFormatter

from run.side_by_side import code_table

ROOT = Path(__file__).parents[1]
STATUSES = ('same', 'changed', 'dropped', 'added')

# ================================================================
# Public names
# ================================================================


class Entry(NamedTuple):
    """What a public name is ('def', 'class', 'property' or 'value'), and its arguments."""

    kind: str
    signature: str = ''


class Module(NamedTuple):
    """What a file defines, and imports: name -> (file, name there), or None from outside the package."""

    names: dict[str, ast.AST]
    imports: dict[str, tuple[str, str] | None]


class Package:
    """The Python files below a folder, named by their path in it and read when asked for."""

    def __init__(self, folder: Path):
        self.folder = folder

    def files(self) -> set[str]:
        """All files but tests."""
        paths = (path.relative_to(self.folder) for path in self.folder.rglob('*.py'))
        return {path.as_posix() for path in paths if not path.name.startswith('test_') and 'tests' not in path.parts}

    def text(self, file: str) -> str:
        """The content of a file."""
        return (self.folder / file).read_text(encoding='utf-8')

    @functools.cache  # noqa: B019 (a Package lives as long as the program)
    def module(self, file: str) -> Module:
        """What a file defines and imports."""
        tree = ast.parse(self.text(file), file)
        imports, names = {}, {}
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                source = self._source(file, node)
                imports.update({alias.asname or alias.name: source and (source, alias.name) for alias in node.names})
        for name, node in _definitions(tree.body):
            if name not in imports:  # `MPI = None` after a failed import is no name of this module
                names.setdefault(name, node)
        return Module(names, imports)

    def _source(self, file: str, node: ast.Import | ast.ImportFrom) -> str | None:
        """The file of this package that an import is from."""
        parts = (getattr(node, 'module', None) or '').split('.')
        if getattr(node, 'level', 0):
            base = Path(file).parents[node.level - 1].joinpath(*parts)
        elif parts[0] == self.folder.name:
            base = Path(*parts[1:])
        else:
            return None
        candidates = (f'{base.as_posix()}.py', (base / '__init__.py').as_posix())
        return next((c for c in candidates if (self.folder / c).is_file()), None)

    def public_names(self, file: str) -> list[str]:
        """Functions, classes, 'Class.method's and assigned names that the file itself defines; tests left out."""
        public = []
        for name, node in self.module(file).names.items():
            if not name.startswith(('_', 'test_')):
                methods = [n.name for n in getattr(node, 'body', ()) if isinstance(n, ast.FunctionDef)]
                public += [name, *(f'{name}.{m}' for m in dict.fromkeys(methods)
                                   if isinstance(node, ast.ClassDef) and not m.startswith('_'))]
        return public

    def entry(self, file: str, name: str) -> Entry | None:
        """What `name` is in `file`, be it defined, imported or inherited there; None if it is nothing."""
        name, _, method = name.partition('.')
        found = self._find(file, name)
        if found is None:
            return None
        file, node = found
        if method:
            node = self._member(file, node, method)
            return node and _entry_of(node, is_method=True)
        if isinstance(node, ast.ClassDef):
            init = self._member(file, node, '__init__')
            return Entry('class', _signature(init, is_method=True) if init else '(inherited)')
        return _entry_of(node)

    def _find(self, file: str, name: str) -> tuple[str, ast.AST] | None:
        """(file, node) of the definition behind a name, through imports."""
        module = self.module(file)
        if name in module.names:
            return file, module.names[name]
        source = module.imports.get(name)
        return self._find(*source) if source else None

    def _member(self, file: str, node: ast.AST, method: str) -> ast.FunctionDef | None:
        """The definition of a method in a class or those of its bases that are in this package."""
        if not isinstance(node, ast.ClassDef):
            return None
        for child in node.body:
            if isinstance(child, ast.FunctionDef) and child.name == method:
                return child
        bases = (self._find(file, base.id) for base in node.bases if isinstance(base, ast.Name))
        return next(filter(None, (self._member(*base, method) for base in bases if base)), None)


def _definitions(body: Sequence[ast.stmt]) -> Iterator[tuple[str, ast.AST]]:
    """(name, node) of what statements define, also under `if` and `try`."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name, node
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for n in itertools.chain(*map(ast.walk, targets)):
                if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store):
                    yield n.id, node
        elif isinstance(node, ast.Try):
            yield from _definitions([*node.body, *node.orelse, *itertools.chain(*(h.body for h in node.handlers))])
        elif isinstance(node, ast.If) and '__name__' not in ast.unparse(node.test):
            yield from _definitions([*node.body, *node.orelse])


def _entry_of(node: ast.AST, is_method: bool = False) -> Entry:
    if not isinstance(node, ast.FunctionDef):
        return Entry('value')
    if 'property' in map(ast.unparse, node.decorator_list):
        return Entry('property')
    return Entry('def', _signature(node, is_method))


def _signature(node: ast.FunctionDef, is_method: bool = False) -> str:
    """The arguments without annotations and without self, in one style of quotes."""
    args = copy.deepcopy(node.args)
    for arg in ast.walk(args):
        if isinstance(arg, ast.arg):
            arg.annotation = None
    if is_method and 'staticmethod' not in map(ast.unparse, node.decorator_list):
        (args.posonlyargs or args.args).pop(0)
    return f'({ast.unparse(args)})'


# ================================================================
# UPSTREAM.md and coverage
# ================================================================


class Note(NamedTuple):
    """A row of UPSTREAM.md: 'changed', 'dropped' or, where the signature is the same, 'behaviour'; and why."""

    change: str
    why: str


class Row(NamedTuple):
    """A line of the coverage table; status is one of STATUSES."""

    name: str
    status: str
    upstream: Entry | None
    ours: Entry | None
    note: Note | None


def read_notes(text: str) -> tuple[dict[str, dict[str, Note]], list[str]]:
    """({file: {name: note}}, errors) of the tables `| names | change | why |` under headings `### file.py`."""
    notes, errors, file = {}, [], None
    for line in text.splitlines():
        if line.startswith('#'):
            heading = re.fullmatch(r'### (\S+\.py)', line.strip())
            file = heading and heading[1]
            if file:
                notes.setdefault(file, {})
        elif file and line.startswith('|'):
            names, change, why = (re.split(r'(?<!\\)\|', line)[1:-1] + ['', '', ''])[:3]
            for name in re.findall('`([^`]+)`', names):
                if name in notes[file]:
                    errors.append(f'UPSTREAM.md, {file}: {name} is there twice')
                notes[file][name] = Note(change.strip(), why.strip().replace(r'\|', '|'))
    return notes, errors


def coverage(upstream: Package, ours: Package, file: str, notes: dict[str, Note]) -> tuple[list[Row], list[str]]:
    """(rows, errors) of one file. The methods of a dropped class share its row."""
    rows, errors = [], []
    names = upstream.public_names(file)
    for name in names:
        theirs, mine = upstream.entry(file, name), ours.entry(file, name)
        status = 'dropped' if mine is None else 'same' if mine == theirs else 'changed'
        owner = name.partition('.')[0]
        note = notes.get(name) or (notes.get(owner) if ours.entry(file, owner) is None else None)
        rows.append(Row(name, status, theirs, mine, note))
        if note is None and status != 'same':
            errors.append(f'{file}: {name} is {status}, but has no row in UPSTREAM.md')
        elif note and note.change != {'same': 'behaviour'}.get(status, status):
            errors.append(f'UPSTREAM.md, {file}: {name} has a row {note.change!r}, but its signature is {status}')
    errors += [f'UPSTREAM.md, {file}: {name} is no public name of the upstream file' for name in notes
               if name not in names]
    rows += [Row(name, 'added', None, ours.entry(file, name), None) for name in ours.public_names(file)
             if upstream.entry(file, name) is None]
    return rows, errors


# ================================================================
# Pages
# ================================================================


def page(title: str, body: str) -> str:
    """A whole HTML document."""
    css = HtmlFormatter(nobackground=True).get_style_defs('.code') + '\n'
    css += Path(__file__).with_suffix('.css').read_text(encoding='utf-8')
    return (f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
            f'<meta name="viewport" content="width=device-width">\n<style>{css}</style>\n{body}\n</html>\n')


def page_name(file: str) -> str:
    """The page of a mirrored file."""
    return file.replace('/', '.') + '.html'


def names_rows(rows: Sequence[Row]) -> str:
    """Table rows: one for each name that UPSTREAM.md has or lacks, one for all others that are the same or added."""
    lines = []
    explained = [row for row in rows if row.note or row.status in ('changed', 'dropped')]
    for note, group in itertools.groupby(explained, lambda row: row.note):
        group = list(group)
        why = _markdown(note.why) if note else '<span class="missing">no row in UPSTREAM.md</span>'
        last_cells = [f'<td rowspan="{len(group)}">{why}', *[''] * (len(group) - 1)]
        lines += [f'<tr><td><code>{row.name}</code><td class="{row.status}">{row.status}<td>{_signatures(row)}{cell}'
                  for row, cell in zip(group, last_cells, strict=True)]
    for status in ('same', 'added'):
        names = [f'<code>{row.name}</code>' for row in rows if row.status == status and not row.note]
        if names:
            lines.append(f'<tr><td>{len(names)} name{"s" * (len(names) > 1)}<td class="{status}">{status}'
                         f'<td colspan="2">{", ".join(names)}')
    return '\n'.join(lines)


def _signatures(row: Row) -> str:
    """That of upstream and, if it is another, ours."""
    entries = dict.fromkeys(entry for entry in (row.upstream, row.ours) if entry)
    kinds_differ = len({entry.kind for entry in entries}) > 1
    texts = [' '.join([e.kind] * (kinds_differ or not e.signature) + [e.signature]) for e in entries]
    return '<br><span class="dim">now</span> '.join(f'<code>{html.escape(text)}</code>' for text in texts)


def _markdown(text: str) -> str:
    return re.sub('`([^`]+)`', r'<code>\1</code>', html.escape(text, quote=False))


def file_page(file: str, before: str | None, after: str | None, names: Sequence[str], rows: Sequence[Row],
              code: str) -> str:
    """The page of one file, with links to those before and after; names: both sides' with their revisions."""
    previous = f'<a href="{page_name(before)}">← {before}</a>' if before else ''
    following = f'<a href="{page_name(after)}">{after} →</a>' if after else ''
    count = Counter(row.status for row in rows)
    return page(file, f'''<header>
<nav><span><a href="index.html">all files</a> &ensp; {previous}</span><span>{following}</span></nav>
<div><b>{names[0]}</b><b>{names[1]}</b></div>
</header>
<details class="fold"><summary>public names: {", ".join(f"{count[s]} {s}" for s in STATUSES)}</summary>
<table class="names fixed"><colgroup><col><col><col><col></colgroup>
{names_rows(rows)}
</table></details>
{code}''')


def index_page(revisions: Sequence[str], tables: dict[str, list[Row]]) -> str:
    """The list of mirrored files and the coverage table of their public names."""
    counts = {file: Counter(row.status for row in rows) for file, rows in tables.items()}
    total = sum(counts.values(), Counter())
    links = {file: f'<a href="{page_name(file)}">{file}</a>' for file in tables}
    files = '\n'.join(f'<tr><td>{head}' + ''.join(f'<td class="number">{count[s] or ""}' for s in STATUSES)
                      for head, count in [*((links[file], counts[file]) for file in tables), ('<b>all</b>', total)])
    names = '\n'.join(f'<tr><td colspan="4"><h3>{links[file]}</h3>\n{names_rows(rows)}'
                      for file, rows in tables.items() if rows)
    return page('onpolicybaselines beside Baselines', f'''<main>
<h1>onpolicybaselines beside Baselines</h1>
<p>{len(tables)} files of <b>{revisions[0]}</b>, and those of <b>{revisions[1]}</b> that mirror them.</p>
<p>On their pages <span class="key left">orange</span> is upstream and <span class="key right">blue</span> is ours;
where two lines are alike the stronger colour marks the words that differ. White space does not count.</p>
<p>A signature is the same if the names, order, kinds and defaults of the arguments are; annotations do not count.
The reasons are those of UPSTREAM.md.</p>
<h2>Files and their numbers of public names</h2>
<table class="names"><tr><th>file{"".join(f'<th class="number {s}">{s}' for s in STATUSES)}
{files}
</table>
<h2>Public names</h2>
<table class="names fixed"><colgroup><col><col><col><col></colgroup>
<tr><th>name<th>signature<th>arguments upstream<br><span class="dim">now</span> ours<th>why
{names}
</table>
</main>''')


# ================================================================
# Command line
# ================================================================


def git_revision(folder: Path) -> str:
    """Commit that is checked out in `folder`; '' if that is no repository."""
    if not (folder / '.git').exists():
        return ''
    return subprocess.run(['git', '-C', str(folder), 'describe', '--always', '--dirty', '--exclude=*'],
                          capture_output=True, text=True, check=False).stdout.strip()


def write_pages(checkout: Path, root: Path, out: Path) -> list[str]:
    """Write all pages into `out`; returns the errors of UPSTREAM.md, one line each.

    checkout: of openai/baselines; root: the folder with onpolicybaselines/ and UPSTREAM.md. Raises FileNotFoundError
    if the checkout has no mirrored file.
    """
    upstream, ours = Package(checkout / 'baselines'), Package(root / 'onpolicybaselines')
    files = sorted(upstream.files() & ours.files(), key=lambda file: ('/' in file, file))
    if not files:
        raise FileNotFoundError(f'{upstream.folder} has none of the mirrored files: give the path of a checkout of '
                                'openai/baselines, the folder that has baselines/ in it')
    document = (root / 'UPSTREAM.md').read_text(encoding='utf-8')
    notes, errors = read_notes(document)
    errors += [f'UPSTREAM.md, {file}: there is no such mirrored file' for file in notes if file not in files]
    pinned = re.search(r'openai/baselines\W+([0-9a-f]{7,40})', document)
    revisions = [f'openai/baselines {git_revision(checkout) or (pinned[1] if pinned else "")}',
                 f'onpolicybaselines {git_revision(root)}']
    out.mkdir(parents=True, exist_ok=True)
    tables = {}
    for before, file, after in zip([None, *files], files, [*files[1:], None], strict=False):
        tables[file], faults = coverage(upstream, ours, file, notes.get(file, {}))
        errors += faults
        names = [f'{package.folder.name}/{file} <small>{revision}</small>'
                 for package, revision in zip((upstream, ours), revisions, strict=True)]
        code = code_table(upstream.text(file), ours.text(file))
        text = file_page(file, before, after, names, tables[file], code)
        (out / page_name(file)).write_text(text, encoding='utf-8')
    (out / 'index.html').write_text(index_page(revisions, tables), encoding='utf-8')
    return errors


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog='python -m run.diff', description=__doc__.partition('\n')[0])
    parser.add_argument('upstream', type=Path, nargs='?', help='checkout of openai/baselines: the folder that has '
                                                               'baselines/ in it')
    parser.add_argument('--out', type=Path, default=Path('diff'), help='folder for the pages (default: diff)')
    args = parser.parse_args(argv)
    try:
        if args.upstream is None:
            raise FileNotFoundError('give the path of a checkout of openai/baselines: make diff UPSTREAM=path')
        errors = write_pages(args.upstream, root, args.out)
    except (OSError, SyntaxError) as e:
        print(f'error: {e}', file=sys.stderr)
        return 2
    print(f'wrote {args.out / "index.html"}')
    for error in errors:
        print(error, file=sys.stderr)
    return 1 if errors else 0


if __name__ == '__main__':
    sys.exit(main())
