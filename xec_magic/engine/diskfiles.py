"""The files of the persistent tier beside its database: large outputs, the mark of what was taken back, what was damaged."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from xec_magic.engine.memory import ENTRY_BYTES
from xec_magic.output import OutputLog

__all__ = ["OutputFiles", "pieces_of", "private_directory", "set_aside"]

LATER_BYTES: Final = 256 * 1024  # an output from this size on is read when it is wanted
LATER_FILES: Final = 64  # so many are open for that at once; a kernel may have 1024
COPY_BYTES: Final = 1024 * 1024
ORPHAN_S: Final = 600.0  # a file without a row is older than this only if its kernel died while it wrote
# Whatever has come in its place: no link is followed, and no FIFO waited for.
_READING: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_NO_DESCRIPTOR: Final = (errno.EMFILE, errno.ENFILE)  # for now; nothing is wrong with the file
_NAME: Final = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}")
KEPT_ASIDE: Final = 2  # damaged databases, the newest; somebody may want to look


def private_directory(path: Path) -> Path:
    """A directory of mode 0700 that is ours; made if it is not there.

    Raises:
        OSError: it cannot be made, or is somebody else's.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.lstat()
    if status.st_uid != os.getuid() or not path.is_dir() or path.is_symlink():
        raise PermissionError(1, f"{path} belongs to somebody else", str(path))
    if status.st_mode & 0o077:
        path.chmod(0o700)
    return path


class _KeptFile:
    """An open output, to be read by a log. Unlike a Python file it may be left to the garbage collector, as results are.

    Attributes:
        open: How many there are.
    """

    open = 0

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self.name = name
        _KeptFile.open += 1

    def fileno(self) -> int:
        """Its descriptor."""
        return self._fd

    def close(self) -> None:
        """Close it; a second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            _KeptFile.open -= 1
            os.close(fd)

    __del__ = close


class OutputFiles:
    """Outputs as files, each whole or not at all.

    Args:
        directory: The tier's.

    Raises:
        OSError: it cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._epoch_fd = -1
        self._path = private_directory(directory / "outputs")
        # Read at each use of what is on disk, so it stays open.
        flags = os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._epoch_fd = os.open(directory / "epoch", os.O_RDWR | os.O_CREAT | flags, 0o600)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES):
                raise
            self._epoch_fd = os.open(directory / "epoch", os.O_RDONLY | flags)  # what is kept can be read nevertheless

    def write(self, digest: int, log: OutputLog) -> tuple[str, str, bytes]:
        """Keep an output; the name, stamp and digest of its file.

        Raises:
            OSError: the disk refuses; nothing is left of it.
            OutputTooLarge: the log is gone.
        """
        private_directory(self._path)  # somebody may have removed it to have room
        name = f"{digest & (2**64 - 1):016x}-{secrets.token_hex(4)}"
        part, path = self._path / f"{name}.part", self._path / name
        content = hashlib.blake2b(digest_size=16)
        try:
            with open(part, "xb", opener=lambda file, flags: os.open(file, flags, 0o600)) as file:
                for start in range(0, log.size(), COPY_BYTES):
                    data = log.read(start, start + COPY_BYTES)
                    content.update(data)
                    file.write(data)
                file.flush()
                os.fsync(file.fileno())  # before the row: after a power cut there is no row without its output
            part.rename(path)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink()
            raise
        return name, _stamp(os.stat(path)), content.digest()

    def read(self, name: str, stamp: str, digest: bytes) -> tuple[bytes | BinaryIO | None, str]:
        """An output, in memory or, when it is larger, as an open file; or None and what is wrong with it.

        A file with another stamp than it was written with is trusted only when its content has the digest.
        """
        if not _is_name(name):
            return None, "its output has no name"
        path = f"{self._path}/{name}"
        try:
            fd = os.open(path, _READING)
        except FileNotFoundError:
            return None, ""  # removed by another kernel in this moment, or by somebody who wanted room
        except OSError as error:
            return None, "" if error.errno in _NO_DESCRIPTOR else str(error.strerror)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return None, "its output is no file any more"
            if _stamp(status) != stamp and _digest(fd) != digest:
                return None, "its output is not what was written"
            if status.st_size > ENTRY_BYTES:
                kept, fd = _KeptFile(fd, path), -1
                return cast("BinaryIO", kept), ""
            # To be read when somebody wants it: to copy it takes ten times as long as all the rest, and most are only looked at.
            if status.st_size >= LATER_BYTES and _KeptFile.open < LATER_FILES:
                kept, fd = (
                    _KeptFile(fd, ""),
                    -1,
                )  # small enough to be one without a name, which can be removed at any time
                return cast("BinaryIO", kept), ""
            content = os.pread(fd, status.st_size, 0)
            if len(content) != status.st_size:
                return None, "its output is cut off"
            return content, ""
        except OSError as error:
            return None, str(error.strerror)
        finally:
            if fd >= 0:
                os.close(fd)

    def pieces(self, name: str) -> Iterator[bytes]:
        """What an output holds, in pieces; nothing when it is gone."""
        return pieces_of(self._path / name) if _is_name(name) else iter(())

    def remove(self, names: list[str]) -> None:
        """Remove outputs whose rows are gone."""
        for name in filter(_is_name, names):
            with contextlib.suppress(OSError):
                (self._path / name).unlink()

    def sweep(self, known: set[str]) -> int:
        """Remove what kernels left that died while they wrote; how many files."""
        removed = 0
        limit = time.time() - ORPHAN_S
        for path in self._path.iterdir():
            with contextlib.suppress(OSError):
                if path.name not in known and path.lstat().st_mtime < limit:
                    path.unlink()
                    removed += 1
        return removed

    def remove_unknown(self, known: set[str], holds: Callable[[Iterator[bytes]], bool]) -> None:
        """Remove what no row speaks of, of a damaged database or of a kernel that died, where it holds something."""
        with contextlib.suppress(OSError):
            for path in self._path.iterdir():
                if path.name not in known and holds(pieces_of(path)):
                    path.unlink(missing_ok=True)

    @property
    def gone(self) -> bool:
        """The directory was removed: what is changed by others is not seen here any more, and the other way round."""
        try:
            return os.fstat(self._epoch_fd).st_nlink == 0
        except OSError:
            return True

    def epoch(self) -> bytes:
        """A mark that changes when something is taken back, or everything was removed."""
        try:
            if os.fstat(self._epoch_fd).st_nlink:
                return os.pread(self._epoch_fd, 8, 0)
        except OSError:
            pass
        return secrets.token_bytes(8)  # not known: let everybody look again

    def bump(self) -> None:
        """Change the mark: what other kernels hold in memory of this tier is to be looked up again."""
        with contextlib.suppress(OSError):
            os.pwrite(self._epoch_fd, secrets.token_bytes(8), 0)

    def close(self) -> None:
        """Let go of the files. It happens by itself when nobody uses them any more."""
        fd, self._epoch_fd = self._epoch_fd, -1
        if fd >= 0:
            os.close(fd)

    __del__ = close


def pieces_of(path: Path) -> Iterator[bytes]:
    """What a file holds, in pieces; nothing when it is gone, or is none."""
    try:
        with open(path, "rb", buffering=0, opener=lambda name, _: os.open(name, _READING)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return
            while data := file.read(COPY_BYTES):
                yield data
    except OSError:
        return


def set_aside(path: Path, inode: int) -> str | None:
    """Rename a damaged database, so that a new one can be made; its new name, or None when another kernel has done it.

    Raises:
        OSError: it cannot be renamed.
    """
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            there = os.stat(path).st_ino
        except FileNotFoundError:
            return None
        if inode and there != inode:
            return None
        kept = path.with_name(f"{path.stem}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}")
        for suffix in ("-wal", "-shm", ""):
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{path}{suffix}", f"{kept}{suffix}")
        _keep_newest(path)
        return str(kept)
    finally:
        os.close(lock)


def _keep_newest(path: Path) -> None:
    aside = sorted(
        (each for each in path.parent.glob(f"{path.stem}.damaged-*") if not each.name.endswith(("-wal", "-shm"))),
        key=lambda each: each.name,
    )
    for old in aside[:-KEPT_ASIDE]:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                os.unlink(f"{old}{suffix}")


def _is_name(name: object) -> bool:
    """A damaged row may say anything, and what it says is opened, or removed."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def _digest(fd: int) -> bytes:
    content: Any = hashlib.blake2b(digest_size=16)
    at = 0
    while data := os.pread(fd, COPY_BYTES, at):
        content.update(data)
        at += len(data)
    return bytes(content.digest())
