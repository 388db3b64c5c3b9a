"""`Timeline`: the samples of one run or watch, bounded in number, and the curves that they make."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from xec_magic.errors import OptionError
from xec_magic.events import Mark, Sample, Usage

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Curves", "Timeline"]

MOST_SAMPLES: Final = 1200  # then every second one goes: more than a chart has pixels
GAP_STEPS: Final = 4  # a pause of so many steps is a gap: the kernel slept, or could not read
LEAST_GAP_S: Final = 1.0  # shorter ones are a busy machine's
LATE_SHARE: Final = 0.5  # a last sample so close behind the one before, in steps, replaces it: no rate from a moment

COUNTED: Final = ("cpu_s", "read_bytes", "written_bytes", "received_bytes", "sent_bytes")  # what rates are made of

_NAN: Final = math.nan
_COLUMNS: Final = (
    "rss_bytes", "read_bytes", "written_bytes", "storage_read_bytes", "storage_written_bytes", "processes", "threads",
    "gpu_bytes", "received_bytes", "sent_bytes", "load",
)  # fmt: skip


class Curves(NamedTuple):
    """The curves of a timeline, all of one length; NaN where nothing was measured. A row of NaN is a gap.

    Attributes:
        time_s: Since the start.
        cpu_cores: Cores in use, on average since the row before.
        rss_bytes: Resident memory.
        read_rate: Bytes a second, on average since the row before.
        write_rate: Bytes a second, likewise.
        received_rate: Bytes a second over the network; machines only.
        sent_rate: The same, sent.
    """

    time_s: list[float]
    cpu_cores: list[float]
    rss_bytes: list[float]
    read_rate: list[float]
    write_rate: list[float]
    received_rate: list[float]
    sent_rate: list[float]


@dataclass
class Timeline:
    """Samples in order, at most 1,200 of them: of more, every second one goes, and the peaks stay known.

    Attributes:
        started_at: When what they tell of began, in seconds of the monotonic clock; times count from here.
        from_zero: What was used before the start counts as nothing: so it is with a command, not with a machine.
        samples: The samples.
        marks: Moments to be shown with them.
        peak: The sample with the most resident memory.
    """

    started_at: float
    from_zero: bool = True
    samples: list[Sample] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    peak: Sample | None = None

    def add(self, sample: Sample) -> None:
        """Take the next sample."""
        if sample.rss_bytes is not None and (
            self.peak is None or self.peak.rss_bytes is None or sample.rss_bytes > self.peak.rss_bytes
        ):
            self.peak = sample
        self.samples.append(sample)
        if len(self.samples) > MOST_SAMPLES:
            self._thin()

    def _thin(self) -> None:
        # Of two neighbours the later one stays, with the larger memory of both; what is counted up is right as it is.
        pairs = zip(self.samples[::2], self.samples[1::2], strict=False)
        odd = self.samples[-1:] if len(self.samples) % 2 else []
        self.samples = [replace(b, rss_bytes=_larger(a.rss_bytes, b.rss_bytes)) for a, b in pairs] + odd

    def finish(self, run_id: str, at: float, usage: Usage | None) -> None:
        """Close the curves with what is known exactly at the end: what the command had used in all."""
        if usage is None or not self.samples:
            return
        last = self.samples[-1]
        # What was seen of processes that nobody waited for can make it more than what was waited for.
        final = Sample(
            run_id, at, max(usage.cpu_s, last.cpu_s or 0.0), None,
            _larger(usage.read_bytes, last.read_bytes), _larger(usage.written_bytes, last.written_bytes),
            _larger(usage.storage_read_bytes, last.storage_read_bytes),
            _larger(usage.storage_written_bytes, last.storage_written_bytes),
        )  # fmt: skip
        if len(self.samples) > 1 and at - last.at < LATE_SHARE * self.step_s():
            final = replace(
                final,
                rss_bytes=last.rss_bytes,
                processes=last.processes,
                threads=last.threads,
                gpu_bytes=last.gpu_bytes,
                parts=last.parts,
            )
            self.samples[-1] = final
        else:
            self.samples.append(final)

    def __len__(self) -> int:
        return len(self.samples)

    def step_s(self) -> float:
        """The usual time between two samples; NaN with less than two."""
        if len(self.samples) < 2:
            return _NAN
        return statistics.median(b.at - a.at for a, b in pairwise(self.samples))

    def curves(self) -> Curves:
        """The curves. Reading and writing are those through calls, of a machine those of its storage."""
        return curves_of(self.samples, self.started_at, from_zero=self.from_zero)

    def last_curves(self) -> Curves:
        """The curves of the last two samples alone, so that a look at the present costs the same after hours."""
        return curves_of(self.samples[-2:], self.started_at, from_zero=self.from_zero and len(self.samples) < 2)

    def frame(self) -> pd.DataFrame:
        """A row a sample, units in the names of the columns; NaN where nothing was measured.

        Raises:
            OptionError: pandas is not installed.
        """
        pandas = _pandas()
        columns: dict[str, list[Any]] = {"time_s": [sample.at - self.started_at for sample in self.samples]}
        columns["cpu_s"] = [sample.cpu_s for sample in self.samples]
        columns["cpu_cores"] = [row.cpu_cores for row in _rows(self.samples, self.started_at, self.from_zero)]
        for name in _COLUMNS:
            columns[name] = [getattr(sample, name) for sample in self.samples]
        frame: pd.DataFrame = pandas.DataFrame(
            {name: pandas.Series(values, dtype="float64") for name, values in columns.items()}
        )
        return frame

    def process_frame(self) -> pd.DataFrame:
        """A row a process and sample: of many processes those that used most.

        Raises:
            OptionError: pandas is not installed.
        """
        pandas = _pandas()
        rows = [(sample.at - self.started_at, *part) for sample in self.samples for part in sample.parts]
        names = ["time_s", "pid", "parent", "name", "cpu_s", "rss_bytes", "read_bytes", "written_bytes", "threads"]
        frame: pd.DataFrame = pandas.DataFrame(rows, columns=names)
        return frame


class _Row(NamedTuple):
    time_s: float
    cpu_cores: float
    rss_bytes: float
    read_rate: float
    write_rate: float
    received_rate: float
    sent_rate: float


def curves_of(samples: Sequence[Sample], started_at: float, *, from_zero: bool) -> Curves:
    """The curves of samples in order; see `Timeline`."""
    rows: list[_Row] = []
    steps = [b.at - a.at for a, b in pairwise(samples)]
    for at, row in enumerate(_rows(samples, started_at, from_zero)):
        if rows and _is_gap(steps, at - 1):
            rows.append(_Row((rows[-1].time_s + row.time_s) / 2, *(_NAN,) * 6))
        rows.append(row)
    return (
        Curves(*(list(column) for column in zip(*rows, strict=True))) if rows else Curves(*([] for _ in _Row._fields))
    )


def _rows(samples: Sequence[Sample], started_at: float, from_zero: bool) -> Iterator[_Row]:
    before = Sample("", started_at, 0.0, None, 0, 0) if from_zero else None
    for sample in samples:
        elapsed = sample.at - before.at if before is not None else 0.0
        cores, *rates = (_rate(getattr(before, name, None), getattr(sample, name), elapsed) for name in COUNTED)
        memory = _NAN if sample.rss_bytes is None else float(sample.rss_bytes)
        yield _Row(sample.at - started_at, cores, memory, *rates)
        before = sample


def _is_gap(steps: Sequence[float], at: int) -> bool:
    """A step is much longer than one beside it. Not than all: where samples were thinned out, steps are longer."""
    beside = [*steps[max(0, at - 1) : at], *steps[at + 1 : at + 2]]
    return bool(beside) and steps[at] > max(LEAST_GAP_S, GAP_STEPS * min(beside))


def _rate(before: float | None, now: float | None, elapsed: float) -> float:
    if before is None or now is None or elapsed <= 0:
        return _NAN
    return max(0.0, (now - before) / elapsed)


def _larger(one: int | None, other: int | None) -> int | None:
    known = [value for value in (one, other) if value is not None]
    return max(known) if known else None


def _pandas() -> Any:
    try:
        import pandas as pd
    except ImportError as error:
        raise OptionError("pandas is not installed; pip install 'xec-magic[frames]'") from error
    return pd
