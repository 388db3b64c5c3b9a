"""`Channel`: output on its way from the loop to one consumer, bounded, with back-pressure."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from xec_magic.engine.portal import WAKE_S
from xec_magic.output import Piece

__all__ = ["HIGH_WATER_BYTES", "Channel"]

HIGH_WATER_BYTES: Final = 8 * 2**20  # the command waits while this much has not been taken


class Channel:
    """Pieces from the loop's thread to one consumer in any thread or any other loop.

    Args:
        on_high: Called by `put`, on the loop's thread, when the high-water mark is reached.
        on_low: Called by the consumer's thread when enough has been taken to go on.
    """

    def __init__(self, on_high: Callable[[], None], on_low: Callable[[], None]) -> None:
        self._on_high = on_high
        self._on_low = on_low
        self._pieces: deque[Piece] = deque()
        self._size = 0
        self._full = False
        self._ended = False
        self._changed = threading.Condition()
        self._waker: Callable[[], None] | None = None

    def put(self, piece: Piece) -> None:
        """Add a piece; never blocks."""
        with self._changed:
            if self._ended:
                return
            self._pieces.append(piece)
            self._size += len(piece.data)
            high = not self._full and self._size >= HIGH_WATER_BYTES
            self._full = self._full or high
            self._wake()
        if high:
            self._on_high()

    def end(self) -> None:
        """Nothing more will come."""
        with self._changed:
            self._ended = True
            self._wake()

    def discard(self) -> None:
        """The consumer has gone: what is on its way is dropped, and the command goes on."""
        with self._changed:
            self._ended = True
            self._pieces.clear()
            self._size = 0
            full, self._full = self._full, False
        if full:
            self._on_low()

    def _wake(self) -> None:
        self._changed.notify_all()
        if self._waker is not None:
            self._waker()
            self._waker = None

    def _take(self) -> tuple[list[Piece] | None, bool]:
        """What is there, None at the end; and whether the command was waiting for it. The lock is held."""
        if not self._pieces:
            return (None if self._ended else []), False
        taken = list(self._pieces)
        self._pieces.clear()
        self._size = 0
        full, self._full = self._full, False
        return taken, full

    def take(self) -> list[Piece] | None:
        """Wait for pieces and take them all; None at the end. Interruptible."""
        with self._changed:
            while not self._pieces and not self._ended:
                self._changed.wait(WAKE_S)
            taken, full = self._take()
        if full:
            self._on_low()
        return taken

    async def take_async(self) -> list[Piece] | None:
        """The same for a coroutine of any loop; it wakes at least every 0.2 s. Cancelling it loses nothing."""
        loop = asyncio.get_running_loop()
        while True:
            event = asyncio.Event()
            waker = partial(_set, loop, event)
            with self._changed:
                taken, full = self._take()
                if taken is None or taken:
                    break
                self._waker = waker
            # Not `wait_for`: that of Python 3.11 passes over a cancellation that comes together with what is waited for.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WAKE_S):
                    await event.wait()
        if full:
            self._on_low()
        return taken


def _set(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    try:
        loop.call_soon_threadsafe(event.set)
    except RuntimeError:
        pass  # that loop has been closed, and its consumer with it
