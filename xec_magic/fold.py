"""The fold from events to a result: the engine's, fed live, and `fold` for a finished sequence."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from xec_magic.command import Command
from xec_magic.events import (
    Cached,
    Event,
    Exited,
    LeftBehind,
    Mark,
    Note,
    Output,
    ProcessInfo,
    Retrying,
    Sample,
    Started,
    Usage,
)
from xec_magic.outcome import ended_as, outcome_of
from xec_magic.output import OutputLog
from xec_magic.plan import Plan
from xec_magic.result import Result
from xec_magic.timeline import Timeline

__all__ = ["ResultFold", "ended_by_itself", "fold"]


class ResultFold:
    """The fold from events to a result. The engine feeds it live; a replay feeds it stored events.

    Args:
        plan: What is run.
        log: Where output goes; a fresh one for each attempt comes from `new_log`.
    """

    def __init__(self, run_id: str, plan: Plan, new_log: Any = OutputLog) -> None:
        self.run_id = run_id
        self.plan = plan
        self._new_log = new_log
        self._earlier: list[Result] = []
        self._notes: list[str] = []
        self._begin()

    def _begin(self) -> None:
        self.log: OutputLog = self._new_log()
        self._started: Started | None = None
        self._exited: Exited | None = None
        self._left: tuple[ProcessInfo, ...] = ()
        self._first_at: float | None = None
        self.timeline: Timeline | None = None
        self._cached: float | None = None

    def apply(self, event: Event) -> bool:
        """Take the next event; False when its output could not be kept."""
        if self._first_at is None:
            self._first_at = event.at
        match event:
            case Output(stream=stream, data=data):
                return self.log.append(stream, data) if self.plan.limits.keep else True
            case Started():
                self._started = event
                self._watched(event.at).started_at = event.at
            case Sample():
                self._watched(event.at).add(event)
            case Mark():  # what is printed at once can come before the word that it was started
                self._watched(event.at).marks.append(event)
            case LeftBehind(processes=processes):
                self._left = processes
            case Note(text=text):
                self._notes.append(text)
            case Cached(age_s=age):
                self._cached = age
            case Exited():
                self._exited = event
                if self.timeline is not None:
                    self.timeline.finish(event.run_id, event.at, event.usage)
            case Retrying():
                self._earlier.append(self.result())
                self._begin()
            case _:
                pass
        return True

    def _watched(self, at: float) -> Timeline:
        """Where samples go; kept for the result of a monitored run only."""
        timeline = Timeline(at) if self.timeline is None else self.timeline
        if self.plan.monitor is not None:
            self.timeline = timeline
        return timeline

    def result(self) -> Result:
        """The result so far; final after `Exited`."""
        exited, started = self._exited, self._started
        begun = started.at if started else self._first_at
        return Result.restore(
            run_id=self.run_id,
            plan=self.plan,
            outcome=outcome_of(exited, self.plan),
            exit_code=exited.exit_code if exited else None,
            signal=exited.signal if exited else None,
            started_at=datetime.fromtimestamp(started.wall_time, UTC) if started else None,
            duration_s=max(0.0, exited.at - begun) if exited and begun is not None else 0.0,
            usage=exited.usage if exited else None,
            truncated=(exited.truncated if exited else False) or self.log.lost_bytes > 0,
            left_behind=self._left,
            attempts=tuple(self._earlier),
            notes=tuple(self._notes),
            log=self.log,
            detail=exited.detail if exited else "",
            timeline=self.timeline,
            kind=exited.kind if exited else "",
            cached=self._cached,
            parts=(),
        )


def ended_by_itself(
    run_id: str, plan: Plan, log: OutputLog, exit_code: int | None, signal: int | None, usage: Usage | None,
    wall_time: float, duration_s: float,
) -> Result:  # fmt: skip
    """The result of a command of which nothing else is to be told than its output, how it ended and what it used.

    Args:
        wall_time: When it was started, in seconds since the epoch.
        duration_s: Seconds that it took.
    """
    return Result.restore(
        run_id=run_id,
        plan=plan,
        outcome=ended_as(exit_code, signal, plan),
        exit_code=exit_code,
        signal=signal,
        started_at=datetime.fromtimestamp(wall_time, UTC),
        duration_s=duration_s,
        usage=usage,
        truncated=False,
        left_behind=(),
        attempts=(),
        notes=(),
        log=log,
        detail="",
        cached=None,
        timeline=None,
        parts=(),
        kind="",
    )


def fold(events: Iterable[Event], command: Command | Plan) -> Result:
    """The result of a finished sequence of events.

    Example:
        >>> from xec_magic.events import Started, Output, Exited
        >>> events = [Started("r1", 0.0, 0.0, 42), Output("r1", 0.1, "stdout", b"hi\\n"), Exited("r1", 0.5, 0, None)]
        >>> r = fold(events, Command("echo hi"))
        >>> r.ok, str(r), r.duration_s
        (True, 'hi', 0.5)
    """
    plan = command if isinstance(command, Plan) else Plan(command)
    state: ResultFold | None = None
    for event in events:
        if state is None:
            state = ResultFold(event.run_id, plan)
        state.apply(event)
    return (state or ResultFold("", plan)).result()
