"""`SessionProcess`: one command in a session's shell."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, Final

from xec_magic.events import ProcessInfo, Stream
from xec_magic.transport.base import ExitStatus, Sampler, StartRequest
from xec_magic.transport.procfacts import start_ticks
from xec_magic.transport.reader import Reader
from xec_magic.transport.spawn import proctree

if TYPE_CHECKING:
    from xec_magic.transport.session import Session

__all__ = ["SessionProcess"]

READ_AFTER_S: Final = 0.003  # a command that ends sooner is read once, at its end
SPARE_THE_SHELL_S: Final = 0.5  # KILL ends a command's children first; so long the shell has to notice and to go on
TICKS_A_S: Final = os.sysconf("SC_CLK_TCK")


class SessionProcess:
    """One command in a session's shell. All methods run on the loop's thread."""

    def __init__(self, session: Session, request: StartRequest, stdout: int | None, stderr: int) -> None:
        self._session = session
        self._request = request
        self.started_at = time.monotonic()
        self._ticks = time.clock_gettime(time.CLOCK_BOOTTIME) * TICKS_A_S if proctree.HAS_PROC else 0.0
        self._veterans = session.children()
        self._exit: ExitStatus | None = None
        self._signalled: int | None = None
        self._killed_at: float | None = None
        self._killed: set[int] = set()  # what there was besides the shell at the first KILL
        sink, changed = request.sink, request.changed
        streams = [(stdout, "stdout"), (stderr, "stderr")]
        self._readers = [
            Reader(fd, "stderr" if name == "stderr" else "stdout", sink, changed, begin=False)
            for fd, name in streams
            if fd is not None
        ]
        self._paused = False
        self._begins = asyncio.get_running_loop().call_later(READ_AFTER_S, self.resume)

    # -- what the session says -----------------------------------------------------------------------

    def ended(self, status: ExitStatus, *, fatal: bool = False) -> None:
        """The command has ended; what it wrote itself is in the pipes by now.

        Args:
            status: How, as far as the shell knows.
            fatal: It would have ended the shell, which has gone on nevertheless.
        """
        if self._signalled is not None and (fatal or status.exit_code == 128 + self._signalled):
            status = ExitStatus(None, self._signalled, status.usage)
        self._exit = status
        self._begins.cancel()
        if not self._paused:
            for reader in self._readers:
                reader.drain()
                reader.resume()  # what is still open has another writer
        self._request.changed()

    def began(self, at: float, pieces: list[tuple[Stream, bytes]]) -> None:
        """It has been running since then, and has printed this already."""
        self._ticks -= (self.started_at - at) * TICKS_A_S
        self.started_at = at
        for stream, data in pieces:
            self._request.sink(stream, data)

    def lost(self, status: ExitStatus, note: str) -> None:
        """The command has ended, and with it the session's shell."""
        self._request.note(note)
        self.ended(status)

    # -- Process --------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The shell's process id."""
        return self._session.shells.pid

    @property
    def exit(self) -> ExitStatus | None:
        """How the command ended; None while it runs."""
        return self._exit

    @property
    def streams_open(self) -> bool:
        """Some process can still write to the streams."""
        return any(reader.open for reader in self._readers)

    def pause(self) -> None:
        """Stop reading; the command soon waits in its write."""
        self._paused = True
        self._begins.cancel()
        for reader in self._readers:
            reader.pause()

    def resume(self) -> None:
        """Read again."""
        self._paused = False
        for reader in self._readers:
            reader.resume()

    def send_signal(self, number: int) -> None:
        """Signal what the command has started, and the shell as long as it is busy with the command.

        KILL spares the shell for a moment, if there is anything else to kill: the session then lives on. When all else is dead,
        the shell still needs that moment to notice.
        """
        shells = self._session.shells.pids if self._exit is None else frozenset()
        living = self._living()
        others = [process for process in living if process.pid not in shells]
        if number == signal.SIGKILL and (others or self._killed_at is not None):
            if self._killed_at is None:
                self._killed_at, self._killed = time.monotonic(), {process.pid for process in others}
            if time.monotonic() < self._killed_at + SPARE_THE_SHELL_S:
                # What is new by now and of the shell's name may be its copy, in which the session goes on.
                own = {process.name for process in living if process.pid in shells}
                others = [process for process in others if process.pid in self._killed or process.name not in own]
                shells = frozenset()
        if shells:
            self._signalled = number
            self._session.will_signal(number)
        numbers = (number,) if number == signal.SIGKILL else (number, signal.SIGCONT)
        for each in numbers:
            # The shell first: when a child's end is news to it, it must know of the signal, or it goes on by itself and
            # is hit in the midst of that.
            for pid in (*shells, *(process.pid for process in others)):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, each)

    def sampler(self, rate_hz: float) -> Sampler:  # noqa: ARG002 - reading here costs the same at any rate
        """What reads the use of the shell and of what the command has started, without what was used or started before."""
        return self._session.shells.sampler(self._is_mine, self._request.run_id)

    def alive(self) -> list[ProcessInfo]:
        """The command's living processes: the shell while it is busy, and what the command has started."""
        return [ProcessInfo(process.pid, process.name) for process in self._living()]

    def _living(self) -> list[proctree.Living]:
        busy = self._session.shells.pids if self._exit is None else frozenset()
        return [
            process
            for process in self._session.shells.living()
            if process.pid in busy or (process.pid not in self._session.shells.pids and self._is_mine(process.pid))
        ]

    def _is_mine(self, pid: int) -> bool:
        """It was started by this command, and not by one before."""
        if pid in self._veterans:
            return False
        started = start_ticks(pid)
        return started is None or started >= int(self._ticks)

    def close(self) -> None:
        """Take what has already arrived, then let go of the streams."""
        self._begins.cancel()
        for reader in self._readers:
            reader.drain()
            reader.close()
