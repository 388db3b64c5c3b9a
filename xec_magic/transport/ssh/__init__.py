"""Commands on hosts reached by SSH: `SSHTransport`. asyncssh is imported with this package, on first use."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Final

import asyncssh

from xec_magic.command import Command, Target
from xec_magic.errors import ConnectError, SpawnError, TransportError
from xec_magic.events import ProcessInfo
from xec_magic.forward import Forward
from xec_magic.transport.base import Process, Sampler, StartRequest
from xec_magic.transport.pool import PoolLimits
from xec_magic.transport.ssh.ahead import Ahead, Gone, Unused
from xec_magic.transport.ssh.connect import Connector
from xec_magic.transport.ssh.connection import Lease
from xec_magic.transport.ssh.hosts import Host
from xec_magic.transport.ssh.kept.sessions import FarSessions
from xec_magic.transport.ssh.links import Row
from xec_magic.transport.ssh.login import Ask, nobody_to_ask
from xec_magic.transport.ssh.pipeends import PipeEnds
from xec_magic.transport.ssh.process import SSHProcess
from xec_magic.transport.ssh.reading import machine_line, tree_line
from xec_magic.transport.ssh.remote import (
    Launch,
    launch,
    living_line,
    long_script,
    read_answer,
    read_living,
    upload_line,
)
from xec_magic.transport.ssh.sampler import HostSampler
from xec_magic.transport.ssh.sftp import SftpFiles, sftp_files
from xec_magic.transport.ssh.tunnel import TunnelLink, open_tunnel
from xec_magic.transport.ssh.workers import FarWorkers

__all__ = ["PoolLimits", "Row", "SSHTransport"]

# asyncssh says at every connection what it does; who wants to read that sets the level himself.
logging.getLogger("asyncssh").setLevel(logging.WARNING)

UPLOAD_S: Final = 600.0
PINGS: Final = 100  # at once


class SSHTransport:
    """Runs commands on hosts, over connections that are kept.

    Args:
        kernel_id: Unlike that of any other executor: what strays is known by it.
        ask: Asks the user for a passphrase or a password.
        limits: How many connections a host gets, and for how long.
    """

    def __init__(self, kernel_id: str, ask: Ask = nobody_to_ask, limits: PoolLimits | None = None) -> None:
        self._kernel_id = kernel_id
        self._limits = limits or PoolLimits()
        self._connector = Connector(ask)
        self._hosts: dict[Target, Host] = {}
        self._waiting: set[Ahead] = set()  # shells, on all hosts
        self._processes: set[SSHProcess] = set()
        self.tunnels: dict[str, TunnelLink] = {}
        self.sessions = FarSessions(kernel_id)
        self.workers = FarWorkers(self._made)

    def host(self, target: Target) -> Host:
        """The connections to a target."""
        host = self._hosts.get(target)
        if host is None:
            host = self._hosts[target] = Host(target, self._connector, self._limits, self._waiting)
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
        ends = PipeEnds(request)
        uploaded = ""
        try:
            if request.command.worker:
                process = await self.workers.start(host, request, self._mark(request))
                if process is not None:
                    return process
            uploaded = await self._bring_script(host, request.command)
            started = await self._start(host, request, ends, uploaded)
            if request.command.worker:
                self.workers.of(host).look_soon()  # now there is a connection on which shells can wait
            return started
        except BaseException:
            ends.close()
            if uploaded:
                self._forget_script(host, uploaded)
            raise

    def _mark(self, request: StartRequest) -> str:
        return f"{self._kernel_id}.{request.run_id}.ssh"

    def _made(self, request: StartRequest, begin: Launch, mark: str) -> SSHProcess:
        """A process on a channel that is given back by whoever has it."""

        def ended() -> None:
            self._processes.discard(process)
            host.occupy(-1)

        host = self.host(request.command.target)
        host.occupy(+1)
        host.stir()  # its end is told before its channel is closed: a shell that waits now could have the next command by then
        process = SSHProcess(request, PipeEnds(request), begin, mark, self._control, ended, self._sampler)
        self._processes.add(process)
        return process

    async def _start(self, host: Host, request: StartRequest, ends: PipeEnds, uploaded: str) -> Process:
        lease = await host.lease()
        replaced = False
        while True:
            mark = self._mark(request)
            begin = launch(
                request.command, mark, host.has_bash, uploaded,
                piped=request.stdin_fd is not None, silent=_is_null(request.stdout_fd), weighed=request.weighed,
            )  # fmt: skip
            try:
                process = await self._on_lease(host, lease, request, ends, begin, mark)
            except asyncssh.ChannelOpenError as error:
                if error.code == asyncssh.OPEN_REQUEST_SESSION_FAILED:
                    host.give_back(lease)
                    raise SpawnError(f"{host.target}: the server runs no commands for this user") from error
                lease = await host.again(lease, error)
            except Gone:  # opened ahead, and closed before anything was started on it: nobody need know
                lease = replace(lease, ahead=None)
            except Unused:
                host.shells_fail()
                lease = await host.lease()
            except (asyncssh.ConnectionLost, asyncssh.DisconnectError, OSError) as error:
                # Nothing was confirmed, so nothing has run: a connection that had died unnoticed is replaced, once.
                if replaced:
                    raise ConnectError(
                        f"{host.target}: the connection was lost before the command began: {error}"
                    ) from error
                replaced = True
                lease = await host.lease()
            else:
                if process.begun is not None:
                    host.has_bash = process.begun.has_bash
                return process

    async def _on_lease(
        self, host: Host, lease: Lease, request: StartRequest, ends: PipeEnds, begin: Launch, mark: str
    ) -> SSHProcess:
        """The command on its channel, its shell there.

        Raises:
            asyncssh.ChannelOpenError: the server refused the channel.
            SpawnError: the command cannot be started; the lease is given back.
            Unused: the shell that waited has read nothing; the lease is given back.
        """
        ran = over = False

        def ended() -> None:
            nonlocal over
            over = True
            self._processes.discard(process)
            if ran:
                host.give_back(lease, ran=True)

        process = SSHProcess(request, ends, begin, mark, self._control, ended, self._sampler)
        process.by_waiting = lease.ahead is not None and lease.ahead.has_shell
        opening = asyncio.ensure_future(lease.connection.run(process, begin, lease.ahead))
        try:
            await asyncio.shield(opening)
        except (asyncssh.ChannelOpenError, Gone):
            raise
        except (asyncssh.Error, OSError):
            host.give_back(lease)
            raise
        except asyncio.CancelledError:
            opening.add_done_callback(lambda done: self._abandon(host, lease, process, done))
            raise
        ran = True
        host.confirmed(lease)
        if over:  # it was so short that its channel has closed before we were told that it is open
            host.give_back(lease, ran=True)
        else:
            self._processes.add(process)
        process.feed()
        try:
            await process.ready()
        except asyncio.CancelledError:
            process.abandon()
            raise
        except Unused:  # the next try gets the descriptors
            raise
        except BaseException:
            process.close()
            raise
        return process

    def _abandon(self, host: Host, lease: Lease, process: SSHProcess, opening: asyncio.Future[None]) -> None:
        """Nobody waits for this command any more: end what was started nevertheless."""
        if opening.cancelled() or opening.exception() is not None:
            host.give_back(lease)
        else:
            host.confirmed(lease)
            process.when_closed(lambda: host.give_back(lease, ran=True))
            process.abandon()

    # -- scripts that no line holds -------------------------------------------------------------------------

    async def _bring_script(self, host: Host, command: Command) -> str:
        """Put a script that is too long for a line into a file of the host; its path, or nothing."""
        script = long_script(command, host.has_bash is not False)
        if script is None:
            return ""
        if host.has_bash is None:
            script = long_script(command, await host.knows_bash()) or b""
        sent = upload_line()
        done = await host.helper(sent, script, seconds=UPLOAD_S)
        path = read_answer(done.stdout, sent.mark)
        if not path:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise SpawnError(
                f"{host.target}: cannot bring a script of {len(script):,} bytes there: {said[-1] if said else 'no answer'}"
            )
        return path

    def _forget_script(self, host: Host, path: str) -> None:
        # It may be there still when the command has not begun; nobody waits for that.
        gone = launch(Command('rm -f -- "$F"', strict=False, env=(("F", path),)), "none", has_bash=False)
        task = asyncio.ensure_future(host.helper(gone))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    # -- reaching what runs -----------------------------------------------------------------------------------

    async def _control(self, process: SSHProcess, signals: Sequence[str]) -> list[ProcessInfo]:
        """Signal a command's processes by a channel of its own; those that live then."""
        if process.begun is None:
            return []
        host = self.host(process.target)
        asked = living_line(process.begun, process.run_mark, signals)
        done = await host.helper(asked)
        found = read_living(done.stdout, asked.mark)
        if found is None:
            raise ConnectError(
                f"{host.target}: it did not say what still runs: {done.stderr.decode('utf-8', 'replace').strip()[:200]}"
            )
        return found

    def files(self, target: Target) -> AbstractAsyncContextManager[SftpFiles]:
        """The files of a host, for a block; see `sftp_files`."""
        return sftp_files(self.host(target))

    async def open_tunnel(self, target: Target, forward: Forward) -> TunnelLink:
        """A tunnel, open; see `open_tunnel` of the module. Whoever asks keeps it in `tunnels`, so that it is closed at the end."""
        return await open_tunnel(self._connector, target, forward)

    # -- watching ---------------------------------------------------------------------------------------------

    def _sampler(self, process: SSHProcess) -> Sampler | None:
        """What reads the use of a command."""
        if process.begun is None:
            return None
        line = tree_line(process.begun, process.run_mark, weighed=process.weighed)
        return HostSampler(self.host(process.target), line, process.run_id, process.started_at)

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
        living = [process for process in self._processes if process.exit is None and process.begun is not None]
        for process in living:
            process.send_signal(9)
        ending = [process.look() for process in living] + self.sessions.ending()
        if ending:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await asyncio.gather(*ending, return_exceptions=True)
        self.sessions.close()
        self.workers.close()
        for process in [*self._processes]:
            process.close()
        await asyncio.gather(*(link.close() for link in self.tunnels.values()))
        await asyncio.gather(*(host.close() for host in self._hosts.values()))
        self._hosts.clear()
        self._connector.close()
        await asyncio.sleep(0)  # what was cut lets go of its sockets at the loop's next turn

    def __repr__(self) -> str:
        rows = self.rows()
        return f"<SSHTransport {len(rows)} connections to {len({row.host for row in rows})} hosts, {len(self._processes)} commands>"


def _is_null(fd: int | None) -> bool:
    """It is `/dev/null`: what is to go there need not travel first."""
    return fd is not None and os.fstat(fd).st_rdev == os.stat(os.devnull).st_rdev
