"""Which shells are started ahead and which end: decisions on values, without a clock."""

from xec_magic.transport.warmpool import AGE_S, DEMAND_S, Demand, Idle, Step, step


def decide(demands, idle=(), *, starting=(), bound=4, now=10.0):
    return step(demands, list(idle), starting=list(starting), bound=bound, now=now)


def test_nothing_is_kept_for_nobody():
    assert decide([]) == Step()


def test_a_command_that_was_run_gets_two_spares():
    assert decide([Demand(1, 9.0)]).start == (1, 1)


def test_what_is_there_or_on_its_way_is_not_started_again():
    assert decide([Demand(1, 9.0)], [Idle(7, 1, 9.0)]).start == (1,)
    assert decide([Demand(1, 9.0)], [Idle(7, 1, 9.0)], starting=[1]).start == ()


def test_the_most_recent_come_first_when_there_is_no_room_for_all():
    done = decide([Demand(1, 1.0), Demand(2, 3.0), Demand(3, 2.0)], bound=3)
    assert done.start == (2, 2, 3)


def test_spares_of_a_kind_for_which_there_is_no_room_any_more_end():
    done = decide([Demand(1, 1.0), Demand(2, 3.0)], [Idle(7, 1, 1.0), Idle(8, 2, 1.0), Idle(9, 2, 2.0)], bound=2)
    assert (done.end, done.start) == ((7,), ())


def test_a_demand_that_is_old_is_forgotten_and_its_spares_end():
    done = decide([Demand(1, 0.0)], [Idle(7, 1, 0.0)], now=DEMAND_S + 1)
    assert (done.end, done.start, done.forget, done.next_at) == ((7,), (), (1,), None)


def test_it_says_when_to_look_again():
    assert decide([Demand(1, 9.0), Demand(2, 8.0)]).next_at == 8.0 + DEMAND_S


def test_what_is_reserved_is_kept_whatever_the_time_and_beyond_the_bound():
    done = decide([Demand(1, 0.0, reserved=5), Demand(2, 1e6)], bound=4, now=1e6)
    assert done.start == (1,) * 5
    assert done.forget == ()


def test_a_spare_that_is_too_old_is_renewed():
    now = AGE_S + 10
    done = decide([Demand(1, 0.0, reserved=1)], [Idle(7, 1, 0.0)], now=now)
    assert (done.end, done.start) == ((7,), (1,))
    assert decide([Demand(1, 0.0, reserved=1)], [Idle(7, 1, now - 1)], now=now).end == ()


def test_the_youngest_are_kept_when_there_are_too_many():
    done = decide([Demand(1, 9.0)], [Idle(7, 1, 1.0), Idle(8, 1, 3.0), Idle(9, 1, 2.0)])
    assert done.end == (7,)


def test_a_spare_of_no_known_kind_ends():
    assert decide([Demand(1, 9.0)], [Idle(7, 5, 9.0)]).end == (7,)
