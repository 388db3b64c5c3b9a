"""`Spawned`: a command that the spawner has started, how it ended, and its end where nobody wants it any more."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any, Final

from xec_magic.errors import SpawnError
from xec_magic.events import Usage
from xec_magic.transport.base import ExitStatus

__all__ = ["HelperLost", "Spawned", "exit_status", "give_up", "nobody"]

GIVE_UP_S: Final = 4.0  # who stops a command that is being started waits so long for it to come and to go


class HelperLost(SpawnError):
    """The helper process has gone, and has not said whether it had started the command.

    Attributes:
        words: What became of it, without the doubt.
    """

    def __init__(self, words: str) -> None:
        super().__init__(f"{words}; whether the command had begun is not known")
        self.words = words


class Spawned:
    """A command that the spawner has started, when (monotonic seconds), and how it ends.

    Attributes:
        at_exit: Called, on the loop's thread, when it has ended: sooner than what waits for the future hears of it.
    """

    def __init__(self, pid: int, started_at: float, exit: asyncio.Future[ExitStatus]) -> None:  # noqa: A002 - the word for it
        self.pid = pid
        self.started_at = started_at
        self.exit = exit
        self.at_exit: Callable[[], None] = nobody

    def end(self) -> None:
        """Kill it and its group."""
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)


def nobody() -> None:
    """Nobody has asked to hear of it."""


def exit_status(message: tuple[Any, ...]) -> ExitStatus:
    """How a command ended, by what the helper process says of it."""
    _, _, _, status, *used = message  # in the order of `Usage`
    usage = Usage(*used)
    code = os.waitstatus_to_exitcode(status)
    return ExitStatus(code, None, usage) if code >= 0 else ExitStatus(None, -code, usage)


async def give_up(answer: asyncio.Future[Spawned | SpawnError]) -> None:
    """Nobody wants the command any more: it is ended as soon as it is there, and gone when this returns, if that is soon.

    Args:
        answer: What the spawner says of it. Nobody else may look at it.
    """

    def end(_: object) -> None:
        if isinstance(spawned := answer.result(), Spawned):
            spawned.end()

    answer.add_done_callback(end)
    await asyncio.wait([answer], timeout=GIVE_UP_S)
    if answer.done() and isinstance(spawned := answer.result(), Spawned):
        await asyncio.wait([spawned.exit], timeout=GIVE_UP_S)
