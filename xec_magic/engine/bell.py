"""`Bell`: something has changed; rung from the loop's thread, waited for by one coroutine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Bell"]


class Bell:
    """Something has changed. An `asyncio.Event` with `wait_for` does the same and makes a task each time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._rung = False
        self._waiter: asyncio.Future[None] | None = None
        self.call: Callable[[], None] | None = None  # who hears it instead

    def set(self) -> None:
        """Ring it."""
        if self.call is not None:
            self.call()
            return
        self._rung = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, seconds: float | None) -> None:
        """Until it has been rung since the last time, at most so long. Cancelling is safe."""
        if not self._rung:
            waiter = self._waiter = self._loop.create_future()
            timer = None if seconds is None else self._loop.call_later(seconds, self._end, waiter)
            try:
                await waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        self._rung = False

    @staticmethod
    def _end(waiter: asyncio.Future[None]) -> None:
        if not waiter.done():
            waiter.set_result(None)
