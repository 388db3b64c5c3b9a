"""Which hosts the user's SSH configuration knows: its `Host` and `Match` lines, with what they include. What they mean is asyncssh's business."""

from __future__ import annotations

import fnmatch
import glob
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from xec_magic.sshlines import conditions_of, keyword_of, words_of

__all__ = ["Aliases", "read_aliases"]

_Stamp: TypeAlias = tuple[int, int, int] | None  # None: there is no such file

SYSTEM_FILE: Final = "/etc/ssh/ssh_config"
MOST_DEPTH: Final = 16  # as OpenSSH: an include that includes itself ends


@dataclass(slots=True)
class Aliases:
    """The names and patterns of `Host` lines, and of `Match host` and `Match originalhost`."""

    names: dict[str, str] = field(default_factory=dict)  # alias to the file that has it
    patterns: list[str] = field(default_factory=list)

    def knows(self, name: str) -> bool:
        """A line is meant for this name; one for every name says nothing."""
        return name in self.names or any(fnmatch.fnmatchcase(name, pattern) for pattern in self.patterns)


@dataclass(slots=True)
class _Reading:
    """What was read, and by what it is known to be so still: to read it takes longer than a command on a host that is near."""

    aliases: Aliases = field(default_factory=Aliases)
    files: dict[str, _Stamp] = field(default_factory=dict)
    included: dict[str, list[str]] = field(default_factory=dict)  # pattern to the files that it stood for

    def is_fresh(self) -> bool:
        return all(_stamp(path) == stamp for path, stamp in self.files.items()) and all(
            _matching(pattern) == paths for pattern, paths in self.included.items()
        )


_read: dict[tuple[str, ...], _Reading] = {}


def read_aliases(files: list[str] | None = None) -> Aliases:
    """The aliases of `~/.ssh/config` and the system's file. Read again when one of them, or of what they include, has changed."""
    paths = files if files is not None else [os.path.expanduser("~/.ssh/config"), SYSTEM_FILE]
    known = _read.get(tuple(paths))
    if known is None or not known.is_fresh():
        known = _Reading()
        for path in paths:
            _read_file(path, known, 0)
        _read.clear()
        _read[tuple(paths)] = known
    return known.aliases


def _stamp(path: str) -> _Stamp:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _matching(pattern: str) -> list[str]:
    return sorted(glob.glob(pattern))


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""


def _read_file(path: str, into: _Reading, depth: int) -> None:
    if depth > MOST_DEPTH:
        return
    into.files[path] = _stamp(path)  # before it is read: what changes meanwhile is read again
    for line in _text(path).splitlines():
        keyword, rest = keyword_of(line.strip()) or ("", "")
        if keyword.lower() not in ("host", "match", "include"):
            continue
        try:
            words = words_of(rest)
        except ValueError:
            continue  # the connection will complain about it
        if keyword.lower() == "match":
            words = _matched(words)
        if keyword.lower() != "include":
            for name in words:
                _learn(name, path, into.aliases)
            continue
        for pattern in words:
            place = os.path.join(os.path.expanduser("~/.ssh"), os.path.expanduser(pattern))
            into.included[place] = _matching(place)
            for included in into.included[place]:
                if os.path.isfile(included):
                    _read_file(included, into, depth + 1)


def _matched(words: list[str]) -> list[str]:
    """The names for which a `Match` line is meant."""
    found = (value for kind, value in conditions_of(words) if kind.lower() in ("host", "originalhost"))
    return [name for value in found if value for name in value.split(",")]


def _learn(name: str, path: str, aliases: Aliases) -> None:
    if name.startswith("!"):
        return
    if not any(char in name for char in "*?"):
        aliases.names.setdefault(name, path)
    elif name.strip("*?."):
        aliases.patterns.append(name)
