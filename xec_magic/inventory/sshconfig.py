"""Which hosts the user's SSH configuration knows: its `Host` lines, with what they include. What they mean is asyncssh's business."""

from __future__ import annotations

import fnmatch
import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

__all__ = ["Aliases", "read_aliases"]

SYSTEM_FILE: Final = "/etc/ssh/ssh_config"
MOST_DEPTH: Final = 16  # as OpenSSH: an include that includes itself ends


@dataclass(slots=True)
class Aliases:
    """The names and patterns of `Host` lines."""

    names: dict[str, str] = field(default_factory=dict)  # alias to the file that has it
    patterns: list[str] = field(default_factory=list)

    def knows(self, name: str) -> bool:
        """A `Host` line is meant for this name; one for every name says nothing."""
        return name in self.names or any(fnmatch.fnmatchcase(name, pattern) for pattern in self.patterns)


_read: dict[tuple[tuple[str, int, int], ...], Aliases] = {}


def read_aliases(files: list[str] | None = None) -> Aliases:
    """The aliases of `~/.ssh/config` and the system's file. Read again when one of them has changed."""
    paths = files if files is not None else [os.path.expanduser("~/.ssh/config"), SYSTEM_FILE]
    key = []
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            continue
        key.append((path, status.st_size, status.st_mtime_ns))
    known = _read.get(tuple(key))
    if known is None:
        known = Aliases()
        for path, _, _ in key:
            _read_file(Path(path), known, 0)
        if not any("include" in _text(path).lower() for path, _, _ in key):
            _read.clear()
            _read[tuple(key)] = known  # of what is included the times are not looked at, so that is read each time
    return known


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""


def _read_file(path: Path, into: Aliases, depth: int) -> None:
    if depth > MOST_DEPTH:
        return
    for line in _text(str(path)).splitlines():
        word, _, rest = line.strip().replace("=", " ", 1).partition(" ")
        try:
            words = shlex.split(rest, comments=True)
        except ValueError:
            continue  # the connection will complain about it
        if word.lower() == "host":
            for name in words:
                if name.startswith("!"):
                    continue
                if not any(char in name for char in "*?"):
                    into.names.setdefault(name, str(path))
                elif name.strip("*?."):
                    into.patterns.append(name)
        elif word.lower() == "include":
            for pattern in words:
                base = Path(os.path.expanduser(pattern))
                base = base if base.is_absolute() else Path(os.path.expanduser("~/.ssh")) / base
                for included in sorted(Path(base.anchor).glob(str(base.relative_to(base.anchor)))):
                    if included.is_file():
                        _read_file(included, into, depth + 1)
