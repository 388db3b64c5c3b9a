"""A tunnel: a port that leads through a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import Any, Final, Literal

import asyncssh
from asyncssh.listener import create_socks_listener, create_tcp_forward_listener

from xec_magic.command import Target
from xec_magic.errors import TunnelError
from xec_magic.forward import Forward
from xec_magic.transport.ssh.connect import Connector
from xec_magic.transport.ssh.quoted import quoted

__all__ = ["TunnelLink", "open_tunnel"]

CLOSE_S: Final = 1.0  # for the last words; then it is cut


class TunnelLink:
    """A tunnel that is open, or was. Made on the loop's thread; any thread may read.

    Attributes:
        target: Through which host.
        forward: What was asked for.
        port: What really listens.
        state: `open`, `lost` when its connection was, `closed`.
        connections: How many have gone through it.
        trouble: Why the last one that could not go through it could not; empty for none.
        opened_at: Seconds of the loop's clock.
    """

    def __init__(self, target: Target, forward: Forward, connection: asyncssh.SSHClientConnection) -> None:
        self.target = target
        self.forward = forward
        self.port = 0
        self.state: Literal["open", "lost", "closed"] = "open"
        self.connections = 0
        self.trouble = ""
        self.opened_at = asyncio.get_running_loop().time()
        self._connection = connection
        self._listener: asyncssh.SSHListener | None = None
        self._watching: asyncio.Task[None] | None = None

    async def listen(self) -> None:
        """Begin.

        Raises:
            TunnelError: the port cannot be had.
        """
        forward, connection = self.forward, self._connection
        loop = asyncio.get_running_loop()
        try:
            if forward.kind == "remote":
                self._listener = await connection.forward_remote_port(
                    forward.bind, forward.port, forward.host, forward.to_port
                )
            elif forward.kind == "socks":
                self._listener = await create_socks_listener(
                    connection, loop, self._through_to, forward.bind, forward.port
                )
            else:
                self._listener = await create_tcp_forward_listener(
                    connection, loop, self._through, forward.bind, forward.port
                )
        except asyncssh.ChannelListenError as error:
            raise TunnelError(
                f"{self.target}: the server does not listen on its port {forward.port}: it is in use there, or sshd_config "
                "does not allow it (AllowTcpForwarding, PermitListen)"
            ) from error
        except (OSError, asyncssh.Error) as error:
            raise TunnelError(_words(self.target, forward, error)) from error
        self.port = self._listener.get_port()
        self._watching = asyncio.ensure_future(self._watch())

    async def _through(self, session_factory: Any, orig_host: str, orig_port: int) -> Any:
        return await self._through_to(session_factory, self.forward.host, self.forward.to_port, orig_host, orig_port)

    async def _through_to(self, session_factory: Any, host: str, port: int, orig_host: str, orig_port: int) -> Any:
        self.connections += 1
        try:
            opened = await self._connection.create_connection(session_factory, host, port, orig_host, orig_port)
        except asyncssh.ChannelOpenError as error:
            prohibited = error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED
            why = (
                "the server does not allow it (AllowTcpForwarding, PermitOpen)"
                if prohibited
                else quoted(error.reason).lower()
            )
            self.trouble = f"{host}:{port}: {why}"
            raise
        far: Any = opened[1]
        if getattr(getattr(far, "_peer", None), "_transport", far) is None:
            # Who called has cut his connection meanwhile, and asyncssh would keep the channel, and the host its connection, for ever.
            asyncio.get_running_loop().call_soon(far.close)
        return opened

    async def _watch(self) -> None:
        await self._connection.wait_closed()
        if self.state == "open":
            self.state = "lost"
            self._close_listener()

    def _close_listener(self) -> None:
        if self._listener is not None:
            with contextlib.suppress(Exception):
                self._listener.close()
            self._listener = None

    async def close(self) -> None:
        """Listen no more, and cut what goes through it. A second call does nothing."""
        if self.state == "open":
            self.state = "closed"
            if self.forward.kind != "remote":
                self._close_listener()
            self._connection.close()
            try:
                async with asyncio.timeout(CLOSE_S):
                    await self._connection.wait_closed()
            except TimeoutError:
                self._connection.abort()
        if self._watching is not None:
            self._watching.cancel()


async def open_tunnel(connector: Connector, target: Target, forward: Forward) -> TunnelLink:
    """A tunnel, open. It has a connection of its own: what goes through it holds up no command, and no pool closes it.

    Raises:
        TunnelError: the port cannot be had.
        TransportError: the host cannot be reached.
    """
    opened = await connector.open(target)
    link = TunnelLink(target, forward, opened.connection)
    try:
        await link.listen()
    except BaseException:
        opened.connection.abort()
        raise
    return link


def _words(target: Target, forward: Forward, error: Exception) -> str:
    place = f"port {forward.port} of {forward.bind}"
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return f"{place} is in use; choose another one, or 0 for any that is free"
    if number == errno.EACCES:
        return f"{place} is for root alone; choose one from 1024 on, or 0 for any that is free"
    if isinstance(error, socket.gaierror) or number == errno.EADDRNOTAVAIL:
        return f"{forward.bind} is no address of this machine"
    return f"{target}: {place} cannot be forwarded: {str(error).lower()}"
