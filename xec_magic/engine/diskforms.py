"""What is of no use any more beside the database: those of earlier forms, and damaged ones that were set aside."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from xec_magic.engine.diskdb import FORM
from xec_magic.engine.diskfiles import pieces_of

__all__ = ["remove_older_forms", "remove_set_aside"]

_OURS: Final = re.compile(r"results-(\d+)\.(db|db-wal|db-shm|lock|damaged-.*)")
# SQLite's shared lock, which a connection to a database with a write-ahead log has from its first question to its end.
# Source: the SQLite file format, section 1.4, "the lock-byte page".
_SHARED_FIRST: Final = 0x40000002
_SHARED_BYTES: Final = 510


def remove_older_forms(directory: Path) -> None:
    """Remove the databases that no kernel of this version reads, unless an older one has them open."""
    found: dict[int, list[Path]] = {}
    for path in directory.iterdir():
        name = _OURS.fullmatch(path.name)
        if name is not None and int(name[1]) < FORM:
            found.setdefault(int(name[1]), []).append(path)
    for form, paths in found.items():
        main = directory / f"results-{form}.db"
        with contextlib.suppress(OSError), _unused(main):
            # Its log first: a database that is made anew in its place would take that for its own.
            for path in sorted(paths, key=lambda path: path == main):
                path.unlink(missing_ok=True)


def remove_set_aside(directory: Path, holds: Callable[[Iterator[bytes]], bool] | None = None) -> None:
    """Remove the damaged databases that are kept for who wants to look at them; with `holds`, those of whose bytes it is true."""
    for path in directory.glob(f"results-{FORM}.damaged-*"):
        if holds is None or holds(pieces_of(path)):
            with contextlib.suppress(OSError):
                path.unlink()


@contextlib.contextmanager
def _unused(database: Path) -> Iterator[None]:
    """While nobody has it open, nor can open it.

    Raises:
        OSError: somebody has, or that cannot be told.
    """
    try:
        fd = os.open(database, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield
        return
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED_BYTES, _SHARED_FIRST)
        yield
    finally:
        os.close(fd)
