"""Command output as DataFrames: a text at once, or CSV and JSON lines of any size piece by piece, in bounded memory."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from xec_magic.columns import check_is_header, header_index, read_table
from xec_magic.errors import OptionError, ParseError
from xec_magic.formats import (
    BOM,
    SHOWN_WIDTH,
    check_headings,
    load_value,
    read_csv,
    refuse,
    to_json,
    to_jsonl,
    to_lines,
)
from xec_magic.splitting import LineBatches

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

__all__ = ["to_frame", "to_frames"]

SAMPLE_LINES: Final = 100  # so many tell the delimiter, where the header alone does not
_DELIMITERS: Final = {"comma": ",", "tab": "\t", "semicolon": ";"}
_NUMBER = re.compile(r"[-+]?(?:0|[1-9]\d{0,17})(?:\.\d+)?(?:[eE][-+]?\d{1,2})?")

# -- at once ---------------------------------------------------------------------------------------


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

    text = text.removeprefix(BOM)
    start = text.lstrip()[:1]
    if not start:
        raise ParseError("the output is empty, so it is no data frame; the error stream is in .stderr")
    if form == "table":
        return text_frame(*read_table(text))
    if start in "{[":
        return _json_frame(text)
    tried: list[str] = []
    fits: dict[str, tuple[list[str], list[list[str]]]] = {}
    lines = to_lines(text)
    top = header_index(lines)
    header = lines[top] if not any(map(str.strip, lines[:top])) else ""
    for name, delimiter in (("comma", ","), ("tab", "\t"), ("semicolon", ";")):
        # Padded headings between tabs are a table's (helm), not CSV's.
        if delimiter in header and not (delimiter == "\t" and " \t" in header):
            try:
                names, rows = read_csv(text, delimiter)
                check_is_header(names, top, lines)
                fits[name] = names, rows
            except ParseError as error:
                tried.append(f"CSV by {name} ({_first_line(error)})")
    if len(fits) > 1:
        raise ParseError(f"the output can be read as CSV by {' and by '.join(fits)}; say which with .csv(delimiter)")
    if not fits and not any(mark in header for mark in ",;"):
        try:
            fits["table"] = read_table(text)
        except ParseError as error:
            tried.append(f"a table ({_first_line(error)})")
    for names, rows in fits.values():
        return text_frame(names, rows)
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


def text_frame(names: Sequence[str], rows: Sequence[Sequence[str]]) -> pd.DataFrame:
    """A DataFrame of cells that are text: a column becomes numbers where every cell is one."""
    import pandas as pd

    columns = {name: pd.Series([row[number] for row in rows], dtype="str") for number, name in enumerate(names)}
    for name, column in columns.items():
        cells = [cell for cell in column if cell]
        if cells and all(map(_NUMBER.fullmatch, cells)):
            columns[name] = pd.to_numeric(column.where(column != ""))
    return pd.DataFrame(columns, columns=list(names))


# -- piece by piece --------------------------------------------------------------------------------


def to_frames(pieces: Iterable[bytes], chunksize: int) -> Iterator[pd.DataFrame]:
    """DataFrames of at most `chunksize` rows each, of CSV (comma, tab or semicolon) or JSON lines, told by the first line.

    Their index goes on from one to the next. Whether a column is numbers is told for each of them by itself. CSV with a header
    and no row gives one frame without rows.

    Raises:
        OptionError: `chunksize` is no positive number, or pandas is not installed.
        ParseError: in the loop: a line that is not of the form; a form that cannot be read in pieces.

    Example:
        >>> [len(frame) for frame in to_frames([b"a,b\\n1,2\\n3,", b"4\\n5,6\\n"], 2)]
        [2, 1]
    """
    if not isinstance(chunksize, int) or isinstance(chunksize, bool) or chunksize < 1:
        raise OptionError(f"chunksize must be a whole number of rows, 1 at least, not {chunksize!r}")
    try:
        import pandas as pd  # noqa: F401 - said here, and not in the middle of a loop
    except ImportError as error:
        raise OptionError("pandas is not installed; pip install 'xec-magic[frames]'") from error
    return _frames(pieces, chunksize)


def _frames(pieces: Iterable[bytes], chunksize: int) -> Iterator[pd.DataFrame]:
    lines = _lines(pieces)
    number, first = next(((n, line) for n, line in enumerate(lines, 1) if line.strip()), (0, ""))
    first = first.removeprefix(BOM)
    if not number:
        raise ParseError("the output is empty, so it is no data frame; the error stream is in .stderr")
    if first.lstrip()[:1] == "[":
        raise ParseError(
            "a JSON array is one value, so it cannot be read in pieces; .df() reads it at once, and jq -c '.[]' makes lines of it"
        )
    if first.lstrip()[:1] == "{":
        yield from _json_frames(first, lines, number, chunksize)
    else:
        yield from _csv_frames(first, lines, number, chunksize)


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    cut = LineBatches(1000, "the output", "replace")
    for data in pieces:
        for batch in cut.feed(data):
            yield from batch
    for batch in cut.end():
        yield from batch


def _json_frames(first: str, lines: Iterator[str], number: int, chunksize: int) -> Iterator[pd.DataFrame]:
    import pandas as pd

    def rows() -> Iterator[dict[str, Any]]:
        yield _row(first, number)
        for at, line in enumerate(lines, number + 1):
            if line.strip():
                yield _row(line, at)

    done = 0
    for chunk in _chunked(rows(), chunksize):
        yield pd.DataFrame(chunk, index=pd.RangeIndex(done, done + len(chunk)))
        done += len(chunk)


def _row(line: str, number: int) -> dict[str, Any]:
    row = load_value(line, number, "JSON lines")
    if not isinstance(row, dict):
        refuse(f"a {type(row).__name__} is no row; each line must hold an object", number, [line])
    return row


def _csv_frames(first: str, lines: Iterator[str], number: int, chunksize: int) -> Iterator[pd.DataFrame]:
    import pandas as pd

    sample = list(islice(lines, SAMPLE_LINES))
    delimiter = _delimiter(first, sample)

    def all_lines() -> Iterator[str]:
        yield first
        yield from sample
        yield from lines

    header, rows = _csv_rows(all_lines(), delimiter, number)
    done = 0
    for chunk in _chunked(rows, chunksize):
        frame = text_frame(header, chunk)
        frame.index = pd.RangeIndex(done, done + len(chunk))
        done += len(chunk)
        yield frame
    if not done:
        yield text_frame(header, [])


def _csv_rows(lines: Iterator[str], delimiter: str, number: int) -> tuple[list[str], Iterator[list[str]]]:
    """The header, and the rows that follow it one by one; `number` is that of the first line."""
    read: list[str] = []  # the lines of the row that is being read, for the message if it is wrong

    def noted() -> Iterator[str]:
        for line in lines:
            read.append(line)
            yield line + "\n"

    reader = csv.reader(noted(), delimiter=delimiter, strict=True)

    def records() -> Iterator[tuple[int, list[str]]]:
        at = number
        try:
            for fields in reader:
                if fields and fields != [""]:
                    yield at, fields
                at = number + reader.line_num
                read.clear()
        except csv.Error as error:
            what = "a quote is opened and never closed" if "unexpected end" in str(error) else str(error)
            refuse(f"no CSV: {what}", at, read)

    found = records()
    at, header = next(found)
    blank = [""] * (at - 1)
    check_headings(header, at, [*blank, *read])
    check_is_header(header, at - 1, [*blank, *read])

    def rows() -> Iterator[list[str]]:
        for at, fields in found:
            if len(fields) != len(header):
                refuse(f"{len(fields)} fields under a header of {len(header)}", at, read)
            yield fields

    return header, rows()


def _delimiter(header: str, sample: Sequence[str]) -> str:
    """What separates the fields.

    Raises:
        ParseError: nothing that is known, or more than one thing.
    """
    # Padded headings between tabs are a table's (helm), not CSV's.
    found = {
        name: mark for name, mark in _DELIMITERS.items() if mark in header and not (mark == "\t" and " \t" in header)
    }
    if len(found) > 1:
        fit = {name: mark for name, mark in found.items() if _fits(header, sample, mark)}
        found = fit or found
    if len(found) > 1:
        raise ParseError(
            f"the output can be read as CSV by {' and by '.join(found)}; .csv(delimiter) reads it at once, by the one that you say"
        )
    if not found:
        raise ParseError(
            "the output is neither CSV nor JSON lines, so it cannot be read in pieces; .df() reads other forms at once.\n"
            f"    {header[:SHOWN_WIDTH]}"
        )
    return next(iter(found.values()))


def _fits(header: str, sample: Sequence[str], delimiter: str) -> bool:
    try:
        rows = [row for row in csv.reader([header, *sample], delimiter=delimiter) if row]
    except csv.Error:
        return False
    if len(sample) == SAMPLE_LINES:
        rows.pop()  # it may be cut: a quoted field can hold newlines
    return len({len(row) for row in rows}) == 1


def _chunked(items: Iterator[T], count: int) -> Iterator[list[T]]:
    while chunk := list(islice(items, count)):
        yield chunk
