"""`FarSession`: a shell that is kept on a host from command to command."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from xec_magic.command import Command
from xec_magic.errors import SpawnError, TransportError
from xec_magic.events import ProcessInfo
from xec_magic.transport.base import ExitStatus, Sampler, StartRequest
from xec_magic.transport.dialects import Order
from xec_magic.transport.session import MUTE
from xec_magic.transport.session_line import code_in
from xec_magic.transport.shells import script_for
from xec_magic.transport.ssh.hosts import Host
from xec_magic.transport.ssh.kept.command import KeptProcess
from xec_magic.transport.ssh.kept.doubt import Doubt
from xec_magic.transport.ssh.kept.ducts import LOST, Keeper, open_duct
from xec_magic.transport.ssh.kept.input import FarInput
from xec_magic.transport.ssh.kept.kin import Kin
from xec_magic.transport.ssh.kept.lines import KEEPER_DIR, Spare, keeper_line
from xec_magic.transport.ssh.kept.outlets import Outlets
from xec_magic.transport.ssh.kept.step import Step
from xec_magic.transport.ssh.kept.talk import Part, Talk, with_home
from xec_magic.transport.ssh.kept.tally import Tally
from xec_magic.transport.ssh.kept.words import NOT_RUN, lost_note, no_room, refusal_of, worded

__all__ = ["FarSession"]

LATE_S: Final = 0.05  # the end of the streams that comes so long after the command's is no child's doing


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
        kin: Its processes.
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
        self._directory = KEEPER_DIR + secrets.token_hex(8)
        self._talk = Talk(command.shell, self._directory)
        self.kin = Kin(host, mark, self._directory, self._talk.control_fd)
        self._command = command
        self._on_end = on_end
        self._keeper: Keeper | None = None
        self._outlets = Outlets(host, self._directory, lambda why: self._finish(why, None))
        self._input = FarInput(host, self._directory)
        self._step = Step(self._ping, self._end_mute)
        self._doubt = Doubt(host, self._talk.control_fd, self._end_mute)
        self._tally = Tally(self._answered)
        self._mark = mark
        self._awaited: list[Part] = []
        self._unwritten = False  # what the shell was last told found no room on the host
        self._exits = False
        self._signalled = False  # after which the shell may answer more than once, or end
        self._gone = False
        self._mute = False  # its shell is ended since it says nothing any more

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
            self._keeper = await open_duct(self.host, line, lambda: Keeper(line, self._hear), self._keeper_lost)
            try:
                await self._keeper.ready(str(self.host.target))
            except SpawnError as error:
                raise SpawnError(worded(str(error), self._command)) from error
            await self._outlets.renew()
        except BaseException:
            self.end()
            raise

    # -- commands -------------------------------------------------------------------------------------

    def refusal(self, command: Command) -> str:
        """Why it cannot run a command; empty when it can."""
        return refusal_of(command, self._where, self.shell, login=self.login)

    @property
    def _where(self) -> str:
        return f"session {self.label} on {self.host.target}"

    async def run(self, request: StartRequest, *, first: bool) -> KeptProcess:
        """Put a command to the shell, which is idle. The request's descriptors are closed, whatever comes of it.

        Raises:
            SpawnError: its input cannot be opened there.
            TransportError: the host cannot be reached.
        """
        command = replace(request.command, shell=self.shell)
        assert self._keeper is not None
        try:
            streams = await self._outlets.resting()
            before = await self._input.bring(request, self._keeper.home)
        except BaseException:
            for fd in (request.stdin_fd, request.stdout_fd):
                if fd is not None:
                    with contextlib.suppress(OSError):
                        os.close(fd)
            raise
        before += self._outlets.opened_once()
        if self._signalled:
            before.append(b": >|%s/sent" % self._directory.encode())
            self._signalled = False
        self._tally.begin(weighs=request.weighed)
        count = [self._talk.count] if request.weighed else []
        self.served += 1
        order = Order(
            script_for(command), command.strict, (*command.env, *command.secret_env), None if first else command.cwd
        )
        text, awaited = self._talk.command(
            with_home(order, self._keeper.home),
            self.kin.run_mark(self.served),
            [*before, self._talk.children, *count],
            count + ([self._input.no_input] if self._input.given else []),
        )
        self._input.given = False
        keeper, shell = self._keeper, self.shells[-1] if self.shells else 0
        self.current = process = KeptProcess(request, self.served, shell, streams, self._control, self._watcher)
        self._awaited += awaited
        assert keeper.lease is not None
        keeper.lease.connection.commands += 1
        keeper.write(text)
        self._doubt.begin(process, self.shells)
        if self._gone:
            process.lost(ExitStatus(None, None, lost=self._lost_words()), "")
        else:
            self.host.occupy(+1)
        return process

    async def _end_mute(self) -> None:
        """End the shell, which says nothing any more."""
        self.ended_because = "its shell no longer answers"
        self._mute = True
        with contextlib.suppress(TransportError):  # the keeper may tell of its end before this is over
            await self.kin.stop_all(["KILL"])
        self._finish(self.ended_because, ExitStatus(None, 9))

    # -- after a signal -------------------------------------------------------------------------------

    async def in_step(self) -> bool:
        """Wait until the shell may be given its next command; False when it has ended. Cancelling is safe."""
        await self._step.done()
        return not self._gone

    def _ping(self, number: int) -> bool:
        if self._gone or self._keeper is None:
            return False
        self._keeper.write(self._talk.ping(number))
        return True

    def _hear_out(self, *, pong: int | None) -> None:
        """An answer while the shell is brought into step. When it is, none of the earlier ones is waited for any more."""
        if self._step.hear(pong=pong):
            self._awaited.clear()

    # -- answers --------------------------------------------------------------------------------------

    def _hear(self, line: bytes) -> None:
        kind, words = line[:1], line.split()
        if kind == b"r":
            self.shells[:] = [int(words[1])]
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
            if self._step.is_under_way:
                self._hear_out(pong=None)
            elif self._awaited:
                self._done(self._awaited.pop(0), ExitStatus(code_in(words[1]), None), fatal=kind == b"k")
        elif kind == b"f":
            self._unwritten = True
        elif kind == b"c":
            if self.current is not None:
                self.current.older = [int(word) for word in words[1:]]
        elif kind == b"u":
            self._tally.hear(line)

    def _done(self, part: Part, status: ExitStatus, *, fatal: bool) -> None:
        """The shell has done a part of what it was told."""
        if part == "command":
            if self._unwritten and self.current is not None:
                self.current.refuse(no_room(self._where, self._directory))
                status = NOT_RUN
            self._tally.over(status, fatal=fatal, calm=self._calm)
        if part != "before":
            self._unwritten = False

    def _ready_late(self) -> None:
        if self._keeper is not None:
            self._keeper.is_ready()

    def _answered(self, status: ExitStatus, *, fatal: bool) -> None:
        process, self.current = self.current, None
        self._calm()
        self.used_at = time.monotonic()
        if process is not None:
            self.host.occupy(-1)
            if self._signalled:
                self._step.begin(process.signals_are_there)
            process.ended(status, fatal=fatal)
            asyncio.get_running_loop().call_later(LATE_S, self._look_at_streams, process)

    def _calm(self) -> None:
        self._doubt.end()
        self._input.stop()

    def _look_at_streams(self, process: KeptProcess) -> None:
        """Get streams for the next command, if children of this one have kept its own."""
        if process.streams_open and self.current is None and not self._gone:
            self._outlets.renew_ahead()
        self._outlets.close_ended()

    # -- processes ------------------------------------------------------------------------------------

    async def _control(self, process: KeptProcess, signals: list[str], spare: Spare) -> list[ProcessInfo]:
        if signals and process.exit is None:
            self._signalled = True
        return await self.kin.control(process, signals, spare, latest=process.number == self.served)

    def _watcher(self, process: KeptProcess) -> Sampler | None:
        """What reads the use of a command, from its begin on."""
        return self.kin.watcher(process, lambda: self._tally.before(process.pid) if process is self.current else None)

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

    def _lost_words(self) -> str:
        return f"the session on {self.host.target} was lost: {self.ended_because}"

    def _finish(self, why: str, status: ExitStatus | None) -> None:
        if self._gone:
            return
        self._gone = True
        self._tally.answer()
        self.ended_because = self.ended_because or why
        self._step.end()
        self._on_end(self)
        process, self.current = self.current, None
        self._calm()
        if process is not None:
            self.host.occupy(-1)
            note = lost_note(self._where, self.ended_because)
            if status is not None:
                process.ended(ExitStatus(None, None, lost=MUTE) if self._mute else status, note=note)
            else:
                cause = self.ended_because.removeprefix(LOST)
                process.lost(
                    ExitStatus(None, None, lost=f"the connection to {self.host.target} was lost: {cause}"), note
                )
        # What a command has printed last is on its way, in another channel than the news of its end.
        flowing = process is not None and process.streams_open
        self._outlets.end(self.ended_because, flowing=flowing, late_s=LATE_S)
        if self._keeper is not None:
            self._keeper.close()

    def close(self) -> None:
        """Let go of everything now."""
        self.end("its executor was closed")
        self._doubt.end()
        self._input.stop()
        self._outlets.close()
        if self._keeper is not None:
            self._keeper.close()

    @property
    def shells(self) -> list[int]:
        """The shell's processes; empty until it is ready."""
        return self.kin.shells

    @property
    def state(self) -> str:
        """`busy` or `idle`, or `starting`."""
        if not self.shells:
            return "starting"
        return "idle" if self.current is None and not self._step.is_under_way else "busy"

    def __repr__(self) -> str:
        return f"<FarSession {self.label} on {self.host.target}: {' '.join(self.shell)}, {self.state}, {self.served} commands>"
