"""One execution of several steps: which of them runs when, and what the end of one means for the others.

It goes on in one thread, the caller's or one of its own; there the user's functions are called, too.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from xec_magic.callables import refuse_awaitable
from xec_magic.command import Command, decode_script
from xec_magic.compose.steps import Done, Next, Rule, Stage, Step
from xec_magic.compose.work import WAKE_S
from xec_magic.engine.run import Run
from xec_magic.errors import CallbackError, OptionError, RunInterrupted, XecError
from xec_magic.events import Cause, Exited
from xec_magic.fold import fold
from xec_magic.outcome import Outcome
from xec_magic.plan import Plan
from xec_magic.result import Result

__all__ = ["Course", "several"]

_FILTERED: Final = object()


class Course:
    """One execution of steps by a rule.

    Args:
        steps: In the order of their results.
        stages: What becomes of each result.
        plan: Gives the planned run of a command with its keywords.

    Attributes:
        results: One a step, in order; complete when `go` has ended, however it ended.
        values: By the number of the step, what came out of the stages.
        decided_by: The number of the step whose end stopped the others, or let no more start.
    """

    def __init__(
        self, steps: Sequence[Step], stages: Sequence[Stage], plan: Callable[[Any, Mapping[str, Any]], Run]
    ) -> None:
        self.steps = list(steps)
        self.values: dict[int, Any] = {}
        self.decided_by: int | None = None
        self.why_not: dict[int, str] = {}
        self._stages = stages
        self._plan = plan
        self._results: dict[int, Result] = {}
        self._done = Done()
        self._planned: dict[int, Run] = {}
        self._live: dict[int, Run] = {}
        self._ended: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._stop_cause: Cause | None = None

    # -- the way ------------------------------------------------------------------------------------

    def go(self, rule: Rule) -> None:
        """Take the steps to their end. Nothing of them runs any more when this returns or raises.

        Raises:
            CallbackError: a function of the user's own raised.
            OptionError: a command cannot be planned as its options say.
            RunInterrupted: the kernel's interrupt came; all has been stopped.
            CommandError: it was cancelled from another thread.
        """
        try:
            self._go(rule)
        except BaseException as error:
            cause = Cause.INTERRUPT if isinstance(error, KeyboardInterrupt) else Cause.CANCEL
            self._end_rest(cause, "" if cause is Cause.INTERRUPT else "an error came up beside it")
            if isinstance(error, KeyboardInterrupt) and not isinstance(error, RunInterrupted):
                raise self._interrupted() or error from None
            if isinstance(error, (XecError, RunInterrupted)):
                error.results = several(self.results)
            raise
        if self._stop_cause is not None:
            self._raise_stopped(self._stop_cause)

    def _go(self, rule: Rule) -> None:
        if rule.plan_first:
            for number, step in enumerate(self.steps):
                if not callable(step.script):
                    self._planned[number] = self._planned_run(step, step.script)
        waiting = deque(range(len(self.steps)))
        while True:
            while waiting and self._stop_cause is None and (rule.limit is None or len(self._live) < rule.limit):
                self._begin(waiting.popleft())
            if not self._live:
                return
            ended = self._next_ended()
            if ended is None:
                continue
            then = self._settle(ended, rule)
            if then is not Next.GO_ON:
                waiting.clear()
                self.decided_by = ended if self.decided_by is None else self.decided_by
            if then is Next.STOP and self._end_rest(Cause.CANCEL, rule.why):
                raise KeyboardInterrupt

    def _begin(self, number: int) -> None:
        """Start a step, unless its condition says no."""
        step = self.steps[number]
        if step.when is not None and not self._call(step.when, self._so_far(), f"when of {step.name!r}", asks=True):
            self._took(number, self._without_run(step, Cause.SKIPPED, "its condition is false"))
            return
        run = self._planned.get(number)
        if run is None:
            script = step.script
            if callable(script):
                script = self._call(script, self._so_far(), f"the function that makes the command of {step.name!r}")
            run = self._planned_run(step, script)
        self._live[number] = run
        run.begin()
        run.add_done_callback(lambda _: self._ended.put(number))
        if self._stop_cause is not None:  # it came just now, and may not have seen this one
            run.request_stop(cause=self._stop_cause)

    def _so_far(self) -> Mapping[str, Result]:
        return MappingProxyType(self._done)

    def _planned_run(self, step: Step, script: Any) -> Run:
        try:
            run = self._plan(script, step.options)
        except OptionError as error:
            raise type(error)(f"{step.name!r}: {error}") from None
        run._refuse_inside()
        return run

    def _next_ended(self) -> int | None:
        """The number of a step that has ended; None when it is to be looked again whether to go on."""
        try:
            number = self._ended.get(timeout=WAKE_S)
        except queue.Empty:
            for run in list(self._live.values()):
                if not run._engine.is_open:  # closed meanwhile: nothing will happen to it any more
                    run.abandon()
            return None
        return number if number in self._live else None

    def _settle(self, number: int, rule: Rule) -> Next:
        run = self._live[number]
        result = run.wait()
        self._took(number, result)  # first: an interrupt between the two must not lose it
        del self._live[number]
        failed = run.check and not result.ok
        if failed and not rule.keeps_failures:
            return rule.bad
        value = self._through_stages(number, result)
        if value is _FILTERED:
            self.why_not[number] = "filtered out"
            return Next.GO_ON
        self.values[number] = value
        return rule.bad if failed else rule.good

    def _took(self, number: int, result: Result) -> None:
        self._results[number] = result
        self._done[self.steps[number].name] = result

    def _through_stages(self, number: int, value: Any) -> Any:
        for stage in self._stages:
            asks = stage.kind == "filter"
            given = self._call(
                stage.function, value, f"{stage.kind}, called for {self.steps[number].name!r},", asks=asks
            )
            if not asks:
                value = given
            elif not given:
                return _FILTERED
        return value

    def _call(self, function: Callable[[Any], Any], argument: Any, what: str, *, asks: bool = False) -> Any:
        try:
            given = function(argument)
            refuse_awaitable(given, "nobody awaits it; write it with def")
            if asks:
                given = bool(given)  # here: a DataFrame has no truth, and raises
        except Exception as error:
            text = (
                str(error.args[0] if isinstance(error, KeyError) and error.args else error).strip().partition("\n")[0]
            )
            raise CallbackError(f"{what} raised {type(error).__name__}" + (f": {text}" if text else "")) from error
        return given

    # -- the end ------------------------------------------------------------------------------------

    def request_stop(self, now: bool, cause: Cause) -> None:
        """Stop all that runs, and start nothing more. Any thread."""
        self._stop_cause = self._stop_cause or cause
        for run in list(self._live.values()):
            run.request_stop(now=now, cause=cause)
        self._ended.put(-1)

    def _end_rest(self, cause: Cause, detail: str) -> bool:
        """Stop what still runs, and wait until it is gone; a further interrupt kills it. Whether one came."""
        interrupted = False
        rest = dict(self._live)
        for run in rest.values():
            run.request_stop(cause=cause, detail=detail)
        while True:
            try:
                for number, run in rest.items():
                    if number in self._live and run.done():
                        self._took(number, run.snapshot())
                        del self._live[number]
                if not self._live:
                    return interrupted
                self._next_ended()  # and not by `wait`, to which a second interrupt would be a first one
            except KeyboardInterrupt:
                interrupted = True
                for run in rest.values():
                    run.request_stop(now=True, cause=Cause.INTERRUPT)

    def _interrupted(self) -> Any:
        """The error of a step that was interrupted, or of them all, when it was between two or in a function of the user's."""
        results = self.results
        if not results:
            return None
        of_one = (result.error() for result in results if result.outcome is Outcome.INTERRUPTED)
        error: Any = next(filter(None, of_one), None)
        if error is None:
            last = next(reversed(self._results.values()), results[0])
            error = RunInterrupted("; ".join(filter(None, ["interrupted", self._not_started()])), last)
        error.results = several(results)
        return error

    def _raise_stopped(self, cause: Cause) -> None:
        if cause is Cause.INTERRUPT:
            raise self._interrupted() or KeyboardInterrupt
        for number, result in self._results.items():
            if result.outcome is Outcome.CANCELLED:
                raise self.failure_of(number)
        if len(self._results) < len(self.steps):
            error = XecError("cancelled; " + self._not_started())
            error.results = several(self.results)
            raise error

    @property
    def results(self) -> list[Result]:
        """One a step, in order; for steps that were not reached, one that says so."""
        return [
            self._results[number] if number in self._results else self._without_run(step, Cause.SPAWN, "not started")
            for number, step in enumerate(self.steps)
        ]

    def ran(self) -> Iterator[tuple[int, Result]]:
        """The steps that were started or at least tried, with their results."""
        for number, result in sorted(self._results.items()):
            if result.outcome is not Outcome.SKIPPED:
                yield number, result

    def failure_of(self, number: int) -> BaseException:
        """The error of a step that failed: it names the step, and those that were not started; `.results` has all."""
        result = self.results[number]
        error = result.error()
        assert error is not None
        first, *more = str(error).split("\n")
        if not self.steps[number].name.startswith("step "):
            first = f"{self.steps[number].name!r}: {first}"
        rest = self._not_started()
        error.args = ("\n".join([first, *more, *([rest] if rest else [])]),)
        error.results = several(self.results)
        return error

    def _not_started(self) -> str:
        names = [step.name for number, step in enumerate(self.steps) if number not in self._results]
        return f"not started: {', '.join(names)}" if names else ""

    def _without_run(self, step: Step, cause: Cause, why: str) -> Result:
        script = step.script if isinstance(step.script, (str, bytes)) else step.name
        label = "" if isinstance(step.script, (str, bytes)) else step.name
        event = Exited("", time.monotonic(), None, None, cause, why)
        return fold([event], Plan(Command(decode_script(script)), label=label))


def several(results: Sequence[Result]) -> list[Result]:
    """What several results are given as."""
    return list(results)
