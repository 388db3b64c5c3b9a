"""`KeptProcess`: one command in a shell that is kept on a host."""

from __future__ import annotations

import asyncio
import signal as signals
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from xec_magic.events import ProcessInfo, Stream
from xec_magic.transport.base import ExitStatus, Sampler, StartRequest
from xec_magic.transport.ssh.delivery import Delivery
from xec_magic.transport.ssh.pipewriter import PipeWriter

if TYPE_CHECKING:
    from xec_magic.transport.ssh.kept.ducts import Streams
    from xec_magic.transport.ssh.kept.lines import Spare

__all__ = ["KeptProcess"]

SPARE_THE_SHELL_S: Final = 0.5  # KILL ends a command's children first; so long the shell has to notice and to go on

Control = Callable[["KeptProcess", list[str], "Spare"], Awaitable[list[ProcessInfo]]]
Watcher = Callable[["KeptProcess"], Sampler | None]


class KeptProcess:
    """One command in a session on a host. All methods run on the loop's thread.

    Args:
        request: What was asked for.
        number: Of the command in its session.
        pid: The shell's.
        streams: Where its output comes.
        control: Signals its processes, and tells which live.
        watcher: Gives what reads its use.

    Attributes:
        older: Children that the shell had before; None as long as it has not told.
    """

    def __init__(
        self, request: StartRequest, number: int, pid: int, streams: Streams, control: Control, watcher: Watcher
    ) -> None:
        self.number = number
        self.pid: int | None = pid
        self._loop = asyncio.get_running_loop()
        self.started_at = self._loop.time()
        self.exit: ExitStatus | None = None
        self.older: list[int] | None = None
        self.streams_open = True
        self._request = request
        self._streams = streams
        self._control = control
        self._watcher = watcher
        self._signalled: int | None = None
        self._killed_at: float | None = None
        self._killed = False
        self._delivery = Delivery(self._deliver)
        self._paused = self._closed = False
        self._pipe = (
            PipeWriter(request.stdout_fd, self._pipe_full, self._pipe_broken) if request.stdout_fd is not None else None
        )
        streams.take(self._arrived, self._streams_ended)

    # -- what the session says ------------------------------------------------------------------------

    def _arrived(self, stream: Stream, data: bytes) -> None:
        if self._closed:
            return
        if stream == "stdout" and self._pipe is not None:
            self._pipe.write(data)
        else:
            self._request.sink(stream, data)

    def _streams_ended(self) -> None:
        if self.streams_open:
            self.streams_open = False
            if self._pipe is not None:
                self._pipe.finish()
            self._request.changed()

    def ended(self, status: ExitStatus, *, fatal: bool = False, note: str = "") -> None:
        """The command has ended.

        Args:
            status: How, as far as the shell knows.
            fatal: It would have ended the shell, which has gone on nevertheless.
            note: What the reader should know of the session.
        """
        if self.exit is not None:
            return
        if self._signalled is not None and (fatal or status.exit_code == 128 + self._signalled):
            status = ExitStatus(None, self._signalled, status.usage)
        if note:
            self._request.note(note)
        self.exit = status
        self._request.changed()

    def refuse(self, words: str) -> None:
        """It was not run: say why where its errors are expected."""
        self._request.sink("stderr", words.encode())

    def ends_with_session(self, note: str) -> None:
        """Its session is about to be ended by TERM, behind which bash goes on and tells no code: that end is the signal's."""
        self._request.note(note)
        self._signalled = signals.SIGTERM

    def lost(self, status: ExitStatus, note: str) -> None:
        """The command has ended with its session, and nothing more of it will come."""
        self.ended(status, note=note)
        self._streams_ended()

    # -- Process --------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Stop reading; the command soon waits in its write."""
        self._paused = True
        self._streams.channel.pause_reading()

    def resume(self) -> None:
        """Read again."""
        self._paused = False
        if not (self._pipe is not None and self._pipe.is_full):
            self._streams.channel.resume_reading()

    def _pipe_full(self, full: bool) -> None:
        if full:
            self._streams.channel.pause_reading()
        elif not self._paused:
            self._streams.channel.resume_reading()

    def _pipe_broken(self) -> None:
        self.send_signal(signals.SIGPIPE)

    def send_signal(self, number: int) -> None:
        """Signal what the command has started, and the shell as long as it is busy with the command; soon.

        KILL spares the shell for a moment, if there is anything else to kill: the session then lives on.
        """
        if self.exit is None:
            self._signalled = number
        if number == signals.SIGKILL:
            self._killed_at = self._killed_at or self._loop.time()
        self._delivery.send(number)

    async def _deliver(self, names: list[str]) -> list[ProcessInfo]:
        spare: Spare = 0
        if self._killed_at is not None and self._loop.time() < self._killed_at + SPARE_THE_SHELL_S:
            spare = 2 if self._killed else 1  # when all else is dead, the shell still needs a moment to notice
        self._killed = self._killed or "KILL" in names
        return await self._control(self, names, spare)

    async def look(self) -> None:
        """Ask the host which of the command's processes live; `alive` then says so.

        Raises:
            TransportError: the host cannot be asked.
        """
        await self._delivery.look()

    async def signals_are_there(self) -> None:
        """Wait until no signal is on its way to the host any more."""
        await self._delivery.settled()

    @property
    def run_id(self) -> str:
        """Of the run that it belongs to."""
        return self._request.run_id

    def sampler(self, rate_hz: float) -> Sampler | None:  # noqa: ARG002 - a look there costs the same at any rate
        """What reads the use of the shell and of all its processes, from its first look on."""
        return self._watcher(self)

    def alive(self) -> list[ProcessInfo]:
        """The command's living processes, as they were at the last `look`."""
        return list(self._delivery.living)

    def close(self) -> None:
        """Let go of the streams; what comes on them goes nowhere."""
        self._closed = True
        if self.streams_open:
            self.resume()
        self._streams_ended()

    def __repr__(self) -> str:
        return f"<KeptProcess {self.pid}, {'running' if self.exit is None else 'ended'}>"
