"""`PipeWriter`: what a command on a host prints, into a pipe of this machine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

__all__ = ["PipeWriter"]


class PipeWriter:
    """Writes output into the pipe that another command reads, at its pace. The descriptor is its own to close."""

    def __init__(self, fd: int, full: Callable[[bool], None], broken: Callable[[], None]) -> None:
        os.set_blocking(fd, False)
        self.is_full = False
        self._fd: int | None = fd
        self._held = bytearray()
        self._full = full
        self._broken = broken
        self._finishing = False
        self._loop = asyncio.get_running_loop()

    def write(self, data: bytes) -> None:
        """Write what the pipe takes, and hold the rest."""
        if self._fd is None:
            return
        self._held += data
        self._flush()

    def _flush(self) -> None:
        if self._fd is None:
            return
        try:
            while self._held:
                del self._held[: os.write(self._fd, self._held)]
        except BlockingIOError:
            if not self.is_full:
                self.is_full = True
                self._loop.add_writer(self._fd, self._flush)
                self._full(True)
            return
        except OSError:  # its reader has ended
            self._close()
            self._broken()
            return
        if self.is_full:
            self.is_full = False
            self._loop.remove_writer(self._fd)
            self._full(False)
        if self._finishing:
            self._close()

    def finish(self) -> None:
        """Close the pipe when all has been written."""
        self._finishing = True
        self._flush()

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            if self.is_full:
                self.is_full = False
                self._loop.remove_writer(fd)
            os.close(fd)
