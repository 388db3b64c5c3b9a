"""`Executor`: plan in, events out. Admission, limits, retries and the end of a run meet here."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from xec_magic.engine.ask import Questions
from xec_magic.engine.audience import Audience
from xec_magic.engine.cache import ResultCache
from xec_magic.engine.cachekey import Captured, Key, placed
from xec_magic.engine.drive import Drive
from xec_magic.engine.exposure import refuse_exposed
from xec_magic.engine.express import Express
from xec_magic.engine.flight import Flights
from xec_magic.engine.here import run_here
from xec_magic.engine.history import History
from xec_magic.engine.interruptible import ending_of
from xec_magic.engine.loopexecutor import CLOSED, LoopExecutor
from xec_magic.engine.pipefunctions import plan_of_function
from xec_magic.engine.pipes import DEFER_S, Pipes
from xec_magic.engine.portal import WAKE_S
from xec_magic.engine.run import Run
from xec_magic.engine.spool import SpoolDirectory
from xec_magic.errors import OptionError, TransportError, XecError
from xec_magic.events import Cause
from xec_magic.plan import Plan
from xec_magic.redact import Redactor
from xec_magic.result import Result
from xec_magic.transport import Transports
from xec_magic.transport.base import Function, Process
from xec_magic.transport.here import HereRun
from xec_magic.transport.pool import PoolLimits
from xec_magic.transport.terminate import stop

if TYPE_CHECKING:
    from xec_magic.transport.ssh import Row, SSHTransport

T = TypeVar("T")

__all__ = ["Executor"]

MAX_RUNNING: Final = 64  # local processes at once; more runs wait in the order of their start
SEATED_FROM: Final = 16
EXIT_GRACE_S: Final = 1.0  # a rung of the stop ladder at the kernel's exit: Jupyter kills the kernel after 5 s


class Executor(LoopExecutor):
    """Runs plans on one loop in one thread. One serves a kernel; more can live beside it.

    Args:
        max_running: Runs that have a process at once; further ones are queued in order.
        redactor: Masks secrets in all output before anything sees it.
        ssh_limits: How many connections a host gets, and for how long; None for the usual.

    Attributes:
        observers: Told of results, and when each was asked for.
        settle: Tells them at once what they have not been told yet. Any thread may call it.
    """

    def __init__(
        self, max_running: int = MAX_RUNNING, redactor: Redactor | None = None, ssh_limits: PoolLimits | None = None
    ) -> None:
        if max_running < 1:
            raise OptionError(f"max_running must be at least 1, not {max_running}")
        super().__init__()
        self.max_running = max_running
        self.kernel_id = secrets.token_hex(6)
        self.redactor = redactor or Redactor()
        self.spool = SpoolDirectory(self.kernel_id)
        self._numbers = itertools.count(1)
        self.questions = Questions()
        self.transports = Transports(self.kernel_id, lambda: str(self.spool.path()), self.questions.ask, ssh_limits)
        # One of many places belongs to a thread that runs a command by itself: the others are the loop's.
        self.seat = threading.Lock() if max_running >= SEATED_FROM else None
        self.admission = asyncio.Semaphore(max_running - (self.seat is not None))
        self.cache = ResultCache(self.redactor)
        self.flights = Flights(self)
        self._pipes = Pipes(self)
        self._history = History(self.spool, self)
        self._audience = Audience(self._portal)
        self.observers, self.settle = self._audience.observers, self._audience.settle

    # -- the outside: any thread ------------------------------------------------------------------

    def start(self, plan: Plan, *, check: bool = True, background: bool = False, keep: bool | None = None) -> Run:
        """Start a plan; gives its handle at once.

        Raises:
            XecError: the executor is closed.
        """
        run = self.plan_run(plan, check=check, background=background, keep=keep)
        self.begin(run)
        return run

    def plan_run(self, plan: Plan, *, check: bool = True, background: bool = False, keep: bool | None = None) -> Run:
        """A run that is planned and not started; `begin`, or its first use, starts it.

        Raises:
            XecError: the executor is closed.
            OptionError: a file that the key of its result speaks of is not there, or the user's key function fails.
            RunInterrupted: interrupted while such a file was read, or that function ran; nothing has run.
        """
        if self._closed or not self._portal.is_open or os.getpid() != self._owner:
            raise XecError(CLOSED)
        self.guard_secrets(plan)
        run = self._new_run(plan, check=check, background=background, keep=keep if plan.limits.keep else False)
        if plan.cache is not None:
            run.key = self._key(self.cache.captured(plan), plan)
        return run

    def _key(self, captured: Captured, plan: Plan) -> Key:
        """The key of a plan at this moment. To make it may take long, so an interrupt ends the run before it has begun."""
        try:
            return self.cache.key(captured, plan)
        except KeyboardInterrupt:
            run = self._new_run(plan, check=False, background=False, keep=True)
            run.interrupt_unbegun("before it started, while what it depends on was looked at")
            run.snapshot().check()
            raise

    def _new_run(self, plan: Plan, *, check: bool, background: bool, keep: bool | None, run_id: str = "") -> Run:
        if plan.cache is not None:
            if keep is False:
                raise OptionError("cache: without its output there is nothing to keep; leave out cache or keep=False")
            keep = True  # also what is read as it comes
            plan = placed(plan)
        run_id = run_id or self.new_id()
        run = Run(
            self, run_id, plan, lambda: self.spool.new_log(run_id, plan.limits.memory_bytes),
            check=check, background=background, keep=keep,
        )  # fmt: skip
        run.asked_at = self.cache.clock.steady()
        return run

    # -- the outside: what is kept ------------------------------------------------------------------

    def answer(self, run: Run) -> bool:
        """Whether a kept result ends a planned run at once; in the caller's thread, before anybody else knows the run."""
        hit = self.cache.find(run.key, run.plan) if run.key is not None else None
        if hit is None:
            return False
        run.begun = True
        run.replay(hit.entry.result, hit.age_s)
        self._history.add_ended(run)
        self._audience.listen(run)
        if hit.refresh:
            self.refresh(run.plan, run.key, since=hit.entry.stored.steady)
        return True

    def hit(self, captured: Captured, plan: Plan) -> Result | None:
        """The kept result for a plan that was captured before, without a run to hold it; None when there is none.

        Raises:
            OptionError: a file of the key is not there, or the user's key function fails.
            XecError: the executor is closed.
            RunInterrupted: as for `plan_run`.
        """
        if self._closed:
            raise XecError(CLOSED)
        key = captured.settled() or self._key(captured, plan)
        hit = self.cache.find(key, plan)
        if hit is None:
            return None
        entry, age_s, refresh = hit
        if refresh:
            self.refresh(plan, key, since=entry.stored.steady)
        result = entry.result.replayed(str(next(self._numbers)), plan, age_s)
        self._audience.note_hit(result)
        return result

    def refresh(self, plan: Plan, key: Key | None = None, since: float | None = None) -> Run:
        """Run a plan behind, and keep its result instead of what is kept.

        Args:
            plan: With a cache.
            key: Its key, where that is known.
            since: An execution that begins after this moment of the steady clock will do; None for now.

        Raises:
            OptionError: as for `hit`.
            XecError: the executor is closed.
        """
        assert plan.cache is not None
        plan = replace(plan, cache=plan.cache.over(refresh=True), tee=None)
        run = self._new_run(plan, check=False, background=True, keep=True)
        run.key = key or self._key(self.cache.captured(plan), plan)
        if since is not None:
            run.asked_at = min(run.asked_at, since)
        self.begin(run)
        return run

    def follow_on(self, run: Run) -> None:
        """Begin a run that had waited for another one. On the loop's thread."""
        run.stand_alone()
        self.start_now(run)

    # -- the outside: runs ----------------------------------------------------------------------------

    def guard_secrets(self, plan: Plan) -> None:
        """Register the plan's secrets, and refuse one that would stand where others can read it.

        Raises:
            OptionError: a secret's value in the script, the interpreter's arguments, a name or a plain variable.
        """
        command = plan.command
        for name, value in command.secret_env:
            self.redactor.register(name, value)
        if self.redactor.knows_none:
            return
        self.cache.new_secrets()
        refuse_exposed(plan, self.redactor)

    def plan_next(self, script: str, like: Run) -> Run:
        """A further run with the policies and surroundings of `like`, planned and not started."""
        while like.function is not None and like.upstream is not None:
            like = like.upstream  # a function has no surroundings that a command could have
        plan = replace(
            like.plan,
            command=replace(like.plan.command, script=script, stdin=None, session="", reset=False),
            tee=None,
            label="",
            batch=None,
            cache=None,
        )
        return self.plan_run(plan, check=like.check, keep=None)

    def skip(self, plan: Plan, why: str) -> Run:
        """A run that ends here and now, skipped; it is listed as any other."""
        run = self.plan_run(plan, check=False)
        self._history.add(run)
        run.skip(why)
        return run

    def plan_function(self, function: Function, like: Run) -> Run:
        """A Python function to be joined to `like`, planned and not started."""
        run = self.plan_run(plan_of_function(function, like.plan), check=like.check, keep=None)
        run.function = function
        return run

    def begin_later(self, run: Run) -> None:
        """Begin by itself in a moment, unless something has begun it before."""
        try:
            self._history.add(run)
            self.post(lambda: self.call_later(DEFER_S, lambda: self.start_now(run)))
        except Exception:  # an alarm of the user's: nobody will have it; an interrupt is for who waits
            run.cancel()
            raise

    def begin(self, run: Run) -> None:
        """Start a run that has only been planned. Any thread; a second call does nothing."""
        if run.begun:
            return
        if not self._portal.is_open:
            run.abandon()
            return
        # Only while nobody else knows it: what is listed may be started by the loop at any moment.
        if run not in self._history and not self._portal.inside and self.answer(run):
            return
        run.begun = True
        try:
            self._history.add(run)  # here already: who lists the runs next must see it
            if self._portal.inside:
                self.start_now(run)
            else:
                self._portal.post(self.start_now, run)
        except Exception:  # an alarm of the user's: nobody will have it; an interrupt is for who waits
            run.cancel()
            raise

    def run_here(self, plan: Plan, keep: bool | None) -> Result | None:
        """The result of a short command of this machine, run by the calling thread; None when it is to be run as others are.

        Raises:
            OptionError: a secret stands where others can read it; nothing has run.
            RunInterrupted: interrupted while waiting.
        """
        if self._closed or not self._portal.is_open or self._portal.inside or os.getpid() != self._owner:
            return None
        self.guard_secrets(plan)
        return run_here(self, plan, keep)

    def new_id(self) -> str:
        """An id for a run."""
        return str(next(self._numbers))

    def adopt(self, plan: Plan, here: HereRun, keep: bool | None, seat: threading.Lock | None = None) -> Run:
        """A run that goes on with what the calling thread has begun; it gives back the seat."""
        kept = keep if plan.limits.keep else False
        run = self._new_run(plan, check=False, background=False, keep=kept, run_id=here.run_id)
        run.begun = True
        run.state = "running"
        self._history.add(run)
        self.post(self.take_over, run, here, seat)
        return run

    def note_result(self, result: Result) -> None:
        """Keep the result of a run that nobody had a handle of, so that it can be listed."""
        assert result.started_at is not None
        self._history.add_result(result)
        self._audience.note(result, result.started_at.timestamp())

    def take_over(self, run: Run, here: HereRun, seat: threading.Lock | None) -> None:
        """Go on with a run that the waiting thread has begun. On the loop's thread."""
        Express(self, run, self.keep).take_over(here, seat)

    def join(self, source: Run, sink: Run) -> None:
        """Make `source`'s standard output `sink`'s standard input: by a pipe of their own where both are still
        planned, else through this process.

        Raises:
            XecError: `sink` has already started, or has input of its own.
        """
        self._portal.call(self._pipes.join(source, sink))

    def write_to(self, source: Run, fd: int, path: str) -> None:
        """Have `source` write its standard output to a file, open as `fd`, from its begin; its owner is then the executor."""
        self._portal.call(self._pipes.to_file(source, fd, path, masks=self.redactor.stream() is not None))

    def runs(self) -> list[Run]:
        """All runs that are alive or can still be shown, oldest first."""
        return self._history.all()

    def find(self, run_id: str) -> Run | None:
        """The run with this id, or None."""
        return self._history.find(run_id)

    def ssh_call(self, what: Callable[[SSHTransport], Coroutine[Any, Any, T]]) -> T:
        """Do something with the SSH connections and wait for it, answering its questions. Any thread but the loop's.

        Raises:
            KeyboardInterrupt: interrupted; it has been given up.
        """

        async def on_the_loop() -> T:
            return await what(self.transports.ssh)

        with self.questions.attended():
            future = self._portal.submit(on_the_loop())
            over = ending_of(future)
            try:
                while not over(WAKE_S):
                    self.questions.serve()
                return future.result()
            except BaseException:
                future.cancel()
                raise

    def ssh_rows(self) -> list[Row]:
        """The SSH connections, as a table shows them. Any thread but the loop's."""
        if not self.transports.has_ssh or not self._portal.is_open:
            return []

        async def on_the_loop() -> list[Row]:
            return self.transports.ssh.rows()

        return self._portal.call(on_the_loop(), timeout_s=5)

    def warm(self) -> None:
        """Do ahead what the first command would have to wait for."""
        self.post(self.transports.warm)

    def close(self, grace_s: float = EXIT_GRACE_S) -> None:
        """End all runs by the stop ladder, all at once, and let go of everything. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        if os.getpid() != self._owner or not self._portal.is_open:
            return  # a forked copy: the runs are not its own
        try:
            self._portal.call(self._close(grace_s), timeout_s=3 * grace_s + 5)
        except TimeoutError:
            pass  # the helper process ends what is left when this process is gone
        finally:
            self._portal.close()
            self.cache.close()
            self.spool.close()

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        alive = sum(not run.done() for run in self._history.known())
        return f"<Executor {self.kernel_id}, {'closed' if self._closed else f'{alive} running'}, {len(self._history)} runs>"

    # -- the inside: the loop's thread ------------------------------------------------------------

    def start_now(self, run: Run) -> None:
        """Start a run that has only been planned. On the loop's thread."""
        if run.state != "planned":
            return
        run.begun = True
        run.state = "starting"
        self._history.add(run)
        if run.upstream is not None:
            self.start_now(run.upstream)
        if self.flights.board(run):
            return
        if not (Express.suits(run) and Express(self, run, self.keep).begin()):
            self.keep(Drive(self, run).go())

    def end_left_behind(self, run: Run) -> None:
        """End the processes that outlived their run. On the loop's thread."""
        if run.process is not None and run.process.streams_open and not run.ending:
            run.ending = True
            self.keep(self._end_left_behind(run, run.process))

    async def _end_left_behind(self, run: Run, process: Process) -> None:
        try:
            await stop(process, run.grace_s, run.hurry or asyncio.Event(), lambda _: None)
        except TransportError:  # its host is gone
            pass
        process.close()
        run.ending = False

    def finished(self, run: Run) -> None:
        """A run is about to have its result."""
        self._audience.listen(run)
        self._history.finished(run)

    async def _close(self, grace_s: float) -> None:
        for future in list(self._beside):
            future.cancel()
        for run in self._history.known():
            run.grace_s = min(run.grace_s, grace_s)
            if run.hurry is not None:  # a ladder that is being walked has a grace of its own
                self.call_later(2 * grace_s, run.hurry.set)
            if not run.done():
                run._stop(False, Cause.CANCEL, "its kernel is ending")
            else:
                self.end_left_behind(run)
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=3 * grace_s + 2)
        for run in self._history.known():
            if run.process is not None:
                run.process.close()
            run.abandon()
        await self.transports.close(within_s=3 * grace_s + 1)
