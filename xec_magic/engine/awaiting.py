"""`until_over`: a wait in any event loop, which the kernel's interrupt ends as an interrupt.

A loop that runs coroutines in the main thread, as a notebook's kernel and `asyncio.run` do, makes a cancellation of an interrupt:
its handler of SIGINT cancels the task. So who awaits hears that signal, too, before that handler does.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from xec_magic.engine.portal import WAKE_S
from xec_magic.events import Cause

__all__ = ["as_cancellation", "ended", "listening", "until_over"]


class _Ear:
    """A handler of SIGINT that counts, and then does what the handler before it does."""

    def __init__(self, before: Callable[[int, FrameType | None], Any]) -> None:
        self.before = before
        self.heard = 0
        self.users = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.heard += 1
        self.before(number, frame)

    def leave(self) -> None:
        """One user less. After the last one the handler before it is back, unless somebody has set another one since."""
        self.users -= 1
        before = self.before
        if not self.users and signal.getsignal(signal.SIGINT) is self:
            with contextlib.suppress(ValueError):  # a generator that was left lying about ends in any thread
                signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def listening() -> Iterator[Callable[[], int]]:
    """Gives what tells how many interrupts have come since, or shortly before; always 0 in threads that get none."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield lambda: 0
        return
    ear = handler if isinstance(handler, _Ear) else _Ear(handler)
    if ear is not handler:
        signal.signal(signal.SIGINT, ear)
    ear.users += 1
    before, told = ear.heard, _has_told(ear.before)
    try:
        yield lambda: ear.heard - before or int(not told and _has_told(ear.before))
    finally:
        ear.leave()


def _has_told(handler: object) -> bool:
    """A handler has told its loop of an interrupt, maybe before anybody listened here: while a cell computed, before it awaits.

    A notebook's kernel gives each cell a handler of its own, which tells by a future that it holds.
    """
    for cell in getattr(handler, "__closure__", None) or ():
        with contextlib.suppress(ValueError):  # an empty one
            told = cell.cell_contents
            if isinstance(told, asyncio.Future) and told.done() and not told.cancelled():
                return True
    return False


async def until_over(
    future: concurrent.futures.Future[Any], stop: Callable[[Cause, bool], None], begin: Callable[[], None] | None = None
) -> bool:
    """Wait until a future is done. Cancelling this asks for its end, and waits until that has come.

    Args:
        future: What is waited for.
        stop: Asks for its end: why, and whether at once.
        begin: Begins it, where it has not begun; interrupts are heard by then.

    Returns:
        An interrupt of the kernel has cancelled this, and it is over now.

    Raises:
        CancelledError: it was cancelled for another reason.
        KeyboardInterrupt: interrupted; its end was asked for, and may still come.
    """
    over = asyncio.wrap_future(future)
    with listening() as interrupts:
        try:
            if begin is not None:
                begin()
            while not over.done():
                # Wake now and then: an interrupt reaches a waiting loop only when it wakes.
                await asyncio.wait([over], timeout=WAKE_S)
        except asyncio.CancelledError:
            if not await ended(future, stop, interrupts):
                raise
            return True
        except KeyboardInterrupt:
            stop(Cause.INTERRUPT, False)
            raise
    return False


async def ended(
    future: concurrent.futures.Future[Any], stop: Callable[[Cause, bool], None], interrupts: Callable[[], int]
) -> bool:
    """Ask for the end of something whose wait was cancelled, and wait until that has come; another interrupt hurries it.

    Returns:
        It was cancelled for an interrupt.
    """
    came = interrupts()
    cause = Cause.INTERRUPT if came else Cause.CANCEL
    stop(cause, False)
    while not future.done():
        await asyncio.wait([asyncio.wrap_future(future)], timeout=WAKE_S)
        if interrupts() > came:
            stop(cause, True)
    return bool(came)


def as_cancellation(error: KeyboardInterrupt) -> KeyboardInterrupt:
    """An interrupt, in a task that was cancelled for it: asyncio takes it for the cancellation that it is.

    Any other KeyboardInterrupt in a task ends the loop, and with it the kernel.
    """
    kind = _cancelling(type(error))
    if type(error) is KeyboardInterrupt:
        return kind(*error.args)
    error.__class__ = kind
    return error


def _cancelling(kind: type[KeyboardInterrupt]) -> type[KeyboardInterrupt]:
    def reduce(self: BaseException) -> tuple[Any, ...]:
        return (kind, *kind.__reduce__(self)[1:])

    names = {"__module__": kind.__module__, "__doc__": kind.__doc__, "__reduce__": reduce}
    return type(kind.__name__, (kind, asyncio.CancelledError), names)
