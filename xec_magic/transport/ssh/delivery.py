"""`Delivery`: signals on their way to the processes of a command on a host, and what is known of these."""

from __future__ import annotations

import asyncio
import signal as signals
from collections.abc import Awaitable, Callable

from xec_magic.events import ProcessInfo

__all__ = ["Delivery"]


class Delivery:
    """Brings signals to a host, one call after the other: what is sent while one is under way goes with the next.

    Args:
        control: Signals a command's processes there by these names, and tells which live then.

    Attributes:
        living: Of these processes, at the last look.
    """

    def __init__(self, control: Callable[[list[str]], Awaitable[list[ProcessInfo]]]) -> None:
        self.living: list[ProcessInfo] = []
        self._control = control
        self._signals: list[str] = []
        self._looking: asyncio.Task[None] | None = None

    def send(self, number: int) -> asyncio.Task[None]:
        """Send a signal; what brings it there."""
        self._signals.append(signals.Signals(number).name.removeprefix("SIG"))
        return self._begin()

    def _begin(self) -> asyncio.Task[None]:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._deliver())
            # `look` raises its error; one that nobody looks for must not be complained about.
            self._looking.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._looking

    async def _deliver(self) -> None:
        while True:
            wanted, self._signals = self._signals, []
            self.living = await self._control(wanted)
            if not self._signals:
                return

    async def look(self) -> None:
        """Ask the host which of the processes live.

        Raises:
            TransportError: the host cannot be asked.
        """
        await asyncio.shield(self._begin())

    async def settled(self) -> None:
        """Wait until nothing is on its way any more."""
        if self._looking is not None and not self._looking.done():
            await asyncio.wait([self._looking])
