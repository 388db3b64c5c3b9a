"""`BatchFold`: from the events of a batch to its result, which holds one result for each of its commands."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final

from xec_magic.command import Command
from xec_magic.events import Cause, Event, Exited, Output, PartCut, PartExited, PartStarted, Stream
from xec_magic.fold import ResultFold
from xec_magic.outcome import Outcome, outcome_of
from xec_magic.output import OutputLog
from xec_magic.plan import Batch, Plan
from xec_magic.result import Result

__all__ = ["BatchFold", "PartLog"]

_COMMAND_BUT_SCRIPT: Final = attrgetter(*(each.name for each in fields(Command) if each.name != "script"))
_PLAN_BUT_COMMAND: Final = attrgetter(*(each.name for each in fields(Plan) if each.name != "command"))


class PartLog(OutputLog):
    """The output of one command of a batch. It notes where in the batch's log the bytes are, and stores none.

    Args:
        whole: The batch's log.
    """

    def __init__(self, whole: OutputLog) -> None:
        super().__init__()
        self._whole = whole
        # Consecutive bytes of the whole that are this command's: where each ends here, and where it begins there.
        self._extent_ends = array("Q")
        self._extent_starts = array("Q")

    def take(self, stream: Stream, data: bytes) -> bool:
        """Add bytes to the whole and note them here; False when they could not be kept."""
        self._at = self._whole.size()
        kept = self._whole.append(stream, data)
        if kept:
            self.append(stream, data)
        else:
            self.lost_bytes += len(data)
        return kept

    def _store(self, data: bytes) -> bool:
        ends, starts = self._extent_ends, self._extent_starts
        if ends and starts[-1] + ends[-1] - (ends[-2] if len(ends) > 1 else 0) == self._at:
            ends[-1] += len(data)
        else:
            starts.append(self._at)
            ends.append((ends[-1] if ends else 0) + len(data))
        return True

    def read(self, start: int, end: int) -> bytes:
        """The bytes [start, end) in arrival order."""
        parts = []
        end = min(end, self._size)
        at = bisect_right(self._extent_ends, start)
        while start < end:
            stop = min(end, self._extent_ends[at])
            begun = self._extent_ends[at - 1] if at else 0
            there = self._extent_starts[at] + start - begun
            parts.append(self._whole.read(there, there + stop - start))
            start, at = stop, at + 1
        return b"".join(parts)

    def __reduce__(self) -> tuple[Any, ...]:
        return OutputLog, (), self.__getstate__()  # it travels without the whole


@dataclass(slots=True)
class _Part:
    """What is known of one command."""

    log: PartLog | None = None
    started: PartStarted | None = None
    exited: PartExited | None = None
    cut: bool = False


class BatchFold(ResultFold):
    """The fold from the events of a batch to its result."""

    def _begin(self) -> None:
        super()._begin()
        assert self.plan.batch is not None
        self._parts = [_Part() for _ in self.plan.batch.commands]

    def apply(self, event: Event) -> bool:
        """Take the next event; False when its output could not be kept."""
        match event:
            case Output(part=int(number)) if self.plan.limits.keep:
                part = self._parts[number - 1]
                part.log = part.log or PartLog(self.log)
                return part.log.take(event.stream, event.data)
            case PartStarted(part=number):
                self._parts[number - 1].started = event
            case PartExited(part=number):
                self._parts[number - 1].exited = event
            case PartCut(part=number):
                self._parts[number - 1].cut = True
            case _:
                return super().apply(event)
        return True

    def result(self) -> Result:
        """The result so far; final after `Exited`."""
        whole = super().result()
        batch = self.plan.batch
        assert batch is not None
        bare = replace(self.plan, label="", tee=None, batch=None)
        parts = [self._part(number, batch, bare, whole) for number in range(1, len(batch.commands) + 1)]
        outcome, code = whole.outcome, whole.exit_code
        if outcome in (Outcome.OK, Outcome.FAILED):
            bad = next((part for part in parts if not part.ok), None)
            outcome = Outcome.OK if bad is None else Outcome.FAILED
            if bad is not None and bad.exit_code is not None:
                code = bad.exit_code
        return replace(whole, outcome=outcome, exit_code=code, parts=tuple(parts))

    def _part(self, number: int, batch: Batch, bare: Plan, whole: Result) -> Result:
        part = self._parts[number - 1]
        started, exited, over = part.started, part.exited, self._exited
        # Thousands of parts are made at once, so neither here nor below by `replace`, which takes three times as long.
        plan = Plan(Command(batch.commands[number - 1], *_COMMAND_BUT_SCRIPT(bare.command)), *_PLAN_BUT_COMMAND(bare))
        if batch.labels:
            plan = replace(plan, label=batch.labels[number - 1])
        outcome, code, signal, duration, detail = Outcome.NOT_STARTED, None, None, 0.0, ""
        if exited is not None:
            code, duration = exited.exit_code, exited.duration_s
            cause = Cause.OUTPUT_LIMIT if part.cut else None  # it ended well, but what it said is not known
            outcome = outcome_of(Exited("", exited.at, code, None, cause), plan)
        elif started is not None:
            # Its shell has not told its end: it was stopped, or has taken the shell with it.
            outcome, detail = outcome_of(over, plan), whole.detail
            if over is not None:
                code, signal, duration = over.exit_code, over.signal, max(0.0, over.at - started.at)
        else:
            detail = self._why_not_started(batch, whole)
        begun_at = self._started
        return Result.restore(**{
            **whole.__dict__, "run_id": f"{self.run_id}.{number}", "plan": plan, "outcome": outcome, "exit_code": code,
            "signal": signal, "duration_s": duration, "usage": None, "left_behind": (), "attempts": (), "notes": (),
            "started_at": None if started is None or begun_at is None
            else datetime.fromtimestamp(begun_at.wall_time + (started.at - begun_at.at), UTC),
            "truncated": part.cut or bool(part.log is not None and part.log.lost_bytes)
            or (whole.truncated and started is not None and exited is None),
            "log": part.log or PartLog(self.log), "detail": detail, "parts": (),
        })  # fmt: skip

    def _why_not_started(self, batch: Batch, whole: Result) -> str:
        over = self._exited
        last = max((number for number, part in enumerate(self._parts, 1) if part.started), default=0)
        if over is None:
            return "not started yet"
        if over.cause is not None:
            return f"not started: {whole.verdict()}"
        if not last:
            return "not started: the shell ended before the first command"
        told = self._parts[last - 1].exited
        code = over.exit_code if told is None else told.exit_code
        failed = told is not None or (code is not None and code not in self.plan.ok_codes and not batch.keep_going)
        return f"not started: command {last} " + ("failed" if failed else "ended the shell")
