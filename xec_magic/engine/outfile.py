"""Files that get the output of a command: opened so that nobody waits for them, and the copy that `--tee` makes."""

from __future__ import annotations

import errno
import os
import stat

__all__ = ["Tee", "open_for_writing"]


def open_for_writing(path: str) -> int:
    """A file to be written to, empty. Not a FIFO: who does not read it would make the loop wait.

    Raises:
        OSError: it cannot be opened, or is a FIFO.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    mode = os.fstat(fd).st_mode
    if stat.S_ISFIFO(mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is a FIFO")
    if stat.S_ISREG(mode):
        os.ftruncate(fd, 0)
    return fd


class Tee:
    """The file that gets a copy of the output, until it cannot be written."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd: int | None = None

    def open(self) -> str:
        """Begin the file; why that cannot be, or nothing."""
        try:
            self._fd = open_for_writing(self._path)
        except OSError as error:
            return self._cannot(error)
        return ""

    def write(self, data: bytes) -> str:
        """Add to the file; once, why that cannot be. Nothing is written after that."""
        if self._fd is None:
            return ""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            self.close()
            return self._cannot(error)
        return ""

    def close(self) -> None:
        """Let go of the file. A second call does nothing."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)

    def _cannot(self, error: OSError) -> str:
        return f"cannot write the --tee file {self._path}: {error.strerror}"
