"""The database of the persistent tier: its tables, a connection that knows its file, and what its errors mean."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = [
    "FORM", "NAME", "READ_PATIENCE_S", "Database", "inode_of", "is_busy", "is_damage", "open_database", "open_for_reading",
    "patience",
]  # fmt: skip

READ_PATIENCE_S: Final = 0.25  # for another kernel that recovers the database; then it is a miss

FORM: Final = 2  # another form of the tables is another number
NAME: Final = f"results-{FORM}.db"
_TABLES: Final = """
create table if not exists entries(
    digest integer primary key, wall real not null, keep real not null, used real not null, size integer not null,
    hits integer not null default 0, file text, file_stamp text, record blob not null, log blob not null, proof blob not null,
    target text not null, script blob not null, full blob not null, output blob);
create index if not exists by_use on entries(used);
create index if not exists by_end on entries(wall + keep);
create table if not exists totals(one integer primary key check (one = 1), bytes integer not null, count integer not null);
insert or ignore into totals values(1, 0, 0);
create trigger if not exists added after insert on entries begin
    update totals set bytes = bytes + new.size, count = count + 1; end;
create trigger if not exists removed after delete on entries begin
    update totals set bytes = bytes - old.size, count = count - 1; end;
create table if not exists stamps(path blob primary key, stamp text not null, digest blob not null, used real not null);
"""


class Database(sqlite3.Connection):
    """A connection that knows which file it has open: another one of its name is another database."""

    path = ""
    inode = 0


def open_database(path: Path) -> Database:
    """A connection for any thread; the database is made if it is not there.

    Raises:
        sqlite3.Error: it cannot be opened, or is none.
    """
    db = sqlite3.connect(path, timeout=READ_PATIENCE_S, isolation_level=None, check_same_thread=False, factory=Database)
    db.text_factory = _text
    try:
        _make_private(path)  # the files beside it get its mode
        if not db.execute("select 1 from sqlite_master where name = 'stamps'").fetchone():
            db.execute("pragma auto_vacuum = incremental")
            db.execute("pragma journal_mode = wal")
            db.executescript(f"begin immediate; {_TABLES} commit;")
        db.execute("pragma synchronous = normal")
        db.execute("pragma secure_delete = on")  # what is forgotten is not to be found in the file either
        db.path = str(path)
        db.inode = inode_of(path)
    except BaseException:
        db.close()
        raise
    return db


@contextlib.contextmanager
def patience(db: sqlite3.Connection, seconds: float) -> Iterator[None]:
    """Wait no longer than so for another kernel, for a while."""
    (usual,) = db.execute("pragma busy_timeout").fetchone()
    db.execute(f"pragma busy_timeout = {int(seconds * 1000)}")
    try:
        yield
    finally:
        db.execute(f"pragma busy_timeout = {usual}")


def open_for_reading(path: Path) -> Database:
    """A connection where nothing can be written: neither the database nor what SQLite keeps beside it for readers.

    It sees no later change, and does not lock: it is for one question.

    Raises:
        OSError: it is not there.
        sqlite3.Error: it cannot be opened, is none, or has changes in a log, which cannot be read so.
    """
    log = Path(f"{path}-wal")
    if not path.is_file():  # a FIFO would be waited for
        raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
    if log.exists() and log.stat().st_size:
        raise sqlite3.OperationalError("its log cannot be read")
    db = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None, factory=Database)
    db.text_factory = _text
    return db


def _text(data: bytes) -> str:
    """Damaged text is a name that nothing has, and no error for all other rows of the answer."""
    return data.decode("utf-8", "replace")


def _make_private(path: Path) -> None:
    with contextlib.suppress(OSError):  # it cannot be opened either, or its directory keeps others out
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode) and mode & 0o077:  # what a link names is not ours to close, and may be a device
            path.chmod(0o600)


def inode_of(path: str | Path) -> int:
    """The number of a file; 0 when it is not there."""
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def is_busy(error: Exception) -> bool:
    """Another kernel has it to itself for a moment."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_damage(error: Exception) -> bool:
    """The file is no database, or none of ours; not: the disk is full, read-only, or slow."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    damage = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
    return isinstance(error, sqlite3.Error) and code in damage
