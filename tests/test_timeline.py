import math
import pickle
import sys

import pytest

from xec_magic.command import Command
from xec_magic.errors import OptionError
from xec_magic.events import Exited, Mark, ProcessSample, Sample, Started, Usage
from xec_magic.fold import fold
from xec_magic.plan import MonitorPolicy, Plan
from xec_magic.timeline import MOST_SAMPLES, Timeline


def sample(at, cpu_s=None, rss=None, **more):
    return Sample("r1", at, cpu_s, rss, **more)


def line(*samples, started_at=0.0, **options):
    made = Timeline(started_at, **options)
    for one in samples:
        made.add(one)
    return made


def test_cores_are_the_cpu_seconds_since_the_sample_before():
    curves = line(sample(1.0, 0.5), sample(2.0, 2.5)).curves()
    assert curves.time_s == [1.0, 2.0]
    assert curves.cpu_cores == [0.5, 2.0]


def test_the_curves_end_with_what_is_known_exactly_and_a_late_sample_makes_no_rate_of_a_moment():
    made = line(sample(1.0, 0.5, 100, read_bytes=10), sample(2.0, 1.0, 100, read_bytes=20))
    made.finish("r1", 3.0, Usage(2.0, 1.0, None, 4, None, 50, None))
    last = made.samples[-1]
    assert (last.at, last.cpu_s, last.read_bytes, last.storage_read_bytes, last.rss_bytes) == (3.0, 3.0, 50, 2048, None)
    made.finish("r1", 3.1, Usage(2.5, 1.0))  # hardly later: in the place of the one before
    assert (len(made), made.samples[-1].at, made.samples[-1].cpu_s) == (3, 3.1, 3.5)
    untold = line(sample(1.0, 0.5))
    untold.finish("r1", 2.0, None)
    assert len(untold) == 1


def test_what_was_used_before_a_watch_began_is_not_its_own():
    curves = line(sample(1.0, 1000.0), sample(2.0, 1001.0), from_zero=False).curves()
    assert math.isnan(curves.cpu_cores[0])
    assert curves.cpu_cores[1] == 1.0


def test_what_could_not_be_read_is_nan_and_never_zero():
    curves = line(sample(1.0, 0.5), sample(2.0, None, None, read_bytes=None)).curves()
    assert all(math.isnan(column[1]) for column in (curves.cpu_cores, curves.rss_bytes, curves.read_rate))
    frame = line(sample(1.0, 0.5)).frame()
    assert frame["gpu_bytes"].isna().all()
    assert frame["rss_bytes"].isna().all()


def test_a_pause_is_a_gap_and_no_line_across_it():
    curves = line(*(sample(at, at / 10, 1) for at in (0.25, 0.5, 0.75, 1.0, 60.0, 60.25))).curves()
    assert [round(at, 3) for at in curves.time_s] == [0.25, 0.5, 0.75, 1.0, 30.5, 60.0, 60.25]
    assert math.isnan(curves.rss_bytes[4])
    assert math.isnan(curves.cpu_cores[4])


def test_a_late_sample_of_a_busy_machine_is_no_gap():
    curves = line(*(sample(at, at / 10, 1) for at in (0.05, 0.1, 0.15, 0.8, 0.85))).curves()
    assert len(curves.time_s) == 5


def test_samples_are_bounded_in_number_and_peaks_and_totals_stay():
    made = Timeline(0.0)
    for number in range(10_000):
        made.add(sample(float(number + 1), float(number), 999 if number == 4321 else 5))
    assert len(made) <= MOST_SAMPLES
    assert made.peak.rss_bytes == 999
    assert max(made.curves().rss_bytes) == 999
    assert made.samples[-1].cpu_s == 9999.0
    assert sum(math.isnan(value) for value in made.curves().rss_bytes) == 0


def test_the_end_is_what_the_operating_system_says():
    made = line(sample(0.25, 0.2, 10), sample(0.5, 0.4, 10))
    made.finish("r1", 0.9, Usage(0.5, 0.3, 100, 2, 4, 7, 8))
    last = made.samples[-1]
    assert (last.at, last.cpu_s, last.read_bytes, last.storage_written_bytes) == (0.9, 0.8, 7, 2048)
    assert last.rss_bytes is None  # nothing of it lived any more


def test_an_end_right_behind_a_sample_takes_its_place_so_that_no_rate_comes_from_a_moment():
    made = line(sample(0.25, 0.2, 10), sample(0.5, 0.4, 10))
    made.finish("r1", 0.51, Usage(0.5, 0.0))
    assert len(made) == 2
    assert made.samples[-1].rss_bytes == 10
    assert max(made.curves().cpu_cores) < 1.3


def test_the_present_is_known_without_a_look_at_the_whole():
    made = line(sample(1.0, 1.0), sample(2.0, 1.5), sample(3.0, 4.5), from_zero=False)
    assert made.last_curves().cpu_cores[-1] == 3.0


def test_frames_name_units_in_their_columns():
    part = ProcessSample(7, 1, "sort", 0.5, 100, None, None, 1)
    made = line(sample(1.0, 0.5, 100, parts=(part,)))
    assert list(made.frame().columns)[:4] == ["time_s", "cpu_s", "cpu_cores", "rss_bytes"]
    assert made.process_frame().loc[0, "name"] == "sort"


def test_without_pandas_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(OptionError, match=r"xec-magic\[frames\]"):
        line().frame()


def test_a_mark_may_come_before_the_word_that_the_run_was_started():
    events = [Mark("r1", 1.1, "first"), Started("r1", 1.0, 0.0, 7), sample(2.0, 0.5), Exited("r1", 3.0, 0, None)]
    made = fold(events, Plan(Command("x"), monitor=MonitorPolicy())).timeline
    assert [mark.text for mark in made.marks] == ["first"]
    assert made.curves().time_s == [1.0]


def test_samples_of_a_run_that_nobody_watches_are_not_kept():
    events = [Started("r1", 1.0, 0.0, 7), sample(2.0, 0.5), Exited("r1", 3.0, 0, None)]
    assert fold(events, Command("x")).timeline is None


def test_a_timeline_pickles():
    made = line(sample(1.0, 0.5))
    made.marks.append(Mark("r1", 1.0, "x"))
    assert pickle.loads(pickle.dumps(made)) == made
