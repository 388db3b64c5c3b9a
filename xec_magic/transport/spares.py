"""The spares of one executor: which shells are started ahead, and which command gets which."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from pathlib import PurePath
from typing import Final

from xec_magic.command import Command
from xec_magic.errors import SpawnError
from xec_magic.transport.base import StartRequest
from xec_magic.transport.localprocess import LocalProcess
from xec_magic.transport.sampling.threads import SamplingThreads
from xec_magic.transport.shells import default_shell, dress, shows_its_begin
from xec_magic.transport.spare import ROOM_BYTES, Kind, Order, Spare, start_spare
from xec_magic.transport.spare_here import SpareHere
from xec_magic.transport.spawner import Spawner
from xec_magic.transport.surroundings import current_environ, directory_of
from xec_magic.transport.umask import current_umask
from xec_magic.transport.warmpool import Demand, Idle, step

__all__ = ["Spares"]

TRIAL: Final = b"exit 97"
TRIAL_S: Final = 5.0
EARLY_ENDS: Final = 3  # a shell whose spares end before they are used, so often in a row, is not started ahead any more
KNOWN: Final = 64  # commands of which it is remembered what they need
REFILL_S: Final = 0.002  # after a command's end: by then its result is on its way

# With these, bash does something before it comes to BASH_ENV, or says something while it reads it.
_BEFORE_US: Final = frozenset({b"BASH_ENV", b"SHELLOPTS", b"BASHOPTS", b"POSIXLY_CORRECT", b"BASH_XTRACEFD"})
_OVERRIDES: Final = frozenset({b"BASH_FUNC_unset%%", b"BASH_FUNC_builtin%%", b"BASH_FUNC_:%%"})


class Spares:
    """All spares of one executor. All methods but `lend` run on the loop's thread.

    Another thread has a spare from the moment when it has removed it from `idle`, which a list does in one step.

    Args:
        spawner: Starts them.
        kernel_id: Begin of the mark by which their processes are known.
        preamble: Gives the file that holds a start-up text.
        bound: So many at once; reserved ones come on top.
        sampling: Reads what their commands use.
    """

    def __init__(
        self, spawner: Spawner, kernel_id: str, preamble: Callable[[str], str], bound: int, sampling: SamplingThreads
    ) -> None:
        self._spawner = spawner
        self._kernel_id = kernel_id
        self._preamble = preamble
        self._bound = bound
        self._sampling = sampling
        self._numbers = itertools.count(1)
        self._kinds: dict[int, Kind] = {}
        self._used_at: dict[int, float] = {}
        self._reserved: Counter[tuple[tuple[bytes, ...], str]] = Counter()
        self._starting: list[int] = []
        self._proven: dict[bytes, bool] = {}
        self._early: Counter[bytes] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._fewer = False  # since spares were begun that are not there yet
        self._made: set[Spare] = set()  # those whose end has not been told
        self._known: dict[Command, tuple[Kind, Order | None]] = {}
        self.idle: list[Spare] = []
        self.served = 0

    # -- commands -----------------------------------------------------------------------------------

    def take(self, request: StartRequest) -> LocalProcess | None:
        """Run a command in a spare; None when there is none for it. Whatever comes of it, spares for its like follow."""
        command = request.command
        if request.stdin_fd is not None or request.stdout_fd is not None:
            return None
        kind, order = self._looked_up(command)
        if kind is None:
            return None
        self._used_at[kind.number] = time.monotonic()
        spare = None if order is None else self._released(kind, order)
        return None if spare is None else spare.process(request, self._sampling)

    def lend(self, command: Command) -> SpareHere | None:
        """Begin a command in a spare, from any thread; None when that must be the loop's business, and nothing has happened."""
        kind, order = self._looked_up(command, new=False)
        spare = None if kind is None or order is None else self._released(kind, order)
        return None if spare is None else SpareHere(spare, self._sampling)

    def _released(self, kind: Kind, order: Order) -> Spare | None:
        """A spare of a kind that has been given a script; None when there is none. Any thread may ask."""
        spare = self._pop(kind)
        if spare is None:
            return None
        try:
            if spare.release(order):
                self.served += 1
                self._early.clear()
                spare.spawned.started_at = time.monotonic()
                return spare
        except BaseException:  # an alarm of the user's
            spare.let_go()
            raise
        spare.let_go()
        return None

    def _looked_up(self, command: Command, *, new: bool = True) -> tuple[Kind | None, Order | None]:
        """The kind of a command, and what a spare of it is given; None where there is none. Any thread may ask.

        To ask again what an equal command needed would take a tenth of a short one.
        """
        known = self._known.get(command)
        if known is not None and not self._closed and self._is_current(known[0], command):
            return known
        kind = self._kind_of(command, new=new)
        if kind is None:
            return None, None
        argv, long_script = dress(command)
        fits = long_script is None and len(argv[-1]) < ROOM_BYTES
        if len(self._known) >= KNOWN:
            self._known.clear()
        self._known[command] = found = kind, Order.of(argv[-1], kind) if fits else None
        return found

    def _is_current(self, kind: Kind, command: Command) -> bool:
        """A command would get this kind now as well."""
        return (
            kind.number in self._kinds
            and kind.environ is current_environ()
            and kind.directory == directory_of(command)
            and kind.umask == current_umask()
            and self._proven.get(kind.argv[0]) is not False
        )

    def _kind_of(self, command: Command, *, new: bool = True) -> Kind | None:
        """The kind of a command; None when no spare could run it, or when it is a `new` one and shall not be made."""
        if self._closed or command.secret_env or command.stdin is not None or sys.platform != "linux":
            return None
        if shows_its_begin(command.script):
            return None
        argv = _argv(command.shell or default_shell(), command.login)
        if argv is None or self._proven.get(argv[0]) is False:
            return None
        directory, environ, umask = directory_of(command), current_environ(), current_umask()
        for kind in list(self._kinds.values()):  # another thread may look as well
            if (
                kind.environ is environ
                and kind.directory == directory
                and kind.argv == argv
                and kind.env == command.env
                and kind.rc == command.rc
                and kind.umask == umask
            ):
                return kind
        if not new:
            return None
        names = environ.keys() | {os.fsencode(name) for name, _ in command.env}
        if names & (_BEFORE_US | _OVERRIDES):
            return None
        kind = Kind(next(self._numbers), argv, command.rc, directory, environ, command.env, umask)
        self._kinds[kind.number] = kind
        return kind

    def _pop(self, kind: Kind) -> Spare | None:
        """The youngest spare of a kind. Any thread may ask."""
        for spare in reversed(self.idle.copy()):
            if spare.kind is kind and self._have(spare):
                if spare.waits and spare.is_alive() and (kind.rc or spare.is_where_it_should()):
                    return spare
                spare.let_go()
        return None

    def _have(self, spare: Spare) -> bool:
        """Take a spare that waits: it is the caller's then. False when another thread has just taken it."""
        try:
            self.idle.remove(spare)
        except ValueError:
            return False
        return True

    # -- keeping them ---------------------------------------------------------------------------------

    def look_soon(self) -> None:
        """Look in a moment whether spares are missing; called when a command has ended."""
        self._look_at(time.monotonic() + REFILL_S)

    def reserve(self, command: Command, size: int) -> None:
        """Keep so many more spares for commands like this one; fewer with a negative number."""
        kind = self._kind_of(command)
        if kind is not None:
            self._reserved[kind.argv, kind.rc] += size
            self._used_at[kind.number] = time.monotonic()
            self._fewer = self._fewer or size < 0
            self._look()

    def _look_at(self, when: float) -> None:
        if self._closed:
            return
        loop = asyncio.get_running_loop()  # whose clock is the monotonic one
        if self._timer is None or when < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(when, self._look)

    def _look(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        idle = [Idle(spare.number, spare.kind.number, spare.born_at) for spare in self.idle]
        done = step(self._demands(), idle, starting=self._starting, bound=self._bound, now=time.monotonic())
        for spare in self.idle.copy():
            if spare.number in done.end and self._have(spare):
                spare.let_go()
        for number in done.forget:
            del self._kinds[number]
            self._used_at.pop(number, None)
        for number in done.start:
            self._starting.append(number)
            task = asyncio.get_running_loop().create_task(self._add(self._kinds[number]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if done.next_at is not None:
            self._look_at(done.next_at)

    def _demands(self) -> list[Demand]:
        latest = {
            (self._kinds[number].argv, self._kinds[number].rc): number
            for number in sorted(self._kinds, key=lambda number: self._used_at.get(number, 0.0))
        }
        return [
            Demand(
                number,
                self._used_at.get(number, 0.0),
                # What is reserved follows the kernel from directory to directory.
                self._reserved[kind.argv, kind.rc] or None if latest[kind.argv, kind.rc] == number else None,
            )
            for number, kind in self._kinds.items()
        ]

    async def _add(self, kind: Kind) -> None:
        try:
            if kind.argv[0] not in self._proven:
                self._proven[kind.argv[0]] = await self._works(kind)
            if self._proven[kind.argv[0]] and not self._closed:
                spare = await self._make(kind)
                if self._closed or not spare.fits:
                    spare.let_go()
                    self._doubt(kind)
                else:
                    self.idle.append(spare)
        except SpawnError:
            pass  # the command that needs it is started by itself, and says why that does not work
        finally:
            self._starting.remove(kind.number)
            if self._fewer and not self._starting:
                self._fewer = False
                self.look_soon()

    async def _works(self, kind: Kind) -> bool:
        """Whether a spare of this shell runs what it is given here."""
        trial = await self._make(Kind(0, (kind.argv[0], b"-c"), "", "/", kind.environ, (), kind.umask))
        if not trial.fits or not trial.release(Order.of(TRIAL, trial.kind)):
            trial.let_go()
            return False
        try:
            async with asyncio.timeout(TRIAL_S):
                status = await asyncio.shield(trial.spawned.exit)
        except TimeoutError:
            return False
        finally:
            trial.let_go()
        return status.exit_code == 97

    async def _make(self, kind: Kind) -> Spare:
        number = next(self._numbers)
        preamble = self._preamble(kind.rc) if kind.rc else ""
        spare = await start_spare(self._spawner, kind, number, f"{self._kernel_id}.w{number}", preamble)
        self._made.add(spare)
        spare.spawned.exit.add_done_callback(lambda _: self._ended(spare))
        return spare

    def _ended(self, spare: Spare) -> None:
        self._made.discard(spare)
        if self._have(spare):  # by itself, or from outside
            spare.let_go()
            self._doubt(spare.kind)
        elif spare.spoilt:
            self._doubt(spare.kind)
        elif spare.released and spare.kind.number in self._kinds:
            self._used_at[spare.kind.number] = time.monotonic()
        self.look_soon()

    def _doubt(self, kind: Kind) -> None:
        """A spare was lost before it ran anything. That may happen; when it happens again and again, there are no more."""
        self._early[kind.argv[0]] += 1
        if self._early[kind.argv[0]] >= EARLY_ENDS:
            self._proven[kind.argv[0]] = False

    def end_idle(self) -> None:
        """End those that wait; later commands bring new ones."""
        for number in self._kinds:
            self._used_at.pop(number, None)
        for spare in self.idle.copy():
            if self._have(spare):
                spare.let_go()

    def close(self) -> None:
        """End all of them, and start no more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for task in self._tasks:
            task.cancel()
        self.end_idle()
        for spare in self._made:  # nobody will hear of their ends any more
            spare.close_names()


@lru_cache(maxsize=64)
def _argv(shell: tuple[str, ...], login: bool) -> tuple[bytes, ...] | None:
    """What comes before a script; None for a shell that cannot be started ahead."""
    if len(shell) != 1 or PurePath(shell[0]).name != "bash":
        return None
    program = os.fsencode(shell[0])
    return (program, b"-l", b"-c") if login else (program, b"-c")
