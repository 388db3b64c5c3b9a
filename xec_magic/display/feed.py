"""What a page gets of a log: batches of whole lines with their numbers, each bounded, the unfinished line beside.

The page's side of this protocol is `static/src/log.js`. A batch that reaches a page late or never is harmless:
lines are numbered, and a snapshot of the end follows within a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from xec_magic.output import OutputLog, Piece

__all__ = ["BATCH_BYTES", "Batch", "Feed", "Mask", "page"]

BATCH_BYTES: Final = 32 * 1024  # at ten batches a second this is what a browser renders without a stall
PAGE_BYTES: Final = 128 * 1024  # asked for by a reader, so it may take a moment
PARTIAL_BYTES: Final = 4 * 1024

Mask: TypeAlias = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive lines.

    Attributes:
        first: Number of the first line, from 0.
        count: How many lines.
        cut: Bytes missing at the start of the first line; in a page, at the end of the only one.
        data: The lines, each with its newline.
        marks: Lengths in `data` of stdout, stderr, stdout, … in turn.
        partial: The end of the line that is not finished yet.
        partial_marks: The same for `partial`.
    """

    first: int
    count: int
    cut: int
    data: bytes
    marks: list[int]
    partial: bytes = b""
    partial_marks: list[int] = field(default_factory=list)

    def content(self) -> dict[str, Any]:
        """All but the bytes, for a message; `buffers` go beside."""
        return {
            "first": self.first,
            "n": self.count,
            "cut": self.cut,
            "marks": self.marks,
            "pmarks": self.partial_marks,
        }

    def buffers(self) -> list[bytes]:
        """The bytes that belong to `content`."""
        return [self.data, self.partial]


class Feed:
    """Reads a growing log for a page, each line at most once, and leaps when there is too much.

    Args:
        log: What to read.
        mask: Replaces secrets in a text.
    """

    def __init__(self, log: OutputLog, mask: Mask) -> None:
        self.log = log
        self._mask = mask
        self._offset = 0  # of the first line that was not sent as a whole
        self._size = 0

    def take(self) -> Batch | None:
        """What has come since the last time: its last 32 KiB if it is more. None when there is nothing new."""
        size = self.log.size()
        if size == self._size:
            return None
        batch, offset = _read(self.log, max(self._offset, size - BATCH_BYTES), size, self._offset, self._mask)
        if batch is not None:
            self._offset, self._size = offset, size
        return batch

    def snapshot(self) -> Batch | None:
        """The last 32 KiB, whatever was sent before."""
        size = self.log.size()
        return _read(self.log, max(0, size - BATCH_BYTES), size, 0, self._mask)[0] if size else None


def _read(log: OutputLog, start: int, end: int, border: int, mask: Mask) -> tuple[Batch | None, int]:
    """The lines in [start, end), and where the unfinished one begins; `border` is a known start of a line."""
    data = log.read(start, end)
    count = data.count(b"\n")
    partial_at = start + data.rfind(b"\n") + 1
    first = log.line_count - (not data.endswith(b"\n")) - count
    cut = 0
    if start > border and count:
        skip = data.index(b"\n") + 1
        if skip <= len(data) // 2:
            start, first, count = start + skip, first + 1, count - 1
        else:
            cut = start - log.offset_of_line(first)  # a line so long that its end is worth showing
    if count and log.offset_of_line(first + count) != partial_at:
        return None, 0  # the log has grown between two of these statements; the next call comes soon
    partial_start = partial_at
    if end - partial_at > PARTIAL_BYTES:
        # Most likely a progress bar: begin where it went back to the left.
        partial_start = end - PARTIAL_BYTES
        partial_start += max(0, log.read(partial_start, end).find(b"\r"))
    lines, marks = _marked(log.pieces(start, max(start, partial_at)), mask)
    partial, partial_marks = _marked(log.pieces(partial_start, end), mask)
    return Batch(first, count, cut, lines, marks, partial, partial_marks), partial_at


def page(log: OutputLog, first: int, count: int, mask: Mask) -> Batch:
    """Lines of a log by number: as many of `count` as fit into 128 KiB, but one at least, cut if need be."""
    first = max(0, first)
    start, end = log.offset_of_line(first), log.offset_of_line(first + count)
    cut = 0
    if end - start > PAGE_BYTES:
        whole = log.read(start, start + PAGE_BYTES).rfind(b"\n") + 1
        if whole:
            end = start + whole
        else:
            cut = log.offset_of_line(first + 1) - start - PAGE_BYTES
            end = start + PAGE_BYTES
    data, marks = _marked(log.pieces(start, end), mask)
    lines = data.count(b"\n") + (1 if data and not data.endswith(b"\n") else 0)
    return Batch(first, lines, cut, data, marks)


def _marked(pieces: Iterable[Piece], mask: Mask) -> tuple[bytes, list[int]]:
    """The bytes of pieces without their secrets, and how many belong to stdout, stderr, stdout, … in turn."""
    data = bytearray()
    marks: list[int] = []
    for stream, raw in pieces:
        text = raw.decode("utf-8", "surrogateescape")
        masked = mask(text)
        part = raw if masked == text else masked.encode("utf-8", "surrogateescape")
        data += part
        turn = 1 if stream == "stderr" else 0
        while len(marks) <= turn or (len(marks) - 1) % 2 != turn:
            marks.append(0)
        marks[-1] += len(part)
    return bytes(data), marks
