"""`TaskResults`: how tasks ended, each with its result, or with the reason why it did not run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from xec_magic.errors import OptionError, TasksFailed, TasksInterrupted
from xec_magic.result import Result
from xec_magic.units import format_count, format_duration

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TaskResult", "TaskResults", "TaskState", "critical_path"]


class TaskState(StrEnum):
    """Where a task stands."""

    PENDING = "pending"
    RUNNING = "running"
    OK = "ok"
    FAILED = "failed"
    STOPPED = "stopped"
    BLOCKED = "blocked"
    SKIPPED = "skipped"
    UP_TO_DATE = "up to date"
    WOULD_RUN = "would run"


WELL = frozenset({TaskState.OK, TaskState.UP_TO_DATE})
OVER = WELL | {TaskState.FAILED, TaskState.STOPPED, TaskState.BLOCKED, TaskState.SKIPPED}


@dataclass(frozen=True, slots=True, eq=False)
class TaskResult:
    """How one task ended. What a `Result` has, this has as well: `.stdout`, `.exit_code`, `.json()`, …

    Attributes:
        name: What the task is called.
        state: How it ended; `pending` while it has not.
        needs: The tasks that it needed.
        reason: Why it ran, or why it did not, or why it failed.
        result: Of its command; None when that did not run.
        start_s: When it began, in seconds since the first one; None when it did not.
        end_s: When it ended.
        group: It has no script, and only needs others.
    """

    name: str
    state: TaskState
    needs: tuple[str, ...] = ()
    reason: str = ""
    result: Result | None = None
    start_s: float | None = None
    end_s: float | None = None
    group: bool = False

    @property
    def ok(self) -> bool:
        """It ended well, or had nothing to do."""
        return self.state in WELL

    @property
    def duration_s(self) -> float:
        """Seconds from its begin to its end, all attempts included; 0 when it did not run."""
        return 0.0 if self.start_s is None or self.end_s is None else self.end_s - self.start_s

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        return str(self.result) if self.result is not None else ""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # copy and pickle probe for dunders
            raise AttributeError(name)
        if self.result is None:
            raise AttributeError(f"task {self.name} has no {name}: it did not run ({self.state}; {self.reason})")
        return getattr(self.result, name)

    def __repr__(self) -> str:
        took = f", {format_duration(self.duration_s)}" if self.start_s is not None else ""
        return f"<TaskResult {self.name}: {self.state}{took}{f' ({self.reason})' if self.reason else ''}>"


class TaskResults(Mapping[str, TaskResult]):
    """How tasks ended, by name, in the order in which they depend on each other.

    Attributes:
        jobs: How many could run at a time.
        duration_s: Seconds from the first begin to the last end.
        notes: What the reader should know about the whole.
        interrupted: The kernel's interrupt stopped them.

    Example:
        >>> import xec_magic as xec
        >>> r = xec.tasks().add("load", "exit 3").add("report", "echo done", needs=["load"]).run(check=False)
        >>> {name: task.state.value for name, task in r.items()}
        {'load': 'failed', 'report': 'blocked'}
        >>> r["load"].exit_code, r["report"].reason
        (3, 'load failed')
    """

    def __init__(
        self,
        tasks: Sequence[TaskResult],
        *,
        jobs: int,
        duration_s: float = 0.0,
        notes: tuple[str, ...] = (),
        interrupted: bool = False,
    ) -> None:
        self._tasks = {task.name: task for task in tasks}
        self.jobs = jobs
        self.duration_s = duration_s
        self.notes = notes
        self.interrupted = interrupted

    def __getitem__(self, name: str) -> TaskResult:
        return self._tasks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def ok(self) -> bool:
        """All ended well, or had nothing to do."""
        return all(task.ok for task in self._tasks.values())

    def __bool__(self) -> bool:
        return self.ok

    def _with(self, *states: TaskState) -> dict[str, TaskResult]:
        return {name: task for name, task in self._tasks.items() if task.state in states}

    @property
    def failed(self) -> dict[str, TaskResult]:
        """Those that failed themselves, or were stopped while they ran."""
        return self._with(TaskState.FAILED, TaskState.STOPPED)

    @property
    def not_started(self) -> dict[str, TaskResult]:
        """Those that did not run because of others or of a stop, each with its reason."""
        return self._with(TaskState.BLOCKED, TaskState.SKIPPED, TaskState.PENDING)

    @property
    def states(self) -> dict[str, str]:
        """Name to state, as plain texts."""
        return {name: task.state.value for name, task in self._tasks.items()}

    @property
    def graph(self) -> dict[str, tuple[str, ...]]:
        """Name to the names of what it needs."""
        return {name: task.needs for name, task in self._tasks.items()}

    @property
    def critical_path(self) -> list[str]:
        """The chain of tasks that took longest: with any number of jobs it would not have been faster."""
        return critical_path(self._tasks.values())

    @property
    def critical_s(self) -> float:
        """Seconds that the critical path took."""
        return sum(self._tasks[name].duration_s for name in self.critical_path)

    def counts(self) -> dict[TaskState, int]:
        """How many are in each state, worst first; states without any are left out."""
        order = (
            TaskState.FAILED, TaskState.STOPPED, TaskState.BLOCKED, TaskState.SKIPPED, TaskState.RUNNING, TaskState.PENDING,
            TaskState.WOULD_RUN, TaskState.OK, TaskState.UP_TO_DATE,
        )  # fmt: skip
        found = dict.fromkeys(order, 0)
        for task in self._tasks.values():
            found[task.state] += 1
        return {state: count for state, count in found.items() if count}

    def summary(self) -> str:
        """How many ended how: `7 tasks: 1 failed, 2 blocked, 4 ok`."""
        said = ", ".join(f"{count:,} {state}" for state, count in self.counts().items())
        return f"{format_count(len(self), 'task')}: {said}"

    def df(self) -> pd.DataFrame:
        """A row a task: name, state, reason, exit code, start, duration, CPU seconds, peak memory.

        Raises:
            OptionError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise OptionError("a DataFrame needs pandas; pip install 'xec-magic[frames]'") from error
        rows = [_row(task) for task in self._tasks.values()]
        return pd.DataFrame(rows).set_index("name")

    def error(self) -> TasksFailed | TasksInterrupted | None:
        """The exception that `check` raises; None when all ended well."""
        failed = self.failed
        first = next((task.result for task in failed.values() if task.result is not None), None)
        if self.interrupted:
            return TasksInterrupted(f"interrupted; {self.summary()}", first, self)
        if self.ok or self._with(TaskState.WOULD_RUN):
            return None
        named = [f"{name} ({task.reason})" for name, task in list(failed.items())[:3]]
        more = f" and {len(failed) - 3:,} more" if len(failed) > 3 else ""
        why = f"; failed: {', '.join(named)}{more}" if named else ""
        tail = first.stderr_tail() if first is not None else ""
        return TasksFailed(self.summary() + why + (f"\n{tail}" if tail else ""), first, self)

    def check(self) -> TaskResults:
        """The results themselves when all ended well.

        Raises:
            TasksFailed: a task failed, or did not run.
            TasksInterrupted: the kernel's interrupt stopped them.
        """
        error = self.error()
        if error is not None:
            raise error
        return self

    def __repr__(self) -> str:
        return f"<TaskResults {self.summary()}, {format_duration(self.duration_s)}>"


def _row(task: TaskResult) -> dict[str, Any]:
    result = task.result
    usage = result.usage if result is not None else None
    return {
        "name": task.name,
        "state": task.state.value,
        "reason": task.reason,
        "needs": " ".join(task.needs),
        "exit_code": result.exit_code if result is not None else None,
        "start_s": task.start_s,
        "duration_s": task.duration_s if task.start_s is not None else None,
        "cpu_s": usage.cpu_s if usage is not None else None,
        "peak_rss_bytes": usage.peak_rss_bytes if usage is not None else None,
    }


def critical_path(tasks: Sequence[TaskResult] | Any) -> list[str]:
    """The longest chain of dependencies, by duration. The tasks come in order, each behind what it needs.

    Example:
        >>> a = TaskResult("a", TaskState.OK, start_s=0.0, end_s=2.0)
        >>> b = TaskResult("b", TaskState.OK, start_s=0.0, end_s=3.0)
        >>> critical_path([a, b, TaskResult("c", TaskState.OK, ("a", "b"), start_s=3.0, end_s=4.0)])
        ['b', 'c']
    """
    best: dict[str, float] = {}
    before: dict[str, str] = {}
    ran: set[str] = set()
    for task in tasks:
        longest = max((need for need in task.needs if need in best), key=lambda need: best[need], default=None)
        if longest is not None:
            before[task.name] = longest
        best[task.name] = task.duration_s + (best[longest] if longest is not None else 0.0)
        if task.start_s is not None:
            ran.add(task.name)
    if not ran:
        return []
    at: str | None = max(best, key=lambda name: best[name])
    way = []
    while at is not None:
        if at in ran:
            way.append(at)
        at = before.get(at)
    return way[::-1]
