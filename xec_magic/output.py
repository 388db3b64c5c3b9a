"""`OutputLog`: what a run printed, in arrival order, each piece marked with its stream."""

from __future__ import annotations

import os
import re
import struct
import threading
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

from xec_magic.errors import OutputTooLarge
from xec_magic.events import Stream

__all__ = ["Match", "OutputLog", "Piece"]

_IN_INDEX: Final = ("_ends", "_marks", "_checkpoint_offsets", "_checkpoint_lines")
STREAMS: Final[tuple[Stream, Stream]] = ("stdout", "stderr")
_INDEX: Final = struct.Struct("<5Q1s")  # segments, checkpoints, newlines, bytes of stdout and of stderr, the last byte
CHECKPOINT_BYTES: Final = 64 * 1024  # a line is found by scanning at most this much
READ_BYTES: Final = 1024 * 1024
LARGE_BYTES: Final = 64 * 1024  # from this size on it pays to look whether newlines are rare
RARE_BYTES: Final = 8 * 1024  # one in so many bytes is rare

# What a log has that is still empty; thousands of commands print nothing, and their logs are kept.
_NO_ENDS: Final = array("Q")
_NO_MARKS: Final = array("b")
_AT_BEGIN: Final = array("Q", [0])


class Piece(NamedTuple):
    """Consecutive bytes of one stream."""

    stream: Stream
    data: bytes


class Match(NamedTuple):
    """A line in which a search found something; `line` counts from 0."""

    line: int
    text: str


class OutputLog:
    """The output of one run: small in memory, large in a spool file, readable while it grows.

    One thread appends; any thread reads. Offsets and lines count over both streams in arrival order.

    Args:
        memory_bytes: Output kept in memory. The first byte beyond moves everything to the spool file.
        open_spool: Opens a new, named, readable file for the rest; None keeps everything in memory.
    """

    # Here and not in `__init__`: a log that is restored has all of them, and that happens at each hit of the cache.
    _memory_bytes = 0
    _open_spool: Callable[[], BinaryIO] | None = None
    _file: BinaryIO | None = None
    lost_bytes = 0
    failure: OSError | None = None
    closed = False
    _index = b""  # of a restored log: what `index` gave
    _stamp: tuple[int, int] | None = None  # of a restored log in a file, which does not change: its size and time

    def __init__(self, memory_bytes: int = 8 * 2**20, open_spool: Callable[[], BinaryIO] | None = None) -> None:
        self._memory_bytes = memory_bytes
        self._open_spool = open_spool
        self._memory: bytes | bytearray = bytearray()
        self._lock = threading.RLock()  # a handler of a signal may read what its own thread reads
        # Consecutive pieces of one stream are one segment: its end offset and its stream.
        self._ends, self._marks = _NO_ENDS, _NO_MARKS
        self._size = 0
        self._sizes = [0, 0]
        self._newlines = 0
        self._last_byte = b""
        self._checkpoint_offsets = self._checkpoint_lines = _AT_BEGIN

    # -- writing ----------------------------------------------------------------------------

    def append(self, stream: Stream, data: bytes) -> bool:
        """Add bytes; False when they could not be kept, because the spool's disk refused them."""
        if not data:
            return True
        with self._lock:
            if self.closed or self.failure is not None or not self._store(data):
                self.lost_bytes += len(data)
                return False
            size, count = self._size, len(data)
            if not size:
                self._ends, self._marks = array("Q"), array("b")
                self._checkpoint_offsets, self._checkpoint_lines = array("Q", [0]), array("Q", [0])
            mark = STREAMS.index(stream)
            if size and self._marks[-1] == mark:
                self._ends[-1] += count
            else:
                self._ends.append(size + count)
                self._marks.append(mark)
            if size - self._checkpoint_offsets[-1] >= CHECKPOINT_BYTES:
                self._checkpoint_offsets.append(size)
                self._checkpoint_lines.append(self._newlines)
            self._size = size + count
            self._sizes[mark] += count
            self._newlines += _newlines_in(data) if count >= LARGE_BYTES else data.count(b"\n")
            self._last_byte = data[-1:]
            return True

    def _store(self, data: bytes) -> bool:
        if self._file is None and (self._open_spool is None or len(self._memory) + len(data) <= self._memory_bytes):
            self._memory += data
            return True
        try:
            if self._file is None:
                assert self._open_spool is not None
                self._file = self._open_spool()
                _write_all(self._file, self._memory)
                self._memory = bytearray()
            _write_all(self._file, data)
        except OSError as error:
            self.failure = error
            if self._memory and self._file is not None:  # it never got as far as to replace memory
                self._file.close()
                self._file = None
            elif self._file is not None:
                # A part of the last piece may stand in the file; readers stop at the size, but `path` shows it.
                self._truncate()
            return False
        return True

    def _truncate(self) -> None:
        assert self._file is not None
        try:
            os.ftruncate(self._file.fileno(), self._size)
        except OSError:
            pass  # the disk is in trouble anyway; the size counts

    def close(self) -> None:
        """Close the spool file. Its owner removes it; reading ends here."""
        with self._lock:
            self.closed = True
            if self._file is not None:
                self._file.close()

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()  # the file itself belongs to its directory, which is removed at exit

    # -- facts ------------------------------------------------------------------------------

    @property
    def path(self) -> str | None:
        """The spool file, or None while everything is in memory, or in a file that has no name any more."""
        return None if self._file is None else str(self._file.name) or None

    @property
    def line_count(self) -> int:
        """Lines, a last one without its newline included."""
        return self._newlines + (1 if self._last_byte not in (b"", b"\n") else 0)

    @property
    def changed(self) -> bool:
        """Somebody has written into the file of a restored log since: it is no log of this result any more."""
        if self._stamp is None or self.closed:
            return False
        assert self._file is not None
        return _stamp_of(self._file) != self._stamp

    def size(self, stream: Stream | None = None) -> int:
        """Bytes kept of one stream, or of both."""
        return self._size if stream is None else self._sizes[STREAMS.index(stream)]

    def __repr__(self) -> str:
        where = "memory" if self._file is None else repr(self.path)
        return f"<OutputLog {self._size} bytes, {self.line_count} lines in {where}>"

    # -- reading ----------------------------------------------------------------------------

    def read(self, start: int, end: int) -> bytes:
        """The bytes [start, end) in arrival order."""
        with self._lock:
            end = min(end, self._size)
            if self._file is None:
                if start == 0 and end == len(self._memory):
                    return bytes(self._memory)  # as it is, where it does not grow
                return bytes(memoryview(self._memory)[start:end])
            if self.closed:
                raise OutputTooLarge(f"the log {self._file.name} has been removed to make room for newer ones")
            parts = []
            while start < end:
                part = os.pread(self._file.fileno(), end - start, start)
                if not part:
                    raise OutputTooLarge(
                        f"the log {self._file.name or 'of this result'} has been cut off; run the command again"
                    )
                parts.append(part)
                start += len(part)
            if self.changed:  # looked at last: what was read before that is what was kept
                raise OutputTooLarge("the log of this result was changed by another program; run the command again")
            return b"".join(parts)

    def pieces(self, start: int = 0, end: int | None = None) -> Iterator[Piece]:
        """The pieces between two offsets, none larger than 1 MiB."""
        end = self._size if end is None else min(end, self._size)
        at = bisect_right(self._ends, start)
        while start < end and at < len(self._ends):
            stop = min(self._ends[at], end)
            while start < stop:
                data = self.read(start, min(stop, start + READ_BYTES))
                if not data:
                    return
                yield Piece(STREAMS[self._marks[at]], data)
                start += len(data)
            at += 1

    def stream(self, stream: Stream | None = None) -> bytes:
        """Everything of one stream, or of both in arrival order."""
        if stream is None or self._sizes[STREAMS.index(stream)] == self._size:
            return self.read(0, self._size)
        return b"".join(piece.data for piece in self.pieces() if piece.stream == stream)

    def offset_of_line(self, line: int) -> int:
        """Where line number `line` (from 0) begins; the end when there are fewer lines."""
        if line <= 0:
            return 0
        if line > self._newlines:
            return self._size
        at = bisect_right(self._checkpoint_lines, line - 1) - 1
        # The last checkpoint with fewer newlines before it: several can share a count when a line is long.
        while at > 0 and self._checkpoint_lines[at] >= line:
            at -= 1
        offset, seen = self._checkpoint_offsets[at], self._checkpoint_lines[at]
        while offset < self._size:
            data = self.read(offset, offset + READ_BYTES)
            here = _newlines_in(data)
            if seen + here < line:
                seen += here
                offset += len(data)
                continue
            position = -1
            while seen < line:
                position = data.index(b"\n", position + 1)
                seen += 1
            return offset + position + 1
        return self._size

    def lines(self, first: int, count: int) -> list[Piece]:
        """The pieces that make up `count` lines from line `first` (from 0)."""
        return list(self.pieces(self.offset_of_line(first), self.offset_of_line(first + count)))

    def search(self, pattern: re.Pattern[bytes], limit: int, first: int = 0) -> tuple[list[Match], int]:
        """Lines in which `pattern` matches, from line `first`: at most `limit` of them, and how many there are in all.

        Lines are compared without their newline; a line longer than 1 MiB is compared piece by piece.
        """
        in_block = re.compile(pattern.pattern, pattern.flags | re.MULTILINE)  # ^ and $ of any line of a block
        found: list[Match] = []
        total = 0
        line = first
        offset = self.offset_of_line(first)
        rest = b""
        while offset < self._size or rest:
            data = self.read(offset, offset + READ_BYTES)
            offset += len(data)
            block = rest + data
            cut = block.rfind(b"\n") + 1
            if not data or (not cut and len(block) > READ_BYTES):
                cut = len(block)
            rest = block[cut:]
            block = block[:cut]
            if in_block.search(block):  # one pass over the block is far cheaper than one per line
                texts = block.split(b"\n")
                if block.endswith(b"\n"):
                    texts.pop()
                for number, text in enumerate(texts, line):
                    if pattern.search(text):
                        total += 1
                        if len(found) < limit:
                            found.append(Match(number, text[:4096].decode("utf-8", "replace")))
            line += block.count(b"\n")
            if not data:
                break
        return found, total

    # -- kept elsewhere ---------------------------------------------------------------------------

    def index(self) -> bytes:
        """What there is to know of the log besides its bytes; for `restore`."""
        with self._lock:
            arrays = (self._ends, self._marks, self._checkpoint_offsets, self._checkpoint_lines)
            counts = len(self._ends), len(self._checkpoint_lines), self._newlines, *self._sizes
            return _INDEX.pack(*counts, self._last_byte) + b"".join(each.tobytes() for each in arrays)

    @classmethod
    def restore(cls, index: bytes, content: bytes | bytearray | BinaryIO) -> OutputLog:
        """The log that an index and its bytes make, or an open file of them; it does not grow.

        Raises:
            ValueError: the two do not belong together.
        """
        if len(index) < _INDEX.size:
            raise ValueError("the index is cut off")
        segments, checkpoints, newlines, out, err, last = _INDEX.unpack_from(index)
        if len(index) != _INDEX.size + segments * 9 + checkpoints * 16:
            raise ValueError("the index is cut off")
        log = object.__new__(cls)  # most of what it would be given by `__init__` is replaced here
        if isinstance(content, (bytes, bytearray)):
            log._memory, size = content, len(content)
        else:
            log._memory, log._file, log._stamp = b"", content, _stamp_of(content)
            size = log._stamp[0]
        log._size = out + err
        if size != log._size:
            raise ValueError(f"{size} bytes of output where {log._size} were kept")
        log._lock, log._index = threading.RLock(), index
        log._newlines, log._sizes, log._last_byte = newlines, [out, err], last if size else b""
        return log

    if not TYPE_CHECKING:  # to a type checker all of them are there

        def __getattr__(self, name: str) -> Any:
            """Where streams and lines are in a restored log, read from its index when somebody asks: few do."""
            if name not in _IN_INDEX or not self._index:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            self._read_index()
            return self.__dict__[name]

    def _read_index(self) -> None:
        index = self._index
        segments, checkpoints, *_ = _INDEX.unpack_from(index)
        marks_at = _INDEX.size + segments * 8
        offsets_at = marks_at + segments
        lines_at = offsets_at + checkpoints * 8
        self._marks = array("b", index[marks_at:offsets_at])
        self._checkpoint_offsets = array("Q", index[offsets_at:lines_at])
        self._checkpoint_lines = array("Q", index[lines_at:])
        self._ends = array("Q", index[_INDEX.size : marks_at])

    # -- pickling: a log in a file travels as its bytes -----------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        return {"pieces": [tuple(piece) for piece in self.pieces()], "lost_bytes": self.lost_bytes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]  # a fresh log, then the pieces again
        for stream, data in state["pieces"]:
            self.append(stream, data)
        self.lost_bytes = state["lost_bytes"]


def _stamp_of(file: BinaryIO) -> tuple[int, int]:
    """What changes when a file is written to. Not when it loses its name: a kept output may be read to its end then."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _newlines_in(data: bytes) -> int:
    """How many newlines there are.

    Before Python 3.13 `bytes.count` looks at each byte by itself, at 1.5 GB/s; `find` is twenty times as fast, but has to be
    called for each. So a large piece with few of them, as binary output is, is taken from one to the next.
    """
    found = at = 0
    if len(data) >= LARGE_BYTES:
        for _ in range(len(data) // RARE_BYTES):
            at = data.find(b"\n", at) + 1
            if not at:
                return found
            found += 1
    return found + data.count(b"\n", at)


def _write_all(file: BinaryIO, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file.fileno(), view) :]
