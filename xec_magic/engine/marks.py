"""`MarkFinder`: finds the lines of output that a chart is to show."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from xec_magic.events import Stream

__all__ = ["MarkFinder"]

MOST_MARKS: Final = 100  # a chart with more shows none of them
LINE_BYTES: Final = 8192  # the beginning of a longer line is looked at
TEXT_CHARACTERS: Final = 200


class MarkFinder:
    """Looks at output as it arrives, cut anywhere.

    Args:
        patterns: Regular expressions.
        found: Called with each line in which one matches, up to a hundred times.
    """

    def __init__(self, patterns: Sequence[str], found: Callable[[str], None]) -> None:
        self._patterns = [re.compile(pattern) for pattern in patterns]
        self._found = found
        self._rest: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}
        self._left = MOST_MARKS

    def feed(self, stream: Stream, data: bytes) -> None:
        """Take the next piece of a stream."""
        if not self._left:
            return
        text = self._rest[stream] + data
        # A progress bar goes back to the left instead of on to the next line.
        *lines, rest = re.split(rb"[\r\n]", text)
        self._rest[stream] = rest[:LINE_BYTES]
        for line in lines:
            self._look(line)

    def end(self) -> None:
        """The streams are at their end: what stands there without a newline is a line, too."""
        for rest in self._rest.values():
            self._look(rest)

    def _look(self, line: bytes) -> None:
        text = line[:LINE_BYTES].decode("utf-8", "replace")
        if text and self._left and any(pattern.search(text) for pattern in self._patterns):
            self._left -= 1
            self._found(text[:TEXT_CHARACTERS].strip())
