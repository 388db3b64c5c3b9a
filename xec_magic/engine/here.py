"""Short commands of this machine, run by the thread that waits for them; see `xec_magic.transport.here`."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Final, Protocol

from xec_magic.engine.run import Run
from xec_magic.engine.undisturbed import undisturbed
from xec_magic.events import Stream
from xec_magic.fold import ended_by_itself
from xec_magic.output import OutputLog
from xec_magic.plan import Plan
from xec_magic.redact import Redactor, StreamRedactor
from xec_magic.result import Result
from xec_magic.transport import Transports
from xec_magic.transport.base import ExitStatus
from xec_magic.transport.here import MOST_BYTES, HereRun

__all__ = ["is_simple", "run_here"]

PATIENCE_S: Final = 0.02  # a waiting thread reads by itself for so long


class Surroundings(Protocol):
    """What it needs of the executor; any thread may call."""

    redactor: Redactor
    transports: Transports
    admission: asyncio.Semaphore
    seat: threading.Lock | None  # held by the thread that runs a plain command here; None where none may

    def adopt(self, plan: Plan, here: HereRun, keep: bool | None, seat: threading.Lock | None = None) -> Run:
        """A run that goes on, on the loop, with what has been begun here; it gives back the seat."""

    def note_result(self, result: Result) -> None:
        """A run is over that nobody had a handle of."""

    def settle(self) -> None:
        """Tell whoever is told of results."""

    def new_id(self) -> str:
        """An id for a run."""


def run_here(executor: Surroundings, plan: Plan, keep: bool | None) -> Result | None:
    """The result of a command, run by this thread as long as it is short; None when it cannot be done so, and nothing has
    happened.

    Raises:
        RunInterrupted: interrupted while waiting.
    """
    if keep is False or not _may_be_short(plan) or executor.admission.locked():
        return None
    warm = plan.command.worker or plan.command.session
    seat = None if warm else executor.seat
    if seat is None and not warm:
        return None
    here: HereRun | None = None
    result: Result | None = None
    run: Run | None = None
    try:
        with undisturbed():  # it lasts a moment only
            if seat is not None and not seat.acquire(blocking=False):
                return None
            try:
                here = executor.transports.lend(plan.command, executor.new_id)
                if here is None:
                    return None
                executor.settle()  # of those before, now that there is time: a shell is busy
                if here.read(PATIENCE_S):
                    log = _log_of(plan, here, executor.redactor)  # while the word of its end is on its way
                    status = here.status(PATIENCE_S)
                    if status is not None:
                        result = _result(executor, plan, here, status, log)
                if result is None:  # within: between two of its steps nobody would have the command
                    run = executor.adopt(plan, here, keep, seat)
            finally:
                if seat is not None and run is None:
                    seat.release()
    except KeyboardInterrupt:
        # It had not begun, or had ended by itself at the same moment; the user's wish still counts.
        if here is None or result is not None:
            raise
        return (run or executor.adopt(plan, here, keep)).wait(interrupted=True)
    except BaseException:
        if here is not None and result is None:
            (run or executor.adopt(plan, here, keep)).cancel()
        raise
    return result if run is None else run.wait()


def _log_of(plan: Plan, here: HereRun, redactor: Redactor) -> OutputLog:
    """What it has printed, which is all."""
    log = OutputLog(plan.limits.memory_bytes)
    for stream, data in _masked(here.pieces, redactor) if plan.limits.keep else ():
        log.append(stream, data)
    return log


def _result(executor: Surroundings, plan: Plan, here: HereRun, status: ExitStatus, log: OutputLog) -> Result:
    """What has come of it, now that it is over."""
    here.give_back()
    took_s = time.monotonic() - here.started_at
    result = ended_by_itself(
        here.run_id or executor.new_id(),
        plan,
        log,
        status.exit_code,
        status.signal,
        status.usage,
        time.time() - took_s,
        took_s,
    )
    executor.note_result(result)
    return result


def _may_be_short(plan: Plan) -> bool:
    """Nothing has to be done around the command, and its limits leave room for what is done without them here."""
    timeout_s, max_bytes = plan.stop.timeout_s, plan.limits.max_output_bytes
    return (
        is_simple(plan)
        and (timeout_s is None or timeout_s > 2 * PATIENCE_S)
        and (max_bytes is None or max_bytes >= 2 * MOST_BYTES)
    )


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
