"""Files and directories that options name: absolute, and there, or refused with the nearest name that is."""

from __future__ import annotations

import os

from xec_magic.errors import OptionError
from xec_magic.optionspec import nearest
from xec_magic.paths import absolute

__all__ = ["absolute_path", "directory_to_enter", "file_to_read", "file_to_write", "nearest_there"]


def absolute_path(path: str, where: str) -> str:
    """A path as the kernel sees it, `~` and its directory filled in; `where` begins the message of a refusal."""
    try:
        return absolute(path)
    except OSError as error:  # the kernel's own directory was removed
        raise OptionError(
            f"{where}: {path} has no absolute name, since the kernel's directory is gone: {error.strerror}"
        ) from error


def nearest_there(path: str) -> str:
    """What to say behind a path that is not there: the nearest name in its directory, or nothing."""
    directory, own = os.path.split(path)
    try:
        names = [name for name in os.listdir(directory) if name != own]  # its own is that of a link that leads nowhere
    except OSError:
        names = []
    hint = nearest(own, names)
    return f"; {hint}" if hint else ""


def _there(given: str, where: str, kind: str) -> str:
    path = absolute_path(given, where)
    if not os.path.exists(path):
        raise OptionError(f"{where}: no such {kind}: {path}{nearest_there(path)}")
    return path


def directory_to_enter(given: str, where: str) -> str:
    """The absolute path of a directory that a command can run in.

    Raises:
        OptionError: there is none, or it cannot be entered.
    """
    path = _there(given, where, "directory")
    if not os.path.isdir(path):
        raise OptionError(f"{where}: {path} is no directory")
    if not os.access(path, os.X_OK):
        raise OptionError(f"{where}: no permission to enter {path}")
    return path


def file_to_read(given: str, where: str) -> str:
    """The absolute path of a file that can be read.

    Raises:
        OptionError: there is none, or it cannot.
    """
    path = _there(given, where, "file")
    if os.path.isdir(path):
        raise OptionError(f"{where}: {path} is a directory")
    if not os.access(path, os.R_OK):
        raise OptionError(f"{where}: no permission to read {path}")
    return path


def file_to_write(given: str, where: str) -> str:
    """The absolute path of a file in a directory that is there.

    Raises:
        OptionError: it is a directory itself, or there is none for it.
    """
    path = absolute_path(given, where)
    if os.path.isdir(path):
        raise OptionError(f"{where}: {path} is a directory; give a file in it")
    if not os.path.isdir(os.path.dirname(path)):
        raise OptionError(f"{where}: no such directory: {os.path.dirname(path)}")
    return path
