"""`Doubt`: a shell that may have lost its way: busy with a command that has closed its streams, and silent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from xec_magic.errors import TransportError
from xec_magic.transport.ssh.hosts import Host
from xec_magic.transport.ssh.kept.command import KeptProcess
from xec_magic.transport.ssh.kept.lines import idle_line
from xec_magic.transport.ssh.remote import read_answer

__all__ = ["Doubt"]

DOUBT_S: Final = 0.5  # between two looks at a shell that may have lost its way
LONG_DOUBT_S: Final = 5.0


class Doubt:
    """Looks now and then whether the shell is really busy. All methods run on the loop's thread.

    Args:
        host: Where it is.
        control_fd: The descriptor on which the shell answers.
        mute: Called when it is idle and has not said so.
    """

    def __init__(self, host: Host, control_fd: int, mute: Callable[[], Awaitable[None]]) -> None:
        self._host = host
        self._control_fd = control_fd
        self._mute = mute
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self, process: KeptProcess, shells: Sequence[int]) -> None:
        """A command has begun; until it is over the shell is looked at.

        Args:
            process: The command.
            shells: The shell's processes, as they are when it is looked at.
        """
        self._timer = asyncio.get_running_loop().call_later(DOUBT_S, self._start, process, shells)

    def _start(self, process: KeptProcess, shells: Sequence[int]) -> None:
        self._task = asyncio.get_running_loop().create_task(self._look(process, shells))

    async def _look(self, process: KeptProcess, shells: Sequence[int]) -> None:
        """See whether the shell is busy with a command that has closed its streams and says nothing; tell when it is not."""
        doubted = False
        while True:
            if not process.streams_open:
                line = idle_line(shells, self._control_fd)
                with contextlib.suppress(TransportError):
                    idle = read_answer((await self._host.helper(line)).stdout, line.mark) == "idle"
                    if idle and doubted:
                        await self._mute()
                        return
                    doubted = idle
            await asyncio.sleep(DOUBT_S if doubted else LONG_DOUBT_S)

    def end(self) -> None:
        """The command is over."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
