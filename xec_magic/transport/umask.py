"""The mask of modes that the kernel has now, which what it starts is to have as well."""

from __future__ import annotations

import os
from itertools import tee

__all__ = ["current_umask"]

_latest = 0o022  # what it was when somebody looked last


def current_umask() -> int:
    """The mask of modes of this process, which its commands are to have as well. Any thread may ask.

    It can only be read by being set. So it is set to what it most likely is, which changes nothing; Linux shows it in
    proc_pid_status(5) as well, and to write all the rest of that file takes a tenth as long as a short command.
    """
    global _latest
    found, again = tee(map(os.umask, (_latest,)))
    # Found and set back in one call of a built-in: no other thread, and no handler of a signal, gets its turn between the two.
    next(map(os.umask, found))
    _latest = mask = next(again)
    return mask
