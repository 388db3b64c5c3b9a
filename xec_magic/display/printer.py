"""Output as a stream of text, for terminals and wherever there is no rich display."""

from __future__ import annotations

import codecs
import re
import sys
from typing import TYPE_CHECKING

from xec_magic.display.ansi import terminal_text, unfinished_escape

if TYPE_CHECKING:
    from xec_magic.display.feed import Mask
    from xec_magic.events import Stream
    from xec_magic.output import OutputLog

__all__ = ["Printer"]


class Printer:
    """Prints a growing log, standard error to standard error; on the main thread only.

    Args:
        mask: Replaces secrets in a text.
    """

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._styled: set[Stream] = set()  # where colours or styles were passed on
        self._begin(None)

    def _begin(self, log: OutputLog | None) -> None:
        self._log = log
        self._offset = 0
        self._decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")}
        self._held = {"stdout": "", "stderr": ""}  # the beginning of an escape whose end has not come
        self._last = ""

    def print_new(self, log: OutputLog) -> None:
        """Print what has come since the last time."""
        if log is not self._log:  # a further attempt began
            self._begin(log)
        size = log.size()
        for stream, data in log.pieces(self._offset, size):
            self._write(stream, self._decoders[stream].decode(data))
        self._offset = size

    def finish(self) -> None:
        """Print what was held back, end colours and styles, and end the line."""
        for stream in ("stdout", "stderr"):
            self._write(stream, self._decoders[stream].decode(b"", final=True), final=True)
        for stream in sorted(self._styled):
            file = sys.stdout if stream == "stdout" else sys.stderr
            file.write("\x1b[0m")
            file.flush()
        self._styled.clear()
        if self._last not in ("", "\n"):
            self._write("stdout", "\n", final=True)

    def say(self, line: str) -> None:
        """Print a line of our own."""
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def _write(self, stream: Stream, text: str, *, final: bool = False) -> None:
        text = self._held[stream] + text
        cut = len(text) if final else unfinished_escape(text)
        text, self._held[stream] = text[:cut], text[cut:]
        if text:
            file = sys.stdout if stream == "stdout" else sys.stderr
            shown = terminal_text(self._mask(text))
            file.write(shown)
            file.flush()
            self._last = text[-1]
            if re.search(r"\x1b\[[0-9;:]*m", shown):
                self._styled.add(stream)
