"""`Outcome`, `Result`, the fold from events to a result, and the one place that words a failure."""

from __future__ import annotations

import re
import signal as signals
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, overload

from xec_magic import formats, frames
from xec_magic.command import Command
from xec_magic.errors import (
    AuthError,
    CallbackError,
    Cancelled,
    CommandError,
    ConnectError,
    ConnectionLost,
    HostKeyError,
    NonZeroExit,
    OptionError,
    OutputLimit,
    OutputTooLarge,
    PoolTimeout,
    RunInterrupted,
    Signalled,
    SpawnError,
    TimedOut,
    TransportError,
    XecError,
)
from xec_magic.events import (
    Cached,
    Cause,
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
    Stream,
    Usage,
)
from xec_magic.output import OutputLog
from xec_magic.plan import Plan
from xec_magic.timeline import Timeline
from xec_magic.units import format_age, format_duration, format_size

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["Outcome", "Result", "ResultFold", "ended_by_itself", "explain_exit", "fold", "outcome_of", "tally"]

STRING_LIMIT_BYTES: Final = 64 * 2**20  # one Python string of more is a mistake in a notebook
STDERR_TAIL_LINES: Final = 10
STDERR_TAIL_BYTES: Final = 4096

_EXIT_MEANINGS: Final = {
    2: "misuse, or a syntax error",
    124: "often a time limit",
    126: "found, but not executable",
    127: "command not found",
    128: "an exit code out of range",
}


class Outcome(StrEnum):
    """Why we say that a run ended."""

    OK = "ok"
    FAILED = "failed"
    SIGNALLED = "signalled"
    TIMED_OUT = "timed out"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    OUTPUT_LIMIT = "output limit"
    NOT_STARTED = "not started"
    LOST = "lost"
    SKIPPED = "skipped"


_OUTCOMES: Final = {
    Cause.TIMEOUT: Outcome.TIMED_OUT,
    Cause.CANCEL: Outcome.CANCELLED,
    Cause.INTERRUPT: Outcome.INTERRUPTED,
    Cause.OUTPUT_LIMIT: Outcome.OUTPUT_LIMIT,
    Cause.SPAWN: Outcome.NOT_STARTED,
    Cause.LOST: Outcome.LOST,
    Cause.SKIPPED: Outcome.SKIPPED,
}
_ERRORS: Final[dict[Outcome, type[CommandError]]] = {
    Outcome.FAILED: NonZeroExit,
    Outcome.SIGNALLED: Signalled,
    Outcome.TIMED_OUT: TimedOut,
    Outcome.CANCELLED: Cancelled,
    Outcome.OUTPUT_LIMIT: OutputLimit,
}

# What kept a run from starting, by the name that its events carry.
_START_ERRORS: Final[dict[str, type[TransportError]]] = {
    kind.__name__: kind for kind in (AuthError, ConnectError, HostKeyError, PoolTimeout)
}


@dataclass(frozen=True, eq=False)
class Result:
    """How one run ended and what it printed; the same for success and failure.

    Attributes:
        run_id: The run's name in this kernel.
        plan: What was run, and by which policies.
        outcome: Why we say it ended.
        exit_code: 0–255; None when a signal ended it or it never started.
        signal: Number of the signal that ended it, or None.
        started_at: When its process was there; None if it never started.
        duration_s: Seconds from its start to its end, of the last attempt.
        usage: What it used; None where not measured.
        truncated: Output was dropped because a bound was reached or its disk was full.
        left_behind: Processes of the run that outlived it.
        attempts: The failed attempts before this one, oldest first.
        notes: What the reader should know about the run itself.
        cached: Age in seconds when it was replayed; None when it ran.
        detail: Words to the outcome, for example why it could not start.
        kind: Name of the error that kept it from starting, as `AuthError`; empty for a general one.
        log: All that it printed.
        timeline: What it used while it ran, of a run with `monitor`; None when nobody watched.
        parts: In a batch, the result of each of its commands.
    """

    run_id: str
    plan: Plan
    outcome: Outcome
    exit_code: int | None
    signal: int | None
    started_at: datetime | None
    duration_s: float
    usage: Usage | None
    truncated: bool
    left_behind: tuple[ProcessInfo, ...]
    attempts: tuple[Result, ...]
    notes: tuple[str, ...]
    log: OutputLog = field(repr=False)
    detail: str = ""
    cached: float | None = None
    timeline: Timeline | None = field(default=None, repr=False)
    parts: tuple[Result, ...] = field(default=(), repr=False)
    kind: str = ""

    # -- facts ------------------------------------------------------------------------------

    @property
    def ok(self) -> bool:
        """It ended by itself, with an accepted exit code."""
        return self.outcome is Outcome.OK

    @property
    def command(self) -> str:
        """The script, values filled in."""
        return self.plan.command.script

    @property
    def target(self) -> str:
        """Where it ran."""
        return self.plan.command.target.name

    @property
    def log_path(self) -> str | None:
        """The file that holds the whole output when it is large; None while it is in memory."""
        return self.log.path

    # -- output -----------------------------------------------------------------------------

    @property
    def stdout(self) -> str:
        """Standard output as text; bytes that are no UTF-8 are replaced.

        Raises:
            OutputTooLarge: more than 64 MiB.
        """
        return self.stdout_bytes.decode("utf-8", "replace")

    @property
    def stderr(self) -> str:
        """Standard error as text, like `stdout`."""
        return self._bytes("stderr").decode("utf-8", "replace")

    @property
    def output(self) -> str:
        """Both streams as text, in the order of arrival."""
        return self._bytes(None).decode("utf-8", "replace")

    @property
    def stdout_bytes(self) -> bytes:
        """Standard output as it came."""
        return self._bytes("stdout")

    @property
    def stderr_bytes(self) -> bytes:
        """Standard error as it came."""
        return self._bytes("stderr")

    def _bytes(self, stream: Stream | None) -> bytes:
        size = self.log.size(stream)
        if size > STRING_LIMIT_BYTES:
            raise OutputTooLarge(
                f"the output has {format_size(size)}, too much for one string (limit {format_size(STRING_LIMIT_BYTES)}); "
                f"go through result.chunks(), or read the file {self.log_path} (result.log_path)"
            )
        return self.log.stream(stream)

    def chunks(self, stream: Stream = "stdout") -> Iterator[bytes]:
        """One stream in pieces of at most 1 MiB, whatever its size."""
        return (piece.data for piece in self.log.pieces() if piece.stream == stream)

    def text(self) -> str:
        """Standard output without its last newlines, as `$(…)` gives it."""
        return self.stdout.rstrip("\n")

    def __str__(self) -> str:
        return self.text()

    def lines(self) -> list[str]:
        """Standard output as lines without their newlines."""
        return formats.to_lines(self.stdout)

    def grep(self, pattern: str | re.Pattern[str]) -> list[str]:
        """The lines of both streams in which the regular expression matches somewhere."""
        found = re.compile(pattern)
        return [line for line in formats.to_lines(self.output) if found.search(line)]

    def json(self) -> Any:
        """Standard output read as one JSON value.

        Raises:
            ParseError: it is none; the message shows the line.
        """
        return formats.to_json(self.stdout)

    def jsonl(self) -> list[Any]:
        """Standard output read as one JSON value a line; empty lines are skipped."""
        return formats.to_jsonl(self.stdout)

    def csv(self, delimiter: str = ",") -> list[dict[str, str]]:
        """Standard output read as CSV with a header line: a dict a row, all values text."""
        return formats.to_csv(self.stdout, delimiter)

    def table(self) -> list[dict[str, str]]:
        """Standard output read as columns under a header, as `ps`, `df` and `kubectl get` print: a dict a row."""
        return formats.to_table(self.stdout)

    @overload
    def df(self, form: Literal["auto", "table"] = ..., *, chunksize: None = ...) -> pd.DataFrame: ...
    @overload
    def df(self, form: Literal["auto"] = ..., *, chunksize: int) -> Iterator[pd.DataFrame]: ...

    def df(
        self, form: Literal["auto", "table"] = "auto", *, chunksize: int | None = None
    ) -> pd.DataFrame | Iterator[pd.DataFrame]:
        """Standard output as a pandas DataFrame: JSON, JSON lines, CSV or columns, told by how it looks.

        With `form="table"` it is read as columns under a header, whatever it looks like. With `chunksize` it gives an iterator
        over frames of at most so many rows, of CSV or JSON lines of any size; their index goes on from one to the next.

        Raises:
            ParseError: it is none of these.
            OptionError: pandas is not installed; the extra `frames` has it. Columns cannot be read in pieces.

        Example:
            >>> import xec_magic as xec
            >>> r = xec.run("echo n,square; for n in 1 2 3; do echo $n,$((n * n)); done")
            >>> [int(frame["square"].sum()) for frame in r.df(chunksize=2)]
            [5, 9]
        """
        if chunksize is None:
            return formats.to_frame(self.stdout, form)
        if form == "table":
            raise OptionError("columns under a header are told by looking at all of them; leave chunksize out")
        return frames.to_frames(self.chunks(), chunksize)

    # -- use ----------------------------------------------------------------------------------

    @property
    def samples(self) -> pd.DataFrame:
        """What it used while it ran, a row a sample: time_s, cpu_s, cpu_cores, rss_bytes, read_bytes, and so on.

        What could not be read is NaN. Of an unmonitored run there are no rows.

        Raises:
            OptionError: pandas is not installed.
        """
        return (Timeline(0.0) if self.timeline is None else self.timeline).frame()

    @property
    def process_samples(self) -> pd.DataFrame:
        """The same, a row a process and sample; of many processes those that used most.

        Raises:
            OptionError: pandas is not installed.
        """
        return (Timeline(0.0) if self.timeline is None else self.timeline).process_frame()

    def plot(self) -> Figure:
        """A matplotlib Figure of CPU, memory and I/O over time.

        Raises:
            OptionError: the run was not monitored, or ended before the first sample.
        """
        # By name: charts are the business of a floor above, and only who asks for one pays for matplotlib.
        figure: Figure = import_module("xec_magic.display.chart").result_figure(self)
        return figure

    @property
    def never_tried(self) -> bool:
        """Nobody tried to run it: others had failed before, or it was stopped. A host that cannot be reached was tried."""
        return self.outcome is Outcome.NOT_STARTED and not self.kind

    # -- verdict ----------------------------------------------------------------------------

    def describe(self) -> str:
        """One short line: how it ended, what that means, where, after how long, and the command."""
        command = self.plan.title
        words = self.verdict()
        if self.outcome in {Outcome.NOT_STARTED, Outcome.SKIPPED}:
            return f"{words}: {command}"
        if self.outcome is Outcome.FAILED and self.plan.command.target.kind == "function":
            return f"{command} in a pipe raised {words}"
        tries = f" (attempt {len(self.attempts) + 1})" if self.attempts else ""
        age = "" if self.cached is None else f" (cached {format_age(self.cached)} ago)"
        return f"{words} on {self.target} after {format_duration(self.duration_s)}{tries}{age}: {command}"

    def verdict_there(self) -> str:
        """The same as `verdict`, for behind the target's name: not once more with it."""
        return self.verdict().removeprefix(f"{self.target}: ")

    def verdict(self) -> str:
        """How it ended, in words without place, time and command."""
        stop = self.plan.stop
        match self.outcome:
            case Outcome.OK:
                return "ok"
            case Outcome.FAILED if self.detail:  # what a function raised
                return self.detail
            case Outcome.FAILED if self.parts:
                return tally(self.parts)
            case Outcome.FAILED:
                assert self.exit_code is not None
                meaning = explain_exit(self.exit_code, self.command)
                return f"exit code {self.exit_code}" + (f" ({meaning})" if meaning else "")
            case Outcome.SIGNALLED:
                assert self.signal is not None
                return f"ended by signal {signal_name(self.signal)}" + (
                    " (often: out of memory)" if self.signal == signals.SIGKILL else ""
                )
            case Outcome.TIMED_OUT:
                return f"stopped at its time limit of {format_duration(stop.timeout_s or 0)}"
            case Outcome.OUTPUT_LIMIT:
                return f"stopped at its output limit of {format_size(self.plan.limits.max_output_bytes or 0)} (--max-output)"
            case Outcome.NOT_STARTED | Outcome.LOST:
                return self.detail or self.outcome.value
            case Outcome.SKIPPED:
                return f"skipped: {self.detail}"
            case _:
                return self.outcome.value + (f" ({self.detail})" if self.detail else "")

    def stderr_tail(self) -> str:
        """The last lines of standard error, for messages; empty when there is none."""
        size = self.log.size("stderr")
        if not size:
            return ""
        data = b""
        # Standard error is nearly always small; a large one is read from the end of the log only.
        start = 0 if self.log.size() < 2**20 else self.log.size() - 2**20
        for piece in self.log.pieces(start):
            if piece.stream == "stderr":
                data = (data + piece.data)[-STDERR_TAIL_BYTES:]
        lines = formats.to_lines(data.decode("utf-8", "replace"))
        return "\n".join(lines[-STDERR_TAIL_LINES:])

    def error(self) -> XecError | RunInterrupted | None:
        """The exception that `check` raises, or None when it ended well, or was skipped, as was wanted."""
        if self.ok or self.outcome is Outcome.SKIPPED:
            return None
        message = self.describe()
        if self.outcome is Outcome.NOT_STARTED:
            return _START_ERRORS.get(self.kind, SpawnError)(message)
        if self.outcome is Outcome.LOST:
            return ConnectionLost(message, self)
        if self.outcome is Outcome.FAILED and self.plan.command.target.kind == "function":
            return CallbackError(message)
        tail = self.stderr_tail()
        if tail:
            message += "\n" + tail
        if self.outcome is Outcome.INTERRUPTED:
            return RunInterrupted(message, self)
        return _ERRORS[self.outcome](message, self)

    def check(self) -> Result:
        """The result itself when it ended well, or was skipped.

        Raises:
            CommandError: it ended badly: `NonZeroExit`, `Signalled`, `TimedOut`, `Cancelled`, `OutputLimit`.
            TransportError: it could not be started, or the way to it was lost.
            RunInterrupted: the kernel's interrupt stopped it.
        """
        error = self.error()
        if error is not None:
            raise error
        return self

    # -- again ------------------------------------------------------------------------------

    @classmethod
    def restore(cls, **fields: Any) -> Result:
        """A result of all its fields; only those with a default can be left out. Three times as fast as making one."""
        result = object.__new__(cls)
        result.__dict__.update(fields)
        return result

    def replayed(self, run_id: str, plan: Plan, age_s: float) -> Result:
        """The same end and the same output for another run of an equal command, which asks by policies of its own."""
        again = object.__new__(Result)  # as `restore` does it
        fields = again.__dict__
        fields.update(self.__dict__)
        fields["run_id"], fields["plan"], fields["cached"] = run_id, plan, age_s
        if plan.ok_codes != self.plan.ok_codes and self.exit_code is not None:
            ended = self.exit_code in plan.ok_codes
            fields["outcome"] = Outcome.OK if ended else Outcome.FAILED
        return again

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        if self.outcome is Outcome.SKIPPED:
            return f"<Result {self.describe()}>"
        size = self.log.size()
        return f"<Result {self.verdict()}, {format_duration(self.duration_s)}, {format_size(size)}: {self.plan.title}>"


def tally(results: Sequence[Result]) -> str:
    """How many results of several are not well, in words: `1 of 3 failed, 1 not started`; `3 ok` when all are."""
    not_started = sum(one.never_tried for one in results)
    failed = sum(not one.ok for one in results) - not_started
    said = [f"{failed} of {len(results)} failed"] if failed else []
    said += (
        [f"{not_started} not started" if failed else f"{not_started} of {len(results)} not started"]
        if not_started
        else []
    )
    return ", ".join(said) or f"{len(results)} ok"


def explain_exit(code: int, script: str = "") -> str:
    """What an exit code usually means, in a few words; empty when it means nothing in general.

    Example:
        >>> explain_exit(127), explain_exit(137)
        ('command not found', 'killed by SIGKILL, often: out of memory')
    """
    if code in _EXIT_MEANINGS:
        return _EXIT_MEANINGS[code]
    if code == 128 + signals.SIGKILL:
        return "killed by SIGKILL, often: out of memory"
    if 128 < code <= 128 + 64:
        name = signal_name(code - 128)
        return f"ended by {name}" if name.startswith("SIG") else ""
    if code == 1 and script:
        last = script.rstrip().splitlines()[-1] if script.strip() else ""
        if re.search(r"(^|[|;&(]\s*)\b[ef]?grep\b", last):
            return "grep found nothing; --ok-codes 0,1 accepts that"
        if re.search(r"(^|[|;&(]\s*)(diff|cmp)\b", last):
            return "there are differences; --ok-codes 0,1 accepts that"
    return ""


def signal_name(number: int) -> str:
    """`SIGTERM` for 15; `signal 64` for one without a name."""
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"


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
    run_id: str, plan: Plan, log: OutputLog, exit_code: int, wall_time: float, duration_s: float
) -> Result:
    """The result of a command of which nothing else is to be told than its output and its exit code.

    Args:
        wall_time: When it was started, in seconds since the epoch.
        duration_s: Seconds that it took.
    """
    return Result.restore(
        run_id=run_id,
        plan=plan,
        outcome=Outcome.OK if exit_code in plan.ok_codes else Outcome.FAILED,
        exit_code=exit_code,
        signal=None,
        started_at=datetime.fromtimestamp(wall_time, UTC),
        duration_s=duration_s,
        usage=None,
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


def outcome_of(exited: Exited | None, plan: Plan) -> Outcome:
    """Why a run ended; `LOST` before it has."""
    if exited is None:
        return Outcome.LOST
    if exited.cause is not None:
        return _OUTCOMES[exited.cause]
    if exited.signal is not None:
        return Outcome.SIGNALLED
    return Outcome.OK if exited.exit_code in plan.ok_codes else Outcome.FAILED


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
