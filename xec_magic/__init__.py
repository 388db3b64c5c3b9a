"""Shell commands from notebooks: safe, live, kept, and Python values.

    >>> import xec_magic as xec
    >>> str(xec.run("echo hello"))
    'hello'

In a notebook, `%load_ext xec_magic` brings the magics `%xec`, `%%xec` and `%xec_runs`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from xec_magic.errors import (
    AllFailed,
    AuthError,
    CallbackError,
    Cancelled,
    CleanupError,
    CommandError,
    ConnectError,
    ConnectionLost,
    CopyError,
    CopyInterrupted,
    FileError,
    HostKeyError,
    NonZeroExit,
    OptionError,
    OutputLimit,
    OutputTooLarge,
    ParseError,
    PoolTimeout,
    ProfileFailed,
    RunInterrupted,
    Signalled,
    SomeFailed,
    SpawnError,
    TasksFailed,
    TasksInterrupted,
    TemplateError,
    TimedOut,
    TransportError,
    TunnelError,
    XecError,
)

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from xec_magic import demo
    from xec_magic.api import (
        Executor,
        batch,
        cached,
        chunks,
        cleanup,
        files,
        lazy,
        map,  # noqa: A004 - here it is this package's
        run,
        start,
        tasks,
        using,
        workers,
    )
    from xec_magic.atend import defer, temp_dir, temp_file
    from xec_magic.cachepolicy import CachePolicy
    from xec_magic.compose.cleanup import Cleanup
    from xec_magic.compose.lazy import Lazy
    from xec_magic.compose.tasks_result import TaskResult, TaskResults, TaskState
    from xec_magic.copied import Copied, CopyResult
    from xec_magic.engine.run import Run
    from xec_magic.monitoring import monitor
    from xec_magic.outcome import Outcome
    from xec_magic.profiles.comparison import Profile
    from xec_magic.profiles.session import Profiler
    from xec_magic.profiling import profile
    from xec_magic.quoting import template
    from xec_magic.result import Result
    from xec_magic.results import Results
    from xec_magic.sshpool import SSHPool, ssh_pool
    from xec_magic.transfers import copy
    from xec_magic.tunnels import Tunnel, tunnel

    last: Result | None
    profiler: Profiler

__version__ = "0.1.0"

__all__ = [
    "AllFailed",
    "AuthError",
    "CachePolicy",
    "CallbackError",
    "Cancelled",
    "Cleanup",
    "CleanupError",
    "CommandError",
    "ConnectError",
    "ConnectionLost",
    "Copied",
    "CopyError",
    "CopyInterrupted",
    "CopyResult",
    "Executor",
    "FileError",
    "HostKeyError",
    "Lazy",
    "NonZeroExit",
    "OptionError",
    "Outcome",
    "OutputLimit",
    "OutputTooLarge",
    "ParseError",
    "PoolTimeout",
    "Profile",
    "ProfileFailed",
    "Result",
    "Results",
    "Run",
    "RunInterrupted",
    "SSHPool",
    "Signalled",
    "SomeFailed",
    "SpawnError",
    "TaskResult",
    "TaskResults",
    "TaskState",
    "TasksFailed",
    "TasksInterrupted",
    "TemplateError",
    "TimedOut",
    "TransportError",
    "Tunnel",
    "TunnelError",
    "XecError",
    "batch",
    "cached",
    "chunks",
    "cleanup",
    "copy",
    "defer",
    "demo",
    "files",
    "last",
    "lazy",
    "map",
    "monitor",
    "profile",
    "profiler",
    "run",
    "ssh_pool",
    "start",
    "tasks",
    "temp_dir",
    "temp_file",
    "template",
    "tunnel",
    "using",
    "workers",
]

_HOMES = {
    "CachePolicy": "cachepolicy",
    "Cleanup": "compose.cleanup",
    "Copied": "copied",
    "CopyResult": "copied",
    "Executor": "api",
    "Lazy": "compose.lazy",
    "Outcome": "outcome",
    "Profile": "profiles.comparison",
    "Result": "result",
    "Results": "results",
    "Run": "engine.run",
    "SSHPool": "sshpool",
    "TaskResult": "compose.tasks_result",
    "TaskResults": "compose.tasks_result",
    "TaskState": "compose.tasks_result",
    "Tunnel": "tunnels",
    "batch": "api",
    "cached": "api",
    "chunks": "api",
    "cleanup": "api",
    "copy": "transfers",
    "defer": "atend",
    "files": "api",
    "lazy": "api",
    "map": "api",
    "monitor": "monitoring",
    "profile": "profiling",
    "run": "api",
    "ssh_pool": "sshpool",
    "start": "api",
    "tasks": "api",
    "temp_dir": "atend",
    "temp_file": "atend",
    "template": "quoting",
    "tunnel": "tunnels",
    "using": "api",
    "workers": "api",
}


def __getattr__(name: str) -> Any:
    """Public names on first use: importing the package stays fast, and so does loading the extension."""
    if name in _HOMES:
        value = getattr(import_module(f"xec_magic.{_HOMES[name]}"), name)
    elif name in ("last", "profiler"):  # they change, so they are never stored here
        return getattr(import_module("xec_magic.runtime").current(), name)
    elif name == "demo":
        value = import_module("xec_magic.demo")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics; IPython calls this for `%load_ext xec_magic`."""
    from xec_magic.magics import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """End all runs and take the magics away; IPython calls this for `%unload_ext` and `%reload_ext`."""
    from xec_magic.magics import unload

    unload(shell)
