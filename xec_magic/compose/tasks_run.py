"""`TasksRun`: tasks on their way through the executor, by events: nothing polls, no task has a thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any

from xec_magic.compose.tasks_check import Checker
from xec_magic.compose.tasks_files import pattern_hint
from xec_magic.compose.tasks_fresh import reason_not_to_run
from xec_magic.compose.tasks_graph import Graph
from xec_magic.compose.tasks_result import OVER, TaskResult, TaskResults, TaskState
from xec_magic.compose.tasks_store import TaskStore
from xec_magic.engine.awaiting import as_cancellation, until_over
from xec_magic.engine.executor import Executor
from xec_magic.engine.interruptible import interruptible
from xec_magic.engine.portal import WAKE_S
from xec_magic.engine.run import Run
from xec_magic.errors import TasksInterrupted, XecError
from xec_magic.events import Cause
from xec_magic.outcome import Outcome
from xec_magic.result import Result

__all__ = ["TasksRun"]


@dataclass(slots=True)
class _Status:
    """Where a task stands, while it is on its way."""

    state: TaskState = TaskState.PENDING
    reason: str = ""
    run: Run | None = None
    result: Result | None = None
    start_s: float | None = None
    end_s: float | None = None


class TasksRun:
    """One run of tasks: wait for it, stop it, look at it.

    Args:
        executor: Runs the commands.
        graph: The tasks.
        jobs: So many run at a time.
        keep_going: Go on with what does not need a task that has failed.
        force: Run also what is up to date.
        resume: Do not run again what ended well in a run that did not.
        store: What is remembered of the tasks.
        check: `result` raises when a task failed.
    """

    def __init__(
        self,
        executor: Executor,
        graph: Graph,
        *,
        jobs: int,
        keep_going: bool,
        force: bool,
        resume: bool,
        store: TaskStore,
        check: bool = True,
    ) -> None:
        self.graph = graph
        self.jobs = jobs
        self.check = check
        self.stop_cause: Cause | None = None
        self.changes = 0  # goes up with every change; who shows the tasks looks at it
        self.ended: list[str] = []  # names, in the order in which they ended; it only grows
        self._executor = executor
        self._keep_going = keep_going
        self._status = {name: _Status() for name in graph.order}
        self._checker = Checker(graph, store, force=force, resume=resume)
        self._missing = {
            name: len(graph.needs[name]) for name in graph.order
        }  # so many of its needs have not ended well
        self._ready: deque[str] = deque()
        self._busy: dict[str, Run | None] = {}  # on their way; without a run yet while their files are looked at
        self._halted = ""  # why nothing new is started
        self._finishing = False
        self._begun_at = 0.0
        self._future: concurrent.futures.Future[TaskResults] = concurrent.futures.Future()

    def begin(self) -> TasksRun:
        """Start; a second call does nothing."""
        try:
            self._executor.post(self._begin)
        except BaseException as error:  # an interrupt, or an alarm of the user's: who called has no handle
            self.request_stop(cause=Cause.INTERRUPT if isinstance(error, KeyboardInterrupt) else Cause.CANCEL)
            raise
        return self

    # -- waiting: any thread but the loop's ---------------------------------------------------------

    def done(self) -> bool:
        """It is over."""
        return self._future.done()

    def wait(
        self, timeout: float | None = None, *, on_tick: Callable[[], None] | None = None, tick_s: float = WAKE_S
    ) -> TaskResults:
        """The results, good or bad, when all is over; what has not begun begins.

        The kernel's interrupt stops all commands at once by the stop ladder, and a second one kills them; the results
        then say so, and `check` raises `TasksInterrupted`.

        Args:
            timeout: Seconds to wait; None for as long as it takes.
            on_tick: Called in this thread every `tick_s` seconds while waiting.

        Raises:
            TimeoutError: not over after `timeout` seconds; it goes on.
        """
        if self._executor.inside:
            raise RuntimeError("waiting on the executor's own thread would wait for ever; a callback must not wait")

        def lives() -> bool:
            if not self._executor.is_open:
                self._abandon()
            return self._executor.is_open

        interrupts = 0
        while True:
            try:
                if not self._begun_at:
                    self.begin()
                results, interrupts = interruptible(
                    self._future, lambda cause, now: self.request_stop(now, cause), lives, timeout=timeout,
                    late="the tasks still run", on_tick=on_tick, tick_s=tick_s, interrupts=interrupts,
                )  # fmt: skip
                break
            except KeyboardInterrupt:  # before the wait began: nobody else would stop them
                interrupts += 1
                self.request_stop(interrupts > 1, Cause.INTERRUPT)
        if interrupts and not results.interrupted:
            raise KeyboardInterrupt  # they had ended by themselves at the same moment; the user's wish still counts
        return results

    def result(self, timeout: float | None = None) -> TaskResults:
        """The results when all is over; raises what `TaskResults.check` raises, unless started with `check=False`."""
        results = self.wait(timeout)
        return results.check() if self.check or results.interrupted else results

    def __await__(self) -> Generator[Any, None, TaskResults]:
        return self._wait_async().__await__()

    async def _wait_async(self) -> TaskResults:
        try:
            interrupted = await until_over(self._future, lambda cause, now: self.request_stop(now, cause))
        except KeyboardInterrupt:
            self.wait().check()
            raise
        results = self._future.result()
        if interrupted:
            error = results.error()
            raise as_cancellation(error if isinstance(error, TasksInterrupted) else KeyboardInterrupt())
        return results.check() if self.check else results

    def cancel(self, *, now: bool = False) -> None:
        """Stop all commands by the stop ladder, or kill them `now`; what has not started never does. Does not wait."""
        self.request_stop(now=now)

    def request_stop(self, now: bool = False, cause: Cause = Cause.CANCEL) -> None:
        """Ask for the end of all, from any thread. The first cause counts."""
        self._executor.post(self._stop, now, cause)

    def snapshot(self) -> TaskResults:
        """How the tasks stand now; from any thread."""
        if self._future.done():
            return self._future.result()
        return self._results(self._clock())

    def _results(self, duration_s: float) -> TaskResults:
        tasks = [
            TaskResult(
                name, status.state, self.graph.needs[name], status.reason, status.result, status.start_s, status.end_s,
                group=self.graph.tasks[name].plan is None,
            )
            for name, status in self._status.items()
        ]  # fmt: skip
        return TaskResults(
            tasks, jobs=self.jobs, duration_s=duration_s, notes=tuple(self._checker.notes),
            interrupted=self.stop_cause is Cause.INTERRUPT,
        )  # fmt: skip

    def running(self) -> dict[str, Run]:
        """The tasks whose commands run now."""
        return {name: run for name, run in list(self._busy.items()) if run is not None}

    def __repr__(self) -> str:
        return f"<TasksRun {self.snapshot().summary()}>"

    # -- the course: the loop's thread --------------------------------------------------------------

    def _begin(self) -> None:
        if self._begun_at:
            return
        self._begun_at = time.monotonic()
        self._ready.extend(name for name, count in self._missing.items() if not count)
        self._fill()

    def _fill(self) -> None:
        """Start what can start; the end when nothing can any more."""
        while self._ready and len(self._busy) < self.jobs and not self._halted:
            self._take(self._ready.popleft())
        if not self._busy and (self._halted or not self._ready):
            self._finish()

    def _take(self, name: str) -> None:
        if self.graph.tasks[name].plan is None:
            self._over(name, TaskState.OK)  # a group: all that it needs has ended well
        elif self._checker.must_look(name):
            self._busy[name] = None
            self._ask(self._checker.look(name, self._is_stopped), lambda done: self._looked(name, done))
        else:
            self._launch(name, self._checker.why_unseen())

    def _ask(self, question: Coroutine[Any, Any, str], then: Callable[[asyncio.Future[str]], None]) -> None:
        """Hear what is to be said of files. Where the executor is closed meanwhile, nobody will say it."""
        asking = asyncio.ensure_future(question)
        asking.add_done_callback(lambda done: self._abandon() if done.cancelled() else then(done))

    def _is_stopped(self) -> bool:
        return self.stop_cause is not None or not self._executor.is_open

    def _looked(self, name: str, done: asyncio.Future[str]) -> None:
        error = done.exception()
        if self._halted and (error is not None or done.result()):
            self._busy.pop(name, None)  # it does not start; the end says why
        elif error is not None:
            self._over(name, TaskState.FAILED, str(error))
        elif done.result():
            self._launch(name, done.result())
        else:
            self._over(name, TaskState.UP_TO_DATE, reason_not_to_run(self.graph.tasks[name]))
        self._fill()

    def _launch(self, name: str, reason: str) -> None:
        status, plan = self._status[name], self.graph.tasks[name].plan
        assert plan is not None
        try:
            run = self._executor.plan_run(plan, check=False)
        except XecError as error:  # the executor is closed, or the script holds a secret's value
            self._over(name, TaskState.FAILED, str(error))
            return
        self._busy[name] = status.run = run
        status.state, status.reason, status.start_s = TaskState.RUNNING, reason, self._clock()
        self.changes += 1
        self._executor.begin(run)
        run.add_done_callback(lambda result: self._ended(name, result))

    def _ended(self, name: str, result: Result) -> None:
        status = self._status[name]
        status.result, status.end_s = result, self._clock()
        if result.ok and self._checker.makes_files(name):
            self._ask(self._checker.look_at_made(name), lambda done: self._looked_at_made(name, result, done))
        else:
            self._judged(name, result, "")

    def _looked_at_made(self, name: str, result: Result, done: asyncio.Future[str]) -> None:
        error = done.exception()
        if error is None:
            self._judged(name, result, done.result())
        else:
            self._over(name, TaskState.FAILED, f"whether it created its files cannot be told: {error}")
            self._fill()

    def _judged(self, name: str, result: Result, lacking: str) -> None:
        if lacking:
            self._over(name, TaskState.FAILED, f"it did not create {lacking}{pattern_hint(lacking)}")
        elif result.ok:
            self._over(name, TaskState.OK, self._status[name].reason)
        else:
            stopped = result.outcome in {Outcome.CANCELLED, Outcome.INTERRUPTED}
            self._over(name, TaskState.STOPPED if stopped else TaskState.FAILED, result.verdict())
        self._fill()

    def _over(self, name: str, state: TaskState, reason: str = "") -> None:
        """A task has reached its end, one way or the other."""
        status = self._status[name]
        self._busy.pop(name, None)
        status.state, status.reason, status.run = state, reason, None
        self.changes += 1
        self.ended.append(name)
        began, ended = status.start_s, status.end_s
        self._checker.over(name, state, 0.0 if began is None or ended is None else ended - began)
        if state in {TaskState.OK, TaskState.UP_TO_DATE}:
            for one in self.graph.dependants(name):
                self._missing[one] -= 1
                if not self._missing[one]:
                    self._ready.append(one)
            return
        verb = "was stopped" if state is TaskState.STOPPED else "failed"
        self._block(name, f"{name} {verb}")
        if not self._keep_going:
            self._halted = self._halted or f"{name} {verb} (--no-keep-going)"

    def _block(self, name: str, reason: str) -> None:
        waiting = list(self.graph.dependants(name))
        while waiting:
            one = waiting.pop()
            status = self._status[one]
            if status.state is TaskState.PENDING:
                status.state, status.reason = TaskState.BLOCKED, reason
                waiting += self.graph.dependants(one)

    def _stop(self, now: bool, cause: Cause) -> None:
        if self._future.done():
            return
        self.stop_cause = self.stop_cause or cause
        self._halted = (
            "interrupted before it started" if self.stop_cause is Cause.INTERRUPT else "cancelled before it started"
        )
        for run in self.running().values():
            run.request_stop(now, self.stop_cause)
        self._fill()

    def _finish(self) -> None:
        if self._finishing:
            return
        self._finishing = True
        for status in self._status.values():
            if status.state not in OVER:
                status.state, status.reason = TaskState.SKIPPED, self._halted
        took = self._clock()
        well = all(status.state in {TaskState.OK, TaskState.UP_TO_DATE} for status in self._status.values())
        closing = asyncio.ensure_future(self._checker.end(well=well))
        closing.add_done_callback(lambda _: self._settle(took))

    def _settle(self, took: float) -> None:
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            self._future.set_result(self._results(took))

    def _abandon(self) -> None:
        """Its executor has been closed: it ends as it is. Any thread."""
        for status in self._status.values():
            if status.run is not None:
                status.result = status.run.snapshot()
                status.state, status.reason = TaskState.STOPPED, "its executor is closed"
            elif status.state not in OVER:
                status.state, status.reason = TaskState.SKIPPED, "its executor is closed"
        self._settle(0.0)

    def _clock(self) -> float:
        return time.monotonic() - self._begun_at if self._begun_at else 0.0
