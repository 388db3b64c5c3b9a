"""Which processes of a run are alive. Standard library only: the helper process imports this by its path."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Collection, Iterable
from typing import NamedTuple

PREFIX = b"XEC_RUN_ID="
HAS_PROC = os.path.exists("/proc/self/stat")


class Living(NamedTuple):
    """A process that is alive."""

    pid: int
    group: int
    name: str


def living(sessions: Collection[int], marker: bytes = b"") -> list[Living]:
    """All processes that belong to one of `sessions` or carry `marker` in their environment.

    Zombies do not count: their parent may never collect them. Where there is no `/proc`, membership is told by
    process group, and the marker cannot be seen.

    Raises:
        ValueError: the marker could match a process that is none of ours.

    Source: proc_pid_stat(5): field 3 is the state, field 5 the process group, field 6 the session.
    """
    if marker and (not marker.startswith(PREFIX) or len(marker) < len(PREFIX) + 8):
        raise ValueError(f"{marker!r} is no marker of ours")  # what it matches gets killed
    if not HAS_PROC:
        return _living_by_ps(sessions)
    found = []
    own = os.getpid()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == own:
            continue
        try:
            stat = _read(f"/proc/{entry}/stat")
            # The name stands in parentheses and may itself hold blanks and parentheses.
            close = stat.rindex(b")")
            fields = stat[close + 2 :].split()
            if fields[0] in (b"Z", b"X", b"x"):
                continue
            if int(fields[3]) in sessions or (marker and b"\0" + marker in b"\0" + _read(f"/proc/{entry}/environ")):
                name = stat[stat.index(b"(") + 1 : close].decode("utf-8", "replace")
                found.append(Living(int(entry), int(fields[2]), name))
        except (OSError, ValueError):
            continue  # gone meanwhile, or another user's
    return found


def stat_fields(pid: int) -> list[bytes]:
    """What `/proc/PID/stat` says of a process, from field 3 on: the name before may itself hold blanks.

    Raises:
        OSError: there is no such process, or no `/proc`.

    Source: proc_pid_stat(5).
    """
    stat = _read(f"/proc/{pid}/stat")
    return stat[stat.rindex(b")") + 2 :].split()


def _living_by_ps(sessions: Collection[int]) -> list[Living]:
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=", "-o", "pgid=", "-o", "stat=", "-o", "comm="],
        stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=10,
    ).stdout.decode("utf-8", "replace")  # fmt: skip
    found = []
    for line in listing.splitlines():
        pid, group, state, name = (*line.split(None, 3), "", "", "", "")[:4]
        if group.isdigit() and int(group) in sessions and not state.startswith("Z"):
            found.append(Living(int(pid), int(group), os.path.basename(name)))
    return found


def send(number: int, sessions: Collection[int], alive: Iterable[Living]) -> None:
    """Signal the process groups that lead `sessions`, and by itself each living process outside of them.

    Nobody gets a signal twice: many programs take a second INT for "now, at once".
    """
    numbers = (number,) if number == signal.SIGKILL else (number, signal.SIGCONT)  # a stopped process hears nothing
    for each in numbers:
        for group in sessions:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, each)
        for process in alive:
            if process.group not in sessions:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process.pid, each)


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read(1 << 20)
