"""`LoopExecutor`: coroutines on one loop in one thread, held until they end or it closes."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from xec_magic.engine.portal import Portal
from xec_magic.errors import XecError

T = TypeVar("T")

__all__ = ["CLOSED", "LoopExecutor"]

CLOSED: Final = "the executor is closed; make a new one, or load the extension again"


class LoopExecutor:
    """Runs coroutines on one loop in a thread of its own. What it begins it holds on to, so that its end can be seen to.

    Raises:
        SpawnError: the operating system allows no further thread or open file.
    """

    def __init__(self) -> None:
        self._portal = Portal()
        self._tasks: set[asyncio.Task[None]] = set()
        self._beside: set[concurrent.futures.Future[Any]] = set()
        self._owner = os.getpid()  # a forked copy has the loop, and no thread that runs it
        self._closed = False

    @property
    def is_open(self) -> bool:
        """It can still run something."""
        return self._portal.is_open

    @property
    def inside(self) -> bool:
        """The caller is on the loop's thread."""
        return self._portal.inside

    def post(self, callback: Callable[..., object], *args: Any) -> None:
        """Call on the loop's thread, soon."""
        self._portal.post(callback, *args)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """A timer on the loop. Call it on the loop's thread."""
        return asyncio.get_running_loop().call_later(delay_s, callback)

    def aside(self, work: Callable[[], str]) -> asyncio.Future[str]:
        """Do something in a thread of its own. On the loop's thread."""
        return self._portal.aside(work)

    def keep(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task and hold on to it: the loop itself does not."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def beside(self, coroutine: Coroutine[Any, Any, None]) -> Callable[[], None]:
        """Run a coroutine on the loop until it ends, is stopped by what this gives, or the executor closes.

        Raises:
            XecError: the executor is closed.
        """
        future = self.submit(coroutine)
        return lambda: self.post(future.cancel)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start a coroutine on the loop; it is stopped when the executor closes. Cancelling the future cancels it.

        Raises:
            XecError: the executor is closed.
        """
        if self._closed or not self._portal.is_open:
            coroutine.close()
            raise XecError(CLOSED)
        future = self._portal.submit(coroutine)
        self._beside.add(future)
        future.add_done_callback(self._beside.discard)
        return future

    def ask(self, question: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop, and give back what it gives. Any thread but the loop's.

        Raises:
            XecError: the executor is closed.
        """
        if self._closed or not self._portal.is_open:
            question.close()
            raise XecError(CLOSED)
        return self._portal.call(question)
