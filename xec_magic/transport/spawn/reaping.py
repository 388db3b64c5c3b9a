"""`Reaper`: the thread of the spawner that waits for the ends of commands, and reports them.

A thread of its own, since waitid(2) returns in it at once. A signal would come by a handler, a pipe and a second look at what is
ready, and that takes a third as long as a short command.

Standard library only, and imported by path: the spawner's interpreter does not know the package.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from xec_magic.transport.spawn.grouped import Grouped
    from xec_magic.transport.spawn.replies import Replies


class Running(NamedTuple):
    """A command that has not ended."""

    number: int
    kept: list[int]  # descriptors that are open until then
    report: int = -1  # a pipe that gets a copy of what is said of its end; -1 for none
    counters: int = -1  # where the bytes that it reads and writes are counted; -1 where that is opened at its end


class Ended(NamedTuple):
    """A command that has ended, how, what it used, and the bytes that it read and wrote through calls."""

    pid: int
    command: Running
    status: int
    usage: Any
    through: tuple[int | None, int | None]


class Reaper:
    """Reports every command that has ended.

    Args:
        replies: Where to.
        groups: Knows what the groups of commands have used; asked with `mutex` held.
        wake: Called when there is a session more in `remains`, or something to tell that has time.
        proc: Processes can be looked at in `/proc`.

    Attributes:
        running: The commands that have not ended, by their process.
        remains: Sessions whose first process has gone, and children of it are still there.
        mutex: Held while a command is started, so that its end is looked at when all is known of it.
    """

    def __init__(self, replies: Replies, groups: Grouped, wake: Callable[[], None], *, proc: bool) -> None:
        self._proc = proc
        self.running: dict[int, Running] = {}
        self.remains: set[int] = set()
        self.mutex = threading.Lock()
        self._replies = replies
        self._groups = groups
        self._wake = wake
        self._none = threading.Lock()  # locked while there is no child that could be waited for
        self._none.acquire()

    def start(self, failed: Callable[[], None]) -> None:
        """Begin.

        Args:
            failed: Called when it cannot go on.
        """

        def watch() -> None:
            try:
                self._watch()
            finally:
                failed()

        threading.Thread(target=watch, daemon=True).start()

    def add(self, pid: int, command: Running) -> None:
        """A command has been started, which has been told. With `mutex` held. Its end may be told from here on."""
        self.running[pid] = command
        if self._none.locked():
            self._none.release()

    def _watch(self) -> None:
        while True:
            self._none.acquire(blocking=False)
            if not self.running:
                self._none.acquire()
            ended = self._collected(0)
            if ended is None:  # the main thread has begun to end them all, and collects them
                return
            awaited = False
            while ended is not None:
                self._report(ended)
                awaited = awaited or ended.command.report < 0
                ended = self._collected(os.WNOHANG)  # what ends at the same time is told in one go
            if awaited:  # by the loop
                self._replies.send()
            else:  # it would only be in the way of the thread that has the report, and hears of it a moment later
                self._wake()

    def _collected(self, options: int) -> Ended | None:
        """A command that has ended; None when there is none yet and `options` say not to wait."""
        while True:
            through: tuple[int | None, int | None] = (None, None)
            try:
                if self._proc:
                    found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | options)
                    pid = found.si_pid if found else 0
                else:
                    pid, status, usage = os.wait4(-1, options)
                if not pid:
                    return None
                command = self._known(pid)
                if command is None:
                    continue  # of a start that has failed, and collected by it
                if self._proc:  # look before it is collected: then its counters are gone
                    through = io_of(pid, command.counters)
                    _, status, usage = os.wait4(pid, 0)
            except ChildProcessError:
                return None
            return Ended(pid, command, status, usage, through)

    def _known(self, pid: int) -> Running | None:
        command = self.running.get(pid)
        if command is None:
            with self.mutex:  # it may be about to be noted
                command = self.running.get(pid)
        return command

    def _report(self, ended: Ended) -> None:
        pid, command, status, usage, through = ended
        for descriptor in command.kept:  # before the word of its end: the kernel finds all of it at once
            os.close(descriptor)
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        tree_peak, user_s, system_s = None, None, None
        if self._groups.used:
            with self.mutex:
                tree_peak, user_s, system_s = self._groups.read(pid)
        exited = marshal.dumps((
            "exited", command.number, pid, status, max(usage.ru_utime, user_s or 0.0), max(usage.ru_stime, system_s or 0.0),
            peak if peak > own_peak() else None, usage.ru_inblock, usage.ru_oublock, *through, tree_peak,
        ))  # fmt: skip
        if command.report >= 0:  # first: a thread waits for it
            with contextlib.suppress(OSError):  # or did
                os.write(command.report, exited)
            os.close(command.report)
        self._replies.add(exited, time.monotonic())
        if has_members(pid):
            self.remains.add(pid)  # the shell has gone, children of it are still there
            self._wake()
        with self.mutex:
            if self.running.get(pid) is command:  # and not of another one, which has got the number meanwhile
                del self.running[pid]
            self._groups.tidy()


def io_of(pid: int, file: int) -> tuple[int | None, int | None]:
    """Bytes that an ended child, and the children that it had waited for, read and wrote through calls.

    Args:
        file: Where they are counted, closed afterwards; -1 where that is not open yet.
    """
    try:
        if file < 0:
            file = os.open(f"/proc/{pid}/io", os.O_RDONLY | os.O_CLOEXEC)  # open() asks for more than is used here
        try:
            words = os.read(file, 256).split()
        finally:
            os.close(file)
        return int(words[1]), int(words[3])
    except (OSError, ValueError, IndexError):  # no /proc, or it had become another user
        return None, None


_own_peak = [0]


def own_peak() -> int:
    """This process's peak memory in bytes, below which a child's cannot be told."""
    if not _own_peak[0]:
        _own_peak[0] = 16 * 2**20
        with (
            contextlib.suppress(OSError, ValueError),
            open("/proc/self/status", encoding="ascii", errors="replace") as file,
        ):
            for line in file:
                if line.startswith("VmHWM:"):
                    _own_peak[0] = int(line.split()[1]) * 1024 + 2**18  # a little above: it may still grow
    return _own_peak[0]


def has_members(session: int) -> bool:
    """There still is a process of it."""
    try:
        os.killpg(session, 0)
    except OSError:
        return False
    return True
