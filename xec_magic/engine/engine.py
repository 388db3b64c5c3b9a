"""`Engine`: what a run needs of the executor that it belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from xec_magic.engine.ask import Questions
    from xec_magic.engine.cachekey import Key
    from xec_magic.engine.run import Run
    from xec_magic.plan import Plan
    from xec_magic.transport.base import Function

__all__ = ["Engine"]


class Engine(Protocol):
    """What a run needs of its executor."""

    questions: Questions

    def begin(self, run: Run) -> None:
        """Start a run that has only been planned. Any thread; a second call does nothing."""

    def start_now(self, run: Run) -> None:
        """Start a run that has not started yet. On the loop's thread; a second call does nothing."""

    @property
    def is_open(self) -> bool:
        """It can still run something."""

    @property
    def inside(self) -> bool:
        """The caller is on the loop's thread."""

    def post(self, callback: Callable[..., object], *args: Any) -> None:
        """Call on the loop's thread, soon."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """A timer on the loop. Call it on the loop's thread."""

    def join(self, source: Run, sink: Run) -> None:
        """Make `source`'s standard output `sink`'s standard input.

        Raises:
            XecError: `sink` has already started.
        """

    def refresh(self, plan: Plan, key: Key | None = None) -> Run:
        """Run a plan behind, and keep its result instead of what is kept."""

    def write_to(self, source: Run, fd: int, path: str) -> None:
        """Have `source` write its standard output to a file, open as `fd`."""

    def plan_next(self, script: str, like: Run) -> Run:
        """A further run of the same kind, planned and not started."""

    def plan_function(self, function: Function, like: Run) -> Run:
        """A Python function to be joined to `like`, planned and not started."""

    def end_left_behind(self, run: Run) -> None:
        """End the processes that outlived their run. On the loop's thread."""
