"""A command on many targets through the public functions: on real shells behind the demonstration's servers, and on fake hosts."""

from __future__ import annotations

import pickle
import threading

import pytest
from helpers.interrupts import interrupt_post, interrupt_when
from helpers.waiting import until

import xec_magic as xec
from xec_magic import runtime
from xec_magic.command import LOCAL
from xec_magic.compose.fleet import FleetRun
from xec_magic.compose.fleet_plan import FleetPlan, plan_fleet
from xec_magic.options import RunOptions
from xec_magic.transport.fake import Exit, FakeHost, Refuse, Say, Wait


@pytest.fixture(scope="module")
def hosts():
    with xec.demo.fleet(8) as made:
        yield made


@pytest.fixture
def ex():
    with xec.Executor(check=False) as made:
        yield made


class Fakes:
    """Fake hosts h0, h1, …, one for each list of steps."""

    def __init__(self, *scripts):
        self.hosts = [FakeHost(f"h{number}") for number in range(len(scripts))]
        for host, steps in zip(self.hosts, scripts, strict=True):
            host.on(".", *steps)
        self.targets = [host.target for host in self.hosts]

    @property
    def started(self):
        return [len(host.started) for host in self.hosts]


OK, BAD = (Say("same\n"), Exit(0)), (Exit(1),)


# -- results ---------------------------------------------------------------------------------------------


def test_each_target_gives_a_result_in_their_order_whoever_ends_first(hosts, ex):
    results = ex.map("[ $HOSTNAME != web01 ] || sleep 0.3; hostname", "@web")
    assert isinstance(results, xec.Results)
    assert [str(result) for result in results] == [host.name for host in hosts] == results.targets
    assert results
    assert repr(results) == "<Results 8 ok>"


def test_a_failure_on_one_does_not_stop_the_others_and_the_error_names_it(hosts):
    hosts.spoil("web03")
    hosts.kill("web05")
    try:
        with pytest.raises(xec.SomeFailed) as caught:
            xec.map("app status", "@web")
    finally:
        hosts.heal()
    first, *tail = str(caught.value).splitlines()
    assert first.startswith("2 of 8 failed: web03 (exit code 3), web05 (cannot reach 127.0.0.1:")
    assert tail == ["app on web03: no space left on device"]
    results = caught.value.results
    assert results.failed.targets == ["web03", "web05"]
    assert len(results.ok) == 6
    assert not results.not_started
    again = xec.map("app status", on=results.failed.targets)
    assert again.targets == ["web03", "web05"]
    assert again


def test_a_host_that_is_listed_twice_gives_two_results(hosts, ex):
    results = ex.map("echo $RANDOM$RANDOM", ["web02", "web01", "web02"])
    assert [result.target for result in results] == ["web02", "web01", "web02"]
    assert str(results[0]) != str(results[2])
    assert results.targets == ["web02", "web01"]


def test_equal_outputs_are_grouped_and_the_others_compared_with_the_majority(hosts, ex):
    (hosts["web04"].home / "etc/app.conf").write_text("workers = 16\nlog_level = info\nmax_connections = 200\n")
    hosts.kill("web[06-07]")
    try:
        groups = ex.map("echo I am $HOSTNAME; cat etc/app.conf", "@web").groups()
    finally:
        hosts.heal()
    assert [(group.targets, group.verdict) for group in groups] == [
        (["web01", "web02", "web03", "web05", "web08"], "ok"),
        (["web06", "web07"], "{host}: cannot reach {host}: connection refused"),
        (["web04"], "ok"),
    ]
    assert groups[0].output.startswith("I am {host}\nworkers = 4\n")
    assert groups[0].diff == ""
    assert groups[2].diff.splitlines()[2:] == [
        "@@ -1,4 +1,4 @@", " I am {host}", "-workers = 4", "+workers = 16", " log_level = info", " max_connections = 200",
    ]  # fmt: skip


def test_outputs_become_one_frame_with_their_hosts(hosts, ex):
    pytest.importorskip("pandas")
    hosts.spoil("web02")
    try:
        results = ex.map("app status >&2; echo 'size name'; echo \"1    $HOSTNAME\"; echo '2    b'", "web[01-03]")
    finally:
        hosts.heal()
    frame = results.df("table")
    assert frame["host"].tolist() == ["web01", "web01", "web03", "web03"]
    assert frame["size"].tolist() == [1, 2, 1, 2]
    assert results.df()["target"].tolist() == ["web01", "web02", "web03"]
    assert list(ex.map("echo host x; echo a b", "web01").df("table").columns) == ["target", "host", "x"]
    with pytest.raises(xec.ParseError, match="^web01: "):
        ex.map("echo '[1,'", "web01").df("auto")


# -- how far it goes -----------------------------------------------------------------------------------


def test_when_the_canary_fails_nobody_else_is_touched(ex):
    fakes = Fakes(OK, BAD, OK, OK)
    results = ex.map("x", on=fakes.targets, canary=2)
    assert fakes.started == [1, 1, 0, 0]
    assert results.failed.targets == ["h1"]
    assert results.not_started.targets == ["h2", "h3"]
    assert results[3].detail == "not started: the canary h1 failed"
    assert repr(results) == "<Results 1 of 4 failed, 2 not started>"


def test_max_fail_lets_what_runs_go_on_and_begins_no_more(ex):
    fakes = Fakes(BAD, (Wait(0.2), Say("late"), Exit(0)), OK, OK)
    results = ex.map("x", on=fakes.targets, fanout=2, max_fail="10%")
    assert [result.outcome.value for result in results] == ["failed", "ok", "not started", "not started"]
    assert str(results[1]) == "late"
    assert fakes.started == [1, 1, 0, 0]


def test_a_wave_waits_for_the_one_before(ex):
    fakes = Fakes((Wait(0.2), Exit(0)), OK, OK, OK)
    results = ex.map("x", on=fakes.targets, wave=2)
    assert min(result.started_at for result in results[2:]) >= results[0].started_at
    assert results[2].started_at.timestamp() >= results[0].started_at.timestamp() + 0.15


def test_a_target_that_cannot_be_reached_is_a_failure_and_one_that_was_not_tried_is_none(ex):
    fakes = Fakes((Refuse("no route"),), OK, OK)
    results = ex.map("x", on=fakes.targets, fanout=1, max_fail=0)
    assert results.failed.targets == ["h0"]
    assert results.not_started.targets == ["h1", "h2"]


# -- questions --------------------------------------------------------------------------------------------


def asked(ex, fakes, answers, **options):
    questions = []

    def ask(text):
        questions.append(text)
        return answers.pop(0)

    read = RunOptions.from_keywords({"on": fakes.targets, "confirm": True, **options})
    run = FleetRun(ex._engine, plan_fleet(read, "deploy", fakes.targets), ask)
    return run.begin().wait(), questions


def test_before_each_wave_somebody_is_asked_and_a_no_ends_it(ex):
    fakes = Fakes(OK, OK, OK, OK, OK)
    results, questions = asked(ex, fakes, [True, True, False], canary=1, wave=2)
    assert [question.partition(":")[0] for question in questions] == [
        "begin the canary, 1 of 5 targets (h0)",
        "begin wave 2 of 3, 2 of 5 targets (h1, h2); so far 1 ok, 0 failed",
        "begin wave 3 of 3, 2 of 5 targets (h3, h4); so far 3 ok, 0 failed",
    ]
    assert fakes.started == [1, 1, 1, 0, 0]
    assert results[4].detail == "not started: you said no"


def test_a_no_at_the_first_question_runs_nothing(ex):
    fakes = Fakes(OK, OK)
    results, questions = asked(ex, fakes, [False])
    assert questions == ["run on 2 targets (h0, h1): deploy? [y/N] "]
    assert fakes.started == [0, 0]
    assert len(results.not_started) == 2


def test_where_nobody_can_be_asked_it_is_refused_unless_yes_is_said_beforehand(ex, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    fakes = Fakes(OK, OK)
    with pytest.raises(xec.OptionError, match="nobody can be asked here, so nothing has run; --yes"):
        ex.map("x", on=fakes.targets, confirm=True)
    assert fakes.started == [0, 0]
    assert ex.map("x", on=fakes.targets, confirm=True, yes=True)


# -- interrupts and ends ------------------------------------------------------------------------------------


def test_an_interrupt_stops_all_and_names_who_had_not_finished(hosts, ex):
    states = lambda: sorted(run.state for run in ex._engine.runs())  # noqa: E731
    with pytest.raises(xec.RunInterrupted) as caught, interrupt_when(lambda: states() == ["done"] + ["running"] * 4):
        ex.map("[ $HOSTNAME = web02 ] || sleep 60", "@web", fanout=4, grace="0.5s")
    assert str(caught.value) == (
        "interrupted; 4 of 8 had not finished: web01, web03, web04, web05; 3 not started: web06, web07, web08"
    )
    results = caught.value.results
    assert results.ok.targets == ["web02"]
    assert results[7].detail == "not started: interrupted before it began"


@pytest.mark.parametrize("begun", [False, True])
def test_an_interrupt_while_it_is_handed_to_the_loop_stops_all(ex, monkeypatch, begun):
    fakes = Fakes((Wait(1000),), (Wait(1000),))
    engine = ex._engine
    interrupt_post(monkeypatch, engine, begun=begun)
    run = FleetRun(engine, plan_fleet(RunOptions(), "x", fakes.targets), None)
    try:
        run.begin()
    except KeyboardInterrupt:
        pytest.fail("nobody waits for what may have begun")
    error = run.interrupted(run.wait())
    assert isinstance(error, xec.RunInterrupted)
    assert [result.outcome for result in error.results] == (["interrupted"] * 2 if begun else ["not started"] * 2)


def test_an_interrupt_that_comes_as_all_have_ended_at_their_begin_still_counts(ex, monkeypatch):
    engine, fakes = ex._engine, Fakes(OK, OK)
    run = FleetRun(engine, plan_fleet(RunOptions(), "x", fakes.targets), None)
    interrupt_post(monkeypatch, engine, begun=True, first=lambda: until(run.done))
    run.begin()
    with pytest.raises(KeyboardInterrupt):
        run.wait()


def test_an_interrupt_at_a_question_between_waves_begins_nothing_more(ex):
    fakes = Fakes(OK, OK)

    def ask(text):
        if "wave 2" in text:
            raise KeyboardInterrupt
        return True

    read = RunOptions.from_keywords({"on": fakes.targets, "confirm": True, "wave": 1})
    run = FleetRun(ex._engine, plan_fleet(read, "x", fakes.targets), ask)
    results = run.begin().wait()
    error = run.interrupted(results)
    assert "1 not started: h1" in str(error)
    assert fakes.started == [1, 0]


def test_what_a_wave_has_said_is_shown_before_the_question_for_the_next_one(ex):
    fakes, seen = Fakes(OK, OK), []

    def ask(text):
        seen.append(text.partition(",")[0])
        return True

    read = RunOptions.from_keywords({"on": fakes.targets, "confirm": True, "wave": 1})
    run = FleetRun(ex._engine, plan_fleet(read, "x", fakes.targets), ask)
    run.begin().wait(on_tick=lambda: seen.append((len(run.ended), run.waiting_for_answer)))
    at = seen.index("begin wave 2 of 2")
    assert seen[at - 1] == (1, True)  # also in a page, which says that there is a question


def test_a_closed_executor_ends_it(ex):
    fakes = Fakes((Wait(60),), OK)
    read = RunOptions.from_keywords({"on": fakes.targets, "fanout": 1})
    run = FleetRun(ex._engine, plan_fleet(read, "x", fakes.targets)).begin()
    until(lambda: fakes.started[0])
    threading.Timer(0.1, ex.close).start()
    results = run.wait()
    assert results[0].outcome.value == "cancelled"
    assert results[1].never_tried


# -- values ---------------------------------------------------------------------------------------------------


def test_a_plan_of_a_fleet_is_a_plain_value_and_many_targets_share_the_memory():
    targets = runtime.current().settings.inventory().targets(["local"] * 3)
    plan = plan_fleet(RunOptions.from_keywords({"on": "local", "wave": "50%"}), "true", targets)
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert isinstance(plan, FleetPlan)
    many = plan_fleet(RunOptions.from_keywords({"on": "local"}), "true", [LOCAL] * 1000)
    assert sum(each.limits.memory_bytes for each in many.plans) <= 256 * 2**20


@pytest.mark.parametrize("options", [{"canary": 1}, {"wave": 2}, {"max_fail": 0}, {"fanout": 3}, {"confirm": True}])
def test_what_is_for_several_targets_is_refused_where_there_is_one(ex, options):
    with pytest.raises(xec.OptionError, match="is for a command on several targets"):
        ex.run("true", **options)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda ex: ex.map("true"), "map needs targets"),
        (lambda ex: ex.map("true", "local", on="local"), "keep one"),
        (lambda ex: ex.map("true", "wbe01"), "no target 'wbe01'; did you mean web01"),
        (lambda ex: ex.map("true", "local", tee="x"), "1 targets would write into one file"),
    ],
)
def test_a_wrong_call_is_refused(hosts, ex, call, words):
    with pytest.raises(xec.OptionError, match=words):
        call(ex)


# -- many ---------------------------------------------------------------------------------------------------------


def test_five_hundred_hosts_of_which_some_are_dead_and_some_hang():
    # The hosts end first: they would take seconds to see that hundreds of connections go.
    with xec.Executor(check=False) as ex, xec.demo.fleet(500, name="many", connect_timeout=6) as hosts:
        hosts.hang("many[001-005]")
        hosts.kill("many[100-119]")
        results = ex.map("app version", "@many", fanout=50)
        assert len(results) == 500
        assert results.failed.targets == [f"many{n:03}" for n in (*range(1, 6), *range(100, 120))]
        assert [(len(group), group.verdict) for group in results.groups()] == [
            (475, "ok"),
            (20, "{host}: cannot reach {host}: connection refused"),
            (5, "{host}: no answer from {host} within 6 s (ConnectTimeout)"),
        ]
        hosts.heal()
        assert ex.map("app version", results.failed.targets)
