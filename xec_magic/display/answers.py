"""What a reader asks of a whole log, live or ended: find lines, copy everything."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from xec_magic.display.ansi import plain_line
from xec_magic.display.lines import read_lines
from xec_magic.units import format_size

if TYPE_CHECKING:
    from xec_magic.output import OutputLog

__all__ = ["COPY_BYTES", "Found", "copy_text", "find"]

COPY_BYTES: Final = 5 * 2**20  # more makes the page stall, and no one pastes it
FOUND_LINES: Final = 5000  # numbers sent to the page; all are counted
PROBE_BYTES: Final = 256 * 1024
_SGR: Final = rb"(?:\x1b\[[0-9;:]*m)*"


class Found(NamedTuple):
    """Line numbers from 0, at most 5,000 of them; how many there are in all; what is wrong with the pattern."""

    lines: list[int]
    total: int
    problem: str = ""


def find(log: OutputLog, text: str, *, regex: bool) -> Found:
    """Lines that hold `text`, or in which it matches as a regular expression.

    Case counts only if the text has a capital letter. A plain text is also found across changes of colour.
    """
    if not text:
        return Found([], 0)
    flags = re.IGNORECASE if text == text.lower() else 0
    try:
        if regex:
            pattern = re.compile(text.encode(), flags)
        else:
            between = _SGR if _has_colours(log) else b""
            pattern = re.compile(between.join(re.escape(char.encode()) for char in text), flags)
    except re.error as error:
        return Found([], 0, f"not a regular expression: {error}")
    matches, total = log.search(pattern, FOUND_LINES)
    return Found([match.line for match in matches], total)


def _has_colours(log: OutputLog) -> bool:
    size = log.size()
    return b"\x1b[" in log.read(0, PROBE_BYTES) or b"\x1b[" in log.read(max(0, size - PROBE_BYTES), size)


def copy_text(log: OutputLog) -> tuple[str, str]:
    """The whole output without escapes; or nothing, and why not."""
    if log.size() > COPY_BYTES:
        where = f"; the whole log is {log.path}" if log.path else ""
        return "", f"{format_size(log.size())} is too much to copy{where}"
    return "".join(plain_line(line.text) + "\n" for line in read_lines(log.pieces())), ""
