"""The kernel's interrupt at a moment that a test can be certain of."""

from __future__ import annotations

import _thread
import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from helpers.waiting import until


@contextlib.contextmanager
def interrupt_when(condition: Callable[[], object], after_s: float = 0.0) -> Iterator[None]:
    """Interrupt the main thread when a condition has come true, and so many seconds later.

    Not after so many seconds alone: on a busy machine that may be before what is to be interrupted has begun, and an interrupt
    that nobody waits for ends the whole process of the tests.
    """

    def wait() -> None:
        until(condition)
        time.sleep(after_s)
        _thread.interrupt_main()

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def interrupt_post(
    monkeypatch: pytest.MonkeyPatch, engine: object, *, begun: bool, first: Callable[[], object] = lambda: None
) -> None:
    """Let an interrupt come up in the next call of `engine.post`.

    Args:
        monkeypatch: Of the test.
        engine: What hands things to its loop.
        begun: What is handed over arrives: the loop's thread goes on before the call returns.
        first: Called before the interrupt.
    """
    real = engine.post  # type: ignore[attr-defined]

    def interrupted(*what: object) -> None:
        monkeypatch.setattr(engine, "post", real)
        if begun:
            real(*what)
        first()
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "post", interrupted)
