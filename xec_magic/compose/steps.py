"""Steps of a course, and the rules by which they go together: plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from xec_magic.optionspec import what_there_is
from xec_magic.result import Result

__all__ = ["Done", "Next", "Rule", "Stage", "Step"]


class Next(Enum):
    """What the end of one step means for the others."""

    GO_ON = "go on"
    START_NO_MORE = "start no more"  # what runs may end by itself
    STOP = "stop"  # what runs is stopped


@dataclass(frozen=True)
class Rule:
    """How steps go together.

    Attributes:
        limit: Steps that run at once; None for no limit but the executor's.
        good: What a success means for the others.
        bad: What a failure means for the others.
        plan_first: See that all can be planned before one is started.
        why: Why the others are stopped, in words.
        keeps_failures: A failure is a result as any other, and goes through the stages.
    """

    limit: int | None
    good: Next = Next.GO_ON
    bad: Next = Next.GO_ON
    plan_first: bool = False
    why: str = ""
    keeps_failures: bool = False


@dataclass(frozen=True)
class Step:
    """One command of several.

    Attributes:
        name: Unlike that of the others.
        script: The command, or a function that makes it of the results so far.
        when: Whether it runs at all, told by the results so far; None for always.
        options: The keywords of its run.
    """

    name: str
    script: Any
    when: Callable[[Mapping[str, Result]], object] | None
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Stage:
    """What becomes of each result: `map` puts the function's value in its place, `filter` drops it unless that is true."""

    kind: str
    function: Callable[[Any], Any]


class Done(dict[str, Result]):
    """Results by the names of their steps; an unknown one says which there are."""

    def __missing__(self, name: object) -> Result:
        raise KeyError(f"there is no result of {name!r} so far; {what_there_is(map(repr, self))}")
