"""This package beside the Baselines it mirrors: what became of each function, why, and where code went.

    python -m run.diff path/to/a/checkout/of/openai/baselines path/to/one/of/its/branch/old_acktr_cont --out diff

The reasons come from UPSTREAM.md. Exit status 1 if a change has none there, or a row is not true (any more): a line for
each on stderr. The pages are written all the same.
"""
import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from onpolicybaselines.common.files import git_revision
from run.diff.comparison import compare
from run.diff.notes import EVERY_FILE, read_notes, read_revisions
from run.diff.packages import Package
from run.diff.pages import Mirrored, Site, write_pages
from run.diff.tables import figures_table, names_table

ROOT = Path(__file__).parents[2]


def read_upstream(checkouts: Sequence[Path], root: Path) -> dict[str, Mirrored]:
    """{file: where it is from} of all files that are mirrored; a file that two checkouts have is from the first.

    Raises FileNotFoundError if a checkout is none.
    """
    pinned = read_revisions((root / 'UPSTREAM.md').read_text(encoding='utf-8'))
    ours, mirrored = Package(root / 'onpolicybaselines').files(), {}
    for number, checkout in enumerate(checkouts):
        package = Package(checkout / 'baselines')
        files = package.files() & ours
        if not files:
            raise FileNotFoundError(f'{package.folder} has none of the mirrored files: give the path of a checkout of '
                                    'openai/baselines, the folder that has baselines/ in it')
        revision = git_revision(checkout) if (checkout / '.git').exists() else None
        revision = revision or (pinned[number] if number < len(pinned) else '')
        for file in files - set(mirrored):
            mirrored[file] = Mirrored(package, revision)
    return {file: mirrored[file] for file in sorted(mirrored, key=lambda file: ('/' in file, file))}


def read_site(checkouts: Sequence[Path], root: Path) -> tuple[Site, list[str]]:
    """(what the pages show, errors of UPSTREAM.md) of the folder `root`, with onpolicybaselines/ and UPSTREAM.md."""
    upstream, ours = read_upstream(checkouts, root), Package(root / 'onpolicybaselines')
    notes, errors = read_notes((root / 'UPSTREAM.md').read_text(encoding='utf-8'))
    unknown = [file for file in notes if file not in upstream and file != EVERY_FILE]
    if len(checkouts) > 1:
        errors += [f'UPSTREAM.md, {file}: there is no such mirrored file' for file in unknown]
    else:
        errors += [f'UPSTREAM.md, {file}: there is no such file' for file in unknown if file not in ours.files()]
    comparisons, stale, origins = compare({file: m.package for file, m in upstream.items()}, ours, notes)
    revision = git_revision(root, abbrev=7) if (root / '.git').exists() else None
    site = Site(upstream, ours, revision or '', comparisons, origins)
    return site, [*errors, *stale, *(error for comparison in comparisons.values() for error in comparison.errors)]


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog='python -m run.diff', description=__doc__.partition('\n')[0])
    parser.add_argument('upstream', type=Path, nargs='*', help='checkouts of openai/baselines, the folders that have '
                        'baselines/ in them: master, and the branch old_acktr_cont for what only it has')
    parser.add_argument('--out', type=Path, default=Path('diff'), help='folder for the pages (default: diff)')
    parser.add_argument('--table', type=Path, metavar='FILE', help='write the figures of the files as a table, too')
    parser.add_argument('--before', type=Path, metavar='FOLDER', help='an older checkout of this project: the table '
                        'has its figures, too')
    parser.add_argument('--names', type=Path, metavar='FILE', help="write upstream's names as JSON, too")
    args = parser.parse_args(argv)
    try:
        if not args.upstream:
            raise FileNotFoundError('give the path of a checkout of openai/baselines: make diff UPSTREAM=path')
        site, errors = read_site(args.upstream, root)
        pages = write_pages(site, args.out)
        if args.table:
            _write_table(args, site)
        if args.names:
            args.names.write_text(_names(args.upstream, site), encoding='utf-8')
    except (OSError, SyntaxError) as e:
        print(f'error: {e}', file=sys.stderr)
        return 2
    unexplained = [f'{file}: {item.name} ({item.status})' for file, comparison in site.comparisons.items()
                   for item in comparison.unexplained]
    print(*errors, *unexplained, sep='\n', end='\n' * bool(errors or unexplained), file=sys.stderr)
    if len(args.upstream) == 1:
        print('the files of the branch old_acktr_cont are left out: give a checkout of it, too (make diff ACKTR=path)')
    print(f'wrote {args.out / "index.html"}')
    print(f'pages: {pages}, unexplained changes: {len(unexplained)}')
    return 1 if errors or unexplained else 0


def _write_table(args: argparse.Namespace, site: Site) -> None:
    """The table of figures; those before are of the same upstream."""
    before = None
    caption = "What is left of upstream's files in those that mirror them"
    if args.before:
        older = read_site(args.upstream, args.before)[0]
        before = {file: comparison.figures for file, comparison in older.comparisons.items()}
        revision = git_revision(args.before, abbrev=7) if (args.before / '.git').exists() else None
        caption += f', before ({revision or args.before.name}) → now'
    after = {file: comparison.figures for file, comparison in site.comparisons.items()}
    args.table.parent.mkdir(parents=True, exist_ok=True)
    args.table.write_text(figures_table(before, after, caption + ' (`python -m run.diff --table`).'), encoding='utf-8')


def _names(checkouts: Sequence[Path], site: Site) -> str:
    """Upstream's names: of all files of the first checkout, and of those mirrored of the others."""
    first = Package(checkouts[0] / 'baselines')
    packages = {file: mirrored.package for file, mirrored in site.upstream.items()}
    return names_table({**packages, **dict.fromkeys(first.files(), first)})


if __name__ == '__main__':
    sys.exit(main())
