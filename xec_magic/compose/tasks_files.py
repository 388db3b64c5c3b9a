"""Whether files are what they were: stamps with the content's digest as truth, size and times as a shortcut."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import Final

from xec_magic.compose.tasks_graph import FileName
from xec_magic.errors import XecError

__all__ = ["FileFault", "Stamp", "Stamps", "changed", "missing", "pattern_hint", "stamps_of"]

READ_BYTES: Final = 2**20
MOST_FILES: Final = 10_000  # of one directory; more make each check slow, and are hardly meant
SETTLED_NS: Final = 2 * 10**9  # a file changed so shortly before it was read may change again within the clock's step

# Size, modification and change time in ns, inode, when it was read in ns, digest of the content.
Stamp = tuple[int, int, int, int, int, str]
Stamps = Mapping[str, Stamp]  # by absolute path


class FileFault(XecError):
    """A file that a task depends on is not there, or cannot be read; the task has not run."""


def stamps_of(
    names: Iterable[FileName], known: Stamps, *, stopped: Callable[[], bool] = lambda: False
) -> dict[str, Stamp]:
    """The stamps of files, and of all files in directories, as they are now.

    Args:
        names: Files and directories.
        known: Earlier stamps: a file of the same size, times and inode has the same content and is not read.
        stopped: Asked between two pieces of a large file; True ends the reading.

    Raises:
        FileFault: one is not there, cannot be read, is neither file nor directory, or holds too many files.
    """
    found: dict[str, Stamp] = {}
    for shown, path in names:
        try:
            for one in _files(shown, path):
                found[one] = _stamp(one, known.get(one), stopped)
        except OSError as error:
            where = (
                shown if error.filename in {None, path} else os.path.join(shown, os.path.relpath(error.filename, path))
            )
            if isinstance(error, FileNotFoundError):
                raise FileFault(f"it depends on {where}, which is not there{pattern_hint(shown)}") from error
            raise FileFault(f"it depends on {where}, which cannot be read: {error.strerror}") from error
    return found


def _files(shown: str, path: str) -> list[str]:
    """The file itself, or the files in a directory, in a steady order."""
    mode = os.stat(path).st_mode
    if stat.S_ISREG(mode):
        return [path]
    if not stat.S_ISDIR(mode):
        raise FileFault(f"it depends on {shown}, which is neither a file nor a directory")
    found: list[str] = []

    def fail(error: OSError) -> None:
        raise error

    for directory, _, files in os.walk(path, onerror=fail):
        for name in files:
            one = os.path.join(directory, name)
            if os.path.isfile(one):  # no sockets, no dangling links
                found.append(one)
        if len(found) > MOST_FILES:
            raise FileFault(f"it depends on {shown}, which holds more than {MOST_FILES:,} files; name those that count")
    return sorted(found)


def _stamp(path: str, known: Stamp | None, stopped: Callable[[], bool]) -> Stamp:
    now = time.time_ns()
    status = os.stat(path)
    size, modified, turned, inode = status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
    # By the later of the two times: `cp -p`, `tar` and `touch -d` set the one back, and the clock may have been.
    if (
        known is not None
        and known[:4] == (size, modified, turned, inode)
        and known[4] - max(modified, turned) > SETTLED_NS
    ):
        return known
    digest = blake2b(digest_size=20)
    with open(path, "rb", buffering=0) as file:
        while data := file.read(READ_BYTES):
            digest.update(data)
            if stopped():
                raise FileFault("it was stopped while its files were read")
    return size, modified, turned, inode, now, digest.hexdigest()


def changed(before: Stamps, now: Stamps, names: Iterable[FileName]) -> str:
    """What is different between two sets of stamps, in words; empty when the content is the same.

    Example:
        >>> one, other = (5, 1, 1, 7, 9, "aa"), (5, 2, 2, 7, 9, "bb")
        >>> changed({"/w/a": one}, {"/w/a": other}, [("a", "/w/a")])
        'a has changed'
    """
    for path in now:
        if path not in before:
            return f"{_shown(path, names)} is new"
        if now[path][5] != before[path][5]:
            return f"{_shown(path, names)} has changed"
    gone = next((path for path in before if path not in now), None)
    return f"{_shown(gone, names)} is gone" if gone is not None else ""


def missing(names: Iterable[FileName]) -> str:
    """The first of these that is not there, as it is written; empty when all are."""
    return next((shown for shown, path in names if not os.path.exists(path)), "")


def pattern_hint(shown: str) -> str:
    """What to add where a file is not there whose name looks like a pattern."""
    return "; nothing is expanded in names: name each file, or their directory" if re.search(r"[*?\[]", shown) else ""


def _shown(path: str, names: Iterable[FileName]) -> str:
    for shown, root in names:
        if path == root:
            return shown
        if path.startswith(root + "/"):
            return os.path.join(shown, os.path.relpath(path, root))
    return path
