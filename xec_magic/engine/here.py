"""Short commands, run by the thread that waits for them; see `xec_magic.transport.here`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, Protocol

from xec_magic.engine.gates import is_full
from xec_magic.engine.run import Run
from xec_magic.events import Stream
from xec_magic.fold import ended_by_itself
from xec_magic.output import OutputLog
from xec_magic.plan import Plan
from xec_magic.redact import Redactor, StreamRedactor
from xec_magic.result import Result
from xec_magic.transport import Transports
from xec_magic.transport.here import MOST_BYTES, HereRun, PlainRun

__all__ = ["Begun", "is_simple", "run_here"]

PATIENCE_S: Final = 0.02  # a waiting thread reads by itself for so long


class Surroundings(Protocol):
    """What it needs of the executor; any thread may call."""

    redactor: Redactor
    transports: Transports
    admission: asyncio.Semaphore
    max_running: int

    def adopt(self, plan: Plan, here: HereRun | PlainRun, keep: bool | None, *, interrupted: bool = False) -> Run:
        """A run that goes on, on the loop, with what has been begun here."""

    def note_result(self, result: Result) -> None:
        """A run is over that nobody had a handle of."""

    def run_of(self, result: Result) -> Run:
        """A handle of it all the same."""

    def settle(self) -> None:
        """Tell whoever is told of results."""

    def new_id(self) -> str:
        """An id for a run."""


class Begun(NamedTuple):
    """What has come of a command that the calling thread has begun.

    Attributes:
        result: How it ended; None when it goes on without this thread.
        made: The run that it then is.
        interrupted: The thread was interrupted meanwhile, and whoever waits for the run says so to it.
        of: Gives the run of a result.
    """

    result: Result | None
    made: Run | None
    interrupted: bool
    of: Callable[[Result], Run]

    @property
    def run(self) -> Run:
        """Its run; of one that is over it is made when it is asked for."""
        if self.made is not None:
            return self.made
        assert self.result is not None
        return self.of(self.result)


def run_here(executor: Surroundings, plan: Plan, keep: bool | None) -> Begun | None:
    """Run a command in this thread as long as it is short; None when it cannot be done so, and nothing has happened."""
    timeout_s, bound = plan.stop.timeout_s, plan.limits.max_output_bytes
    if (
        not is_simple(plan)
        or keep is False
        or (timeout_s is not None and timeout_s <= 2 * PATIENCE_S)
        or (bound is not None and bound <= 2 * MOST_BYTES)  # the loop counts what comes
    ):
        return None
    if not plan.command.session and (executor.max_running == 1 or is_full(executor.admission)):
        return None  # it waits for its place; one that is taken in this moment makes it one more for a moment
    here = executor.transports.lend(plan.command, executor.new_id)
    if here is None:
        return None
    interrupted = False
    try:
        log = OutputLog(plan.limits.memory_bytes)
        if not here.begin():
            here.close()
            return None
        executor.settle()  # of those before, now that there is time: the shell is busy
        status = here.wait(PATIENCE_S)
    except KeyboardInterrupt:
        status, interrupted = None, True
    except BaseException:
        executor.adopt(plan, here, keep).cancel()
        raise
    if status is None:
        return Begun(None, executor.adopt(plan, here, keep, interrupted=interrupted), interrupted, executor.run_of)
    assert status.exit_code is not None
    here.close()
    took_s = time.monotonic() - here.started_at
    for stream, data in _masked(here.pieces, executor.redactor) if plan.limits.keep else ():
        log.append(stream, data)
    result = ended_by_itself(here.run_id, plan, log, status.exit_code, status.usage, time.time() - took_s, took_s)
    executor.note_result(result)
    return Begun(result, None, False, executor.run_of)


def is_simple(plan: Plan) -> bool:
    """Nothing has to be done around the command, which is one of this machine, but to start it and to take its output."""
    return (
        plan.command.target.kind == "local"
        and plan.tee is None
        and plan.monitor is None
        and plan.batch is None
        and plan.cache is None
        and not plan.retry.retries
    )


def _masked(pieces: list[tuple[Stream, bytes]], redactor: Redactor) -> Iterator[tuple[Stream, bytes]]:
    """Complete output without its secrets."""
    if redactor.stream() is None:
        yield from pieces
        return
    streams: dict[Stream, StreamRedactor] = {}
    for stream, data in pieces:
        masker = streams.get(stream) or redactor.stream()
        assert masker is not None
        streams[stream] = masker
        yield stream, masker.feed(data)
    for stream, masker in streams.items():
        yield stream, masker.flush()
