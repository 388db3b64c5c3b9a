"""`Profiler`: the record of all runs of a kernel, bounded; and what it says of them."""

from __future__ import annotations

import statistics
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from xec_magic.errors import OptionError
from xec_magic.events import Usage
from xec_magic.outcome import Outcome
from xec_magic.units import format_duration

if TYPE_CHECKING:
    import pandas as pd

    from xec_magic.command import Command
    from xec_magic.plan import Plan
    from xec_magic.result import Result

__all__ = ["Profiler", "Record", "Report"]

MOST_RECORDS: Final = 5000  # runs; a record is some 300 bytes
SLOWEST: Final = 5
LAST_TIMES: Final = 9  # of one command: what it took long ago says little


class Record(NamedTuple):
    """One run.

    Attributes:
        name: What it is called; secrets masked.
        began_at: Seconds since the epoch, when it was asked for.
        waited_s: From then until its process was there: in the queue, for a connection.
        cached_s: Age of the answer, when it came from the cache.
    """

    run_id: str
    name: str
    target: str
    began_at: float
    waited_s: float
    duration_s: float
    outcome: str
    ok: bool
    cpu_s: float | None
    peak_rss_bytes: int | None
    cached_s: float | None


# What is noted of each run; a record is made of it when somebody asks: most runs are hits of the cache, and nobody does.
_Over = tuple[str, str, str, float, float, float, Outcome, Usage | None, float | None]


def _record(
    run_id: str, name: str, target: str, began_at: float, waited_s: float, duration_s: float,
    outcome: Outcome, usage: Usage | None, cached_s: float | None,
) -> Record:  # fmt: skip
    cpu_s, peak = (None, None) if usage is None else (usage.cpu_s, usage.peak_rss_bytes)
    ok = outcome is Outcome.OK
    return Record(run_id, name, target, began_at, waited_s, duration_s, outcome.value, ok, cpu_s, peak, cached_s)


class Profiler:
    """Keeps what every run of a kernel took, the last 5,000 of them. Any thread.

    Args:
        settle: Called before anything is read, so that what is over has been recorded.
    """

    def __init__(self, settle: Callable[[], None] = lambda: None) -> None:
        self._settle = settle
        self._over: deque[_Over] = deque(maxlen=MOST_RECORDS)
        self._times: dict[Command, deque[float]] = {}
        self._lock = threading.RLock()
        self._untaken: deque[tuple[list[_Over], list[Result]]] = deque()
        self._all = 0

    def record(self, over: Sequence[tuple[Result, float]], name_of: Callable[[Plan], str]) -> None:
        """Take runs that are over.

        Args:
            over: Each with the moment when it was asked for, in seconds since the epoch.
            name_of: What the run of a plan is called.
        """
        entries: list[_Over] = []
        ran = []
        plan, name, target = None, "", ""
        for result, began_at in over:
            if result.plan is not plan:  # many hits in a row are often of one call, and have one plan
                plan = result.plan
                name, target = name_of(plan), plan.command.target.name
            outcome, waited_s = result.outcome, 0.0
            if result.cached is None:  # what was answered at once has not waited
                if result.started_at is not None:
                    waited_s = max(0.0, result.started_at.timestamp() - began_at)
                if outcome is Outcome.OK:
                    ran.append(result)
            entries.append((
                result.run_id, name, target, began_at, waited_s, result.duration_s, outcome, result.usage, result.cached
            ))  # fmt: skip
        self._untaken.append((entries, ran))
        # Without waiting: who has it may be broken into by the handler of a signal that waits for this thread, and then takes these as well.
        while self._untaken and self._lock.acquire(blocking=False):
            try:
                self._take()
            finally:
                self._lock.release()

    def _take(self) -> None:
        while self._untaken:
            try:
                entries, ran = self._untaken.popleft()
            except IndexError:  # the handler of a signal has done the same
                return
            self._all += len(entries)
            self._over.extend(entries)
            for result in ran:
                self._note_time(result.plan.command, result.duration_s)

    def _note_time(self, command: Command, duration_s: float) -> None:
        times = self._times.pop(command, None) or deque(maxlen=LAST_TIMES)
        times.append(duration_s)
        self._times[command] = times  # the last used stay
        if len(self._times) > MOST_RECORDS:
            del self._times[next(iter(self._times))]

    def usual_s(self, command: Command) -> float | None:
        """What this very command usually takes, by its last good runs; None when there was none."""
        self._settle()
        with self._lock:
            self._take()
            times = self._times.get(command)
            return statistics.median(times) if times else None

    def report(self) -> Report:
        """What the runs come to.

        Example:
            >>> import xec_magic as xec
            >>> r = xec.run("true")
            >>> xec.profiler.report().runs >= 1
            True
        """
        self._settle()
        with self._lock:
            self._take()
            over, count = list(self._over), self._all
        return Report(tuple(_record(*each) for each in over), count)

    def clear(self) -> None:
        """Forget all runs."""
        self._settle()
        with self._lock:
            self._take()
            self._over.clear()
            self._times.clear()
            self._all = 0

    def __repr__(self) -> str:
        return f"<Profiler of {self._all:,} runs>"


@dataclass(frozen=True)
class Report:
    """What the runs of a kernel come to.

    Attributes:
        records: The runs that are still known, oldest first.
        all_runs: How many there were in all.
    """

    records: tuple[Record, ...]
    all_runs: int

    @property
    def runs(self) -> int:
        """How many runs this tells of."""
        return len(self.records)

    @property
    def total_s(self) -> float:
        """Seconds that ran, added up; runs at the same time count each."""
        return sum(record.duration_s for record in self._ran)

    @property
    def average_s(self) -> float | None:
        """Mean duration; None without a run."""
        return self.total_s / len(self._ran) if self._ran else None

    @property
    def slowest(self) -> tuple[Record, ...]:
        """The five commands that took longest, by the longest run of each on a target."""
        longest: dict[tuple[str, str], Record] = {}
        for record in sorted(self._ran, key=lambda record: -record.duration_s):
            longest.setdefault((record.name, record.target), record)
        return tuple(longest.values())[:SLOWEST]

    @property
    def failures(self) -> tuple[Record, ...]:
        """The runs that ended badly."""
        return tuple(record for record in self.records if not record.ok)

    @property
    def waited_s(self) -> float:
        """Seconds from asking to a living process, added up: the queue, connections."""
        return sum(record.waited_s for record in self._ran)

    @property
    def cached(self) -> tuple[Record, ...]:
        """The answers that came from the cache."""
        return tuple(record for record in self.records if record.cached_s is not None)

    @property
    def saved_s(self) -> float:
        """Seconds that the cache saved: what its answers had taken when they were run."""
        return sum(record.duration_s for record in self.cached)

    @property
    def _ran(self) -> Sequence[Record]:
        return [record for record in self.records if record.cached_s is None]

    def lines(self) -> list[str]:
        """The report in words."""
        if not self.records:
            return ["nothing has run yet"]
        said = [f"{self.runs:,} runs, {format_duration(self.total_s)} in all" + (
            f", {format_duration(self.average_s)} on average" if self.average_s is not None else ""
        )]  # fmt: skip
        if self.all_runs > self.runs:
            said[0] += f" (the last of {self.all_runs:,})"
        said.append(f"waited {format_duration(self.waited_s)} for a free place, a process, a connection")
        if self.cached:
            said.append(f"{len(self.cached):,} answers from the cache saved {format_duration(self.saved_s)}")
        said += [f"slowest: {format_duration(record.duration_s)}  {record.name}" for record in self.slowest]
        said.append(f"{len(self.failures):,} failed" if self.failures else "none failed")
        said += [f"failed: {record.outcome}  {record.name}" for record in self.failures[-SLOWEST:]]
        return said

    def df(self) -> pd.DataFrame:
        """A row a run.

        Raises:
            OptionError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise OptionError("pandas is not installed; pip install 'xec-magic[frames]'") from error
        frame: pd.DataFrame = pd.DataFrame(self.records, columns=Record._fields)
        return frame

    def to_markdown(self) -> str:
        """The report in Markdown."""
        return "\n".join(f"- {line}" for line in self.lines())

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def __repr__(self) -> str:
        return f"<Report of {self.runs:,} runs, {format_duration(self.total_s)}, {len(self.failures)} failed>"
