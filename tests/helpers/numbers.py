"""What becomes of descriptors' numbers: pipes that have something in them, at as many as are free."""

from __future__ import annotations

import os

PIPES = 64


class Numbers:
    """Pipes at the lowest free numbers of this process, with a text in each that nobody shall take.

    Args:
        text: What is in them. Their writers are closed.
    """

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._pipes: list[int] = []

    def take(self, *_: object) -> None:
        """Open them."""
        for _ in range(PIPES):
            read, write = os.pipe()
            os.write(write, self._text)
            os.close(write)
            self._pipes.append(read)

    @property
    def taken(self) -> set[int]:
        """The numbers."""
        return set(self._pipes)

    def robbed(self) -> list[bytes]:
        """What is left in those that somebody has read from or written to. All are closed."""
        left = []
        for fd in self._pipes:
            os.set_blocking(fd, False)
            try:
                left.append(os.read(fd, 4096))
            except BlockingIOError:  # somebody has opened it for writing
                left.append(b"open")
            os.close(fd)
        self._pipes.clear()
        return [text for text in left if text != self._text]
