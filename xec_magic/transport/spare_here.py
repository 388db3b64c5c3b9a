"""`SpareHere`: a command in a shell that was started ahead, given its script and read by the thread that waits for it."""

from __future__ import annotations

from collections.abc import Callable

from xec_magic.errors import SpawnError
from xec_magic.transport.base import Process, StartRequest
from xec_magic.transport.reported_here import ReportedHere
from xec_magic.transport.sampling.threads import SamplingThreads
from xec_magic.transport.spare import Spare

__all__ = ["SpareHere"]


class SpareHere(ReportedHere):
    """One command in a spare that has been given its script; its thread has the spare."""

    def __init__(self, spare: Spare, sampling: SamplingThreads) -> None:
        super().__init__(spare.spawned.started_at, spare.report, spare.stdout, spare.stderr)
        self._spare = spare
        self._sampling = sampling

    def give_back(self) -> None:
        """See `HereRun`."""
        self._spare.close_streams()

    def adopt(self, request: StartRequest, started: Callable[[Process | SpawnError], None]) -> None:
        """See `HereRun`."""
        for stream, data in self.pieces:
            request.sink(stream, data)
        started(self._spare.process(request, self._sampling))

    def __repr__(self) -> str:
        return f"<SpareHere {self._spare.spawned.pid}, {self._size} B>"
