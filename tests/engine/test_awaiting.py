"""Awaiting: an interrupt that the loop makes a cancellation of is told as an interrupt."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal

import pytest
from helpers.waiting import until

import xec_magic as xec
from xec_magic.engine.awaiting import as_cancellation, listening
from xec_magic.engine.interruptible import ending_of


def interrupt_soon():
    """As a kernel's or the operating system's interrupt: by the signal, while the loop waits."""
    asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGINT)


@pytest.fixture
def ex():
    with xec.Executor() as executor:
        yield executor


def waits(ex):
    return {
        "a run": lambda: ex.start("echo begun; sleep 60"),
        "tasks": lambda: ex.tasks().add("long", "echo begun; sleep 60").start(),
        "a chain": lambda: ex.lazy().add("echo begun; sleep 60").start(),
    }


@pytest.mark.parametrize("what", ["a run", "tasks", "a chain"])
def test_an_interrupt_of_who_awaits_is_an_interrupt_with_the_result(ex, what):
    caught = []

    async def main():
        waiting = waits(ex)[what]()
        interrupt_soon()
        try:
            await waiting
        except xec.RunInterrupted as error:
            caught.append(error)
            raise

    with pytest.raises(KeyboardInterrupt):  # so says asyncio.run
        asyncio.run(main())
    assert caught[0].result.outcome.value == "interrupted"
    assert isinstance(caught[0], asyncio.CancelledError)  # or the loop, too, would end of it


def test_an_interrupt_of_who_reads_in_a_coroutine_is_an_interrupt_with_the_result(ex):
    caught = []

    async def main():
        try:
            async for _ in ex.start("echo begun; sleep 60", keep=True).lines():
                interrupt_soon()
        except xec.RunInterrupted as error:
            caught.append(error)
            raise

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert (caught[0].result.stdout, caught[0].result.outcome.value) == ("begun\n", "interrupted")


def test_a_second_interrupt_of_who_awaits_kills_and_the_handler_is_as_it_was(ex, cancelling_handler):
    async def main():
        run = ex.start("trap '' INT TERM; echo up; while :; do sleep 0.05; done", grace="1h")
        while not run.log.size():
            await asyncio.sleep(0.005)
        cancelling_handler.task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        loop.call_later(0.02, os.kill, os.getpid(), signal.SIGINT)
        loop.call_later(0.3, os.kill, os.getpid(), signal.SIGINT)
        with pytest.raises(xec.RunInterrupted) as caught:
            await run
        return caught.value.result.signal, signal.getsignal(signal.SIGINT) is cancelling_handler

    assert asyncio.run(main()) == (9, True)


class CancellingHandler:
    """As a notebook's kernel does: the first SIGINT cancels the cell's task, and the others do nothing."""

    task = None

    def __call__(self, *_):
        task, self.task = self.task, None
        if task is not None:
            task.get_loop().call_soon_threadsafe(task.cancel)


@pytest.fixture
def cancelling_handler():
    handler = CancellingHandler()
    before = signal.signal(signal.SIGINT, handler)
    yield handler
    signal.signal(signal.SIGINT, before)


def test_a_handler_that_others_set_meanwhile_stays(cancelling_handler):
    with listening() as outer:
        with listening() as inner:
            os.kill(os.getpid(), signal.SIGINT)
        assert (outer(), inner()) == (1, 1)
        other = CancellingHandler()
        signal.signal(signal.SIGINT, other)
    assert signal.getsignal(signal.SIGINT) is other


def test_a_cancellation_that_is_no_interrupt_is_none(ex):
    async def main():
        run = ex.start("sleep 60")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await run
        return run.snapshot().outcome.value

    assert asyncio.run(main()) == "cancelled"


def test_what_a_task_gets_travels_as_what_it_is(ex):
    result = ex.start("true").wait()
    error = pickle.loads(pickle.dumps(as_cancellation(xec.RunInterrupted("interrupted", result))))
    assert (type(error), error.result.ok) == (xec.RunInterrupted, True)
    assert isinstance(as_cancellation(KeyboardInterrupt()), asyncio.CancelledError)


# -- alarms of the user's -----------------------------------------------------------------------------


@pytest.fixture
def alarm():
    """A handler of the user's own, which raises what waits here raise themselves when their time is over."""

    def ring(*_):
        raise TimeoutError("the user's own alarm")

    before = signal.signal(signal.SIGALRM, ring)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("what", ["a run", "tasks", "a chain"])
def test_the_time_limit_of_the_users_own_alarm_ends_the_wait_and_the_command(ex, alarm, what):
    waiting = waits(ex)[what]()
    alarm(0.2)
    with pytest.raises(TimeoutError, match="the user's own alarm"):
        waiting.result()
    until(waiting.done)


def test_a_wait_for_a_future_says_by_its_value_whether_it_is_done(ex):
    run = ex.start("true")
    over = ending_of(run._future)
    assert over(30)
    assert over(0)
    assert not ending_of(ex.start("sleep 60")._future)(0.01)
