"""The one place that words how a run ended, and makes an error of it where it ended badly."""

from __future__ import annotations

import re
import signal as signals
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from xec_magic import formats
from xec_magic.errors import (
    AuthError,
    CallbackError,
    Cancelled,
    CommandError,
    ConnectError,
    ConnectionLost,
    HostKeyError,
    NonZeroExit,
    OutputLimit,
    PoolTimeout,
    RunInterrupted,
    Signalled,
    SpawnError,
    TimedOut,
    TransportError,
    XecError,
)
from xec_magic.outcome import Outcome
from xec_magic.units import format_age, format_duration, format_size

if TYPE_CHECKING:
    from xec_magic.result import Result

__all__ = ["describe", "error_of", "explain_exit", "signal_name", "stderr_tail", "tally", "verdict"]

STDERR_TAIL_LINES: Final = 10
STDERR_TAIL_BYTES: Final = 4096

_EXIT_MEANINGS: Final = {
    124: "often a time limit",
    126: "found, but not executable",
    127: "command not found",
    128: "an exit code out of range",
}
_NO_COMMANDS: Final = re.compile(r"""'[^']*'|"[^"]*"|[<>]&|&>""")  # what `;` and `&` in them mean is nothing
_ERRORS: Final[dict[Outcome, type[CommandError]]] = {
    Outcome.FAILED: NonZeroExit,
    Outcome.SIGNALLED: Signalled,
    Outcome.TIMED_OUT: TimedOut,
    Outcome.CANCELLED: Cancelled,
    Outcome.OUTPUT_LIMIT: OutputLimit,
}

# What kept a run from starting, by the name that its events carry.
_START_ERRORS: Final[dict[str, type[TransportError]]] = {
    kind.__name__: kind for kind in (AuthError, ConnectError, HostKeyError, PoolTimeout)
}


def describe(result: Result) -> str:
    """One short line: how it ended, what that means, where, after how long, and the command."""
    command = result.plan.title
    words = verdict(result)
    if result.outcome in {Outcome.NOT_STARTED, Outcome.SKIPPED}:
        return f"{words}: {command}"
    if result.outcome is Outcome.FAILED and result.plan.command.target.kind == "function":
        return f"{command} in a pipe raised {words}"
    tries = f" (attempt {len(result.attempts) + 1})" if result.attempts else ""
    age = "" if result.cached is None else f" (cached {format_age(result.cached)} ago)"
    return f"{words} on {result.target} after {format_duration(result.duration_s)}{tries}{age}: {command}"


def verdict(result: Result) -> str:
    """How it ended, in words without place, time and command."""
    stop = result.plan.stop
    match result.outcome:
        case Outcome.OK:
            return "ok"
        case Outcome.FAILED if result.detail:  # what a function raised
            return result.detail
        case Outcome.FAILED if result.parts:
            return tally(result.parts)
        case Outcome.FAILED:
            assert result.exit_code is not None
            meaning = explain_exit(result.exit_code, result.command)
            return f"exit code {result.exit_code}" + (f" ({meaning})" if meaning else "")
        case Outcome.SIGNALLED:
            assert result.signal is not None
            return f"ended by signal {signal_name(result.signal)}" + (
                " (often: out of memory)" if result.signal == signals.SIGKILL else ""
            )
        case Outcome.TIMED_OUT:
            return f"stopped at its time limit of {format_duration(stop.timeout_s or 0)}"
        case Outcome.OUTPUT_LIMIT:
            return (
                f"stopped at its output limit of {format_size(result.plan.limits.max_output_bytes or 0)} (--max-output)"
            )
        case Outcome.NOT_STARTED | Outcome.LOST:
            return result.detail or result.outcome.value
        case Outcome.SKIPPED:
            return f"skipped: {result.detail}"
        case _:
            return result.outcome.value + (f" ({result.detail})" if result.detail else "")


def stderr_tail(result: Result) -> str:
    """The last lines of standard error, for messages; empty when there is none."""
    size = result.log.size("stderr")
    if not size:
        return ""
    data = b""
    # Standard error is nearly always small; a large one is read from the end of the log only.
    start = 0 if result.log.size() < 2**20 else result.log.size() - 2**20
    for piece in result.log.pieces(start):
        if piece.stream == "stderr":
            data = (data + piece.data)[-STDERR_TAIL_BYTES:]
    lines = formats.to_lines(data.decode("utf-8", "replace"))
    return "\n".join(lines[-STDERR_TAIL_LINES:])


def error_of(result: Result) -> XecError | RunInterrupted | None:
    """The exception that `check` raises, or None when it ended well, or was skipped, as was wanted."""
    if result.ok or result.outcome is Outcome.SKIPPED:
        return None
    message = describe(result)
    if result.outcome is Outcome.NOT_STARTED:
        return _START_ERRORS.get(result.kind, SpawnError)(message)
    if result.outcome is Outcome.LOST:
        return ConnectionLost(message, result)
    if result.outcome is Outcome.FAILED and result.plan.command.target.kind == "function":
        return CallbackError(message)
    message = "\n".join(part for part in (message, stderr_tail(result), *result.notes) if part)
    if result.outcome is Outcome.INTERRUPTED:
        return RunInterrupted(message, result)
    return _ERRORS[result.outcome](message, result)


def tally(results: Sequence[Result]) -> str:
    """How many results of several are not well, in words: `1 of 3 failed, 1 not started`; `3 ok` when all are."""
    not_started = sum(one.never_tried for one in results)
    failed = sum(not one.ok for one in results) - not_started
    said = [f"{failed:,} of {len(results):,} failed"] if failed else []
    said += (
        [f"{not_started:,} not started" if failed else f"{not_started:,} of {len(results):,} not started"]
        if not_started
        else []
    )
    return ", ".join(said) or f"{len(results):,} ok"


def explain_exit(code: int, script: str = "") -> str:
    """What an exit code usually means, in a few words; empty when it means nothing in general.

    Example:
        >>> explain_exit(127), explain_exit(137)
        ('command not found', 'killed by SIGKILL, often: out of memory')
    """
    if code in _EXIT_MEANINGS:
        return _EXIT_MEANINGS[code]
    if code == 128 + signals.SIGKILL:
        return "killed by SIGKILL, often: out of memory"
    if 128 < code <= 128 + 64:
        name = signal_name(code - 128)
        return f"ended by {name}" if name.startswith("SIG") else ""
    if code == 1 and script:
        last = _last_program(script)
        if last in {"grep", "egrep", "fgrep"}:
            return "grep found nothing; --ok-codes 0,1 accepts that"
        if last in {"diff", "cmp"}:
            return "there are differences; --ok-codes 0,1 accepts that"
    return ""


def _last_program(script: str) -> str:
    """The first word of a script's last command, by the look of its last line."""
    line = script.rstrip().rpartition("\n")[2]
    commands = [part.split() for part in re.split("[;&|()]", _NO_COMMANDS.sub("-", line))]
    return next((words[0] for words in reversed(commands) if words), "")


def signal_name(number: int) -> str:
    """`SIGTERM` for 15; `signal 64` for one without a name."""
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"
