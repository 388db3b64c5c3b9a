"""Ends of pipes and sockets that a fork of this process must not hold: who reads at the other end waits until all copies are closed."""

from __future__ import annotations

import contextlib
import os

__all__ = ["close", "forget", "note"]

_ends: set[int] = set()


def note(end: int) -> None:
    """A descriptor that no fork shall hold from now on."""
    _ends.add(end)


def forget(end: int) -> None:
    """It is about to be closed."""
    _ends.discard(end)


def close(end: int) -> None:
    """Close a descriptor, noted or not."""
    forget(end)
    os.close(end)


def _let_go() -> None:
    # Not closed: what has the number here may close it later, and would then close what has got the number meanwhile.
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for end in _ends:
            os.dup2(null, end, inheritable=False)
        os.close(null)
    _ends.clear()


os.register_at_fork(after_in_child=_let_go)
