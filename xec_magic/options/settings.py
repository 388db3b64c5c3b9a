"""`Settings`: the standing defaults that files and the environment give to every run, read when they change."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from xec_magic.errors import OptionError
from xec_magic.options.run import RunOptions

if TYPE_CHECKING:
    from xec_magic.inventory import Inventory

__all__ = ["Layer", "Settings"]

Layer = tuple[str, Mapping[str, Any]]

STAMPS_HOLD_S: Final = 0.001
_PROJECT_FILES: Final = ("xec.toml", "pyproject.toml")


_Stamp = tuple[int, int, int]
"""Inode, size, time in nanoseconds: some editors keep the time of a file, some the size, none all three."""


class _Content(NamedTuple):
    """What a file says: options, and the tables of targets and groups."""

    values: Mapping[str, Any]
    tables: Mapping[str, Any]


class Settings:
    """Standing defaults, later over earlier: the user's file, the project's file, `XEC_*` variables.

    The user's file is `xec-magic/config.toml` in `$XDG_CONFIG_HOME` or `~/.config`. The project's is the nearest `xec.toml`, or
    `pyproject.toml` with a table `[tool.xec]`, from `start` up to the repository's root or the home directory; outside both
    only `start` itself counts, so that nobody sets your defaults from `/tmp`. A file is read again when it has changed.
    A relative `cwd` in a file is relative to the file.

    Args:
        start: Directory of the kernel at its start.
        environ: The environment; asked at each run.

    Any thread may ask.
    """

    def __init__(self, start: str | os.PathLike[str] | None = None, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        home = _home(self._environ)
        self._user = _user_file(self._environ, home)
        self._projects = _project_directories(
            _current_directory() if start is None else Path(os.path.realpath(start)), home
        )
        self._read: dict[str, tuple[_Stamp, _Content | None]] = {}
        own = [] if self._user is None else [self._user]
        self._files = own + [f"{directory}/{name}" for directory in self._projects for name in _PROJECT_FILES]
        self._missing: set[str] = set()
        self._stamps: tuple[float, tuple[_Stamp | None, ...]] = (0.0, ())
        self._seen: dict[Any, Any] = {}
        self._set: list[Layer] = []
        self._layers: tuple[tuple[_Stamp | None, ...], list[Layer], list[Layer]] | None = None

    def __repr__(self) -> str:
        return f"<Settings {', '.join(source for source, _ in self.layers()) or 'none'}>"

    def layers(self) -> list[Layer]:
        """Each source with the values it sets, earlier ones first; the same list as long as none of them has changed.

        Raises:
            OptionError: a file or variable is wrong; the message names file and line, or file and key.
        """
        stamps, variables = self._new_stamps(), self._variables()
        known = self._layers
        if known is None or known[0] != stamps or known[1] is not variables:
            known = self._layers = stamps, variables, self._of_files() + variables
        return known[2]

    def _of_files(self) -> list[Layer]:
        found: list[Layer] = []
        if self._user is not None:
            own = self._content(self._user, trusted=True)
            if own is not None:
                found.append((self._user, own.values))
        project = self._project()
        if project is not None:
            found.append((project[0], project[1].values))
        return found

    def _variables(self) -> list[Layer]:
        """The layers of the variables, one each; read again when anything in the environment has changed."""
        # The dictionary beneath compares in a microsecond; to ask the mapping itself for each variable takes forty.
        now = getattr(self._environ, "_data", self._environ)
        if now != self._seen:
            variables = RunOptions.SPEC.read_environment(self._environ)
            if variables:
                _check_ranges(
                    {name: value for name, (_, value) in variables.items()}, ", ".join(v for v, _ in variables.values())
                )
            self._set = [(variable, {name: value}) for name, (variable, value) in variables.items()]
            self._seen = dict(now)
        return self._set

    def stamps(self) -> tuple[_Stamp | None, ...]:
        """Equal as long as no file has changed that `layers` reads.

        It is asked for every hit of the cache, and costs as much as all the rest of one. So an answer holds for a
        millisecond: a shorter time than it takes to run anything, or to change a file and look.
        """
        now = time.monotonic()
        if now >= self._stamps[0]:
            self._stamps = now + STAMPS_HOLD_S, self._new_stamps()
        return self._stamps[1]

    def _new_stamps(self) -> tuple[_Stamp | None, ...]:
        found: list[_Stamp | None] = []
        for file in self._files:
            # Most are not there, and to raise and catch that costs twice as much.
            if file in self._missing and not os.access(file, os.F_OK):
                found.append(None)
                continue
            try:
                status = os.stat(file)
            except OSError:
                self._missing.add(file)
                found.append(None)
            else:
                self._missing.discard(file)
                found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        return tuple(found)

    def inventory(self) -> Inventory:
        """What `--on` can name, by the same files.

        Raises:
            OptionError: a file is wrong.
        """
        from xec_magic.inventory import Inventory, TargetFile, Trust

        files = []
        if self._user is not None and (own := self._content(self._user, trusted=True)) is not None:
            files.append(TargetFile(self._user, own.tables, own=True))
        if (project := self._project()) is not None:
            files.append(TargetFile(project[0], project[1].tables, own=False))
        return Inventory(files, Trust(self._environ))

    def _project(self) -> tuple[str, _Content] | None:
        for directory in self._projects:
            files = [f"{directory}/{name}" for name in _PROJECT_FILES]
            there = [(file, content) for file in files if (content := self._content(file)) is not None]
            if len(there) > 1:
                raise OptionError(f"{there[0][0]} and {_PROJECT_FILES[1]} [tool.xec] both set options; keep one")
            if there:
                return there[0]
        return None

    def _content(self, file: str, *, trusted: bool = False) -> _Content | None:
        """What a file sets; None if there is no such file, or it is a `pyproject.toml` that says nothing of options."""
        try:
            status = os.stat(file)
        except OSError:  # not there, or in a directory that may not be read: no defaults from it
            return None
        stamp = status.st_ino, status.st_size, status.st_mtime_ns
        known = self._read.get(file)
        if known is None or known[0] != stamp:
            known = self._read[file] = stamp, _read_file(Path(file), trusted=trusted)
        return known[1]


def _home(environ: Mapping[str, str]) -> Path | None:
    try:
        return Path(os.path.realpath(environ.get("HOME") or Path.home()))
    except RuntimeError:  # a user without an entry in the password file
        return None


def _user_file(environ: Mapping[str, str], home: Path | None) -> str | None:
    base = environ.get("XDG_CONFIG_HOME", "")
    if os.path.isabs(base):  # the XDG specification: a relative path is to be ignored
        return str(Path(base) / "xec-magic" / "config.toml")
    return None if home is None else str(home / ".config" / "xec-magic" / "config.toml")


def _project_directories(start: Path | None, home: Path | None) -> list[Path]:
    """Where a project's file may stand, nearest first."""
    if start is None:
        return []
    way = []
    for directory in (start, *start.parents):
        way.append(directory)
        if directory == home or os.path.exists(directory / ".git"):
            return way
    return [start]


def _read_file(path: Path, *, trusted: bool) -> _Content | None:
    import tomllib  # only where there is a file

    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise OptionError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"{path} is no UTF-8 text, as TOML must be: byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        if path.name == "pyproject.toml":
            return None  # not ours to complain about, and it may be half edited
        place = re.search(r" \(at line (\d+), column (\d+)\)$", str(error))
        where = f"{path}, line {place[1]}, column {place[2]}" if place else f"{path}, at its end"
        raise OptionError(f"{where}: no TOML: {str(error).partition(' (at ')[0]}") from error
    if path.name == "pyproject.toml":
        document = document.get("tool", {}).get("xec")
        if document is None:
            return None
        if not isinstance(document, dict):
            raise OptionError(f"{path}: tool.xec must be a table")
    where = f"{path} [tool.xec]" if path.name == "pyproject.toml" else str(path)
    tables: dict[str, Any] = {name: document.pop(name) for name in ("targets", "groups") if name in document}
    values = RunOptions.SPEC.read_config(document, where, trusted=trusted)
    if values.get("cwd") is not None:
        # A file moves with its project, the kernel's directory does not.
        values["cwd"] = os.path.join(path.parent, os.path.expanduser(values["cwd"]))
    _check_ranges(values, where)
    return _Content(values, tables)


def _check_ranges(values: Mapping[str, Any], where: str) -> None:
    from xec_magic.command import Command

    try:
        RunOptions(**values).plan_for(Command(""))
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from None


def _current_directory() -> Path | None:
    try:
        return Path.cwd()
    except OSError:  # the directory was removed under the kernel
        return None
