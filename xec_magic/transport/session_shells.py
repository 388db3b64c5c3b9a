"""`SessionShells`: the processes of a session."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import Final

from xec_magic.command import Command
from xec_magic.errors import SpawnError, map_errors
from xec_magic.transport.base import ExitStatus, Sampler
from xec_magic.transport.dialects.base import Start
from xec_magic.transport.sampling import tree_reader
from xec_magic.transport.sampling.since import SinceReader
from xec_magic.transport.sampling.threads import SamplingThreads
from xec_magic.transport.spawn import proctree
from xec_magic.transport.spawner import Spawner
from xec_magic.transport.surroundings import environment

__all__ = ["SessionShells", "in_words"]

SESSION_KNOWN_S: Final = 10.0  # so long after the shell's end its number surely names nobody else's session


class SessionShells:
    """A session's shell, those that hold its place after a fatal error, and what their commands have started.

    Args:
        mark: The `XEC_RUN_ID` of all of them.
        sampling: Reads what they use.

    Attributes:
        pid: The shell that takes orders; 0 before there is one.
        pids: All shells.
    """

    def __init__(self, mark: str, sampling: SamplingThreads) -> None:
        self.pid = 0
        self.pids: frozenset[int] = frozenset()
        self._first = 0
        self._mark = mark
        self._marker = b"XEC_RUN_ID=" + mark.encode() + b"\0"
        self._sampling = sampling
        self._ended_at: float | None = None

    async def start(
        self, spawner: Spawner, start: Start, directory: str | None, ended: Callable[[ExitStatus], None]
    ) -> None:
        """Start the first one.

        Args:
            spawner: Starts it.
            start: What to start.
            directory: Where.
            ended: Called when it has ended.

        Raises:
            SpawnError: it cannot be started.
        """

        def note(exit: asyncio.Future[ExitStatus]) -> None:  # noqa: A002 - the word for it
            status = exit.result()
            if status.lost:  # it may live, and would open by their numbers what these name next
                self.kill()
            self._ended_at = time.monotonic()
            ended(status)

        with map_errors(OSError, to=SpawnError, what="cannot prepare a session"):
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            env = {**environment(Command(""), self._mark), **start.env}
            spawned = await spawner.spawn(start.argv, directory, env, (null, null, null))
        finally:
            os.close(null)
        self.began(spawned.pid)
        spawned.exit.add_done_callback(note)

    def began(self, pid: int) -> None:
        """The session's shell is there, or goes on in this process."""
        self._first = self._first or pid
        self.pid = pid
        self.pids |= {pid}

    def kill(self) -> None:
        """End the shells at once; nothing when they have ended."""
        for pid in self.pids if self._ended_at is None else ():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    @property
    def have_ended(self) -> bool:
        """There is no shell any more that could start anything."""
        return not self._first or self._ended_at is not None

    def living(self) -> list[proctree.Living]:
        """All living processes of the session, its shells included."""
        if not self._first:
            return []
        known = self._ended_at is None or time.monotonic() < self._ended_at + SESSION_KNOWN_S
        return proctree.living({self._first} if known else (), self._marker)

    def holds(self, fd: int) -> bool:
        """The shell that takes orders has this descriptor open; False where that cannot be seen."""
        return proctree.HAS_PROC and os.path.lexists(f"/proc/{self.pid}/fd/{fd}")

    def sampler(self, mine: Callable[[int], bool], run_id: str) -> Sampler:
        """What reads the use of the shell and of its descendants that count, from now on."""
        return self._sampling.of_reader(SinceReader(tree_reader(self.pid, self._marker, mine=mine)), run_id)

    def __repr__(self) -> str:
        return f"<SessionShells {self.pid}{'' if self._ended_at is None else ', ended'}>"


def in_words(status: ExitStatus) -> str:
    """How a shell ended."""
    if status.lost:
        return status.lost
    return f"signal {status.signal}" if status.signal is not None else f"exit code {status.exit_code}"
