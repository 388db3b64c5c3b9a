"""Which processes of a run are alive. Standard library only: the helper process imports this by its path."""

from __future__ import annotations

import contextlib
import math
import os
import re
import signal
import subprocess
import time
from collections.abc import Collection, Iterable
from typing import NamedTuple

PREFIX = b"XEC_RUN_ID="
HAS_PROC = os.path.exists("/proc/self/stat")
SHARED_S = 0.003  # so old a look may be that is shared: less than who waits for an end pauses between two of them
_MARKS = re.compile(rb"(?<=\0)" + PREFIX + rb"[^\0]*\0?")


class Living(NamedTuple):
    """A process that is alive."""

    pid: int
    group: int
    name: str


class _Seen(NamedTuple):
    pid: int
    group: int
    session: int
    name: str
    marks: bytes  # all XEC_RUN_ID=… in its environment, with the zero bytes around them


_latest: list[tuple[float, float, list[_Seen]]] = [(-math.inf, -math.inf, [])]  # begun, ended, what was seen


def living(sessions: Collection[int], marker: bytes = b"", since: float = math.inf) -> list[Living]:
    """All processes that belong to one of `sessions` or carry `marker` in their environment.

    Zombies do not count: their parent may never collect them. Where there is no `/proc`, membership is told by
    process group, and the marker cannot be seen.

    Args:
        sessions: Numbers of sessions.
        marker: How processes are known that have left them.
        since: When the first of these processes was started, in monotonic seconds. A look that somebody else has just taken then
            does as well, if it was begun later: whoever has come to live since has a parent among those that it found.

    Raises:
        ValueError: the marker could match a process that is none of ours.
    """
    if marker and (not marker.startswith(PREFIX) or len(marker) < len(PREFIX) + 8):
        raise ValueError(f"{marker!r} is no marker of ours")  # what it matches gets killed
    if not HAS_PROC:
        return _living_by_ps(sessions)
    begun, ended, seen = _latest[0]
    if begun < since or time.monotonic() > ended + SHARED_S:
        begun, seen = time.monotonic(), _look()
        _latest[0] = begun, time.monotonic(), seen
    wanted = b"\0" + marker if marker else None
    return [
        Living(one.pid, one.group, one.name)
        for one in seen
        if one.session in sessions or (wanted is not None and wanted in one.marks)
    ]


def _look() -> list[_Seen]:
    """All processes but this one that are no zombies.

    Source: proc_pid_stat(5): field 3 is the state, field 5 the process group, field 6 the session.
    """
    seen = []
    own = os.getpid()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == own:
            continue
        try:
            stat = _read(f"/proc/{entry}/stat")
            # The name stands in parentheses and may itself hold blanks and parentheses.
            close = stat.rindex(b")")
            fields = stat[close + 2 :].split(None, 4)
            if fields[0] in (b"Z", b"X", b"x"):
                continue
            name = stat[stat.index(b"(") + 1 : close].decode("utf-8", "replace")
            seen.append(_Seen(int(entry), int(fields[2]), int(fields[3]), name, _marks_of(entry)))
        except (OSError, ValueError):
            continue  # gone meanwhile
    return seen


def _marks_of(entry: str) -> bytes:
    try:
        environ = b"\0" + _read(f"/proc/{entry}/environ")
    except OSError:
        return b""  # another user's, or gone meanwhile
    return b"\0" + b"\0".join(_MARKS.findall(environ)) if PREFIX in environ else b""


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
