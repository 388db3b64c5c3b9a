"""The loop's own thread, as those outside see it."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from xec_magic.engine.portal import Helpers, Portal


def test_tasks_that_are_left_go_through_their_clean_up(caplog):
    portal = Portal()
    begun, cleaned = threading.Event(), []

    async def left():
        try:
            begun.set()
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    portal.submit(left())
    assert begun.wait(10)
    portal.close()
    assert cleaned == [True]
    assert not portal.is_open
    assert not caplog.records  # asyncio logs "Task was destroyed but it is pending!"


def test_a_forked_copy_is_not_open_and_the_next_thread_is_not_taken_for_the_loops():
    portal = Portal()
    inside = []

    async def look():
        inside.append(portal.inside)

    portal.call(look(), timeout_s=10)
    assert inside == [True]
    assert portal.is_open
    assert not portal.inside
    pid = os.fork()
    if not pid:
        os._exit(portal.is_open)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    portal.close()
    for _ in range(20):  # the system gives them the number of the one that has ended
        thread = threading.Thread(target=lambda: inside.append(portal.inside))
        thread.start()
        thread.join()
    assert inside == [True] + 20 * [False]


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), KeyboardInterrupt(), StopIteration()], ids=repr)
def test_who_waits_for_work_done_aside_gets_what_it_raises(error):
    portal, helpers = Portal(), Helpers(1, "test-helpers")

    def fail():
        raise error

    async def ask():
        with pytest.raises((ValueError, RuntimeError), match="x|was raised"):
            await portal.aside(fail)
        return await portal.aside(lambda: "well")

    try:
        assert portal.call(ask(), timeout_s=10) == "well"
        assert helpers.submit(fail).exception(10) is error
        assert helpers.submit(lambda: "well").result(10) == "well"
    finally:
        helpers.close()
        portal.close()


def test_a_task_that_will_not_end_does_not_hold_up_the_end(monkeypatch):
    monkeypatch.setattr("xec_magic.engine.portal.LAST_CHANCE_S", 0.01)
    portal = Portal()
    begun = threading.Event()

    async def stubborn():
        asyncio.current_task()._log_destroy_pending = False  # it will be, here
        begun.set()
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass

    portal.submit(stubborn())
    assert begun.wait(10)
    portal.close()
    assert not portal.is_open


def test_what_a_helper_was_given_is_done_also_when_nobody_waits_for_it_any_more():
    helpers, held, done = Helpers(1, "xec-test"), threading.Event(), []
    first = helpers.submit(held.wait, 10)
    given_up = helpers.submit(done.append, 1)
    assert given_up.cancel()
    last = helpers.submit(done.append, 2)
    held.set()
    assert first.result(10)
    last.result(10)
    helpers.close()
    assert done == [1, 2]
