"""Why the operating system starts nothing, in words that say what to do."""

from __future__ import annotations

import errno
import os
from typing import Final

__all__ = ["advice", "refusal"]

_ADVICE: Final = {
    errno.E2BIG: "its environment or arguments are too large for the operating system; pass data by --stdin or a file",
    errno.EAGAIN: "no further process is allowed (ulimit -u); end some first",
    errno.EMFILE: "too many open files (ulimit -n); close some first",
    errno.ENFILE: "too many open files on this machine",
    errno.ENOMEM: "not enough memory to start a process",
}


def advice(error: OSError) -> str:
    """What to do about an error; its own words where nothing better is known."""
    return _ADVICE.get(error.errno or 0) or str(error)


def refusal(code: int, where: str) -> str:
    """Why a command was not started.

    Args:
        code: The error's number; 0 where `where` says it all.
        where: What could not be used, or nothing.
    """
    if code in _ADVICE:
        return f"cannot start it: {_ADVICE[code]}"
    if code == 0:
        return f"cannot start it: {where}"
    return f"cannot start {where or 'it'}: {os.strerror(code)}"
