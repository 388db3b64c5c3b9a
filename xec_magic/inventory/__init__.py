"""What `--on` can name: aliases of the SSH configuration, targets and groups of `xec.toml`, `user@host:port`, node sets."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from xec_magic.command import LOCAL, Target, targets_of
from xec_magic.errors import OptionError
from xec_magic.inventory.nodeset import fold, resolve
from xec_magic.inventory.sshconfig import read_aliases
from xec_magic.inventory.trust import Trust
from xec_magic.optionspec import nearest, what_there_is

__all__ = ["Inventory", "Known", "TargetFile", "Trust", "register", "unregister"]

_KEYS: Final = {
    "host": str, "user": str, "port": int, "key": str, "jump": str, "proxy_command": str, "known_hosts": str, "accept_new": bool,
    "auth": str, "connect_timeout": (int, float),
}  # fmt: skip
# These run code here, or weaken what protects the user: a project's file alone may not say so.
_NEED_TRUST: Final = ("proxy_command", "accept_new", "known_hosts", "auth")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_PLACE = re.compile(
    r"(?:(?P<user>[^@\s]+)@)?(?P<host>\[[^\]\s]+\]|[^:@\s\[\]]+|[0-9a-fA-F]*:[0-9a-fA-F:]+)(?::(?P<port>\d+))?"
)
_DEPTH: Final = 20


@dataclass(frozen=True, slots=True)
class TargetFile:
    """A file of targets that has been read.

    Attributes:
        path: Where it is.
        document: Its `targets` and `groups`.
        own: It is the user's own file, and not a project's.
    """

    path: str
    document: Mapping[str, Any]
    own: bool


@dataclass(frozen=True, slots=True)
class Known:
    """Something that `--on` can name, for a list."""

    name: str
    what: str
    where: str


_registered: list[TargetFile] = []  # what every inventory of this process knows beside its files


def register(file: TargetFile) -> None:
    """Let every inventory know these targets as well, over those of files, until `unregister`."""
    _registered.append(file)


def unregister(file: TargetFile) -> None:
    """Undo `register`."""
    _registered[:] = [each for each in _registered if each is not file]


class Inventory:
    """Turns what `--on` says into targets.

    Args:
        files: The files with targets, later over earlier.
        trust: Which projects' files are trusted.

    Example:
        >>> inventory = Inventory([TargetFile("xec.toml", {"targets": {"db1": {"host": "10.0.0.7"}}}, own=True)])
        >>> [(target.name, target.host) for target in inventory.targets(["db1,bob@10.0.0.8"])]
        [('db1', '10.0.0.7'), ('bob@10.0.0.8', '10.0.0.8')]
    """

    def __init__(self, files: Iterable[TargetFile] = (), trust: Trust | None = None) -> None:
        self._trust = trust or Trust()
        self._targets: dict[str, tuple[Mapping[str, Any], TargetFile]] = {}
        self._groups: dict[str, tuple[list[str], TargetFile]] = {}
        for file in (*files, *_registered):
            self._read(file)

    def _read(self, file: TargetFile) -> None:
        targets = _table(file, file.document, "targets")
        for name in targets:
            where = f"{file.path}: targets.{name}"
            if not _NAME.fullmatch(name):
                raise OptionError(f"{where}: a target's name is letters, digits, _ . and -")
            self._targets[name] = _checked(where, _table(file, targets, name)), file
        for name, members in _table(file, file.document, "groups").items():
            where = f"{file.path}: groups.{name}"
            listed = [members] if isinstance(members, str) else members
            if not isinstance(listed, list) or not all(isinstance(member, str) for member in listed):
                raise OptionError(f'{where}: a group is a list of names and node sets, such as ["web[01-20]", "@db"]')
            self._groups[name] = listed, file

    # -- resolving ----------------------------------------------------------------------------------

    def targets(self, on: str | Target | Sequence[str | Target]) -> list[Target]:
        """The targets that these name, in order. Within one text each host counts once; the items of a list count as they are.

        Raises:
            OptionError: a name that is not known, with the nearest ones; none at all.
        """
        given = [on] if isinstance(on, (str, Target)) else targets_of(on)
        if not isinstance(given, Iterable):
            raise OptionError(f"{given!r} names no target; write a text such as 'web1,web2', or a list")
        items = list(given)
        found: list[Target] = []
        for item in items:
            if isinstance(item, Target):
                found.append(item)
                continue
            if not isinstance(item, str):
                raise OptionError(f"{item!r} is no target; give a name")
            found += [self.target(name) for name in resolve(item, self._group)]
        if not found:
            raise OptionError(f"{', '.join(map(str, items)) or 'an empty list'} names no target")
        return found

    def one(self, on: str | Target | Sequence[str | Target]) -> Target:
        """The one target that these name.

        Raises:
            OptionError: a name that is not known; several targets.
        """
        found = self.targets(on)
        if len(found) > 1:
            raise OptionError(
                f"on names {len(found)} targets, and here one is needed; %%xec --on and xec.map take several"
            )
        return found[0]

    def target(self, name: str) -> Target:
        """The target of one name.

        Raises:
            OptionError: it is not known.
        """
        if name == LOCAL.name:
            return LOCAL
        if name in self._targets:
            return self._of_file(name)
        aliases = read_aliases()
        match = _PLACE.fullmatch(name)
        if match is None:
            raise OptionError(f"{name!r} names no host; write an alias, user@host:port, or a target of xec.toml")
        user, host, port = match["user"] or "", match["host"].strip("[]"), int(match["port"] or 0)
        if ":" in user:  # the name is shown wherever the host is, so it is not repeated here
            raise OptionError(
                f"{'…@' + name.rpartition('@')[2]!r}: before the @ stands a user alone, without ssh:// and without a password, "
                'which is asked for where the target says auth = "password"'
            )
        if port > 65535:
            raise OptionError(f"{name!r}: there is no port {port}")
        if host in self._targets and (user or port):
            made = self._of_file(host)
            return Target("ssh", name, made.host, user or made.user, port or made.port, made.settings)
        # A bare word that nobody knows is rather a mistake than a host; with a dot, a user or a port it is meant as one.
        if not (user or port or "." in host or aliases.knows(host) or host == "localhost" or _is_address(host)):
            raise OptionError(f"there is no target {name!r}" + self._hint(name))
        return Target("ssh", name, host, user, port)

    def _hint(self, name: str) -> str:
        hint = nearest(name, self.names())
        return f"; {hint}" if hint else "; %xec_targets lists them, and a host without an alias is written user@host"

    def _of_file(self, name: str) -> Target:
        values, file = self._targets[name]
        wants = [key for key in _NEED_TRUST if key in values]
        if wants and not file.own and not self._trust.has(file.path):
            raise OptionError(
                f"{file.path}: targets.{name} sets {', '.join(wants)}, which runs code or weakens what protects you; read "
                f"the file, then: %xec_targets --trust {file.path}"
            )
        settings = {key: _as_text(value) for key, value in values.items() if key not in ("host", "user", "port")}
        for key in ("key", "known_hosts"):
            if key in settings:
                settings[key] = os.path.join(os.path.dirname(file.path), os.path.expanduser(settings[key]))
        return Target(
            "ssh",
            name,
            values.get("host", name),
            values.get("user", ""),
            values.get("port", 0),
            tuple(sorted(settings.items())),
        )

    def _group(self, name: str, inside: tuple[str, ...] = ()) -> list[str]:
        if name == "all" and "all" not in self._groups:
            return list(self._targets)
        if name in inside:
            raise OptionError(f"the groups go in a circle: {' → '.join('@' + each for each in (*inside, name))}")
        if name not in self._groups:
            names = [f"@{group}" for group in [*self._groups, "all"]]
            hint = nearest(f"@{name}", names) or what_there_is(names)
            raise OptionError(f"there is no group @{name}; {hint}")
        members, _ = self._groups[name]
        return resolve(",".join(members), lambda group: self._group(group, (*inside, name)))

    # -- lists ------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """All that can be named, groups with their `@`."""
        groups = [f"@{name}" for name in dict.fromkeys([*self._groups, *(["all"] if self._targets else [])])]
        return list(dict.fromkeys([*self._targets, *read_aliases().names, *groups]))

    def known(self) -> list[Known]:
        """All that can be named, with what it is and where that is said."""
        found = []
        for name, (values, file) in self._targets.items():
            user, port = values.get("user"), values.get("port")
            place = (f"{user}@" if user else "") + str(values.get("host", name)) + (f":{port}" if port else "")
            found.append(Known(name, place, file.path))
        for name, path in read_aliases().names.items():
            if name not in self._targets:
                found.append(Known(name, "SSH alias", path))
        for name, (members, file) in self._groups.items():
            found.append(Known(f"@{name}", fold(members), file.path))
        return found

    def __repr__(self) -> str:
        return f"<Inventory {len(self._targets)} targets, {len(self._groups)} groups>"


def _table(file: TargetFile, document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name, {})
    if not isinstance(found, dict):
        raise OptionError(f"{file.path}: {name} must be a table")
    return found


def _checked(where: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
    for key, value in values.items():
        kind = _KEYS.get(key)
        if kind is None:
            hint = nearest(key, _KEYS) or f"there are {', '.join(_KEYS)}"
            raise OptionError(f"{where}: there is no setting {key!r}; {hint}")
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):  # type: ignore[arg-type]
            raise OptionError(
                f"{where}: {key} must be {'a text' if kind is str else 'true or false' if kind is bool else 'a number'}"
            )
        if kind is str and (not value or "\0" in value or "\n" in value):
            raise OptionError(f"{where}: {key} is empty, or holds a newline or NUL")
    if not 0 <= values.get("port", 0) <= 65535:
        raise OptionError(f"{where}: there is no port {values['port']}")
    if values.get("auth", "keys") not in ("keys", "password"):
        raise OptionError(f"{where}: auth is keys or password, not {values['auth']!r}")
    return values


def _as_text(value: object) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
