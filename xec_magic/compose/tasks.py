"""`Tasks`: named scripts that need each other; run in order, side by side where they may."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeVar, Unpack

from xec_magic.command import LOCAL, FileInput, Target
from xec_magic.compose.tasks_check import preview
from xec_magic.compose.tasks_grammar import valid_name
from xec_magic.compose.tasks_graph import Graph, GraphError, Task
from xec_magic.compose.tasks_result import TaskResults
from xec_magic.compose.tasks_run import TasksRun
from xec_magic.compose.tasks_store import TaskStore
from xec_magic.engine.executor import Executor
from xec_magic.engine.spool import cache_root
from xec_magic.errors import OptionError
from xec_magic.inventory import Inventory
from xec_magic.options import Settings
from xec_magic.options.tasks import TaskOptions, TasksOptions

if TYPE_CHECKING:
    from xec_magic.keywords import Script, TaskKeywords

__all__ = ["Tasks", "default_jobs", "preview_graph", "run_graph", "task_of"]

MEMORY_BYTES: Final = (
    512 * 2**10
)  # of one task's output; what goes beyond is spooled, as there may be thousands of them

_T = TypeVar("_T")
ReadScript = Callable[[Any, tuple[str, ...], Target], "str | bytes"]


class Tasks:
    """Named scripts with their dependencies. `add` them, then `run` them.

    `xec.tasks()` makes one; its keywords hold for all of its tasks.

    Args:
        executor: Gives the executor, at each run.
        settings: Gives the standing defaults.
        defaults: Keywords for every task, under those of the task itself.
        read_script: The text of a script that may be a template string, for an interpreter on a target.
    """

    def __init__(
        self,
        executor: Callable[[], Executor],
        settings: Callable[[], Settings | None],
        defaults: Mapping[str, Any],
        read_script: ReadScript,
    ) -> None:
        self._executor = executor
        self._settings = settings
        self._target = defaults.get("target")
        self._defaults = TaskOptions.read_call_for_all(
            {name: value for name, value in defaults.items() if name != "target"}
        )
        self._read_script = read_script
        self._tasks: dict[str, Task] = {}

    def add(
        self, name: str, script: Script | None = None, needs: Iterable[str] = (), **options: Unpack[TaskKeywords]
    ) -> Tasks:
        """Add a task; gives the tasks again, so that calls can be chained.

        Args:
            name: What others call it in their `needs`: letters, digits, `_`, and between them `-` and `.`.
            script: Text, bytes or a template string; None for a group, which only needs others.
            needs: The tasks that must have ended well before; they may be added later.
            **options: As for `run`, and `depends` and `creates`: files, or lists of them.

        Raises:
            OptionError: the name is taken or cannot be one, or an option is wrong.
        """
        reason = valid_name(name) if isinstance(name, str) else f"{name!r} is no name of a task; give a text"
        if reason:
            raise OptionError(reason)
        if name in self._tasks:
            raise GraphError(f"there is already a task {name}; names must differ", name)
        needs = _names(needs)
        target = options.get("target", self._target)
        try:
            values = TaskOptions.read_call({key: value for key, value in options.items() if key != "target"})
            settings = self._settings()
            given = TaskOptions.of_task(values, defaults=self._defaults, settings=settings, line=False)
            if script is None and values:
                raise OptionError("it has no script, so its options would do nothing")
            if given.on and target is not None:
                raise OptionError("on and target both say where to run; keep one")
            if given.on:
                target = (settings.inventory() if settings is not None else Inventory()).one(given.on)
            text = None if script is None else self._read_script(script, given.shell, target or LOCAL)
            self._tasks[name] = task_of(name, text, given, needs, target=target or LOCAL)
        except OptionError as error:
            raise type(error)(f"task {name}: {error}") from None
        return self

    def start(
        self,
        *names: str,
        jobs: int | str | None = None,
        keep_going: bool = True,
        force: bool = False,
        resume: bool = False,
        check: bool = True,
    ) -> TasksRun:
        """Start the named tasks and all that they need, and give their handle at once.

        Args:
            *names: Tasks; all when none is named.
            jobs: So many run at a time; None for one a core.
            keep_going: Go on with what does not need a task that has failed.
            force: Run also what is up to date.
            resume: Do not run again what ended well in a run that did not.
            check: Whether `result` raises when a task failed.

        Raises:
            OptionError: a wrong value, an unknown name, or tasks that need each other in a circle; nothing has run.
        """
        return self._planned(names, jobs, keep_going=keep_going, force=force, resume=resume, check=check).begin()

    def run(
        self,
        *names: str,
        jobs: int | str | None = None,
        keep_going: bool = True,
        dry_run: bool = False,
        force: bool = False,
        resume: bool = False,
        check: bool = True,
    ) -> TaskResults:
        """Run the named tasks and all that they need, and wait for them.

        With `dry_run` nothing is run or remembered: the results then say what would run, and why. For the rest see `start`.

        Raises:
            TasksFailed: a task failed. Not with `check=False`.
            TasksInterrupted: the kernel's interrupt stopped them.
            OptionError: see `start`.

        Example:
            >>> import xec_magic as xec
            >>> tasks = xec.tasks().add("words", "echo b a").add("sorted", "echo a b", needs=["words"])
            >>> tasks.run("sorted", jobs=2)["sorted"].text()
            'a b'
        """
        if dry_run:
            _, graph, limit = self._ready(names, jobs)
            return preview_graph(graph, jobs=limit, force=force, resume=resume)
        # Begun by the wait, so that an interrupt in the moment in which they begin finds somebody who waits.
        return self._planned(names, jobs, keep_going=keep_going, force=force, resume=resume, check=check).result()

    def _planned(
        self,
        names: tuple[str, ...],
        jobs: int | str | None,
        *,
        keep_going: bool,
        force: bool,
        resume: bool,
        check: bool,
    ) -> TasksRun:
        executor, graph, limit = self._ready(names, jobs)
        return run_graph(executor, graph, jobs=limit, keep_going=keep_going, force=force, resume=resume, check=check)

    def _ready(self, names: tuple[str, ...], jobs: int | str | None) -> tuple[Executor, Graph, int]:
        if not self._tasks:
            raise OptionError("there are no tasks; add some, tasks.add(name, script)")
        for name in names:
            if not isinstance(name, str):
                raise OptionError(f"{name!r} is no name of a task; give texts")
        TaskOptions.refuse_idle_for_all(self._defaults, (task.plan for task in self._tasks.values()), line=False)
        executor = self._executor()
        limit = None if jobs is None else TasksOptions.SPEC.by_name["jobs"].read(jobs, "jobs", python=True)
        return executor, Graph(self._tasks.values()).part(names), default_jobs(limit, executor)

    def __len__(self) -> int:
        return len(self._tasks)

    def __repr__(self) -> str:
        shown = ", ".join(list(self._tasks)[:5]) + (", …" if len(self._tasks) > 5 else "")
        return f"<Tasks {shown or 'none'}>"


def task_of(
    name: str,
    script: str | bytes | None,
    options: TaskOptions,
    needs: tuple[str, ...],
    namespace: Mapping[str, Any] | None = None,
    target: Target = LOCAL,
) -> Task:
    """A task, decided: its plan, and its files as absolute paths. `None` or an empty script makes a group.

    Raises:
        OptionError: an option is wrong.
    """
    if not script:
        return Task(name, None, needs)
    if target.kind == "ssh" and (options.depends or options.creates):
        raise OptionError(
            f"{'depends' if options.depends else 'creates'} looks at files of this machine, and the task runs on {target}"
        )
    plan = options.plan(script, namespace, target)
    limits = replace(plan.limits, memory_bytes=MEMORY_BYTES)
    # Thousands of tasks mostly have the same policies: one of each is enough to hold on to.
    plan = replace(plan, stop=_one(plan.stop), retry=_one(plan.retry), limits=_one(limits), label=name)
    depends, creates = options.paths(options.depends), options.paths(options.creates)
    given = plan.command.stdin
    if (depends or creates) and isinstance(given, FileInput) and os.path.isfile(given.path):
        depends = (*depends, (os.path.relpath(given.path), given.path))  # what it reads, as the others are
    return Task(name, plan, needs, depends, creates)


def _names(needs: Any) -> tuple[str, ...]:
    """The names in `needs`, each once.

    Raises:
        OptionError: it is no list of names.
    """
    if isinstance(needs, str):
        raise OptionError(f"needs: {needs!r} is a text; give a list of names, such as [{needs!r}]")
    try:
        names = list(needs)
    except TypeError:
        raise OptionError(f"needs: {needs!r} is no list of names") from None
    for name in names:
        if not isinstance(name, str):
            raise OptionError(f"needs: {name!r} is no name of a task; give texts")
    return tuple(dict.fromkeys(names))


@lru_cache(maxsize=256)
def _one(value: _T) -> _T:
    """The first value that was equal to this one."""
    return value


def default_jobs(jobs: int | None, executor: Executor) -> int:
    """How many tasks run at a time.

    Raises:
        OptionError: more than the executor runs at once: they would only wait in its queue.
    """
    if jobs is None:
        return min(os.cpu_count() or 1, executor.max_running)
    if jobs > executor.max_running:
        raise OptionError(
            f"jobs: {jobs:,} is more than the {executor.max_running} commands that run here at once; write less"
        )
    return jobs


def run_graph(
    executor: Executor,
    graph: Graph,
    *,
    jobs: int,
    keep_going: bool,
    force: bool,
    resume: bool,
    check: bool = True,
) -> TasksRun:
    """A run of tasks that fit together, not begun yet.

    Raises:
        GraphError: the script of one holds a secret's value, which others could read; nothing has run.
    """
    for task in graph.tasks.values():
        if task.plan is not None:
            try:
                executor.guard_secrets(task.plan)
            except OptionError as error:
                raise GraphError(f"task {task.name}: {error}", task.name) from None
    return TasksRun(
        executor, graph, jobs=jobs, keep_going=keep_going, force=force, resume=resume, store=_store(), check=check
    )


def preview_graph(graph: Graph, *, jobs: int, force: bool, resume: bool) -> TaskResults:
    """What would run, and why. Nothing is run or remembered."""
    store = _store(create=False)
    try:
        return preview(graph, store, jobs=jobs, force=force, resume=resume)
    finally:
        store.close()


def _store(*, create: bool = True) -> TaskStore:
    """What is remembered of the tasks that are run from the kernel's directory."""
    try:
        directory = os.path.realpath(os.getcwd())
    except OSError:  # it was removed under the kernel
        directory = ""
    return TaskStore(cache_root, directory, create=create)
