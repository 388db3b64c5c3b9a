"""`ReportedHere`: a command whose end the helper process reports to the thread that waits for it, by a pipe of its own."""

from __future__ import annotations

import marshal
import os
import select
import time

from xec_magic.transport.base import ExitStatus
from xec_magic.transport.here import REPORT_BYTES, HereRun
from xec_magic.transport.spawned import exit_status

__all__ = ["ReportedHere"]


class ReportedHere(HereRun):
    """One command whose end is reported; what a subclass begins and hands over differs."""

    streams_end = True
    _said: bytes | None = None

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
