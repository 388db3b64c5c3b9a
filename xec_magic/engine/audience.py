"""`Audience`: who is told of results, and what has not been told yet."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from xec_magic.engine.portal import Portal
from xec_magic.engine.run import Run
from xec_magic.result import Result

__all__ = ["Audience"]

UNTOLD: Final = 64  # hits that observers have not been told of: in one go it costs half, and as a rule nobody asks


class Audience:
    """Tells observers of results in the order in which they came. Any thread may call.

    Attributes:
        observers: Told of results, and when each was asked for.
    """

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._untold: deque[tuple[Result, float]] = deque()
        self.observers: list[Callable[[Sequence[tuple[Result, float]]], None]] = []

    def note(self, result: Result, asked_at: float) -> None:
        """A result that is told with the next ones, behind what came before."""
        if self.observers:
            self._untold.append((result, asked_at))

    def note_hit(self, result: Result) -> None:
        """A result that was kept. There can be very many."""
        if self.observers:
            self._untold.append((result, time.time()))
            if len(self._untold) >= UNTOLD:
                self.settle()

    def listen(self, run: Run) -> None:
        """Tell of a run as soon as it has its result."""
        if not (self.observers and run.recorded):
            return

        def hear(result: Result) -> None:
            self._untold.append((result, run.created_at))
            if self._portal.inside:  # who waits for the run goes on first
                asyncio.get_running_loop().call_soon(self.settle)
            else:
                self.settle()

        if run.done():
            hear(run.snapshot())
        else:
            run.hear = hear

    def settle(self) -> None:
        """Tell what has not been told yet."""
        over = []
        while self._untold:
            try:
                over.append(self._untold.popleft())
            except IndexError:  # another thread does the same
                break
        if over:
            for observer in self.observers:
                observer(over)

    def __repr__(self) -> str:
        return f"<Audience of {len(self.observers)}, {len(self._untold)} untold>"
