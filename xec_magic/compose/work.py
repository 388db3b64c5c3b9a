"""`Work`: something that goes on in a thread of its own; wait for it, await it, stop it."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable, Generator
from typing import Any, Final, Generic, TypeVar

from xec_magic.engine.awaiting import as_cancellation, until_over
from xec_magic.engine.interruptible import ending_of
from xec_magic.errors import SpawnError
from xec_magic.events import Cause

T = TypeVar("T")

__all__ = ["Work"]

WAKE_S: Final = 0.2  # a waiting thread or loop looks up so often, so that an interrupt is heard


class Work(Generic[T]):
    """What `Lazy.start` gives: a handle with `.result()`, and to be awaited in any loop.

    Args:
        function: What goes on, in a daemon thread.
        stop: Asks it to end: gently, or at once; and why. Any thread.
        name: What it is called in messages.

    Raises:
        SpawnError: no further thread is allowed.
    """

    def __init__(self, function: Callable[[], T], stop: Callable[[bool, Cause], None], name: str) -> None:
        self._future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._over: concurrent.futures.Future[None] = concurrent.futures.Future()  # for loops: never an exception
        self._function = function
        self._stop = stop
        self._name = name
        thread = threading.Thread(target=self._main, name=f"xec-{name}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise SpawnError(
                f"cannot start {name}: no further thread is allowed (ulimit -u); end some first"
            ) from error
        except BaseException as error:  # an interrupt, or an alarm of the user's: who called has no handle
            stop(False, Cause.INTERRUPT if isinstance(error, KeyboardInterrupt) else Cause.CANCEL)
            raise

    def _main(self) -> None:
        try:
            self._future.set_result(self._function())
        except BaseException as error:  # noqa: BLE001 - who waits for it gets it
            self._future.set_exception(error)
        self._over.set_result(None)

    def done(self) -> bool:
        """It is over."""
        return self._future.done()

    def cancel(self, *, now: bool = False) -> None:
        """Stop all that runs by the stop ladder, or kill it `now`, and start nothing more. Does not wait."""
        self._stop(now, Cause.CANCEL)

    def result(self, timeout: float | None = None) -> T:
        """What it gives when it is over, or what it raises.

        The kernel's interrupt stops all that runs; a second one kills it; a third one does not wait for a function of yours
        that is still being called.

        Raises:
            TimeoutError: not over after `timeout` seconds; it goes on.
            BaseException: whatever a signal handler of yours has raised; all that runs is stopped.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        interrupted = 0
        over = ending_of(self._future)
        while not self._future.done():
            try:
                if over(WAKE_S if deadline is None else max(0.0, min(WAKE_S, deadline - time.monotonic()))):
                    break
                if deadline is not None and not interrupted and time.monotonic() >= deadline:
                    break
            except KeyboardInterrupt:
                if self._future.done() or interrupted >= 2:
                    raise
                interrupted += 1
                self._stop(interrupted > 1, Cause.INTERRUPT)
            except BaseException:
                self._stop(False, Cause.CANCEL)
                raise
        if not self._future.done():
            raise TimeoutError(f"{self._name} still goes on after {timeout:g} s")
        return self._future.result()

    def __await__(self) -> Generator[Any, None, T]:
        return self._wait().__await__()

    async def _wait(self) -> T:
        try:
            interrupted = await until_over(self._over, lambda cause, now: self._stop(now, cause))
        except KeyboardInterrupt:
            self.result()
            raise
        if not interrupted:
            return self._future.result()
        error = self._future.exception()
        raise as_cancellation(error if isinstance(error, KeyboardInterrupt) else KeyboardInterrupt())

    def __repr__(self) -> str:
        return f"<Work {self._name}, {'over' if self.done() else 'going on'}>"
