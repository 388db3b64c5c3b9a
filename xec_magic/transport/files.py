"""What an end of a transfer must be able to do, and what is known of a file."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

__all__ = ["BLOCK_BYTES", "PRIVATE", "Entry", "FileSystem", "Reader", "Writer", "entry_of_stat"]

BLOCK_BYTES: Final = 255 * 1024  # OpenSSH reads and writes no more at once
PRIVATE: Final = 0o600  # of what is not complete: its mode comes when it is


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a name in a directory.

    Attributes:
        size: Bytes.
        mode: Permission bits, 0 to 0o777.
        atime: Seconds since 1970, whole ones: SFTP 3 has no others.
        mtime: The same.
    """

    kind: Literal["file", "directory", "link", "other"]
    size: int = 0
    mode: int = 0o644
    atime: int = 0
    mtime: int = 0


class Reader(Protocol):
    """A file that is being read."""

    async def read(self, offset: int, size: int) -> bytes:
        """At most `size` bytes from `offset`; fewer only at the file's end."""

    async def close(self) -> None:
        """Let go of it. Never raises."""


class Writer(Protocol):
    """A file that is being written."""

    async def write(self, offset: int, data: bytes) -> None:
        """Put bytes at `offset`."""

    async def finish(self, entry: Entry) -> None:
        """Give it its mode and times, and close it."""

    async def close(self) -> None:
        """Let go of it, as it is. Never raises."""


class FileSystem(Protocol):
    """One end of a transfer. Paths are bytes: names need not be text. What fails raises `FileError`, with the reason alone.

    Attributes:
        name: Of its target.
        prefix: What stands before a path in messages, where it is not clear which side is meant.
        block_bytes: It reads and writes no more at once.
    """

    name: str
    prefix: str
    block_bytes: int

    async def look(self, path: bytes, *, follow: bool = True) -> Entry | None:
        """What is there; None for nothing."""

    async def names(self, path: bytes) -> list[tuple[bytes, Entry]]:
        """The names in a directory, as the other side says them; without `.` and `..`."""

    async def open(self, path: bytes) -> Reader:
        """Open a file to read from it."""

    async def create(self, path: bytes, *, resumes: bool = False) -> Writer:
        """Open a file to write to it: a new one, or with `resumes` one that is there, which stays as it is. No link is made a file."""

    async def make_directory(self, path: bytes) -> None:
        """Make a directory that only its owner can use, until `finish_directory`."""

    async def finish_directory(self, path: bytes, entry: Entry) -> None:
        """Give a directory its mode and times."""

    async def replace(self, old: bytes, new: bytes) -> None:
        """Give a file another name, also one that is taken."""

    async def remove(self, path: bytes) -> None:
        """Remove a file or a link."""

    async def read_link(self, path: bytes) -> bytes:
        """Where a link leads."""

    async def make_link(self, path: bytes, to: bytes) -> None:
        """Make a link."""

    async def digests(self, paths: Sequence[bytes]) -> list[str]:
        """SHA-256 of each file, in hexadecimal digits."""

    async def why_full(self, path: bytes) -> str:
        """Why nothing more could be written below a directory: words, or nothing if it is not known."""


def entry_of_stat(status: os.stat_result) -> Entry:
    """An entry of what stat(2) says."""
    mode = status.st_mode
    kind: Literal["file", "directory", "link", "other"] = (
        "file"
        if stat.S_ISREG(mode)
        else "directory"
        if stat.S_ISDIR(mode)
        else "link"
        if stat.S_ISLNK(mode)
        else "other"
    )
    return Entry(kind, status.st_size, mode & 0o777, int(status.st_atime), int(status.st_mtime))
