"""`Meter`: what the commands of a session leave and use, told from what its shells show before and after."""

from __future__ import annotations

import os
from typing import Final

from xec_magic.events import Usage
from xec_magic.transport.procfacts import Children, cpu_ticks, io_bytes, summed

__all__ = ["Meter"]

TICKS_A_S: Final = os.sysconf("SC_CLK_TCK")


class Meter:
    """Looks at the shells of a session. Only whoever has the session may call, and one at a time.

    Attributes:
        left: The shells' children when it last looked: what earlier commands have left.
        fresh: It has looked since the last command was put to the shell.
    """

    def __init__(self) -> None:
        self.left: frozenset[int] = frozenset()
        self.fresh = False
        self._children = Children()
        self._cpu_ticks: tuple[int, int] | None = None
        self._io: tuple[int, int] | None = None

    def look(self, shells: frozenset[int]) -> None:
        """See what earlier commands have left and used; the shells are idle."""
        self.look_for_children(shells)
        self._cpu_ticks = summed(cpu_ticks, shells)
        self._io = summed(io_bytes, shells)
        self.fresh = True

    def look_for_children(self, shells: frozenset[int]) -> None:
        """See what earlier commands have left, and nothing else: that takes no time."""
        self.left = self._children.of(shells)

    def used(self, shells: frozenset[int]) -> Usage | None:
        """What the shells and all that they have waited for have used since the last look; None where that cannot be told."""
        # A copy that goes on in the shell's place begins with counters of its own, at 0.
        before, self._cpu_ticks = self._cpu_ticks, summed(cpu_ticks, shells)
        io_before, self._io = self._io, summed(io_bytes, shells)
        if before is None or self._cpu_ticks is None or self._cpu_ticks == before:
            return None
        user, system = (now - then for now, then in zip(self._cpu_ticks, before, strict=True))
        read = written = None
        if io_before is not None and self._io is not None:
            read, written = (max(0, now - then) for now, then in zip(self._io, io_before, strict=True))
        return Usage(max(0, user) / TICKS_A_S, max(0, system) / TICKS_A_S, read_bytes=read, written_bytes=written)

    def used_last(self, whole: Usage | None) -> Usage | None:
        """What the last command has used, of what the shell has in all its life. How much memory it took is not known."""
        if whole is None or self._cpu_ticks is None:
            return None
        user, system = (
            max(0.0, now - ticks / TICKS_A_S)
            for now, ticks in zip((whole.user_s, whole.system_s), self._cpu_ticks, strict=True)
        )
        if not user + system:
            return None
        read = written = None
        if self._io is not None and whole.read_bytes is not None and whole.written_bytes is not None:
            read, written = max(0, whole.read_bytes - self._io[0]), max(0, whole.written_bytes - self._io[1])
        return Usage(user, system, read_bytes=read, written_bytes=written)

    def close(self) -> None:
        """Look no more."""
        self._children.close()

    def __repr__(self) -> str:
        return f"<Meter {len(self.left)} left{'' if self.fresh else ', out of date'}>"
