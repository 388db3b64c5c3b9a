"""Names under which a shell can open what belongs to this process: its streams, its orders, its script.

A warm shell was started before there was anything to hand to it, so it opens things by name. On Linux every descriptor of
this process has one, `/proc/PID/fd/N`, for processes of the same user. Elsewhere there are FIFOs and files in a directory of
mode 0700.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from typing import Final, Protocol

__all__ = ["FifoNames", "Names", "ProcNames", "names_for"]

_NEEDS_NO_QUOTES: Final = re.compile(r"[\w./+-]+", re.ASCII)


class Names(Protocol):
    """Slots, each with a name that stays the same whatever it holds."""

    def path(self, slot: str) -> str:
        """The slot's name, for the shell. It needs no quoting."""

    @property
    def lasting(self) -> bool:
        """A pipe that was read to its end can be written to anew by its name."""

    def output(self, slot: str) -> int:
        """Put a new pipe into a slot; gives its end to read from, which does not block, and has a writer of our own."""

    def hold(self, slot: str) -> None:
        """Have a writer of our own: the reader sees no end before `release` or `shut`."""

    def release(self, slot: str) -> None:
        """Close our own writer, but leave the pipe where it is."""

    def shut(self, slot: str) -> None:
        """Take a pipe out: when all its writers are gone, the reader sees the end; when that one is gone, they see it."""

    def give(self, slot: str, fd: int) -> None:
        """Put a descriptor to write to into a slot; it is the slot's from now on, until `shut`.

        Raises:
            OSError: this kind of descriptor cannot be given a name here.
        """

    def orders(self, slot: str) -> int:
        """Put a pipe into a slot from which the shell reads; gives its end to write to, which does not block."""

    def write(self, slot: str, data: bytes) -> None:
        """Put a file with these bytes into a slot."""

    def read(self, slot: str, fd: int | None) -> None:
        """Put something to read into a slot, `/dev/null` for None. The descriptor is the slot's from now on.

        Raises:
            OSError: this kind of descriptor cannot be given a name here.
        """

    def close(self) -> None:
        """Close everything."""


class ProcNames:
    """Names in `/proc`: a slot is the number of one descriptor, which is made to mean another thing each time."""

    lasting: Final = True

    def __init__(self) -> None:
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._slots: dict[str, int] = {}
        self._writers: dict[str, int] = {}
        self._files: set[str] = set()
        self._full: set[str] = set()  # those whose descriptor is not /dev/null

    def _slot(self, slot: str) -> int:
        fd = self._slots.get(slot)
        if fd is None:
            fd = self._slots[slot] = os.dup(self._null)
        return fd

    def path(self, slot: str) -> str:
        """See `Names`."""
        return f"/proc/{os.getpid()}/fd/{self._slot(slot)}"

    def output(self, slot: str) -> int:
        """See `Names`."""
        # Not blocking for us alone: who opens the name has an end of its own. Opened for writing, it is the pipe's other end.
        self.release(slot)
        place = self._slot(slot)
        read, self._writers[slot] = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.dup2(read, place, inheritable=False)
        self._full.add(slot)
        return read

    def hold(self, slot: str) -> None:
        """See `Names`."""
        if slot not in self._writers:
            self._writers[slot] = os.open(
                f"/proc/self/fd/{self._slots[slot]}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
            )

    def release(self, slot: str) -> None:
        """See `Names`."""
        writer = self._writers.pop(slot, None)
        if writer is not None:
            os.close(writer)

    def shut(self, slot: str) -> None:
        """See `Names`."""
        self.release(slot)
        if slot in self._full:
            self._full.discard(slot)
            os.dup2(self._null, self._slots[slot], inheritable=False)

    def give(self, slot: str, fd: int) -> None:
        """See `Names`."""
        self._put(slot, fd)

    def orders(self, slot: str) -> int:
        """See `Names`."""
        self._slot(slot)
        read, write = os.pipe()
        os.set_blocking(write, False)
        self._put(slot, read)
        return write

    def _put(self, slot: str, fd: int) -> None:
        try:
            self.release(slot)
            os.dup2(fd, self._slot(slot), inheritable=False)
        finally:
            os.close(fd)
        self._full.add(slot)

    def write(self, slot: str, data: bytes) -> None:
        """See `Names`."""
        if slot not in self._files:
            self._put(slot, os.memfd_create("xec-" + slot, os.MFD_CLOEXEC))
            self._files.add(slot)
        fd = self._slot(slot)
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)
        _write_all(fd, data)

    def read(self, slot: str, fd: int | None) -> None:
        """See `Names`."""
        if fd is None:
            self.shut(slot)
        else:
            self._put(slot, fd)

    def close(self) -> None:
        """See `Names`."""
        for fd in (*self._slots.values(), *self._writers.values(), self._null):
            os.close(fd)
        self._slots.clear()
        self._writers.clear()

    def __repr__(self) -> str:
        return f"<ProcNames {len(self._slots)} slots>"


class FifoNames:
    """FIFOs, files and links in a private directory.

    Args:
        directory: Gives a directory of mode 0700 to make it in; not used where its name needs quotes in a shell.
    """

    lasting: Final = False

    def __init__(self, directory: Callable[[], str]) -> None:
        parent = directory()
        if not _NEEDS_NO_QUOTES.fullmatch(parent):  # a name with a blank in it: the system's own place, then
            parent = tempfile.gettempdir()
        self._directory = tempfile.mkdtemp(prefix="xec-shell-", dir=parent)
        self._ends: dict[str, int] = {}

    def path(self, slot: str) -> str:
        """See `Names`."""
        return os.path.join(self._directory, slot)

    def output(self, slot: str) -> int:
        """See `Names`."""
        read, self._ends[slot] = self._fifo(slot)
        return read

    def hold(self, slot: str) -> None:
        """See `Names`."""

    def release(self, slot: str) -> None:
        """See `Names`."""
        self.shut(slot)

    def shut(self, slot: str) -> None:
        """See `Names`."""
        fd = self._ends.pop(slot, None)
        if fd is not None:
            os.close(fd)

    def give(self, slot: str, fd: int) -> None:
        """See `Names`."""
        os.close(fd)
        raise OSError(
            errno.ENOTSUP, f"a descriptor has no name on this system, so no pipe leads out of a session ({slot})"
        )

    def orders(self, slot: str) -> int:
        """See `Names`."""
        self._ends[slot], write = self._fifo(slot)
        os.set_blocking(self._ends[slot], True)
        os.set_blocking(write, False)
        return write

    def _fifo(self, slot: str) -> tuple[int, int]:
        """Both ends of a new FIFO: a late writer may still hold the one before, which had the same name."""
        self.shut(slot)
        path = self.path(slot)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        os.mkfifo(path, 0o600)
        read = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        return read, os.open(path, os.O_WRONLY | os.O_CLOEXEC)

    def write(self, slot: str, data: bytes) -> None:
        """See `Names`."""
        fd = os.open(self.path(slot), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write_all(fd, data)
        finally:
            os.close(fd)

    def read(self, slot: str, fd: int | None) -> None:
        """See `Names`."""
        path = self.path(slot)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        if fd is None:
            os.symlink(os.devnull, path)
            return
        with open(fd, "rb") as source, open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            source.seek(0)  # a pipe cannot; OSError says so
            shutil.copyfileobj(source, file)

    def close(self) -> None:
        """See `Names`."""
        for slot in list(self._ends):
            self.shut(slot)
        shutil.rmtree(self._directory, ignore_errors=True)

    def __repr__(self) -> str:
        return f"<FifoNames {self._directory}>"


PORTABLE: Final = False  # tests set it, to take the way of systems without /proc


def names_for(directory: Callable[[], str]) -> Names:
    """The names that this system allows.

    A process that may not be looked into (prctl(2), PR_SET_DUMPABLE) has a /proc directory that belongs to root.
    """
    if not PORTABLE and sys.platform == "linux":
        try:
            if os.stat(f"/proc/{os.getpid()}/fd").st_uid == os.geteuid():
                return ProcNames()
        except OSError:
            pass
    return FifoNames(directory)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
