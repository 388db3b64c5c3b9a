"""The statistics of repeated runs. Pure functions of numbers; nothing here knows what was run."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from typing import Final, NamedTuple

__all__ = ["Interval", "Summary", "drift", "exponent", "outliers", "percentile", "ratio_interval", "summary"]

RESAMPLES: Final = 2000  # more moves an end of the interval by less than the runs themselves do
DRAWS: Final = 2_000_000  # of single runs: a second's work; of very many runs less resamples say as much
FEWEST_RESAMPLES: Final = 400  # leave ten beyond either end of the interval
LEVEL: Final = 0.95
TRIMMED: Final = 0.2  # off either end; Wilcox, Introduction to Robust Estimation, 2012, section 3.3
OUTLIER: Final = 3.5  # of the modified z-score; Iglewicz and Hoaglin, 1993
DRIFT_Z: Final = 2.6  # two-sided 1 % of the normal distribution
FEW: Final = 4  # less say nothing about spread


class Summary(NamedTuple):
    """What repeated runs come to, in the unit of the values. `sd` is None for a single one."""

    mean: float
    median: float
    p95: float
    least: float
    most: float
    sd: float | None


class Interval(NamedTuple):
    """An estimate and the interval in which it lies with a certainty of 95 %."""

    value: float
    low: float
    high: float


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of all lie, linear between two.

    Example:
        >>> percentile([1, 2, 3, 4], 0.5)
        2.5
    """
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def summary(values: Sequence[float]) -> Summary:
    """Mean, median, 95th percentile, range and standard deviation (of a sample, n-1).

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values")
    sd = statistics.stdev(values) if len(values) > 1 else None
    return Summary(
        statistics.fmean(values), statistics.median(values), percentile(values, 0.95), min(values), max(values), sd
    )


def ratio_interval(values: Sequence[float], base: Sequence[float], seed: int = 0) -> Interval:
    """How many times as long `values` take as `base`, by the ratios of their rounds, with the bootstrap interval.

    Runs that took turns are compared in pairs, so that what slowed a whole round slowed both of its runs. Of the logarithms
    of the ratios the middle 60 % are averaged: runs of a machine that goes at two speeds make a median leap from
    one to the other, and a single late run would pull a mean.

    Args:
        values: One contestant's, in the order of the rounds.
        base: The other's. Rounds that only one of them has do not count.
        seed: Of the draws: the same values give the same interval.

    Returns:
        NaN for what cannot be told: all of it where nothing is left of a run, the interval of a single round.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile interval).

    Example:
        >>> round(ratio_interval([2.0, 2.2, 2.1], [1.0, 1.1, 1.0]).value, 2)
        2.03
    """
    rounds = list(zip(values, base, strict=False))
    if not rounds or any(value <= 0 or below <= 0 for value, below in rounds):
        return Interval(math.nan, math.nan, math.nan)
    ratios = [math.log(value / below) for value, below in rounds]
    if len(ratios) == 1:
        return Interval(math.exp(ratios[0]), math.nan, math.nan)
    draw = random.Random(seed)  # noqa: S311 - statistics, no secret
    resamples = max(FEWEST_RESAMPLES, min(RESAMPLES, DRAWS // len(ratios)))
    found = [_trimmed_mean(draw.choices(ratios, k=len(ratios))) for _ in range(resamples)]
    return Interval(
        math.exp(_trimmed_mean(ratios)),
        math.exp(percentile(found, (1 - LEVEL) / 2)),
        math.exp(percentile(found, (1 + LEVEL) / 2)),
    )


def _trimmed_mean(values: Sequence[float]) -> float:
    off = int(len(values) * TRIMMED)
    return statistics.fmean(sorted(values)[off : len(values) - off])


def outliers(values: Sequence[float]) -> list[int]:
    """Positions of values far from all others, by the modified z-score.

    Example:
        >>> outliers([1.0, 1.1, 0.9, 1.0, 5.0])
        [4]
    """
    if len(values) < FEW:
        return []
    middle = statistics.median(values)
    spread = statistics.median([abs(value - middle) for value in values])
    if spread == 0:
        return []
    return [at for at, value in enumerate(values) if 0.6745 * abs(value - middle) / spread > OUTLIER]


def drift(values: Sequence[float]) -> float:
    """How much the values grow (or shrink) from first to last run, as a share of the median; 0 when they do not.

    A trend counts when chance would show it once in a hundred times: Mann, 1945; Kendall's test of ranks.
    """
    count = len(values)
    if count < 2 * FEW:
        return 0.0
    score = sum(
        (values[later] > values[earlier]) - (values[later] < values[earlier])
        for earlier in range(count)
        for later in range(earlier + 1, count)
    )
    sd = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    if abs(score) <= 1 or (abs(score) - 1) / sd < DRIFT_Z:
        return 0.0
    half = count // 2
    middle = statistics.median(values)
    first, last = statistics.median(values[:half]), statistics.median(values[-half:])
    return (last - first) / middle if middle > 0 else 0.0


class Growth(NamedTuple):
    """`y` grows as `x` to the power of `exponent`; `low` and `high` are the ends of its 95 % interval, NaN for two points."""

    exponent: float
    factor: float
    low: float
    high: float


def exponent(points: Sequence[tuple[float, float]]) -> Growth | None:
    """The power law through points, by least squares of logarithms; None with less than two different `x`.

    Example:
        >>> round(exponent([(1, 2.0), (2, 8.0), (4, 32.0)]).exponent, 6)
        2.0
    """
    logs = [(math.log(x), math.log(y)) for x, y in points if x > 0 and y > 0]
    if len({x for x, _ in logs}) < 2:
        return None
    slope, intercept = statistics.linear_regression(*zip(*logs, strict=True))
    low = high = math.nan
    if len(logs) > 2:
        mean_x = statistics.fmean(x for x, _ in logs)
        residual = sum((y - intercept - slope * x) ** 2 for x, y in logs)
        error = math.sqrt(residual / (len(logs) - 2) / sum((x - mean_x) ** 2 for x, _ in logs))
        reach = _T95[min(len(logs) - 2, len(_T95)) - 1] * error
        low, high = slope - reach, slope + reach
    return Growth(slope, math.exp(intercept), low, high)


# Student's t for 95 %, two-sided, by degrees of freedom from 1; the last for all more.
_T95: Final = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13, 2.0)
