"""What files hold, told by a digest of their content; read again only when their stamp has changed."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from xec_magic.errors import OptionError

__all__ = ["Stamp", "StampBook", "Stamps"]

READ_BYTES: Final = 1024 * 1024  # between two reads an interrupt is heard
YOUNG_S: Final = 2.0  # a file changed so lately may change again within one tick of its time stamp (FAT has 2 s)
KNOWN: Final = 4096  # files whose digests are remembered

Stamp: TypeAlias = tuple[int, ...]
"""Device, inode, size, modification and change time in nanoseconds; of a directory, a number made of its tree."""


class StampBook(Protocol):
    """Where digests outlive this kernel: a file of 10 GB is read once, not once a kernel."""

    def known(self, path: str, stamp: Stamp) -> bytes | None:
        """The digest that a file had when it had this stamp."""

    def note(self, path: str, stamp: Stamp, digest: bytes) -> None:
        """Remember it; never waits."""


class Stamps:
    """Digests of files and directories. Any thread may ask; it is the caller's thread that reads.

    Args:
        wall: Seconds since the epoch, as file times have them.
    """

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._known: dict[str, tuple[Stamp, bytes]] = {}
        self.read_bytes = 0

    def digest(self, path: str, book: StampBook | None = None, what: str = "depends") -> tuple[Stamp, bytes]:
        """The stamp of a file or directory, and a digest of what it holds.

        Interruptible. Takes a second for every 700 MB or so, the first time and after each change.

        Args:
            path: Where it is.
            book: Where digests outlive this kernel.
            what: The option that has named it, for messages.

        Raises:
            OptionError: not there, not readable, or neither a file nor a directory.
        """
        stamp = self.stamp(path, what)
        known = self._known.get(path)
        if known is not None and known[0] == stamp:
            return known
        if len(stamp) == 1:
            return stamp, stamp[0].to_bytes(16, "big")
        digest = book.known(path, stamp) if book is not None else None
        if digest is None:
            digest = self._read(path, what)
            # Changed while it was read: the stamp before is the one that later comparisons must find untrue.
            settled = self._settled(stamp) and self.same(path, stamp)
            if settled and book is not None:
                book.note(path, stamp, digest)
        else:
            settled = self._settled(stamp)
        if settled:
            if len(self._known) >= KNOWN:
                self._known.clear()
            self._known[path] = stamp, digest
        return stamp, digest

    def stamp(self, path: str, what: str = "depends") -> Stamp:
        """What changes when a file or anything in a directory does.

        Raises:
            OptionError: as for `digest`.
        """
        try:
            status = os.stat(path)
            if stat.S_ISDIR(status.st_mode):
                return (int.from_bytes(_tree(path), "big"),)
        except OSError as error:
            raise _refusal(path, error, what) from None
        if not stat.S_ISREG(status.st_mode):
            raise OptionError(f"{what}: {path} is neither a file nor a directory, so what it gives is in no key")
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns

    def same(self, path: str, stamp: Stamp) -> bool:
        """Whether nothing has changed since the stamp was taken."""
        try:
            return self.stamp(path) == stamp
        except OptionError:
            return False

    def _settled(self, stamp: Stamp) -> bool:
        return self._wall() - stamp[4] / 1e9 > YOUNG_S

    def _read(self, path: str, what: str) -> bytes:
        content = hashlib.blake2b(digest_size=16)
        try:
            with open(path, "rb", buffering=0) as file:
                while data := file.read(READ_BYTES):
                    content.update(data)
                    self.read_bytes += len(data)
        except OSError as error:
            raise _refusal(path, error, what) from None
        return content.digest()


def _tree(path: str) -> bytes:
    """A digest of names, kinds, sizes and times below a directory; links are not followed."""
    content = hashlib.blake2b(digest_size=16)
    waiting = [path]
    while waiting:
        directory = waiting.pop()
        try:
            with os.scandir(directory) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            if directory == path:
                raise
            continue  # gone since it was listed
        for entry in found:
            try:
                status = entry.stat(follow_symlinks=False)
                target = os.fsencode(os.readlink(entry.path)) if entry.is_symlink() else b""
            except FileNotFoundError:
                continue
            name = os.fsencode(os.path.relpath(entry.path, path))
            kind = stat.S_IFMT(status.st_mode)
            content.update(b"%d:%s:%o:" % (len(name), name, kind))
            if stat.S_ISLNK(kind):
                content.update(b"%d:%s" % (len(target), target))
            elif stat.S_ISDIR(kind):  # its own size and time say nothing that its entries do not
                waiting.append(entry.path)
            else:
                content.update(b"%d:%d" % (status.st_size, status.st_mtime_ns))
    return content.digest()


def _refusal(path: str, error: OSError, what: str) -> OptionError:
    where = path if error.filename in (None, path) else str(error.filename)
    if isinstance(error, FileNotFoundError):
        return OptionError(f"{what}: no such file or directory: {where}")
    return OptionError(f"{what}: {where} cannot be read: {error.strerror}")
