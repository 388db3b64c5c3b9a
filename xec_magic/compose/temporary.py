"""Temporary files and directories: how they are made on a host, and removed there and here."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xec_magic.compose.files import quoted
from xec_magic.errors import OptionError

__all__ = ["There", "check_suffix", "directory_there", "file_there", "remove_file", "remove_tree"]


@dataclass(frozen=True, slots=True)
class There:
    """A private directory on a host, with a file in it perhaps: the commands that make and remove it.

    Attributes:
        name: Of the directory, without the one that it is in.
        make: Prints the directory's path.
        remove: Does nothing where it is not there.
        file: What is behind that in the path of what was asked for.
        content: What the making command reads.
        label: What to call that.
        options: Of both commands.
    """

    name: str
    make: str
    remove: str
    file: str
    content: bytes
    label: str
    options: Mapping[str, Any]


def file_there(on: object, suffix: str, content: bytes) -> There:
    """A temporary file on a host."""
    return _there(on, f'cat >"$d"{quoted("/file" + suffix)}', "file", f"/file{suffix}", content)


def directory_there(on: object, suffix: str) -> There:
    """A temporary directory on a host."""
    return _there(on, ":", "directory", suffix=suffix)


def _there(on: object, fill: str, kind: str, file: str = "", content: bytes = b"", suffix: str = "") -> There:
    name = f"xec-{secrets.token_hex(12)}{suffix}"
    place = f'd="${{TMPDIR:-/tmp}}"/{quoted(name)}; '
    return There(
        name,
        f'umask 077; {place}mkdir "$d" && {fill} && printf %s "$d"',
        f'{place}[ ! -d "$d" ] || rm -rf "$d"',
        file,
        content,
        f"make a temporary {kind}",
        {"on": on, "shell": "sh", "strict": False, "cache": None},
    )


def check_suffix(suffix: object) -> None:
    """Refuse what is no end of a name.

    Raises:
        OptionError: it is none.
    """
    if not isinstance(suffix, str) or "/" in suffix or "\0" in suffix:
        raise OptionError(f"suffix: {suffix!r} is no end of a file's name, such as '.json'")


def remove_file(name: str) -> None:
    """Remove a file, if it is there."""
    Path(name).unlink(missing_ok=True)  # its user may have done so


def remove_tree(name: str) -> None:
    """Remove a directory, also one in which something has taken the permissions away."""
    try:
        shutil.rmtree(name)
    except FileNotFoundError:
        if os.path.lexists(name):  # somebody else removes in it, too
            shutil.rmtree(name)
    except PermissionError:
        os.chmod(name, 0o700)
        for here, directories, _ in os.walk(name):
            for directory in directories:
                path = os.path.join(here, directory)
                if not os.path.islink(path):
                    os.chmod(path, 0o700)
        shutil.rmtree(name)
