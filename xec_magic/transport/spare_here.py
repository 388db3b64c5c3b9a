"""`SpareHere`: a command in a shell that was started ahead, given its script and read by the thread that waits for it."""

from __future__ import annotations

import marshal
import os
import select
import time

from xec_magic.transport.base import ExitStatus, Process, StartRequest
from xec_magic.transport.here import REPORT_BYTES, HereRun
from xec_magic.transport.sampling.threads import SamplingThreads
from xec_magic.transport.spare import Spare
from xec_magic.transport.spawner import exit_status

__all__ = ["SpareHere"]


class SpareHere(HereRun):
    """One command in a spare that has been given its script; its thread has the spare."""

    streams_end = True

    def __init__(self, spare: Spare, sampling: SamplingThreads) -> None:
        super().__init__(spare.spawned.started_at, spare.report, spare.stdout, spare.stderr)
        self._spare = spare
        self._sampling = sampling
        self._said: bytes | None = None

    def _lasts(self) -> None:
        """Nothing has to be."""

    def _over(self, said: bytes) -> bool:
        self._said = said
        return self._drained()

    def status(self, patience_s: float) -> ExitStatus | None:
        """See `HereRun`."""
        if self._said is None:
            poll = select.poll()
            poll.register(self._told, select.POLLIN)
            left = self.started_at + patience_s - time.monotonic()
            if not poll.poll(max(left, 0) * 1000):
                return None
            self._said = os.read(self._told, REPORT_BYTES)
        return exit_status(marshal.loads(self._said)) if self._said else None  # nobody can say it any more

    def give_back(self) -> None:
        """See `HereRun`."""
        self._spare.close_streams()

    def adopt(self, request: StartRequest) -> Process:
        """See `HereRun`."""
        for stream, data in self.pieces:
            request.sink(stream, data)
        return self._spare.process(request, self._sampling)

    def __repr__(self) -> str:
        return f"<SpareHere {self._spare.spawned.pid}, {self._size} B>"
