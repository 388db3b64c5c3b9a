"""`undisturbed`: a short block that neither the kernel's interrupt nor an alarm of the user's breaks into."""

from __future__ import annotations

import signal
import sys
import threading

# What `signal` makes of them turns numbers into names, which costs five times as much.
from _signal import getsignal  # type: ignore[import-not-found]
from _signal import signal as handle
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

__all__ = ["undisturbed"]

SIGNALS: Final = (signal.SIGALRM, signal.SIGINT)  # whose handlers raise, as a rule


class undisturbed:  # noqa: N801 - used as a statement
    """For a block that takes hold of something: an interrupt or an alarm that comes meanwhile is raised at its end.

    It would be raised between any two steps: also when something has been taken and nobody knows that yet, or half of it given back.
    In other threads than the main one neither is ever raised. An alarm may break into its begin; interrupts count again then, too.
    """

    def __init__(self) -> None:
        self._came: set[int] = set()
        self._before: dict[int, Callable[..., Any]] = {}
        self._user: FrameType | None = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        while frame is not None and frame is not self._user:
            frame = frame.f_back
        if frame is not None:
            self._came.add(number)
        else:  # the block is over, or has never begun, by one that came before all handlers were set
            handle(number, self._before[number])
            signal.raise_signal(number)

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._user = sys._getframe(1)
            for number in SIGNALS:
                before = getsignal(number)
                if callable(before):
                    self._before[number] = before
                    handle(number, self._note)

    def __exit__(self, *exc: object) -> None:
        self._user = None  # first: what comes from now on is raised
        for number, before in self._before.items():
            handle(number, before)
        try:
            if signal.SIGALRM in self._came:
                signal.raise_signal(signal.SIGALRM)
        finally:
            if signal.SIGINT in self._came:
                signal.raise_signal(signal.SIGINT)
