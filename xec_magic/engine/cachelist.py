"""What is kept, as tables of entries show it and patterns name it."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xec_magic.engine.clock import Clock

if TYPE_CHECKING:
    from xec_magic.engine.disk import Listed
    from xec_magic.engine.memory import Entry

__all__ = ["Shown", "matcher", "shown"]


@dataclass(frozen=True, slots=True)
class Shown:
    """An entry, as tables of entries show it; `size` is that of its output, `tier` is memory, disk, or both."""

    digest: int
    command: str
    target: str
    age_s: float
    left_s: float
    size: int
    hits: int
    tier: str
    entry: Entry | None = None


def shown(in_memory: Iterable[Entry], on_disk: Iterable[Listed], clock: Clock) -> list[Shown]:
    """What may still be used, oldest first."""
    found: dict[int, Shown] = {}
    for entry in in_memory:
        age = clock.age(entry.stored)
        found[entry.key.digest] = Shown(
            entry.key.digest, entry.result.command, entry.result.target, age, entry.ttl_s - age,
            entry.result.log.size(), entry.hits, "memory", entry,
        )  # fmt: skip
    for row in on_disk:
        age = clock.age(row.stored)
        both = found.get(row.digest)
        if both is not None:
            found[row.digest] = replace(both, tier="memory, disk", hits=max(both.hits, row.hits))
        elif age < row.ttl_s + row.stale_s:
            found[row.digest] = Shown(
                row.digest, row.script, row.target, age, row.ttl_s - age, row.size, row.hits, "disk"
            )
    return sorted(found.values(), key=lambda one: -one.age_s)


def matcher(pattern: str) -> Callable[[Shown], bool]:
    """Whether a glob matches the text of an entry's command, as a whole, or its first line."""
    match = re.compile(fnmatch.translate(pattern)).match
    return lambda one: bool(match(one.command.strip()) or match(one.command.strip().partition("\n")[0]))
