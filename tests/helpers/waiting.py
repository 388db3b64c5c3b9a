"""Waiting for a condition, with a bound: no test asserts how long anything takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], within_s: float = 20.0, why: Callable[[], str] = lambda: "") -> T:
    """Wait until a condition is true; gives its value. `why` may tell more where it does not come true."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"it did not happen in time: {why()}"
        time.sleep(0.01)
    return value
