"""The loop, its thread, and the one door between it and other threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import queue
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar, cast

from xec_magic.errors import SpawnError, map_errors

T = TypeVar("T")

__all__ = ["Helpers", "Portal"]

WAKE_S: Final = 0.2  # a waiting thread looks up so often, so that an interrupt is heard whoever received the signal
LAST_CHANCE_S: Final = 1.0  # for tasks that are left when the loop stops


class _Loop(asyncio.SelectorEventLoop):
    """A loop that can log in also while Python ends, when what was deferred on hosts is done."""

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Call `func(*args)` in a thread, or in this one where Python, which ends, gives none any more."""
        try:
            return super().run_in_executor(executor, func, *args)
        except RuntimeError:
            if threading.main_thread().is_alive():
                raise
            done: asyncio.Future[T] = self.create_future()
            try:
                done.set_result(func(*args))
            except Exception as error:  # noqa: BLE001 - whoever waits for it gets it
                done.set_exception(error)
            return done


class Portal:
    """One asyncio loop in a thread of its own. No other file of the package crosses threads.

    The thread is a daemon: `close` ends it in order, and a kernel that forgets to is not held up.

    Raises:
        SpawnError: the operating system allows no further thread or open file.
    """

    def __init__(self, name: str = "xec-loop") -> None:
        with map_errors(OSError, to=SpawnError, what="cannot start commands"):
            self._loop = _Loop()
        # Every command asks whether it is open, and who asks. After a rest, asking the `Thread` costs one in a warm shell 15 µs.
        self._owner = os.getpid()
        self._runs = True
        self._inside = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._loop.close()
            raise SpawnError(
                "cannot start commands: no further thread is allowed (ulimit -u); end some first"
            ) from error

    def _run(self) -> None:
        self._inside = threading.get_ident()
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._end_tasks()
            self._runs, self._inside = False, 0  # the next thread may get its number
            self._loop.close()

    def _end_tasks(self) -> None:
        """Let tasks that were left go through their clean-up; none of them can hold up the end."""
        if left := asyncio.all_tasks(self._loop):
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.wait(left, timeout=LAST_CHANCE_S))

    @property
    def is_open(self) -> bool:
        """It can still be called."""
        return self._runs and os.getpid() == self._owner  # a forked copy has no such thread

    @property
    def inside(self) -> bool:
        """The caller is the loop's own thread."""
        return threading.get_ident() == self._inside

    def post(self, callback: Callable[..., object], *args: Any) -> None:
        """Call `callback(*args)` on the loop soon, without waiting. Safe from any thread."""
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            if not self._loop.is_closed():  # closed: nobody is there to care
                raise

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start a coroutine on the loop. Cancelling the future cancels the task."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def call(self, coroutine: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """Run a coroutine on the loop and wait for it.

        Raises:
            RuntimeError: called on the loop's own thread, where waiting would never end.
            TimeoutError: not done in time; the coroutine has been cancelled.
        """
        if self.inside:
            coroutine.close()
            raise RuntimeError(
                "a blocking call on the executor's own thread would wait for ever; use await, or a callback"
            )
        future = self.submit(coroutine)
        try:
            return future.result(timeout_s)
        except BaseException:
            future.cancel()
            raise

    def aside(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Do `work` in a thread of its own; called on the loop, and so is what waits for it, which gets what it raises.

        The thread is a daemon: work that never ends holds nobody up.
        """
        done: asyncio.Future[T] = self._loop.create_future()

        def settle(value: T | None, error: BaseException | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(cast("T", value))
            else:
                done.set_exception(
                    error
                    if isinstance(error, Exception) and not isinstance(error, StopIteration)
                    else RuntimeError(f"{error!r} was raised")
                )

        def run() -> None:
            value, failure = None, None
            try:
                value = work()
            except BaseException as error:  # noqa: BLE001 - who waits gets it; asyncio takes no StopIteration or SystemExit
                failure = error
            self.post(settle, value, failure)

        threading.Thread(target=run, name="xec-aside", daemon=True).start()
        return done

    def close(self) -> None:
        """Stop the loop and wait for its thread. Not from the loop itself."""
        if self.is_open:
            self.post(self._loop.stop)
            self._thread.join(timeout=5)

    def __repr__(self) -> str:
        return f"<Portal {self._thread.name}, {'open' if self.is_open else 'closed'}>"


class Helpers:
    """A few threads for what would hold up the loop, such as reading files. Made and used on the loop's thread.

    They are daemons: unlike the threads of `concurrent.futures` they do not hold up the interpreter's end.

    Args:
        most: So many threads at most; they start when they are needed.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._waiting = 0  # pieces of work that are not done

    def submit(self, function: Callable[..., T], *args: Any) -> concurrent.futures.Future[T]:
        """Call `function(*args)` in a thread, soon. What was submitted first begins first.

        Raises:
            SpawnError: the operating system allows no thread at all.
        """
        done: concurrent.futures.Future[T] = concurrent.futures.Future()

        def work() -> None:
            wanted = done.set_running_or_notify_cancel()  # what nobody waits for any more is done all the same
            try:
                value = function(*args)
            except BaseException as error:  # noqa: BLE001 - whoever waits for it gets it
                if wanted:
                    done.set_exception(error)
            else:
                if wanted:
                    done.set_result(value)
            self._waiting -= 1

        self._waiting += 1
        if len(self._threads) < min(self._most, self._waiting):
            self._start_one()
        self._work.put(work)
        return done

    def _start_one(self) -> None:
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if not self._threads:
                raise SpawnError("no further thread is allowed (ulimit -u); end some first") from error
        else:
            self._threads.append(thread)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def close(self) -> None:
        """Let the threads end when their work is done. Does not wait."""
        for _ in self._threads:
            self._work.put(None)
