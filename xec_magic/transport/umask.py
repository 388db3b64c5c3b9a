"""The mask of modes that the kernel has now, which what it starts is to have as well."""

from __future__ import annotations

import os

__all__ = ["current_umask"]

_umask = 0o022  # what it was when somebody looked last


def current_umask() -> int:
    """The mask of modes of this process, which its commands are to have as well.

    It can only be read by being set. So it is set to what it most likely is, which changes nothing; Linux shows it in
    proc_pid_status(5) as well, and to write all the rest of that file takes a tenth as long as a short command.
    """
    global _umask
    mask = os.umask(_umask)
    if mask != _umask:
        os.umask(mask)
        _umask = mask
    return mask
