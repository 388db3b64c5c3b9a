"""`absolute`: the whole name of a file, by which the system finds the one that its user means."""

from __future__ import annotations

import os

__all__ = ["absolute"]


def absolute(path: str) -> str:
    """A path from the root on: `~` and the working directory filled in, without `.` and `..`.

    `link/..` is what is above the directory that the link leads to, as it is to every program, and not the directory with the link.

    Raises:
        OSError: the working directory is not there any more.

    Example:
        >>> absolute("/usr/lib/../bin/./env")
        '/usr/bin/env'
    """
    whole = os.path.expanduser(path)
    if not os.path.isabs(whole):
        whole = os.path.join(os.getcwd(), whole)
    plain = os.path.normpath(whole)
    # No file has a NUL in its name; who uses the name says so.
    if ".." in whole.split("/") and "\0" not in whole and (real := os.path.realpath(whole)) != os.path.realpath(plain):
        return real
    return plain
