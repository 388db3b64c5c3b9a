"""Everything that can go wrong, as one tree.

::

    XecError
    ├─ OptionError           the line is wrong; nothing has run
    │  └─ TemplateError      a ${{…}} in the text is wrong; nothing has run
    ├─ TransportError        could not start or reach it
    │  ├─ SpawnError         the operating system refused to start the process
    │  ├─ ConnectError       the host cannot be reached
    │  ├─ HostKeyError       the host's key is unknown, has changed, or is revoked
    │  ├─ AuthError          the host does not let this user in
    │  ├─ PoolTimeout        no connection became free in time
    │  ├─ FileError          something cannot be done with a file, here or on a host
    │  ├─ TunnelError        a port cannot be forwarded
    │  └─ ConnectionLost     the connection was lost under a command; carries .result
    ├─ CommandError          it ran and ended badly; carries .result
    │  ├─ NonZeroExit
    │  ├─ Signalled
    │  ├─ TimedOut
    │  ├─ Cancelled
    │  ├─ OutputLimit
    │  ├─ ProfileFailed      a run of a profile failed; .profile holds what was measured
    │  ├─ SomeFailed         of several runs; carries .results
    │  └─ TasksFailed        tasks failed or did not run; carries .results
    ├─ CopyError             not all could be copied; carries .result
    ├─ AllFailed             of several commands none ended well; carries .results
    ├─ CallbackError         a function of yours that was called on the way has raised
    ├─ CleanupError          some of what was to be cleaned up could not be; carries .errors
    ├─ ParseError            the output is not in the form that was asked for
    └─ OutputTooLarge        the output is too large to be one Python string
    RunInterrupted           a KeyboardInterrupt with .result; no XecError, so nothing swallows it
    ├─ TasksInterrupted      the same for tasks; carries .results
    └─ CopyInterrupted       the same for a copy; carries .result
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from xec_magic.brief import Brief, own_frames

if TYPE_CHECKING:
    from xec_magic.compose.tasks_result import TaskResults
    from xec_magic.copied import CopyResult
    from xec_magic.result import Result
    from xec_magic.results import Results

__all__ = [
    "AllFailed",
    "AuthError",
    "CallbackError",
    "Cancelled",
    "CleanupError",
    "CommandError",
    "ConnectError",
    "ConnectionLost",
    "CopyError",
    "CopyInterrupted",
    "FileError",
    "HostKeyError",
    "NonZeroExit",
    "OptionError",
    "OutputLimit",
    "OutputTooLarge",
    "ParseError",
    "PoolTimeout",
    "ProfileFailed",
    "RunInterrupted",
    "Signalled",
    "SomeFailed",
    "SpawnError",
    "TasksFailed",
    "TasksInterrupted",
    "TemplateError",
    "TimedOut",
    "TransportError",
    "TunnelError",
    "XecError",
    "map_errors",
]


class XecError(Brief, Exception):
    """Base of all errors of this package, except `RunInterrupted`."""


class OptionError(XecError):
    """An option or its value is wrong; nothing has run."""


class TemplateError(OptionError):
    """A `${{…}}` cannot be filled in where it stands; nothing has run."""


class TransportError(XecError):
    """The command could not be started, or the way to it was lost."""


class SpawnError(TransportError):
    """The operating system refused to start the process."""


class ConnectError(TransportError):
    """The host cannot be reached: no such name, nobody listens, no answer in time."""


class HostKeyError(TransportError):
    """The host's key is unknown, differs from the known one, or is revoked; nothing was sent to it."""


class AuthError(TransportError):
    """The host does not let this user in with the keys at hand."""


class PoolTimeout(TransportError):
    """No connection to the host became free in time; nothing has run."""


class FileError(TransportError):
    """Something cannot be done with a file, here or on a host.

    Attributes:
        why: `missing`, `denied`, `exists`, `full`, `lost` (the way to the host) or `other`.
        where: With what, in words; empty where the message has it.
    """

    where = ""

    def __init__(self, message: str, why: str = "other") -> None:
        super().__init__(message)
        self.why = why

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.why)


class TunnelError(TransportError):
    """A port cannot be forwarded: it is in use, or the server does not allow it."""


class _WithResult:
    """An error that carries the `Result` and answers for its fields: `err.exit_code`, `err.stderr`, …"""

    result: Result

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message)  # type: ignore[call-arg]  # the class beside it is an exception
        self.result = result

    def __getattr__(self, name: str) -> Any:
        # Not for dunders and not before __init__: copy and pickle probe for both.
        if name.startswith("_") or name == "result":
            raise AttributeError(name)
        return getattr(self.result, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.result)


class ConnectionLost(_WithResult, TransportError):
    """The way to the command was lost while it ran; whether it has finished is not known.

    `.result` holds what had arrived. It is never run again by itself.
    """


class CommandError(_WithResult, XecError):
    """The command ran and ended badly; `.result` says how, and holds what it printed."""


class NonZeroExit(CommandError):
    """It ended with an exit code that is not among the accepted ones."""


class Signalled(CommandError):
    """A signal that this package did not send ended it."""


class TimedOut(CommandError):
    """It ran longer than its time limit and was stopped."""


class Cancelled(CommandError):
    """It was stopped by `Run.cancel()`, a Stop button, or the closing of its executor."""


class OutputLimit(CommandError):
    """It printed more than `max_output` and was stopped."""


class ProfileFailed(CommandError):
    """A run of a profile failed; `.profile` holds what was measured before it, `.result` the run that failed."""

    profile: Any = None


class SomeFailed(CommandError):
    """Of several runs some failed or never began; `.results` holds all, `.result` is the first that is not ok."""

    results: Results

    def __init__(self, message: str, result: Result, results: Results) -> None:
        super().__init__(message, result)
        self.results = results

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.result, self.results)


class RunInterrupted(_WithResult, Brief, KeyboardInterrupt):
    """The kernel's interrupt stopped the run; `.result` holds what had arrived.

    A `KeyboardInterrupt`, so that no `except Exception` swallows it and Run All stops.

    Attributes:
        results: Of several runs, the results of all; empty for one run.
    """


class CopyError(XecError):
    """Not all could be copied; the message names what and why, `.result` has all of it."""

    def __init__(self, message: str, result: CopyResult) -> None:
        super().__init__(message)
        self.result = result

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.result)


class CopyInterrupted(RunInterrupted):
    """The kernel's interrupt stopped a copy; `.result` says what has arrived, and what the same call goes on with."""

    result: Any  # a CopyResult

    def __init__(self, message: str, result: CopyResult) -> None:
        super().__init__(message, result)  # type: ignore[arg-type]


class CallbackError(XecError):
    """A function of the user's own, called on the way, has raised; what it raised is the `__cause__`."""

    def _render_traceback_(self) -> list[str]:
        cause = self.__cause__
        frames = own_frames(cause.__traceback__) if cause is not None else []
        return [
            *(f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames),
            *super()._render_traceback_(),
        ]


class AllFailed(XecError):
    """Of several commands none ended well; the message names each, `.results` has their results."""


class CleanupError(XecError):
    """Some of what was to be cleaned up could not be; the message names each.

    Attributes:
        errors: What was raised, in the order in which it was tried.
    """

    def __init__(self, message: str, errors: Sequence[BaseException] = ()) -> None:
        super().__init__(message)
        self.errors = tuple(errors)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.errors)


class _WithResults(_WithResult):
    """An error of several runs: `.results` has all of them, `.result` is that of the first that failed, None if none ran."""

    results: TaskResults

    def __init__(self, message: str, result: Result | None, results: TaskResults) -> None:
        super().__init__(message, result)  # type: ignore[arg-type]  # None where no command is to blame
        self.results = results

    def __getattr__(self, name: str) -> Any:
        if name == "results":
            raise AttributeError(name)
        return super().__getattr__(name)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.result, self.results)


class TasksFailed(_WithResults, CommandError):
    """Tasks failed, or did not run because of others; `.results` says which and why."""


class TasksInterrupted(_WithResults, RunInterrupted):
    """The kernel's interrupt stopped tasks; `.results` holds what had been done."""


class ParseError(XecError, ValueError):
    """The output is not in the form that was asked for.

    Attributes:
        line_number: Where it went wrong, counted from 1; None when it concerns the whole.
        line: The text of that line.
    """

    def __init__(self, message: str, line_number: int | None = None, line: str | None = None) -> None:
        super().__init__(message)
        self.line_number = line_number
        self.line = line

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.line_number, self.line)


class OutputTooLarge(XecError):
    """The output is too large for one Python string; read it in pieces or from its log."""


class _Mapped:
    """A block out of which foreign exceptions come as ours. A generator does the same in three times as many calls."""

    __slots__ = ("_kinds", "_to", "_what")

    def __init__(self, kinds: tuple[type[BaseException], ...], to: type[XecError], what: str) -> None:
        self._kinds = kinds
        self._to = to
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, self._kinds):
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise self._to(f"{self._what}: {reason}") from error


def map_errors(*kinds: type[BaseException], to: type[XecError], what: str) -> AbstractContextManager[None]:
    """Turn foreign exceptions of `kinds` into `to`, where they enter; the cause is kept.

    Example:
        >>> with map_errors(OSError, to=SpawnError, what="cannot start bash"):
        ...     raise FileNotFoundError(2, "No such file or directory")
        Traceback (most recent call last):
        ...
        xec_magic.errors.SpawnError: cannot start bash: No such file or directory
    """
    return _Mapped(kinds, to, what)
