"""What a kernel has one of: its executor, and what is to be cleaned up at its end. Made on first use, closed at the end."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from xec_magic.engine.executor import Executor
from xec_magic.engine.run import Run
from xec_magic.errors import RunInterrupted
from xec_magic.options import Settings
from xec_magic.options.known import KnownLines
from xec_magic.profiles.session import Profiler
from xec_magic.result import Result

if TYPE_CHECKING:
    from xec_magic.compose.cleanup import Cleanup
    from xec_magic.engine.watching import Watch

__all__ = ["Runtime", "close", "current"]

CLEAN_UP_S: Final = 3.0  # for clean-up at the kernel's exit: Jupyter kills it after 5 s, and runs have to be ended, too


class Runtime:
    """What lives as long as the kernel: the executor, the standing defaults, the last result, what is watched."""

    def __init__(self) -> None:
        self.executor = Executor()
        self.settings = Settings()
        self.lines = KnownLines(self.settings)
        self.pid = os.getpid()
        self.last: Result | None = None
        self.profiler = Profiler(self.executor.settle)
        self.executor.observers.append(self._record)
        self.watches: dict[str, Watch] = {}
        self._registry: Cleanup | None = None
        self._mutex = threading.Lock()

    def _record(self, over: Sequence[tuple[Result, float]]) -> None:
        self.profiler.record(over, lambda plan: self.executor.redactor.mask(plan.title))

    def registry(self, make: Callable[[Runtime], Cleanup]) -> Cleanup:
        """What is to be cleaned up at the kernel's end; made on first use."""
        with self._mutex:
            if self._registry is None:
                self._registry = make(self)
            return self._registry

    def clean_up(self, within_s: float | None) -> None:
        """Do all that has been deferred until the kernel's end. What fails is said on standard error.

        Args:
            within_s: Seconds after which only files are removed; None for no bound.

        Raises:
            KeyboardInterrupt: it was interrupted.
        """
        with self._mutex:
            registry, self._registry = self._registry, None
        if registry is None:
            return
        from xec_magic.compose.unwinding import Unwinding

        way = Unwinding(within_s)
        registry.unwind(way)
        registry.directory.close()
        said = way.message()
        if said:
            logging.getLogger("xec_magic").error("[xec] %s", self.executor.redactor.mask(said))
        if way.interrupt is not None:
            raise way.interrupt

    def wait(self, run: Run, **how: object) -> Result:
        """Wait for a run of the foreground; its result, or what arrived until an interrupt, becomes `last`.

        Raises:
            RunInterrupted: interrupted while waiting.
        """
        try:
            result = run.wait(**how)  # type: ignore[arg-type]  # the keywords of Run.wait, passed on
        except RunInterrupted as error:
            self.last = error.result
            raise
        self.last = result
        return result


_lock = threading.RLock()
_runtime: Runtime | None = None
_pid = os.getpid()  # kept, since to ask the system at each call is a tenth of what a hit of the cache costs


def _after_fork() -> None:
    global _pid, _lock
    _pid = os.getpid()
    _lock = threading.RLock()  # another thread may have held it


os.register_at_fork(after_in_child=_after_fork)


def current() -> Runtime:
    """This kernel's runtime. In a forked process a new one: the runs of the parent are not its own."""
    global _runtime
    known = _runtime
    if known is not None and known.pid == _pid:
        return known
    with _lock:
        known = _runtime
        if known is None or known.pid != _pid:
            made = Runtime()
            _runtime = made if _runtime is known else _runtime
            if _runtime is not made:  # a finalizer, or the handler of a signal, was faster in this very thread
                made.executor.close()
        assert _runtime is not None
        return _runtime


def close(clean_up_within_s: float | None = None) -> None:
    """Clean up, end all runs of this kernel, and close its executor. What needs it later gets a new one.

    Args:
        clean_up_within_s: Seconds for what was deferred; None for as long as it takes.
    """
    global _runtime
    with _lock:
        runtime = _runtime
    if runtime is None or runtime.pid != os.getpid():
        return
    try:
        runtime.clean_up(clean_up_within_s)  # it is still the current one: what is called there may run commands
    finally:
        with _lock:
            if _runtime is runtime:
                _runtime = None
        runtime.executor.close()


atexit.register(close, CLEAN_UP_S)
