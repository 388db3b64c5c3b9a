"""Control groups of Linux: what a whole tree has used, whoever waited for what, and the most memory that it held at once.

The spawner goes into a new group, starts the command, and comes back: so the command is in it from its first instruction on.
There is a group where one can be made below a control group that is ours to write: version 2 with the memory controller handed
down, as systemd does for a user's own services, or version 1's memory controller. Never outside of what limits this process.

Standard library only, and imported by path: the spawner's interpreter does not know the package.
Source: cgroups(7); Documentation/admin-guide/cgroup-v2.rst, `memory.peak` and `cpu.stat`; cgroup-v1/memory.rst.
"""

from __future__ import annotations

import contextlib
import os
import re

LIMITS = ("memory.max", "memory.high", "cpu.max")
NAME = re.compile(r"xec-(\d+)-\d+")


class Groups:
    """Makes a group for each command that asks for one, and removes it again.

    Args:
        proc: Where this process's own group and the mounts are told.
    """

    def __init__(self, proc: str = "/proc/self") -> None:
        self.parent, self.home = find(proc)
        self._left: set[str] = set()
        if self.parent:
            self._sweep()

    def make(self, number: int) -> str:
        """A new group, entered; an empty text where there can be none. `leave` must follow."""
        if not self.parent:
            return ""
        group = f"{self.parent}/xec-{os.getpid()}-{number}"
        try:
            os.mkdir(group)
        except OSError:
            return ""
        try:
            if peak_file(group):
                enter(group)
                return group
        except OSError:
            self.parent = ""  # not allowed: then not for the next one either
        with contextlib.suppress(OSError):
            os.rmdir(group)
        return ""

    def leave(self) -> None:
        """Come back."""
        try:
            enter(self.home)
        except OSError:
            self.parent = ""  # what is started from now on would count as well

    def read(self, group: str) -> tuple[int | None, float | None, float | None]:
        """Its peak in bytes, and seconds of user and system; then it is removed, at the latest when it is empty."""
        peak = number_in(peak_file(group))
        times = {}
        with contextlib.suppress(OSError, ValueError), open(f"{group}/cpu.stat", encoding="ascii") as file:
            times = {name: int(value) / 1e6 for name, value in (line.split() for line in file)}
        self._left.add(group)
        self.tidy()
        return peak, times.get("user_usec"), times.get("system_usec")

    def tidy(self) -> None:
        """Remove groups that have become empty."""
        for group in [*self._left]:
            try:
                os.rmdir(group)
            except FileNotFoundError:
                pass
            except OSError:  # something in it lives on
                continue
            self._left.discard(group)

    def _sweep(self) -> None:
        """Remove what spawners that were killed have left."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self.parent):
                found = NAME.fullmatch(name)
                if found and not os.path.exists(f"/proc/{found[1]}"):
                    with contextlib.suppress(OSError):
                        os.rmdir(f"{self.parent}/{name}")


def find(proc: str) -> tuple[str, str]:
    """Where groups can be made, and the group of this process; two empty texts where there is no such place."""
    try:
        with open(f"{proc}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            own = [line.rstrip("\n").split(":", 2) for line in file]
        with open(f"{proc}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mounts = [line.split() for line in file]
    except (OSError, ValueError):
        return "", ""
    for _, controllers, path in own:
        if "memory" in controllers.split(","):
            home = _directory(mounts, "cgroup", path, "memory")
            if home and _ours(home, home):
                return home, home
            return "", ""
    for _, controllers, path in own:
        home = "" if controllers else _directory(mounts, "cgroup2", path)
        place = home
        while place and os.path.exists(f"{place}/cgroup.procs"):
            if _hands_down(place) and _ours(place, home):
                return place, home
            if _limited(place):  # beside it the command would be free of what limits us
                break
            place = os.path.dirname(place)
    return "", ""


def _directory(mounts: list[list[str]], kind: str, path: str, controller: str = "") -> str:
    """Where a group is in the file system; empty when it is not to be seen."""
    for fields in mounts:
        dash = fields.index("-") if "-" in fields else len(fields)
        if fields[dash + 1 : dash + 2] != [kind] or controller not in ["", *fields[-1].split(",")]:
            continue
        root, point = fields[3], fields[4]
        if root in (path, "/") or path.startswith(root + "/"):
            found = point + (path if root == "/" else path[len(root) :])
            return found.rstrip("/") if os.path.isdir(found) else ""
    return ""


def _ours(place: str, home: str) -> bool:
    return all(os.access(each, os.W_OK) for each in (place, f"{place}/cgroup.procs", f"{home}/cgroup.procs"))


def _hands_down(place: str) -> bool:
    try:
        with open(f"{place}/cgroup.subtree_control", encoding="ascii") as file:
            return "memory" in file.read().split()
    except OSError:
        return False


def _limited(place: str) -> bool:
    for name in LIMITS:
        with contextlib.suppress(OSError), open(f"{place}/{name}", encoding="ascii") as file:
            if not file.read().startswith("max"):
                return True
    return False


def peak_file(group: str) -> str:
    """The file with its peak; empty where the kernel has none."""
    for name in ("memory.peak", "memory.max_usage_in_bytes"):
        if os.path.exists(f"{group}/{name}"):
            return f"{group}/{name}"
    return ""


def number_in(path: str) -> int | None:
    """The number that a file holds."""
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def enter(group: str) -> None:
    """Go into a group."""
    with open(f"{group}/cgroup.procs", "w", encoding="ascii") as file:
        file.write("0")
