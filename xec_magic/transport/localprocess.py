"""`LocalProcess`: a command of this machine that has been started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from typing import Final

from xec_magic.events import ProcessInfo
from xec_magic.transport.base import ExitStatus, Sampler, StartRequest
from xec_magic.transport.reader import Reader
from xec_magic.transport.sampling.threads import SamplingThreads
from xec_magic.transport.spawn import proctree
from xec_magic.transport.spawned import Spawned

__all__ = ["LocalProcess"]

SESSION_KNOWN_S: Final = 10.0  # so long after the shell's end its number surely names nobody else's session


class LocalProcess:
    """A command on this machine."""

    def __init__(
        self,
        spawned: Spawned,
        request: StartRequest,
        marker: bytes,
        readers: list[Reader],
        script_file: str | None,
        sampling: SamplingThreads,
    ) -> None:
        self._spawned = spawned
        self._sampling = sampling
        self._request = request
        self._script_file = script_file
        self._marker = marker
        self._readers = readers
        self._session_until: float | None = None
        self.exit: ExitStatus | None = None  # how the shell ended; None while it runs
        if spawned.exit.done():  # a shell that was started ahead, and was killed just now
            asyncio.get_running_loop().call_soon(self._exited)
        else:
            spawned.at_exit = self._exited

    def _exited(self) -> None:
        for reader in self._readers:  # first: who hears that it has ended need not wait for them then
            reader.look()
        self.exit = self._spawned.exit.result()
        if self._session_until is None:
            self._session_until = time.monotonic() + SESSION_KNOWN_S
        if self._script_file is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._script_file)
        self._request.changed()

    def call_at_exit(self, callback: Callable[[], None]) -> None:
        """Call back when the shell has ended."""
        self._spawned.exit.add_done_callback(lambda _: callback())

    @property
    def pid(self) -> int:
        """The shell's process id; also its process group and its session."""
        return self._spawned.pid

    @property
    def started_at(self) -> float:
        """When it was started, in seconds of the monotonic clock."""
        return self._spawned.started_at

    @property
    def streams_open(self) -> bool:
        """Some process can still write to the streams."""
        for reader in self._readers:  # noqa: SIM110 - asked at each change, and any() takes four times as long
            if reader.open:
                return True
        return False

    def pause(self) -> None:
        """Stop reading; the command soon waits in its write."""
        for reader in self._readers:
            reader.pause()

    def resume(self) -> None:
        """Read again."""
        for reader in self._readers:
            reader.resume()

    def send_signal(self, number: int) -> None:
        """Signal the command's process group and what has strayed from it."""
        if self.exit is None:
            self._session_until = float("inf")  # all through the ladder, also when the shell goes first
        proctree.send(number, self._sessions(), self._living())

    def alive(self) -> list[ProcessInfo]:
        """The command's living processes, strays included. May take some milliseconds."""
        return [ProcessInfo(process.pid, process.name) for process in self._living()]

    def sampler(self, rate_hz: float) -> Sampler:  # noqa: ARG002 - reading here costs the same at any rate
        """What reads the use of the command and of all its processes."""
        return self._sampling.of_tree(self.pid, self._marker, self._request.run_id)

    def _living(self) -> list[proctree.Living]:
        return proctree.living(self._sessions(), self._marker, self._spawned.started_at)

    def _sessions(self) -> set[int]:
        """The command's session, as long as its number cannot have come to name a stranger's."""
        return {self.pid} if self._session_until is None or time.monotonic() < self._session_until else set()

    def close(self) -> None:
        """Take what has already arrived, then let go of the streams."""
        for reader in self._readers:
            reader.drain()
            reader.close()
