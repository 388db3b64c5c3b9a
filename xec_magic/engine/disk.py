"""The persistent tier of the result cache: an SQLite file that kernels share, large outputs as files beside it."""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from xec_magic.command import decode_script, encode_script
from xec_magic.engine.cachekey import Key
from xec_magic.engine.clock import Moment
from xec_magic.engine.diskfacts import pack, proof, unpack
from xec_magic.engine.diskfiles import OutputFiles, private_directory, set_aside
from xec_magic.engine.diskwriter import Job, Moved, Writer
from xec_magic.engine.memory import Entry
from xec_magic.engine.spool import cache_root
from xec_magic.engine.stamps import Stamp
from xec_magic.errors import OutputTooLarge
from xec_magic.output import OutputLog
from xec_magic.plan import Plan

__all__ = ["DISK_BYTES", "DISK_ENTRY_BYTES", "DiskTier", "Listed"]

T = TypeVar("T")

DISK_BYTES: Final = 2**30
DISK_ENTRY_BYTES: Final = 256 * 2**20  # one output; a quarter of all, so that one cannot sweep the rest away
INLINE_BYTES: Final = 64 * 1024  # larger outputs are files: read 16 times as fast as from rows
PENDING_BYTES: Final = 64 * 2**20  # of outputs that wait for a slow disk
EVICT_ROWS: Final = 64
READ_PATIENCE_S: Final = 0.25  # for another kernel that recovers the database; then it is a miss
STAMPS_S: Final = 30 * 86400.0  # digests of files that nobody has asked for since go
TOUCHED: Final = 1000  # uses noted in memory before they are written down

_NAME: Final = "results-1.db"  # another form of the tables is another name
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
_LOAD: Final = "select file, file_stamp, record, log, proof, full, output from entries where digest = ?"
_SAVE: Final = (
    "insert into entries(digest, wall, keep, used, size, file, file_stamp, record, log, proof, target, script, full, output) "
    "values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_CONTENTS: Final = "select digest, script, full, output, file from entries where digest >= ? order by digest limit 16"
_LIST: Final = "select digest, script, target, record, hits from entries order by wall"


@dataclass(frozen=True, slots=True)
class Listed:
    """A row, as a table of entries needs it; `size` is that of its output."""

    digest: int
    script: str
    target: str
    stored: Moment
    ttl_s: float
    stale_s: float
    size: int
    hits: int


class _Connection(sqlite3.Connection):
    """Knows which file it has open: another one of its name is another database."""

    path = ""
    inode = 0


class DiskTier:
    """Results that outlive their kernel. Reading happens in the caller's thread, writing behind in one of its own.

    Whatever the disk does, nothing is raised: a result is then not found, or not kept, and `complaints` says why, each
    reason once.

    Args:
        root: Gives the directory to make it in.
        limit_bytes: All entries together.
    """

    def __init__(self, root: Callable[[], Path] = cache_root, limit_bytes: int = DISK_BYTES) -> None:
        self._root = root
        self._limit_bytes = limit_bytes
        self._directory: Path | None = None
        self._files: OutputFiles | None = None
        self._reader: _Connection | None = None
        self._reader_lock = threading.Lock()
        self._writer = Writer(self._connect, self._failed, self._commit)
        self._inode = 0  # of the database that was used last
        self._failures = 0
        self._reader_failures = 0  # as many as there had been when the reader was opened
        self._touched: dict[int, int] = {}
        self._gone: list[str] = []  # files to remove after the next commit
        self._taken_back = self._shrink = self._tidied = self._erase = False
        self._said: set[str] = set()
        self.complaints: deque[str] = deque(maxlen=20)
        self.evictions = 0

    # -- reading: any thread ----------------------------------------------------------------------

    def load(self, key: Key, plan: Plan) -> Entry | None:
        """The entry of a key, its result made for a plan; None when there is none that can be trusted."""
        row = self._read(lambda db: db.execute(_LOAD, (key.digest,)).fetchone(), None)
        if row is None or row[5] != key.full:
            return None
        file, file_stamp, record, index, proved, full, output = row
        if proved != proof(record, index, full, output):
            self._damaged_entry(key, "it is not what was written")
            return None
        facts = unpack(record)
        content: Any
        if output is not None:
            content = output
        else:
            assert self._files is not None
            content, problem = self._files.read(file, file_stamp, facts.file_digest)
            if content is None:
                if problem:
                    self._damaged_entry(key, problem)
                return None
        try:
            log = OutputLog.restore(index, content)
        except ValueError as error:
            self._damaged_entry(key, str(error))
            return None
        return Entry(key, facts.result(plan, log), facts.stored, facts.ttl_s, facts.stale_s, on_disk=True)

    def epoch(self) -> bytes:
        """Changes when any kernel takes back what it or another one had kept here."""
        return b"" if self._files is None else self._files.epoch()

    def rows(self) -> list[Listed]:
        """All entries, oldest first."""
        rows: list[Any] = self._read(lambda db: db.execute(_LIST).fetchall(), [])
        waiting = dict(self._touched)
        found = []
        for digest, script, target, record, hits in rows:
            facts = unpack(record)
            hits += waiting.get(digest, 0)  # noqa: PLW2901 - the number that is true now
            found.append(
                Listed(
                    digest, decode_script(script), target, facts.stored, facts.ttl_s, facts.stale_s, facts.size, hits
                )
            )
        return found

    def contents(self) -> Iterator[tuple[int, Iterator[bytes]]]:
        """What each entry holds, its command and its output, in pieces that overlap by 4 KiB."""
        first = -(2**63)
        while rows := self._rows_from(first):
            for digest, script, full, output, file in rows:
                texts = (script, full, output or b"")
                large = self._files.pieces(file) if file is not None and self._files is not None else iter(())
                yield digest, itertools.chain(texts, large)
            if rows[-1][0] == 2**63 - 1:
                return
            first = rows[-1][0] + 1

    def _rows_from(self, digest: int) -> list[Any]:
        nothing: list[Any] = []
        return self._read(lambda db: db.execute(_CONTENTS, (digest,)).fetchall(), nothing)

    def totals(self) -> tuple[int, int]:
        """Entries, and bytes of all of them."""
        return self._read(lambda db: db.execute("select count, bytes from totals").fetchone(), None) or (0, 0)

    def known(self, path: str, stamp: Stamp) -> bytes | None:
        """The digest that a file had when it had this stamp."""
        wanted = "select stamp, digest from stamps where path = ?"
        row = self._read(lambda db: db.execute(wanted, (os.fsencode(path),)).fetchone(), None)
        return row[1] if row is not None and row[0] == repr(stamp) else None

    def exists(self) -> bool:
        """There is something on disk, of this kernel or of others."""
        try:
            return (self._root() / "results" / _NAME).exists()
        except OSError:
            return False

    @property
    def directory(self) -> Path | None:
        """Where it is, once it is in use."""
        return self._directory

    # -- writing: any thread; done behind ---------------------------------------------------------

    def save(self, entry: Entry) -> bool:
        """Keep an entry; False when the disk does not take it, or too much waits for it already."""
        size = entry.result.log.size() if entry.result.log.path is None else 0
        if self._writer.pending + size > PENDING_BYTES:
            self._complain("the disk is too slow for what is to be kept; some results are not")
            return False

        def undone() -> None:
            entry.on_disk = entry.saving = False

        entry.saving = True  # before it can be done
        if not self._writer.post(lambda db: self._save(db, entry), size, undone):
            undone()
        return entry.saving or entry.on_disk

    def used(self, digest: int) -> None:
        """Note that an entry was of use."""
        self._touched[digest] = self._touched.get(digest, 0) + 1
        if len(self._touched) >= TOUCHED:
            self._writer.post(lambda _: None)  # the uses are written with it

    def note(self, path: str, stamp: Stamp, digest: bytes) -> None:
        """Remember a file's digest."""
        row = (os.fsencode(path), repr(stamp), digest, time.time())
        self._writer.post(lambda db: db.execute("insert or replace into stamps values(?, ?, ?, ?)", row))

    def forget(self, digests: Iterable[int], within_s: float = 10.0) -> set[int]:
        """Remove entries; those that were still there. Entries that are being written are removed as well.

        Raises:
            TimeoutError: the disk has not done it in time; it will.
        """
        wanted = list(digests)
        nothing: set[int] = set()
        return self._writer.ask(lambda db: self._remove(db, wanted), within_s, default=nothing)

    def forget_later(self, digests: Iterable[int], *, erase: bool = False) -> None:
        """Remove entries, without waiting for it; with `erase` nothing of them is left in the file either."""
        wanted = list(digests)

        def job(db: sqlite3.Connection) -> None:
            self._remove(db, wanted)
            self._erase |= erase

        self._writer.post(job)

    def clear(self, within_s: float = 10.0) -> set[int]:
        """Remove everything; the entries that there were.

        Raises:
            TimeoutError: as for `forget`.
        """

        def job(db: sqlite3.Connection) -> set[int]:
            digests = [digest for (digest,) in db.execute("select digest from entries")]
            db.execute("delete from stamps")
            self._shrink = True
            return self._remove(db, digests)

        nothing: set[int] = set()
        return self._writer.ask(job, within_s, default=nothing)

    def flush(self, within_s: float = 10.0) -> None:
        """Wait until what was to be kept is on disk.

        Raises:
            TimeoutError: it is not yet.
        """
        self._writer.ask(lambda _: None, within_s, default=None)

    def close(self, within_s: float = 2.0) -> None:
        """Write what waits, within a bound, and let go of the files."""
        if self._touched and self._directory is not None:
            self._writer.post(lambda _: None)
        self._writer.close(within_s)
        with self._reader_lock:
            if self._reader is not None:
                self._reader.close()
                self._reader = None
            if self._files is not None:
                self._files.close()

    def __repr__(self) -> str:
        return f"<DiskTier {self._directory or 'not used'}>"

    # -- the writer's thread ----------------------------------------------------------------------

    def _save(self, db: sqlite3.Connection, entry: Entry) -> None:
        result, log = entry.result, entry.result.log
        assert self._files is not None
        output: bytes | None = None
        name = file_stamp = None
        file_digest = b""
        try:
            if log.size() <= INLINE_BYTES:
                output = log.read(0, log.size())
            else:
                name, file_stamp, file_digest = self._files.write(entry.key.digest, log)
        except (OutputTooLarge, ValueError):
            return  # its spool file has gone meanwhile
        record, index, script = pack(entry, file_digest), log.index(), encode_script(result.command)
        size = log.size() + len(entry.key.full) + len(index) + len(script) + 512
        live = self._remove(db, [entry.key.digest], quietly=True)
        now = entry.stored.wall
        db.execute(_SAVE, (
            entry.key.digest, now, entry.ttl_s + entry.stale_s, now, size, name, file_stamp, record, index,
            proof(record, index, entry.key.full, output), result.target, script, entry.key.full, output,
        ))  # fmt: skip
        entry.on_disk, entry.saving = True, False
        self._taken_back |= bool(live)  # kernels that hold the old one in memory look again
        self._make_room(db, entry.stored.wall)

    def _remove(self, db: sqlite3.Connection, digests: list[int], *, quietly: bool = False) -> set[int]:
        removed: set[int] = set()
        for digest in digests:
            row = db.execute("select file from entries where digest = ?", (digest,)).fetchone()
            if row is None:
                continue
            db.execute("delete from entries where digest = ?", (digest,))
            removed.add(digest)
            self._gone += [row[0]] if row[0] else []
            self._touched.pop(digest, None)
        self._taken_back |= bool(removed) and not quietly
        return removed

    def _make_room(self, db: sqlite3.Connection, now: float) -> None:
        """Remove what is of no use any more, then what was used longest ago, until all fits."""
        ended = db.execute("select digest from entries where wall + keep < ? limit ?", (now, EVICT_ROWS))
        self._remove(db, [digest for (digest,) in ended.fetchall()], quietly=True)
        while db.execute("select bytes from totals").fetchone()[0] > self._limit_bytes:
            oldest = db.execute("select digest from entries order by used limit ?", (EVICT_ROWS,)).fetchall()
            if not oldest:
                return
            for (digest,) in oldest:
                self.evictions += len(self._remove(db, [digest], quietly=True))
                if db.execute("select bytes from totals").fetchone()[0] <= self._limit_bytes:
                    return

    def _commit(self, db: sqlite3.Connection, jobs: list[Job]) -> None:
        """Do some jobs in one transaction, with the uses that were noted since."""
        assert isinstance(db, _Connection)
        if not self._is_there(db):
            raise Moved
        db.execute("begin immediate")
        try:
            for job in jobs:
                job.do(db)
            touched, self._touched = self._touched, {}
            now = time.time()
            db.executemany(
                "update entries set hits = hits + ?, used = ? where digest = ?",
                [(count, now, digest) for digest, count in touched.items()],
            )
            self._tidy(db, now)
            db.execute("commit")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.execute("rollback")
            raise
        gone, self._gone = self._gone, []
        assert self._files is not None
        self._files.remove(gone)
        if self._taken_back:  # not before the commit: who looks again must find what is true now
            self._taken_back = False
            self._files.bump()
        if self._erase:  # the removed pages were overwritten; what they held is in the log until that is written back
            self._erase = False
            db.execute("pragma wal_checkpoint(truncate)").fetchall()
        if self._shrink:
            self._shrink = False
            db.execute("pragma incremental_vacuum").fetchall()

    def _tidy(self, db: sqlite3.Connection, now: float) -> None:
        """Once a kernel: remove what no row speaks of, and digests of files that nobody asks for."""
        if not self._tidied and self._files is not None:
            self._tidied = True
            self._files.sweep({name for (name,) in db.execute("select file from entries where file is not null")})
            db.execute("delete from stamps where used < ?", (now - STAMPS_S,))

    # -- both -------------------------------------------------------------------------------------

    def _read(self, work: Callable[[sqlite3.Connection], T], default: T) -> T:
        with self._reader_lock:
            try:
                reader = self._reader
                if reader is None or self._reader_failures != self._failures or not self._is_named(reader):
                    reader = self._open_reader()
                return default if reader is None else work(reader)
            except (sqlite3.Error, OSError) as error:
                self._failed(error)
                return default

    def _open_reader(self) -> _Connection | None:
        """A new connection; None while the disk is left alone. The lock is held."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if not self._writer.resting:
            self._reader_failures = self._failures
            self._reader = self._connect()
        return self._reader

    def _is_named(self, db: _Connection) -> bool:
        """The file of a connection still has its name: nobody has removed the directory, or set a damaged file aside."""
        try:
            if db.inode != os.stat(db.path).st_ino:
                return False
        except OSError:
            return False
        self._inode = db.inode
        return True

    def _is_there(self, db: _Connection) -> bool:
        """The same, and the files beside it are there; those are made again where they were removed.

        Raises:
            OSError: they are gone and cannot be made.
        """
        if not self._is_named(db):
            return False
        if self._files is None or self._files.gone:
            assert self._directory is not None
            self._make_files(self._directory)
        return True

    def _make_files(self, directory: Path) -> None:
        """The files beside the database, again where they were removed. Those made before may still be in use."""
        if self._files is None or self._files.gone:
            self._files = OutputFiles(directory)

    def _connect(self) -> _Connection:
        """A connection to the database, which is made if it is not there.

        Raises:
            OSError: its directory cannot be made.
            sqlite3.Error: it cannot be opened, or is none.
        """
        self._directory = private_directory(self._root() / "results")
        path = self._directory / _NAME
        self._make_files(self._directory)
        self._inode = _inode_of(path)
        db = sqlite3.connect(
            path, timeout=READ_PATIENCE_S, isolation_level=None, check_same_thread=False, factory=_Connection
        )
        try:
            if not db.execute("select 1 from sqlite_master where name = 'stamps'").fetchone():
                db.execute("pragma auto_vacuum = incremental")
                db.execute("pragma journal_mode = wal")
                db.executescript(f"begin immediate; {_TABLES} commit;")
            db.execute("pragma synchronous = normal")
            db.execute("pragma secure_delete = on")  # what is forgotten is not to be found in the file either
            db.path = str(path)
            db.inode = self._inode = _inode_of(path)
        except BaseException:
            db.close()
            raise
        return db

    def _failed(self, error: Exception) -> None:
        """A disk or database refuses: say so once; a damaged database is set aside, so that a new one can be made."""
        if _is_busy(error):
            return
        self._failures += 1
        if isinstance(error, sqlite3.Error) and _is_damage(error) and self._directory is not None:
            try:
                kept = set_aside(self._directory / _NAME, self._inode)
            except OSError as problem:
                self._complain(f"the results on disk are damaged ({error}) and cannot be set aside: {problem.strerror}")
                self._writer.rest()
            else:
                if kept is not None:
                    self._complain(f"the results on disk were damaged ({error}); set aside as {kept}, a new file begun")
            return
        where = self._directory or getattr(error, "filename", None) or "the cache directory"
        reason = getattr(error, "strerror", None) or str(error)
        self._complain(f"results cannot be kept on disk ({where}: {reason}); they are kept in memory only")
        self._writer.rest()

    def _damaged_entry(self, key: Key, problem: str) -> None:
        self._complain(f"a result on disk was damaged ({problem}); it was removed, and the command is run")
        self.forget_later([key.digest])

    def _complain(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self.complaints.append(text)


def _inode_of(path: str | Path) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def _is_busy(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _is_damage(error: sqlite3.Error) -> bool:
    """The file is no database, or none of ours; not: the disk is full, read-only, or slow."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
