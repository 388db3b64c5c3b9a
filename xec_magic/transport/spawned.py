"""What comes of a command that the helper process is asked to start: that it is there, how it ended, or why there is none."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import marshal
import os
import signal
import struct
from collections.abc import Callable
from typing import Any, Final

from xec_magic.errors import SpawnError
from xec_magic.events import Usage
from xec_magic.transport.base import ExitStatus

__all__ = ["GONE", "LENGTH", "Answers", "Followed", "Spawned", "advice", "refusal", "status_of", "tell"]

GONE: Final = "the helper process that starts commands was ended from outside"
LENGTH: Final = struct.Struct("<I")

_ADVICE: Final = {
    errno.E2BIG: "its environment or arguments are too large for the operating system; pass data by --stdin or a file",
    errno.EAGAIN: "no further process is allowed (ulimit -u); end some first",
    errno.EMFILE: "too many open files (ulimit -n); close some first",
    errno.ENFILE: "too many open files on this machine",
    errno.ENOMEM: "not enough memory to start a process",
}


class Spawned:
    """A command that the spawner has started, when (monotonic seconds), and how it ends.

    Attributes:
        at_exit: Called, on the loop's thread, when it has ended: sooner than what waits for the future hears of it.
    """

    def __init__(self, pid: int, started_at: float, exit: asyncio.Future[ExitStatus]) -> None:  # noqa: A002 - the word for it
        self.pid = pid
        self.started_at = started_at
        self.exit = exit
        self.at_exit: Callable[[], None] = _nothing

    def exited(self, status: ExitStatus) -> None:
        """It has ended. On the loop's thread; a second call does nothing."""
        if not self.exit.done():
            self.exit.set_result(status)
            tell(self.at_exit)

    def end(self) -> None:
        """Kill it and its group."""
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)


def _nothing() -> None:
    """Nobody has asked to hear of it."""


def tell(who: Callable[..., None], *what: Spawned | SpawnError) -> None:
    """Call back. A fault of who is called must not keep others from being called."""
    try:
        who(*what)
    except Exception as error:  # noqa: BLE001 - said as asyncio says it of any callback
        context = {"message": f"a fault in {who!r}", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)


class Answers:
    """What the helper process says of one command, by a pipe of its own. Any thread, one at a time.

    Attributes:
        fd: Where it is read.
        begun_at: When the command was asked for, in monotonic seconds.
        started: Its process id and when it was started.
        refused: Why it was not.
        status: How it ended.
    """

    def __init__(self, fd: int, begun_at: float) -> None:
        self.fd = fd
        self.begun_at = begun_at
        self.started: tuple[int, float] | None = None
        self.refused: SpawnError | None = None
        self.status: ExitStatus | None = None
        self._received = b""

    def read(self) -> bool:
        """Take what has come; False at the end. It may block, or raise BlockingIOError, as the descriptor does."""
        data = os.read(self.fd, 4096)
        self._received += data
        while len(self._received) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(self._received)[0]
            if len(self._received) < end:
                break
            message, self._received = marshal.loads(self._received[LENGTH.size : end]), self._received[end:]
            match message:
                case ("started", _, int(pid), float(at)):
                    self.started = pid, at
                case ("refused", _, int(code), str(where)):
                    self.refused = SpawnError(refusal(code, where))
                case ("exited", _, int(pid), *_):
                    self.started = self.started or (pid, self.begun_at)
                    self.status = status_of(message)
        return bool(data)


class Followed:
    """One command whose answers are read on the loop."""

    def __init__(
        self, answers: Answers, started: Callable[[Spawned | SpawnError], None], over: Callable[[Followed], None]
    ) -> None:
        self._answers = answers
        self._started: Callable[[Spawned | SpawnError], None] | None = started
        self._over = over
        self._spawned: Spawned | None = None
        os.set_blocking(answers.fd, False)
        asyncio.get_running_loop().add_reader(answers.fd, self._receive)
        self._receive()  # what has come already: one that is to be stopped is, if it is there

    def _receive(self) -> None:
        if not self._hear():
            self.close()

    def _hear(self) -> bool:
        """Take what has come; False at the end."""
        try:
            more = self._answers.read()
        except BlockingIOError:
            more = True
        except OSError:
            more = False
        self._look()
        return more

    def _look(self) -> None:
        known = self._answers
        if self._started is not None and (known.started or known.refused):
            started, self._started = self._started, None
            if known.started is not None:
                self._spawned = Spawned(*known.started, asyncio.get_running_loop().create_future())
            tell(started, self._spawned or known.refused or SpawnError(GONE))
        if known.status is not None and self._spawned is not None:
            self._spawned.exited(known.status)

    def close(self) -> None:
        """Hear no more; what has not been heard will not come. A second call does nothing."""
        if self._answers.fd < 0:
            return
        self._hear()
        asyncio.get_running_loop().remove_reader(self._answers.fd)
        os.close(self._answers.fd)
        self._answers.fd = -1
        self._over(self)
        if self._started is not None:
            started, self._started = self._started, None
            tell(started, SpawnError(GONE))
        elif self._spawned is not None:
            self._spawned.exited(ExitStatus(None, None, lost=GONE))


def status_of(message: tuple[Any, ...]) -> ExitStatus:
    """What `("exited", …)` says."""
    _, _, _, status, user, system, peak, blocks_in, blocks_out, read, written, tree_peak = message
    usage = Usage(user, system, peak, blocks_in, blocks_out, read, written, tree_peak)
    code = os.waitstatus_to_exitcode(status)
    return ExitStatus(code, None, usage) if code >= 0 else ExitStatus(None, -code, usage)


def advice(code: int | None, text: str) -> str:
    return _ADVICE.get(code or 0) or text


def refusal(code: int, where: str) -> str:
    if code in _ADVICE:
        return f"cannot start it: {_ADVICE[code]}"
    if code == 0:
        return f"cannot start it: {where}"
    return f"cannot start {where or 'it'}: {os.strerror(code)}"
