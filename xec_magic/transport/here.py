"""`HereRun`: a command in a warm shell, put and read by the thread that waits for it.

The way through the loop costs two changes of threads, as much as a whole command of a warm shell. So the waiting thread
may borrow a shell that has nothing to do, and reads for a moment by itself. What takes longer, or prints more, it hands over to
the loop.
"""

from __future__ import annotations

from typing import Final, Protocol

from xec_magic.events import Stream
from xec_magic.transport.base import ExitStatus, Process, StartRequest

__all__ = ["MOST_BYTES", "HereRun"]

MOST_BYTES: Final = 48 * 1024  # below what a pipe holds; more is the loop's business


class HereRun(Protocol):
    """One command in a borrowed shell. All of it but `adopt` happens in one thread.

    Attributes:
        pieces: What it has printed, less than `2 * MOST_BYTES`.
        started_at: In monotonic seconds.
    """

    pieces: list[tuple[Stream, bytes]]
    started_at: float

    def wait(self, patience_s: float) -> ExitStatus | None:
        """How it ended; None when that needs more patience, or more room."""

    def give_back(self) -> None:
        """It is over: let go of the shell."""

    def adopt(self, request: StartRequest) -> Process:
        """Go on with it on the loop's thread."""
