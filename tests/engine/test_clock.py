"""What `Clock` promises: an age that no setting of the wall clock, no sleep and no boot makes too small."""

import math

import pytest

from xec_magic.engine.clock import Clock, Moment


class Hands(Clock):
    """A clock whose hands the test moves."""

    def __init__(self):
        super().__init__()
        self.boot = "this boot"
        self.at, self.since = 1_000_000.0, 500.0

    def wall(self):
        return self.at

    def steady(self):
        return self.since

    def tick(self, seconds):
        self.at += seconds
        self.since += seconds


@pytest.fixture
def clock():
    return Hands()


def test_age_is_the_time_that_has_passed(clock):
    then = clock.now()
    clock.tick(30)
    assert clock.age(then) == 30


def test_a_clock_that_is_set_back_makes_nothing_younger(clock):
    then = clock.now()
    clock.tick(30)
    clock.at -= 3600
    assert clock.age(then) == 30


def test_a_clock_that_is_set_forward_makes_things_older_and_never_younger(clock):
    then = clock.now()
    clock.tick(30)
    clock.at += 3600
    assert clock.age(then) == 3630


def test_what_comes_from_an_earlier_boot_has_the_age_of_the_wall_clock(clock):
    assert clock.age(Moment(clock.at - 90, 123_456.0, "an earlier boot")) == 90


def test_what_comes_from_the_future_of_another_boot_is_infinitely_old(clock):
    assert clock.age(Moment(clock.at + 3600, 1.0, "another boot")) == math.inf
    assert clock.age(Moment(clock.at + 0.5, 1.0, "another boot")) == 0.0, "a file server's clock may be a little ahead"


def test_a_real_clock_goes_on():
    clock = Clock()
    then = clock.now()
    assert 0 <= clock.age(then) < 60
    assert Clock().boot == clock.boot or not clock._id
