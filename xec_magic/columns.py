"""Command output as columns under a header, as people read it. Pure functions of text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from xec_magic.errors import ParseError
from xec_magic.formats import BOM, check_headings, refuse, to_lines

__all__ = ["check_is_header", "header_index", "read_table", "to_table"]

# Headings of more than one word in tables whose columns may be one blank apart; elsewhere the blanks tell.
_HEADING = re.compile(r"Mounted on|(?:Local|Peer) Address:Port|(?:Local|Foreign) Address|PID/Program name|\S+")
_WORD = re.compile(r"\S+")
_GROUP = re.compile(r"\S+(?: \S+)*")
# A word that no heading has: numbers, dates, times, sizes, paths, permissions, rulers, `key:` and `key=value`.
_VALUE = re.compile(
    r"[\d.,:/%+-]*\d[\d.,:/%+-]*|\d[\d.,]*[BKMGTP](?:i?B)?|/\S+|[-bcdlps][-rwxsStT]{9}[.+@]?|[-=]{2}.*|.*:|.*=.*"
)
_PREAMBLE = re.compile(r"Active (?:Internet|UNIX|Multipath)\b.*|\s*\d\d:\d\d:\d\d up .*load average.*")  # netstat, w
_LEGEND = re.compile(
    r"\s*(?:Legend: )?(?:LOAD|ACTIVE|SUB|JOB|UNIT)\s+[=→] .*|\d+ [\w ]+ listed\..*|(?:To show|Pass) .*"
)
_MARK = re.compile(r"^ ?[●○◌↻×*✗](?= )")  # systemctl, before the unit's name
_BRANCH = re.compile(r"^(?:[│├└─ ]|\|-|`-|\| )+")  # lsblk, lsns, ps --forest


@dataclass(frozen=True, slots=True)
class _Cell:
    """Some text of a line and the character columns `start` to `end` (exclusive) where it stands."""

    text: str
    start: int
    end: int

    def overlaps(self, other: _Cell) -> bool:
        return self.start < other.end and other.start < self.end


def to_table(text: str) -> list[dict[str, str]]:
    """One dict a row of columns printed under a header, as by `ps`, `df`, `kubectl get`, `docker ps`, `lsblk`; values are text.

    How a line is cut, by what the output shows:

    - A header with tabs: at the tabs.
    - Cells that all begin under their heading, two or more blanks apart (kubectl, docker): at the headings, so a
      heading or a cell may hold blanks, and a cell may be empty.
    - Otherwise each word of the header is a column (`Mounted on` and the addresses of `ss` and `netstat` are known to
      be one). A line whose cells all stand at the left or right edge of a heading, or within it, is cut there; cells
      may be empty. Any other line is cut into words, the last column taking the rest, if each word can belong to its
      column: none lies left of it, and none right of it but behind a cell that was too wide.

    A line that fits none of these raises: nothing is guessed. Known and dropped: `top`'s and `netstat`'s lines before the
    header, systemd's marks and legend, the branches of a tree before a name, a ruler below the header. A first column
    without heading (`free`) is named `""`.

    Raises:
        ParseError: no header, a line that does not fit it, equal headings, a second table.

    Example:
        >>> to_table("NAME   STATUS\\nweb1   Up 2 hours\\n")
        [{'NAME': 'web1', 'STATUS': 'Up 2 hours'}]
    """
    names, rows = read_table(text)
    return [dict(zip(names, row, strict=True)) for row in rows]


def read_table(text: str) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a table; as `to_table`.

    Raises:
        ParseError: as `to_table`.
    """
    lines = [line.rstrip("\r") for line in to_lines(text.removeprefix(BOM))]
    top = header_index(lines)
    end = next((i for i in range(top + 1, len(lines)) if not lines[i].strip()), len(lines))
    for index in range(end, len(lines)):
        if lines[index].strip() and not _LEGEND.fullmatch(lines[index]):
            refuse("more text after the table's blank line; ask for one table at a time", index + 1, lines[index:])
    first = top + 2 if top + 1 < end and re.fullmatch(r"[-=─ ]*[-=─]{2}[-=─ ]*", lines[top + 1]) else top + 1
    header = lines[top]
    rows = lines[first:end]
    if header.startswith("  "):
        rows = [_MARK.sub(lambda mark: " " * len(mark[0]), row) for row in rows]
    if "\t" in header:
        names = [name.strip() for name in header.split("\t")]
        cut = [[cell.strip() for cell in row.split("\t")] for row in rows]
    else:
        headings = _left_headings(header, rows)
        if headings is not None:
            cut = [_cut_left(row, headings) for row in rows]
        else:
            headings = _word_headings(header, rows)
            spaced = min((b.start - a.end for a, b in pairwise(headings)), default=2) >= 2
            cut = [_cut_edges(row, headings, spaced=spaced) or _cut_words(row, headings) for row in rows]
        names = [heading.text for heading in headings]
    check_is_header(names, top, lines)
    if not rows:
        return names, []
    check_headings(names, top + 1, lines)
    for index, cells in enumerate(cut):
        if len(cells) != len(names):
            found = len(cells) or len(rows[index].split())
            what = (
                f"{found} fields under a header of {len(names)}"
                if found < len(names)
                else "the line does not stand under its header"
            )
            refuse(f"{what} ({' | '.join(names)})", first + index + 1, lines[first + index :])
        cells[0] = _BRANCH.sub("", cells[0])
    return names, cut


def header_index(lines: Sequence[str]) -> int:
    """Which line is the header.

    Raises:
        ParseError: there is none.
    """
    index = 0
    while index < len(lines) and not lines[index].strip():
        index += 1
    if index < len(lines) and lines[index].startswith("top - "):
        index = next((i for i in range(index, len(lines)) if not lines[i].strip()), len(lines)) + 1
    elif index < len(lines) and _PREAMBLE.fullmatch(lines[index]):
        index += 1
    if index >= len(lines):
        raise ParseError("the output is empty; a table begins with a header line. The error stream is in .stderr")
    return index


def check_is_header(names: Sequence[str], top: int, lines: Sequence[str]) -> None:
    """Refuse a line that has values where a header has names.

    Raises:
        ParseError: it has.
    """
    value = next((word for name in names for word in name.split() if _VALUE.fullmatch(word)), None)
    if value is not None:
        refuse(f"{value!r} is no heading, so this line is no header; use the lines instead", top + 1, lines[top:])
    if len(names) == 1:
        refuse("one word is no table's header; use the lines instead", top + 1, lines[top:])


def _left_headings(header: str, rows: Sequence[str]) -> list[_Cell] | None:
    """The headings, if every cell begins exactly below one and two blanks or more behind the cell before; else None."""
    headings = [_Cell(m[0], m.start(), m.end()) for m in _GROUP.finditer(header)]
    if len(headings) < 2 or headings[0].start:
        return None
    used = [False] * len(headings)
    for row in rows:
        if row[:1] in {"", " "}:
            return None
        for number, heading in enumerate(headings):
            start = heading.start
            if start and row[start - 2 : start].strip():
                return None
            cell = row[start : headings[number + 1].start if number + 1 < len(headings) else None]
            if cell.strip():
                # Two blanks within a cell below a heading of two words: these are two columns, one blank apart.
                if cell[0] == " " or (" " in heading.text and "  " in cell.rstrip()):
                    return None
                used[number] = True
    if any(" " in heading.text and not seen for heading, seen in zip(headings, used, strict=True)):
        return None
    return headings


def _cut_left(row: str, headings: Sequence[_Cell]) -> list[str]:
    starts = [heading.start for heading in headings]
    cells = [row[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
    # Only its first cell, and not padded to the others: a stray line, not a row.
    return cells if any(cells[1:]) or len(row) >= starts[-1] else []


def _word_headings(header: str, rows: Sequence[str]) -> list[_Cell]:
    headings = [_Cell(m[0], m.start(), m.end()) for m in _HEADING.finditer(header)]
    first = headings[0]
    if first.start >= 2:
        starts = [m for m in map(_WORD.search, rows) if m]
        if starts and all(m.end() < first.start for m in starts):
            headings.insert(0, _Cell("", 0, first.start - 2))
    return headings


def _cut_edges(row: str, headings: Sequence[_Cell], *, spaced: bool) -> list[str]:
    """Cells of a row that all stand at an edge of their heading or within it; nothing if they do not."""
    spans: dict[int, tuple[int, int]] = {}
    last = -1
    for word in _WORD.finditer(row):
        start, end = word.span()
        if start >= headings[-1].start:
            spans[len(headings) - 1] = (start, len(row.rstrip()))
            break
        under = [n for n, h in enumerate(headings) if start < h.end and h.start < end]
        # Between two headings stands only a further word of the cell before.
        if len(under) > 1 or (not under and (last < 0 or start != spans[last][1] + 1)):
            return []
        last = under[0] if under else last
        spans[last] = (spans[last][0] if last in spans else start, end)
    for number, (start, end) in spans.items():
        heading = headings[number]
        if number == len(headings) - 1 and start >= heading.start:
            continue  # the last column may be indented: ps --forest
        if start != heading.start and end != heading.end and not (heading.start <= start and end <= heading.end):
            return []
    missing = len(headings) - 1 - max(spans, default=-1)
    padded = missing and len(row) >= headings[-missing].end
    if not padded and (missing > 1 and not (spaced and len(spans) > 1)):
        return []
    return [row[slice(*spans[n])] if n in spans else "" for n in range(len(headings))]


def _cut_words(row: str, headings: Sequence[_Cell]) -> list[str]:
    """The row's words, the last column taking the rest; nothing if one cannot belong to its column."""
    words = [_Cell(m[0], m.start(), m.end()) for m in _WORD.finditer(row)]
    count = len(headings)
    if len(words) >= count:
        rest = _Cell(row[words[count - 1].start :].rstrip(), words[count - 1].start, len(row.rstrip()))
        words = [*words[: count - 1], rest]
    elif len(words) < count - 1 or not all(w.overlaps(h) for w, h in zip(words, headings, strict=False)):
        return []
    shifted = False
    for number, (word, heading) in enumerate(zip(words, headings, strict=False)):
        if word.end <= heading.start:
            return []
        # Right of its heading: only because a wider cell before it took the place.
        if (
            word.start >= heading.end
            and 0 < number < count - 1
            and not shifted
            and words[number - 1].end < heading.start
        ):
            return []
        shifted = word.start >= heading.end
    return [word.text for word in words] + [""] * (count - len(words))
