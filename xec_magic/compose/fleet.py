"""`FleetRun`: one command on many targets, on its way through the executor by events; a result a target, in their order."""

from __future__ import annotations

import concurrent.futures
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Final

from xec_magic.compose.fleet_book import Ask, Begin, Finish, FleetBook
from xec_magic.compose.fleet_plan import FleetPlan
from xec_magic.engine.executor import Executor
from xec_magic.engine.interruptible import ending_of
from xec_magic.engine.portal import WAKE_S
from xec_magic.engine.run import Run
from xec_magic.errors import OptionError, RunInterrupted, XecError
from xec_magic.events import Cause, Exited
from xec_magic.fold import fold
from xec_magic.outcome import Outcome
from xec_magic.result import Result
from xec_magic.results import Results

__all__ = ["FleetRun"]

NAMED: Final = 8  # in a message
CANNOT_ASK: Final = (
    "confirm: nobody can be asked here, so nothing has run; --yes (in Python yes=True) says yes beforehand"
)

AskYes = Callable[[str], bool | None]
"""Puts a question to the user; None where nobody can be asked."""


class FleetRun:
    """One run over a fleet: begin it, wait for it, stop it, look at it.

    Args:
        executor: Runs the commands.
        plan: What runs where.
        ask: Asks before each wave, in the thread that waits; None answers yes.

    Attributes:
        runs: The run of each target, in order; None before it begins.
        ended: Numbers of targets, in the order in which they ended; it only grows.
        changes: Goes up with every begin and end.
    """

    def __init__(self, executor: Executor, plan: FleetPlan, ask: AskYes | None = None) -> None:
        self.plan = plan
        self.book = FleetBook(plan.names, plan.policy)
        self.runs: list[Run | None] = [None] * len(plan.plans)
        self.ended: list[int] = []
        self.changes = 0
        self.stop_cause: Cause | None = None
        self.button_cause = Cause.CANCEL
        self.begun_at = 0.0
        self._executor = executor
        self._ask = ask
        self._question = ""
        self._refused: dict[int, XecError] = {}
        self._future: concurrent.futures.Future[Results] = concurrent.futures.Future()
        self._interrupts = 0

    def begin(self) -> FleetRun:
        """Start. Where there is to be a question before the first wave, it is put here.

        Raises:
            OptionError: nobody can be asked; nothing has run.
            KeyboardInterrupt: interrupted at the question; nothing has run.
        """
        for plan in self.plan.plans[:1]:
            self._executor.guard_secrets(plan)
        if self.plan.policy.confirm:
            answer = True if self._ask is None else self._ask(self.question(0))
            if answer is None:
                raise OptionError(CANNOT_ASK)
            if answer:
                self.book.allow()
            else:
                self.book.halt("you said no")
        self.begun_at = time.monotonic()
        try:
            self._executor.post(self._step)
        except KeyboardInterrupt:  # it may have begun: who waits for it hears how it ended
            self._interrupts += 1
            self.request_stop(cause=Cause.INTERRUPT)
        except BaseException:  # an alarm of the user's
            self.request_stop(cause=Cause.CANCEL)
            raise
        return self

    # -- waiting: any thread but the loop's ---------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """The targets, in order."""
        return self.plan.names

    @property
    def title(self) -> str:
        """What to call the command in a line."""
        return self.plan.title

    @property
    def script(self) -> str:
        """The command."""
        return self.plan.plans[0].command.script

    @property
    def watched(self) -> bool:
        """What it uses is sampled."""
        return self.plan.plans[0].monitor is not None

    def done(self) -> bool:
        """It is over."""
        return self._future.done()

    def wait(self, *, on_tick: Callable[[], None] | None = None, tick_s: float = WAKE_S) -> Results:
        """The results, good or bad, when all is over. Questions between waves are put here.

        The kernel's interrupt stops all that runs by the stop ladder, and a second one kills it. The results then say so, and
        `interrupted` makes the error.

        Args:
            on_tick: Called in this thread every `tick_s` seconds while waiting.
            tick_s: Seconds between two of these calls.

        Raises:
            KeyboardInterrupt: interrupted when everything had ended by itself.
        """
        if self._executor.inside:
            raise RuntimeError("waiting on the executor's own thread would wait for ever; a callback must not wait")
        over = ending_of(self._future)
        with self._executor.questions.attended():
            while not self._future.done():
                try:
                    self._executor.questions.serve()
                    if on_tick is not None:
                        on_tick()
                    self._put_question(on_tick)
                    if not over(min(tick_s, WAKE_S)) and not self._executor.is_open:
                        self._abandon()
                except KeyboardInterrupt:
                    self._interrupts += 1
                    self.request_stop(now=self._interrupts > 1, cause=Cause.INTERRUPT)
                except BaseException:
                    self.request_stop(cause=Cause.CANCEL)
                    raise
        results = self._future.result()
        if self._interrupts and self.interrupted(results) is None:
            raise KeyboardInterrupt  # all had ended by themselves in the same moment; the user's wish still counts
        return results

    def interrupted(self, results: Results) -> RunInterrupted | None:
        """The error of a fleet that the kernel's interrupt stopped: it names who had not finished. None for any other."""
        if self.stop_cause is not Cause.INTERRUPT:
            return None
        cut = [result for result in results if result.outcome is Outcome.INTERRUPTED]
        fresh = [result for result in results if result.never_tried]
        if not cut and not fresh:
            return None
        said = [f"{len(cut)} of {len(results)} had not finished: {_named(cut)}"] if cut else []
        said += [f"{len(fresh)} not started: {_named(fresh)}"] if fresh else []
        error = RunInterrupted(f"interrupted; {'; '.join(said)}", (cut or fresh)[0])
        error.results = results
        return error

    def request_stop(self, now: bool = False, cause: Cause | None = None) -> None:
        """Stop all that runs, and begin no more; from any thread. The first cause counts.

        Without a cause it is `button_cause`: what a Stop button stands for.
        """
        self._executor.post(self._stop, now, cause or self.button_cause)

    # -- looking: any thread -------------------------------------------------------------------------

    def snapshot(self) -> Results:
        """How the targets stand now."""
        return self._future.result() if self._future.done() else Results(map(self._result, range(len(self.runs))))

    def result_of(self, number: int) -> Result:
        """How one target stands now."""
        return self._result(number)

    @property
    def waiting_for_answer(self) -> bool:
        """Somebody is asked whether to go on."""
        return bool(self._question)

    def question(self, wave: int) -> str:
        """What is asked before a wave."""
        numbers, names = self.book.waves[wave], self.plan.names
        where = _span([names[number] for number in numbers])
        if wave == 0 and len(self.book.waves) == 1:
            return f"run on {len(numbers)} targets ({where}): {self.plan.title}? [y/N] "
        so_far = f"; so far {self.book.ok:,} ok, {len(self.book.failed):,} failed" if wave else ""
        kind = "the canary" if wave == 0 and self.plan.policy.canary else f"wave {wave + 1} of {len(self.book.waves)}"
        return f"begin {kind}, {len(numbers)} of {len(names)} targets ({where}){so_far}: {self.plan.title}? [y/N] "

    def _result(self, number: int) -> Result:
        run, plan = self.runs[number], self.plan.plans[number]
        if run is not None:
            return run.snapshot()
        error = self._refused.get(number)
        if error is not None:
            # What an option forbids was tried and is a failure; what a closed executor does not take was not.
            kind = type(error).__name__ if isinstance(error, OptionError) else ""
            cause, detail = Cause.SPAWN, str(error)
        else:
            cause, detail, kind = Cause.SPAWN, f"not started: {self.book.halted}" if self.book.halted else "waits", ""
        return fold([Exited("", time.monotonic(), None, None, cause, detail, kind=kind)], plan)

    def __repr__(self) -> str:
        book = self.book
        return f"<FleetRun {len(self.ended):,} of {len(self.runs):,} ended, {len(book.running):,} running, {len(book.failed):,} failed>"

    # -- the course: the loop's thread --------------------------------------------------------------

    def _step(self) -> None:
        for action in self.book.step():
            match action:
                case Begin(number=number):
                    self._launch(number)
                case Ask(wave=wave):
                    self._question = self.question(wave)
                case Finish():
                    self._settle()

    def _launch(self, number: int) -> None:
        try:
            run = self._executor.plan_run(self.plan.plans[number], check=False)
        except XecError as error:  # the executor is closed, or a key function of the cache fails
            self._refused[number] = error
            self._executor.post(self._over, number, False)
            return
        self.runs[number] = run
        self.changes += 1
        self._executor.begin(run)
        run.add_done_callback(lambda result: self._executor.post(self._over, number, result.ok))

    def _over(self, number: int, ok: bool) -> None:
        self.book.ended(number, ok=ok)
        self.ended.append(number)
        self.changes += 1
        self._step()

    def _answered(self, allowed: bool, why: str) -> None:
        if allowed:
            self.book.allow()
        else:
            self.book.halt(why)
        self._step()

    def _stop(self, now: bool, cause: Cause) -> None:
        if self._future.done():
            return
        self.stop_cause = self.stop_cause or cause
        self.book.halt(
            "interrupted before it began" if self.stop_cause is Cause.INTERRUPT else "cancelled before it began"
        )
        for number in [*self.book.running]:
            run = self.runs[number]
            if run is not None:
                run.request_stop(now, self.stop_cause)
        self._step()

    def _settle(self) -> None:
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            self._future.set_result(Results(map(self._result, range(len(self.runs)))))

    # -- the thread that waits -------------------------------------------------------------------------

    def _put_question(self, on_tick: Callable[[], None] | None) -> None:
        if not self._question:
            return
        try:
            if on_tick is not None:
                on_tick()  # what is asked about is shown before
            answer = True if self._ask is None else self._ask(self._question)
        finally:
            self._question = ""
        why = "nobody could be asked whether to go on" if answer is None else "you said no"
        self._executor.post(self._answered, bool(answer), why)

    def _abandon(self) -> None:
        """Its executor has been closed: it ends as it is."""
        for run in self.runs:
            if run is not None:
                run.abandon()
        self.book.halt("its executor is closed")
        self._settle()


def _named(results: Sequence[Result]) -> str:
    names = [result.target for result in results]
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _span(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} … {names[-1]}"
