"""Command output as values: lines, JSON, CSV. Pure functions of text; each says where a text is wrong."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from xec_magic.errors import OptionError, ParseError

__all__ = [
    "BOM",
    "SHOWN_WIDTH",
    "check_headings",
    "load_value",
    "read_csv",
    "refuse",
    "to_csv",
    "to_json",
    "to_jsonl",
    "to_lines",
]

SHOWN_WIDTH: Final = 120  # characters of a wrong line in a message: one screen line
BOM: Final = "\ufeff"


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
    return load_value(text.removeprefix(BOM), 1, "JSON")


def to_jsonl(text: str) -> list[Any]:
    """One JSON value a line; blank lines are skipped, and no text gives an empty list.

    Raises:
        ParseError: a line is no JSON value.
    """
    lines = to_lines(text.removeprefix(BOM))
    return [load_value(line, number, "JSON lines") for number, line in enumerate(lines, 1) if line.strip()]


def load_value(text: str, first_line: int, form: str) -> Any:
    """One JSON value; `form` says what it is a part of.

    Raises:
        ParseError: it is none; the message shows the place.
    """
    if not text.strip():
        raise ParseError(f"the output is empty, so it is no {form}; the error stream is in .stderr")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        end = len(text.rstrip())
        if error.pos >= end:  # what is missing stands nowhere: the end is the place
            lines = to_lines(text[:end])
            refuse(
                f"no {form}: it ends before it is complete", first_line + len(lines) - 1, lines[-1:], len(lines[-1]) + 1
            )
        refuse(
            f"no {form}: {error.msg}", first_line + error.lineno - 1, to_lines(text)[error.lineno - 1 :], error.colno
        )
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits; a thousand brackets
        raise ParseError(f"the output is no {form} that can be read: {error}; the raw text is in .stdout") from error


def refuse(what: str, number: int, rest: Sequence[str], column: int | None = None) -> NoReturn:
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
    header, rows = read_csv(text, delimiter)
    return [dict(zip(header, row, strict=True)) for row in rows]


def read_csv(text: str, delimiter: str) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of CSV; as `to_csv`.

    Raises:
        ParseError: as `to_csv`.
    """
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise OptionError(f"{delimiter!r} cannot separate fields; give one character, such as ',' or '\\t'")
    text = text.removeprefix(BOM)
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
                check_headings(header, number, lines)
            elif len(fields) != len(header):
                refuse(f"{len(fields)} fields under a header of {len(header)}", number, lines[number - 1 :])
            else:
                rows.append(fields)
            number = reader.line_num + 1
    except csv.Error as error:
        what = "a quote is opened and never closed" if "unexpected end" in str(error) else str(error)
        refuse(f"no CSV: {what}", number, lines[number - 1 :])
    if header is None:
        raise ParseError("the output is empty; CSV begins with a header line. The error stream is in .stderr")
    return header, rows


def check_headings(header: Sequence[str], number: int, lines: Sequence[str]) -> None:
    """Refuse two columns of one name.

    Raises:
        ParseError: there are such.
    """
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        refuse(f"two columns are called {twice[0]!r}; a row could hold only one of them", number, lines[number - 1 :])
