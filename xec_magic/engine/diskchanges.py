"""`Changes`: what is done to the persistent tier in one transaction, and what has to follow it. In the writer's thread."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import Final

from xec_magic.command import encode_script
from xec_magic.engine.diskdb import READ_PATIENCE_S, patience
from xec_magic.engine.diskfacts import is_newer, pack, proof
from xec_magic.engine.diskfiles import OutputFiles
from xec_magic.engine.diskforms import remove_older_forms, remove_set_aside
from xec_magic.engine.diskwriter import Job
from xec_magic.engine.memory import Entry
from xec_magic.errors import OutputTooLarge

__all__ = ["INLINE_BYTES", "Changes"]

INLINE_BYTES: Final = 64 * 1024  # larger outputs are files: read 16 times as fast as from rows
EVICT_ROWS: Final = 64
STAMPS_S: Final = 30 * 86400.0  # digests of files that nobody has asked for since go

_SAVE: Final = (
    "insert into entries(digest, wall, keep, used, size, file, file_stamp, record, log, proof, target, script, full, output) "
    "values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
# Without a number that can be read there is no room, until all is counted anew.
_HELD: Final = "select ifnull(max(cast(bytes as integer)), 9223372036854775807) from totals"
_RECOUNT: Final = "insert or replace into totals select 1, ifnull(sum(size), 0), count(*) from entries"


class Changes:
    """Rows that come and go.

    Args:
        limit_bytes: All entries together.

    Attributes:
        touched: Entries that were of use since the last commit, and how often; any thread adds to it.
        evictions: Entries that had to go to make room.
        erase: Nothing of what was removed may be left in the file and its log.
        shrink: The file is to give back what it does not need any more.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._gone: list[str] = []  # files to remove after the next commit
        self._written: list[str] = []  # files of rows that are not committed yet
        self._taken_back = self._tidied = self._cleared = False
        self.touched: dict[int, int] = {}
        self.evictions = 0
        self.erase = self.shrink = False

    def save(self, db: sqlite3.Connection, files: OutputFiles, entry: Entry) -> None:
        """Keep an entry.

        Raises:
            OSError, sqlite3.Error: the disk does not take it.
        """
        result, log = entry.result, entry.result.log
        row = db.execute("select record from entries where digest = ?", (entry.key.digest,)).fetchone()
        if row is not None and is_newer(row[0], entry):
            # This one was in memory for a while; its kernel looks again and finds the other one.
            entry.on_disk, entry.saving, self._taken_back = True, False, True
            return
        output: bytes | None = None
        name = file_stamp = None
        file_digest = b""
        try:
            if log.size() <= INLINE_BYTES:
                output = log.read(0, log.size())
            else:
                name, file_stamp, file_digest = files.write(entry.key.digest, log)
                self._written.append(name)
        except (OutputTooLarge, ValueError):
            return  # its spool file has gone meanwhile
        record, index, script = pack(entry, file_digest), log.index(), encode_script(result.command)
        size = log.size() + len(entry.key.full) + len(index) + len(script) + 512
        live = self.remove(db, [entry.key.digest], quietly=True)
        now = entry.stored.wall
        db.execute(_SAVE, (
            entry.key.digest, now, entry.ttl_s + entry.stale_s, now, size, name, file_stamp, record, index,
            proof(record, index, entry.key.full, output), result.target, script, entry.key.full, output,
        ))  # fmt: skip
        entry.on_disk, entry.saving = True, False
        self._taken_back |= bool(live)  # kernels that hold the old one in memory look again
        self._make_room(db, entry.stored.wall)

    def remove(self, db: sqlite3.Connection, digests: list[int], *, quietly: bool = False) -> set[int]:
        """Remove entries; those that were there. Unless it is done quietly, kernels that hold one in memory look again."""
        removed: set[int] = set()
        for digest in digests:
            row = db.execute("select file from entries where digest = ?", (digest,)).fetchone()
            if row is None:
                continue
            db.execute("delete from entries where digest = ?", (digest,))
            removed.add(digest)
            self._gone += [row[0]] if row[0] else []
            self.touched.pop(digest, None)
        self._taken_back |= bool(removed) and not quietly
        return removed

    def forget(self, db: sqlite3.Connection, digests: list[int]) -> set[int]:
        """Remove entries, so that after the commit nothing of them is left in the file or its log; those that were there."""
        self.erase = True
        return self.remove(db, digests)

    def clear(self, db: sqlite3.Connection) -> set[int]:
        """The same for everything."""
        digests = [digest for (digest,) in db.execute("select digest from entries")]
        db.execute("delete from stamps")
        self.shrink = self._cleared = True
        self._tidied = False  # with what kernels left that died since
        return self.forget(db, digests)

    def _make_room(self, db: sqlite3.Connection, now: float) -> None:
        """Remove what is of no use any more, then what was used longest ago, until all fits."""
        ended = db.execute("select digest from entries where wall + keep < ? limit ?", (now, EVICT_ROWS))
        self.remove(db, [digest for (digest,) in ended.fetchall()], quietly=True)
        while db.execute(_HELD).fetchone()[0] > self._limit_bytes:
            oldest = db.execute("select digest from entries order by used limit ?", (EVICT_ROWS,)).fetchall()
            if not oldest:
                db.execute(_RECOUNT)
                return
            for (digest,) in oldest:
                self.evictions += len(self.remove(db, [digest], quietly=True))
                if db.execute(_HELD).fetchone()[0] <= self._limit_bytes:
                    return

    def commit(self, db: sqlite3.Connection, files: OutputFiles, jobs: list[Job]) -> None:
        """Do some jobs in one transaction, with the uses that were noted since.

        Raises:
            OSError, sqlite3.Error: the disk refuses; nothing has changed.
        """
        db.execute("begin immediate")
        gone, evictions, touched = len(self._gone), self.evictions, self.touched.copy()
        self._written = []
        try:
            for job in jobs:
                job.do(db)
            touched, self.touched = self.touched, {}
            now = time.time()
            db.executemany(
                "update entries set hits = hits + ?, used = ? where digest = ?",
                [(count, now, digest) for digest, count in touched.items()],
            )
            self._tidy(db, files, now)
            db.execute("commit")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.execute("rollback")
            # The rows are there again, and with them their files; of the new ones none may take a full disk's last room.
            del self._gone[gone:]
            files.remove(self._written)
            self.evictions = evictions
            self.touched = touched | self.touched
            raise
        self._follow(db, files)

    def _follow(self, db: sqlite3.Connection, files: OutputFiles) -> None:
        """What has to follow a commit."""
        gone, self._gone = self._gone, []
        files.remove(gone)
        if self._taken_back:  # not before the commit: who looks again must find what is true now
            self._taken_back = False
            files.bump()
        if self._cleared:
            self._cleared = False
            remove_set_aside(files.directory)
        if self.shrink:
            # Of what is left, which is next to nothing: to give back page by page takes seconds.
            # Where another kernel writes, or the disk is full: with the next commit.
            with contextlib.suppress(sqlite3.Error), patience(db, READ_PATIENCE_S):
                db.execute("vacuum")
                self.shrink = False
        if self.erase:  # the removed pages were overwritten; what they held is in the log until that is written back
            # Where another kernel reads for long, or the disk is full: with the next commit. The rows are gone in any case.
            with contextlib.suppress(sqlite3.Error), patience(db, READ_PATIENCE_S):
                ((waits, *_),) = db.execute("pragma wal_checkpoint(truncate)").fetchall()
                self.erase = bool(waits)

    def _tidy(self, db: sqlite3.Connection, files: OutputFiles, now: float) -> None:
        """Once a kernel: remove what no row speaks of, and digests of files that nobody asks for."""
        if not self._tidied:
            self._tidied = True
            remove_older_forms(files.directory)
            files.sweep({name for (name,) in db.execute("select file from entries where file is not null")})
            db.execute("delete from stamps where used < ?", (now - STAMPS_S,))
