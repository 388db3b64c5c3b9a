"""Files that get the output of a command: opened so that nobody waits for them, and the copy that `--tee` makes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat

__all__ = ["Tee", "open_for_writing"]


def open_for_writing(path: str, *, alone: bool = False) -> int:
    """A file to be written to, empty. Not a FIFO: who does not read it would make the loop wait.

    Args:
        path: The file.
        alone: Refuse one that another run writes to, also of another kernel, before it is emptied; `_let_go` ends that.

    Raises:
        OSError: it cannot be opened, is a FIFO, or is being written to.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    mode = os.fstat(fd).st_mode
    if stat.S_ISFIFO(mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is a FIFO")
    if stat.S_ISREG(mode):
        try:
            if alone:
                _claim(fd)
        except BlockingIOError:
            os.close(fd)
            raise OSError(errno.EBUSY, "another run is writing to it; give each a file of its own") from None
        os.ftruncate(fd, 0)
    return fd


def _claim(fd: int) -> None:
    """Let nobody else claim it until `_let_go`.

    Raises:
        BlockingIOError: somebody has.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        pass  # a file system without locks: as it was before there were any


def _let_go(fd: int) -> None:
    with contextlib.suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_UN)  # to close it is not enough: a fork of the kernel may hold it open
    os.close(fd)


class Tee:
    """The file that gets a copy of the output, until it cannot be written."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd: int | None = None

    def open(self) -> str:
        """Begin the file; why that cannot be, or nothing."""
        try:
            self._fd = open_for_writing(self._path, alone=True)
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
            _let_go(fd)

    def _cannot(self, error: OSError) -> str:
        return f"cannot write the --tee file {self._path}: {error.strerror}"
