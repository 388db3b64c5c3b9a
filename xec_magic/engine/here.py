"""Short commands in sessions, run by the thread that waits for them; see `xec_magic.transport.here`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final, Protocol

from xec_magic.engine.run import Run
from xec_magic.events import Stream
from xec_magic.fold import ended_by_itself
from xec_magic.output import OutputLog
from xec_magic.plan import Plan
from xec_magic.redact import Redactor, StreamRedactor
from xec_magic.result import Result
from xec_magic.transport import Transports
from xec_magic.transport.here import HereRun

__all__ = ["is_simple", "run_here"]

PATIENCE_S: Final = 0.02  # a waiting thread reads by itself for so long


class Surroundings(Protocol):
    """What it needs of the executor; any thread may call."""

    redactor: Redactor
    transports: Transports

    def adopt(self, plan: Plan, here: HereRun, keep: bool | None) -> Run:
        """A run that goes on, on the loop, with what has been begun here."""

    def note_result(self, result: Result) -> None:
        """A run is over that nobody had a handle of."""

    def settle(self) -> None:
        """Tell whoever is told of results."""

    def new_id(self) -> str:
        """An id for a run."""


def run_here(executor: Surroundings, plan: Plan, keep: bool | None) -> Result | None:
    """The result of a command in an idle session, run by this thread as long as it is short; None when it cannot be done so,
    and nothing has happened.

    Raises:
        RunInterrupted: interrupted while waiting.
    """
    timeout_s = plan.stop.timeout_s
    if (
        not (plan.command.session and is_simple(plan))
        or keep is False
        or (timeout_s is not None and timeout_s <= 2 * PATIENCE_S)
    ):
        return None
    here = executor.transports.workers.lend(plan.command)
    if here is None:
        return None
    try:
        log = OutputLog(plan.limits.memory_bytes)
        executor.settle()  # of those before, now that there is time: the shell is busy
        code = here.wait(PATIENCE_S)
    except KeyboardInterrupt:
        return executor.adopt(plan, here, keep).wait(interrupted=True)
    except BaseException:
        executor.adopt(plan, here, keep).cancel()
        raise
    if code is None:
        return executor.adopt(plan, here, keep).wait()
    here.session.give_back(here.pipes)
    took_s = time.monotonic() - here.started_at
    for stream, data in _masked(here.pieces, executor.redactor) if plan.limits.keep else ():
        log.append(stream, data)
    result = ended_by_itself(executor.new_id(), plan, log, code, time.time() - took_s, took_s)
    executor.note_result(result)
    return result


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
