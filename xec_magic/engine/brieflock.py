"""`BriefLock`: a lock for what takes microseconds, and which nobody waits for for ever."""

from __future__ import annotations

import contextlib
import threading
from typing import Final

__all__ = ["BriefLock"]

MOST_S: Final = 1.0  # nobody needs it for as long


class BriefLock:
    """A lock that a thread may take again which has it.

    Who has waited for a second goes on without it: then whoever has it was broken into, by a finalizer or by the handler of a signal,
    and that may be waiting for just this.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire(timeout=MOST_S)

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(RuntimeError):  # it went on without
            self._lock.release()

    def __repr__(self) -> str:
        return f"<BriefLock {self._lock!r}>"
