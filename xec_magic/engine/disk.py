"""The persistent tier of the result cache: an SQLite file that kernels share, large outputs as files beside it."""

from __future__ import annotations

import hashlib
import itertools
import os
import sqlite3
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from xec_magic.command import decode_script
from xec_magic.engine.cachekey import Key
from xec_magic.engine.clock import Moment
from xec_magic.engine.diskchanges import Changes
from xec_magic.engine.diskdb import NAME, Database
from xec_magic.engine.diskfacts import proof, restored, unpack
from xec_magic.engine.diskforms import remove_set_aside
from xec_magic.engine.diskplace import DiskPlace
from xec_magic.engine.diskwriter import Job, Moved, Writer
from xec_magic.engine.memory import Entry
from xec_magic.engine.spool import cache_root
from xec_magic.engine.stamps import Stamp
from xec_magic.output import OutputLog
from xec_magic.plan import Plan

__all__ = ["DISK_BYTES", "DISK_ENTRY_BYTES", "DiskTier", "Listed"]

DISK_BYTES: Final = 2**30
DISK_ENTRY_BYTES: Final = 256 * 2**20  # one output; a quarter of all, so that one cannot sweep the rest away
PENDING_BYTES: Final = 64 * 2**20  # of outputs that wait for a slow disk
TOUCHED: Final = 1000  # uses noted in memory before they are written down

_LOAD: Final = "select file, file_stamp, record, log, proof, full, output from entries where digest = ?"
_CONTENTS: Final = (  # as bytes, whatever a damaged row holds: a secret is looked for in it
    "select digest, ifnull(cast(script as blob), x''), ifnull(cast(full as blob), x''), ifnull(cast(output as blob), x''), file "
    "from entries where digest >= ? order by digest limit 16"
)
_FILES: Final = "select file from entries where file is not null"
_LIST: Final = (
    "select digest, cast(script as blob), ifnull(target, ''), record, cast(hits as integer) from entries order by wall"
)


def _filed(path: str) -> bytes:
    """What the digest of a file is filed under: its name may hold a secret, and is to be on no disk for that."""
    return hashlib.blake2b(os.fsencode(path), digest_size=16).digest()


def _root() -> Path:
    return cache_root(f"results/{NAME}")


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


class DiskTier:
    """Results that outlive their kernel. Reading happens in the caller's thread, writing behind in one of its own.

    Whatever the disk does, nothing is raised: a result is then not found, or not kept, and `complaints` says why, each
    reason once.

    Args:
        root: Gives the directory to make it in; the user's cache directory.
        limit_bytes: All entries together.
    """

    def __init__(self, root: Callable[[], Path] = _root, limit_bytes: int = DISK_BYTES) -> None:
        self._writer = Writer(self._connect, self._failed, self._commit)
        self._place = DiskPlace(root, lambda: self._writer.resting, self._writer.rest)
        self._changes = Changes(limit_bytes)
        self._saving: dict[int, Entry] = {}  # on their way; a large one takes a second

    # -- reading: any thread ----------------------------------------------------------------------

    def saving(self, key: Key) -> Entry | None:
        """The entry of a key while it is on its way to the disk."""
        entry = self._saving.get(key.digest)
        return entry if entry is not None and entry.key.full == key.full and not entry.result.log.closed else None

    def load(self, key: Key, plan: Plan) -> Entry | None:
        """The entry of a key, its result made for a plan; None when there is none that can be trusted."""
        rows = self._place.read(_LOAD, (key.digest,))
        if not rows or rows[0][5] != key.full:
            return None
        file, file_stamp, record, index, proved, full, output = rows[0]
        try:
            whole = proved == proof(record, index, full, output)
        except TypeError:  # a part of another kind
            whole = False
        if not whole:
            self._damaged_entry(key, "it is not what was written")
            return None
        content = output
        if output is None:
            content = self._content(key, file, file_stamp, unpack(record).file_digest)
            if content is None:
                return None
        try:
            log = OutputLog.restore(index, content)
        except ValueError as error:
            self._damaged_entry(key, str(error))
            return None
        return restored(record, key, plan, log)

    def _content(self, key: Key, file: str, stamp: str, digest: bytes) -> bytes | BinaryIO | None:
        """An output that is a file; None when it cannot be trusted, or is not there."""
        assert self._place.files is not None
        content, problem = self._place.files.read(file, stamp, digest)
        if content is None and problem:
            self._damaged_entry(key, problem)
        return content

    def _damaged_entry(self, key: Key, problem: str) -> None:
        self._place.complain(f"a result on disk was damaged ({problem}); it was removed, and the command is run")
        self.forget_later([key.digest])

    def epoch(self) -> bytes:
        """Changes when any kernel takes back what it or another one had kept here."""
        return b"" if self._place.files is None else self._place.files.epoch()

    def rows(self) -> list[Listed]:
        """All entries, oldest first."""
        rows = self._place.read(_LIST)
        waiting = dict(self._changes.touched)
        found = []
        damaged = []
        for digest, script, target, record, hits in rows:
            try:
                facts = unpack(record)
                used = hits + waiting.get(digest, 0)  # the number that is true now
                found.append(
                    Listed(
                        digest,
                        decode_script(script),
                        target,
                        facts.stored,
                        facts.ttl_s,
                        facts.stale_s,
                        facts.size,
                        used,
                    )
                )
            except (struct.error, TypeError, ValueError):  # its place is the only thing that can be said of it
                damaged.append(digest)
        if damaged:
            self._place.complain(f"results on disk were damaged, and are removed: {len(damaged)}")
            self.forget_later(damaged)
        return found

    def contents(self) -> Iterator[tuple[int, Iterator[bytes]]]:
        """What each entry holds, its command and its output, in pieces."""
        first = -(2**63)
        while rows := self._rows_from(first):
            for digest, script, full, output, file in rows:
                texts = (script, full, output)
                files = self._place.files
                large = files.pieces(file) if file is not None and files is not None else iter(())
                yield digest, itertools.chain(texts, large)
            if rows[-1][0] == 2**63 - 1:
                return
            first = rows[-1][0] + 1

    def _rows_from(self, digest: int) -> list[Any]:
        return self._place.read(_CONTENTS, (digest,))

    def totals(self) -> tuple[int, int]:
        """Entries, and bytes of all of them."""
        rows = self._place.read("select cast(count as integer), cast(bytes as integer) from totals")
        return rows[0] if rows else (0, 0)

    def known(self, path: str, stamp: Stamp) -> bytes | None:
        """The digest that a file had when it had this stamp."""
        wanted = "select stamp, digest from stamps where path = ?"
        rows = self._place.read(wanted, (_filed(path),))
        return rows[0][1] if rows and rows[0][0] == repr(stamp) else None

    def exists(self) -> bool:
        """There is something on disk, of this kernel or of others."""
        return self._place.exists()

    @property
    def complaints(self) -> deque[str]:
        """What is wrong with it, each thing once."""
        return self._place.complaints

    @property
    def evictions(self) -> int:
        """Entries that had to go to make room."""
        return self._changes.evictions

    @property
    def directory(self) -> Path | None:
        """Where it is, once it is in use."""
        return self._place.directory

    # -- writing: any thread; done behind ---------------------------------------------------------

    def save(self, entry: Entry) -> bool:
        """Keep an entry; False when the disk does not take it, or too much waits for it already."""
        size = entry.result.log.size() if entry.result.log.path is None else 0
        if self._writer.pending + size > PENDING_BYTES:
            self._place.complain("the disk is too slow for what is to be kept; some results are not")
            return False

        def ended(done: bool) -> None:
            if self._saving.get(entry.key.digest) is entry:
                self._saving.pop(entry.key.digest, None)
            if not done:
                entry.on_disk = entry.saving = False

        entry.saving = True  # before it can be done
        self._saving[entry.key.digest] = entry
        if not self._writer.post(lambda db: self._save(db, entry), size, ended):
            ended(False)
        return entry.saving or entry.on_disk

    def used(self, digest: int) -> None:
        """Note that an entry was of use."""
        self._changes.touched[digest] = self._changes.touched.get(digest, 0) + 1
        if len(self._changes.touched) >= TOUCHED:
            self._writer.post(lambda _: None)  # the uses are written with it

    def note(self, path: str, stamp: Stamp, digest: bytes) -> None:
        """Remember a file's digest."""
        row = (_filed(path), repr(stamp), digest, time.time())
        self._writer.post(lambda db: db.execute("insert or replace into stamps values(?, ?, ?, ?)", row))

    def forget(self, digests: Iterable[int], within_s: float = 10.0) -> set[int]:
        """Remove entries; those that were still there. Entries that are being written are removed as well.

        Raises:
            TimeoutError: the disk has not done it in time; it will.
            OSError: the disk takes no change, so some of them stay.
        """
        wanted = self._let_go(digests)
        removed = self._writer.ask(lambda db: self._changes.forget(db, wanted), within_s, default=None)
        return self._check_gone(set(wanted)) if removed is None else removed

    def forget_later(self, digests: Iterable[int], *, erase: bool = False) -> None:
        """Remove entries, without waiting for it; with `erase` nothing of what was ever removed is left on the disk either."""
        wanted = self._let_go(digests)
        remove = self._changes.forget if erase else self._changes.remove
        self._writer.post(lambda db: remove(db, wanted))

    def forget_set_aside(
        self, half: Callable[[Iterator[bytes]], bool], whole: Callable[[Iterator[bytes]], bool]
    ) -> None:
        """Remove the damaged databases that hold something, a page may end within it, and the outputs without a row that hold it whole."""
        if self._place.directory is not None:
            remove_set_aside(self._place.directory, half)
        if self._place.files is not None:
            self._place.files.remove_unknown({name for (name,) in self._place.read(_FILES)}, whole)

    def _let_go(self, digests: Iterable[int]) -> list[int]:
        """Give nobody any more what is on its way."""
        wanted = list(digests)
        for digest in wanted:
            self._saving.pop(digest, None)
        return wanted

    def clear(self, within_s: float = 10.0) -> set[int]:
        """Remove everything; the entries that there were.

        Raises:
            TimeoutError: as for `forget`.
        """
        self._saving.clear()
        removed = self._writer.ask(self._changes.clear, within_s, default=None)
        return self._check_gone(None) if removed is None else removed

    def _check_gone(self, wanted: set[int] | None) -> set[int]:
        """The disk has refused: nothing was removed, which is well only where nothing of it is there; None for all."""
        left = sum(wanted is None or row.digest in wanted for row in self.rows())
        if left:  # they would be given again by who has just been told that they are forgotten
            raise OSError(
                f"the disk takes no change, so {left:,} of the results to forget stay there; to forget all, remove {self.directory}"
            )
        return set()

    def flush(self, within_s: float = 10.0) -> None:
        """Wait until what was to be kept is on disk.

        Raises:
            TimeoutError: it is not yet.
        """
        self._writer.ask(lambda _: None, within_s, default=None)

    def close(self, within_s: float = 2.0) -> None:
        """Write what waits, within a bound, and let go of the files."""
        if self._changes.touched and self._place.directory is not None:
            self._writer.post(lambda _: None)
        self._writer.close(within_s)
        self._place.close()

    def __repr__(self) -> str:
        return f"<DiskTier {self._place.directory or 'not used'}>"

    # -- the writer's thread ----------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        return self._place.connect()

    def _failed(self, error: Exception) -> None:
        self._place.failed(error)

    def _save(self, db: sqlite3.Connection, entry: Entry) -> None:
        assert self._place.files is not None
        self._changes.save(db, self._place.files, entry)

    def _commit(self, db: sqlite3.Connection, jobs: list[Job]) -> None:
        assert isinstance(db, Database)
        if not self._place.is_there(db):
            raise Moved
        assert self._place.files is not None
        self._changes.commit(db, self._place.files, jobs)
