"""`Tally`: what a session's shell says that it has used, before a command and after it; the end of a command waits for the second of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from xec_magic.events import Sample
from xec_magic.transport.base import ExitStatus
from xec_magic.transport.ssh.kept.counting import Counted, read_count, use_between

__all__ = ["Tally"]

COUNT_S: Final = 1.0  # what a command has used is told right behind its end, or never


class _Answered(Protocol):
    def __call__(self, status: ExitStatus, *, fatal: bool) -> None: ...


class Tally:
    """The counts of one command after the other. All methods run on the loop's thread.

    Args:
        answered: Gets the end of a command, with what it has used where that is known.
    """

    def __init__(self, answered: _Answered) -> None:
        self._answered = answered
        self._weighs = False  # the current command
        self._counts: list[Counted | None] = []  # before it, and after it
        self._end: tuple[ExitStatus, bool] | None = None  # of the current command, which waits for the second of them
        self._waits: asyncio.TimerHandle | None = None

    def begin(self, *, weighs: bool) -> None:
        """A command begins."""
        self._weighs, self._counts = weighs, []

    def hear(self, line: bytes) -> None:
        """The shell says what it has used."""
        self._counts.append(read_count(line))
        if self._end is not None:
            self.answer()

    def over(self, status: ExitStatus, *, fatal: bool, calm: Callable[[], None]) -> None:
        """The command has ended; where it is weighed, the shell says next what it has used.

        Args:
            status: How.
            fatal: It would have ended the shell.
            calm: Called first: the shell has answered, and nobody is to take it for mute.
        """
        self._end = status, fatal
        calm()
        if self._weighs:
            self._waits = asyncio.get_running_loop().call_later(COUNT_S, self.answer)
        else:
            self.answer()

    def answer(self) -> None:
        """Wait no longer; nothing where no end waits."""
        if self._waits is not None:
            self._waits.cancel()
        if self._end is not None:
            (status, fatal), self._end = self._end, None
            usage = use_between(*self._counts) if len(self._counts) == 2 else None
            self._answered(replace(status, usage=usage), fatal=fatal)

    def before(self, pid: int | None) -> Sample | None:
        """What had been used before the command; None where that is not known, as with children that others have left."""
        counted = self._counts[0] if self._counts else None
        return counted.sample() if counted is not None and counted.alone and counted.pid == pid else None
