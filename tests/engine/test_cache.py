"""What the cache of an executor promises: what is kept, for how long, and what is never kept."""

import os
import sys
import threading
import time

import pytest
from helpers.waiting import until

sys.path.insert(0, os.path.dirname(__file__))
from cacheparts import Hands, plan

from xec_magic import errors
from xec_magic.cachepolicy import Condition
from xec_magic.command import Command
from xec_magic.engine.cache import ResultCache
from xec_magic.engine.cachelist import matcher
from xec_magic.engine.executor import Executor
from xec_magic.engine.memory import MemoryTier
from xec_magic.events import Cached, Exited, Output
from xec_magic.outcome import Outcome
from xec_magic.plan import Limits, Plan, RetryPolicy, StopPolicy
from xec_magic.transport.fake import Exit, FakeHost, Say, Wait


@pytest.fixture
def clock():
    return Hands()


@pytest.fixture
def executor(clock):
    with Executor() as made:
        made.cache = ResultCache(made.redactor, clock)
        yield made


@pytest.fixture
def host():
    return FakeHost("db1")


def run(executor, what):
    return executor.start(what, check=False).wait(30)


# -- hits ---------------------------------------------------------------------------------------


def test_an_equal_command_is_answered_and_nothing_runs(executor, host):
    host.on("uptime", Say("out\n"), Say("err\n", "stderr"), Exit(0))
    first = run(executor, plan("uptime", target=host.target))
    second = run(executor, plan("uptime", target=host.target))
    assert host.started == ["uptime"]
    assert (first.cached, second.cached is not None) == (None, True)
    assert (second.output, second.stdout, second.stderr, second.exit_code) == ("out\nerr\n", "out\n", "err\n", 0)
    assert (second.duration_s, second.started_at, second.usage) == (first.duration_s, first.started_at, first.usage)
    assert second.run_id != first.run_id


def test_a_hit_is_answered_in_the_callers_thread_even_when_the_loop_is_busy(executor, host):
    host.on("uptime", Say("up\n"))
    run(executor, plan("uptime", target=host.target))
    gate, entered = threading.Event(), threading.Event()
    executor.post(lambda: (entered.set(), gate.wait(20)))
    assert entered.wait(10)
    try:
        again = executor.start(plan("uptime", target=host.target))
        assert again.done()
        assert str(again.result(0)) == "up"
    finally:
        gate.set()


def test_a_hit_is_a_finished_run_that_can_be_found_read_and_awaited(executor, host):
    host.on("seq", Say("1\n2\n"), Say("oops\n", "stderr"))
    run(executor, plan("seq", target=host.target))
    again = executor.start(plan("seq", target=host.target))
    assert executor.find(again.run_id) is again
    assert list(again.lines()) == ["1", "2"]
    assert b"".join(executor.start(plan("seq", target=host.target)).chunks(None)) == b"1\n2\noops\n"

    async def ask():
        return str(await again)

    import asyncio

    assert asyncio.run(ask()) == "1\n2"


def test_a_run_that_is_answered_when_it_begins_replays_its_events_with_its_age(executor, host, clock):
    host.on("seq", Say("1\n"), Say("oops\n", "stderr"))
    late = executor.plan_run(plan("seq", target=host.target))
    seen = []
    late.subscribe(seen.append)
    run(executor, plan("seq", target=host.target))
    clock.tick(5)
    executor.post(executor.start_now, late)  # as a run that `start` has planned begins by itself
    until(late.done)
    result = late.wait(10)
    assert [type(event) for event in seen] == [Cached, Output, Output, Exited]
    assert seen[0].age_s == pytest.approx(5, abs=2)
    assert result.cached == pytest.approx(5, abs=2)
    assert {event.run_id for event in seen} == {late.run_id}
    assert host.started == ["seq"]


def test_another_state_is_another_result(executor, tmp_path):
    def ask(**command):
        return run(executor, plan("pwd; cat; echo ${A:-}", **command)).cached is None

    assert ask(cwd="/")
    assert ask(cwd="/usr")
    assert ask(cwd="/", stdin=b"x")
    assert ask(cwd="/", env=(("A", "1"),))
    assert not ask(cwd="/usr")


def test_a_result_is_used_as_long_as_it_is_fresh_and_no_longer(executor, host, clock):
    host.on("date", Say("one"), Exit(0))
    host.on("date", Say("two"), Exit(0))
    ask = plan("date", 60, target=host.target)
    assert str(run(executor, ask)) == "one"
    clock.tick(58)
    assert str(run(executor, ask)) == "one"
    clock.tick(3)
    assert str(run(executor, ask)) == "two"


def test_a_shorter_time_asked_for_later_counts_and_a_longer_one_does_not_revive(executor, host, clock):
    host.on("date", Say("x"))
    run(executor, plan("date", 60, target=host.target))
    clock.tick(20)
    assert run(executor, plan("date", 10, target=host.target)).cached is None
    clock.tick(20)
    assert run(executor, plan("date", "inf", target=host.target)).cached is None, (
        "10 seconds were said when it was kept"
    )


def test_for_ever_is_for_ever(executor, host, clock):
    host.on("date", Say("x"))
    run(executor, plan("date", "inf", target=host.target))
    clock.tick(10 * 365 * 86400)
    assert run(executor, plan("date", "inf", target=host.target)).cached > 3e8


def test_a_clock_that_is_set_back_makes_no_result_immortal(executor, host, clock):
    host.on("date", Say("x"))
    ask = plan("date", 60, target=host.target)
    run(executor, ask)
    clock.wall_offset = -7200
    assert run(executor, ask).cached is not None
    clock.tick(61)
    assert run(executor, ask).cached is None


def test_refresh_runs_it_and_keeps_the_new_result(executor, host):
    host.on("date", Say("one"), Exit(0))
    host.on("date", Say("two"), Exit(0))
    run(executor, plan("date", target=host.target))
    assert str(run(executor, plan("date", target=host.target, refresh=True))) == "two"
    again = run(executor, plan("date", target=host.target))
    assert (str(again), again.cached is not None) == ("two", True)


def test_each_asker_judges_the_exit_code_by_its_own_list(executor, host):
    host.on("grep", Exit(1))
    accepting = plan("grep", target=host.target, more={"ok_codes": frozenset({0, 1})})
    assert run(executor, accepting).ok
    assert run(executor, accepting).cached is not None
    strict = run(executor, plan("grep", target=host.target))
    assert (strict.ok, strict.cached) == (False, None), "a failure for this one, and failures are not kept"
    keeping = run(executor, plan("grep", target=host.target, failures=60))
    assert (keeping.outcome, keeping.cached is not None) == (Outcome.FAILED, True)


def test_more_output_than_the_asker_allows_is_no_hit(executor):
    assert run(executor, plan("seq 1000")).ok
    bounded = plan("seq 1000", more={"limits": Limits(max_output_bytes=100)})
    assert run(executor, bounded).outcome is Outcome.OUTPUT_LIMIT


def test_a_hit_writes_the_tee_file_as_a_run_does(executor, tmp_path):
    copy = tmp_path / "copy"
    run(executor, plan("echo out; echo err >&2"))
    run(executor, plan("echo out; echo err >&2", more={"tee": str(copy)}))
    assert sorted(copy.read_text().splitlines()) == ["err", "out"]
    nowhere = run(executor, plan("echo out; echo err >&2", more={"tee": str(tmp_path / "no" / "copy")}))
    assert "cannot write the --tee file" in nowhere.notes[0]


def test_what_is_read_as_it_comes_is_kept_as_well(executor):
    assert list(executor.start(plan("seq 3")).lines()) == ["1", "2", "3"]
    assert run(executor, plan("seq 3")).cached is not None


def test_a_cache_without_output_or_in_a_pipe_is_refused(executor, tmp_path):
    with pytest.raises(errors.OptionError, match="nothing to keep"):
        executor.start(plan("seq 3"), keep=False)
    for other in ("cat", lambda lines: lines, tmp_path / "file"):
        with pytest.raises(errors.XecError, match="a command with a cache keeps its output"):
            executor.plan_run(plan("seq 3")).pipe(other)
    assert not (tmp_path / "file").exists()
    with pytest.raises(errors.XecError, match="a command behind a pipe has no cache"):
        executor.plan_run(Plan(Command("seq 3"))).pipe(executor.plan_run(plan("cat")))


# -- what is never kept -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "outcome"),
    [
        (plan("exit 3"), Outcome.FAILED),
        (plan("kill -9 $$"), Outcome.SIGNALLED),
        (plan("yes", failures=60, more={"limits": Limits(max_output_bytes=100)}), Outcome.OUTPUT_LIMIT),
        (plan("sleep 60", failures=60, more={"stop": StopPolicy(timeout_s=0.1, grace_s=0.2)}), Outcome.TIMED_OUT),
        (plan("true", failures=60, cwd="/no/such/directory"), Outcome.NOT_STARTED),
    ],
    ids=["failed", "signalled", "output limit", "timed out", "not started"],
)
def test_what_ended_badly_is_not_kept(executor, what, outcome):
    assert run(executor, what).outcome is outcome
    assert run(executor, what).cached is None
    assert executor.cache.entries() == []
    assert executor.cache.stats.refused == 2


def test_output_for_which_its_disk_has_no_room_is_not_kept_and_says_so(executor, monkeypatch):
    monkeypatch.setattr(executor.spool, "_open", lambda _: open("/dev/full", "r+b", buffering=0))
    r = run(executor, plan("head -c 9000000 /dev/zero", persist=True))
    assert (r.outcome, r.truncated) == (Outcome.OK, True)
    assert r.notes[-1] == "not cached: its output is incomplete"
    assert executor.cache.entries() == []


def test_what_was_stopped_is_not_kept(executor):
    stopped = executor.start(plan("echo begun; sleep 60", failures=60), check=False)
    while not stopped.log.size():
        time.sleep(0.01)
    stopped.cancel()
    assert stopped.wait(20).outcome is Outcome.CANCELLED
    assert executor.cache.entries() == []


def test_what_left_processes_behind_is_not_kept_and_says_so(executor):
    result = run(executor, plan("sleep 30 & echo parent"))
    assert "not cached: it left processes behind that may still print" in result.notes
    assert executor.cache.entries() == []


def test_a_failure_is_kept_for_as_long_as_asked_and_raises_again(executor, host, clock):
    host.on("curl", Say("down\n", "stderr"), Exit(7))
    ask = plan("curl", 3600, target=host.target, failures=5)
    with pytest.raises(errors.NonZeroExit):
        executor.start(ask).result()
    clock.tick(2)
    with pytest.raises(errors.NonZeroExit, match=r"\(cached [0-9] s ago\)"):
        executor.start(ask).result()
    assert len(host.started) == 1
    clock.tick(4)
    assert run(executor, ask).cached is None
    assert run(executor, plan("curl", 3600, target=host.target)).cached is None, "who keeps no failures gets none"


def test_output_in_which_a_secret_was_masked_is_not_kept_and_says_so(executor):
    executor.redactor.register("TOKEN", "s3cret-value")
    result = run(executor, plan("printf 's3cr%s' et-value"))
    assert result.stdout == "[secret TOKEN]"
    assert result.notes == ("not cached: a secret was masked in its output",)
    assert executor.cache.entries() == []


def test_a_result_that_holds_what_has_become_a_secret_is_not_given_and_forgotten(executor):
    ask = plan("printf 's3cr%s' et-value", persist=True)
    run(executor, ask)
    executor.cache.disk.flush()
    executor.redactor.register("TOKEN", "s3cret-value")
    again = run(executor, ask)
    assert (again.cached, again.stdout) == (None, "[secret TOKEN]")
    executor.cache.disk.flush()
    assert executor.cache.entries() == []
    assert b"s3cret-value" not in b"".join(
        path.read_bytes() for path in executor.cache.disk.directory.glob("outputs/*") if path.is_file()
    )


def test_a_secret_between_whose_parts_the_other_stream_prints_is_found(executor, host):
    parts = [said for part in ("s3cr", "et-v", "alue") for said in (Say(part), Say("|", "stderr"))]
    host.on("both", *parts, Exit(0))
    ask = plan("both", target=host.target)
    assert run(executor, ask).stdout == "s3cret-value"
    executor.redactor.register("TOKEN", "s3cret-value")
    again = run(executor, ask)
    assert (again.cached, again.stdout) == (None, "[secret TOKEN]")


@pytest.mark.parametrize(("script", "said"), [("slow", "sesame-oil\n"), ("slow sesame-oil", "begun\n")])
def test_what_becomes_a_secret_while_its_command_runs_is_not_kept(executor, host, script, said):
    host.on("slow.*", Say(said), Wait(0.3), Exit(0))
    begun = executor.start(plan(script, persist=True, key="under a name", target=host.target), check=False)
    deadline = time.monotonic() + 10
    while not begun.log.size():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    executor.redactor.register("WORD", "sesame-oil")
    assert begun.wait(20).ok
    assert executor.cache.entries() == []


def test_more_output_than_the_cache_takes_is_said(executor):
    result = run(executor, plan("head -c 9000000 /dev/zero"))
    assert "not cached: 8.58 MiB of output are more than the cache takes for one command (8.00 MiB)" in result.notes


# -- conditions ---------------------------------------------------------------------------------


def test_a_condition_decides_what_is_kept(executor, host):
    for word in ("wait", "ready", "later"):
        host.on("status", Say(word), Exit(0))
    ask = plan("status", target=host.target, when=Condition("'ready' in stdout"))
    assert [str(run(executor, ask)) for _ in range(4)] == ["wait", "ready", "ready", "ready"]
    assert executor.cache.stats.refused == 1


async def never(result):
    return False


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        (Condition("1 / len(stdout)"), "ZeroDivisionError: division by zero"),
        (never, "TypeError: it is asynchronous, and nobody awaits it; write it with def"),
    ],
)
def test_a_condition_that_raises_keeps_nothing_and_says_so(executor, condition, problem):
    result = run(executor, plan("true", when=condition))
    assert result.ok
    assert result.notes == (f"not cached: its condition raised {problem}",)
    assert executor.cache.entries() == []


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), StopIteration(), GeneratorExit()], ids=repr)
def test_a_condition_that_wants_to_leave_keeps_nothing_and_the_run_ends(executor, error):
    def leave(result):
        raise error

    result = run(executor, plan("true", when=leave))
    assert result.ok
    assert result.notes == (f"not cached: its condition raised {type(error).__name__}: {error}",)


def test_a_condition_runs_off_the_loop_and_may_run_commands_itself(executor):
    threads = []

    def ask_another(result):
        threads.append(threading.current_thread().name)
        return str(executor.start(Plan(Command("echo yes"))).result()) == "yes"

    ask = plan("echo first", when=ask_another)
    run(executor, ask)
    assert run(executor, ask).cached is not None
    assert threads == ["xec-aside"]


def test_a_condition_that_never_answers_can_be_stopped_and_the_result_stays(executor):
    release = threading.Event()
    waiting = executor.start(plan("echo done", when=lambda result: release.wait(60)), check=False)
    while waiting.state != "running" or not waiting.log.size():
        time.sleep(0.01)
    time.sleep(0.1)
    waiting.cancel()
    try:
        result = waiting.wait(10)
        assert (result.ok, str(result)) == (True, "done")
        assert "not cached: its condition had not answered when the run was stopped" in result.notes
    finally:
        release.set()


def test_a_key_function_that_raises_lets_nothing_run(executor, tmp_path):
    def broken(command):
        raise KeyError("no key today")

    with pytest.raises(errors.OptionError, match=r"broken\(\) raised KeyError: 'no key today'; nothing has run"):
        executor.start(plan(f"touch {tmp_path}/ran", key=broken))
    assert not (tmp_path / "ran").exists()


# -- files --------------------------------------------------------------------------------------


def test_a_changed_file_makes_a_result_void(executor, tmp_path):
    path = tmp_path / "input"
    path.write_text("one")
    ask = plan(f"cat {path}", depends=str(path))
    assert [str(run(executor, ask)) for _ in range(2)] == ["one", "one"]
    path.write_text("two")
    assert str(run(executor, ask)) == "two"
    path.write_text("one")
    back = run(executor, ask)
    assert (str(back), back.cached is not None) == ("one", True), "what a file holds counts, not when it was written"


def test_a_file_that_changes_while_the_command_runs_lets_nothing_be_kept(executor, tmp_path):
    path = tmp_path / "input"
    path.write_text("one")
    result = run(executor, plan(f"cat {path}; echo two > {path}", depends=str(path)))
    assert result.notes == ("not cached: a file that it depends on has changed while it ran",)
    assert executor.cache.entries() == []


# -- stale --------------------------------------------------------------------------------------


def test_a_stale_result_is_given_at_once_and_renewed_behind_once(executor, host, clock):
    host.on("date", Say("one"), Exit(0))
    host.on("date", Wait(0.2), Say("two"), Exit(0))
    ask = plan("date", 60, target=host.target, stale=600)
    run(executor, ask)
    clock.tick(100)
    answers = [run(executor, ask) for _ in range(20)]
    assert {str(answer) for answer in answers} == {"one"}
    assert answers[0].cached == pytest.approx(100, abs=5)
    until(lambda: len(host.started) == 2 and str(run(executor, ask)) == "two")
    assert len(host.started) == 2
    assert executor.cache.stats.stale >= 20
    clock.tick(700)
    assert run(executor, ask).cached is None


def test_a_refresh_behind_that_fails_leaves_the_old_result_and_is_not_tried_all_the_time(executor, host, clock):
    host.on("date", Say("one"), Exit(0))
    host.on("date", Exit(1))
    ask = plan("date", 60, target=host.target, stale=600)
    run(executor, ask)
    clock.tick(100)
    assert str(run(executor, ask)) == "one"
    until(lambda: len(host.started) == 2 and all(each.done() for each in executor.runs()))
    assert [str(run(executor, ask)) for _ in range(10)] == ["one"] * 10
    assert len(host.started) == 2
    clock.tick(2)
    run(executor, ask)
    until(lambda: len(host.started) == 3)


# -- bounds and threads ---------------------------------------------------------------------------


def test_memory_is_bounded_and_what_was_used_longest_ago_goes(executor, clock):
    executor.cache._memory = MemoryTier(clock.steady, limit_bytes=60_000)
    for number in range(3):
        run(executor, plan(f"head -c 15000 /dev/zero | tr '\\0' {number}"))
    assert run(executor, plan("head -c 15000 /dev/zero | tr '\\0' 0")).cached is not None
    run(executor, plan("head -c 15000 /dev/zero | tr '\\0' 3"))
    kept = [shown.command[-1] for shown in executor.cache.entries()]
    assert sorted(kept) == ["0", "2", "3"]
    assert executor.cache.memory.size <= 60_000
    assert executor.cache.stats.evictions == 1


def test_the_memory_tier_survives_many_threads(clock, executor, host):
    host.on("x", Say("out"))
    result = run(executor, plan("x", target=host.target))
    from xec_magic.engine.cachekey import Key
    from xec_magic.engine.memory import Entry

    tier = MemoryTier(clock.steady, limit_bytes=200_000)
    keys = [Key(number, b"%d" % number) for number in range(97)]
    failures = []

    def hammer(seed):
        try:
            for number in range(4000):
                key = keys[number * seed % 97]
                tier.put(Entry(key, result, clock.now(), 0.002, 0.0))
                found = tier.get(keys[(number + 1) * seed % 97])
                assert found is None or found.key.full == keys[(number + 1) * seed % 97].full
        except Exception as error:  # any of them is a failure of the tier
            failures.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=hammer, args=(seed,)) for seed in (3, 5, 7, 11)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    finally:
        sys.setswitchinterval(interval)
    assert failures == []
    len(tier)


@pytest.mark.parametrize("persist", [False, True], ids=["in memory", "on disk"])
def test_an_equal_digest_of_another_state_is_no_hit(executor, host, persist):
    from dataclasses import replace

    host.on(".*", Say("x"))
    first = executor.start(plan("one", target=host.target, persist=persist))
    first.result()
    if persist:
        executor.cache.disk.flush()
        executor.cache.memory.clear()
    other = executor.plan_run(plan("two", target=host.target, persist=persist))
    other.key = replace(other.key, digest=first.key.digest)
    assert executor.cache.find(other.key, other.plan) is None
    assert executor.cache.find(first.key, first.plan) is not None


# -- numbers and forgetting -----------------------------------------------------------------------


def test_the_numbers_are_true(executor, host):
    host.on("slow", Wait(0.05), Say("x"), Exit(0))
    host.on("bad", Exit(1))
    for _ in range(3):
        run(executor, plan("slow", target=host.target))
    run(executor, plan("bad", target=host.target))
    stats = executor.cache.stats
    assert (stats.hits, stats.misses, stats.stores, stats.refused, stats.shared, stats.stale) == (2, 2, 1, 1, 0, 0)
    assert stats.saved_s >= 0.1
    (shown,) = executor.cache.entries()
    assert (shown.command, shown.target, shown.hits, shown.tier) == ("slow", "db1", 2, "memory")


def test_forgetting_goes_by_the_text_of_the_command(executor, host):
    host.on(".*", Say("x"))
    for script in ("git status", "git log\nwc -l", "df"):
        run(executor, plan(script, target=host.target))
    assert executor.cache.forget(matcher("nothing*")) == 0
    assert executor.cache.forget(matcher("git *")) == 2
    assert [shown.command for shown in executor.cache.entries()] == ["df"]
    assert run(executor, plan("git status", target=host.target)).cached is None
    assert executor.cache.clear() == 2
    assert executor.cache.clear() == 0


def test_retries_are_kept_by_their_last_attempt(executor, host):
    host.on("flaky", Exit(75))
    host.on("flaky", Say("fine"), Exit(0))
    retry = {"retry": RetryPolicy(retries=1, codes=frozenset({75}), backoff_s=0.01)}
    assert len(run(executor, plan("flaky", target=host.target, more=retry)).attempts) == 1
    again = run(executor, plan("flaky", target=host.target, more=retry))
    assert (str(again), again.cached is not None) == ("fine", True)
