"""`StartedHere`: a plain command, asked for and read by the thread that waits for it."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable

from xec_magic.command import Command
from xec_magic.errors import SpawnError
from xec_magic.transport.base import Process, StartRequest
from xec_magic.transport.here import MOST_BYTES, REPORT_BYTES
from xec_magic.transport.reported_here import ReportedHere
from xec_magic.transport.sampling.threads import SamplingThreads
from xec_magic.transport.shells import dress
from xec_magic.transport.spawned import Spawned
from xec_magic.transport.spawner import Spawner
from xec_magic.transport.starting import Starting
from xec_magic.transport.surroundings import current_environ, directory_of, own_variables

__all__ = ["StartedHere", "start_here"]


class StartedHere(ReportedHere):
    """One command that has been asked for.

    Args:
        run_id: Of its run.
        mark: Its `XEC_RUN_ID`.
        streams: Where its stdout and its stderr are read, and where its end is reported.
        sampling: For its process.
    """

    at_once_ms = 0  # a shell takes longer than that to begin

    def __init__(self, run_id: str, mark: str, streams: tuple[int, int, int], sampling: SamplingThreads) -> None:
        stdout, stderr, report = streams
        super().__init__(time.monotonic(), report, stdout, stderr)
        self.run_id = run_id
        self._mark = mark
        self._streams = streams
        self._sampling = sampling
        self._answer: Spawned | SpawnError | None = None
        self._starting: Starting | None = None
        self._unwanted = False
        for fd in (stdout, stderr):
            os.set_blocking(fd, False)
        # Of two streams that have something it gives the one first that had it first, once it knows them. Linux only.
        arrivals = select.epoll(len(streams)) if hasattr(select, "epoll") else None
        if arrivals is not None:
            for fd in streams:
                arrivals.register(fd, select.EPOLLIN)
        self._arrivals = arrivals

    def read(self, patience_s: float) -> bool:
        """See `HereRun`."""
        if self._arrivals is None:
            return super().read(patience_s)
        until = self.started_at + patience_s
        with self._arrivals as arrivals:
            while (left := until - time.monotonic()) > 0 and self._size < MOST_BYTES:
                for fd, _ in arrivals.poll(left):
                    if fd == self._told:
                        return self._over(os.read(fd, REPORT_BYTES))
                    if not self._read(fd):
                        arrivals.unregister(fd)
                if not self._open and self._size < MOST_BYTES:
                    return True
        return False

    def answered(self, answer: Spawned | SpawnError) -> None:
        """The spawner has said what came of it. On the loop's thread."""
        self._answer = answer
        if self._starting is not None:
            self._starting.answered(answer)
        elif self._unwanted:
            self._end()

    def let_go(self) -> None:
        """Nobody wants it: it is ended as soon as it is there, which may be now."""
        self._unwanted = True
        self._end()

    def _end(self) -> None:
        if isinstance(self._answer, Spawned):
            self._answer.end()

    def give_back(self) -> None:
        """See `HereRun`."""
        for fd in self._streams:
            os.close(fd)

    def adopt(self, request: StartRequest, started: Callable[[Process | SpawnError], None]) -> Starting | None:
        """See `HereRun`."""
        for stream, data in self.pieces:
            request.sink(stream, data)
        starting = self._starting = Starting(request, self._mark, started, self._sampling)
        starting.stdout, starting.stderr, report = self._streams
        os.close(report)
        starting.read()
        if self._answer is None:
            return starting
        starting.answered(self._answer)
        return None

    def __repr__(self) -> str:
        return f"<StartedHere {self.run_id}, {self._size} B>"


def start_here(
    command: Command, new_id: Callable[[], str], kernel_id: str, spawner: Spawner, sampling: SamplingThreads
) -> StartedHere | None:
    """Ask for a plain command from any thread but the loop's; None when that must be the loop's business, and nothing has happened.

    Args:
        command: What to run.
        new_id: Gives an id for the run.
        kernel_id: Begin of its `XEC_RUN_ID`.
        spawner: Starts it.
        sampling: For its process.
    """
    if command.stdin is not None or not spawner.lives:
        return None
    argv, text = dress(command)
    if text is not None:  # it needs a file
        return None
    run_id = new_id()
    mark = f"{kernel_id}.{run_id}"
    ours: list[int] = []
    theirs: list[int] = []
    here: StartedHere | None = None
    begun = False
    try:
        theirs.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        for _ in range(3):
            read, write = os.pipe()
            ours.append(read)
            theirs.append(write)
        here = StartedHere(run_id, mark, (ours[0], ours[1], ours[2]), sampling)
        begun = spawner.post_here(
            argv, directory_of(command), current_environ(), own_variables(command, mark), theirs, here.answered
        )
    except (OSError, SpawnError) as error:
        if isinstance(error, OSError) and error.errno is None:
            raise  # not the system's, but of a signal's handler of the user's
        # The loop comes upon the same, and says it.
    finally:  # also after an alarm of the user's
        for fd in theirs if begun else (*ours, *theirs):
            os.close(fd)
        if here is not None and not begun:
            here.let_go()
    return here if begun else None
