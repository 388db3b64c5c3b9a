"""`undisturbed`: a short block that the kernel's interrupt does not break into."""

from __future__ import annotations

import signal
import sys
import threading

# What `signal` makes of them turns numbers into names, which costs five times as much.
from _signal import getsignal  # type: ignore[import-not-found]
from _signal import signal as handle
from types import FrameType

__all__ = ["undisturbed"]


class undisturbed:  # noqa: N801 - used as a statement
    """For a block that takes hold of something: an interrupt that comes meanwhile is raised at its end.

    It would be raised between any two steps: also when something has been taken and nobody knows that yet. In other threads than the
    main one no interrupt is ever raised. An alarm of the user's may break into its begin or end; interrupts count again then, too.
    """

    def __init__(self) -> None:
        self._came = False
        self._before: object = None
        self._user: FrameType | None = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        while frame is not None and frame is not self._user:
            frame = frame.f_back
        if frame is not None:
            self._came = True
        else:  # who had the block has left it, by an alarm before the handler was set back
            handle(number, self._before)
            signal.raise_signal(number)

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            before = getsignal(signal.SIGINT)
            if before is not None:  # what is not Python's could not be set again
                self._before, self._user = before, sys._getframe(1)
                handle(signal.SIGINT, self._note)

    def __exit__(self, *exc: object) -> None:
        if self._before is not None:
            handle(signal.SIGINT, self._before)
            self._user = None
            if self._came:
                signal.raise_signal(signal.SIGINT)
