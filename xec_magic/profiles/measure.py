"""`measure`: run variants of a command in turns, and what each run cost."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

from xec_magic.command import Target
from xec_magic.errors import OptionError, ProfileFailed
from xec_magic.plan import Plan
from xec_magic.profiles.comparison import Measured, Profile, Variant
from xec_magic.units import format_duration

if TYPE_CHECKING:
    from xec_magic.engine.run import Run
    from xec_magic.result import Result

__all__ = ["Course", "measure"]

MOST_RUNS: Final = 100_000
LEAST_CALIBRATION: Final = 5
MOST_CALIBRATION: Final = 20  # more move the mean of an empty shell by less than a tenth of a millisecond


class Runner(Protocol):
    """What is needed of an executor."""

    def plan_run(self, plan: Plan, *, check: bool = True, background: bool = False, keep: bool | None = None) -> Run:
        """A run that is planned and not started."""


@dataclass(frozen=True)
class Course:
    """How a comparison is made.

    Attributes:
        runs: Measured runs of each variant.
        warmup: Runs before them that are not measured.
        prepare: What is run before each run, unmeasured, on each target; empty for nothing.
        cleanup: What is run once on each target when all runs are over, also when one failed; empty for nothing.
        check: End at the first run that fails.
    """

    runs: int = 10
    warmup: int = 1
    prepare: Mapping[Target, Plan] = field(default_factory=dict)
    cleanup: Mapping[Target, Plan] = field(default_factory=dict)
    check: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.runs <= MOST_RUNS:
            raise OptionError(f"runs must lie between 1 and {MOST_RUNS:,}, not {self.runs}")
        if not 0 <= self.warmup <= MOST_RUNS:
            raise OptionError(f"warmup must lie between 0 and {MOST_RUNS:,}, not {self.warmup}")


@dataclass
class _Bench:
    """The state of one comparison."""

    runner: Runner
    course: Course
    wait: Callable[[Run], Result]
    step: Callable[[str], None]
    done: dict[Variant, list[Measured]] = field(default_factory=dict)
    startups: dict[str, list[Measured]] = field(default_factory=dict)


def measure(
    runner: Runner,
    variants: Sequence[Variant],
    course: Course,
    *,
    wait: Callable[[Run], Result] = lambda run: run.wait(),
    step: Callable[[str], None] = lambda _: None,
) -> Profile:
    """Run each variant `runs` times, taking turns, so that what slows the machine slows all of them.

    What an empty script of the same shell takes is measured in between and taken off. Standard output of the commands
    goes to `/dev/null`.

    Args:
        runner: Starts the runs.
        variants: What to compare; the first is what the others are compared with.
        course: How often, and what around it.
        wait: Waits for a run in the caller's thread.
        step: Told in words what comes next.

    Raises:
        ProfileFailed: a run failed; `.profile` has what was measured before.
        RunInterrupted: interrupted; `.profile` likewise.
    """
    bench = _Bench(runner, course, wait, step, {variant: [] for variant in variants})
    try:
        for number in range(course.warmup):
            for variant in _in_turn(variants, number):
                step(f"warm-up {number + 1} of {course.warmup}")
                _one(bench, variant, f"warm-up {number + 1} of {course.warmup}")
        for number in range(course.runs):
            for variant in _in_turn(variants, number):
                step(f"run {number + 1} of {course.runs}")
                bench.done[variant].append(_one(bench, variant, f"run {number + 1} of {course.runs}"))
            if number < MOST_CALIBRATION:
                _calibrate(bench, variants)
        for _ in range(course.runs, LEAST_CALIBRATION):
            _calibrate(bench, variants)
    except BaseException as error:
        error.profile = _profile(bench)  # type: ignore[attr-defined]  # what was measured is not lost
        try:
            _clean_up(bench)
        except ProfileFailed as second:
            error.add_note(str(second))
        raise
    _clean_up(bench)
    return _profile(bench)


def _clean_up(bench: _Bench) -> None:
    for plan in bench.course.cleanup.values():
        _around(bench, plan, "cleanup")


def _in_turn(variants: Sequence[Variant], number: int) -> Iterator[Variant]:
    """Every second round backwards, so that nobody always comes after the same one."""
    return iter(variants) if number % 2 == 0 else reversed(variants)


def _calibrate(bench: _Bench, variants: Sequence[Variant]) -> None:
    """An empty script on each target."""
    firsts: dict[str, Plan] = {}
    for variant in variants:
        firsts.setdefault(variant.target, variant.plan)
    for like in firsts.values():
        empty = replace(like, command=replace(like.command, script=":", stdin=None, reset=False), label="empty script")
        result = _run(bench, empty, recorded=False)
        if result.ok:
            bench.startups.setdefault(like.command.target.name, []).append(measured(result))


def _one(bench: _Bench, variant: Variant, words: str) -> Measured:
    prepare = bench.course.prepare.get(variant.plan.command.target)
    if prepare is not None:
        _around(bench, prepare, "prepare", variant)
    result = _run(bench, variant.plan)
    if bench.course.check and not result.ok:
        error = result.error()
        if isinstance(error, KeyboardInterrupt):
            raise error
        so_far = bench.done[variant]
        known = (
            f"{len(so_far)} before it took {format_duration(_median(so_far))} each"
            if so_far
            else "none was measured before"
        )
        raise ProfileFailed(f"{words} of {variant.name!r} failed ({known}): {result.describe()}{_tail(result)}", result)
    return measured(result)


def _around(bench: _Bench, plan: Plan, what: str, variant: Variant | None = None) -> None:
    """A command that is not measured; it sees the parameter as the measured one does."""
    if variant is not None and variant.value is not None:
        plan = replace(plan, command=replace(plan.command, env=(*plan.command.env, (variant.param, variant.value))))
    result = _run(bench, plan)
    if not result.ok:
        error = result.error()
        if isinstance(error, KeyboardInterrupt):
            raise error
        raise ProfileFailed(f"--{what} failed: {result.describe()}{_tail(result)}", result)


def _run(bench: _Bench, plan: Plan, *, recorded: bool = True) -> Result:
    run = bench.runner.plan_run(plan, check=False)
    run.recorded, run.weighed = recorded, True
    run.stdout_fd = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)  # its reader must not be part of what is measured
    return bench.wait(run)


def _tail(result: Result) -> str:
    tail = result.stderr_tail()
    return "\n" + tail if tail else ""


def _median(runs: Sequence[Measured]) -> float:
    return statistics.median(run.wall_s for run in runs)


def measured(result: Result) -> Measured:
    """What a run cost."""
    usage = result.usage
    return Measured(
        result.duration_s,
        usage.user_s if usage else None,
        usage.system_s if usage else None,
        usage.peak_rss_bytes if usage else None,
        usage.read_bytes if usage else None,
        usage.written_bytes if usage else None,
        result.exit_code,
    )


def _profile(bench: _Bench) -> Profile:
    startups = {
        target: Measured(
            _median(runs), statistics.median(run.user_s or 0.0 for run in runs),
            statistics.median(run.system_s or 0.0 for run in runs), None, None, None, 0,
        )
        for target, runs in bench.startups.items()
    }  # fmt: skip
    course = bench.course
    cache = (
        "as --prepare leaves it" if course.prepare
        else "warm" if course.warmup else "as it was found: the first run may have filled it"
    )  # fmt: skip
    return Profile(tuple((variant, tuple(runs)) for variant, runs in bench.done.items()), startups, cache)
