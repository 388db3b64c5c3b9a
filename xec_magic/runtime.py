"""The one executor of this kernel: made on first use, closed at the kernel's end."""

from __future__ import annotations

import atexit
import os
import threading

from xec_magic.engine.executor import Executor
from xec_magic.engine.run import Run
from xec_magic.engine.watching import Watch
from xec_magic.errors import RunInterrupted
from xec_magic.options import Settings
from xec_magic.profiles.session import Profiler
from xec_magic.result import Result

__all__ = ["Runtime", "close", "current"]


class Runtime:
    """What lives as long as the kernel: the executor, the standing defaults, the last result, what is watched."""

    def __init__(self) -> None:
        self.executor = Executor()
        self.settings = Settings()
        self.pid = os.getpid()
        self.last: Result | None = None
        self.profiler = Profiler()
        self.executor.observers.append(self._record)
        self.watches: dict[str, Watch] = {}

    def _record(self, run: Run, result: Result) -> None:
        self.profiler.record(result, run.created_at, self.executor.redactor.mask(run.plan.title))

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


_lock = threading.Lock()
_runtime: Runtime | None = None


def current() -> Runtime:
    """This kernel's runtime. In a forked process a new one: the runs of the parent are not its own."""
    global _runtime
    with _lock:
        if _runtime is None or _runtime.pid != os.getpid():
            _runtime = Runtime()
        return _runtime


def close() -> None:
    """End all runs of this kernel, and the executor. What needs it later gets a new one."""
    global _runtime
    with _lock:
        runtime, _runtime = _runtime, None
    if runtime is not None and runtime.pid == os.getpid():
        runtime.executor.close()


atexit.register(close)
