"""`Profile`: what repeated runs of one or several variants cost; numbers, tables and hyperfine's JSON."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from xec_magic.errors import OptionError
from xec_magic.plan import Plan
from xec_magic.profiles import stats
from xec_magic.units import format_duration, format_size

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Measured", "Profile", "Variant", "VariantSummary"]

SHORT_S: Final = 0.005  # below it what the shell's start varies by is no longer small; hyperfine warns there, too


class Measured(NamedTuple):
    """What one run cost, the start of its shell included; None for what could not be measured."""

    wall_s: float
    user_s: float | None
    system_s: float | None
    peak_rss_bytes: int | None
    read_bytes: int | None
    written_bytes: int | None
    exit_code: int | None


@dataclass(frozen=True)
class Variant:
    """One of the commands that are compared.

    Attributes:
        name: What it is called.
        plan: How it is run.
        param: The variable that `--param` sets; empty for none.
        value: Its value.
    """

    name: str
    plan: Plan
    param: str = ""
    value: str | None = None

    @property
    def target(self) -> str:
        """Where it is run."""
        return self.plan.command.target.name

    @property
    def title(self) -> str:
        """Its name, with the parameter's value."""
        return self.name if self.value is None else f"{self.name} [{self.param}={self.value}]"


class VariantSummary(NamedTuple):
    """What the runs of one variant come to; times without the shell's start.

    Attributes:
        wall: Seconds.
        cpu_user_s: Mean CPU seconds in user mode.
        cpu_system_s: Mean CPU seconds in the kernel.
        peak_rss_bytes: The most that any run's largest process held.
        read_bytes: Mean, through calls.
        written_bytes: Mean, through calls.
        ratio: To the first variant; None for the first. Its numbers are NaN where they cannot be told.
    """

    variant: Variant
    runs: int
    wall: stats.Summary
    cpu_user_s: float | None
    cpu_system_s: float | None
    peak_rss_bytes: int | None
    read_bytes: float | None
    written_bytes: float | None
    ratio: stats.Interval | None


@dataclass(frozen=True)
class Profile:
    """What repeated runs cost.

    Attributes:
        variants: Each variant and its runs.
        startups: What an empty script in the same shell cost, at the median, by the target's name; of a host the way there
            is in it. Empty where it was not measured.
        page_cache: How the page cache was when the measured runs began.
    """

    variants: tuple[tuple[Variant, tuple[Measured, ...]], ...]
    startups: Mapping[str, Measured]
    page_cache: str

    @property
    def startup(self) -> Measured | None:
        """The shell's start on the first variant's target; None where it was not measured."""
        return self._startup(0)

    def _startup(self, at: int) -> Measured | None:
        return self.startups.get(self.variants[at][0].target)

    @property
    def targets(self) -> list[str]:
        """Where it was run."""
        return list(dict.fromkeys(variant.target for variant, _ in self.variants))

    def times(self, at: int) -> list[float]:
        """Seconds of each run of a variant, without the shell's start."""
        startup = self._startup(at)
        off = startup.wall_s if startup else 0.0
        return [max(0.0, run.wall_s - off) for run in self.variants[at][1]]

    @cached_property
    def summaries(self) -> tuple[VariantSummary, ...]:
        """What the runs of each variant come to; variants without a measured run are left out."""
        found = []
        base: list[float] | None = None
        for at, (variant, runs) in enumerate(self.variants):
            if not runs:
                continue
            times, off = self.times(at), self._startup(at)
            ratio = stats.ratio_interval(times, base) if base is not None else None
            base = base if base is not None else times
            found.append(
                VariantSummary(
                    variant,
                    len(runs),
                    stats.summary(times),
                    _mean([run.user_s for run in runs], off.user_s if off else 0.0),
                    _mean([run.system_s for run in runs], off.system_s if off else 0.0),
                    _most([run.peak_rss_bytes for run in runs]),
                    _mean([run.read_bytes for run in runs]),
                    _mean([run.written_bytes for run in runs]),
                    ratio,
                )
            )
        return tuple(found)

    @cached_property
    def growth(self) -> dict[str, stats.Growth]:
        """The power of the parameter with which the median time grows, by the name of the command.

        Empty without `--param`, and where its values are no numbers.
        """
        points: dict[str, list[tuple[float, float]]] = {}
        for one in self.summaries:
            try:
                points.setdefault(one.variant.name, []).append((float(one.variant.value or "x"), one.wall.median))
            except ValueError:
                return {}
        laws = {name: stats.exponent(known) for name, known in points.items()}
        return {name: law for name, law in laws.items() if law is not None}

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What makes the figures less than they seem."""
        said = []
        for at, (variant, runs) in enumerate(self.variants):
            if not runs:
                continue
            times = self.times(at)
            far = stats.outliers(times)
            if far:
                said.append(
                    f"{variant.title}: {len(far)} of {len(times)} runs {'lies' if len(far) == 1 else 'lie'} far from the others "
                    f"(run {far[0] + 1}: {format_duration(times[far[0]])}); something else used the machine"
                )
            moved = stats.drift(times)
            if moved:
                said.append(
                    f"{variant.title}: runs became {'slower' if moved > 0 else 'faster'} by {abs(moved):.0%} from the first to the "
                    "last; a cache that fills, a machine that heats up"
                )
            startup = self._startup(at)
            if startup and statistics.median(times) < SHORT_S:
                said.append(
                    f"{variant.title}: shorter than {format_duration(SHORT_S)} beside a shell's start of "
                    f"{format_duration(startup.wall_s)}; repeat it inside the command for a figure to rely on"
                )
            bad = sum(run.exit_code != 0 for run in runs)
            if bad:
                said.append(f"{variant.title}: {bad} of {len(runs)} runs did not end with exit code 0")
        return tuple(said)

    # -- as other things --------------------------------------------------------------------------

    def df(self) -> pd.DataFrame:
        """A row a run: variant, the parameter if there is one, seconds without the shell's start, CPU, memory, I/O.

        Raises:
            OptionError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise OptionError("pandas is not installed; pip install 'xec-magic[frames]'") from error
        rows = []
        for at, (variant, runs) in enumerate(self.variants):
            extra = {} if variant.value is None else {variant.param: variant.value}
            for number, (run, time_s) in enumerate(zip(runs, self.times(at), strict=True), 1):
                rows.append(
                    {
                        "variant": variant.name,
                        "target": variant.target,
                        **extra,
                        "run": number,
                        "time_s": time_s,
                        **run._asdict(),
                    }
                )
        frame: pd.DataFrame = pd.DataFrame(rows)
        return frame

    def to_markdown(self) -> str:
        """The table of the variants, in Markdown."""
        head, rows = self.table()
        return "\n".join(
            "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
            for row in [head, ["---"] * len(head), *rows]
        )

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Heads and rows of the table of the variants, as text. Columns without a single figure are left out."""
        head = [
            "command",
            "runs",
            "median",
            "mean ± sd",
            "p95",
            "ratio (95 %)",
            "user",
            "system",
            "peak memory",
            "read",
            "written",
        ]
        rows = []
        for one in self.summaries:
            sd = f" ± {format_duration(one.wall.sd)}" if one.wall.sd is not None else ""
            ratio = "1" if one.ratio is None else _ratio(one.ratio)
            rows.append([
                one.variant.title, str(one.runs), format_duration(one.wall.median),
                format_duration(one.wall.mean) + sd, format_duration(one.wall.p95), ratio,
                "" if one.cpu_user_s is None else format_duration(one.cpu_user_s),
                "" if one.cpu_system_s is None else format_duration(one.cpu_system_s),
                "" if one.peak_rss_bytes is None else format_size(one.peak_rss_bytes),
                "" if one.read_bytes is None else format_size(one.read_bytes),
                "" if one.written_bytes is None else format_size(one.written_bytes),
            ])  # fmt: skip
        kept = [at for at in range(len(head)) if any(row[at] for row in rows) and not (at == 5 and len(rows) < 2)]
        return [head[at] for at in kept], [[row[at] for at in kept] for row in rows]

    def to_json(self, indent: int | None = 2) -> str:
        """The figures in the form of hyperfine's `--export-json`, with a member `xec` for what that has no place for."""
        results = []
        for at, (variant, runs) in enumerate(self.variants):
            if not runs:
                continue
            times = self.times(at)
            whole = stats.summary(times)
            off = self._startup(at)
            entry: dict[str, Any] = {
                "command": variant.title, "mean": whole.mean, "stddev": whole.sd, "median": whole.median,
                "user": _mean([run.user_s for run in runs], (off.user_s if off else 0.0) or 0.0),
                "system": _mean([run.system_s for run in runs], (off.system_s if off else 0.0) or 0.0),
                "min": whole.least, "max": whole.most, "times": times,
                "exit_codes": [run.exit_code for run in runs],
            }  # fmt: skip
            if all(run.peak_rss_bytes is not None for run in runs):
                entry["memory_usage_byte"] = [run.peak_rss_bytes for run in runs]
            if variant.value is not None:
                entry["parameters"] = {variant.param: variant.value}
            results.append(entry)
        extra = {
            "startup_s": self.startup.wall_s if self.startup else None,
            "startups_s": {target: startup.wall_s for target, startup in self.startups.items()},
            "targets": [variant.target for variant, runs in self.variants if runs],
            "page_cache": self.page_cache,
            "warnings": list(self.warnings),
            "runs": [[run._asdict() for run in runs] for _, runs in self.variants if runs],
        }
        return json.dumps({"results": results, "xec": extra}, indent=indent)

    def __repr__(self) -> str:
        parts = [f"{one.variant.title} {format_duration(one.wall.median)}" for one in self.summaries]
        return f"<Profile {', '.join(parts) or 'without a measured run'}>"


def _mean(values: Sequence[float | None], off: float | None = 0.0) -> float | None:
    known = [value for value in values if value is not None]
    return max(0.0, statistics.fmean(known) - (off or 0.0)) if known else None


def _most(values: Sequence[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _ratio(ratio: stats.Interval) -> str:
    """In words; nothing of what cannot be told."""
    if math.isnan(ratio.value):
        return ""
    within = "" if math.isnan(ratio.low) else f" ({ratio.low:.2f}–{ratio.high:.2f})"
    return f"{ratio.value:.2f}{within}"
