"""`Outcome`: why we say that a run ended."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from xec_magic.events import Cause, Exited
from xec_magic.plan import Plan

__all__ = ["Outcome", "ended_as", "outcome_of"]


class Outcome(StrEnum):
    """Why we say that a run ended."""

    OK = "ok"
    FAILED = "failed"
    SIGNALLED = "signalled"
    TIMED_OUT = "timed out"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    OUTPUT_LIMIT = "output limit"
    NOT_STARTED = "not started"
    LOST = "lost"
    SKIPPED = "skipped"


_OUTCOMES: Final = {
    Cause.TIMEOUT: Outcome.TIMED_OUT,
    Cause.CANCEL: Outcome.CANCELLED,
    Cause.INTERRUPT: Outcome.INTERRUPTED,
    Cause.OUTPUT_LIMIT: Outcome.OUTPUT_LIMIT,
    Cause.SPAWN: Outcome.NOT_STARTED,
    Cause.LOST: Outcome.LOST,
    Cause.SKIPPED: Outcome.SKIPPED,
}


def outcome_of(exited: Exited | None, plan: Plan) -> Outcome:
    """Why a run ended; `LOST` before it has."""
    if exited is None:
        return Outcome.LOST
    if exited.cause is not None:
        return _OUTCOMES[exited.cause]
    return ended_as(exited.exit_code, exited.signal, plan)


def ended_as(exit_code: int | None, signal: int | None, plan: Plan) -> Outcome:
    """Why a run ended that ended by itself."""
    if signal is not None:
        return Outcome.SIGNALLED
    return Outcome.OK if exit_code in plan.ok_codes else Outcome.FAILED
