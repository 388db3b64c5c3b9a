"""`Replies`: what the spawner tells the kernel, each message behind its length.

Standard library only, and imported by path: the spawner's interpreter does not know the package.
"""

from __future__ import annotations

import contextlib
import struct
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

LENGTH = struct.Struct("<I")


class Replies:
    """What the kernel is told. Several in one go wake it once. Any thread may tell.

    Attributes:
        since: When the oldest was added that it has not been told, by the clock of `add`; 0 when there is none.
    """

    def __init__(self, kernel: socket.socket) -> None:
        self.since = 0.0
        self._kernel = kernel
        self._untold = b""
        self._mutex = threading.Lock()

    def add(self, message: bytes, now: float) -> None:
        """Something to tell."""
        with self._mutex:
            self._untold += LENGTH.pack(len(message)) + message
            self.since = self.since or now

    def send(self) -> None:
        """Tell all of it."""
        with self._mutex:
            if self._untold:
                with contextlib.suppress(OSError):  # the kernel has gone; the main loop notices
                    self._kernel.sendall(self._untold)
                self._untold, self.since = b"", 0.0
