"""`DiskPlace`: where the persistent tier lies, the way into it, and what is said when it refuses."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from xec_magic.engine.diskdb import NAME, Database, inode_of, is_busy, is_damage, open_database, open_for_reading
from xec_magic.engine.diskfiles import OutputFiles, private_directory, set_aside

__all__ = ["DiskPlace"]

MOST_S: Final = 1.0  # nobody reads for as long from a disk that is well


class DiskPlace:
    """The directory of the tier: database and files, made on first use, and again where somebody has removed them.

    Args:
        root: Gives the directory to make it in.
        resting: The disk is left alone for a while.
        rest: Leaves it alone.

    Attributes:
        directory: Once it is in use.
        files: Beside the database, once it is in use.
        complaints: What is wrong with it, each thing once.
    """

    def __init__(self, root: Callable[[], Path], resting: Callable[[], bool], rest: Callable[[], None]) -> None:
        self._root = root
        self._resting, self._rest = resting, rest
        self.directory: Path | None = None
        self.files: OutputFiles | None = None
        self.complaints: deque[str] = deque(maxlen=20)
        self._said: set[str] = set()
        self._reader: Database | None = None
        self._reader_lock = threading.Lock()
        self._reading = 0  # the thread that has it
        self._inode = 0  # of the database that was used last

    def read(self, question: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """All rows that the database answers with; none where it refuses. Any thread."""
        me = threading.get_ident()
        if self._reading == me or not self._reader_lock.acquire(timeout=MOST_S):
            return self._read_beside(question, values)
        try:
            self._reading = me
            reader = self._reader
            if reader is None or not self._is_named(reader):
                self._close_reader()
                if self._resting():
                    return self._read_only(question, values)
                reader = self._reader = self.connect()
            return reader.execute(question, values).fetchall()
        except (sqlite3.Error, OSError) as error:
            self._close_reader()
            return self._refused(error, question, values)
        finally:
            self._reading = 0
            self._reader_lock.release()

    def _read_beside(self, question: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        """The same by a connection of its own, for who has broken into a thread that reads, as a finalizer or the handler of a signal
        does, or where that waits for its disk. Of one connection for two the one would close what the other reads from.
        """
        if self._resting():
            return self._read_only(question, values)
        try:
            with contextlib.closing(self.connect()) as db:
                return db.execute(question, values).fetchall()
        except (sqlite3.Error, OSError) as error:
            return self._refused(error, question, values)

    def _refused(self, error: Exception, question: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        self.failed(error)
        return [] if is_busy(error) else self._read_only(question, values)

    def _read_only(self, question: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        """The same from a disk that takes nothing, on which SQLite cannot have what it shares between kernels."""
        if self.directory is None or self.files is None:
            return []
        with (
            contextlib.suppress(sqlite3.Error, OSError),
            contextlib.closing(open_for_reading(self.directory / NAME)) as db,
        ):  # an error may come from a change in this moment: it says nothing of the database
            return db.execute(question, values).fetchall()
        return []

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _is_named(self, db: Database) -> bool:
        """Its file still has its name: nobody has removed the directory, or set a damaged file aside."""
        try:  # here and not by `inode_of`: it is asked at each hit
            if db.inode != os.stat(db.path).st_ino:
                return False
        except OSError:
            return False
        self._inode = db.inode
        return True

    def is_there(self, db: Database) -> bool:
        """The file of a connection has its name, and the files beside it are there; those are made again where they were removed.

        Raises:
            OSError: they are gone and cannot be made.
        """
        if not self._is_named(db):
            return False
        if self.files is None or self.files.gone:
            assert self.directory is not None
            self._make_files(self.directory)
        return True

    def _make_files(self, directory: Path) -> None:
        """The files beside the database, again where they were removed. Those made before may still be in use."""
        if self.files is None or self.files.gone:
            self.files = OutputFiles(directory)

    def connect(self) -> Database:
        """A connection to the database, which is made if it is not there.

        Raises:
            OSError: its directory cannot be made.
            sqlite3.Error: it cannot be opened, or is none.
        """
        self.directory = private_directory(self._root() / "results")
        path = self.directory / NAME
        self._make_files(self.directory)
        self._inode = inode_of(path)
        db = open_database(path)
        self._inode = db.inode
        return db

    def exists(self) -> bool:
        """There is something on disk, of this kernel or of others."""
        try:
            return (self._root() / "results" / NAME).exists()
        except OSError:
            return False

    def failed(self, error: Exception) -> None:
        """A disk or database refuses: say so once; a damaged database is set aside, so that a new one can be made."""
        if is_busy(error):
            return
        if is_damage(error) and self.directory is not None:
            try:
                kept = set_aside(self.directory / NAME, self._inode)
            except OSError as problem:
                self.complain(f"the results on disk are damaged ({error}) and cannot be set aside: {problem.strerror}")
                self._rest()
            else:
                if kept is not None:
                    self.complain(f"the results on disk were damaged ({error}); set aside as {kept}, a new file begun")
            return
        where = self.directory or getattr(error, "filename", None) or "the cache directory"
        reason = getattr(error, "strerror", None) or str(error)
        self.complain(f"results cannot be kept on disk ({where}: {reason}); they are kept in memory only")
        self._rest()

    def complain(self, text: str) -> None:
        """Say what is wrong, once."""
        if text not in self._said:
            self._said.add(text)
            self.complaints.append(text)

    def close(self) -> None:
        """Let go of the files."""
        if self._reader_lock.acquire(timeout=MOST_S):  # else it is in use, and goes with the process
            try:
                self._close_reader()
            finally:
                self._reader_lock.release()
        if self.files is not None:
            self.files.close()
