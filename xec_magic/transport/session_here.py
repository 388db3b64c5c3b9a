"""`SessionHere`: a command in a session, put and read by the thread that waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from xec_magic.errors import SpawnError
from xec_magic.transport.base import ExitStatus, Process, StartRequest
from xec_magic.transport.here import HereRun
from xec_magic.transport.session_line import code_in

if TYPE_CHECKING:
    from xec_magic.transport.session import Session

__all__ = ["SessionHere"]


class SessionHere(HereRun):
    """One command in a borrowed session, whose loan it holds.

    Attributes:
        frames: What the shell has said of it and was not understood yet.
    """

    def __init__(self, session: Session, order: bytes, pipes: tuple[int, int]) -> None:
        super().__init__(time.monotonic(), session.control, *pipes)
        self.session = session
        self.pipes = pipes
        self.frames = b""
        session.put(order)

    def _lasts(self) -> None:
        self.session.hold()

    def _over(self, said: bytes) -> bool:
        self.frames = said
        if said[:2] == b"s " and said[2:-1].isdigit() and said[-1:] == b"\n":
            self.session.release()
            return self._drained()
        return False  # it was fatal to the shell, or there is more that it says

    def status(self, patience_s: float) -> ExitStatus:  # noqa: ARG002 - it is known when all has been read
        """See `HereRun`."""
        return ExitStatus(code_in(self.frames[2:]), None)

    def give_back(self) -> None:
        """See `HereRun`."""
        self.session.give_back(self.pipes)

    def adopt(self, request: StartRequest, started: Callable[[Process | SpawnError], None]) -> None:
        """See `HereRun`."""
        started(self.session.adopt(self, request))
