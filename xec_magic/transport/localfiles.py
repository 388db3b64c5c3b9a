"""This machine as one end of a transfer: `LocalFiles`."""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from xec_magic.errors import FileError
from xec_magic.transport.files import BLOCK_BYTES, PRIVATE, Entry, Reader, Writer, entry_of_stat

T = TypeVar("T")

__all__ = ["LocalFiles", "Submit"]

READ_BYTES: Final = 4 * BLOCK_BYTES  # at once: each piece costs a change of threads
_RESUME: Final = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_CREATE: Final = _RESUME | os.O_CREAT | os.O_EXCL

Submit = Callable[..., "concurrent.futures.Future[Any]"]

_REASONS: Final = {
    errno.ENOENT: "missing", errno.ENOTDIR: "missing", errno.EACCES: "denied", errno.EPERM: "denied", errno.EROFS: "denied",
    errno.EEXIST: "exists", errno.ELOOP: "exists", errno.ENOSPC: "full", errno.EDQUOT: "full",
}  # fmt: skip


@contextmanager
def _worded() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        raise FileError(words, _REASONS.get(error.errno or 0, "other")) from error


class LocalFiles:
    """This machine as one end of a transfer. All methods are called on the loop, which never waits for a disk.

    Args:
        submit: Calls a function in a thread, soon.
    """

    name = "local"
    prefix = ""
    block_bytes = BLOCK_BYTES

    def __init__(self, submit: Submit) -> None:
        self._submit = submit

    async def aside(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function in a thread. A cancelled caller still waits for its end: the file is not closed under it."""
        future: asyncio.Future[T] = asyncio.wrap_future(self._submit(function, *args))
        with _worded():
            try:
                return await asyncio.shield(future)
            except asyncio.CancelledError:
                await asyncio.wait([future])
                raise

    async def look(self, path: bytes, *, follow: bool = True) -> Entry | None:
        """What is there; None for nothing."""
        try:
            return entry_of_stat(await self.aside(os.stat if follow else os.lstat, path))
        except FileError as error:
            if error.why == "missing":
                return None
            raise

    async def names(self, path: bytes) -> list[tuple[bytes, Entry]]:
        """The names in a directory."""
        return await self.aside(_list, path)

    async def open(self, path: bytes) -> Reader:
        """Open a file to read from it."""
        return _LocalReader(self, await self.aside(os.open, path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))

    async def create(self, path: bytes, *, resumes: bool = False) -> Writer:
        """Open a file to write to it."""
        return _LocalWriter(self, await self.aside(os.open, path, _RESUME if resumes else _CREATE, PRIVATE))

    async def make_directory(self, path: bytes) -> None:
        """Make a directory."""
        await self.aside(os.mkdir, path, 0o700)

    async def finish_directory(self, path: bytes, entry: Entry) -> None:
        """Give a directory its mode and times."""
        await self.aside(_finish, path, entry)

    async def replace(self, old: bytes, new: bytes) -> None:
        """Give a file another name."""
        await self.aside(os.replace, old, new)

    async def remove(self, path: bytes) -> None:
        """Remove a file or a link."""
        await self.aside(os.unlink, path)

    async def read_link(self, path: bytes) -> bytes:
        """Where a link leads."""
        return await self.aside(os.readlink, path)

    async def make_link(self, path: bytes, to: bytes) -> None:
        """Make a link."""
        await self.aside(os.symlink, to, path)

    async def digests(self, paths: Sequence[bytes]) -> list[str]:
        """SHA-256 of each file."""
        return [await self.aside(_digest, path) for path in paths]

    async def why_full(self, path: bytes) -> str:
        """The errors of this machine say it themselves."""
        del path
        return ""

    async def close_fd(self, fd: int) -> None:
        """Close a descriptor, if it is one, that holds nothing any more which could be lost."""
        if fd >= 0:
            try:
                await self.aside(os.close, fd)
            except FileError:
                pass

    def __repr__(self) -> str:
        return "<LocalFiles>"


class _LocalReader:
    """A file of this machine that is read, in larger pieces than it is asked for."""

    def __init__(self, files: LocalFiles, fd: int) -> None:
        self._files = files
        self._fd = fd
        self._begin, self._ahead = 0, b""
        self._lock = asyncio.Lock()

    async def read(self, offset: int, size: int) -> bytes:
        async with self._lock:
            at = offset - self._begin
            if not at >= 0 or at + size > len(self._ahead):
                self._ahead = await self._files.aside(os.pread, self._fd, max(size, READ_BYTES), offset)
                self._begin, at = offset, 0
            return self._ahead[at : at + size]

    async def close(self) -> None:
        fd, self._fd = self._fd, -1
        await self._files.close_fd(fd)


class _LocalWriter:
    """A file of this machine that is written: what comes while a thread writes is written together, next."""

    def __init__(self, files: LocalFiles, fd: int) -> None:
        self._files = files
        self._fd = fd
        self._waiting: list[tuple[int, bytes]] = []
        self._next: asyncio.Future[None] | None = None
        self._current: asyncio.Future[None] | None = None

    async def write(self, offset: int, data: bytes) -> None:
        self._waiting.append((offset, data))
        if self._next is None:
            self._next = asyncio.ensure_future(self._write_waiting(self._current))
        await asyncio.shield(self._next)

    async def _write_waiting(self, before: asyncio.Future[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        pieces, self._waiting = self._waiting, []
        self._current, self._next = self._next, None
        await self._files.aside(_write, self._fd, pieces)

    async def finish(self, entry: Entry) -> None:
        fd, self._fd = self._fd, -1
        await self._files.aside(_finish_file, fd, entry)

    async def close(self) -> None:
        under_way = [future for future in (self._current, self._next) if future is not None]
        if under_way:
            await asyncio.gather(*under_way, return_exceptions=True)
        fd, self._fd = self._fd, -1
        await self._files.close_fd(fd)


def _list(path: bytes) -> list[tuple[bytes, Entry]]:
    found = []
    with os.scandir(path) as entries:
        for entry in entries:
            try:
                found.append((entry.name, entry_of_stat(entry.stat(follow_symlinks=False))))
            except FileNotFoundError:  # gone in this moment
                continue
    return found


def _write(fd: int, pieces: list[tuple[int, bytes]]) -> None:
    for begin, whole in pieces:
        offset, data = begin, whole
        while data:
            done = os.pwrite(fd, data, offset)
            data, offset = data[done:], offset + done


def _finish_file(fd: int, entry: Entry) -> None:
    try:
        _finish(fd, entry)
    finally:
        os.close(fd)  # on a network disk this is where a full one is told


def _finish(where: int | bytes, entry: Entry) -> None:
    os.chmod(where, entry.mode)
    os.utime(where, (entry.atime, entry.mtime))


def _digest(path: bytes) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
