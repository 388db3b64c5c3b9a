"""Memory on graphics processors, by way of `nvidia-smi` where there is one."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Collection
from typing import Final

__all__ = ["GpuReader"]

EVERY_S: Final = 2.0  # one call takes from 20 ms to a second
PATIENCE_S: Final = 10.0  # a driver that hangs must not leave a process for each question
ASK: Final = ("--query-compute-apps=pid,used_gpu_memory", "--format=csv,noheader,nounits")
MIB: Final = 2**20


class GpuReader:
    """Asks `nvidia-smi` now and then and never waits for it: an answer counts for the samples that follow it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._program = shutil.which("nvidia-smi")
        self._clock = clock
        self._asking: subprocess.Popen[bytes] | None = None
        self._asked_at = float("-inf")
        self._used: dict[int, int] | None = None

    def used(self, pids: Collection[int]) -> int | None:
        """Bytes that these processes hold; None when nobody can tell."""
        if self._program is None:
            return None
        now = self._clock()
        if self._asking is not None:
            if self._asking.poll() is None:
                if now > self._asked_at + PATIENCE_S:
                    self.close()
                    self._program = None
                return self._sum(pids)
            self._used = _parse(self._asking.stdout.read()) if self._asking.stdout else None  # ended: it is all there
            self.close()
        if now >= self._asked_at + EVERY_S:
            self._asked_at = now
            try:
                self._asking = subprocess.Popen(
                    [self._program, *ASK], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )  # fmt: skip
            except OSError:
                self._program = None
        return self._sum(pids)

    def _sum(self, pids: Collection[int]) -> int | None:
        return None if self._used is None else sum(size for pid, size in self._used.items() if pid in pids)

    def close(self) -> None:
        """End the question that is open."""
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.kill()
            asking.wait()
            if asking.stdout is not None:
                asking.stdout.close()


def _parse(answer: bytes) -> dict[int, int] | None:
    """Process id to bytes, of lines `1234, 512`; None when the driver could not say."""
    used: dict[int, int] = {}
    try:
        for line in answer.decode("ascii", "replace").splitlines():
            pid, size = line.split(",")
            used[int(pid)] = used.get(int(pid), 0) + int(size) * MIB
    except ValueError:  # "No devices were found", "[N/A]"
        return None
    return used
