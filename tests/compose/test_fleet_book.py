"""Who begins when, and when no more begin: the decisions of a fleet, without any I/O."""

from __future__ import annotations

import random

import pytest

from xec_magic.compose.fleet_book import Ask, Begin, Finish, FleetBook, cut_waves
from xec_magic.errors import OptionError
from xec_magic.fleetpolicy import FleetPolicy, Share, read_share


def book(count=10, **policy):
    return FleetBook([f"h{number}" for number in range(count)], FleetPolicy(**policy))


def begun(actions):
    return [action.number for action in actions if isinstance(action, Begin)]


def end(one, *numbers, ok=True):
    for number in numbers:
        one.ended(number, ok=ok)
    return one.step()


def test_as_many_run_at_once_as_the_fanout_says_in_order():
    one = book(5, fanout=2)
    assert one.step() == [Begin(0), Begin(1)]
    assert one.step() == []
    assert end(one, 1) == [Begin(2)]
    assert end(one, 0, 2) == [Begin(3), Begin(4)]
    assert end(one, 3) == []
    assert end(one, 4) == [Finish()]
    assert one.step() == []


def test_one_failure_does_not_stop_the_others():
    one = book(3, fanout=1)
    one.step()
    assert end(one, 0, ok=False) == [Begin(1)]
    assert end(one, 1, ok=False) == [Begin(2)]
    assert end(one, 2) == [Finish()]
    assert (one.ok, one.failed, one.halted) == (1, [0, 1], "")


def test_the_canary_goes_alone_and_the_others_only_when_all_of_it_is_ok():
    one = book(6, canary=2)
    assert begun(one.step()) == [0, 1]
    assert end(one, 1) == []
    assert begun(end(one, 0)) == [2, 3, 4, 5]
    bad = book(6, canary=2, fanout=1)
    bad.step()
    assert end(bad, 0, ok=False) == [Finish()]
    assert bad.halted == "the canary h0 failed"


def test_a_canary_of_all_is_one_wave():
    one = book(2, canary=5)
    assert begun(one.step()) == [0, 1]
    assert end(one, 0, 1) == [Finish()]


def test_a_wave_begins_when_the_one_before_has_ended():
    one = book(5, wave=Share(2))
    assert begun(one.step()) == [0, 1]
    assert end(one, 0) == []
    assert begun(end(one, 1, ok=False)) == [2, 3]
    assert begun(end(one, 2, 3)) == [4]
    assert end(one, 4) == [Finish()]


@pytest.mark.parametrize(
    ("bound", "failures"),
    [(Share(0), 1), (Share(2), 3), (Share(20, percent=True), 3), (Share(100, percent=True), None)],
)
def test_when_too_many_have_failed_no_further_one_begins_and_those_that_run_go_on(bound, failures):
    one = book(10, fanout=2, max_fail=bound)
    one.step()
    for number in range(10):
        actions = end(one, number, ok=False)
        if one.halted:
            break
    assert len(one.failed) == (failures or 10)
    if failures is None:
        assert actions == [Finish()]
        return
    assert one.halted == f"{failures} failed, and --max-fail is {bound}"
    assert one.running == {failures}
    assert end(one, failures) == [Finish()]


def test_somebody_is_asked_before_each_wave_once():
    one = book(4, wave=Share(2), confirm=True)
    assert one.step() == [Ask(0)]
    assert one.step() == []
    one.allow()
    assert begun(one.step()) == [0, 1]
    assert end(one, 0) == []
    assert end(one, 1) == [Ask(1)]
    one.halt("you said no")
    assert one.step() == [Finish()]


def test_a_stop_before_anything_has_begun_finishes_at_once():
    one = book(4)
    one.halt("stopped")
    one.halt("again")
    assert one.step() == [Finish()]
    assert one.halted == "stopped"


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_each_runs_once_at_most_and_it_ends_once(seed):
    chance = random.Random(seed)
    count = chance.randrange(1, 60)
    one = book(
        count, fanout=chance.randrange(1, 9), canary=chance.randrange(4), confirm=chance.random() < 0.5,
        wave=chance.choice([None, Share(3), Share(30, percent=True)]), max_fail=chance.choice([None, Share(2)]),
    )  # fmt: skip
    seen, finished = [], 0
    actions = one.step()
    while True:
        seen += begun(actions)
        finished += Finish() in actions
        assert len(one.running) <= one.policy.fanout
        if any(isinstance(action, Ask) for action in actions):
            assert not one.running
            one.allow() if chance.random() < 0.8 else one.halt("no")
        elif one.running:
            one.ended(chance.choice(sorted(one.running)), ok=chance.random() < 0.8)
        else:
            break
        actions = one.step()
    assert finished == 1
    assert seen == [*range(len(seen))]
    assert one.ok + len(one.failed) == len(seen)
    assert len(seen) == count or one.halted


def test_waves_hold_every_target_once():
    for count in (1, 2, 7, 100):
        for policy in (
            FleetPolicy(),
            FleetPolicy(canary=3),
            FleetPolicy(wave=Share(1, percent=True)),
            FleetPolicy(canary=1, wave=Share(4)),
        ):
            assert [number for wave in cut_waves(count, policy) for number in wave] == [*range(count)]


@pytest.mark.parametrize("wrong", ["", "five", "-1", "1.5", "120%", "%", True, None, 2.5])
def test_a_wrong_share_is_refused(wrong):
    with pytest.raises(OptionError, match="no number of targets|100% are the most"):
        read_share(wrong)
