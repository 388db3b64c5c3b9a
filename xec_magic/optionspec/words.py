"""The words of a line, with quotes and `${{…}}` kept together; and the nearest of some names."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable
from itertools import islice
from typing import Final, NamedTuple

__all__ = ["FIELD", "Word", "nearest", "next_word", "what_there_is"]

FIELD: Final = "${{"
_BLANK: Final = " \t\r\n"
_TRIES: Final = 100  # closings and marks tried in one `${{`; more are a typing error, which must not cost seconds


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint that names what was probably meant; empty when nothing is near.

    Example:
        >>> nearest("--timout", ["--timeout", "--tee", "--env"])
        'did you mean --timeout?'
    """

    def plain(text: str) -> str:
        return text.lower().replace("_", "-").strip("-")

    import difflib  # only when something is wrong

    scores = {known: difflib.SequenceMatcher(None, plain(known), plain(name)).ratio() for known in names}
    best = max(scores.values(), default=0.0)
    close = [known for known, score in scores.items() if score >= max(0.6, best - 0.05)]
    return f"did you mean {' or '.join(close[:3])}?" if close else ""


def what_there_is(names: Iterable[str], most: int = 10) -> str:
    """The names that there are, in words, for who has named another one.

    Example:
        >>> what_there_is(["a", "b", "c"], most=2), what_there_is(["a"]), what_there_is([])
        ('there are a, b and 1 more', 'there is only a', 'there is none')
    """
    known = list(names)
    if len(known) < 2:
        return f"there is only {known[0]}" if known else "there is none"
    return f"there are {', '.join(known[:most])}" + (f" and {len(known) - most:,} more" if len(known) > most else "")


class Word(NamedTuple):
    """One word of a line.

    Attributes:
        text: Without its quotes.
        start: Where it begins in the line.
        end: Where the line goes on behind it.
        closed: Every quote in it is closed.
    """

    text: str
    start: int
    end: int
    closed: bool = True


def next_word(line: str, start: int) -> Word | None:
    """The next word of a line from `start`; None at its end.

    Quotes and backslashes mean what they mean to a POSIX shell. `${{…}}` stays as it is, blanks and quotes included; it ends
    at the first `}}` at which a Python expression is complete, and at the line's end if there is none.

    Example:
        >>> next_word('''--cwd "${{ d['a b'] }}/x y" ls''', 5).text
        "${{ d['a b'] }}/x y"
    """
    at = start
    while at < len(line) and line[at] in _BLANK:
        at += 1
    if at == len(line):
        return None
    begin, text, quote = at, "", ""
    while at < len(line):
        char = line[at]
        if quote != "'" and char == "\\" and at + 1 < len(line):
            follower = line[at + 1]
            text += follower if not quote or follower in '"\\$`' else char + follower
            at += 2
        elif line.startswith("$" + FIELD, at):
            text += "$" + FIELD
            at += 4
        elif line.startswith(FIELD, at):
            end = _field_end(line, at)
            if end is None:
                return Word(text + line[at:], begin, len(line))
            text += line[at:end]
            at = end
        elif char == quote:
            quote = ""
            at += 1
        elif not quote and char in "'\"":
            quote = char
            at += 1
        elif not quote and char in _BLANK:
            break
        else:
            text += char
            at += 1
    return Word(text, begin, at, closed=not quote)


def _field_end(line: str, start: int) -> int | None:
    """Where the `${{` at `start` is closed; None if nowhere."""
    inner = start + len(FIELD)
    end = inner - 1
    for _ in range(_TRIES):
        end = line.find("}}", end + 1)
        if end < 0:
            break
        body = line[inner:end]
        # `x!raw` and `x:.2f`: the expression ends before a conversion or a format.
        marks = islice(re.finditer(r"[!:]", body), _TRIES)
        if _is_expression(body) or any(_is_expression(body[: mark.start()]) for mark in marks):
            return end + 2
    return None


def _is_expression(source: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(source.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
