"""`Reader`: one pipe of a command, read on the loop."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable
from typing import Final

from xec_magic.events import Stream
from xec_magic.transport.base import Sink

__all__ = ["Reader", "readers_of"]

READ_BYTES: Final = 256 * 1024
READS_A_WAKEUP: Final = 4  # then the loop serves others
SHORT_READ_BYTES: Final = 4096
FULL_PIPE_BYTES: Final = 65536  # what a pipe holds unless it is enlarged, pipe(7)
QUICK_S: Final = 0.002  # wake-ups closer than this, so many in a row, are a stream of small pieces
QUICK_WAKEUPS: Final = 16
GATHER_S: Final = 0.001
LARGE_PIPE_BYTES: Final = 1024 * 1024  # only for streams that fill the default: a user's pipe memory is bounded
SET_PIPE_SIZE: Final = getattr(fcntl, "F_SETPIPE_SZ", None)  # Linux only


class Reader:
    """Reads one pipe on the loop and hands the bytes to a sink; with `begin=False` not before `resume`."""

    def __init__(self, fd: int, stream: Stream, sink: Sink, ended: Callable[[], None], *, begin: bool = True) -> None:
        self.fd = fd
        self.open = True
        self._stream = stream
        self._sink = sink
        self._ended = ended
        self._enlarged = SET_PIPE_SIZE is None
        self._loop = asyncio.get_running_loop()
        self._wanted = False
        self._reading = False
        self._woken_at = 0.0
        self._streak = 0
        os.set_blocking(fd, False)
        if begin:
            self.resume()

    def _ready(self) -> None:
        total = 0
        for _ in range(READS_A_WAKEUP):
            size = self._read_once() if self._reading else 0
            total += size
            if size < SHORT_READ_BYTES:  # it has emptied the pipe; the next wake-up tells more
                break
        now = self._loop.time()
        self._streak = self._streak + 1 if total < FULL_PIPE_BYTES and now - self._woken_at < QUICK_S else 0
        self._woken_at = now
        if self._streak >= QUICK_WAKEUPS and self._reading:
            # Many small pieces one upon the other: each costs as much as a large one, so let some come together.
            self._enlarge()
            self._halt()
            self._loop.call_later(GATHER_S, self._go_on)

    def _read_once(self) -> int:
        """Read what is there, at most so much; gives the number of bytes."""
        try:
            data = os.read(self.fd, READ_BYTES)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if not data:
            self.close()
            self._ended()
            return 0
        if len(data) >= FULL_PIPE_BYTES:
            self._enlarge()
        self._sink(self._stream, data)
        return len(data)

    def _enlarge(self) -> None:
        if not self._enlarged:
            self._enlarged = True
            with contextlib.suppress(OSError):  # over the user's bound: the small pipe does as well
                fcntl.fcntl(self.fd, SET_PIPE_SIZE or 0, LARGE_PIPE_BYTES)

    def pause(self) -> None:
        """Stop reading."""
        self._wanted = False
        self._halt()

    def resume(self) -> None:
        """Read, from now on."""
        self._wanted = True
        self._go_on()

    def _halt(self) -> None:
        if self._reading:
            self._loop.remove_reader(self.fd)
            self._reading = False

    def _go_on(self) -> None:
        if self.open and self._wanted and not self._reading:
            self._loop.add_reader(self.fd, self._ready)
            self._reading = True

    def look(self) -> None:
        """Take now what the loop would soon tell of: at the end of a command, as a rule, that there is no more."""
        if self._reading and self._read_once() and self._reading:
            self._read_once()

    def drain(self) -> None:
        """Take what has already arrived."""
        while self.open and self._read_once():
            pass

    def close(self) -> None:
        """Read no more, and let go of the pipe."""
        if self.open:
            self.pause()
            self.open = False
            os.close(self.fd)


def readers_of(stdout_fd: int | None, stderr_fd: int | None, sink: Sink, ended: Callable[[], None]) -> list[Reader]:
    """The readers of a command's streams; None for one that goes elsewhere."""
    # Where both have something at once nobody knows which came first; a command says why it fails at its end.
    streams: list[tuple[int | None, Stream]] = [(stdout_fd, "stdout"), (stderr_fd, "stderr")]
    return [Reader(fd, name, sink, ended) for fd, name in streams if fd is not None]
