"""The functions of the package itself, and an `Executor` of one's own. What the magics do, without IPython."""

from __future__ import annotations

import asyncio
from typing import Unpack

from xec_magic import runtime
from xec_magic.commands import Commands
from xec_magic.engine import executor as engine
from xec_magic.keywords import RunKeywords

__all__ = [
    "Executor",
    "batch",
    "cached",
    "chunks",
    "cleanup",
    "files",
    "lazy",
    "map",
    "run",
    "start",
    "tasks",
    "using",
    "workers",
]


class Executor(Commands):
    """An executor of its own, beside the kernel's; closing it ends all its runs.

    Args:
        max_running: Local processes at once; more runs are queued in order.
        **options: Defaults for its `run` and `start`.

    Example:
        >>> import xec_magic as xec
        >>> with xec.Executor(max_running=2, timeout="1m") as ex:
        ...     str(ex.run("echo mine"))
        'mine'
    """

    def __init__(self, max_running: int = engine.MAX_RUNNING, **options: Unpack[RunKeywords]) -> None:
        super().__init__(lambda: self._engine, lambda: None, options)
        self._options(options)  # a wrong default is refused before there is a thread to end
        self._engine = engine.Executor(max_running)

    def close(self) -> None:
        """End all its runs by the stop ladder, and let go of everything. A second call does nothing."""
        self._engine.close()

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Executor:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(self.close)

    def __repr__(self) -> str:
        return repr(self._engine)


# The functions of the package itself: they use the executor of the kernel.
_kernel = Commands(lambda: runtime.current().executor, lambda: runtime.current().settings)
run = _kernel.run
map = _kernel.map  # noqa: A001 - its name in the package, where no builtin is meant
batch = _kernel.batch
files = _kernel.files
start = _kernel.start
using = _kernel.using
tasks = _kernel.tasks
workers = _kernel.workers
cached = _kernel.cached
chunks = _kernel.chunks
lazy = _kernel.lazy
cleanup = _kernel.cleanup
