"""A process tree by way of psutil, for systems without `/proc`."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil

from xec_magic.events import ProcessSample, Sample
from xec_magic.transport.sampling.ledger import Counters, Ledger
from xec_magic.transport.sampling.procfs import heaviest

__all__ = ["PortableReader"]


class PortableReader:
    """Reads a process and its descendants; what has lost its parent is not seen. See `tree_reader` for the arguments."""

    def __init__(self, pid: int, *, alone: bool = False, mine: Callable[[int], bool] | None = None) -> None:
        self._alone = alone
        self._mine = mine
        self._ledger = Ledger()
        self._before: dict[int, float] = {}
        try:
            self._root: psutil.Process | None = psutil.Process(pid)
        except psutil.Error:
            self._root = None

    def read(self, run_id: str) -> Sample | None:
        """What the tree uses now; None when nothing of it lives."""
        at = time.monotonic()
        if self._root is None:
            return None
        try:
            tree = [self._root] if self._alone else [self._root, *self._root.children(recursive=True)]
        except psutil.Error:
            tree = []
        living: dict[int, tuple[int, Counters]] = {}
        parts: list[ProcessSample] = []
        for process in tree:
            if self._mine is not None and process is not self._root and not self._mine(process.pid):
                continue
            try:
                part, counters = _one(process)
            except psutil.Error:
                continue
            living[process.pid] = (part.parent, counters)
            parts.append(part)
        if not living:
            return None
        total = self._ledger.total(living)
        shown = heaviest(parts, self._before)
        self._before = {part.pid: part.cpu_s for part in parts}
        return Sample(
            run_id, at, total.cpu_s, sum(part.rss_bytes for part in parts), total.read, total.written,
            processes=len(parts), threads=sum(part.threads for part in parts), parts=shown,
        )  # fmt: skip

    def close(self) -> None:
        """Nothing is open."""


def _one(process: psutil.Process) -> tuple[ProcessSample, Counters]:
    with process.oneshot():
        cpu = process.cpu_times()
        # macOS has no counters of children that were waited for; Linux does.
        cpu_s = cpu.user + cpu.system + getattr(cpu, "children_user", 0.0) + getattr(cpu, "children_system", 0.0)
        read = written = None
        if hasattr(process, "io_counters"):
            try:
                io = process.io_counters()
                read, written = getattr(io, "read_chars", None), getattr(io, "write_chars", None)
            except psutil.Error:
                pass
        part = ProcessSample(
            process.pid, process.ppid(), process.name(), cpu_s, process.memory_info().rss, read, written,
            process.num_threads(),
        )  # fmt: skip
    return part, Counters(cpu_s, read, written, None, None)
