"""`Starting`: a command of this machine that has been asked for, and is not there yet."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable

from xec_magic.errors import SpawnError
from xec_magic.transport.base import ExitStatus, Process, StartRequest
from xec_magic.transport.localprocess import LocalProcess
from xec_magic.transport.reader import Reader, readers_of
from xec_magic.transport.sampling.threads import SamplingThreads
from xec_magic.transport.spawn import proctree
from xec_magic.transport.spawned import HelperLost, Spawned, give_up

__all__ = ["Starting"]


class Starting:
    """A command that is on its way: asked for, and not there yet.

    Args:
        request: What is to be started.
        mark: Its `XEC_RUN_ID`.
        started: Gets the process, or the reason why there is none.
        sampling: For its process.
    """

    def __init__(
        self,
        request: StartRequest,
        mark: str,
        started: Callable[[Process | SpawnError], None],
        sampling: SamplingThreads,
    ) -> None:
        self.mark = mark
        self.stdout: int | None = None
        self.stderr: int | None = None
        self.script_file: str | None = None
        self._request = request
        self._started = started
        self._sampling = sampling
        self._readers: list[Reader] = []
        self._answer: Spawned | SpawnError | None = None
        self._process: LocalProcess | None = None
        self._unwanted: asyncio.Future[Spawned | SpawnError] | None = None

    def read(self) -> None:
        """Read its streams from now on. The word that it was started may come later than what it prints; were that left in the pipes
        meanwhile, nobody would know what of the two streams came first.
        """
        streams, self.stdout, self.stderr = (self.stdout, self.stderr), None, None
        self._readers = readers_of(*streams, self._request.sink, self._request.changed)

    def answered(self, answer: Spawned | SpawnError) -> None:
        """The spawner has said what came of it."""
        if isinstance(answer, HelperLost):
            answer = self._found(answer) or answer
        self._answer = answer
        if self._unwanted is not None:
            self._unwanted.set_result(answer)
        elif isinstance(answer, SpawnError):
            self.clean_up()
            self._started(answer)
        else:
            self._process = LocalProcess(
                answer, self._request, self._marker, self._readers, self.script_file, self._sampling
            )
            self._started(self._process)

    @property
    def _marker(self) -> bytes:
        return b"XEC_RUN_ID=" + self.mark.encode() + b"\0"

    def _found(self, lost: HelperLost) -> Spawned | None:
        """What has been started of it although nobody can say so any more: it is to be ended, and not to be run again."""
        living = proctree.living((), self._marker)
        if not living:
            return None
        exited: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
        exited.set_result(ExitStatus(None, None, lost=lost.words))
        return Spawned(living[0].group, time.monotonic(), exited)

    async def give_up(self) -> None:
        """Nobody wants it any more: it is ended as soon as it is there, and gone when this returns, if that is soon."""
        unwanted = self._unwanted = asyncio.get_running_loop().create_future()
        if self._answer is not None:
            unwanted.set_result(self._answer)
        try:
            await give_up(unwanted)
        finally:
            if self._process is not None:
                self._process.close()
            else:
                self.clean_up()

    def clean_up(self) -> None:
        """Let go of its streams and its script. A second call does nothing."""
        streams, self.stdout, self.stderr = (self.stdout, self.stderr), None, None
        for fd in streams:
            if fd is not None:
                os.close(fd)
        for reader in self._readers:
            reader.close()
        script_file, self.script_file = self.script_file, None
        if script_file is not None:
            with contextlib.suppress(OSError):
                os.unlink(script_file)
