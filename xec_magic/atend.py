"""What is done at the end of the innermost `with xec.cleanup()` block, or else of the kernel: `defer`, `temp_file`, `temp_dir`."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any, overload

from xec_magic import runtime
from xec_magic.calls import Calls
from xec_magic.compose.cleanup import Cleanup, innermost
from xec_magic.compose.unwinding import Deferred
from xec_magic.keywords import On
from xec_magic.private import KernelDirectory, temp_root

__all__ = ["defer", "registry", "temp_dir", "temp_file"]


def registry() -> Cleanup:
    """What is to be cleaned up at the kernel's end."""

    def make(now: runtime.Runtime) -> Cleanup:
        # Not the kernel's own functions: at the end this very executor has to run what was deferred.
        calls = Calls(lambda: now.executor, lambda: now.settings)
        return Cleanup(calls._planned, KernelDirectory(temp_root, now.executor.kernel_id))

    return runtime.current().registry(make)


def defer(what: Any, *args: Any, **kwargs: Any) -> Deferred:
    """Do this at the end of the innermost `with xec.cleanup()` block, or else at the kernel's end; see `Cleanup.defer`.

    Example:
        >>> import xec_magic as xec
        >>> undo = xec.defer("rm -f /tmp/lock-of-mine")
        >>> undo.cancel()
    """
    return (innermost() or registry()).defer(what, *args, **kwargs)


@overload
def temp_file(*, suffix: str = ..., content: str | bytes = ..., on: None = ...) -> Path: ...
@overload
def temp_file(*, suffix: str = ..., content: str | bytes = ..., on: On) -> PurePosixPath: ...
def temp_file(*, suffix: str = "", content: str | bytes = b"", on: On | None = None) -> Path | PurePosixPath:
    """A new private file, removed at the end of the innermost `with xec.cleanup()` block, or else at the kernel's end.

    See `Cleanup.temp_file`.

    Example:
        >>> import xec_magic as xec
        >>> path = xec.temp_file(suffix=".csv", content="a,b")
        >>> path.read_text()
        'a,b'
    """
    stack = innermost() or registry()
    return (
        stack.temp_file(suffix=suffix, content=content)
        if on is None
        else stack.temp_file(suffix=suffix, content=content, on=on)
    )


@overload
def temp_dir(*, suffix: str = ..., on: None = ...) -> Path: ...
@overload
def temp_dir(*, suffix: str = ..., on: On) -> PurePosixPath: ...
def temp_dir(*, suffix: str = "", on: On | None = None) -> Path | PurePosixPath:
    """A new private directory, removed at the end of the innermost `with xec.cleanup()` block, or else at the kernel's end.

    See `Cleanup.temp_dir`.
    """
    stack = innermost() or registry()
    return stack.temp_dir(suffix=suffix) if on is None else stack.temp_dir(suffix=suffix, on=on)
