"""`History`: the runs that are alive, and of those that are over as many as can still be shown."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from xec_magic.engine.run import Run
from xec_magic.engine.spool import SpoolDirectory
from xec_magic.output import OutputLog
from xec_magic.result import Result

if TYPE_CHECKING:
    from xec_magic.engine.engine import Engine

__all__ = ["History"]

HISTORY_RUNS: Final = 200  # finished runs that can still be shown
HISTORY_BYTES: Final = 256 * 2**20  # output in memory that finished runs may hold together
FORGET_RUNS: Final = 100  # the bounds are looked at after so many runs, or so much output
FORGET_BYTES: Final = 64 * 2**20


class History:
    """The runs of one executor. Any thread may call what is not said to be the loop's.

    Args:
        spool: Where long outputs are; those of forgotten runs go.
        engine: What the runs belong to.
    """

    def __init__(self, spool: SpoolDirectory, engine: Engine) -> None:
        self._spool = spool
        self._engine = engine
        self._runs: dict[str, Run] = {}
        self._over: deque[str] = deque()  # ids of those that are over, oldest end first
        self._without_run: deque[Result] = deque(maxlen=HISTORY_RUNS)
        self._unchecked = 0

    def add(self, run: Run) -> None:
        """A run that is to be listed from now on. A second call does nothing."""
        self._runs[run.run_id] = run

    def add_ended(self, run: Run) -> None:
        """A run that is over, and was not listed before."""
        self._runs[run.run_id] = run
        if len(self._runs) > HISTORY_RUNS + FORGET_RUNS:
            self._engine.post(self._forget_old)

    def add_result(self, result: Result) -> None:
        """The result of a run that nobody had a handle of."""
        self._without_run.append(result)

    def __contains__(self, run: Run) -> bool:
        return run.run_id in self._runs

    def __len__(self) -> int:
        return len(self._runs)

    def known(self) -> list[Run]:
        """All runs that there are; of results without one none is made."""
        return list(self._runs.copy().values())

    def all(self) -> list[Run]:
        """All runs, oldest first."""
        self._list_results()
        return sorted(self.known(), key=lambda run: int(run.run_id))

    def find(self, run_id: str) -> Run | None:
        """The run with this id, or None."""
        self._list_results()
        return self._runs.get(run_id)

    def finished(self, run: Run) -> None:
        """A run is over, and the oldest is forgotten for it. Now and then look at the other bounds. On the loop's thread.

        One for one: what a hundred runs hold is taken for lasting by the garbage collector until it is let go of, and the more there
        is of that, the more often it looks at all that the kernel holds.
        """
        self._over.append(run.run_id)
        if len(self._over) > HISTORY_RUNS:
            self._forget(self._over.popleft())
        self._unchecked += FORGET_BYTES // FORGET_RUNS + run.log.size()
        if self._unchecked >= FORGET_BYTES:
            self._unchecked = 0
            self._forget_old()

    def _list_results(self) -> None:
        """Make runs of the results that have none."""
        if self._without_run and len(self._runs) > HISTORY_RUNS + FORGET_RUNS:
            self._engine.post(self._forget_old)
        while self._without_run:
            try:
                result = self._without_run.popleft()
            except IndexError:  # another thread does the same
                return
            run = _revived(self._engine, result)
            self._runs[run.run_id] = run

    def _forget(self, run_id: str) -> None:
        run = self._runs.get(run_id)
        if run is not None and _still_there(run):
            self._over.append(run_id)  # later
        else:
            self._runs.pop(run_id, None)

    def _forget_old(self) -> None:
        live: set[OutputLog] = set()
        done: list[tuple[Run, int]] = []  # with the bytes of memory that each holds
        for run in self.all():
            log = run.log
            if _still_there(run):
                live.add(log)
            else:
                done.append((run, 0 if log.path is not None else log.size()))
        self._spool.keep_within_bound(live)
        held = sum(size for _, size in done)
        left = len(done)
        for run, size in done:
            if left <= HISTORY_RUNS and held <= HISTORY_BYTES:
                return
            left, held = left - 1, held - size
            self._runs.pop(run.run_id, None)

    def __repr__(self) -> str:
        return f"<History of {len(self._runs)} runs>"


def _still_there(run: Run) -> bool:
    """It is not over, or something of it can still print."""
    return run.state != "done" or (run.process is not None and run.process.streams_open)


def _revived(engine: Engine, result: Result) -> Run:
    """A run of a result that came about without one."""
    run = Run(engine, result.run_id, result.plan, lambda: OutputLog(0), check=False, background=False, keep=True)
    run.begun = True
    run.conclude(result)
    return run
