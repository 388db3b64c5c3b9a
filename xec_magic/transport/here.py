"""`HereRun` and `PlainRun`: a command in a session and one in a shell of its own, put and read by the thread that waits for it.

The way through the loop costs two changes of threads, as much as a whole command of a warm shell and a third of a plain one. So
the waiting thread may borrow an idle session, or ask for a shell itself, and reads for a moment by itself. What takes longer, or
prints more, it hands over to the loop.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from xec_magic.events import Stream
from xec_magic.transport.base import ExitStatus
from xec_magic.transport.spawned import Answers

if TYPE_CHECKING:
    from xec_magic.transport.session import Session

__all__ = ["MOST_BYTES", "HereRun", "PlainRun"]

AT_ONCE_S: Final = 0.001
MOST_BYTES: Final = 48 * 1024  # below what a pipe holds; more is the loop's business


class HereRun:
    """One command in a borrowed session. All of it happens in one thread, which holds the session's loan.

    Attributes:
        run_id: What it is called.
        pieces: What it has printed.
        frames: What the shell has said of it and was not understood yet.
        started_at: In monotonic seconds.
    """

    def __init__(self, session: Session, order: bytes, pipes: tuple[int, int], run_id: str) -> None:
        self.session = session
        self.pipes = pipes
        self.run_id = run_id
        self._order = order
        self.pieces: list[tuple[Stream, bytes]] = []
        self.frames = b""
        self.started_at = time.monotonic()
        self._size = 0

    def begin(self) -> bool:
        """Put it to the shell."""
        self.session.put(self._order)
        return True

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

    def close(self) -> None:
        """It is over: give the session back."""
        self.session.give_back(self.pipes)

    def _is_over(self) -> bool:
        """Take what is left in the pipes; False when a child holds them."""
        self.session.release()
        for fd in self.pipes:
            try:
                while self._read(fd):
                    if self._size >= MOST_BYTES:  # what it has left behind may print without end
                        return False
            except BlockingIOError:
                return False
        return True


class PlainRun:
    """One plain command. All of it happens in one thread, until the loop goes on with it.

    Attributes:
        run_id: What its processes are marked with.
        pipes: Where its output is read.
        pieces: What it has printed.
        answers: What the helper process has said of it.
        started_at: In monotonic seconds.

    Args:
        open_stdin: Opens what it reads.
        put: Asks the helper process for it, with descriptors for its streams and for the answers.
        give_back: Called once it is over here, or the loop goes on with it.

    Raises:
        OSError: no further file can be opened.
    """

    def __init__(
        self,
        run_id: str,
        open_stdin: Callable[[], int],
        put: Callable[[tuple[int, ...]], bool],
        give_back: Callable[[], None],
    ) -> None:
        self.run_id = run_id
        self.pieces: list[tuple[Stream, bytes]] = []
        self.started_at = time.monotonic()
        self._put, self._give_back = put, give_back
        self._theirs: list[int] = []
        ours: list[int] = []
        self._size = 0
        try:
            self._theirs.append(open_stdin())
            for _ in range(3):
                read, write = os.pipe()
                ours.append(read)
                self._theirs.append(write)
        except BaseException:
            for fd in (*ours, *self._theirs):
                os.close(fd)
            raise
        self.pipes = ours[0], ours[1]
        self._open = set(self.pipes)
        self.answers = Answers(ours[2], self.started_at)

    def begin(self) -> bool:
        """Ask for it; False when that must be the loop's business, and nothing has been started."""
        try:
            return self._put(tuple(self._theirs))
        finally:
            self._close_theirs()

    def _close_theirs(self) -> None:
        while self._theirs:
            os.close(self._theirs.pop())

    def wait(self, patience_s: float) -> ExitStatus | None:
        """How it ended, with all that it printed; None when that needs more patience, or more room, or was no plain end."""
        poll = select.poll()
        for fd in (self.answers.fd, *self.pipes):
            os.set_blocking(fd, False)
            poll.register(fd, select.POLLIN)
        until = self.started_at + patience_s
        while True:
            left = until - time.monotonic()
            if left <= 0 or self._size >= MOST_BYTES:
                return None
            for fd, _ in poll.poll(left * 1000):
                if fd == self.answers.fd:
                    if not self.answers.read() or self.answers.refused:
                        return None
                elif not self._read(fd):
                    poll.unregister(fd)
            status = self.answers.status
            if status is not None:
                self.started_at = self.answers.started[1] if self.answers.started is not None else self.started_at
                return status if status.exit_code is not None and self._has_all() else None

    def _read(self, fd: int) -> bool:
        data = os.read(fd, MOST_BYTES)
        if data:
            self._size += len(data)
            self.pieces.append(("stdout" if fd == self.pipes[0] else "stderr", data))
        else:
            self._open.discard(fd)
        return bool(data)

    def _has_all(self) -> bool:
        """Take what is left in the pipes; False when a child holds them."""
        for fd in self.pipes:
            try:
                while fd in self._open and self._read(fd):
                    if self._size >= MOST_BYTES:  # what it has left behind may print without end
                        return False
            except BlockingIOError:
                return False
        return True

    def release(self) -> None:
        """The loop goes on with it."""
        self._close_theirs()
        self._give_back()

    def close(self) -> None:
        """It is over: let go of everything."""
        try:
            for fd in (*self.pipes, self.answers.fd):
                os.close(fd)
        finally:
            self.release()
