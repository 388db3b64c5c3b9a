"""Command output as values: lines, JSON, CSV, columns under a header, a DataFrame. Pure functions of text."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

from xec_magic.errors import OptionError, ParseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

__all__ = ["to_csv", "to_frame", "to_json", "to_jsonl", "to_lines", "to_table"]

SHOWN_WIDTH: Final = 120  # characters of a wrong line in a message: one screen line
_BOM: Final = "\ufeff"

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
_NUMBER = re.compile(r"[-+]?(?:0|[1-9]\d{0,17})(?:\.\d+)?(?:[eE][-+]?\d{1,2})?")


# -- lines and JSON -------------------------------------------------------------------------------


def to_lines(text: str) -> list[str]:
    """Lines without their newlines. Only a newline ends a line: not `\\r`, form feed or U+2028."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return lines


def to_json(text: str) -> Any:
    """The one JSON value that the text is.

    Raises:
        ParseError: it is none; the message shows the line and column.

    Example:
        >>> to_json('{"a": [1, 2]}')
        {'a': [1, 2]}
    """
    return _load(text.removeprefix(_BOM), 1, "JSON")


def to_jsonl(text: str) -> list[Any]:
    """One JSON value a line; blank lines are skipped, and no text gives an empty list.

    Raises:
        ParseError: a line is no JSON value.
    """
    lines = to_lines(text.removeprefix(_BOM))
    return [_load(line, number, "JSON lines") for number, line in enumerate(lines, 1) if line.strip()]


def _load(text: str, first_line: int, form: str) -> Any:
    if not text.strip():
        raise ParseError(f"the output is empty, so it is no {form}; the error stream is in .stderr")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        _refuse(
            f"no {form}: {error.msg}", first_line + error.lineno - 1, to_lines(text)[error.lineno - 1 :], error.colno
        )
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits; a thousand brackets
        raise ParseError(f"the output is no {form} that can be read: {error}; the raw text is in .stdout") from error


def _refuse(what: str, number: int, rest: Sequence[str], column: int | None = None) -> NoReturn:
    """Raise the error for line `number`, which is the first of `rest`; `column` counts from 1."""
    line = rest[0] if rest else ""
    shown, at = line, column
    if len(line) > SHOWN_WIDTH:
        start = max(0, min((column or 1) - SHOWN_WIDTH // 2, len(line) - SHOWN_WIDTH))
        head, tail = "…" if start else "", "…" if start + SHOWN_WIDTH < len(line) else ""
        shown = head + line[start : start + SHOWN_WIDTH] + tail
        at = None if column is None else column - start + len(head)
    # A tab or an escape sequence would move the caret away from its place.
    shown = "".join(char if char.isprintable() else " " for char in shown)
    message = f"line {number}" + (f", column {column}" if column else "") + f": {what}\n    {shown}"
    if at is not None:
        message += "\n    " + " " * (at - 1) + "^"
    raise ParseError(message + "\nThe raw text is in .stdout.", number, line) from None


# -- CSV ------------------------------------------------------------------------------------------


def to_csv(text: str, delimiter: str = ",") -> list[dict[str, str]]:
    """One dict a row of CSV with a header line; all values are text.

    Quoted fields may hold newlines, a byte-order mark is dropped, blank lines are skipped. Two columns of the same
    name are refused: a dict could hold only one of them.

    Args:
        text: The output.
        delimiter: One character.

    Raises:
        ParseError: no header, a row with more or fewer fields than the header, equal headings, an open quote.

    Example:
        >>> to_csv('name,note\\nweb1,"up, well"\\n')
        [{'name': 'web1', 'note': 'up, well'}]
    """
    header, rows = _read_csv(text, delimiter)
    return [dict(zip(header, row, strict=True)) for row in rows]


def _read_csv(text: str, delimiter: str) -> tuple[list[str], list[list[str]]]:
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise OptionError(f"{delimiter!r} cannot separate fields; give one character, such as ',' or '\\t'")
    text = text.removeprefix(_BOM)
    lines = to_lines(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    rows: list[list[str]] = []
    number = 1
    try:
        for fields in reader:
            if not fields or fields == [""]:
                pass
            elif header is None:
                header = fields
                _check_headings(header, number, lines)
            elif len(fields) != len(header):
                _refuse(f"{len(fields)} fields under a header of {len(header)}", number, lines[number - 1 :])
            else:
                rows.append(fields)
            number = reader.line_num + 1
    except csv.Error as error:
        what = "a quote is opened and never closed" if "unexpected end" in str(error) else str(error)
        _refuse(f"no CSV: {what}", number, lines[number - 1 :])
    if header is None:
        raise ParseError("the output is empty; CSV begins with a header line. The error stream is in .stderr")
    return header, rows


def _check_headings(header: Sequence[str], number: int, lines: Sequence[str]) -> None:
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        _refuse(f"two columns are called {twice[0]!r}; a row could hold only one of them", number, lines[number - 1 :])


# -- columns under a header -----------------------------------------------------------------------


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
    names, rows = _read_table(text)
    return [dict(zip(names, row, strict=True)) for row in rows]


def _read_table(text: str) -> tuple[list[str], list[list[str]]]:
    lines = [line.rstrip("\r") for line in to_lines(text.removeprefix(_BOM))]
    top = _header_index(lines)
    end = next((i for i in range(top + 1, len(lines)) if not lines[i].strip()), len(lines))
    for index in range(end, len(lines)):
        if lines[index].strip() and not _LEGEND.fullmatch(lines[index]):
            _refuse("more text after the table's blank line; ask for one table at a time", index + 1, lines[index:])
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
    _check_is_header(names, top, lines)
    if not rows:
        return names, []
    _check_headings(names, top + 1, lines)
    for index, cells in enumerate(cut):
        if len(cells) != len(names):
            found = len(cells) or len(rows[index].split())
            what = (
                f"{found} fields under a header of {len(names)}"
                if found < len(names)
                else "the line does not stand under its header"
            )
            _refuse(f"{what} ({' | '.join(names)})", first + index + 1, lines[first + index :])
        cells[0] = _BRANCH.sub("", cells[0])
    return names, cut


def _header_index(lines: Sequence[str]) -> int:
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


def _check_is_header(names: Sequence[str], top: int, lines: Sequence[str]) -> None:
    value = next((word for name in names for word in name.split() if _VALUE.fullmatch(word)), None)
    if value is not None:
        _refuse(f"{value!r} is no heading, so this line is no header; use the lines instead", top + 1, lines[top:])
    if len(names) == 1:
        _refuse("one word is no table's header; use the lines instead", top + 1, lines[top:])


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


# -- DataFrames -----------------------------------------------------------------------------------


def to_frame(text: str, form: Literal["auto", "table"] = "auto") -> pd.DataFrame:
    """A DataFrame of JSON, JSON lines, CSV (comma, tab or semicolon) or columns, told by how the text looks.

    With `form="table"` the text is columns under a header, and nothing is told by looks.

    A JSON array of objects gives a row each; an object of equally long lists gives columns, any other object one row.
    Columns of CSV and tables become numbers where every cell is one (empty cells become NaN); numbers with leading
    zeros or of more than 18 digits stay text, since they would come back changed.

    Raises:
        ParseError: the text is none of these, or CSV by more than one delimiter; the message says what was tried.
        OptionError: pandas is not installed.
    """
    try:
        import pandas as pd  # noqa: F401 - the extra may be missing; the functions below import it again
    except ImportError as error:
        raise OptionError("pandas is not installed; pip install 'xec-magic[frames]'") from error

    text = text.removeprefix(_BOM)
    start = text.lstrip()[:1]
    if not start:
        raise ParseError("the output is empty, so it is no data frame; the error stream is in .stderr")
    if form == "table":
        return _text_frame(*_read_table(text))
    if start in "{[":
        return _json_frame(text)
    tried: list[str] = []
    fits: dict[str, tuple[list[str], list[list[str]]]] = {}
    lines = to_lines(text)
    top = _header_index(lines)
    header = lines[top] if not any(map(str.strip, lines[:top])) else ""
    for name, delimiter in (("comma", ","), ("tab", "\t"), ("semicolon", ";")):
        # Padded headings between tabs are a table's (helm), not CSV's.
        if delimiter in header and not (delimiter == "\t" and " \t" in header):
            try:
                names, rows = _read_csv(text, delimiter)
                _check_is_header(names, top, lines)
                fits[name] = names, rows
            except ParseError as error:
                tried.append(f"CSV by {name} ({_first_line(error)})")
    if len(fits) > 1:
        raise ParseError(f"the output can be read as CSV by {' and by '.join(fits)}; say which with .csv(delimiter)")
    if not fits and not any(mark in header for mark in ",;"):
        try:
            fits["table"] = _read_table(text)
        except ParseError as error:
            tried.append(f"a table ({_first_line(error)})")
    for names, rows in fits.values():
        return _text_frame(names, rows)
    raise ParseError(
        f"the output is no data frame; tried {', '.join(['JSON', 'JSON lines', *tried])}. The raw text is in .stdout."
    )


def _first_line(error: ParseError) -> str:
    return str(error).partition("\n")[0]


def _json_frame(text: str) -> pd.DataFrame:
    import pandas as pd

    try:
        value = to_json(text)
    except ParseError as error:
        try:
            value = to_jsonl(text)
        except ParseError as second:
            # Where the first line is a value by itself, JSON lines are what was meant.
            raise (second if (second.line_number or 0) > 1 else error) from None
    if isinstance(value, dict):
        columns = list(value.values())
        if not (columns and all(isinstance(c, list) for c in columns) and len({len(c) for c in columns}) == 1):
            value = [value]
    elif not all(isinstance(row, dict) for row in value) and any(isinstance(row, dict) for row in value):
        odd = next(number for number, row in enumerate(value) if not isinstance(row, dict))
        raise ParseError(
            f"the JSON array mixes objects and other values (element {odd}), so it is no data frame; use .json()"
        )
    return pd.DataFrame(value)


def _text_frame(names: Sequence[str], rows: Sequence[Sequence[str]]) -> pd.DataFrame:
    import pandas as pd

    columns = {name: pd.Series([row[number] for row in rows], dtype="str") for number, name in enumerate(names)}
    for name, column in columns.items():
        cells = [cell for cell in column if cell]
        if cells and all(map(_NUMBER.fullmatch, cells)):
            columns[name] = pd.to_numeric(column.where(column != ""))
    return pd.DataFrame(columns, columns=list(names))
