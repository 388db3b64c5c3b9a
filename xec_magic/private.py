"""A directory of one kernel: private, locked while the kernel lives, removed at its end, swept by others when it was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

__all__ = ["KernelDirectory", "temp_path_of", "temp_root"]


def temp_root() -> Path:
    """The directory below which temporary files of this user's kernels lie; in the system's temporary directory.

    Where another user holds its name, there is a new one that nobody sweeps.
    """
    path = _usual_temp_root()
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        status = path.lstat()
        if status.st_uid == os.getuid() and path.is_dir() and not path.is_symlink() and not status.st_mode & 0o077:
            return path
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="xec-tmp-"))


def _usual_temp_root() -> Path:
    return Path(tempfile.gettempdir()) / f"xec-tmp-{os.getuid()}"


def temp_path_of(kernel_id: str) -> str:
    """Where the temporary files of a kernel usually lie; the directory need not be there."""
    return str(_usual_temp_root() / kernel_id)


class KernelDirectory:
    """A directory that is made on first use, mode 0700.

    A lock on a file in it says that its kernel lives; directories beside it without a holder are removed on first use.

    Args:
        root: Gives the directory to make it in.
        name: Its own name, unlike that of any other kernel's.
    """

    def __init__(self, root: Callable[[], Path], name: str) -> None:
        self._root = root
        self._name = name
        self._path: Path | None = None
        self._lock_fd: int | None = None
        self._mutex = threading.Lock()

    def path(self) -> Path:
        """The directory; made now if it is not there.

        Raises:
            OSError: it cannot be made.
        """
        path = self._path
        if path is not None and path.is_dir():  # without the mutex, which the handler of a signal could break into
            return path
        with self._mutex:
            if self._path is None or not self._path.is_dir():
                root = self._root()
                root.mkdir(mode=0o700, exist_ok=True)
                _sweep(root)
                path = root / self._name
                self._release()
                self._lock_fd = _make_locked(path)
                self._path = path
            return self._path

    @property
    def made(self) -> Path | None:
        """The directory if it has been made."""
        return self._path

    def close(self) -> None:
        """Remove it and all that is in it."""
        with self._mutex:
            if self._path is not None:
                shutil.rmtree(self._path, ignore_errors=True)
                self._path = None
            self._release()

    def _release(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def __repr__(self) -> str:
        return f"<KernelDirectory {self._path or 'not used'}>"


def _make_locked(path: Path) -> int:
    """Make a directory with a locked file in it; the lock's descriptor."""
    while True:
        path.mkdir(mode=0o700, exist_ok=True)
        lock = path / "lock"
        try:
            fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue  # swept by another kernel in this very moment
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)  # somebody who sweeps has just looked at it
            continue
        except OSError:  # a file system without locks: never swept, only left to the system's own cleaning
            os.close(fd)
            return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            if os.stat(lock).st_ino == os.fstat(fd).st_ino:
                return fd
        os.close(fd)  # swept between the two steps


def _sweep(root: Path) -> None:
    """Remove the directories of kernels that are gone."""
    for path in root.iterdir():
        try:
            fd = os.open(path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except OSError:
            pass  # its kernel lives
        finally:
            os.close(fd)
