"""UPSTREAM.md: the revisions it speaks of, and a reason for each change.

Under a heading `### file.py` a table `| name | change | why |` has the reasons for that file. A row may name several
functions, classes, methods and assigned names, each in backticks, private ones too:

    changed      its arguments are others
    behaviour    its arguments are upstream's, what it does is not
    dropped      it is not here
    added        upstream lacks it

The row of a class is also that of its header, its attributes (it names those that upstream lacks) and of what was
changed in its methods without a row of their own. `import` stands for a file's imports, `*` for its code outside
functions. Rows under `### every file` count where a file has none; their names may be patterns: `*.state`.
"""
import fnmatch
import re
from collections.abc import Mapping
from typing import NamedTuple

EVERY_FILE = 'every file'


class Note(NamedTuple):
    """A row of UPSTREAM.md: 'changed', 'behaviour', 'dropped' or 'added'; and why."""

    change: str
    why: str


def read_notes(text: str) -> tuple[dict[str, dict[str, Note]], list[str]]:
    """({file: {name: note}}, errors) of all tables; the file of the general one is EVERY_FILE."""
    notes, errors, file = {}, [], None
    for line in text.splitlines():
        if line.startswith('#'):
            heading = re.fullmatch(rf'### (\S+\.py|{EVERY_FILE})', line.strip())
            file = heading and heading[1]
            if file:
                notes.setdefault(file, {})
            elif '.py' in line:
                errors.append(f'UPSTREAM.md: {line.strip()!r} is no heading of one file, such as `### common/cg.py`')
        elif file and line.startswith('|'):
            names, change, why = (re.split(r'(?<!\\)\|', line)[1:-1] + ['', '', ''])[:3]
            for name in re.findall('`([^`]+)`', names):
                if not why.strip():
                    errors.append(f'UPSTREAM.md, {file}: {name} has no reason')
                if name in notes[file]:
                    errors.append(f'UPSTREAM.md, {file}: {name} is there twice')
                notes[file][name] = Note(change.strip(), why.strip().replace(r'\|', '|'))
    return notes, errors


def general_note(notes: Mapping[str, Note], name: str, change: str) -> tuple[str, Note] | None:
    """(pattern, row) of those for every file that a change has, if any."""
    return next(((pattern, note) for pattern, note in notes.items()
                 if note.change == change and fnmatch.fnmatchcase(name, pattern)), None)


def read_revisions(text: str) -> list[str]:
    """The revisions of openai/baselines that UPSTREAM.md links to, in its order: master, then old_acktr_cont."""
    return re.findall(r'https://github\.com/openai/baselines/tree/([0-9a-f]{7,40})', text)
