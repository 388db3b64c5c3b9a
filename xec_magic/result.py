"""`Result`: how one run ended and what it printed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, overload

from xec_magic import columns, formats, frames
from xec_magic.errors import OptionError, OutputTooLarge, RunInterrupted, XecError
from xec_magic.events import ProcessInfo, Stream, Usage
from xec_magic.outcome import Outcome
from xec_magic.output import OutputLog
from xec_magic.plan import Plan
from xec_magic.timeline import Timeline
from xec_magic.units import format_duration, format_size
from xec_magic.verdict import describe, error_of, stderr_tail, verdict

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["Result"]

STRING_LIMIT_BYTES: Final = 64 * 2**20  # one Python string of more is a mistake in a notebook


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
        return columns.to_table(self.stdout)

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
            return frames.to_frame(self.stdout, form)
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
        return describe(self)

    def verdict_there(self) -> str:
        """The same as `verdict`, for behind the target's name: not once more with it."""
        return self.verdict().removeprefix(f"{self.target}: ")

    def verdict(self) -> str:
        """How it ended, in words without place, time and command."""
        return verdict(self)

    def stderr_tail(self) -> str:
        """The last lines of standard error, for messages; empty when there is none."""
        return stderr_tail(self)

    def error(self) -> XecError | RunInterrupted | None:
        """The exception that `check` raises, or None when it ended well, or was skipped, as was wanted."""
        return error_of(self)

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

    def replayed(self, run_id: str, plan: Plan, age_s: float | None) -> Result:
        """The same end and the same output for another run of an equal command, which asks by policies of its own.

        `age_s` is None where it was waited for, and not kept.
        """
        again = object.__new__(Result)  # as `restore` does it
        fields = again.__dict__
        fields.update(self.__dict__)
        fields["run_id"], fields["cached"] = run_id, age_s
        if plan is not self.plan:
            fields["plan"] = plan
            if plan.ok_codes != self.plan.ok_codes and self.outcome in (Outcome.OK, Outcome.FAILED):
                fields["outcome"] = Outcome.OK if self.exit_code in plan.ok_codes else Outcome.FAILED
        return again

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        if self.outcome is Outcome.SKIPPED:
            return f"<Result {self.describe()}>"
        size = self.log.size()
        return f"<Result {self.verdict()}, {format_duration(self.duration_s)}, {format_size(size)}: {self.plan.title}>"
