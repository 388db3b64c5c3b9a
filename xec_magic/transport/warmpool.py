"""Which shells to start ahead and which to end: a pure step, without clock, processes or waiting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Demand", "Idle", "Step", "step"]

SPARES_A_DEMAND: Final = 2  # one for the next command, one for the one that follows at once
DEMAND_S: Final = 60.0  # a kind of command that was not run for so long is not waited for
AGE_S: Final = 300.0  # an older spare is renewed: it stands in a directory, and keeps that busy


@dataclass(frozen=True, slots=True)
class Demand:
    """A kind of command that may come again.

    Attributes:
        kind: Its number; commands of one kind can use each other's spares.
        used_at: When one was last run, in monotonic seconds.
        reserved: So many spares are to be kept whatever the time; None where nobody asked for any.
    """

    kind: int
    used_at: float
    reserved: int | None = None


@dataclass(frozen=True, slots=True)
class Idle:
    """A shell that waits for its command."""

    number: int
    kind: int
    born_at: float


@dataclass(frozen=True, slots=True)
class Step:
    """What to do now.

    Attributes:
        end: Numbers of idle shells.
        start: Kinds, one entry for each shell to be started, the most urgent first.
        forget: Kinds that nobody asks for any more.
        next_at: When to look again at the latest; None when nothing changes by itself.
    """

    end: tuple[int, ...] = ()
    start: tuple[int, ...] = ()
    forget: tuple[int, ...] = ()
    next_at: float | None = None


def step(demands: Sequence[Demand], idle: Sequence[Idle], *, starting: Sequence[int], bound: int, now: float) -> Step:
    """What to start and what to end.

    Reserved spares come first, then those of the kinds used most recently, until there are `bound`; reserved ones are
    kept beyond it. A spare that is too old, or that no demand is left for, ends.

    Args:
        demands: All kinds that are known.
        idle: The shells that wait.
        starting: Kinds of the shells that are being started, one entry each.
        bound: So many spares at most, those being started included.
        now: In monotonic seconds.

    Example:
        >>> step([Demand(1, used_at=0.0)], [], starting=[], bound=4, now=1.0).start
        (1, 1)
    """
    alive = [d for d in demands if d.reserved is not None or now - d.used_at < DEMAND_S]
    alive.sort(key=lambda d: (d.reserved is None, -d.used_at))
    end, start = [], []
    left = bound
    kept: set[int] = set()
    for demand in alive:
        want = demand.reserved if demand.reserved is not None else min(SPARES_A_DEMAND, max(0, left))
        mine = sorted((i for i in idle if i.kind == demand.kind and now - i.born_at < AGE_S), key=lambda i: -i.born_at)
        kept.update(i.number for i in mine[:want])
        missing = want - len(mine) - starting.count(demand.kind)
        start += [demand.kind] * missing
        left -= want
    end = [i.number for i in idle if i.number not in kept]
    times = [d.used_at + DEMAND_S for d in alive if d.reserved is None]
    times += [i.born_at + AGE_S for i in idle if i.number in kept]
    known = {d.kind for d in alive}
    return Step(
        tuple(end), tuple(start), tuple(d.kind for d in demands if d.kind not in known), min(times, default=None)
    )
