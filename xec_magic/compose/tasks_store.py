"""`TaskStore`: what is remembered of tasks between runs, in the user's cache directory; shared by kernels."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from xec_magic.compose.tasks_files import Stamp

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Record", "Records", "TaskStore"]

VERSION: Final = 1
BUSY_S: Final = 5.0  # another kernel holds the file for milliseconds only
MOST_TASKS: Final = 50_000  # records of one directory; the oldest go
MOST_RUNS: Final = 1000
MOST_FILES: Final = 500  # directories that are remembered; those not used for longest go

_COLUMNS: Final = "name, state, run, ran, script, options, needs, stamps"
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS runs (id TEXT PRIMARY KEY, at REAL NOT NULL, ended_well INTEGER NOT NULL) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS tasks (
    name TEXT PRIMARY KEY, state TEXT NOT NULL, run TEXT NOT NULL, ran TEXT NOT NULL, script TEXT NOT NULL,
    options TEXT NOT NULL, needs TEXT NOT NULL, stamps TEXT NOT NULL, at REAL NOT NULL
) WITHOUT ROWID""",
)

# What is asked of it, without an answer: that fails where a table or a column of it is gone.
_READS: Final = (
    "SELECT id, at, ended_well FROM runs LIMIT 0",
    f"SELECT {_COLUMNS}, at FROM tasks LIMIT 0",  # noqa: S608 - names of ours
)


def _patiently(connection: sqlite3.Connection, statement: str) -> None:
    """Execute it when other kernels let it: where two make the file at once, SQLite gives up without waiting."""
    import sqlite3

    until = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute(statement)
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not busy or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


@dataclass(frozen=True, slots=True)
class Record:
    """What is remembered of one task.

    Attributes:
        state: `ok`, `failed`, or `started` when its end never came or it was stopped.
        run: The run of all tasks that it belongs to.
        ran: The run in which its command last ran: whoever was made from it remembers this.
        script: Digest of its script.
        options: Digest of its options.
        needs: Each dependency's `ran` when this one began.
        stamps: Its files when it began.
    """

    state: str
    run: str
    ran: str
    script: str
    options: str
    needs: Mapping[str, str] = field(default_factory=dict)
    stamps: Mapping[str, Stamp] = field(default_factory=dict)


class Records:
    """What is remembered, by name; read from its row when it is asked for, since most are not."""

    def __init__(self, rows: Mapping[str, tuple[Any, ...]]) -> None:
        self._rows = rows

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def get(self, name: str) -> Record | None:
        """The record of a task; None when there is none, or it cannot be read."""
        row = self._rows.get(name)
        return None if row is None else _record(row)


class TaskStore:
    """The records of the tasks that are run from one directory.

    Nothing here fails: where the disk is read-only or the file is damaged, nothing is remembered, everything runs, and
    `notes` says so. Any thread may call; calls wait for each other.

    Args:
        root: Gives the directory that holds the files; asked on first use.
        directory: Whose tasks these are.
        create: Make the file if it is not there; without it nothing is ever written.
    """

    def __init__(self, root: Callable[[], Path], directory: str, *, create: bool = True) -> None:
        self.notes: list[str] = []
        self.run = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._create = create
        self._unsaid = False  # that the run has begun: it is written with its first record
        self._connection: sqlite3.Connection | None = None
        self.path: Path | None = None
        with self._lock:
            try:
                folder = root() / "tasks"
                self.path = folder / f"{blake2b(os.fsencode(directory), digest_size=16).hexdigest()}.sqlite"
                if create:
                    folder.mkdir(mode=0o700, exist_ok=True)
                    _forget_oldest(folder, self.path)
                if create or self.path.exists():
                    self._open()
            except OSError as error:
                self._give_up(error.strerror or str(error))

    def _open(self, *, again: bool = True) -> None:
        import sqlite3

        assert self.path is not None
        try:
            self._connection = connection = sqlite3.connect(
                self.path, timeout=BUSY_S, check_same_thread=False, isolation_level=None
            )
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version not in (0, VERSION):
                raise sqlite3.DatabaseError(f"it is of version {version}")
            if not self._create:
                if not version:  # made by another kernel in this moment: nothing is in it yet
                    self._connection = None
                    connection.close()
                return
            os.chmod(self.path, 0o600)
            _patiently(connection, "PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            # To write the same version again would wait for the disk.
            for statement in _READS if version else (*_SCHEMA, f"PRAGMA user_version={VERSION}"):
                _patiently(connection, statement)
            (sound,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if sound != "ok":
                raise sqlite3.DatabaseError(sound)
        except sqlite3.Error as error:
            self._failed(error, again=again)

    def _failed(self, error: sqlite3.Error, *, again: bool = False) -> None:
        """Set a damaged file aside and begin anew; without a file where the disk does not allow one."""
        import sqlite3

        if self._connection is not None:
            self._connection.close()
            self._connection = None
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        # Read-only, full, locked for long; that a table is gone is one of these errors, too, and stays so for ever.
        if isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR:
            self._give_up(str(error))
            return
        assert self.path is not None
        aside = f"{self.path}.damaged-{time.time_ns()}"
        try:
            if self._create:
                os.replace(self.path, aside)
                for tail in ("-wal", "-shm"):
                    Path(f"{self.path}{tail}").unlink(missing_ok=True)
        except OSError as reason:
            self._give_up(f"{error}, and it cannot be set aside: {reason.strerror}")
            return
        self.notes.append(
            f"what was remembered of these tasks is damaged ({error}), so all of them run"
            + (f"; the file is now {aside}" if self._create else "")
        )
        if again and self._create:
            self._open(again=False)

    def _give_up(self, why: str) -> None:
        self.notes.append(
            f"nothing can be remembered of these tasks, so the next time all of them run: {self.path}: {why}"
        )

    def _do(self, work: Callable[[sqlite3.Connection], Any], default: Any) -> Any:
        import sqlite3

        with self._lock:
            if self._connection is None:
                return default
            try:
                return work(self._connection)
            except sqlite3.Error as error:
                self._failed(error)
                return default

    # -- reading ------------------------------------------------------------------------------------

    def records(self) -> tuple[Records, set[str]]:
        """What is known of the tasks, and the runs that did not end well."""

        def read(connection: sqlite3.Connection) -> tuple[Records, set[str]]:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM tasks")  # noqa: S608 - names of ours
            unfinished = connection.execute("SELECT id FROM runs WHERE NOT ended_well")
            return Records({row[0]: row[1:] for row in rows}), {run for (run,) in unfinished}

        known: tuple[Records, set[str]] = self._do(read, (Records({}), set()))
        return known

    # -- writing ------------------------------------------------------------------------------------

    def begin(self) -> None:
        """A run of all tasks begins; until `end` says otherwise it counts as one that did not end well.

        It is written down with its first record: a run without any has nothing to resume, and the disk is not waited for.
        """
        self._unsaid = True

    def _change(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Write something down, all of it or nothing."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            try:
                if self._unsaid:
                    connection.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, 0)", (self.run, time.time()))
                    connection.execute(
                        "DELETE FROM runs WHERE id IN (SELECT id FROM runs ORDER BY at DESC LIMIT -1 OFFSET ?)",
                        (MOST_RUNS,),
                    )
                work(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            self._unsaid = False

        self._do(write, None)

    def put(self, records: Mapping[str, Record]) -> None:
        """Remember these, all or none."""
        rows = [
            (
                name,
                r.state,
                r.run,
                r.ran,
                r.script,
                r.options,
                _json(r.needs),
                _json(r.stamps),
                time.time(),
            )
            for name, r in records.items()
        ]

        if rows:
            self._change(
                lambda connection: connection.executemany(
                    "INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
                )
            )

    def end(self, *, well: bool, kept: Iterable[str]) -> None:
        """The run is over.

        Args:
            well: All tasks ended well, so there is nothing to resume.
            kept: The tasks that were not run since an earlier run had done them; from now on they count as this one's.
        """
        names = [(self.run, name) for name in kept]
        if well and not names and self._unsaid:
            return  # nothing of it is written down, so nothing has to be taken back

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany("UPDATE tasks SET run = ? WHERE name = ?", names)
            connection.execute("UPDATE runs SET ended_well = ? WHERE id = ?", (int(well), self.run))
            connection.execute(
                "DELETE FROM tasks WHERE name IN (SELECT name FROM tasks ORDER BY at DESC LIMIT -1 OFFSET ?)",
                (MOST_TASKS,),
            )

        self._change(write)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


_STAMP: Final = [int, int, int, int, int, str]  # as `Stamp` says


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value)) if value else "{}"


def _record(values: tuple[Any, ...]) -> Record | None:
    """A record from its row; None when it cannot be read, which is as if there were none."""
    state, run, ran, script, options, needs, stamps = values
    try:
        read = {path: tuple(stamp) for path, stamp in json.loads(stamps).items()}
        if any([type(part) for part in stamp] != _STAMP for stamp in read.values()):
            return None
        return Record(state, run, ran, script, options, dict(json.loads(needs)), read)
    except (ValueError, TypeError, AttributeError):
        return None


def _forget_oldest(folder: Path, mine: Path) -> None:
    """Remove the files of directories whose tasks have not been run for longest. Other kernels may do so as well."""
    with contextlib.suppress(OSError):
        os.utime(mine)  # what is written stands in the log beside it at first: it would pass for unused
    paths = [entry.path for entry in os.scandir(folder) if entry.name.endswith(".sqlite")]
    files = [(used, path) for path in paths if (used := _used(path)) is not None]
    for used, path in sorted(files)[: max(0, len(files) - MOST_FILES)]:
        if path != str(mine) and used == _used(path):  # otherwise another kernel has just taken it up
            for tail in ("", "-wal", "-shm"):
                Path(path + tail).unlink(missing_ok=True)


def _used(path: str) -> int | None:
    """When it was last taken up; None when it is gone."""
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return None
