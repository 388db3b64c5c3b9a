"""What Linux says of a process and of the children that it has waited for, read in one look."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from typing import Final

from xec_magic.transport.spawn import proctree

__all__ = ["Children", "cpu_ticks", "io_bytes", "start_ticks", "summed"]

KEPT_FILES: Final = 4  # open at once: a session of dash has one process more after each failure
MOST_BYTES: Final = 1 << 16


class Children:
    """The children of some processes, seen again and again: to read an open file takes a microsecond, to open it twenty.

    Source: proc_tid_children(5).
    """

    def __init__(self) -> None:
        self._files: dict[int, int] = {}

    def of(self, pids: frozenset[int]) -> frozenset[int]:
        """The children that are none of these processes themselves; none where that cannot be seen."""
        found: set[int] = set()
        for pid in pids:
            with contextlib.suppress(OSError):
                found.update(map(int, self._read(pid).split()))
        return frozenset(found - pids)

    def _read(self, pid: int) -> bytes:
        file = self._files.get(pid)
        if file is not None:
            return os.pread(file, MOST_BYTES, 0)
        file = os.open(f"/proc/{pid}/task/{pid}/children", os.O_RDONLY | os.O_CLOEXEC)
        if len(self._files) < KEPT_FILES:
            self._files[pid] = file
            return os.pread(file, MOST_BYTES, 0)
        try:
            return os.pread(file, MOST_BYTES, 0)
        finally:
            os.close(file)

    def close(self) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.popitem()[1])


def io_bytes(pid: int) -> tuple[int, int] | None:
    """Bytes read and written through calls by a process and the children it has waited for; None where unknown.

    Source: proc_pid_io(5), `rchar` and `wchar`.
    """
    try:
        with open(f"/proc/{pid}/io", "rb", 0) as file:
            words = file.read(1024).split()
        return int(words[1]), int(words[3])
    except (OSError, ValueError, IndexError):
        return None


def cpu_ticks(pid: int) -> tuple[int, int] | None:
    """Clock ticks in user mode and in the kernel of a process and the children it has waited for; None where unknown.

    Source: proc_pid_stat(5), fields 14 to 17.
    """
    try:
        user, system, of_children, system_of_children = map(int, proctree.stat_fields(pid)[11:15])
    except (OSError, ValueError):
        return None
    return user + of_children, system + system_of_children


def start_ticks(pid: int) -> int | None:
    """When a process was started, in clock ticks since the machine's start; None where that cannot be seen.

    Source: proc_pid_stat(5), field 22.
    """
    try:
        return int(proctree.stat_fields(pid)[19])
    except (OSError, ValueError, IndexError):
        return None


def summed(look: Callable[[int], tuple[int, int] | None], pids: Iterable[int]) -> tuple[int, int] | None:
    """What `cpu_ticks` or `io_bytes` says of several processes together; None where it is unknown of one."""
    found = [look(pid) for pid in pids]
    known = [pair for pair in found if pair is not None]
    return (sum(one for one, _ in known), sum(other for _, other in known)) if len(known) == len(found) > 0 else None
