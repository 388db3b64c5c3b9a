"""`Checker`: asks for each task whether it has to run, and remembers how it ended. Files and records are read beside the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from hashlib import blake2b
from typing import Final

from xec_magic.compose.tasks_files import FileFault, Stamp, Stamps, missing, stamps_of
from xec_magic.compose.tasks_fresh import options_digest, reason_not_to_run, reason_to_run, script_digest
from xec_magic.compose.tasks_graph import Graph, Task
from xec_magic.compose.tasks_result import TaskResult, TaskResults, TaskState
from xec_magic.compose.tasks_store import Record, TaskStore
from xec_magic.engine.portal import Helpers
from xec_magic.errors import SpawnError

__all__ = ["Checker", "preview"]

THREADS: Final = 4  # files of so many tasks are read at a time
FLUSH_S: Final = 2.0  # what has ended is written down together, so often
LONG_S: Final = 0.2  # what took longer is written down at once: a kernel that dies must not cost it again


class Checker:
    """What is known of tasks, while they run. All methods but `preview` on the loop's thread.

    Args:
        graph: The tasks.
        store: What is remembered.
        force: Everything has to run.
        resume: What ended well in a run that did not need not run again.
    """

    def __init__(self, graph: Graph, store: TaskStore, *, force: bool, resume: bool) -> None:
        self._graph = graph
        self._store = store
        self._force = force
        self._resume = resume
        self._records, self._unfinished = store.records()
        store.begin()
        self._looked_at = {name for name, task in graph.tasks.items() if task.checked or self._may_resume(name)}
        self._ran: dict[str, str] = {}  # in which run each task last ran, as soon as it has ended well
        self._stamps: dict[str, Mapping[str, Stamp]] = {}
        self._ended: list[tuple[str, str]] = []
        self._kept: list[str] = []
        self._flush: asyncio.TimerHandle | None = None
        self._helpers = Helpers(THREADS, "xec-tasks")
        self._writes: list[Future[None]] = []

    @property
    def notes(self) -> list[str]:
        """What the reader should know: nothing can be remembered, and why."""
        return self._store.notes

    def must_look(self, name: str) -> bool:
        """Its files have to be looked at before it starts."""
        return name in self._looked_at

    def _may_resume(self, name: str) -> bool:
        if not self._resume:
            return False
        record = self._records.get(name)
        return record is not None and record.run in self._unfinished

    def why_unseen(self) -> str:
        """Why a task runs that names no files; nothing to be told of where it always does."""
        return "--force" if self._force else ""

    async def look(self, name: str, stopped: Callable[[], bool]) -> str:
        """Why a task has to run; empty when it is up to date.

        Raises:
            FileFault: a file that it depends on is not there or cannot be read.
        """
        needs = self._needs(name)
        return await asyncio.wrap_future(self._helpers.submit(self._look, name, needs, stopped))

    def _look(self, name: str, needs: Mapping[str, str], stopped: Callable[[], bool]) -> str:
        task, record = self._graph.tasks[name], self._records.get(name)
        seen: dict[str, Mapping[str, Stamp]] = {}

        def stamps(known: Stamps) -> Mapping[str, Stamp]:
            seen["now"] = stamps_of(task.depends, known, stopped=stopped)
            return seen["now"]

        why = reason_to_run(
            task, record, force=self._force, may_resume=self._may_resume(name), needs=needs, stamps=stamps
        )
        if why:
            # As it begins: what changes while it runs is a change to what it has read.
            self._stamps[name] = seen["now"] if "now" in seen else stamps(record.stamps if record else {})
            # Where the kernel dies meanwhile, an older record must not pass for the state of its files.
            self._store.put({name: self._record(task, "started", needs)})
        elif record is not None and "now" in seen:
            self._stamps[name] = seen["now"]
        return why

    def _needs(self, name: str) -> dict[str, str]:
        """In which run each dependency last ran."""
        return {need: self._ran.get(need, "") for need in self._graph.needs[name]}

    def _record(self, task: Task, state: str, needs: Mapping[str, str]) -> Record:
        assert task.plan is not None
        run = self._store.run
        return Record(
            state,
            run,
            run,
            script_digest(task.plan.command),
            options_digest(task),
            needs,
            self._stamps.get(task.name, {}),
        )

    def makes_files(self, name: str) -> bool:
        """It promises to create files."""
        return bool(self._graph.tasks[name].creates)

    async def look_at_made(self, name: str) -> str:
        """The first file that a task did not create; empty when all are there."""
        creates = self._graph.tasks[name].creates
        return await asyncio.wrap_future(self._helpers.submit(missing, creates))

    def over(self, name: str, state: TaskState, took_s: float = 0.0) -> None:
        """A task has ended, and its command took so long."""
        if state is TaskState.UP_TO_DATE:
            record = self._records.get(name)
            assert record is not None
            self._ran[name] = record.ran
            self._kept.append(name)
            return
        group = self._graph.tasks[name].plan is None
        if state is TaskState.OK:
            self._ran[name] = _together(self._needs(name)) if group else self._store.run
        if not group:
            # Of one that was stopped nobody knows whether it would have failed.
            ended = {TaskState.OK: "ok", TaskState.STOPPED: "started"}.get(state, "failed")
            self._ended.append((name, ended))
            if took_s > LONG_S:
                if self._flush is not None:
                    self._flush.cancel()
                self._write()
            elif self._flush is None:
                self._flush = asyncio.get_running_loop().call_later(FLUSH_S, self._write)

    def _write(self) -> None:
        self._flush = None
        ended, self._ended = self._ended, []
        try:
            self._writes.append(self._helpers.submit(self._put, ended))
        except SpawnError:  # no thread can be had; with the next ones, at the latest at the end
            self._ended = ended + self._ended

    def _put(self, ended: list[tuple[str, str]]) -> None:
        """Write down what has ended; in a thread."""
        tasks = self._graph.tasks
        self._store.put({name: self._record(tasks[name], state, self._needs(name)) for name, state in ended})

    async def end(self, *, well: bool) -> None:
        """The last task has ended: write down what is not yet."""
        if self._flush is not None:
            self._flush.cancel()
        ended = self._ended
        if well:
            # Nothing is left to resume, so nobody will ask for those that always run, unless an older record speaks of them.
            ended = [(name, state) for name, state in ended if self._graph.tasks[name].checked or name in self._records]

        def finish() -> None:
            for write in self._writes:  # begun before this, in other threads
                write.result()
            self._put(ended)
            self._store.end(well=well, kept=self._kept)
            self._store.close()

        try:
            await asyncio.wrap_future(self._helpers.submit(finish))
        except SpawnError:  # no thread can be had
            finish()
        self._helpers.close()


def preview(graph: Graph, store: TaskStore, *, jobs: int, force: bool, resume: bool) -> TaskResults:
    """What would run, and why; what each task would find is told from what is there now. Nothing is run or remembered."""
    records, unfinished = store.records()
    ran: dict[str, str] = {}
    would: set[str] = set()
    rows = []
    for name in graph.order:
        task, record = graph.tasks[name], records.get(name)
        needs = {need: ran[need] for need in graph.needs[name]}
        if task.plan is None:
            ran[name] = _together(needs)
            if any(need in would for need in needs):
                would.add(name)
            state = TaskState.WOULD_RUN if name in would else TaskState.UP_TO_DATE
            rows.append(TaskResult(name, state, graph.needs[name], group=True))
            continue
        may_resume = resume and record is not None and record.run in unfinished
        try:
            why = reason_to_run(
                task,
                record,
                force=force,
                may_resume=may_resume,
                needs=needs,
                stamps=lambda known: stamps_of(task.depends, known),  # noqa: B023 - called here
            )
            lacking = missing(task.depends) if why and not would.intersection(needs) else ""
            why += f"; it would fail, since {lacking} is not there" if lacking else ""
        except FileFault as fault:
            why = f"it would fail: {fault}"
        ran[name] = store.run if why or record is None else record.ran
        if why:
            would.add(name)
        state = TaskState.WOULD_RUN if why else TaskState.UP_TO_DATE
        rows.append(TaskResult(name, state, graph.needs[name], why or reason_not_to_run(task)))
    return TaskResults(rows, jobs=jobs, notes=tuple(store.notes))


def _together(needs: Mapping[str, str]) -> str:
    """A group stands for what it needs: it has run when one of them has."""
    return blake2b(" ".join(needs.values()).encode(), digest_size=8).hexdigest()
