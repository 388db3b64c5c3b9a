"""What a tunnel forwards: `Forward`, and how it is written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from xec_magic.errors import OptionError

__all__ = ["Forward", "ForwardKind", "read_forward"]

ForwardKind: TypeAlias = Literal["local", "remote", "socks"]

LOOPBACK: Final = {"local": "127.0.0.1", "socks": "127.0.0.1", "remote": "localhost"}
_HOST: Final = r"\[[^\]\s]+\]|[^\s:\[\]]*[^\s:\[\]\d][^\s:\[\]]*"  # not digits alone: those are a port
_FORWARD: Final = re.compile(rf"(?:(?P<bind>{_HOST}):)?(?P<port>\d+)(?::(?P<host>{_HOST}):(?P<to>\d+))?")


@dataclass(frozen=True, slots=True)
class Forward:
    """A port that leads through a connection.

    Attributes:
        kind: `local`: a port here leads to an address as the host sees it; `remote`: a port of the host leads to an address as
            this machine sees it; `socks`: a port here leads to wherever its user says, as the host sees it.
        bind: Address that listens.
        port: Port that listens; 0 for any that is free.
        host: Where it leads to; empty for `socks`.
        to_port: Which port there; 0 for `socks`.
    """

    kind: ForwardKind
    bind: str
    port: int
    host: str = ""
    to_port: int = 0

    def text(self, target: str, port: int) -> str:
        """The way of the data, with the port that really listens."""
        listens = f"{self.bind}:{port}"
        if self.kind == "remote":
            return f"{target} {listens} → {self.host}:{self.to_port}"
        return f"{listens} → {target} {self.host}:{self.to_port}" if self.host else f"{listens} → {target} (SOCKS)"


def read_forward(kind: ForwardKind, given: object) -> Forward:
    """A forward as `ssh -L`, `-R` and `-D` write it: `[BIND:]PORT:HOST:HOSTPORT`; `PORT` alone leads to the same port of the other side.

    Raises:
        OptionError: it is none.

    Example:
        >>> read_forward("local", "15432:db.internal:5432")
        Forward(kind='local', bind='127.0.0.1', port=15432, host='db.internal', to_port=5432)
        >>> read_forward("local", 5432).host, read_forward("socks", "1080").bind
        ('localhost', '127.0.0.1')
    """
    form = "[BIND:]PORT" if kind == "socks" else "PORT, or [BIND:]PORT:HOST:HOSTPORT"
    if isinstance(given, bool) or not isinstance(given, (int, str)):
        raise OptionError(f"{kind}: {given!r} is no port; write {form}")
    found = _FORWARD.fullmatch(str(given).strip())
    if found is None:
        raise OptionError(f"{kind}: {given!r} names no ports; write {form}")
    bind, port = found["bind"] or "", int(found["port"])
    if kind == "socks" and found["host"]:
        raise OptionError(f"socks: {given!r} says where it leads to, which its user does; write {form}")
    host = "" if kind == "socks" else (found["host"] or "localhost").strip("[]")
    to_port = 0 if kind == "socks" else int(found["to"] or port)
    for each in (port, to_port):
        if each > 65535:
            raise OptionError(f"{kind}: there is no port {each}")
    if kind != "socks" and not to_port:
        raise OptionError(f"{kind}: a free port needs a place to lead to; write 0:HOST:HOSTPORT")
    return Forward(kind, bind.strip("[]") or LOOPBACK[kind], port, host, to_port)
