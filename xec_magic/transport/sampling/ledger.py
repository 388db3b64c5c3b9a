"""`Ledger`: totals that only grow, although the processes behind them come and go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["Counters", "Ledger"]


class Counters(NamedTuple):
    """What a process and the children that it has waited for have used until now; None for what cannot be read."""

    cpu_s: float
    read: int | None
    written: int | None
    storage_read: int | None
    storage_written: int | None


def _sum(all_of: list[Counters]) -> Counters:
    """The sum; what is unknown in one is unknown in it."""
    cpu_s, *io = zip(*all_of, strict=True)
    return Counters(sum(cpu_s), *(None if None in column else sum(column) for column in io))


_NOTHING = Counters(0.0, 0, 0, 0, 0)


class Ledger:
    """Adds up what a tree has used, with what its ended processes had used.

    The counters of a process that ends go to the parent that waits for it, so nothing is lost of children that
    lived between two samples. Those of an orphan go to a stranger: they are kept here as they were last seen.
    """

    def __init__(self) -> None:
        self._last: dict[int, tuple[int, Counters]] = {}
        self._departed = _NOTHING
        self._total = _NOTHING

    def total(self, living: Mapping[int, tuple[int, Counters]]) -> Counters:
        """The total, given all processes that live now, zombies too: pid to parent and counters."""
        for pid, (parent, counters) in self._last.items():
            if pid not in living and parent not in living and parent not in self._last:
                self._departed = _sum([self._departed, counters])
        self._last = dict(living)
        total = _sum([self._departed, *(counters for _, counters in living.values())])
        # A process between its end and its parent's wait, or whose parent does not wait, must not make it shrink.
        earlier = self._total
        grown = (
            now if before is None or (now is not None and now > before) else before if now is not None else None
            for now, before in zip(total[1:], earlier[1:], strict=True)
        )
        self._total = Counters(max(total.cpu_s, earlier.cpu_s), *grown)
        return self._total
