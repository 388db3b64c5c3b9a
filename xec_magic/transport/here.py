"""`HereRun`: a command that is begun and read by the thread that waits for it.

The way through the loop costs two changes of threads, as much as a whole command of a warm shell. So the waiting thread
may borrow a shell that has nothing to do, or have a new one started, and reads for a moment by itself. What takes longer, or
prints more, it hands over to the loop.
"""

from __future__ import annotations

import os
import select
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from xec_magic.errors import SpawnError
from xec_magic.events import Stream
from xec_magic.transport.base import ExitStatus, Process, StartRequest

if TYPE_CHECKING:
    from xec_magic.transport.starting import Starting

__all__ = ["MOST_BYTES", "HereRun"]

MOST_BYTES: Final = 48 * 1024  # below what a pipe holds; more is the loop's business
AT_ONCE_MS: Final = 1
REPORT_BYTES: Final = 4096


class HereRun(ABC):
    """One command. All of it but `adopt` happens in one thread.

    Args:
        started_at: When its shell was given it, or asked for, in monotonic seconds.
        told: Descriptor where its end is told.
        stdout, stderr: Its streams, read without blocking.

    Attributes:
        pieces: What it has printed, less than `2 * MOST_BYTES`.
        started_at: As above.
        run_id: What its processes are known by; empty where that is no run's.
    """

    streams_end = False  # when the command does; `told` speaks of that later
    at_once_ms = (
        AT_ONCE_MS  # so long a shell that waits may take, and then it is over, as a rule; 0 where there is none
    )
    run_id = ""

    def __init__(self, started_at: float, told: int, stdout: int, stderr: int) -> None:
        self.started_at = started_at
        self.pieces: list[tuple[Stream, bytes]] = []
        self._told = told
        self._stdout = stdout
        self._open: dict[int, Stream] = {stdout: "stdout", stderr: "stderr"}
        self._size = 0

    def read(self, patience_s: float) -> bool:
        """Read all that it prints; False when that needs more patience, or more room."""
        poll = select.poll()
        poll.register(self._told, select.POLLIN)
        # At first for the end alone: to wake up for the output as well would cost a tenth of a short command.
        if self.streams_end and self.at_once_ms:
            poll.register(self._stdout, 0)
        ready = poll.poll(self.at_once_ms)
        if len(ready) == 1 and ready[0][0] == self._stdout:
            if self._drained():
                return True
            ready = []
            if self._stdout not in self._open:
                poll.unregister(self._stdout)
        if not ready:
            self._lasts()
            for fd in self._open:
                poll.register(fd, select.POLLIN)
        until = self.started_at + patience_s
        while True:
            for fd, _ in ready:
                if fd == self._told:
                    return self._over(os.read(fd, REPORT_BYTES))
                if not self._read(fd):
                    poll.unregister(fd)
            if self.streams_end and not self._open and self._size < MOST_BYTES:
                return True
            left = until - time.monotonic()
            if left <= 0 or self._size >= MOST_BYTES:
                return False
            ready = poll.poll(left * 1000)

    def _drained(self) -> bool:
        """Take what has come; True when that is all, False when there is too much, or a child holds the streams."""
        for fd in tuple(self._open):
            try:
                while self._size < MOST_BYTES and self._read(fd):
                    pass
            except BlockingIOError:
                return False
        return self._size < MOST_BYTES

    def _read(self, fd: int) -> bool:
        """Take a piece; False at the end."""
        data = os.read(fd, MOST_BYTES)
        if not data:
            del self._open[fd]
            return False
        self._size += len(data)
        self.pieces.append((self._open[fd], data))
        return True

    @abstractmethod
    def _lasts(self) -> None:
        """It is not over at once: do what has to be done then."""

    @abstractmethod
    def _over(self, said: bytes) -> bool:
        """Take what is left, now that its end has been told; False when there is more to it, and that is for the loop."""

    @abstractmethod
    def status(self, patience_s: float) -> ExitStatus | None:
        """How it ended, when all has been read; None when that needs more patience, or more has to be seen to."""

    @abstractmethod
    def give_back(self) -> None:
        """It is over: let go of the shell."""

    @abstractmethod
    def adopt(self, request: StartRequest, started: Callable[[Process | SpawnError], None]) -> Starting | None:
        """Go on with it on the loop's thread.

        Args:
            request: What has been begun.
            started: Called with its process, or with the reason why there is none: at once, or later where this gives what is on its way.
        """
