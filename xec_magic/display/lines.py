"""From the pieces of a log to lines of text, each knowing its stream; long ones shortened, the middle left out."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from xec_magic.units import format_count, format_size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from xec_magic.output import OutputLog, Piece

__all__ = ["BAD_LINE", "Excerpt", "Line", "excerpt", "looks_bad", "may_look_bad", "read_lines"]

HEAD_LINES: Final = 200
TAIL_LINES: Final = 800
HEAD_BYTES: Final = 16 * 1024
TAIL_BYTES: Final = 48 * 1024

_BAD_WORDS: Final = (
    "error", "fatal", "exception", "traceback", "panic", "failed", "failure", "segmentation fault", "permission denied",
    "no such file", "command not found",
)  # fmt: skip
# The same text stands in static/src/rows.js; a test compares them.
BAD_LINE: Final = rf"\b(?:{'|'.join(_BAD_WORDS)})\b"
NOT_BAD_LINE: Final = (
    r"\b(?:no|0|zero|without|ignoring|any) (?:errors?|failures?|failed)\b|\b(?:errors?|failed|failures?)[:= ]+0\b"
)
_BAD: Final = re.compile(BAD_LINE, re.IGNORECASE)
_NOT_BAD: Final = re.compile(NOT_BAD_LINE, re.IGNORECASE)


class Line(NamedTuple):
    """One line without its newline; `err` when any of it came from standard error."""

    text: str
    err: bool


class Excerpt(NamedTuple):
    """The first and the last lines of a log, and how much between them is left out."""

    head: list[Line]
    tail: list[Line]
    hidden_lines: int = 0
    hidden_bytes: int = 0

    @property
    def gap(self) -> str:
        """What is left out, in words; empty when nothing is. Bytes only when it is a part of one line."""
        if self.hidden_lines:
            return f"{format_count(self.hidden_lines, 'line')} not shown"
        return f"{format_size(self.hidden_bytes)} not shown" if self.hidden_bytes else ""


def looks_bad(text: str) -> bool:
    """The line speaks of an error, as far as words can tell.

    Example:
        >>> looks_bad("ERROR: disk full"), looks_bad("0 errors, 0 failed")
        (True, False)
    """
    return may_look_bad(text) and not _NOT_BAD.search(text)


def may_look_bad(text: str) -> bool:
    """Some line of a text may speak of an error; where this is not so, `looks_bad` is not so of any of them."""
    if text.isascii():  # letters beyond it have more than one other case
        lowered = text.lower()
        if not any(
            word in lowered for word in _BAD_WORDS
        ):  # ten times as fast as to try an expression at each character
            return False
    return bool(_BAD.search(text))


def read_lines(pieces: Iterable[Piece]) -> list[Line]:
    """Lines of consecutive pieces; what is no UTF-8 is replaced. A last line without newline counts."""
    decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")}
    lines: list[Line] = []
    text, err = "", False
    for stream, data in pieces:
        first, *more = decoders[stream].decode(data).split("\n")
        text += first
        err |= bool(first) and stream == "stderr"
        for part in more:
            lines.append(Line(text, err))
            text, err = part, bool(part) and stream == "stderr"
    text += "".join(decoder.decode(b"", final=True) for decoder in decoders.values())
    if text:
        lines.append(Line(text, err))
    return lines


def excerpt(log: OutputLog, share: int = 1) -> Excerpt:
    """At most the first 200 and the last 800 lines, and 64 KiB of bytes; of each a part, where `share` logs are shown."""
    if not log.size():
        return Excerpt([], [])
    head_lines, tail_lines = max(2, HEAD_LINES // share), max(4, TAIL_LINES // share)
    head_bytes, tail_bytes = HEAD_BYTES // share, TAIL_BYTES // share
    size, total = log.size(), log.line_count
    if size <= head_bytes + tail_bytes and total <= head_lines + tail_lines:
        lines = read_lines(log.pieces(0, size))
        return Excerpt(lines[:head_lines], lines[head_lines:])
    head_end = min(log.offset_of_line(head_lines), head_bytes)
    tail_start = max(log.offset_of_line(total - tail_lines), size - tail_bytes, head_end)
    head = read_lines(log.pieces(0, head_end))
    tail = read_lines(log.pieces(tail_start, size))
    # A cut inside a line leaves half of one: it goes, unless it is all there is.
    if log.read(head_end - 1, head_end) != b"\n" and len(head) > 1:
        head.pop()
    if log.read(tail_start - 1, tail_start) != b"\n" and len(tail) > 1:
        del tail[0]
    return Excerpt(head, tail, max(0, total - len(head) - len(tail)), tail_start - head_end)
