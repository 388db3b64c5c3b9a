import math
import random

import pytest

from xec_magic.profiles import stats
from xec_magic.profiles.stats import drift, exponent, outliers, percentile, ratio_interval, summary


def test_a_summary_of_known_numbers():
    s = summary([1.0, 2.0, 3.0, 4.0, 10.0])
    assert (s.mean, s.median, s.least, s.most) == (4.0, 3.0, 1.0, 10.0)
    assert s.sd == pytest.approx(3.5355, abs=1e-4)
    assert s.p95 == pytest.approx(8.8)


def test_one_value_has_no_spread():
    assert summary([2.0]).sd is None
    with pytest.raises(ValueError, match="no values"):
        summary([])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.95, 1.0])
def test_a_percentile_lies_within(share):
    values = [5.0, 1.0, 3.0]
    assert min(values) <= percentile(values, share) <= max(values)


def test_the_interval_holds_the_true_ratio_about_as_often_as_it_says():
    draw = random.Random(3)
    held = 0
    for seed in range(30):
        base = [draw.lognormvariate(0, 0.1) for _ in range(20)]
        other = [1.5 * draw.lognormvariate(0, 0.1) for _ in range(20)]
        low, high = ratio_interval(other, base, seed)[1:]
        held += low <= 1.5 <= high
    assert held >= 25


def test_what_slows_a_whole_round_does_not_widen_the_interval():
    noise = [1.0, 5.0, 2.0, 9.0, 1.0, 4.0, 7.0, 1.5]
    assert ratio_interval([2 * n for n in noise], noise) == pytest.approx((2.0, 2.0, 2.0))


def half_width(values, base):
    _, low, high = ratio_interval(values, base)
    assert low <= 1 <= high
    return (high - low) / 2


def test_a_machine_that_goes_at_two_speeds_does_not_make_the_interval_leap_between_them():
    draw = random.Random(1)
    values, base = ([draw.choice([31.0, 31.0, 36.0]) + draw.gauss(0, 0.7) for _ in range(50)] for _ in range(2))
    assert half_width(values, base) < 0.04


def test_a_few_late_runs_do_not_widen_the_interval():
    draw = random.Random(2)
    values, base = ([31 + draw.gauss(0, 1) + (200 if at % 17 == where else 0) for at in range(50)] for where in (0, 5))
    assert half_width(values, base) < 0.02


def test_rounds_that_only_one_has_do_not_count():
    assert ratio_interval([2.0, 2.0], [1.0, 1.0, 5.0]) == ratio_interval([2.0, 2.0, 9.0], [1.0, 1.0]) == (2.0, 2.0, 2.0)


def test_of_very_many_runs_the_interval_takes_no_longer_than_it_must(monkeypatch):
    drawn = []
    monkeypatch.setattr(stats, "_trimmed_mean", lambda values: drawn.append(len(values)) or 0.0)
    ratio_interval([1.0] * 4000, [1.0] * 4000)
    assert sum(drawn) <= stats.DRAWS + 4000


def test_nothing_can_be_compared_with_nothing():
    for values, base in (([1.0, 2.0], [0.0, 0.0]), ([1.0, 2.0], [0.0, 1.0]), ([0.0, 2.0], [1.0, 1.0]), ([], [])):
        assert all(math.isnan(each) for each in ratio_interval(values, base))


def test_a_single_round_has_a_ratio_and_no_certainty():
    value, low, high = ratio_interval([2.0], [1.0])
    assert value == 2.0
    assert math.isnan(low)
    assert math.isnan(high)


def test_outliers_are_found_and_equal_values_are_none():
    assert outliers([1.0, 1.02, 0.99, 1.01, 3.0]) == [4]
    assert outliers([1.0] * 10) == []
    assert outliers([1.0, 9.0]) == []


def test_a_drift_is_told_from_noise():
    assert drift([1 + number / 20 for number in range(12)]) > 0.2
    assert drift([2 - number / 20 for number in range(12)]) < -0.1
    assert drift([1.0, 1.1, 0.9, 1.05, 0.95, 1.0, 1.02, 0.98, 1.01]) == 0.0
    assert drift([1.0, 2.0, 3.0]) == 0.0


def test_a_power_law_is_found_with_its_interval():
    law = exponent([(n, 3 * n**2) for n in (1, 2, 4, 8)])
    assert (law.exponent, law.factor) == (pytest.approx(2), pytest.approx(3))
    assert law.low <= 2 <= law.high + 1e-9
    assert math.isnan(exponent([(1, 1), (2, 2)]).low)
    assert exponent([(1, 1.0), (1, 2.0)]) is None
    assert exponent([(0, 1.0), (-1, 2.0)]) is None
