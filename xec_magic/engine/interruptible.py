"""`interruptible`: a wait in a thread, which the kernel's interrupt reaches, and which does something else now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from xec_magic.engine.portal import WAKE_S
from xec_magic.events import Cause

__all__ = ["ending_of", "interruptible"]

T = TypeVar("T")


def ending_of(future: Future[Any]) -> Callable[[float], bool]:
    """What waits at most so many seconds, and says whether a future is done.

    `Future.result` says by a TimeoutError that it is not, and in the midst of a wait a signal handler of the user's (an alarm, the
    limit of a test) may raise one as well.
    """
    lock = threading.Lock()
    lock.acquire()
    future.add_done_callback(lambda _: lock.release())
    return lambda seconds: future.done() or lock.acquire(timeout=seconds)


def interruptible(
    future: Future[T], stop: Callable[[Cause, bool], None], lives: Callable[[], bool], *, timeout: float | None, late: str,
    on_tick: Callable[[], None] | None, tick_s: float, interrupts: int = 0,
) -> tuple[T, int]:  # fmt: skip
    """What comes of something, and how often the wait for it was interrupted.

    Args:
        future: Gets what comes of it.
        stop: Asks for its end: of an interrupt, after the first one at once, or since `on_tick` has failed.
        lives: It can still end; where it cannot, this has ended it.
        timeout: Seconds to wait; None for as long as it takes. Once it was interrupted there is no bound any more.
        late: What to say when it is not over by then.
        on_tick: Called every `tick_s` seconds.
        tick_s: Seconds between two of these calls.
        interrupts: So often it was interrupted before.

    Raises:
        TimeoutError: not over after `timeout` seconds; it goes on.
        BaseException: whatever `on_tick`, or a signal handler of the user's, has raised; its end has been asked for.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    over = ending_of(future)
    while not future.done():
        try:
            pause = min(tick_s, WAKE_S)
            if deadline is not None:
                pause = max(0.0, min(pause, deadline - time.monotonic()))
            if over(pause) or not lives():
                continue
            if deadline is not None and not interrupts and time.monotonic() >= deadline:
                break
            if on_tick is not None:
                on_tick()
        except KeyboardInterrupt:
            interrupts += 1
            stop(Cause.INTERRUPT, interrupts > 1)
        except BaseException:
            stop(Cause.CANCEL, False)
            raise
    if not future.done():
        raise TimeoutError(f"{late} after {timeout:g} s")
    return future.result(), interrupts
