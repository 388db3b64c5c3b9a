"""`Preface`: what a login prints before the mark of the command."""

from __future__ import annotations

from typing import Final

from xec_magic.events import Stream

__all__ = ["Preface"]

CHATTER_BYTES: Final = 4096  # kept of what a login prints, for the message when it ends there


class Preface:
    """Tells on both streams what start-up files print from what the command does.

    Args:
        mark: Begins a line on each stream; what stands behind that line is the command's.
    """

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._held: dict[Stream, bytes | None] = {"stdout": b"", "stderr": b""}
        self._chatter = b""

    def is_over(self, stream: Stream) -> bool:
        """The mark has come."""
        return self._held[stream] is None

    def behind_mark(self, stream: Stream, data: bytes) -> tuple[bytes, bytes] | None:
        """The rest of the line with the mark, and what stands behind it; None while it has not come."""
        held = (self._held[stream] or b"") + data
        _, found, rest = held.partition(self._mark)
        line, newline, rest = rest.partition(b"\n")
        if not newline:
            # Of a chatty login only what may be the begin of a mark is kept.
            self._held[stream] = held if found else held[-len(self._mark) :]
            self._chatter = (self._chatter + (b"" if found else data))[-CHATTER_BYTES:]
            return None
        self._held[stream] = None
        return line, rest

    def last_words(self) -> str:
        """The last line that a login has printed before it ended; empty when there is none."""
        said = [line.strip() for line in self._chatter.decode("utf-8", "replace").splitlines() if line.strip()]
        return said[-1] if said else ""
