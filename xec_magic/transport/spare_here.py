"""`SpareHere`: a command in a shell that was started ahead, given its script and read by the thread that waits for it."""

from __future__ import annotations

import marshal
import os
import select
import time
from typing import Final

from xec_magic.events import Stream
from xec_magic.transport.base import ExitStatus, Process, StartRequest
from xec_magic.transport.here import MOST_BYTES
from xec_magic.transport.sampling.threads import SamplingThreads
from xec_magic.transport.spare import Spare
from xec_magic.transport.spawner import exit_status

__all__ = ["SpareHere"]

AT_ONCE_S: Final = 0.001
REPORT_BYTES: Final = 4096


class SpareHere:
    """One command in a spare that has been given its script. All of it happens in one thread, which has the spare.

    Attributes:
        pieces: What it has printed.
        started_at: In monotonic seconds.
    """

    def __init__(self, spare: Spare, sampling: SamplingThreads) -> None:
        self.pieces: list[tuple[Stream, bytes]] = []
        self.started_at = spare.spawned.started_at
        self._spare = spare
        self._sampling = sampling
        self._size = 0
        self._open: dict[int, Stream] = {spare.stdout: "stdout", spare.stderr: "stderr"}

    def wait(self, patience_s: float) -> ExitStatus | None:
        """How it ended; None when that needs more patience, or more room."""
        report = self._spare.report
        poll = select.poll()
        poll.register(report, select.POLLIN)
        # At first for the end alone: to wake up for the output as well would cost a tenth of a short command.
        ready = poll.poll(AT_ONCE_S * 1000)
        if not ready:
            for fd in self._open:
                poll.register(fd, select.POLLIN)
        until = self.started_at + patience_s
        while True:
            for fd, _ in ready:
                if fd == report:
                    return self._ended(os.read(report, REPORT_BYTES))
                if not self._read(fd):
                    poll.unregister(fd)
            left = until - time.monotonic()
            if left <= 0 or self._size >= MOST_BYTES:
                return None
            ready = poll.poll(left * 1000)

    def _ended(self, report: bytes) -> ExitStatus | None:
        """How it ended; None when children hold the streams, or nobody can say it any more: that is for the loop."""
        if not report:
            return None
        for fd in tuple(self._open):
            try:
                while self._size < MOST_BYTES and self._read(fd):
                    pass
            except BlockingIOError:
                return None
        return None if self._open else exit_status(marshal.loads(report))

    def _read(self, fd: int) -> bool:
        """Take what has come; False at the end."""
        data = os.read(fd, MOST_BYTES)
        if not data:
            del self._open[fd]
            return False
        self._size += len(data)
        self.pieces.append((self._open[fd], data))
        return True

    def give_back(self) -> None:
        """It is over: let go of the shell."""
        self._spare.close_streams()

    def adopt(self, request: StartRequest) -> Process:
        """Go on with it on the loop's thread."""
        for stream, data in self.pieces:
            request.sink(stream, data)
        return self._spare.process(request, self._sampling)

    def __repr__(self) -> str:
        return f"<SpareHere {self._spare.spawned.pid}, {self._size} B>"
