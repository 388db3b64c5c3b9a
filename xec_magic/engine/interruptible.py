"""`interruptible`: a wait in a thread, which the kernel's interrupt reaches, and which does something else now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from xec_magic.engine.portal import WAKE_S
from xec_magic.events import Cause

__all__ = ["interruptible"]

T = TypeVar("T")


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
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        try:
            pause = min(tick_s, WAKE_S)
            if deadline is not None:
                pause = max(0.0, min(pause, deadline - time.monotonic()))
            return future.result(pause), interrupts
        except TimeoutError:
            if not lives():
                continue
            if deadline is not None and not interrupts and time.monotonic() >= deadline:
                raise TimeoutError(f"{late} after {timeout:g} s") from None
        except KeyboardInterrupt:
            interrupts += 1
            stop(Cause.INTERRUPT, interrupts > 1)
            continue
        try:
            if on_tick is not None:
                on_tick()
        except KeyboardInterrupt:
            interrupts += 1
            stop(Cause.INTERRUPT, interrupts > 1)
        except BaseException:
            stop(Cause.CANCEL, False)
            raise
