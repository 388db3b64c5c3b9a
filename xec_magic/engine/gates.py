"""Gates: what a run must hold while it has a process, a place on this machine or its turn in a session."""

from __future__ import annotations

import asyncio

__all__ = ["Gate", "take_at_once"]

Gate = asyncio.Lock | asyncio.Semaphore


def take_at_once(gate: Gate) -> bool:
    """Acquire a gate that is free; False when others hold it, or wait for it. On the loop's thread.

    `locked()` does not tell: a lock that was let go of is unlocked until the first who waits has been woken up.
    """
    acquiring = gate.acquire()
    try:
        acquiring.send(None)
    except StopIteration:
        return True
    acquiring.close()  # leaves the line
    return False
