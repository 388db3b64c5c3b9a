"""`Graph`: tasks and what they need, checked: no unknown names, no circles; its order."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import PurePosixPath
from typing import Final

from xec_magic.errors import OptionError
from xec_magic.optionspec import nearest, what_there_is
from xec_magic.plan import Plan

__all__ = ["FileName", "Graph", "GraphError", "Task"]

MOST_TOLD: Final = 60  # steps of a circle; a message is to be read

FileName = tuple[str, str]  # as it is written, and its absolute path


@dataclass(frozen=True, slots=True)
class Task:
    """One task, fully decided.

    Attributes:
        name: What it is called.
        plan: What it runs; None for a group, which only needs others.
        needs: The tasks that must have ended well before.
        depends: Files that it reads.
        creates: Files that it makes.
    """

    name: str
    plan: Plan | None = None
    needs: tuple[str, ...] = ()
    depends: tuple[FileName, ...] = ()
    creates: tuple[FileName, ...] = ()

    @property
    def checked(self) -> bool:
        """Its files say whether it is up to date; without any it always runs."""
        return self.plan is not None and bool(self.depends or self.creates)


class GraphError(OptionError):
    """The tasks do not fit together; nothing has run.

    Attributes:
        task: The one at which it shows; empty when none is to blame.
        need: The dependency of it that is wrong.
    """

    def __init__(self, message: str, task: str = "", need: str = "") -> None:
        super().__init__(message)
        self.task = task
        self.need = need


class Graph:
    """Tasks in an order in which each comes behind what it needs.

    A task that depends on a file which another one creates needs that other one, whether it says so or not.

    Args:
        tasks: Each with a name of its own.

    Raises:
        GraphError: an unknown dependency, the same name twice, or a circle; its names are in the message, of a long one those at
            both ends.

    Example:
        >>> graph = Graph([Task("test", needs=("build",)), Task("build")])
        >>> graph.order
        ('build', 'test')
    """

    def __init__(self, tasks: Iterable[Task]) -> None:
        self.tasks: dict[str, Task] = {}
        for task in tasks:
            if task.name in self.tasks:
                raise GraphError(f"there is already a task {task.name}; names must differ", task.name)
            self.tasks[task.name] = task
        made, within = _made(self.tasks.values())
        self.needs: Mapping[str, tuple[str, ...]] = {
            name: tuple(dict.fromkeys((*task.needs, *_makers(task, made, within)))) if task.depends else task.needs
            for name, task in self.tasks.items()
        }
        self._dependants: dict[str, list[str]] = {}
        for name, needs in self.needs.items():
            for need in needs:
                if need not in self.tasks:
                    hint = nearest(need, self.tasks) or what_there_is(self.tasks)
                    raise GraphError(f"{name} needs {need}, which is no task; {hint}", name, need)
                self._dependants.setdefault(need, []).append(name)
        try:
            self.order = tuple(TopologicalSorter(self.needs).static_order())
        except CycleError as error:
            raise self._circle(error.args[1]) from None

    def _circle(self, names: Sequence[str]) -> GraphError:
        # graphlib gives each name before one that needs it, the first one again at the end.
        way = list(reversed(names))
        if len(set(way)) == 1:
            name = way[0]
            own = "" if name in self.tasks[name].needs else ": it depends on a file that it creates"
            return GraphError(f"{name} needs itself{own}", name, name)
        place = {name: at for at, name in enumerate(self.tasks)}
        first = min(range(len(way) - 1), key=lambda at: place[way[at]])
        way = [*way[first:-1], *way[:first], way[first]]
        told = [f"{one} needs {other}" for one, other in itertools.pairwise(way)]
        if len(told) > MOST_TOLD:  # as many at each end
            told[MOST_TOLD // 2 : -MOST_TOLD // 2] = [f"… {len(told) - MOST_TOLD:,} more …"]
        steps = ", ".join(told)
        return GraphError(f"{len(way) - 1:,} tasks need each other in a circle: {steps}", way[0], way[1])

    def dependants(self, name: str) -> Sequence[str]:
        """The tasks that need this one themselves."""
        return self._dependants.get(name, ())

    def part(self, names: Sequence[str]) -> Graph:
        """The named tasks and all that they need; all tasks when none is named.

        Raises:
            GraphError: there is no task of such a name.
        """
        if not names:
            return self
        wanted: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in self.tasks:
                hint = nearest(name, self.tasks) or what_there_is(self.tasks)
                raise GraphError(f"there is no task {name!r}; {hint}")
            if name not in wanted:
                wanted.add(name)
                waiting += self.needs[name]
        return Graph(
            Task(task.name, task.plan, self.needs[name], task.depends, task.creates)
            for name, task in self.tasks.items()
            if name in wanted
        )

    def __len__(self) -> int:
        return len(self.tasks)

    def __repr__(self) -> str:
        return f"<Graph of {len(self.tasks)} tasks>"


_Made = Mapping[str, Sequence[str]]  # path to the tasks that make it


def _made(tasks: Iterable[Task]) -> tuple[_Made, _Made]:
    """Which tasks make a path, and which make something below it."""
    made: dict[str, list[str]] = {}
    within: dict[str, list[str]] = {}
    for task in tasks:
        for path in _paths(task.creates):
            made.setdefault(path, []).append(task.name)
            for parent in _parents(path):
                within.setdefault(parent, []).append(task.name)
    return made, within


def _makers(task: Task, made: _Made, within: _Made) -> list[str]:
    """The tasks that create what this one depends on: the path itself, something below it, or a directory above it."""
    return [
        name
        for path in _paths(task.depends)
        for name in (
            *made.get(path, ()), *within.get(path, ()), *(one for above in _parents(path) for one in made.get(above, ())),
        )
    ]  # fmt: skip


def _paths(names: Iterable[FileName]) -> Iterator[str]:
    """Where files are, and where links lead that are there already: two names of a file are one file."""
    for _, path in names:
        yield path
        if "\0" not in path and (real := os.path.realpath(path)) != path:
            yield real


def _parents(path: str) -> list[str]:
    return [str(parent) for parent in PurePosixPath(path).parents][:-1]
