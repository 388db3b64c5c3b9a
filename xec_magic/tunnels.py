"""Ports forwarded to hosts and from them: `tunnel`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from xec_magic import runtime
from xec_magic.command import Target
from xec_magic.errors import OptionError
from xec_magic.forward import ForwardKind, read_forward
from xec_magic.optionspec import nearest, what_there_is

if TYPE_CHECKING:
    from xec_magic.engine.executor import Executor
    from xec_magic.transport.ssh import SSHTransport
    from xec_magic.transport.ssh.tunnel import TunnelLink

__all__ = ["Tunnel", "close_tunnels", "tunnel", "tunnels"]


class Tunnel:
    """A port that leads through an SSH connection of its own, until it is closed; a context manager. `tunnel` makes one.

    Attributes:
        name: By which `%xec_tunnel close` knows it.
    """

    def __init__(self, name: str, link: TunnelLink, executor: Executor) -> None:
        self.name = name
        self._link = link
        self._executor = executor

    @property
    def port(self) -> int:
        """The port that listens: here, or with `remote` on the host."""
        return self._link.port

    @property
    def bind(self) -> str:
        """The address that listens."""
        return self._link.forward.bind

    @property
    def target(self) -> str:
        """Through which host."""
        return self._link.target.name

    @property
    def kind(self) -> ForwardKind:
        """`local`, `remote` or `socks`."""
        return self._link.forward.kind

    @property
    def state(self) -> str:
        """`open`, `lost` when its connection was lost, or `closed`."""
        return self._link.state

    @property
    def connections(self) -> int | None:
        """How many have been made through it; None where nobody counts, which is with `remote`."""
        return None if self.kind == "remote" else self._link.connections

    @property
    def trouble(self) -> str:
        """Why the last connection that could not go through it could not; empty for none."""
        return self._link.trouble

    @property
    def way(self) -> str:
        """From where to where."""
        return self._link.forward.text(self.target, self.port)

    def close(self) -> None:
        """Close it, and cut what goes through it. A second call does nothing."""
        if self._executor.is_open:

            async def on_the_loop(ssh: SSHTransport) -> None:
                ssh.tunnels.pop(self.name, None)
                await self._link.close()

            self._executor.ssh_call(on_the_loop)

    def __enter__(self) -> Tunnel:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Tunnel:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(self.close)

    def __repr__(self) -> str:
        return f"<Tunnel {self.name}: {self.way}, {self.state}>"


def tunnel(
    on: str | Target,
    local: int | str | None = None,
    *,
    remote: int | str | None = None,
    socks: int | str | None = None,
    name: str = "",
) -> Tunnel:
    """Forward a port through a host; gives the tunnel when it is open.

    Only this machine can use what listens here, and with `remote` only the host, unless an address to listen on says otherwise:
    `"0.0.0.0:8080:localhost:80"`. Port 0 is any that is free; `.port` says which.

    Args:
        on: The host, as `--on` takes it.
        local: A port here that leads to an address as the host sees it: `"15432:db.internal:5432"`; a number alone leads to the
            same port of the host itself.
        remote: A port of the host that leads to an address as this machine sees it.
        socks: A port here that is a SOCKS proxy, versions 4 and 5, through the host.
        name: What to call it; by default the host and the port.

    Raises:
        TunnelError: the port is in use, or the server does not allow it.
        TransportError: the host cannot be reached.
        OptionError: it is not clear what to forward; nothing was done.
    """
    asked: list[tuple[ForwardKind, int | str]] = []
    for kind, value in (("local", local), ("remote", remote), ("socks", socks)):
        if value is not None:
            asked.append((kind, value))  # type: ignore[arg-type]  # the three kinds
    if len(asked) != 1:
        raise OptionError("say what to forward by one of local, remote and socks, such as xec.tunnel('db1', 5432)")
    forward = read_forward(*asked[0])
    now = runtime.current()
    target = now.settings.inventory().one(on)
    if target.kind != "ssh":
        raise OptionError(f"a tunnel leads through a host, which {target} is not")
    executor = now.executor

    async def on_the_loop(ssh: SSHTransport) -> tuple[str, TunnelLink]:
        known = ssh.tunnels.get(name)
        if known is not None and known.state == "open":
            raise OptionError(f"there is a tunnel {name!r} already; close it by %xec_tunnel close {name}")
        link = await ssh.open_tunnel(target, forward)
        chosen = name or _free_name(ssh, target, link.port)
        ssh.tunnels[chosen] = link
        return chosen, link

    return Tunnel(*executor.ssh_call(on_the_loop), executor)


def _free_name(ssh: SSHTransport, target: Target, port: int) -> str:
    name = base = f"{target.name}:{port}"
    number = 2
    while name in ssh.tunnels and ssh.tunnels[name].state == "open":
        name = f"{base}-{number}"
        number += 1
    return name


def tunnels() -> list[Tunnel]:
    """All tunnels of this kernel that are open, and those whose connection was lost and that nobody has closed."""
    executor = runtime.current().executor
    if not executor.transports.has_ssh:
        return []
    return [Tunnel(name, link, executor) for name, link in [*executor.transports.ssh.tunnels.items()]]


def close_tunnels(names: list[str]) -> list[str]:
    """Close these tunnels, or with `all` all of them; gives the names of those that were closed.

    Raises:
        OptionError: there is none of this name.
    """
    known = {each.name: each for each in tunnels()}
    if names == ["all"]:
        names = [*known]
    for name in names:
        if name not in known:
            hint = nearest(name, known) or what_there_is(known)
            raise OptionError(f"there is no tunnel {name!r}; {hint}")
    for name in names:
        known[name].close()
    return names
