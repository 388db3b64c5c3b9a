"""`Doubt`: whether a session's shell is still in step with what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

__all__ = ["Doubt"]

IN_STEP_S: Final = 5.0  # a shell that was signalled must have answered anew by then
DOUBT_S: Final = 0.5  # between two looks at a shell that may have lost its way


class Doubt:
    """Looks at a shell while it has a command, and asks it after it was signalled. On the loop's thread.

    Args:
        idle: Whether the shell waits for a command, by the look of it.
        lost: Called when it no longer answers, with whether it has said nothing of its command.

    Attributes:
        settled: It has answered the last question.
    """

    def __init__(self, idle: Callable[[], bool], lost: Callable[[bool], None]) -> None:
        self.settled = False
        self._idle = idle
        self._lost = lost
        self._timer: asyncio.TimerHandle | None = None
        self._looked_idle = False
        self._questions = 0

    def begin(self) -> None:
        """The shell has been given a command: it must not look idle twice before it answers."""
        self._looked_idle = False
        self._after(DOUBT_S, self._look)

    def ask(self) -> int:
        """The number of a question that is put to the shell now, and that it has to answer."""
        self._questions += 1
        self.settled = False
        self._after(IN_STEP_S, lambda: self._lost(False))
        return self._questions

    def answered(self, number: int) -> None:
        """It has answered a question. Only the answer to the last one counts."""
        self.settled = number == self._questions

    def end(self) -> None:
        """There is nothing to doubt for now."""
        self.settled = False
        if self._timer is not None:
            self._timer.cancel()

    def _after(self, delay_s: float, call: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay_s, call)

    def _look(self) -> None:
        idle = self._idle()
        if idle and self._looked_idle:
            self._lost(True)
            return
        self._looked_idle = idle
        self._after(DOUBT_S, self._look)

    def __repr__(self) -> str:
        return f"<Doubt, {self._questions} questions{'' if self.settled else ', open'}>"
