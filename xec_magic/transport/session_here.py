"""`SessionHere`: a command in a session, put and read by the thread that waits for it."""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING, Final

from xec_magic.events import Stream
from xec_magic.transport.base import ExitStatus, Process, StartRequest
from xec_magic.transport.here import MOST_BYTES

if TYPE_CHECKING:
    from xec_magic.transport.session import Session

__all__ = ["SessionHere"]

AT_ONCE_S: Final = 0.001


class SessionHere:
    """One command in a borrowed session. All of it happens in one thread, which holds the session's loan.

    Attributes:
        pieces: What it has printed.
        frames: What the shell has said of it and was not understood yet.
        started_at: In monotonic seconds.
    """

    def __init__(self, session: Session, order: bytes, pipes: tuple[int, int]) -> None:
        self.session = session
        self.pipes = pipes
        self.pieces: list[tuple[Stream, bytes]] = []
        self.frames = b""
        self.started_at = time.monotonic()
        self._size = 0
        session.put(order)

    def wait(self, patience_s: float) -> ExitStatus | None:
        """How it ended; None when that needs more patience, or more room."""
        control = self.session.control
        poll = select.poll()
        poll.register(control, select.POLLIN)
        # At first for the end alone: to wake up for the output as well would take as long as the command.
        ready = poll.poll(AT_ONCE_S * 1000)
        if not ready:
            self.session.hold()
            for fd in self.pipes:
                poll.register(fd, select.POLLIN)
        until = self.started_at + patience_s
        while True:
            for fd, _ in ready:
                if fd == control:
                    return self._heard(os.read(control, 4096))
                self._read(fd)
            left = until - time.monotonic()
            if left <= 0 or self._size >= MOST_BYTES:
                return None
            ready = poll.poll(left * 1000)

    def _heard(self, frame: bytes) -> ExitStatus | None:
        """What the shell has said; None when children hold the streams, or it was fatal to the shell: that is for the loop."""
        self.frames = frame
        if frame[:2] == b"s " and frame[2:-1].isdigit() and frame[-1:] == b"\n" and self._is_over():
            return ExitStatus(int(frame[2:]), None)
        return None

    def _read(self, fd: int) -> bool:
        data = os.read(fd, MOST_BYTES)
        if data:
            self._size += len(data)
            self.pieces.append(("stdout" if fd == self.pipes[0] else "stderr", data))
        return bool(data)

    def _is_over(self) -> bool:
        """Take what is left in the pipes; False when a child holds them."""
        self.session.release()
        for fd in self.pipes:
            try:
                while self._read(fd):
                    pass
            except BlockingIOError:
                return False
        return True

    def give_back(self) -> None:
        """It is over: let go of the shell."""
        self.session.give_back(self.pipes)

    def adopt(self, request: StartRequest) -> Process:
        """Go on with it on the loop's thread."""
        return self.session.adopt(self, request)
