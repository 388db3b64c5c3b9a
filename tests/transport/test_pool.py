"""The books of a host's connections: no loop, no clock, no connection."""

from __future__ import annotations

from xec_magic.errors import ConnectError
from xec_magic.transport.pool import Close, Drop, Fail, Give, Ledger, Open, PoolLimits, Prepare

DOWN = ConnectError("down")


def book(**limits):
    return Ledger(PoolLimits(**limits))


def ask(ledger, *tickets):
    for ticket in tickets:
        ledger.ask(ticket)


def opened(ledger, now=0.0):
    """A book with its first connection open."""
    ask(ledger, 1)
    assert ledger.step(now) == [Open(1)]
    ledger.opened(1, now)
    assert ledger.step(now) == [Give(1, 1)]
    return ledger


def test_the_first_command_opens_one_connection_however_many_wait():
    ledger = book(connections=4)
    ask(ledger, *range(100))
    assert ledger.step(0.0) == [Open(1)]
    assert ledger.step(0.1) == []


def test_a_connection_takes_as_many_commands_as_it_has_channels_and_further_ones_open():
    ledger = book(connections=3, channels=2)
    ask(ledger, *range(1, 10))
    ledger.step(0.0)
    ledger.opened(1, 0.0)
    assert ledger.step(0.0) == [Give(1, 1), Give(2, 1), Open(2), Open(3)]
    ledger.opened(2, 0.1)
    assert ledger.step(0.1) == [Give(3, 2), Give(4, 2)]
    assert list(ledger.waiting) == [5, 6, 7, 8, 9]


def test_who_came_first_is_served_first():
    ledger = opened(book(connections=1, channels=1))
    ask(ledger, 2, 3, 4)
    ledger.forget(3)
    given = []
    for _ in range(2):
        ledger.give_back(1, 1.0)
        given += ledger.step(1.0)
    assert given == [Give(2, 1), Give(4, 1)]


def test_a_refusal_lowers_the_limit_and_the_refused_one_comes_first():
    ledger = book(connections=1, channels=3)
    ask(ledger, 1, 2, 3, 4)
    ledger.step(0.0)
    ledger.opened(1, 0.0)
    ledger.step(0.0)
    ledger.refused(1, 3, DOWN, 0.0)
    assert ledger.links[1].limit == 2
    assert list(ledger.waiting) == [3, 4]
    assert ledger.step(0.0) == []
    ledger.give_back(1, 0.01)
    assert ledger.step(ledger.next_at(0.01)) == [Give(3, 1)]


def test_a_server_of_one_channel_is_learned_and_none_is_shown():
    ledger = opened(book(connections=1, channels=6))
    ask(ledger, 2, 3, 4, 5, 6)
    ledger.step(0.0)
    for ticket in (6, 5, 4, 3, 2):
        ledger.refused(1, ticket, DOWN, 0.0)
    assert ledger.links[1].limit == 1
    assert [action for action in ledger.step(99.0) if isinstance(action, Fail)] == []


def test_a_connection_that_gives_no_channel_at_all_fails_in_the_end():
    ledger = opened(book(connections=1))
    ledger.give_back(1, 0.0)
    ask(ledger, 2)
    now, failed = 0.0, []
    for _ in range(50):
        actions = ledger.step(now)
        failed += [action for action in actions if isinstance(action, Fail)]
        if failed:
            break
        if Prepare(1) in actions:
            ledger.ahead_refused(1, now)
        if Give(2, 1) in actions:
            ledger.refused(1, 2, DOWN, now)
        now = ledger.next_at(now) or now + 1
    assert failed == [Fail(2, DOWN)]
    assert all(link.busy == 0 for link in ledger.links.values())


def test_more_channels_are_tried_after_many_clean_commands_and_never_after_a_refusal():
    ledger = opened(book(connections=1, channels=6))
    for _ in range(400):
        ledger.links[1].busy += 1
        ledger.give_back(1, 0.0)
    assert ledger.links[1].limit == 8
    ledger.refused(1, 9, DOWN, 0.0)
    for _ in range(1000):
        ledger.links[1].busy += 1
        ledger.give_back(1, 0.0)
    assert ledger.links[1].limit == 7


def test_a_host_that_is_down_fails_all_who_wait_and_is_tried_again_later_each_time():
    ledger = book()
    ask(ledger, 1, 2)
    ledger.step(0.0)
    ledger.failed(1, DOWN, 1.0)
    assert ledger.step(1.0) == [Fail(1, DOWN), Fail(2, DOWN)]
    ask(ledger, 3)
    assert ledger.step(1.0) == []
    assert ledger.next_at(1.0) == 1.1
    assert ledger.step(1.1) == [Open(2)]
    ledger.failed(2, DOWN, 2.0)
    ledger.step(2.0)
    ask(ledger, 4)
    assert ledger.next_at(2.0) == 2.2
    ledger.step(2.2)
    ledger.opened(3, 3.0)
    ledger.step(3.0)
    ledger.lost(3)
    ask(ledger, 5)
    assert ledger.step(3.0) == [Open(4)]


def test_a_further_connection_that_fails_leaves_the_waiting_to_the_first():
    ledger = book(connections=2, channels=1)
    ask(ledger, 1, 2)
    ledger.step(0.0)
    ledger.opened(1, 0.0)
    assert ledger.step(0.0) == [Give(1, 1), Open(2)]
    ledger.failed(2, DOWN, 0.1)
    assert ledger.step(0.1) == []
    ledger.give_back(1, 0.1)
    assert Give(2, 1) in ledger.step(0.1)


def test_who_waits_is_told_of_a_host_that_is_down_also_while_an_old_command_holds_a_connection_that_serves_nobody_else():
    ledger = opened(book())
    ledger.retire()
    ask(ledger, 2)
    assert ledger.step(0.0) == [Open(2)]
    ledger.failed(2, DOWN, 1.0)
    assert ledger.step(1.0) == [Fail(2, DOWN)]
    ledger.give_back(1, 2.0)
    assert ledger.step(2.0) == [Close(1)]


def test_an_idle_extra_goes_soon_and_the_last_one_late():
    ledger = book(connections=2, channels=1, idle_s=60, last_idle_s=600)
    ask(ledger, 1, 2)
    ledger.step(0.0)
    ledger.opened(1, 0.0)
    ledger.step(0.0)
    ledger.opened(2, 0.0)
    ledger.step(0.0)
    ledger.give_back(2, 5.0)
    assert ledger.next_at(5.0) == 65.0
    assert ledger.step(64.0) == []
    assert ledger.step(65.0) == [Close(2)]
    ledger.give_back(1, 70.0)
    assert ledger.step(669.0) == []
    assert ledger.step(670.0) == [Close(1)]
    assert ledger.links == {}


def test_a_busy_connection_is_never_closed():
    ledger = opened(book(connections=1, channels=1, idle_s=1, last_idle_s=1, lifetime_s=10))
    assert ledger.step(1e6) == []
    ledger.drain()
    assert ledger.step(1e6) == []
    ledger.give_back(1, 1e6)
    assert ledger.step(1e6) == [Close(1)]


def test_an_old_connection_takes_no_further_command():
    ledger = opened(book(connections=2, channels=2, lifetime_s=10))
    ask(ledger, 2)
    assert ledger.step(10.0) == [Open(2)]
    ledger.opened(2, 10.0)
    assert ledger.step(10.0) == [Give(2, 2)]


def test_a_refusal_on_a_connection_that_is_lost_meanwhile_waits_for_another():
    ledger = opened(book())
    ledger.lost(1)
    ledger.refused(1, 1, DOWN, 0.0)
    assert list(ledger.waiting) == [1]
    assert ledger.step(0.0) == [Open(2)]


def test_drained_books_give_no_channel_to_a_connection_that_opens_late():
    ledger = book()
    ask(ledger, 1)
    ledger.step(0.0)
    ledger.forget(1)
    ledger.drain()
    ledger.opened(1, 1.0)
    assert ledger.step(1.0) == [Close(1)]


# -- channels opened ahead ----------------------------------------------------------------------------


def used_again(ledger, now=0.0):
    """A book whose connection has got its second command, and with it a channel ahead."""
    ledger.give_back(1, now)
    ask(ledger, 2)
    assert ledger.step(now) == [Give(2, 1), Prepare(1)]
    return ledger


def test_a_connection_that_is_used_again_gets_a_channel_ahead_and_the_next_command_has_it():
    ledger = used_again(opened(book()))
    assert ledger.step(0.1) == []
    ledger.give_back(1, 0.1)
    ask(ledger, 3)
    assert ledger.step(0.1) == [Give(3, 1, ahead=True), Prepare(1)]
    assert (ledger.links[1].busy, ledger.links[1].ahead) == (1, 1)


def test_a_channel_ahead_is_no_command_and_keeps_no_connection():
    ledger = used_again(opened(book(idle_s=10, last_idle_s=10)))
    ledger.give_back(1, 0.0)
    assert (ledger.links[1].busy, ledger.links[1].ahead) == (0, 1)
    assert ledger.step(10.0) == [Close(1)]


def test_nothing_is_opened_ahead_where_a_command_wants_the_place_or_there_is_none():
    ledger = opened(book(connections=1, channels=2))
    ask(ledger, 2, 3, 4)
    assert ledger.step(0.0) == [Give(2, 1)]
    for number in range(2):
        ledger.give_back(1, 0.1)
        assert ledger.step(0.1) == [Give(3 + number, 1)]
    ledger.give_back(1, 0.2)
    assert ledger.step(0.2) == [Prepare(1)]
    ask(ledger, 5)
    assert ledger.step(0.2) == [Give(5, 1, ahead=True)]


def test_an_unused_channel_ahead_is_closed_after_a_while_and_opened_by_the_next_command():
    ledger = used_again(opened(book()))
    ledger.give_back(1, 5.0)
    assert ledger.next_at(5.0) == 60.0
    assert ledger.step(59.9) == []
    assert ledger.step(60.0) == [Drop(1)]
    assert ledger.step(61.0) == []
    ask(ledger, 3)
    assert ledger.step(62.0) == [Give(3, 1), Prepare(1)]


def test_a_refused_channel_ahead_costs_nobody_his_turn_and_is_not_tried_again_soon():
    ledger = used_again(opened(book(connections=1, channels=2)))
    ledger.ahead_refused(1, 0.0)
    assert (ledger.links[1].ahead, ledger.links[1].limit) == (0, 1)
    ledger.give_back(1, 0.1)
    ask(ledger, 3)
    assert ledger.step(0.1) == [Give(3, 1)]
    ledger.give_back(1, 0.2)
    assert ledger.step(0.9) == []
    assert ledger.step(1.0) == [Prepare(1)]
    ledger.ahead_refused(1, 1.0)
    assert ledger.step(2.9) == []
    assert ledger.step(3.0) == [Prepare(1)]


def test_beside_a_shell_that_waits_there_is_a_bare_channel_for_who_may_not_have_it():
    ledger = used_again(opened(book()))
    ledger.give_back(1, 0.1)
    ledger.shells_wait(1, 1)
    assert ledger.step(0.1) == [Prepare(1)]
    assert ledger.step(0.2) == []
    ask(ledger, 3)
    assert ledger.step(0.3) == [Give(3, 1, ahead=True)]  # the bare one is there for the next
    ask(ledger, 4)
    assert ledger.step(0.4) == [Give(4, 1, ahead=True), Prepare(1)]


def test_where_none_may_be_opened_ahead_there_is_none():
    ledger = opened(book())
    ledger.give_back(1, 0.0)
    ask(ledger, 2)
    assert ledger.step(0.0, prepare=False) == [Give(2, 1)]
    assert ledger.step(0.1) == [Prepare(1)]


def test_a_channel_ahead_that_has_gone_is_replaced():
    ledger = used_again(opened(book()))
    ledger.ahead_gone(1)
    assert ledger.step(0.1) == [Prepare(1)]


def test_a_connection_with_a_channel_ahead_is_taken_before_one_without():
    ledger = book(connections=2, channels=1, idle_s=None)
    ask(ledger, 1, 2)
    ledger.step(0.0)
    ledger.opened(1, 0.0)
    ledger.step(0.0)
    ledger.opened(2, 0.0)
    ledger.step(0.0)
    ledger.give_back(2, 0.0)
    ask(ledger, 3)
    assert ledger.step(0.0) == [Give(3, 2)]
    ledger.give_back(1, 0.0)
    ledger.give_back(2, 0.0)
    assert ledger.step(0.1) == [Prepare(2)]
    ask(ledger, 4)
    assert ledger.step(0.1) == [Give(4, 2, ahead=True)]
