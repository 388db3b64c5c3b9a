"""`Grouped`: which command is in which control group.

Standard library only, and imported by path: the spawner's interpreter does not know the package.
"""

from __future__ import annotations

from typing import Any


class Grouped:
    """The control groups of commands that asked for one. Not to be used by two threads at once."""

    def __init__(self) -> None:
        self._groups: Any = None
        self._of: dict[int, str] = {}
        self._entered = ""

    @property
    def used(self) -> bool:
        """Some command has asked for one."""
        return self._groups is not None

    def enter(self, number: int) -> None:
        """Be in a group of its own while the command is started, where there can be one."""
        if self._groups is None:
            import grouping  # type: ignore[import-not-found]  # here: few commands ask for it

            self._groups = grouping.Groups()
        self._entered = self._groups.make(number)

    def leave(self, pid: int | None) -> None:
        """Come back; what was started is in it."""
        group, self._entered = self._entered, ""
        if group:
            self._groups.leave()
            if pid is None:
                self._groups.read(group)
            else:
                self._of[pid] = group

    def read(self, pid: int) -> tuple[int | None, float | None, float | None]:
        """The peak of a command that has ended, and its seconds."""
        group = self._of.pop(pid, "")
        return self._groups.read(group) if group else (None, None, None)

    def tidy(self) -> None:
        """Remove groups that have become empty."""
        if self._groups is not None:
            self._groups.tidy()
