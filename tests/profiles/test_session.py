from datetime import UTC, datetime

from display.runs import make_result

import xec_magic as xec
from xec_magic.profiles import session
from xec_magic.profiles.session import Profiler


def taken(profiler, seconds, code=0, script="make", **more):
    result = make_result(b"x", code=code, script=script, seconds=seconds, **more)
    profiler.record([(result, result.started_at.timestamp() - 0.25)], lambda plan: plan.title)


def test_a_report_has_totals_average_slowest_failures_and_waiting():
    p = Profiler()
    for seconds, code in ((1.0, 0), (3.0, 0), (2.0, 4)):
        taken(p, seconds, code, script=f"job {seconds}")
    report = p.report()
    assert (report.runs, report.total_s, report.average_s) == (3, 6.0, 2.0)
    assert [record.name for record in report.slowest] == ["job 3.0", "job 2.0", "job 1.0"]
    assert [record.outcome for record in report.failures] == ["failed"]
    assert report.waited_s == 0.75
    assert "1 failed" in str(report)


def test_a_command_that_ran_often_is_once_among_the_slowest():
    p = Profiler()
    for seconds in (5.0, 9.0, 8.0, 7.0, 6.0, 5.5):
        taken(p, seconds, script="profiled")
    taken(p, 1.0, script="another")
    assert [(record.name, record.duration_s) for record in p.report().slowest] == [("profiled", 9.0), ("another", 1.0)]


def test_answers_from_the_cache_saved_what_they_had_taken():
    from dataclasses import replace

    p = Profiler()
    result = replace(make_result(b"x", seconds=7.0), cached=60.0)
    p.record([(result, datetime.now(UTC).timestamp())], lambda plan: plan.title)
    assert p.report().saved_s == 7.0
    assert p.report().total_s == 0.0
    assert "saved 7 s" in str(p.report())


def test_the_record_is_bounded_and_says_how_many_there_were(monkeypatch):
    monkeypatch.setattr(session, "MOST_RECORDS", 10)
    p = Profiler()
    for number in range(25):
        taken(p, 0.1, script=f"c{number}")
    assert p.report().runs == 10
    assert "the last of 25" in str(p.report())
    assert p.usual_s(make_result(script="c0").plan.command) is None


def test_an_estimate_is_the_median_of_the_last_good_runs():
    p = Profiler()
    for seconds, code in ((10.0, 0), (12.0, 0), (90.0, 1), (11.0, 0)):
        taken(p, seconds, code)
    assert p.usual_s(make_result(script="make").plan.command) == 11.0
    assert p.usual_s(make_result(script="make clean").plan.command) is None


def test_every_run_of_the_kernel_is_recorded_and_secrets_are_masked():
    xec.profiler.clear()
    xec.run("true")
    xec.run("exit 3", check=False, label="the failing one")
    names = [record.name for record in xec.profiler.report().records]
    assert names == ["true", "the failing one"]
    assert xec.profiler.report().df()["ok"].tolist() == [True, False]


def test_what_the_cache_answered_is_recorded_as_saved():
    xec.profiler.clear()
    for _ in range(3):
        xec.run("sleep 0.05; echo for the record", cache="1m")
    report = xec.profiler.report()
    assert [record.cached_s is None for record in report.records] == [True, False, False]
    assert report.saved_s > 0.05


def test_what_a_session_ran_in_the_callers_thread_is_recorded_too():
    xec.profiler.clear()
    for _ in range(3):
        xec.run(":", session="recorded")
    assert xec.profiler.report().runs == 3


def test_empty_scripts_that_calibrate_a_profile_are_no_runs_of_the_user():
    xec.profiler.clear()
    xec.profile("x", "true", runs=3, warmup=1)
    assert [record.name for record in xec.profiler.report().records] == ["true"] * 4


def test_a_report_of_nothing_says_so():
    assert str(Profiler().report()) == "nothing has run yet"
    assert Profiler().report().average_s is None
