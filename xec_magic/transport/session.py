"""`Session`: a shell that is kept from command to command."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from xec_magic.command import Command
from xec_magic.errors import SpawnError, map_errors
from xec_magic.transport.base import ExitStatus, StartRequest
from xec_magic.transport.names import Names
from xec_magic.transport.sampling.threads import SamplingThreads
from xec_magic.transport.session_doubt import Doubt
from xec_magic.transport.session_here import SessionHere
from xec_magic.transport.session_line import Frame, SessionLine, code_in
from xec_magic.transport.session_meter import Meter
from xec_magic.transport.session_orders import SessionOrders
from xec_magic.transport.session_process import SessionProcess
from xec_magic.transport.session_shells import SessionShells, in_words
from xec_magic.transport.session_streams import SessionStreams
from xec_magic.transport.spawner import Spawner
from xec_magic.transport.surroundings import directory_of

__all__ = ["MUTE", "Session"]

PREPARE_S: Final = 0.001  # after a command: pipes for the next one, when the result is on its way
AS_ONE_S: Final = 0.025  # of starts nearer to one another the clock ticks do not tell which came first
MEASURED_S: Final = 0.1  # of a shorter command the clock ticks tell nothing
MUTE: Final = "how it ended is not known: the session's shell no longer answers"


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
        control, put, hold, release: For the thread that has borrowed it, see `SessionLine` and `SessionStreams`.
        shell: Its interpreter, with arguments.
        shells: Its processes.
        refusal: Why it cannot run a command, see `SessionOrders`.
        ended_because: Why there is no shell any more; empty as long as there is.
    """

    def __init__(
        self, label: str, command: Command, names: Names, mark: str, on_end: Callable[[Session], None],
        sampling: SamplingThreads,
    ) -> None:  # fmt: skip
        self.label = label
        self.born_at = self.used_at = time.monotonic()
        self.served = 0
        self.current: SessionProcess | None = None
        self.shells = SessionShells(mark, sampling)
        self.ended_because = ""
        self._command = command
        self._names = names
        self._on_end = on_end
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._prepares: asyncio.TimerHandle | None = None
        self._mute = False  # its shell was ended since it said nothing any more
        self._sent = False  # a signal, after which the shell may answer more than once, or end
        self._exits = False
        self._closed = False
        self._loan = threading.Lock()  # held by whoever puts a command to the shell, until that is over
        self._late_exit: ExitStatus | None = None
        self._orders = SessionOrders(label, command, names)
        self._meter = Meter()
        self._streams = SessionStreams(names)
        self._line = SessionLine(names, self._heard)
        self._doubt = Doubt(lambda: self.shells.holds(self._orders.control_fd), self._lost)
        self.shell, self.refusal = self._orders.shell, self._orders.refusal
        self.control, self.put = self._line.control, self._line.put
        self.hold, self.release = self._streams.hold, self._streams.release

    # -- beginning ------------------------------------------------------------------------------------

    async def open(self, spawner: Spawner) -> None:
        """Start the shell, and wait until it has read its profile and is ready.

        Raises:
            SpawnError: it cannot be started, or ends before it is ready.
        """
        try:
            with map_errors(OSError, to=SpawnError, what="cannot prepare a session"):
                self._streams.open()
                start = self._orders.start()
            await self.shells.start(spawner, start, directory_of(self._command), self._exited)
            self._line.listen()
            await self._ready
            self._line.rest()
            self._prepare()
        except BaseException:
            self.end()
            raise

    # -- commands -------------------------------------------------------------------------------------

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
                stdout, stderr = self._streams.put(request)
        except BaseException:
            self._loan.release()
            raise
        if not self._meter.fresh:
            self._meter.look(self.shells.pids)
        text = self._order(request.command, first=first)
        self.current = process = SessionProcess(self, request, stdout, stderr)
        self._line.write(text)
        self._watch()
        return process

    def _order(self, command: Command, *, first: bool) -> bytes:
        self.served += 1
        self._meter.fresh = False
        return self._orders.of(command, first=first, fed=self._streams.fed)

    def _watch(self) -> None:
        """Hear what the shell says, and doubt it when it says nothing."""
        self._line.listen()
        self._doubt.begin()

    # -- loans to the thread that waits ---------------------------------------------------------------

    def lend(self, command: Command) -> SessionHere | None:
        """Put a command to the shell from any thread but the loop's; None when that must be the loop's business.

        Whoever gets it has the session, until `give_back` or `adopt`.
        """
        if self.ended_because or command.stdin is not None or self.refusal(command) or not self.claim():
            return None
        try:
            pipes = self._streams.take()
        except OSError:
            self._loan.release()
            return None
        if not self._meter.fresh and time.monotonic() < self.used_at + AS_ONE_S:
            self._meter.look_for_children(self.shells.pids)
        return SessionHere(self, self._order(command, first=False), pipes)

    def give_back(self, pipes: tuple[int, int]) -> None:
        """The borrowed session's command is over, and its pipes are at their end."""
        self._streams.give_back(pipes)
        self.used_at = time.monotonic()
        self._loan.release()
        if self._late_exit is not None:
            self._ready.get_loop().call_soon_threadsafe(self._exited, self._late_exit)

    def adopt(self, here: SessionHere, request: StartRequest) -> SessionProcess:
        """Go on with a command that was begun by the thread that waits for it; the loan stays taken."""
        self.current = process = SessionProcess(self, request, *here.pipes)
        process.began(here.started_at, here.pieces)
        self.hold()
        self._watch()
        self._line.heard(here.frames)
        if self._late_exit is not None:
            self._gone(self._late_exit)
        return process

    def will_signal(self, number: int) -> None:
        """Let the shell know that a signal comes from here: it then goes on after it."""
        self._sent = True
        self._names.write("sent", b"%d" % number)

    # -- what the shell says --------------------------------------------------------------------------

    def _heard(self, frame: Frame) -> None:
        if frame.kind == "r":
            if not self._ready.done():
                self._ready.set_result(None)
        elif frame.kind == "x":
            self._exits = True
        elif frame.kind == "v":
            self.ended_because = f"bash {' '.join(frame.words)} is too old, a session needs 4.4"
        elif frame.kind == "y":
            self._doubt.answered(int(frame.words[0]))
        elif frame.kind in ("s", "k"):
            code, *pid = frame.words
            if pid:
                self.shells.began(int(pid[0]))
            if self.current is not None:
                self._answered(self.current, code_in(code), fatal=frame.kind == "k")
            elif self._doubt.settled:
                self._in_step()

    def _answered(self, process: SessionProcess, code: int, *, fatal: bool) -> None:
        usage = self._meter.used(self.shells.pids) if time.monotonic() - process.started_at > MEASURED_S else None
        self._free()
        process.ended(ExitStatus(code, None, usage), fatal=fatal)
        if self._sent:
            self._ping()
        else:
            self._prepares = asyncio.get_running_loop().call_later(PREPARE_S, self._prepare)

    def _ping(self) -> None:
        """Find out whether the shell that was signalled is still there, and what it says last about the command."""
        self._line.write(self._orders.ping(self._doubt.ask()))
        self._line.listen()

    def _in_step(self) -> None:
        """All that the shell had to say about the signal is heard: it may be given the next command."""
        self._line.rest()
        self._doubt.end()
        self._names.write("sent", b"")
        self._sent = False
        self._prepare()

    def _free(self) -> None:
        """The command is over: its streams have no writer of ours any more."""
        if self._closed:
            return
        self._line.rest()
        self._doubt.end()
        self._streams.shut()
        self.used_at = time.monotonic()
        if self.current is not None:
            self.current = None
            self._loan.release()  # last of all: from now on another thread may use all that

    def _prepare(self) -> None:
        """Do for the next command what need not wait for it."""
        if self.ended_because or self._closed or not self._loan.acquire(blocking=False):
            return
        self._streams.prepare()
        self._meter.look(self.shells.pids)
        self._loan.release()

    def _lost(self, silent: bool) -> None:
        """The shell does not answer any more."""
        self._mute = silent
        self.end("its shell no longer answers")

    def children(self) -> frozenset[int]:
        """The shell's children that earlier commands have left."""
        return self._meter.left

    # -- the end --------------------------------------------------------------------------------------

    def end(self, why: str = "") -> None:
        """End the shell at once, and let go of everything. A second call does nothing."""
        if not self.ended_because:
            self.ended_because = why or "it was ended"
        self.shells.kill()
        if not self.shells.pid:
            self._close()

    def _exited(self, status: ExitStatus) -> None:
        self._late_exit = status  # before it is known whether somebody has borrowed it, who hands it over then
        if self.current is not None or self._loan.acquire(blocking=False):
            self._gone(status)

    def _gone(self, status: ExitStatus) -> None:
        if not self.ended_because:
            self.ended_because = "the script called exit" if self._exits else f"its shell ended: {in_words(status)}"
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
                else replace(status, usage=self._meter.used_last(status.usage)),
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
        if self._prepares is not None:
            self._prepares.cancel()
        self._doubt.end()
        self._line.close()
        self._streams.close()
        self._meter.close()
        self._names.close()

    @property
    def state(self) -> str:
        """`busy`, `idle`, or `starting`."""
        if not self._ready.done():
            return "starting"
        return "busy" if self._sent or self._loan.locked() else "idle"

    def __repr__(self) -> str:
        return f"<Session {self.label}: {' '.join(self.shell)}, pid {self.shells.pid}, {self.state}, {self.served} commands>"
