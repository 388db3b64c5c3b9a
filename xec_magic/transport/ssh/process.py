"""A command on a host: one channel of a connection, its streams, its end, and the signals that reach its processes."""

from __future__ import annotations

import asyncio
import signal as signals
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Final, cast

import asyncssh

from xec_magic.events import ProcessInfo, Stream
from xec_magic.transport.base import ExitStatus, Sampler, StartRequest
from xec_magic.transport.ssh.ahead import Unused
from xec_magic.transport.ssh.beginning import begun_at
from xec_magic.transport.ssh.delivery import Delivery
from xec_magic.transport.ssh.input import ChannelInput
from xec_magic.transport.ssh.pipeends import PipeEnds
from xec_magic.transport.ssh.pipewriter import PipeWriter
from xec_magic.transport.ssh.preface import Preface
from xec_magic.transport.ssh.quoted import quoted
from xec_magic.transport.ssh.remote import Begun, Launch, Refused, read_begin
from xec_magic.transport.ssh.unbegun import never_began, refusal
from xec_magic.transport.ssh.weighing import Scale
from xec_magic.transport.ssh.wire import round_trip_s

__all__ = ["SSHProcess"]

ABANDON_S: Final = 60.0  # how long the end of a slow login is waited for, in order to kill what it then runs

Control = Callable[["SSHProcess", Sequence[str]], Awaitable[list[ProcessInfo]]]
Watcher = Callable[["SSHProcess"], Sampler | None]


class SSHProcess(asyncssh.SSHClientSession[bytes]):
    """A command on a host.

    Args:
        request: What was asked for.
        ends: Its descriptors, which it takes when its shell is there.
        launch: How it is started.
        run_mark: Value of its `XEC_RUN_ID`.
        control: Reaches its processes by another way.
        ended: Called once, when its channel is free.
        watcher: Gives what reads its use.
    """

    def __init__(
        self, request: StartRequest, ends: PipeEnds, launch: Launch, run_mark: str, control: Control,
        ended: Callable[[], None], watcher: Watcher,
    ) -> None:  # fmt: skip
        self.target = request.command.target
        self.host = self.target.name
        self.run_mark = run_mark
        self.begun: Begun | None = None
        self.pid: int | None = None
        self.started_at = self._asked_at = 0.0
        self._exit: ExitStatus | None = None
        self._early_exit: ExitStatus | None = None
        self.streams_open = True
        self.by_waiting = False  # typed to a shell that waited
        self.own_login = True  # begun for it, and not for a shell that waited
        self._may_run = False
        self._loop = asyncio.get_running_loop()
        self._request = request
        self._launch = launch
        self._watcher = watcher
        self._ended: Callable[[], None] | None = ended
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._preface = Preface(launch.mark)
        self._scale = Scale(launch.mark) if request.weighed else None
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._connection: asyncssh.SSHClientConnection | None = None
        self._paused = False
        self._input = ChannelInput()
        self._letting_go = False
        self.refused = False  # by the host, before the command could begin
        self._eof = self._closed = self._abandoned = False
        self._delivery = Delivery(lambda names: control(self, names))
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ends = ends
        self._pipe: PipeWriter | None = None

    # -- the start ----------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Send its input, and wait until its shell is there. Where nobody waits any more, it is ended.

        Raises:
            SpawnError: it cannot be started; the message says why.
        """
        self.feed()
        try:
            await self.ready()
        except asyncio.CancelledError:
            self.abandon()
            raise

    async def ready(self) -> None:
        """Wait until the command's shell is there.

        Raises:
            SpawnError: it cannot be started; the message says why.
        """
        await self._ready
        fd = self._ends.take_input()
        if fd is not None:
            self._spawn(self._input.send(self._launch.head, fd))
        self._ends.close()  # where nobody knows whether it has begun, nothing is written

    def feed(self) -> None:
        """Send secrets, then the input. As soon as the server runs the line: nothing waits for an answer."""
        data = self._request.command.stdin
        if self._request.stdin_fd is not None:
            return
        if self._launch.head or isinstance(data, bytes):
            self._spawn(self._input.send(self._launch.head + (data if isinstance(data, bytes) else b"")))

    def _spawn(self, coroutine: Any) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- what asyncssh calls --------------------------------------------------------------------------

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """The channel is open, and its start is about to be sent."""
        self._asked_at = self._loop.time()
        self._channel = chan
        self._input.opened(chan)
        self._connection = cast("asyncssh.SSHClientConnection", chan.get_connection())
        if not self.by_waiting:
            self._loop.call_soon(self._end_no_input)

    def _end_no_input(self) -> None:
        """Where there is none. Right behind the line: what runs there instead of it, as a server of files, would wait for input for ever."""
        piped = self._request.stdin_fd is not None
        if not piped and not self._launch.head and not isinstance(self._request.command.stdin, bytes):
            self._input.end()

    def session_started(self) -> None:
        """The server runs the line, or the line was typed."""
        self._may_run = True
        if self.by_waiting:
            self._end_no_input()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Output has arrived."""
        stream: Stream = "stderr" if datatype else "stdout"
        if not self._preface.is_over(stream):
            data = self._behind_mark(stream, data)
        if stream == "stderr" and self._scale is not None and self._preface.is_over(stream):
            data = self._scale.feed(data)
        if not data or self._letting_go:
            return
        if stream == "stdout" and self._pipe is not None:
            self._pipe.write(data)
        else:
            self._request.sink(stream, data)

    def _behind_mark(self, stream: Stream, data: bytes) -> bytes:
        """What stands behind the line with the mark, which on stdout says how it has begun; all before it was printed by the login."""
        found = self._preface.behind_mark(stream, data)
        if found is None:
            return b""
        line, rest = found
        if stream == "stdout" or line:
            begin = read_begin(line)
            if isinstance(begin, Refused):
                self._refuse(begin)
                return b""
            self.begun, self.pid = begin, begin.pid
            login_s = begin.login_s if self.own_login else 0.0
            self.started_at = begun_at(self._asked_at, self._loop.time(), round_trip_s(self._connection), login_s)
            fd = self._ends.take_output()
            if fd is not None:
                self._pipe = PipeWriter(fd, self._pipe_full, self._pipe_broken)
            if self._early_exit is not None:
                self._set_exit(self._early_exit)
            if not self._ready.done():
                self._ready.set_result(None)
            if self._abandoned:
                self._abandoned = False
                self.abandon()
        return rest

    def _refuse(self, refused: Refused) -> None:
        self.refused = True
        self._fail(refusal(self.host, self._request.command, refused))

    def _fail(self, error: Exception) -> None:
        if not self._ready.done():
            self._ready.set_exception(error)
            self._ready.exception()  # of a channel that was replaced nobody waits for it

    def exit_status_received(self, status: int) -> None:
        """The shell has exited."""
        self._set_exit(ExitStatus(status, None))

    def exit_signal_received(self, signal: str, *_: object) -> None:
        """A signal has ended the shell."""
        number = getattr(signals, f"SIG{signal}", None)
        self._set_exit(ExitStatus(None, int(number) if number is not None else int(signals.SIGKILL)))

    @property
    def exit(self) -> ExitStatus | None:
        """How the shell ended, with what the command has used where that has been said; None while it runs."""
        usage = self._scale.usage if self._scale is not None else None
        return self._exit if self._exit is None or usage is None else replace(self._exit, usage=usage)

    def _set_exit(self, status: ExitStatus) -> None:
        # The end of a short command overtakes what it printed, its mark included: that waits until reading begins.
        if self.begun is None:
            self._early_exit = status
            return
        self._exit = status
        self._request.changed()

    def lose(self, why: str) -> None:
        """Whether it has begun is not known, and nothing more of it will come."""
        self._exit = ExitStatus(None, None, lost=why)

    def eof_received(self) -> bool:
        """Nobody on the host can write to the streams any more."""
        self._eof = True
        self._streams_ended()
        return False

    def _weigh(self) -> None:
        """Nothing more can be the begin of the figures: it is the command's own."""
        held = self._scale.rest() if self._scale is not None else b""
        if held and not self._letting_go:
            self._request.sink("stderr", held)

    def _streams_ended(self) -> None:
        if self.streams_open:
            self._weigh()
            self.streams_open = False
            if self._pipe is not None:
                self._pipe.finish()
            self._request.changed()

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed: because all is over, or because the connection is gone."""
        self._input.resume()
        if not self._ready.done() and self._may_run and not self._connection_lives(exc):
            self._lost_at_the_start(exc)
        elif not self._ready.done():
            # Typed to a shell that waited, it has read nothing, or only a part, which it does not run: all that it has printed is
            # here, and its mark is not.
            self._fail(Unused() if self.by_waiting else never_began(self.host, self._preface.last_words(), exc))
        elif not self._letting_go and (self.exit is None or not (self._eof or self._connection_lives(exc))):
            why = _brief(str(exc)) if exc is not None and str(exc) else "it was closed"
            if self.exit is not None:
                why += f"; exit code {self.exit.exit_code} had been reported, its output may be incomplete"
            self._exit = ExitStatus(None, None, lost=f"the connection to {self.host} was lost: {why}")
        self._streams_ended()
        self._request.changed()
        self._closed = True
        self._free()

    def _connection_lives(self, exc: Exception | None) -> bool:
        # A channel that was paused is closed without its end of file having been said. A connection that is lost calls itself
        # closed only when it has told all its channels why.
        return exc is None and self._connection is not None and not self._connection.is_closed()

    def _lost_at_the_start(self, exc: Exception | None) -> None:
        """Nobody knows whether it runs: to start it again would perhaps run it twice."""
        why = _brief(str(exc)) if exc is not None and str(exc) else "it was closed"
        words = f"the connection to {self.host} was lost: {why}; whether the command had begun is not known"
        self.started_at = self._loop.time()
        self.lose(words)
        self._ready.set_result(None)

    def _free(self) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()
        for task in self._tasks:
            task.cancel()

    def pause_writing(self) -> None:
        """The host takes no more input now."""
        self._input.pause()

    def resume_writing(self) -> None:
        """It takes input again."""
        self._input.resume()

    # -- what the engine calls ------------------------------------------------------------------------------

    def pause(self) -> None:
        """Stop reading; the window fills, and the command soon waits in its write."""
        self._paused = True
        if self._channel is not None:
            self._channel.pause_reading()

    def resume(self) -> None:
        """Read again."""
        self._paused = False
        if self._channel is not None and not (self._pipe is not None and self._pipe.is_full):
            self._channel.resume_reading()

    def _pipe_full(self, full: bool) -> None:
        if self._channel is None:
            return
        if full:
            self._channel.pause_reading()
        elif not self._paused:
            self._channel.resume_reading()

    def _pipe_broken(self) -> None:
        self.send_signal(signals.SIGPIPE)

    def send_signal(self, number: int) -> None:
        """Signal the command's process group on the host, and what has strayed from it; soon, by a channel of its own."""
        self._delivery.send(number)

    async def look(self) -> None:
        """Ask the host which of the command's processes live; `alive` then says so.

        Raises:
            TransportError: the host cannot be asked.
        """
        await self._delivery.look()

    @property
    def weighed(self) -> bool:
        """It has a parent of its own, which says at the end what it has used."""
        return self._scale is not None

    @property
    def run_id(self) -> str:
        """Of the run that it belongs to."""
        return self._request.run_id

    def sampler(self, rate_hz: float) -> Sampler | None:  # noqa: ARG002 - a look there costs the same at any rate
        """What reads the use of the command and of all its processes, over a channel of its own."""
        return self._watcher(self)

    def alive(self) -> list[ProcessInfo]:
        """The command's living processes, as they were at the last `look`."""
        return list(self._delivery.living)

    def when_closed(self, ended: Callable[[], None]) -> None:
        """Call this when the channel is closed, or now."""
        self._ended = ended
        if self._closed:
            self._free()

    def abandon(self) -> None:
        """Nobody wants it any more: kill it, also when it is only about to begin, then let go of it."""
        self._letting_go = True
        if self._closed:
            return
        if self.begun is None and self._channel is not None:
            # The login is still at its own files. Where the server hears this, the command never begins; where it does
            # not, it is killed when it has begun.
            self._abandoned = True
            self._channel.send_signal("KILL")
            self._loop.call_later(ABANDON_S, self.close)
            return
        self._delivery.send(signals.SIGKILL).add_done_callback(lambda _: self.close())

    def close(self) -> None:
        """Let go of the streams."""
        self._letting_go = True
        if self._channel is not None:
            self._channel.abort()
        self._streams_ended()

    def __repr__(self) -> str:
        return f"<SSHProcess {self.pid} on {self.host}, {'running' if self.exit is None else 'ended'}>"


def _brief(text: str) -> str:
    text = quoted(text)
    return text[:1].lower() + text[1:]
