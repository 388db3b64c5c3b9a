"""Commands on hosts reached by SSH: `SSHTransport`. asyncssh is imported with this package, on first use."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

from xec_magic.command import Target
from xec_magic.errors import TransportError
from xec_magic.forward import Forward
from xec_magic.transport.base import Process, Sampler, StartRequest
from xec_magic.transport.pool import PoolLimits
from xec_magic.transport.ssh.commands import Commands
from xec_magic.transport.ssh.connect import Connector
from xec_magic.transport.ssh.hosts import Host
from xec_magic.transport.ssh.kept.sessions import FarSessions
from xec_magic.transport.ssh.links import Crowd, Row
from xec_magic.transport.ssh.login import Ask, nobody_to_ask
from xec_magic.transport.ssh.reading import machine_line
from xec_magic.transport.ssh.sampler import HostSampler
from xec_magic.transport.ssh.sftp import SftpFiles, sftp_files
from xec_magic.transport.ssh.tunnel import TunnelLink, open_tunnel
from xec_magic.transport.ssh.workers import FarWorkers

__all__ = ["PoolLimits", "Row", "SSHTransport"]

# asyncssh says at every connection what it does; who wants to read that sets the level himself.
logging.getLogger("asyncssh").setLevel(logging.WARNING)

PINGS: Final = 100  # at once


class SSHTransport:
    """Runs commands on hosts, over connections that are kept.

    Args:
        kernel_id: Unlike that of any other executor: what strays is known by it.
        ask: Asks the user for a passphrase or a password.
        limits: How many connections a host gets, and for how long.
    """

    def __init__(self, kernel_id: str, ask: Ask = nobody_to_ask, limits: PoolLimits | None = None) -> None:
        self._limits = limits or PoolLimits()
        self._connector = Connector(ask)
        self._hosts: dict[Target, Host] = {}
        self._crowd = Crowd()
        self._commands = Commands(kernel_id, self.host)
        self.tunnels: dict[str, TunnelLink] = {}
        self.sessions = FarSessions(kernel_id)
        self.workers = FarWorkers(self._commands.by_waiting)

    def host(self, target: Target) -> Host:
        """The connections to a target."""
        host = self._hosts.get(target)
        if host is None:
            host = self._hosts[target] = Host(target, self._connector, self._limits, self._crowd)
        return host

    async def start(self, request: StartRequest) -> Process:
        """Start a command.

        Raises:
            SpawnError: it cannot be started on the host; the message says why.
            TransportError: the host cannot be reached, trusted or logged in to.
        """
        host = self.host(request.command.target)
        if request.command.session:
            return await self.sessions.start(host, request)
        if not request.command.worker:
            return await self._commands.start(request)
        process = await self.workers.start(host, request, self._commands.mark(request))
        if process is not None:
            return process
        started = await self._commands.start(request)
        self.workers.of(host).look_soon()  # now there is a connection on which shells can wait
        return started

    def files(self, target: Target) -> AbstractAsyncContextManager[SftpFiles]:
        """The files of a host, for a block; see `sftp_files`."""
        return sftp_files(self.host(target))

    async def open_tunnel(self, target: Target, forward: Forward) -> TunnelLink:
        """A tunnel, open; see `open_tunnel` of the module. Whoever asks keeps it in `tunnels`, so that it is closed at the end."""
        return await open_tunnel(self._connector, target, forward)

    # -- watching ---------------------------------------------------------------------------------------------

    def machine_sampler(self, target: Target) -> Sampler:
        """What reads the use of a whole host."""
        return HostSampler(self.host(target), machine_line(), "", lingers=True)

    # -- the pool ---------------------------------------------------------------------------------------------

    def rows(self) -> list[Row]:
        """All connections, for a table."""
        return [row for host in self._hosts.values() for row in host.links.rows()]

    async def accept(self, target: Target, fingerprint: str) -> str:
        """Take the key of a host of which none is known, if it has this fingerprint; says which, empty if it was known.

        Raises:
            TransportError: it cannot be reached, shows another key, or does not let us in.
        """
        opened = await self._connector.open(target, accept=fingerprint)
        opened.connection.close()
        return opened.accepted

    async def ping(self, targets: Sequence[Target]) -> list[float | TransportError]:
        """How many seconds it takes to connect to each and log in, or why that fails. Makes connections of its own."""

        async def one(target: Target) -> float | TransportError:
            try:
                opened = await self._connector.open(target)
            except TransportError as error:
                return error
            opened.connection.close()
            return opened.seconds

        gate = asyncio.Semaphore(PINGS)

        async def bounded(target: Target) -> float | TransportError:
            async with gate:
                return await one(target)

        return await asyncio.gather(*map(bounded, targets))

    async def warm(self, targets: Sequence[Target]) -> None:
        """Connect to all of these ahead.

        Raises:
            TransportError: one of them cannot be reached; the others are connected.
        """
        found = await asyncio.gather(*(self.host(target).warm() for target in targets), return_exceptions=True)
        for each in found:
            if isinstance(each, BaseException):
                raise each

    async def reach(self, targets: Sequence[Target]) -> list[TransportError | None]:
        """Connect to each of these ahead; for each why that fails, or None."""

        async def one(target: Target) -> TransportError | None:
            try:
                await self.host(target).warm()
            except TransportError as error:
                return error
            return None

        return await asyncio.gather(*map(one, targets))

    async def drain(self, targets: Sequence[Target] | None = None) -> None:
        """Wait for what runs on these, or all, hosts; then close their connections. When it is cancelled, they take commands again."""
        hosts = [host for target, host in self._hosts.items() if targets is None or target in targets]
        for host in hosts:
            host.book.drain()
        try:
            await self.sessions.end_idle([host.target for host in hosts])
            for host in hosts:
                host.begin_drain()
            for host in hosts:  # no gather: when this is cancelled, the next command must not come before the `finally`
                await host.drain()
        finally:
            for host in hosts:
                host.book.draining = False

    async def close_unused(self, targets: Sequence[Target] | None = None) -> tuple[int, int]:
        """Close the connections to these, or all, hosts on which nothing runs; each other one when its last command ends.

        Returns:
            How many were closed, and how many will be.
        """
        hosts = [host for target, host in self._hosts.items() if targets is None or target in targets]
        await self.workers.end_idle([host.target for host in hosts])
        counts = [host.retire() for host in hosts]
        return sum(closed for closed, _ in counts), sum(busy for _, busy in counts)

    async def close(self, within_s: float) -> None:
        """Cut all connections; commands that still run are killed, as far as their hosts can be reached in time."""
        ending = [*self._commands.ending(), *self.sessions.ending()]
        if ending:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await asyncio.gather(*ending, return_exceptions=True)
        self.sessions.close()
        self.workers.close()
        self._commands.close()
        await asyncio.gather(*(link.close() for link in self.tunnels.values()))
        await asyncio.gather(*(host.close() for host in self._hosts.values()))
        self._hosts.clear()
        self._connector.close()
        await asyncio.sleep(0)  # what was cut lets go of its sockets at the loop's next turn

    def __repr__(self) -> str:
        rows = self.rows()
        return f"<SSHTransport {len(rows)} connections to {len({row.host for row in rows})} hosts, {len(self._commands.processes)} commands>"
