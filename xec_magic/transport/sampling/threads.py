"""`SamplingThreads`: reads samples beside the loop, since a read of another process's files can take its time."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from xec_magic.events import Sample
from xec_magic.transport.base import Sampler
from xec_magic.transport.sampling import Reader, tree_reader

__all__ = ["SamplingThreads"]

SHARE: Final = 0.05  # of one core, at most


class SamplingThreads:
    """Two threads at most, started with the first sample: one process that lets its readers wait must not hold up all."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._closed = False

    def of_tree(self, pid: int, marker: bytes, run_id: str) -> Sampler:
        """A sampler of a process and its descendants."""
        return self.of_reader(tree_reader(pid, marker), run_id)

    def of_reader(self, reader: Reader, run_id: str, size: tuple[int, int] | None = None) -> Sampler:
        """A sampler of whatever a reader reads, on a machine of this size."""
        return _ThreadSampler(self, reader, run_id, size)

    def pool(self) -> ThreadPoolExecutor:
        """The threads.

        Raises:
            RuntimeError: they were closed, or the interpreter ends.
        """
        if self._closed:
            raise RuntimeError("closed")
        if self._pool is None:
            self._pool = ThreadPoolExecutor(2, thread_name_prefix="xec-sample")
        return self._pool

    def close(self) -> None:
        """Read nothing more; does not wait."""
        self._closed = True
        if self._pool is not None:
            self._pool.shutdown(wait=False)


class _ThreadSampler:
    def __init__(self, threads: SamplingThreads, reader: Reader, run_id: str, size: tuple[int, int] | None) -> None:
        self.share = SHARE
        self.size = size
        self._threads = threads
        self._reader = reader
        self._run_id = run_id
        self._lock = threading.Lock()  # closing a file that is being read could read another one
        self._closed = False
        self.cost_s = 0.0

    async def sample(self) -> Sample | None:
        try:
            pool = self._threads.pool()
        except RuntimeError:
            return None
        return await asyncio.get_running_loop().run_in_executor(pool, self._read)

    def _read(self) -> Sample | None:
        with self._lock:
            if self._closed:
                return None
            # Of this thread alone: on a busy machine it takes long, and costs no more.
            begun = time.thread_time()
            sample = self._reader.read(self._run_id)
            self.cost_s = time.thread_time() - begun
            return sample

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):  # no threads any more: then nothing reads
            self._threads.pool().submit(self._close)
            return
        self._close()

    def _close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                self._reader.close()
