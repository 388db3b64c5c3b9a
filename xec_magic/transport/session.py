"""`Session`: a shell that is kept from command to command."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from xec_magic.command import Command
from xec_magic.errors import SpawnError, map_errors
from xec_magic.events import Usage
from xec_magic.transport.base import ExitStatus, Sampler, StartRequest
from xec_magic.transport.dialects import Order, dialect_of
from xec_magic.transport.here import HereRun
from xec_magic.transport.local import directory_of, environment, open_stdin
from xec_magic.transport.names import Names
from xec_magic.transport.procfacts import Children, cpu_ticks, io_bytes, summed
from xec_magic.transport.sampling import tree_reader
from xec_magic.transport.sampling.since import SinceReader
from xec_magic.transport.sampling.threads import SamplingThreads
from xec_magic.transport.session_process import SessionProcess
from xec_magic.transport.shells import default_shell, script_for
from xec_magic.transport.spawn import proctree
from xec_magic.transport.spawner import Spawned, Spawner

__all__ = ["MUTE", "Session"]

PREPARE_S: Final = 0.001  # after a command: pipes for the next one, when the result is on its way
IN_STEP_S: Final = 5.0  # a shell that was signalled must have answered anew by then
DOUBT_S: Final = 0.5  # between two looks at a shell that may have lost its way
AS_ONE_S: Final = 0.025  # of starts nearer to one another the clock ticks do not tell which came first
MEASURED_S: Final = 0.1  # of a shorter command the clock ticks tell nothing
TICKS_A_S: Final = os.sysconf("SC_CLK_TCK")
SESSION_KNOWN_S: Final = 10.0  # so long after the shell's end its number surely names nobody else's session
MUTE: Final = "how it ended is not known: the session's shell no longer answers"
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class Session:
    """A kept shell. All methods run on the loop's thread.

    Args:
        label: What messages call it.
        command: The first one: its shell, profile and directory are the session's.
        names: Where the shell finds what it opens; closed with the session.
        mark: The `XEC_RUN_ID` of all its processes.
        on_end: Called once, when the shell has ended.
        sampling: Reads what its commands use.

    Attributes:
        shells: Its shell's process, and those that hold its place after a fatal error.
        ended_because: Why there is no shell any more; empty as long as there is.
    """

    def __init__(
        self, label: str, command: Command, names: Names, mark: str, on_end: Callable[[Session], None],
        sampling: SamplingThreads,
    ) -> None:  # fmt: skip
        self.label = label
        self.shell = command.shell or default_shell()
        self.login = command.login
        self.rc = command.rc
        self.born_at = self.used_at = time.monotonic()
        self.served = 0
        self.current: SessionProcess | None = None
        self.shells: frozenset[int] = frozenset()
        self.pid = 0
        self.ended_because = ""
        self._command = command
        self._names = names
        self._dialect = dialect_of(self.shell)
        self._mark = mark
        self._on_end = on_end
        self._sampling = sampling
        self._spawned: Spawned | None = None
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._frames = bytearray()
        self._pipes: tuple[int, int] | None = None
        self._last: tuple[Command, Order, bytes | None] | None = None
        self._prepares: asyncio.TimerHandle | None = None
        self._doubts: asyncio.TimerHandle | None = None
        self._doubted = False
        self._mute = False  # its shell was ended since it said nothing any more
        self._input_is_null = True
        self._sent = False  # a signal, after which the shell may answer more than once, or end
        self._pings = 0
        self._heard_ping = False
        self._exits = False
        self._kin = Children()
        self._children: frozenset[int] = frozenset()
        self._observed = False  # whether its children and counters were read since the last command was put to it
        self._ended_at: float | None = None
        self._closed = False
        self._cpu_ticks: tuple[int, int] | None = None
        self._io: tuple[int, int] | None = None
        self._loan = threading.Lock()  # held by whoever puts a command to the shell, until that is over
        self._late_exit: ExitStatus | None = None
        self.control = names.output("ctl")
        self._feed = names.orders("feed")

    # -- beginning ------------------------------------------------------------------------------------

    async def open(self, spawner: Spawner) -> None:
        """Start the shell, and wait until it has read its profile and is ready.

        Raises:
            SpawnError: it cannot be started, or ends before it is ready.
        """
        try:
            with map_errors(OSError, to=SpawnError, what="cannot prepare a session"):
                self._names.read("in", None)
                start = self._dialect.start(self.shell, self._names, login=self.login, rc=self.rc)
                null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            try:
                env = {**environment(Command(""), self._mark), **start.env}
                self._spawned = await spawner.spawn(start.argv, directory_of(self._command), env, (null, null, null))
            finally:
                os.close(null)
            self.pid = self._spawned.pid
            self.shells = frozenset({self.pid})
            self._spawned.exit.add_done_callback(self._exited)
            loop = asyncio.get_running_loop()
            loop.add_reader(self.control, self._read_frames)
            await self._ready
            loop.remove_reader(self.control)
            self._prepare()
        except BaseException:
            self.end()
            raise

    # -- commands -------------------------------------------------------------------------------------

    def refusal(self, command: Command) -> str:
        """Why it cannot run a command; empty when it can."""
        shell = command.shell or default_shell()
        if shell != self.shell:
            return f"session {self.label} is a {' '.join(self.shell)}; say --shell {' '.join(self.shell)!r}, or begin anew with --reset"
        if command.login and not self.login:
            return f"session {self.label} has not read the profile; begin anew with --login --reset"
        wrong = [name for name, _ in (*command.env, *command.secret_env) if not _NAME.fullmatch(name)]
        return f"{wrong[0]!r} is no variable that a shell can hold" if wrong else ""

    def claim(self) -> bool:
        """Have the idle shell for a command, which `run` then takes. Any thread may ask; one that was refused may ask again soon."""
        if not self._loan.acquire(blocking=False):
            return False
        if self._closed or self.ended_because or self._sent or not self._ready.done():
            self._loan.release()
            return False
        return True

    def run(self, request: StartRequest, *, first: bool) -> SessionProcess:
        """Put a command to the shell, which was claimed. The request's descriptors are closed, whatever comes of it.

        Raises:
            SpawnError: its input cannot be opened.
        """
        try:
            with map_errors(OSError, to=SpawnError, what="cannot open the command's streams"):
                stdout, stderr = self._open_streams(request)
        except BaseException:
            self._loan.release()
            raise
        if not self._observed:
            self._observe()
        text = self._order(request.command, first=first)
        self.current = process = SessionProcess(self, request, stdout, stderr)
        self._write(text)
        self._watch()
        return process

    def _open_streams(self, request: StartRequest) -> tuple[int | None, int]:
        """Put the command's streams in their places; what is to be read of it."""
        try:
            if request.stdin_fd is not None or request.command.stdin is not None:
                given = open_stdin(request.command) if request.stdin_fd is None else os.dup(request.stdin_fd)
                self._names.read("in", given)
                self._input_is_null = False
            (stdout, stderr), self._pipes = self._pipes or self._new_pipes(), None
            self.hold()
            if request.stdout_fd is None:
                return stdout, stderr
            os.close(stdout)
            self._names.give("out", os.dup(request.stdout_fd))
            return None, stderr
        finally:
            for fd in (request.stdin_fd, request.stdout_fd):
                if fd is not None:
                    os.close(fd)

    def _order(self, command: Command, *, first: bool) -> bytes:
        self.served += 1
        self._observed = False
        last, fed = self._last, not self._input_is_null
        if last is None or last[0] is not command or first or fed:  # the same one comes again and again
            env = (*command.env, *command.secret_env)
            order = Order(script_for(command), command.strict, env, None if first else command.cwd, fed)
            last = command, order, self._dialect.plain(order)
            self._last = None if first or fed else last
        return self._dialect.order(last[1], self._names) if last[2] is None else last[2]

    def _watch(self) -> None:
        """Hear what the shell says, and doubt it when it says nothing."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self.control, self._read_frames)
        self._doubted = False
        self._doubts = loop.call_later(DOUBT_S, self._doubt)

    # -- loans to the thread that waits ---------------------------------------------------------------

    def lend(self, command: Command) -> HereRun | None:
        """Put a command to the shell from any thread but the loop's; None when that must be the loop's business.

        Whoever gets it has the session, until `give_back` or `adopt`.
        """
        last = self._last
        again = last is not None and last[0] is command  # and what was accepted once is so again
        if self.ended_because or command.stdin is not None or (not again and self.refusal(command)):
            return None
        if not self.claim():
            return None
        try:
            pipes, self._pipes = self._pipes or self._new_pipes(), None
        except OSError:
            self._loan.release()
            return None
        if not self._observed and time.monotonic() < self.used_at + AS_ONE_S:
            self._children = self._kin.of(self.shells)
        return HereRun(self, self._order(command, first=False), pipes)

    def put(self, order: bytes) -> None:
        """Write an order that a pipe takes at once."""
        with contextlib.suppress(OSError):  # the shell has gone; its exit says so
            os.write(self._feed, order)

    def hold(self) -> None:
        """Let the readers of the command's pipes see no end yet."""
        self._names.hold("out")
        self._names.hold("err")

    def release(self) -> None:
        """Let the readers see the end, when no child holds the pipes."""
        self._names.release("out")
        self._names.release("err")

    def give_back(self, pipes: tuple[int, int]) -> None:
        """The borrowed session's command is over, and its pipes are at their end."""
        if self._names.lasting:
            self._pipes = pipes
        else:
            for fd in pipes:
                os.close(fd)
        self.used_at = time.monotonic()
        self._loan.release()

    def adopt(self, here: HereRun, request: StartRequest) -> SessionProcess:
        """Go on with a command that was begun by the thread that waits for it; the loan stays taken."""
        self.current = process = SessionProcess(self, request, *here.pipes)
        process.began(here.started_at, here.pieces)
        self.hold()
        self._watch()
        self._hear(here.frames)
        if self._late_exit is not None:
            self._gone(self._late_exit)
        return process

    def _new_pipes(self) -> tuple[int, int]:
        return self._names.output("out"), self._names.output("err")

    def _write(self, data: bytes) -> None:
        """Write orders; what the pipe does not take at once follows when the shell has read."""
        loop = asyncio.get_running_loop()
        try:
            sent = os.write(self._feed, data)
        except BlockingIOError:
            sent = 0
        except OSError:  # the shell has gone; its exit says so
            return
        rest = data[sent:]
        loop.remove_writer(self._feed)
        if rest:
            loop.add_writer(self._feed, self._write, rest)

    def will_signal(self, number: int) -> None:
        """Let the shell know that a signal comes from here: it then goes on after it."""
        self._sent = True
        self._names.write("sent", b"%d" % number)

    def _read_frames(self) -> None:
        try:
            data = os.read(self.control, 4096)
        except BlockingIOError:
            return
        self._hear(data)

    def _hear(self, data: bytes) -> None:
        *lines, rest = (bytes(self._frames) + data).split(b"\n")
        self._frames[:] = rest
        for line in lines:
            self._frame(line)

    def _frame(self, line: bytes) -> None:
        kind = line[:1]
        if kind == b"r":
            if not self._ready.done():
                self._ready.set_result(None)
        elif kind == b"x":
            self._exits = True
        elif kind == b"v":
            self.ended_because = f"bash {line[2:].decode('ascii', 'replace')} is too old, a session needs 4.4"
        elif kind == b"y":
            self._heard_ping = int(line[2:]) == self._pings
        elif kind in (b"s", b"k"):
            code, *pid = map(int, line.split()[1:])
            if pid:
                self.pid = pid[0]
                self.shells |= {self.pid}
            if self.current is not None:
                self._answered(self.current, code, fatal=kind == b"k")
            elif self._heard_ping:
                self._in_step()

    def _answered(self, process: SessionProcess, code: int, *, fatal: bool) -> None:
        usage = self._usage() if time.monotonic() - process.started_at > MEASURED_S else None
        self._free()
        process.ended(ExitStatus(code, None, usage), fatal=fatal)
        if self._sent:
            self._ping()
        else:
            self._prepares = asyncio.get_running_loop().call_later(PREPARE_S, self._prepare)

    def _ping(self) -> None:
        """Find out whether the shell that was signalled is still there, and what it says last about the command."""
        loop = asyncio.get_running_loop()
        self._pings += 1
        self._heard_ping = False
        self._write(self._dialect.ping(self._pings, self._names))
        loop.add_reader(self.control, self._read_frames)
        self._doubts = loop.call_later(IN_STEP_S, self._never_in_step)

    def _never_in_step(self) -> None:
        self.end("its shell no longer answers")

    def _in_step(self) -> None:
        """All that the shell had to say about the signal is heard: it may be given the next command."""
        asyncio.get_running_loop().remove_reader(self.control)
        if self._doubts is not None:
            self._doubts.cancel()
        self._heard_ping = False
        self._names.write("sent", b"")
        self._sent = False
        self._prepare()

    def _usage(self) -> Usage | None:
        """What the shell and all that it has waited for have used since the last command; None where that cannot be told."""
        # A copy that goes on in the shell's place begins with counters of its own, at 0.
        before, self._cpu_ticks = self._cpu_ticks, summed(cpu_ticks, self.shells)
        io_before, self._io = self._io, summed(io_bytes, self.shells)
        if before is None or self._cpu_ticks is None or self._cpu_ticks == before:
            return None
        user, system = (now - then for now, then in zip(self._cpu_ticks, before, strict=True))
        read = written = None
        if io_before is not None and self._io is not None:
            read, written = (max(0, now - then) for now, then in zip(self._io, io_before, strict=True))
        return Usage(max(0, user) / TICKS_A_S, max(0, system) / TICKS_A_S, read_bytes=read, written_bytes=written)

    def _last_use(self, whole: Usage | None) -> Usage | None:
        """What the last command has used, of what the shell has in all its life. How much memory it took is not known."""
        if whole is None or self._cpu_ticks is None:
            return None
        user, system = (
            max(0.0, now - ticks / TICKS_A_S)
            for now, ticks in zip((whole.user_s, whole.system_s), self._cpu_ticks, strict=True)
        )
        if not user + system:
            return None
        read = written = None
        if self._io is not None and whole.read_bytes is not None and whole.written_bytes is not None:
            read, written = max(0, whole.read_bytes - self._io[0]), max(0, whole.written_bytes - self._io[1])
        return Usage(user, system, read_bytes=read, written_bytes=written)

    def _free(self) -> None:
        """The command is over: its streams have no writer of ours any more."""
        if self._closed:
            return
        asyncio.get_running_loop().remove_reader(self.control)
        self.used_at = time.monotonic()
        if self._doubts is not None:
            self._doubts.cancel()
        self._names.shut("out")
        self._names.shut("err")
        if not self._input_is_null:
            self._input_is_null = True
            with contextlib.suppress(OSError):
                self._names.read("in", None)
        if self.current is not None:
            self.current = None
            self._loan.release()  # last of all: from now on another thread may use all that

    def _prepare(self) -> None:
        """Do for the next command what need not wait for it."""
        if self.ended_because or self._closed or not self._loan.acquire(blocking=False):
            return
        if self._pipes is None:
            with contextlib.suppress(OSError):  # the next command asks again, and is told
                self._pipes = self._new_pipes()
        self._observe()
        self._loan.release()

    def _observe(self) -> None:
        """See what earlier commands have left and used; the shell is idle, and who calls has it."""
        self._children = self._kin.of(self.shells)
        self._cpu_ticks = summed(cpu_ticks, self.shells)
        self._io = summed(io_bytes, self.shells)
        self._observed = True

    def _doubt(self) -> None:
        """See whether the shell is busy with the command. It closes its control descriptor as long as it is."""
        if self.current is None or not proctree.HAS_PROC:
            return
        idle = os.path.lexists(f"/proc/{self.pid}/fd/{self._dialect.control_fd}")
        if idle and self._doubted:
            self._mute = True
            self.end("its shell no longer answers")
            return
        self._doubted = idle
        self._doubts = asyncio.get_running_loop().call_later(DOUBT_S, self._doubt)

    # -- processes ------------------------------------------------------------------------------------

    def children(self) -> frozenset[int]:
        """The shell's children that earlier commands have left."""
        return self._children

    def living(self) -> list[proctree.Living]:
        """All living processes of the session, its shell included."""
        if self._spawned is None:
            return []
        known = self._ended_at is None or time.monotonic() < self._ended_at + SESSION_KNOWN_S
        return proctree.living({self._spawned.pid} if known else (), self._marker)

    @property
    def _marker(self) -> bytes:
        return b"XEC_RUN_ID=" + self._mark.encode() + b"\0"

    def sampler(self, mine: Callable[[int], bool], run_id: str) -> Sampler:
        """What reads the use of the shell and of its descendants that count, from now on."""
        return self._sampling.of_reader(SinceReader(tree_reader(self.pid, self._marker, mine=mine)), run_id)

    # -- the end --------------------------------------------------------------------------------------

    def end(self, why: str = "") -> None:
        """End the shell at once, and let go of everything. A second call does nothing."""
        if not self.ended_because:
            self.ended_because = why or "it was ended"
        for pid in self.shells if self._ended_at is None else ():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if self._spawned is None:
            self._close()

    def _exited(self, exit: asyncio.Future[ExitStatus]) -> None:  # noqa: A002 - the word for it
        self._ended_at = time.monotonic()
        if self.current is None and not self._loan.acquire(blocking=False):
            self._late_exit = exit.result()  # whoever has borrowed it hands it over
            return
        self._gone(exit.result())

    def _gone(self, status: ExitStatus) -> None:
        if not self.ended_because:
            self.ended_because = "the script called exit" if self._exits else f"its shell ended: {_words(status)}"
        process = self.current
        if not self._ready.done():
            self._ready.set_exception(SpawnError(f"session {self.label} was not ready yet: {self.ended_because}"))
            self._ready.exception()  # nobody may be waiting any more
        self._on_end(self)
        self._free()
        self._close()
        if process is not None:
            process.lost(
                ExitStatus(None, None, lost=MUTE)
                if self._mute
                else replace(status, usage=self._last_use(status.usage)),
                f"session {self.label} was lost ({self.ended_because}): its variables are gone, and the next command starts a new one",
            )

    def close(self) -> None:
        """Let go of everything, when the shell is ended. A second call does nothing."""
        if self.current is not None or not self._loan.locked():  # who has borrowed it still reads
            self._close()

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        if self._prepares is not None:
            self._prepares.cancel()
        loop.remove_reader(self.control)
        loop.remove_writer(self._feed)
        for fd in (self.control, self._feed, *(self._pipes or ())):
            os.close(fd)
        self._pipes = None
        self._kin.close()
        self._names.close()

    @property
    def state(self) -> str:
        """`busy`, `idle`, or `starting`."""
        if not self._ready.done():
            return "starting"
        return "busy" if self._sent or self._loan.locked() else "idle"

    def __repr__(self) -> str:
        return f"<Session {self.label}: {' '.join(self.shell)}, pid {self.pid}, {self.state}, {self.served} commands>"


def _words(status: ExitStatus) -> str:
    if status.lost:
        return status.lost
    return f"signal {status.signal}" if status.signal is not None else f"exit code {status.exit_code}"
