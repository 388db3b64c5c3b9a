"""A process tree by way of Linux's `/proc`.

Source: proc_pid_stat(5): fields 14-17 are CPU ticks of the process and of the children it has waited for, 20 its
threads, 22 its start, 24 resident pages. proc_pid_io(5): counters with those of waited-for children.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import Final

from xec_magic.events import ProcessSample, Sample
from xec_magic.transport.sampling.gpu import GpuReader
from xec_magic.transport.sampling.ledger import Counters, Ledger

__all__ = ["PARTS", "TreeReader", "heaviest"]

PARTS: Final = 8  # processes of a sample that are kept one by one; a run keeps a thousand samples
KEPT_FILES: Final = 64  # processes whose files stay open: reading again costs half, but descriptors are scarce
SCAN_S: Final = 1.0  # between two looks for processes that no parent of ours leads to
FORGET_SCANS: Final = 300  # after so many the strangers are looked at again: numbers come round

_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGESIZE")


class _Process:
    """What is kept of a process between two samples."""

    __slots__ = ("counters", "files", "kept", "pid", "started")

    def __init__(self, pid: int, *, kept: bool) -> None:
        self.pid = pid
        self.kept = kept
        self.files: dict[str, int] = {}
        self.started = -1
        self.counters: Counters | None = None

    def read(self, name: str) -> bytes:
        """One of its files; it fails with ESRCH or ENOENT once the process is gone."""
        fd = self.files.get(name)
        if fd is not None:
            return os.pread(fd, 65536, 0)
        fd = os.open(f"/proc/{self.pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.pread(fd, 65536, 0)
        except BaseException:
            os.close(fd)
            raise
        if self.kept:
            self.files[name] = fd
        else:
            os.close(fd)
        return data

    def close(self) -> None:
        for fd in self.files.values():
            os.close(fd)
        self.files.clear()


class TreeReader:
    """Reads a process and all its descendants; see `tree_reader` for the arguments."""

    def __init__(
        self, pid: int, marker: bytes = b"", *, alone: bool = False, mine: Callable[[int], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._root = pid
        self._marker = marker
        self._alone = alone
        self._clock = clock
        self._mine = mine
        self._known: dict[int, _Process] = {}
        self._strays: set[int] = set()
        self._strangers: set[str] = set()
        self._scans = 0
        self._scan_at = 0.0
        self._ledger = Ledger()
        self._gpu = GpuReader()

    def read(self, run_id: str) -> Sample | None:
        """What the tree uses now; None when nothing of it lives."""
        at = self._clock()
        if not self._alone and at >= self._scan_at:
            self._scan_at = at + SCAN_S
            self._find_strays()
        living: dict[int, tuple[int, Counters]] = {}
        parts: list[ProcessSample] = []
        before = {pid: process.counters.cpu_s for pid, process in self._known.items() if process.counters}
        todo = [self._root, *self._strays]
        seen: set[int] = set()
        while todo:
            pid = todo.pop()
            if pid in seen:
                continue
            seen.add(pid)
            if self._mine is not None and self._is_others(pid, self._mine):
                continue
            read = self._one(pid)
            if read is None:
                self._strays.discard(pid)
                continue
            part, counters, children = read
            living[pid] = (part.parent, counters)
            if part.threads:  # a zombie has none: it counts for what it had used, not as a process
                parts.append(part)
            todo += children
        for pid in [pid for pid in self._known if pid not in seen or pid not in living]:
            self._known.pop(pid).close()
        if not living:
            return None
        total = self._ledger.total(living)
        return Sample(
            run_id, at, total.cpu_s, sum(part.rss_bytes for part in parts), total.read, total.written,
            total.storage_read, total.storage_written, len(parts), sum(part.threads for part in parts),
            self._gpu.used({part.pid for part in parts}), parts=heaviest(parts, before),
        )  # fmt: skip

    def _one(self, pid: int) -> tuple[ProcessSample, Counters, list[int]] | None:
        """One process and its children; None when it is gone, or its number is another one's now."""
        process = self._known.get(pid)
        if process is None:
            process = self._known[pid] = _Process(pid, kept=len(self._known) < KEPT_FILES)
        try:
            stat = process.read("stat")
        except OSError:
            return None
        # The name stands in parentheses and may itself hold blanks and parentheses.
        close = stat.rindex(b")")
        fields = stat[close + 2 :].split()
        started = int(fields[19])
        if process.started not in (-1, started):
            return None
        process.started = started
        cpu_s = (int(fields[11]) + int(fields[12]) + int(fields[13]) + int(fields[14])) * _TICK_S
        try:
            counters = process.counters = Counters(cpu_s, *_io(process))
        except ProcessLookupError:  # it has ended since its first file was read
            return None
        zombie = fields[0] in (b"Z", b"X", b"x")
        part = ProcessSample(
            pid, int(fields[1]), stat[stat.index(b"(") + 1 : close].decode("utf-8", "replace"), cpu_s,
            int(fields[21]) * _PAGE, counters.read, counters.written, 0 if zombie else int(fields[17]),
        )  # fmt: skip
        children: list[int] = []
        if not self._alone and not zombie:
            # Of a process with several threads only the first one's; the scan finds those of the others.
            with contextlib.suppress(OSError):
                children = [int(child) for child in process.read(f"task/{pid}/children").split()]
        return part, counters, children

    def _find_strays(self) -> None:
        """Processes of the session, or with the marker, that have lost their way to the root. Each is looked at once."""
        self._scans += 1
        if self._scans % FORGET_SCANS == 0:
            self._strangers.clear()
        listed = {entry for entry in os.listdir("/proc") if entry.isdigit()}
        self._strangers &= listed
        for entry in listed - self._strangers:
            pid = int(entry)
            if pid in self._known:
                continue
            if self._belongs(entry):
                self._strays.add(pid)
            else:
                self._strangers.add(entry)

    def _is_others(self, pid: int, mine: Callable[[int], bool]) -> bool:
        """It does not count; asked once of each."""
        if pid == self._root or pid in self._known:
            return False
        if str(pid) not in self._strangers and not mine(pid):
            self._strangers.add(str(pid))
        return str(pid) in self._strangers

    def _belongs(self, entry: str) -> bool:
        try:
            with open(f"/proc/{entry}/stat", "rb", buffering=0) as file:
                stat = file.read(4096)
            if int(stat[stat.rindex(b")") + 2 :].split()[3]) == self._root:
                return True
            if not self._marker:
                return False
            with open(f"/proc/{entry}/environ", "rb", buffering=0) as file:
                return b"\0" + self._marker in b"\0" + file.read(1 << 20)
        except (OSError, ValueError):  # gone meanwhile, or another user's
            return False

    def close(self) -> None:
        """Let go of open files."""
        for process in self._known.values():
            process.close()
        self._known.clear()
        self._gpu.close()


def _io(process: _Process) -> tuple[int | None, int | None, int | None, int | None]:
    """Its bytes read and written, through calls and from storage.

    Raises:
        ProcessLookupError: it is gone.
    """
    try:
        words = process.read("io").split()
        return int(words[1]), int(words[3]), int(words[9]), int(words[11])
    except (ProcessLookupError, FileNotFoundError):
        if os.path.exists(f"/proc/{process.pid}/stat"):
            return None, None, None, None
        raise ProcessLookupError from None
    except (OSError, ValueError, IndexError):  # another user's, or a kernel without task accounting
        return None, None, None, None


def heaviest(parts: list[ProcessSample], before: dict[int, float]) -> tuple[ProcessSample, ...]:
    """Of many processes those that have used the most CPU since `before`, then those that hold the most memory."""
    if len(parts) > PARTS:
        parts = sorted(parts, key=lambda part: (before.get(part.pid, 0.0) - part.cpu_s, -part.rss_bytes))[:PARTS]
    return tuple(parts)
