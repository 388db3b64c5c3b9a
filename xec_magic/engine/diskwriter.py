"""`Writer`: the one thread that changes the persistent tier, many changes in one transaction."""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from xec_magic.engine.brieflock import BriefLock

__all__ = ["Job", "Moved", "Writer"]

T = TypeVar("T")

BATCH: Final = 100  # changes in one transaction: a third of the cost of one each
REST_S: Final = 30.0  # a disk that has refused is left alone for so long
PATIENCE_S: Final = 5.0  # for another kernel that writes


class Moved(Exception):
    """The database is not the one that was opened: somebody has removed it or set it aside."""


class Job:
    """A change, what it holds in memory, who waits for it, and who is told whether it was made."""

    def __init__(
        self,
        work: Callable[[sqlite3.Connection], Any],
        size: int = 0,
        *,
        waiting: bool = False,
        ended: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._work = work
        self._ended = ended
        self.size = size
        self.future: concurrent.futures.Future[Any] | None = concurrent.futures.Future() if waiting else None
        self.value: Any = None

    def do(self, db: sqlite3.Connection) -> None:
        """Make the change; it counts when the transaction does."""
        self.value = self._work(db)

    def end(self, done: bool) -> None:
        """Tell who waits."""
        self._ended(done)
        if self.future is not None and not self.future.done():
            with contextlib.suppress(concurrent.futures.InvalidStateError):
                self.future.set_result(self.value if done else None)


class Writer:
    """Does jobs in the order in which they come, on a daemon thread that begins with the first.

    Args:
        connect: Opens the database.
        failed: Told of an error of database or disk, on this thread.
        commit: Does some jobs in one transaction.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        failed: Callable[[Exception], None],
        commit: Callable[[sqlite3.Connection, list[Job]], None],
    ) -> None:
        self._connect = connect
        self._failed = failed
        self._commit = commit
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="xec-cache", daemon=True)
        self._unstarted = iter((self._thread,))  # it gives it once, whoever breaks into its first use
        self._lock = BriefLock()
        self._rest_until = 0.0
        self._closed = False
        self.pending = 0  # bytes that waiting jobs hold

    def post(
        self, work: Callable[[sqlite3.Connection], Any], size: int = 0, ended: Callable[[bool], None] = lambda _: None
    ) -> bool:
        """Do something soon; False when it will not be done. `ended` is told then whether it was."""
        return self._put(Job(work, size, ended=ended))

    def ask(self, work: Callable[[sqlite3.Connection], T], within_s: float, default: T) -> T:
        """Do something after all that came before, and wait for it; `default` when the disk refuses.

        Raises:
            TimeoutError: not done in time; it will be.
        """
        job = Job(work, waiting=True)
        if not self._put(job):
            return default
        assert job.future is not None
        value: Any = job.future.result(within_s)
        return default if value is None else value

    def _put(self, job: Job) -> bool:
        with self._lock:
            if self._closed or self.resting:
                return False
            for thread in self._unstarted:
                try:
                    thread.start()
                except RuntimeError:  # no further thread is allowed: the next job tries again
                    self._unstarted = iter((thread,))
                    return False
            self.pending += job.size
            self._jobs.put(job)
            return True

    def rest(self) -> None:
        """Leave the disk alone for a while."""
        self._rest_until = time.monotonic() + REST_S

    @property
    def resting(self) -> bool:
        """The disk has refused lately."""
        return time.monotonic() < self._rest_until

    def close(self, within_s: float) -> None:
        """Do what waits, within a bound, then end the thread."""
        with self._lock:
            self._closed = True
        if self._thread.ident is not None:
            self._jobs.put(None)
            self._thread.join(within_s)

    # -- its thread -------------------------------------------------------------------------------

    def _serve(self) -> None:
        db: sqlite3.Connection | None = None
        ended = False
        while not ended:
            jobs, ended = self._next()
            done = False
            try:
                if jobs and not self.resting:
                    db = db or self._open()
                    try:
                        self._commit(db, jobs)
                    except Moved:
                        db.close()
                        db = None
                        db = self._open()
                        self._commit(db, jobs)
                    done = True
            except (sqlite3.Error, OSError) as error:
                if db is not None:
                    db.close()
                    db = None
                self._failed(error)
            except Exception:  # a fault of ours costs these jobs, and no later ones
                logging.getLogger("xec_magic").exception("results could not be kept on disk")
            for job in jobs:
                job.end(done)
        if db is not None:
            db.close()

    def _open(self) -> sqlite3.Connection:
        db = self._connect()
        db.execute(f"pragma busy_timeout = {int(PATIENCE_S * 1000)}")
        return db

    def _next(self) -> tuple[list[Job], bool]:
        """The next jobs, and whether they are the last."""
        jobs: list[Job] = []
        job = self._jobs.get()
        while True:
            if job is None:
                return jobs, True
            jobs.append(job)
            with self._lock:
                self.pending -= job.size
            if len(jobs) >= BATCH or self._jobs.empty():
                return jobs, False
            job = self._jobs.get()
