"""`Step`: a shell that was signalled is brought into step: what it has to say about the signal is heard before its next command."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

__all__ = ["Step"]

IN_STEP_S: Final = 5.0  # a shell that was signalled must have answered anew by then


class Step:
    """Whether a shell that was signalled may be given its next command.

    Args:
        ping: Has the shell answer with this number; False when it has ended.
        mute: Called when it does not answer in time.
    """

    def __init__(self, ping: Callable[[int], bool], mute: Callable[[], Awaitable[None]]) -> None:
        self._ping = ping
        self._mute = mute
        self._pings = 0
        self._heard_ping = False
        self._stepped = asyncio.Event()
        self._stepping: asyncio.Task[None] | None = None

    @property
    def is_under_way(self) -> bool:
        """It must not be given one yet."""
        return self._stepping is not None and not self._stepped.is_set()

    def begin(self, arrived: Callable[[], Awaitable[None]]) -> None:
        """Find out whether the shell is still there, and hear all that it has to say.

        Args:
            arrived: Waits until no signal is on its way to it any more.
        """
        self._stepped.clear()
        self._stepping = asyncio.get_running_loop().create_task(self._get_in_step(arrived))

    async def _get_in_step(self, arrived: Callable[[], Awaitable[None]]) -> None:
        await arrived()
        self._pings += 1
        if not self._ping(self._pings):
            return
        try:
            async with asyncio.timeout(IN_STEP_S):
                await self._stepped.wait()
        except TimeoutError:
            await self._mute()

    async def done(self) -> None:
        """Wait until it is over. Cancelling is safe."""
        if self._stepping is not None:
            await asyncio.shield(self._stepping)
            self._stepping = None

    def hear(self, *, pong: int | None) -> bool:
        """An answer while the shell is brought into step: behind that to the ping there is one more, with which it is."""
        if pong is not None:
            self._heard_ping = pong == self._pings
        elif self._heard_ping:
            self._heard_ping = False
            self._stepped.set()
            return True
        return False

    def end(self) -> None:
        """The shell has ended: nothing more is waited for."""
        self._stepped.set()
