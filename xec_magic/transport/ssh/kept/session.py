"""`FarSession`: a shell that is kept on a host from command to command."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from xec_magic.command import Command, FileInput
from xec_magic.errors import SpawnError, TransportError
from xec_magic.events import ProcessInfo, Sample
from xec_magic.transport.base import ExitStatus, Sampler, StartRequest
from xec_magic.transport.dialects import Order
from xec_magic.transport.session import MUTE
from xec_magic.transport.shells import script_for
from xec_magic.transport.ssh.hosts import Host
from xec_magic.transport.ssh.kept.command import KeptProcess
from xec_magic.transport.ssh.kept.counting import Counted, read_count, use_between
from xec_magic.transport.ssh.kept.ducts import Duct, Feeder, Keeper, Streams
from xec_magic.transport.ssh.kept.lines import KEEPER_DIR, idle_line, keeper_line, session_line, streams_line
from xec_magic.transport.ssh.kept.talk import Talk, with_home
from xec_magic.transport.ssh.reading import tree_line
from xec_magic.transport.ssh.remote import Begun, Launch, quote, read_answer, read_living
from xec_magic.transport.ssh.sampler import HostSampler

__all__ = ["FarSession"]

DOUBT_S: Final = 0.5  # between two looks at a shell that may have lost its way
LONG_DOUBT_S: Final = 5.0
IN_STEP_S: Final = 5.0  # a shell that was signalled must have answered anew by then
COUNT_S: Final = 1.0  # what a command has used is told right behind its end, or never
LATE_S: Final = 0.05  # the end of the streams that comes so long after the command's is no child's doing
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_REFUSED: Final = {
    "cwd": "there is no directory {}, or it may not be entered",
    "shell": "there is no command {}",
}


class FarSession:
    """A kept shell on a host. All methods run on the loop's thread.

    Args:
        label: What messages call it.
        command: The first one: its shell, profile and directory are the session's. Its shell is named.
        host: Where it is.
        mark: Begins the `XEC_RUN_ID` of all its processes.
        on_end: Called once, when the shell has ended.

    Attributes:
        ended_because: Why there is no shell any more; empty as long as there is.
    """

    def __init__(
        self, label: str, command: Command, host: Host, mark: str, on_end: Callable[[FarSession], None]
    ) -> None:
        self.label = label
        self.host = host
        self.shell = command.shell
        self.login = command.login
        self.born_at = self.used_at = time.monotonic()
        self.served = 0
        self.current: KeptProcess | None = None
        self.ended_because = ""
        self.shells: list[int] = []
        self._command = command
        self._mark = mark
        self._on_end = on_end
        self._directory = KEEPER_DIR + secrets.token_hex(8)
        self._talk = Talk(command.shell, self._directory)
        self._keeper: Keeper | None = None
        self._streams: Streams | None = None
        self._renewing: asyncio.Task[Streams] | None = None
        self._numbers = 0
        self._late: list[Streams] = []
        self._awaited: list[bool] = []
        self._exits = False
        self._signalled = False  # after which the shell may answer more than once, or end
        self._stepping: asyncio.Task[None] | None = None  # finds out what it does
        self._pings = 0
        self._heard_ping = False
        self._stepped = asyncio.Event()
        self._fed = False
        self._weighs = False  # the current command
        self._counts: list[Counted | None] = []  # before it, and after it
        self._end: tuple[ExitStatus, bool] | None = None  # of the current command, which waits for the second of them
        self._waits: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._gone = False
        self._mute = False  # its shell is ended since it says nothing any more
        self._doubts: asyncio.TimerHandle | None = None

    # -- beginning ------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Start the shell, and wait until it has read its profile and is ready.

        Raises:
            SpawnError: it cannot be started, or ends before it is ready.
            TransportError: the host cannot be reached.
        """
        start, files = self._talk.start(login=self.login, rc=self._command.rc)
        line = keeper_line(self._directory, self._mark, self._command.cwd, start.argv, start.env, files)
        try:
            self._keeper = await self._duct(line, lambda: Keeper(line, self._hear), self._keeper_lost)
            try:
                await self._keeper.ready(str(self.host.target))
            except SpawnError as error:
                raise SpawnError(self._worded(str(error))) from error
            await self._renew()
        except BaseException:
            self.end()
            raise

    def _worded(self, said: str) -> str:
        host, _, what = said.rpartition(": ")
        words = _REFUSED.get(what)
        return f"{host}: {words.format(self._command.cwd if what == 'cwd' else self.shell[0])}" if words else said

    async def _duct(self, launch: Launch, make: Callable[[], Any], on_lost: Callable[[Any], None]) -> Any:
        duct, lease = await self.host.run(make, launch)
        duct.lease = lease

        def lost() -> None:
            self.host.give_back(lease, ran=True)
            on_lost(duct)

        duct.on_lost = lost
        if duct.lost is not None:
            lost()
        return duct

    async def _renew(self) -> Streams:
        """New streams, where nobody writes to."""
        self._numbers += 1
        number = self._numbers
        line = streams_line(self._directory, number)
        streams: Streams = await self._duct(line, lambda: Streams(line, number), self._streams_lost)
        try:
            await streams.ready(str(self.host.target))
        except BaseException:
            streams.close()
            raise
        if self._gone:
            streams.close()
            raise SpawnError(f"{self.host.target}: the session has ended: {self.ended_because}")
        self._streams = streams
        return streams

    # -- commands -------------------------------------------------------------------------------------

    def refusal(self, command: Command) -> str:
        """Why it cannot run a command; empty when it can."""
        shell = command.shell or self.shell
        where = f"session {self.label} on {self.host.target}"
        if shell != self.shell:
            return (
                f"{where} is a {' '.join(self.shell)}; say --shell {' '.join(self.shell)!r}, or begin anew with --reset"
            )
        if command.login and not self.login:
            return f"{where} has not read the profile; begin anew with --login --reset"
        wrong = [name for name, _ in (*command.env, *command.secret_env) if not _NAME.fullmatch(name)]
        return f"{wrong[0]!r} is no variable that a shell can hold" if wrong else ""

    async def run(self, request: StartRequest, *, first: bool) -> KeptProcess:
        """Put a command to the shell, which is idle. The request's descriptors are closed, whatever comes of it.

        Raises:
            SpawnError: its input cannot be opened there.
            TransportError: the host cannot be reached.
        """
        command = replace(request.command, shell=self.shell)
        try:
            streams = await self._resting()
            before = await self._input(request)
        except BaseException:
            for fd in (request.stdin_fd, request.stdout_fd):
                if fd is not None:
                    with contextlib.suppress(OSError):
                        os.close(fd)
            raise
        before += [self._opened_once(streams) for streams in self._late]
        if self._signalled:
            before.append(b": >|%s/sent" % self._directory.encode())
            self._signalled = False
        self._weighs, self._counts = request.weighed, []
        count = [self._talk.count] if self._weighs else []
        self.served += 1
        order = Order(
            script_for(command), command.strict, (*command.env, *command.secret_env), None if first else command.cwd
        )
        assert self._keeper is not None
        text, awaited = self._talk.command(
            with_home(order, self._keeper.home),
            f"{self._mark}.{self.served}.",
            before + count,
            count + ([self._no_input()] if self._fed else []),
        )
        self._fed = False
        keeper, shell = self._keeper, self.shells[-1] if self.shells else 0
        self.current = process = KeptProcess(request, self.served, shell, streams, self._control, self._watcher)
        self._awaited += awaited
        assert keeper.lease is not None
        keeper.lease.connection.commands += 1
        keeper.write(text)
        self._doubts = asyncio.get_running_loop().call_later(
            DOUBT_S, lambda: self._spawn(self._doubt(process)) if process is self.current else None
        )
        if self._gone:
            process.lost(ExitStatus(None, None, lost=self._lost_words()), "")
        else:
            self.host.occupy(+1)
        return process

    async def _resting(self) -> Streams:
        """Streams that no earlier command has any more."""
        if self._renewing is not None:
            renewing, self._renewing = self._renewing, None
            return await renewing
        if self._streams is not None and self._streams.at_rest and self._streams.lost is None:
            return self._streams
        self._let_go_late()
        return await self._renew()

    def _let_go_late(self) -> None:
        """The streams stay with the command whose children have them; when they are closed, their channel is as well."""
        streams, self._streams = self._streams, None
        if streams is None:
            return
        if streams.at_rest:
            streams.close()
        else:
            self._late.append(streams)

    def _opened_once(self, streams: Streams) -> bytes:
        """What ends streams that no process has open, since their command was ended before it came to that."""
        place = b"%s/%d" % (self._directory.encode(), streams.number)
        return b"[ ! -p %s/out ] || { { :; } <>%s/out; { :; } <>%s/err; }" % ((place,) * 3)

    def _no_input(self) -> bytes:
        place = self._directory.encode()
        # Who waits to write into a FIFO that the command has not opened is let through, to find no reader.
        return b"[ ! -p %s/in ] || { :; } <>%s/in; command rm -f %s/in; command ln -s /dev/null %s/in" % ((place,) * 4)

    async def _input(self, request: StartRequest) -> list[bytes]:
        """Bring a command's input to the host; what the shell has to do for it."""
        command, place = request.command, self._directory.encode()
        if request.stdin_fd is None and command.stdin is None:
            return []
        self._fed = True
        if request.stdin_fd is None and isinstance(command.stdin, FileInput):
            path = command.stdin.path
            assert self._keeper is not None
            if path == "~" or path.startswith("~/"):
                path = self._keeper.home + path[1:]
            word = quote(path.encode("utf-8", "surrogateescape"))
            return [b"command rm -f %s/in; command ln -s %s %s/in" % (place, word, place)]
        line = Launch('rm -f "$1/in" && mkfifo -m 600 "$1/in" && echo ready && exec cat >"$1/in"', [place], b"ready")
        feeder: Feeder = await self._duct(line, lambda: Feeder(line), lambda _: None)
        try:
            await feeder.ready(str(self.host.target))
        except BaseException:
            feeder.close()
            raise
        fd, request_fd = None, request.stdin_fd
        if request_fd is not None:
            fd = os.dup(request_fd)
            os.close(request_fd)
        data = command.stdin if isinstance(command.stdin, bytes) else b""
        self._spawn(feeder.feed(data, fd))
        return []

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _doubt(self, process: KeptProcess) -> None:
        """See whether the shell is busy with a command that has closed its streams and says nothing; end it when it is not."""
        doubted = False
        while process is self.current:
            if not process.streams_open:
                line = idle_line(self.shells, self._talk.control_fd)
                with contextlib.suppress(TransportError):
                    idle = read_answer((await self.host.helper(line)).stdout, line.mark) == "idle"
                    if idle and doubted and process is self.current:
                        await self._end_mute()
                        return
                    doubted = idle
            await asyncio.sleep(DOUBT_S if doubted else LONG_DOUBT_S)

    async def _end_mute(self) -> None:
        """End the shell, which says nothing any more."""
        self.ended_because = "its shell no longer answers"
        self._mute = True
        with contextlib.suppress(TransportError):  # the keeper may tell of its end before this is over
            await self.stop_all(["KILL"])
        self._finish(self.ended_because, ExitStatus(None, 9))

    # -- after a signal -------------------------------------------------------------------------------

    async def in_step(self) -> bool:
        """Wait until the shell may be given its next command; False when it has ended. Cancelling is safe."""
        if self._stepping is not None:
            await asyncio.shield(self._stepping)
            self._stepping = None
        return not self._gone

    async def _get_in_step(self, process: KeptProcess) -> None:
        """Find out whether the shell that was signalled is still there, and hear all that it has to say about it."""
        await process.signals_are_there()
        if self._gone or self._keeper is None:
            return
        self._pings += 1
        self._keeper.write(self._talk.ping(self._pings))
        try:
            async with asyncio.timeout(IN_STEP_S):
                await self._stepped.wait()
        except TimeoutError:
            await self._end_mute()

    def _hear_out(self, *, pong: int | None) -> None:
        """An answer while the shell is brought into step: behind that to the ping there is one more."""
        if pong is not None:
            self._heard_ping = pong == self._pings
        elif self._heard_ping:
            self._heard_ping = False
            self._awaited.clear()
            self._stepped.set()

    # -- answers --------------------------------------------------------------------------------------

    def _hear(self, line: bytes) -> None:
        kind, words = line[:1], line.split()
        if kind == b"r":
            self.shells = [int(words[1])]
            if self._keeper is not None:
                self._keeper.is_ready()
            else:
                asyncio.get_running_loop().call_soon(self._ready_late)
        elif kind == b"x":
            self._exits = True
            self._shell_ended(int(words[1]), by_exit=True)
        elif kind == b"e":
            self._shell_ended(int(words[1]), by_exit=False)
        elif kind == b"v":
            self.ended_because = f"bash {line[2:].decode('ascii', 'replace')} is too old, a session needs 4.4"
        elif kind == b"y":
            self._hear_out(pong=int(words[1]))
        elif kind in (b"s", b"k"):
            if kind == b"k" and len(words) > 2 and int(words[2]) not in self.shells:
                self.shells.append(int(words[2]))
            if self._stepping is not None and not self._stepped.is_set():
                self._hear_out(pong=None)
            elif self._awaited and self._awaited.pop(0):
                self._over(ExitStatus(int(words[1]), None), fatal=kind == b"k")
        elif kind == b"u":
            self._counts.append(read_count(line))
            if self._end is not None:
                self._answer()

    def _ready_late(self) -> None:
        if self._keeper is not None:
            self._keeper.is_ready()

    def _over(self, status: ExitStatus, *, fatal: bool) -> None:
        """The command has ended; where it is weighed, the shell says next what it has used."""
        self._end = status, fatal
        self._calm()  # it has answered: nobody is to take it for mute
        if self._weighs:
            self._waits = asyncio.get_running_loop().call_later(COUNT_S, self._answer)
        else:
            self._answer()

    def _answer(self) -> None:
        if self._waits is not None:
            self._waits.cancel()
        if self._end is not None:
            (status, fatal), self._end = self._end, None
            usage = use_between(*self._counts) if len(self._counts) == 2 else None
            self._answered(replace(status, usage=usage), fatal=fatal)

    def _answered(self, status: ExitStatus, *, fatal: bool) -> None:
        process, self.current = self.current, None
        self._calm()
        self.used_at = time.monotonic()
        if process is not None:
            self.host.occupy(-1)
            if self._signalled:
                self._stepped.clear()
                self._stepping = asyncio.get_running_loop().create_task(self._get_in_step(process))
            process.ended(status, fatal=fatal)
            asyncio.get_running_loop().call_later(LATE_S, self._look_at_streams, process)

    def _calm(self) -> None:
        if self._doubts is not None:
            self._doubts.cancel()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    def _look_at_streams(self, process: KeptProcess) -> None:
        """Get streams for the next command, if children of this one have kept its own."""
        if (
            process.streams_open
            and self.current is None
            and not self._gone
            and self._streams is not None
            and not self._streams.at_rest
        ):
            self._let_go_late()
            self._renewing = asyncio.get_running_loop().create_task(self._renew())
            self._renewing.add_done_callback(lambda task: task.cancelled() or task.exception())
        for streams in [streams for streams in self._late if streams.at_rest]:
            self._late.remove(streams)
            streams.close()

    # -- processes ------------------------------------------------------------------------------------

    async def _control(self, process: KeptProcess, signals: list[str], spare: bool) -> list[ProcessInfo]:
        if signals and process.exit is None:
            self._signalled = True
        line = session_line(
            self._mark,
            process.number,
            self._directory,
            self.shells,
            busy=process.exit is None,
            signals=signals,
            spare=spare,
        )
        return await self._asked(line)

    def _watcher(self, process: KeptProcess) -> Sampler | None:
        """What reads the use of a command; None where the shell's number is not known."""
        if not process.pid:
            return None
        line = tree_line(Begun(process.pid, "", has_bash=False), f"{self._mark}.{process.number}.")
        return HostSampler(self.host, line, process.run_id, process.started_at, before=lambda: self._before(process))

    def _before(self, process: KeptProcess) -> Sample | None:
        """What had been used before a command; None where that is not known, as with children that others have left."""
        if process is not self.current or not self._counts or self._counts[0] is None:
            return None
        counted = self._counts[0]
        return counted.sample() if counted.alone and counted.pid == process.pid else None

    async def _asked(self, line: Launch) -> list[ProcessInfo]:
        done = await self.host.helper(line)
        found = read_living(done.stdout, line.mark)
        if found is None:
            raise TransportError(f"{self.host.target}: it did not say what still runs")
        return found

    async def stop_all(self, signals: list[str]) -> list[ProcessInfo]:
        """Signal all that the session has started, its shell included; what lives then.

        Raises:
            TransportError: the host cannot be asked.
        """
        return await self._asked(
            session_line(self._mark, None, self._directory, self.shells, busy=True, signals=signals)
        )

    # -- the end --------------------------------------------------------------------------------------

    def end(self, why: str = "") -> None:
        """Let the shell go: it ends when it is idle. A second call does nothing."""
        self._finish(why or "it was ended", None)

    def _shell_ended(self, code: int, *, by_exit: bool) -> None:
        status = ExitStatus(code, None) if by_exit or self._exits or code <= 128 else ExitStatus(None, code - 128)
        words = f"exit code {code}" if status.signal is None else f"signal {status.signal}"
        self._finish("the script called exit" if self._exits else f"its shell ended: {words}", status)

    def _keeper_lost(self, keeper: Keeper) -> None:
        self._finish(keeper.lost or "", None)

    def _streams_lost(self, streams: Streams) -> None:
        if streams is self._streams and not self._gone:
            self._streams = None
            if not streams.at_rest:
                self._finish(streams.lost or "", None)

    def _lost_words(self) -> str:
        return f"the session on {self.host.target} was lost: {self.ended_because}"

    def _finish(self, why: str, status: ExitStatus | None) -> None:
        if self._gone:
            return
        self._gone = True
        self._answer()
        self.ended_because = self.ended_because or why
        self._stepped.set()
        self._on_end(self)
        process, self.current = self.current, None
        self._calm()
        if process is not None:
            self.host.occupy(-1)
            note = (
                f"session {self.label} on {self.host.target} was lost ({self.ended_because}): its variables are gone, and the next "
                "command starts a new one"
            )
            if status is not None:
                process.ended(ExitStatus(None, None, lost=MUTE) if self._mute else status, note=note)
            else:
                process.lost(
                    ExitStatus(None, None, lost=f"the connection to {self.host.target} was lost: {self.ended_because}"),
                    note,
                )
        if self._renewing is not None:
            self._renewing.cancel()
        loop = asyncio.get_running_loop()
        # What a command has printed last is on its way, in another channel than the news of its end.
        if process is not None and process.streams_open:
            self._late.extend([self._streams] if self._streams is not None else [])
            self._streams = None
        loop.call_later(LATE_S, self._sweep)
        self._close_ducts()

    def _close_ducts(self) -> None:
        for duct in (self._keeper, self._streams):
            if isinstance(duct, Duct):
                duct.close()

    def _sweep(self) -> None:
        """Close late streams when they have ended; until then their command has them."""
        for streams in [*self._late]:
            if streams.at_rest or streams.lost is not None:
                self._late.remove(streams)
                streams.close()
        if self._late:
            asyncio.get_running_loop().call_later(1.0, self._sweep)

    def close(self) -> None:
        """Let go of everything now."""
        self.end("its executor was closed")
        for task in self._tasks:
            task.cancel()
        for streams in self._late:
            streams.close()
        self._late.clear()
        self._close_ducts()

    @property
    def state(self) -> str:
        """`busy` or `idle`, or `starting`."""
        if not self.shells:
            return "starting"
        return "idle" if self.current is None and (self._stepping is None or self._stepped.is_set()) else "busy"

    def __repr__(self) -> str:
        return f"<FarSession {self.label} on {self.host.target}: {' '.join(self.shell)}, {self.state}, {self.served} commands>"
