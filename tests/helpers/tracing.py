"""What has to be done before a thread is traced."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time

__all__ = ["make_traceable"]


class Taken(Exception):
    """Taken by a thread that waits for nothing else."""


def make_traceable():
    """Let no exception be on its way to a thread: Python 3.11 would go round in a traced one for ever.

    It marks the whole interpreter until the thread for which one waits takes it, and who is stuck in C, or has ended, never does.
    Whoever takes one removes the mark.
    """

    def take():
        with contextlib.suppress(Taken):
            while True:
                taking.set()
                time.sleep(0.001)

    taking = threading.Event()
    taker = threading.Thread(target=take, daemon=True)
    taker.start()
    assert taking.wait(60)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(taker.ident), ctypes.py_object(Taken))
    taker.join(60)
    assert not taker.is_alive()
