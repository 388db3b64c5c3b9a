"""What single-flight promises: equal runs that are alive at once share one execution, whoever of them goes away."""

import contextlib
import os
import sys
import threading

import pytest
from helpers.interrupts import interrupt_when
from helpers.waiting import until

sys.path.insert(0, os.path.dirname(__file__))
from cacheparts import plan

from xec_magic import errors
from xec_magic.engine.executor import Executor
from xec_magic.events import Exited, Output
from xec_magic.outcome import Outcome
from xec_magic.plan import StopPolicy
from xec_magic.transport.fake import Exit, FakeHost, Say, Wait


@pytest.fixture
def executor():
    with Executor() as made:
        yield made


@pytest.fixture
def host():
    return FakeHost("db1")


def follower_of(executor, what):
    """A run that waits for an equal one."""
    made = executor.start(what, check=False)
    until(lambda: made.state == "waiting for an equal run")
    return made


@contextlib.contextmanager
def held(executor):
    """The loop does nothing meanwhile."""
    go, stands = threading.Event(), threading.Event()
    executor.post(lambda: (stands.set(), go.wait(20)))
    assert stands.wait(20)
    try:
        yield
    finally:
        go.set()


def test_a_thousand_equal_asks_are_one_execution(executor, host):
    host.on("slow", Say("begun\n"), Wait(0.3), Say("ended\n"), Exit(0))
    runs = [executor.start(plan("slow", target=host.target)) for _ in range(1000)]
    assert {str(run.result(30)) for run in runs} == {"begun\nended"}
    assert host.started == ["slow"]
    stats = executor.cache.stats
    assert (stats.misses, stats.shared + stats.hits, stats.stores) == (1, 999, 1)


def test_equal_asks_of_many_threads_are_one_execution(executor, host):
    host.on("slow", Wait(0.1), Say("x"), Exit(0))
    go, answers = threading.Barrier(20), []

    def ask():
        go.wait(10)
        answers.extend(str(executor.start(plan("slow", target=host.target)).result(30)) for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    [thread.start() for thread in threads]
    [thread.join(60) for thread in threads]
    assert answers == ["x"] * 400
    assert host.started == ["slow"]


def test_runs_without_a_cache_share_nothing(executor, host):
    from dataclasses import replace

    host.on("slow", Wait(0.05), Say("x"), Exit(0))
    bare = replace(plan("slow", target=host.target), cache=None)
    [run.result(30) for run in [executor.start(bare) for _ in range(3)]]
    assert len(host.started) == 3


def test_a_failure_goes_to_all_who_wait_and_is_not_kept(executor, host):
    host.on("slow", Wait(0.1), Say("no\n", "stderr"), Exit(3))
    runs = [executor.start(plan("slow", target=host.target)) for _ in range(10)]
    for run in runs:
        with pytest.raises(errors.NonZeroExit) as caught:
            run.result(30)
        assert (caught.value.exit_code, caught.value.stderr) == (3, "no\n")
    assert host.started == ["slow"]
    assert executor.cache.entries() == []


def test_who_waits_judges_the_exit_code_by_its_own_list(executor, host):
    host.on("grep", Wait(0.3), Exit(1))
    leader = executor.start(plan("grep", target=host.target), check=False)
    accepting = follower_of(executor, plan("grep", target=host.target, more={"ok_codes": frozenset({0, 1})}))
    assert [run.wait(20).outcome for run in (leader, accepting)] == [Outcome.FAILED, Outcome.OK]
    assert accepting.result().cached is None


def test_a_time_limit_is_no_success_for_who_waits_whatever_the_exit_code(executor):
    script, limit = "trap 'exit 3' INT; sleep 30 & wait", {"stop": StopPolicy(timeout_s=0.5)}
    leader = executor.start(plan(script, more=limit), check=False)
    accepting = follower_of(executor, plan(script, more=limit | {"ok_codes": frozenset({0, 3})}))
    ends = [(run.wait(20).outcome, run.wait().exit_code) for run in (leader, accepting)]
    assert ends == [(Outcome.TIMED_OUT, 3)] * 2


def test_a_follower_sees_what_the_leader_prints_while_it_prints(executor, host):
    host.on("slow", Say("one\n"), Wait(0.4), Say("two\n"), Wait(0.2), Exit(0))
    leader = executor.start(plan("slow", target=host.target))
    until(lambda: leader.log.size())
    follower = follower_of(executor, plan("slow", target=host.target))
    seen = []
    follower.subscribe(seen.append)
    assert follower.log is leader.log
    assert str(follower.result(30)) == "one\ntwo"
    assert [event.data for event in seen if isinstance(event, Output)] == [b"two\n"]
    assert [event.run_id for event in seen] == [follower.run_id] * len(seen)
    assert any(isinstance(event, Exited) for event in seen)
    assert follower.result().notes == ("got the result of an equal run that was alive",)
    assert leader.result().notes == ()


def test_a_reader_of_a_follower_gets_the_whole_output_once(executor, host):
    host.on("slow", Say("one\n"), Wait(0.3), Say("two\n"), Exit(0))
    leader = executor.start(plan("slow", target=host.target))
    until(lambda: leader.log.size())
    follower = follower_of(executor, plan("slow", target=host.target))
    assert list(follower.lines()) == ["one", "two"]


def test_a_cancelled_leader_hands_over_to_the_next(executor, host):
    host.on("slow", Say("first\n"), Wait(30))
    host.on("slow", Say("second\n"), Wait(0.2), Exit(0))
    leader = executor.start(plan("slow", target=host.target), check=False)
    until(lambda: leader.log.size())
    followers = [follower_of(executor, plan("slow", target=host.target)) for _ in range(5)]
    leader.cancel()
    assert leader.wait(20).outcome is Outcome.CANCELLED
    assert [str(run.wait(20)) for run in followers] == ["second"] * 5
    assert host.started == ["slow"] * 2
    assert executor.start(plan("slow", target=host.target)).result().cached is not None


def test_a_reader_of_a_follower_gets_no_output_of_a_leader_that_was_cancelled(executor, host):
    host.on("slow", Say("first\n"), Wait(30))
    host.on("slow", Say("second\n"), Exit(0))
    leader = executor.start(plan("slow", target=host.target), check=False)
    until(lambda: leader.log.size())
    follower = follower_of(executor, plan("slow", target=host.target))
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(follower.lines()))
    reader.start()
    until(lambda: follower.has_consumers)
    leader.cancel()
    reader.join(20)
    assert lines == ["second"]


def test_all_leaders_cancelled_one_after_the_other_still_serve_the_last(executor, host):
    host.on("slow", Wait(30))
    host.on("slow", Wait(30))
    host.on("slow", Say("third"), Exit(0))
    what = plan("slow", target=host.target)
    first = executor.start(what, check=False)
    until(lambda: first.state == "running")
    second, third = follower_of(executor, what), follower_of(executor, what)
    first.cancel()
    until(lambda: second.state == "running")
    second.cancel()
    assert str(third.wait(20)) == "third"
    assert [each.wait(5).outcome for each in (first, second)] == [Outcome.CANCELLED] * 2


def test_a_cancelled_follower_ends_alone(executor, host):
    host.on("slow", Wait(0.5), Say("x"), Exit(0))
    leader = executor.start(plan("slow", target=host.target))
    follower = follower_of(executor, plan("slow", target=host.target))
    other = follower_of(executor, plan("slow", target=host.target))
    follower.cancel()
    assert follower.wait(5).outcome is Outcome.CANCELLED
    assert not leader.done()
    assert str(leader.result(20)) == str(other.result(20)) == "x"


def test_an_interrupt_ends_the_follower_that_waits_and_nobody_else(executor, host):
    host.on("slow", Wait(1.0), Say("x"), Exit(0))
    leader = executor.start(plan("slow", target=host.target))
    follower = follower_of(executor, plan("slow", target=host.target))
    waiting = threading.Event()
    with pytest.raises(errors.RunInterrupted), interrupt_when(waiting.is_set):
        follower.wait(20, on_tick=waiting.set)
    assert not leader.done()
    assert str(leader.result(20)) == "x"


def test_a_leader_at_its_time_limit_shares_that_with_those_of_the_same_limit_only(executor, host):
    host.on("slow", Wait(0.3), Say("x"), Exit(0))
    short = {"stop": StopPolicy(timeout_s=0.15, grace_s=0.1)}
    hurried = [executor.start(plan("slow", target=host.target, more=short), check=False) for _ in range(3)]
    patient = executor.start(plan("slow", target=host.target))
    assert [run.wait(20).outcome for run in hurried] == [Outcome.TIMED_OUT] * 3
    assert str(patient.result(20)) == "x"
    assert len(host.started) == 2


def test_a_slow_reader_of_the_leader_does_not_hold_up_its_followers(executor):
    lots = plan("head -c 30000000 /dev/zero | tr '\\0' x", persist=True)
    leader = executor.start(lots, check=False)
    chunks = iter(leader.chunks())
    next(chunks)  # and no more: a channel of 8 MiB is full soon
    until(lambda: leader.full_channels)
    follower = executor.start(lots, check=False)
    assert follower.wait(30).log.size() == 30_000_000
    assert sum(map(len, chunks)) > 20_000_000


def test_refreshes_at_once_are_one_execution_and_join_no_earlier_one(executor, host):
    host.on("slow", Wait(0.4), Say("old"), Exit(0))
    host.on("slow", Wait(0.2), Say("new"), Exit(0))
    first = executor.start(plan("slow", target=host.target))
    until(lambda: first.state == "running")
    with held(executor):  # all ask before one of them begins
        renewed = [executor.start(plan("slow", target=host.target, refresh=True)) for _ in range(5)]
    assert {str(run.result(20)) for run in renewed} == {"new"}
    assert str(first.result(20)) == "old"
    assert len(host.started) == 2


def test_a_refresh_gets_nothing_that_began_before_it_was_asked_for(executor, host):
    host.on("slow", Wait(0.3), Say("old"), Exit(0))
    host.on("slow", Say("new"), Exit(0))
    what = plan("slow", target=host.target, refresh=True)
    first = executor.start(what)
    until(lambda: first.state == "running")
    with held(executor):
        later = [executor.start(what) for _ in range(5)]
    assert {str(run.result(20)) for run in later} == {"new"}
    assert str(first.result(20)) == "old"
    assert host.started == ["slow"] * 2
    assert all(run.result().notes in ((), ("got the result of an equal run that was alive",)) for run in later)
    assert str(executor.start(plan("slow", target=host.target)).result()) == "new"


def test_a_refresh_that_begins_after_an_earlier_one_has_ended_does_not_take_its_result(executor, host):
    host.on("slow", Wait(0.2), Say("old"), Exit(0))
    host.on("slow", Say("new"), Exit(0))
    what = plan("slow", target=host.target, refresh=True)
    first = executor.start(what)
    until(lambda: first.state == "running")
    second = executor.plan_run(what)  # asked for now, while the first one runs
    assert str(first.result(20)) == "old"
    executor.begin(second)
    assert str(second.result(20)) == "new"


def test_what_began_before_a_refresh_and_ends_after_it_is_not_kept_in_its_place(executor, host):
    host.on("slow", Wait(0.6), Say("old"), Exit(0))
    host.on("slow", Say("new"), Exit(0))
    first = executor.start(plan("slow", target=host.target))
    until(lambda: first.state == "running")
    assert str(executor.start(plan("slow", target=host.target, refresh=True)).result(20)) == "new"
    assert not first.done()
    assert str(first.result(20)) == "old"
    assert str(executor.start(plan("slow", target=host.target)).result(20)) == "new"


def test_a_refresh_that_waits_can_be_stopped_and_outlives_a_leader_that_is(executor, host):
    host.on("slow", Wait(30))
    host.on("slow", Say("new"), Exit(0))
    what = plan("slow", target=host.target, refresh=True)
    first = executor.start(what, check=False)
    until(lambda: first.state == "running")
    second, third = follower_of(executor, what), follower_of(executor, what)
    second.cancel()
    assert second.wait(10).outcome is Outcome.CANCELLED
    assert not first.done()
    first.cancel()
    assert str(third.wait(20)) == "new"


def test_a_renewal_behind_a_stale_result_is_joined_by_the_next_and_not_by_a_refresh(executor, host):
    host.on("slow", Say("first"), Exit(0))
    host.on("slow", Wait(0.5), Say("second"), Exit(0))
    host.on("slow", Say("third"), Exit(0))
    what = plan("slow", ttl=0.05, stale=60, target=host.target)
    assert str(executor.start(what).result(20)) == "first"
    (entry,) = executor.cache.memory.entries()
    until(lambda: executor.cache.clock.age(entry.stored) > 0.1)
    assert str(executor.start(what).result(20)) == "first"  # stale, and a new one is made behind
    behind = executor.runs()[-1]
    until(lambda: behind.state == "running")
    entry.refresh_at = 0.0  # as if it had taken longer than expected
    assert str(executor.start(what).result(20)) == "first"
    joined = executor.runs()[-1]
    asked = executor.start(plan("slow", ttl=0.05, stale=60, target=host.target, refresh=True))
    assert str(asked.result(20)) == "third"
    assert (str(behind.result(20)), str(joined.result(20))) == ("second", "second")
    assert len(host.started) == 3


def test_who_joins_has_the_result_kept_as_it_asks(executor, host):
    executor.cache.disk.totals()  # opens it: that may take longer than the leader
    host.on("slow", Wait(0.3), Say("x"), Exit(0))
    leader = executor.start(plan("slow", ttl=1, target=host.target))
    until(lambda: leader.state == "running")
    longer = follower_of(executor, plan("slow", ttl=3600, target=host.target))
    persistent = follower_of(executor, plan("slow", ttl=60, persist=True, target=host.target))
    assert str(longer.result(20)) == str(persistent.result(20)) == "x"
    (shown,) = executor.cache.entries()
    assert (shown.tier, shown.entry.ttl_s) == ("memory, disk", 3600)
    assert leader.result().plan.cache.persist is False
    later = Executor()
    try:
        assert later.start(plan("slow", ttl=60, persist=True, target=host.target)).result(20).cached is not None
    finally:
        later.close(0.2)


def test_a_failure_is_kept_for_those_who_want_that_and_nobody_else(executor, host):
    host.on("slow", Wait(0.3), Exit(3))
    host.on("slow", Say("x"), Exit(0))
    leader = executor.start(plan("slow", target=host.target), check=False)
    until(lambda: leader.state == "running")
    patient = plan("slow", failures=60, target=host.target)
    assert follower_of(executor, patient).wait(20).exit_code == leader.wait(20).exit_code == 3
    assert executor.start(patient, check=False).wait(20).cached is not None
    assert executor.start(plan("slow", target=host.target)).result(20).cached is None


def test_closing_the_executor_ends_leader_and_followers(host):
    host.on("slow", Wait(60))
    executor = Executor()
    what = plan("slow", target=host.target)
    runs = [executor.start(what, check=False) for _ in range(3)]
    until(lambda: runs[-1].state == "waiting for an equal run")
    executor.close(0.2)
    assert [run.wait(1).outcome for run in runs] == [Outcome.CANCELLED] * 3
    assert host.started == ["slow"]


def test_a_run_that_was_cancelled_before_it_began_joins_nobody(executor, host):
    host.on("slow", Wait(0.3), Say("x"), Exit(0))
    leader = executor.start(plan("slow", target=host.target))
    until(lambda: leader.state == "running")
    other = executor.plan_run(plan("slow", target=host.target), check=False)
    other.cancel()
    assert other.wait(10).outcome is Outcome.CANCELLED
    assert str(leader.result(20)) == "x"


def test_an_awaited_follower_that_is_cancelled_leaves_the_leader_alone(executor, host):
    import asyncio

    host.on("slow", Wait(0.5), Say("x"), Exit(0))
    leader = executor.start(plan("slow", target=host.target))
    follower = follower_of(executor, plan("slow", target=host.target))

    async def ask():
        task = asyncio.ensure_future(_await(follower))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(ask())
    assert follower.wait(5).outcome is Outcome.CANCELLED
    assert str(leader.result(20)) == "x"


async def _await(run):
    return await run
