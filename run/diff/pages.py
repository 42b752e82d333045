"""HTML pages: one for each mirrored file, one for each file of ours that took code of upstream's in, and an index."""
import html
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from onpolicybaselines.common.extras import needed_by_module
from run.diff.alignment import Text
from run.diff.code import MIN_FOLD, Side, code_table
from run.diff.comparison import Comparison, Figures, Item, Place
from run.diff.packages import Package
from run.diff.sections import Section
from run.diff.tables import COLUMNS, LEGEND

try:
    from pygments.formatters import HtmlFormatter
except ImportError:
    needed_by_module('pygments')

REPOSITORY = 'https://github.com/openai/baselines'


class Mirrored(NamedTuple):
    """Where the upstream side of a file is from: its package and its revision, '' if unknown."""

    package: Package
    revision: str


class Site(NamedTuple):
    """All that the pages show: both sides of each mirrored file, what came of it, and where code moved."""

    upstream: Mapping[str, Mirrored]
    ours: Package
    revision: str
    comparisons: Mapping[str, Comparison]
    origins: Mapping[str, Mapping[tuple, Place]]


def write_pages(site: Site, out: Path) -> int:
    """Write all pages into `out`; returns how many, the index left out."""
    out.mkdir(parents=True, exist_ok=True)
    # a file with nothing in it on either side, such as __init__.py, needs no page
    files = [file for file, mirrored in site.upstream.items()
             if mirrored.package.text(file).strip() or site.ours.text(file).strip()]
    others = sorted(set(site.origins) - set(site.upstream))
    everything = [*files, *others]
    texts = {file: Text(site.ours.text(file)) for file in everything}
    for before, file, after in zip([None, *everything], everything, [*everything[1:], None], strict=False):
        body = '\n'.join(_sections(site, file, texts)) if file in files else '\n'.join(_own_sections(site, file, texts))
        (out / page_name(file)).write_text(file_page(site, file, before, after, body), encoding='utf-8')
    (out / 'index.html').write_text(index_page(site, files, others), encoding='utf-8')
    return len(everything)


def page(title: str, body: str) -> str:
    """A whole HTML document."""
    css = HtmlFormatter(nobackground=True).get_style_defs('.code')
    dark = HtmlFormatter(style='github-dark', nobackground=True).get_style_defs('.code')
    css += '\n@media (prefers-color-scheme: dark) {\n' + dark + '\n}\n'
    css += (Path(__file__).parent / 'diff.css').read_text(encoding='utf-8')
    return (f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
            f'<meta name="viewport" content="width=device-width">\n<style>{css}</style>\n{body}\n</html>\n')


def page_name(file: str) -> str:
    """The page of a file."""
    return file.replace('/', '.') + '.html'


# ================================================================
# A file
# ================================================================


def _sections(site: Site, file: str, texts: dict[str, Text]) -> Iterator[str]:
    """HTML of the items of a mirrored file."""
    theirs = Text(site.upstream[file].package.text(file))
    ids = set()
    for item in site.comparisons[file].items:
        if item.right and item.file not in texts:
            texts[item.file] = Text(site.ours.text(item.file))
        left = item.left and Side(theirs, item.left, [i for i, _ in item.pairs],
                                  {} if item.is_moved else _places(item.left, item.moved[0]),
                                  lambda line: _upstream_number(site, file, line), _to_ours)
        right = item.right and not item.shown_at and Side(
            texts[item.file], item.right, [j for _, j in item.pairs], site.origins.get(item.file, {}),
            lambda line, item=item: _our_number(item.file, line, is_own=item.file == file), _to_upstream)
        table = '' if item.shown_at and not left else code_table(left or None, right or None)
        yield _section(site, file, item, table, _id(item.name, ids))


def _places(section: Section, moved: Mapping[int, Place]) -> dict[tuple[int, str], Place]:
    """{place of a statement: where it is now}."""
    return {section.statements[number].place: place for number, place in moved.items()}


def _id(name: str, ids: set[str]) -> str:
    """An id for a section that no other on its page has."""
    number, found = 1, name
    while found in ids:
        number += 1
        found = f'{name}-{number}'
    ids.add(found)
    return found


def _section(site: Site, file: str, item: Item, table: str, name: str) -> str:
    """One section: its heading, the reason, and the code, folded if it is as it was."""
    links = [f'<a href="{_upstream_link(site, file, item.left.lines)}">upstream</a>'] if item.left else []
    counts = []
    if item.left and item.right and item.status != 'same':
        counts.append(f'{len(item.kept)} of {len(item.left.statements)} statements kept')
    if item.left and item.moved[0]:
        counts.append(f'{len(item.moved[0])} moved')
    head = (f'<h2><a href="#{name}">{html.escape(_title(item))}</a> '
            f'<span class="is-{item.status}">{item.status}</span> {_where(item, file)}'
            f'<small>{", ".join(counts)}</small><span class="links">{" ".join(links)}</span></h2>')
    has_init = any(other.name == f'{item.name}.__init__' for other in site.comparisons[file].items)  # and shows them
    signatures = _signatures(item) if item.status == 'changed' and not has_init else ''
    body = head + signatures + _why(item)
    if table and item.status == 'same' and not item.is_moved and len(item.left.lines) > MIN_FOLD:
        table = f'<details class="fold"><summary>statements as upstream</summary>{table}</details>'
    return f'<section id="{name}" data-status="{item.status}">{body}\n{table}</section>'


def _title(item: Item) -> str:
    named = item.left or item.right
    return {'import': 'imports', 'code': 'code outside functions'}.get(named.kind, item.name)


def _where(item: Item, file: str) -> str:
    """Where the code of a moved item is, in words with a link."""
    if item.left and item.is_moved:
        name = html.escape(item.right.name)
        at = '' if item.file == file else f'{item.file}: '
        return f'<span class="to">moved to <a href="{_ours_href(item.file, item.right.start)}">{at}{name}</a></span> '
    if not item.left and item.shown_at:
        name = html.escape(item.shown_at)
        return f'<span class="to">beside <a href="#{name}">{name}</a></span> '
    return ''


def _why(item: Item) -> str:
    """The reason of an item."""
    if item.note:
        return f'<p class="why">{_markdown(item.note.why)}</p>'
    return '<p class="missing">unexplained: no row in UPSTREAM.md</p>' if item.needs_reason else ''


def _signatures(item: Item) -> str:
    """Arguments upstream and here."""
    entries = [entry for entry in item.entries if entry]
    kinds_differ = len({entry.kind for entry in entries}) > 1
    texts = [' '.join([e.kind] * (kinds_differ or not e.signature) + [e.signature]) for e in entries]
    return '<p class="signature">' + '<br><span class="dim">now</span> '.join(
        f'<code>{html.escape(text)}</code>' for text in texts) + '</p>'


def _markdown(text: str) -> str:
    return re.sub('`([^`]+)`', r'<code>\1</code>', html.escape(text, quote=False))


def _upstream_link(site: Site, file: str, lines: range) -> str:
    revision = site.upstream[file].revision
    return f'{REPOSITORY}/blob/{revision or "master"}/baselines/{file}#L{lines.start + 1}-L{lines.stop}'


def _upstream_number(site: Site, file: str, line: int) -> str:
    revision = site.upstream[file].revision or 'master'
    return f'<a id="L{line + 1}" href="{REPOSITORY}/blob/{revision}/baselines/{file}#L{line + 1}">{line + 1}</a>'


def _our_number(file: str, line: int, is_own: bool) -> str:
    return f'<a id="R{line + 1}">{line + 1}</a>' if is_own else f'<a href="{_ours_href(file, line)}">{line + 1}</a>'


def _ours_href(file: str, line: int) -> str:
    return f'{page_name(file)}#R{line + 1}'


def _to_ours(place: Place) -> str:
    return f'<a class="move" href="{_ours_href(*place)}" title="moved to {place.file}">→ {place.line + 1}</a>'


def _to_upstream(place: Place) -> str:
    return (f'<a class="move" href="{page_name(place.file)}#L{place.line + 1}" title="from baselines/{place.file}">'
            f'← {place.line + 1}</a>')


def _own_sections(site: Site, file: str, texts: dict[str, Text]) -> Iterator[str]:
    """HTML of a file that upstream lacks, with links to where its code came from."""
    ids = set()
    for section in site.ours.sections(file):
        side = Side(texts[file], section, (), site.origins[file], lambda line: _our_number(file, line, is_own=True),
                    _to_upstream)
        name = _id(section.name, ids)
        title = {'import': 'imports', 'code': 'code outside functions'}.get(section.kind, section.name)
        yield f'<section id="{name}"><h2><a href="#{name}">{title}</a></h2>{code_table(None, side)}</section>'


def file_page(site: Site, file: str, before: str | None, after: str | None, body: str) -> str:
    """The page of one file, with an outline, and links to the files before and after."""
    previous = f'<a href="{page_name(before)}">← {before}</a>' if before else ''
    following = f'<a href="{page_name(after)}">{after} →</a>' if after else ''
    mirrored = site.upstream.get(file)
    theirs = f'baselines/{file} <small>openai/baselines {mirrored.revision[:7]}</small>' if mirrored else \
        '<small>upstream has no such file</small>'
    mine = f'{site.ours.folder.name}/{file} <small>{site.revision}</small>'
    names = re.findall(r'<section id="([^"]+)" ?(?:data-status="(\w+)")?', body)
    outline = '\n'.join(f'<li><a href="#{name}" class="is-{status or "same"}">{_label(name)}</a>'
                        for name, status in names)
    figures = f'<p class="figures">{_figures_line(site.comparisons[file].figures)}</p>' if mirrored else ''
    return page(file, f'''<header>
<nav><span><a href="index.html">all files</a> &ensp; {previous}</span><span>{following}</span></nav>
<div><b>{theirs}</b><b>{mine}</b></div>
</header>
<div class="page">
<details class="outline" open><summary>outline</summary>
<ol>
{outline}
</ol></details>
<main class="file">{figures}
{body}
</main>
</div>''')


def _label(name: str) -> str:
    """An id in the outline."""
    return re.sub(r'^import(-\d+)?$', 'imports', re.sub(r'\*(-\d+)?$', '(code)', name))


def _figures_line(figures: Figures) -> str:
    return (f'{figures.in_place} of {figures.names} names in place, {figures.in_order} in order; '
            f'of {figures.statements} statements {figures.kept} kept, {figures.moved} moved; '
            f'{figures.explained} changes with a reason'
            + (f', <b class="missing">{figures.unexplained} without</b>' if figures.unexplained else ''))


# ================================================================
# The index
# ================================================================


def index_page(site: Site, files: Sequence[str], others: Sequence[str]) -> str:
    """The figures of each file, and all changes with their reasons."""
    links = {file: f'<a href="{page_name(file)}">{file}</a>' for file in (*files, *others)}
    total = Figures(*(0,) * len(Figures._fields))
    for comparison in site.comparisons.values():
        total += comparison.figures
    rows = '\n'.join(f'<tr><th>{head}{_cells(figures)}' for head, figures in [
        *((links[file], site.comparisons[file].figures) for file in files), ('all', total)])
    changes = '\n'.join(f'<h3>{links[file]}</h3>\n<table class="names fixed"><colgroup><col><col><col></colgroup>\n'
                        f'{_change_rows(file, site.comparisons[file].items)}\n</table>'
                        for file in files if site.comparisons[file].figures.explained
                        + site.comparisons[file].figures.unexplained)
    taken = f', and {len(others)} of ours alone that have code of upstream’s: ' + ', '.join(map(links.get, others))
    return page('onpolicybaselines beside Baselines', f'''<main>
<h1>onpolicybaselines beside Baselines</h1>
<p>{len(files) + len(others)} pages: {len(files)} files of Baselines ({', '.join(_revisions(site))}) beside those of
<b>{site.ours.folder.name} {site.revision}</b> that mirror them{taken if others else ""}. Files that
are empty on both sides have none.</p>
<p>On their pages <span class="key left">orange</span> is upstream and <span class="key right">blue</span> is ours;
where two lines are alike the stronger colour marks the words that differ. <span class="key moved">Violet</span> is code
that is elsewhere, unchanged; the arrow leads there. Comments, docstrings and <span class="key soft">annotations</span>
are tinted grey and count as no change, nor do quotes, line breaks and the name of the package. Numbers of upstream’s
lines lead to its repository.</p>
<h2>Files</h2>
<p class="dim">{LEGEND}</p>
<table class="names figures"><tr><th>file<th>{'<th>'.join(COLUMNS)}
{rows}
</table>
<h2>Changes</h2>
{changes}
</main>''')


def _revisions(site: Site) -> list[str]:
    revisions = dict.fromkeys(mirrored.revision for mirrored in site.upstream.values() if mirrored.revision)
    return [f'<a href="{REPOSITORY}/tree/{revision}">{revision[:7]}</a>' for revision in revisions] or ['?']


def _cells(figures: Figures) -> str:
    texts = [f'{figures.in_place} of {figures.names}', figures.in_order, f'{figures.kept} of {figures.statements}',
             figures.moved or '', figures.explained or '', figures.unexplained]
    css = [''] * 5 + ['missing' if figures.unexplained else '']
    return ''.join(f'<td class="number"><span class="{c}">{text}</span>' for text, c in zip(texts, css, strict=True))


def _change_rows(file: str, items: Sequence[Item]) -> str:
    """Table rows, one for each reason; then the names without one."""
    groups = {}
    for item in items:
        if item.needs_reason:
            name = f'<a href="{page_name(file)}#{item.name}">{html.escape(_title(item))}</a>'
            groups.setdefault((item.status, item.note), {})[name] = None
    return '\n'.join(f'<tr><td>{", ".join(names)}<td class="is-{status}">{status}<td>'
                     + (_markdown(note.why) if note else '<span class="missing">no row in UPSTREAM.md</span>')
                     for (status, note), names in groups.items())
