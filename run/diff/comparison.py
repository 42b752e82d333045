"""What became of upstream's functions and statements: kept, moved, changed, dropped; what was added; the reasons."""
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from run.diff.notes import EVERY_FILE, Note, general_note
from run.diff.packages import Entry, Package
from run.diff.sections import Section
from run.diff.sequences import equal_pairs, in_order

ALIKE = 0.5        # share of a function's letters from which on another one is where it went
MOVED = 20         # letters of statements that count as moved within a file,
MOVED_ALONE = 30   # of one statement,
MOVED_AWAY = 60    # of two or more to another file


class Place(NamedTuple):
    """A line, from 0, of a file."""

    file: str
    line: int


@dataclass(eq=False)
class Item:
    """A section of upstream's and what is left of it here, or a section that upstream lacks.

    status  'same', 'behaviour' (what it does), 'changed' (its arguments), 'dropped' or 'added'
    file    of `right`: another than upstream's, or another function there, if `moved`
    pairs   of equal statements of both sides; moved: {statement of a side: where it is on the other one}, for both
    """

    name: str
    left: Section | None
    right: Section | None = None
    file: str = ''
    is_moved: bool = False
    status: str = ''
    note: Note | None = None
    entries: tuple[Entry | None, Entry | None] = (None, None)
    pairs: list[tuple[int, int]] = field(default_factory=list)
    moved: tuple[dict[int, Place], dict[int, Place]] = field(default_factory=lambda: ({}, {}))
    shown_at: str = ''  # name of the item that shows the same code of ours

    @property
    def kept(self) -> list[tuple[int, int]]:
        """The pairs of statements that stayed where they were."""
        return [] if self.is_moved else self.pairs

    @property
    def needs_reason(self) -> bool:
        """Whether it is not as it was upstream; tests among upstream's functions are not mirrored."""
        return self.status != 'same' and not self.name.startswith('test_')


class Figures(NamedTuple):
    """Numbers of a file: names of upstream and statements of upstream, and of what was changed."""

    names: int
    in_place: int
    in_order: int
    statements: int
    kept: int
    moved: int
    explained: int
    unexplained: int

    def __add__(self, other: 'Figures') -> 'Figures':
        return Figures(*map(sum, zip(self, other, strict=True)))


class Comparison(NamedTuple):
    """One mirrored file: its items in the order of upstream, both sides' names, and what is not true in UPSTREAM.md."""

    items: list[Item]
    names: list[str]
    our_names: list[str]
    errors: list[str]

    @property
    def unexplained(self) -> list[Item]:
        """One item for each name without a reason; methods of a class that is new, or gone, are its own."""
        found = {item.name: item for item in self.items if item.needs_reason and not item.note}
        return [item for name, item in found.items() if item.status not in ('added', 'dropped')
                or getattr(found.get(name.rpartition('.')[0]), 'status', '') != item.status]

    @property
    def figures(self) -> Figures:
        """The numbers of the file."""
        here = [name for name in self.our_names if name in set(self.names)]
        left = [item for item in self.items if item.left]
        return Figures(len(self.names), len(here), len(in_order(here, self.names)),
                       sum(len(item.left.statements) for item in left), sum(len(item.kept) for item in left),
                       sum(len(item.moved[0]) for item in left),
                       len({item.name for item in self.items if item.needs_reason and item.note}),
                       len(self.unexplained))


def compare(upstream: Mapping[str, Package], ours: Package, notes: Mapping[str, Mapping[str, Note]]
            ) -> tuple[dict[str, Comparison], list[str], dict[str, dict[tuple, Place]]]:
    """({mirrored file: comparison}, errors of the general rows, {file of ours: {place of a statement: where it was}}).

    upstream: the package that each mirrored file is in.
    """
    items = {file: _pair(package.sections(file), ours.sections(file), file) for file, package in upstream.items()}
    free = _free_sections(items, ours)
    for file in upstream:
        for item in items[file]:
            if item.left and not item.right and item.left.kind in ('def', 'class', 'value'):
                _resolve(item, file, ours)
    for file in upstream:
        for item in items[file]:
            if item.left and not item.right and item.left.kind == 'def':
                _find_alike(item, file, free)
    origins = _match(items, ours)
    for file in upstream:
        _share_code(items[file], file, items)
    used, comparisons = set(), {}
    for file, package in upstream.items():
        known = notes.get(file, {})
        for item in items[file]:
            _judge(item, file, package, ours)
        for item in items[file]:
            item.note = _reason(item, items[file], known)
            if not item.note and item.needs_reason:
                general = general_note(notes.get(EVERY_FILE, {}), item.name, item.status)
                if general:
                    used.add(general[0])
                    item.note = general[1]
        errors = [f'UPSTREAM.md, {file}: {error}' for error in _false_rows(items[file], known)]
        comparisons[file] = Comparison(items[file], package.names(file), ours.names(file), errors)
    stale = [f'UPSTREAM.md, {EVERY_FILE}: no change needs the row of {name}'
             for name in notes.get(EVERY_FILE, {}) if name not in used]
    return comparisons, stale, origins


# ================================================================
# Sections
# ================================================================


def _keys(sections: Sequence[Section]) -> dict[tuple, Section]:
    """Sections by name; code without one by its first two words; the same again by its number."""
    count, keys = Counter(), {}
    for section in sections:
        key = (section.name, *(re.findall(r'\w+', section.texts[0])[:2] if section.kind == 'code' else ()))
        keys[*key, count[key]] = section
        count[key] += 1
    return keys


def _pair(left: Sequence[Section], right: Sequence[Section], file: str) -> list[Item]:
    """Items of both sides' sections, in the order of `left`; what only `right` has comes after what precedes it."""
    theirs, mine = _keys(left), _keys(right)
    items = {key: Item(section.name, section, mine.get(key), file) for key, section in theirs.items()}
    order, previous = list(items), None
    for key, section in mine.items():
        if key not in theirs:
            items[key] = Item(section.name, None, section, file)
            owner = previous[0].rpartition('.')[0] if previous else ''
            place = order.index(previous) + 1 if previous else 0
            while owner and not section.name.startswith(f'{owner}.') and place < len(order) and (
                    order[place][0].startswith(f'{owner}.')):
                place += 1  # a class is left behind whole
            order.insert(place, key)
        previous = key
    return [items[key] for key in order]


def _free_sections(items: Mapping[str, Sequence[Item]], ours: Package) -> dict[tuple[str, int], Section]:
    """Functions and classes of ours, by file and first line, that upstream has not in that file under that name."""
    taken = {(file, item.right.start) for file, some in items.items() for item in some if item.left and item.right}
    return {(file, section.start): section for file in sorted(ours.files()) for section in ours.sections(file)
            if section.kind in ('def', 'class') and (file, section.start) not in taken}


def _resolve(item: Item, file: str, ours: Package) -> None:
    """What is imported from, or inherited from a class in, another place."""
    found = ours.find(file, item.name)
    if found:
        item.file = found[0]
        item.right = ours.section_of(*found)
        item.is_moved = True


def _find_alike(item: Item, file: str, free: dict[tuple[str, int], Section]) -> None:
    """A function under another name, or in another file, that has most of its statements; upstream lacks it."""
    last = item.name.rpartition('.')[2]
    theirs = Counter(statement for statement in item.left.texts[1:])
    weights = {statement.text: statement.weight for statement in item.left.statements}
    total = sum(weights[text] * count for text, count in theirs.items())
    best, best_place = 0, None
    for place, section in free.items():
        if section.kind != 'def':
            continue
        shared = sum(weights[text] * count for text, count in (theirs & Counter(section.texts[1:])).items())
        is_namesake = section.name.rpartition('.')[2].lower() == last.lower() and place[0] == file
        least = max(MOVED_ALONE if shared == total else MOVED_AWAY, ALIKE * total)
        if shared >= (MOVED if is_namesake else least):
            worth = shared / max(1, total) + is_namesake
            if worth > best:
                best, best_place = worth, place
    if best_place:
        item.file, item.right, item.is_moved = best_place[0], free.pop(best_place), True


def _share_code(items: Sequence[Item], file: str, everything: Mapping[str, Sequence[Item]]) -> None:
    """Code of ours is shown once, beside what stayed if there is that, else beside what moved there."""
    shown = {(item.file, item.right.start): item for item in items if item.left and item.right and not item.is_moved}
    elsewhere = {(other, item.right.start) for other, some in everything.items() if other != file
                 for item in some if item.left and item.right and not item.is_moved}
    for item in items:
        if item.right and (item.is_moved or not item.left):
            place = (item.file, item.right.start)
            if place in shown:
                item.shown_at = shown[place].name
            elif place in elsewhere:
                item.shown_at = item.right.name
            elif item.left:
                shown[place] = item
    for item in items:  # what moved to a section of this file is shown beside its origin, wherever that comes
        if not item.left and not item.shown_at and (item.file, item.right.start) in shown:
            item.shown_at = shown[item.file, item.right.start].name


# ================================================================
# Statements
# ================================================================


def _match(items: Mapping[str, Sequence[Item]], ours: Package) -> dict[str, dict[tuple, Place]]:
    """Find the statements that stayed and those that moved; returns {file of ours: {place: where it was upstream}}."""
    taken, origins = set(), defaultdict(dict)  # (file, first line of a section, number of the statement)
    for file, some in items.items():
        for item in some:
            if item.left and item.right:
                item.pairs = equal_pairs(item.left.texts, item.right.texts)
                taken.update((item.file, item.right.start, j) for _, j in item.pairs)
                for i, j in item.pairs if item.is_moved else ():
                    _note_move(item.left, i, item.right, j, file, item.file, item.moved, origins)
    places = defaultdict(list)  # of statements of ours without a partner
    for file in sorted(ours.files()):
        for section in ours.sections(file):
            for j, statement in enumerate(section.statements):
                if (file, section.start, j) not in taken:
                    places[statement.text].append((file, section, j))
    right_moves = {(item.file, item.right.start): item.moved[1] for some in items.values() for item in some
                   if item.right and not item.is_moved}
    for file, some in items.items():
        for item in some:
            if item.left:
                for i, (other, section, j) in _moves(item, file, places, taken):
                    moved = item.moved[0], right_moves.get((other, section.start), {})
                    _note_move(item.left, i, section, j, file, other, moved, origins)
                    taken.add((other, section.start, j))
    return origins


def _note_move(left: Section, i: int, right: Section, j: int, file: str, other: str, moved: tuple,
               origins: dict) -> None:
    """Statement i of `left`, in `file`, is statement j of `right`, in `other`."""
    mine, theirs = right.statements[j], left.statements[i]
    moved[0][i], moved[1][j] = Place(other, mine.lines[0]), Place(file, theirs.lines[0])
    origins[other][mine.place] = Place(file, theirs.lines[0])


def _moves(item: Item, file: str, places: Mapping, taken: set) -> Iterator[tuple[int, tuple[str, Section, int]]]:
    """(statement, where it is now) of what is left of a section: the longest runs of statements, nearest first."""
    left = item.left.statements
    done = {i for i, _ in item.kept} | set(item.moved[0])
    i = 0
    while i < len(left):
        best, best_worth = [], 0
        for file_there, section, j in places.get(left[i].text, ()) if i not in done else ():
            run, weight = [], 0
            while (i + len(run) < len(left) and j + len(run) < len(section.statements)
                   and i + len(run) not in done and (file_there, section.start, j + len(run)) not in taken
                   and left[i + len(run)].text == section.statements[j + len(run)].text):
                weight += left[i + len(run)].weight
                run.append((i + len(run), (file_there, section, j + len(run))))
            here = file_there == file
            least = (MOVED if len(run) > 1 else MOVED_ALONE) if here else MOVED_AWAY if len(run) > 1 else float('inf')
            if weight >= least and weight + here > best_worth:
                best, best_worth = run, weight + here
        yield from best
        i += max(1, len(best))


# ================================================================
# Reasons
# ================================================================


def _judge(item: Item, file: str, upstream: Package, ours: Package) -> None:
    """Set status and entries."""
    named = item.left or item.right
    if named.kind in ('def', 'class') or (named.kind == 'value' and '.' not in item.name):
        item.entries = (item.left and upstream.entry(file, item.name), item.right and ours.entry(file, item.name))
        if item.left and not item.entries[1]:
            item.status = 'dropped'
            return
    if not item.left:
        item.status = 'added' if named.kind in ('def', 'class', 'value') else 'behaviour'
    elif not item.right:
        item.status = 'dropped' if named.kind in ('def', 'class') or item.entries[0] else 'behaviour'
    elif item.entries[0] != item.entries[1]:
        item.status = 'changed'
    else:
        item.status = 'same' if _body(item.left) == _body(item.right) else 'behaviour'
    if named.kind == 'value' and '.' in item.name:
        item.status = 'behaviour' if item.needs_reason else 'same'


def _body(section: Section) -> list[str]:
    """What a section states, whatever name it has."""
    name = section.name.rpartition('.')[2]
    return [text.replace(f'def {name}(', 'def (', 1) if section.kind == 'def' else text for text in section.texts]


def _reason(item: Item, items: Sequence[Item], notes: Mapping[str, Note]) -> Note | None:
    """The row of an item: its own, or that of its class."""
    named = item.left or item.right
    if named.kind == 'import' or named.kind == 'code' and item.name == '*':
        return notes.get(item.name) if item.needs_reason else None
    own = next((notes[name] for name in (item.name, *named.names) if name in notes), None)
    owner = item.name.rpartition('.')[0]
    if own or not owner:
        return own
    row = notes.get(owner)
    covered = ('behaviour', 'changed') if row and row.change in ('behaviour', 'changed') else (row and row.change,)
    return row if item.status in covered or (item.name == f'{owner}.__init__' and item.needs_reason) else None


def status_of(name: str, items: Sequence[Item]) -> str | None:
    """What became of a name that a row may have; None if neither side has it."""
    own = [item for item in items if item.name == name or name in (item.left or item.right).names]
    if not own:
        return None
    statuses = {item.status for item in own}
    worst = next(status for status in ('changed', 'dropped', 'added', 'behaviour', 'same') if status in statuses)
    parts = [item for item in items if item.name.startswith(f'{name}.')]
    return 'behaviour' if worst == 'same' and any(item.needs_reason for item in parts) else worst


def _false_rows(items: Sequence[Item], notes: Mapping[str, Note]) -> Iterator[str]:
    """A line for each row that is not true."""
    for name, note in notes.items():
        status = status_of(name, items)
        if status is None:
            yield f'{name} is no name in the upstream file, nor here'
        elif status == 'same':
            yield f'{name} has a row {note.change!r}, but is as it was upstream'
        elif note.change != status:
            yield f'{name} has a row {note.change!r}, but is {status!r}'
