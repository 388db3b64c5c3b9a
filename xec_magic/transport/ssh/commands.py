"""`Commands`: those that run on hosts, each on a channel of its own: how they get there, and how their processes are reached."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import asyncssh

from xec_magic.command import Target
from xec_magic.errors import ConnectError, SpawnError
from xec_magic.events import ProcessInfo
from xec_magic.transport.base import Process, Sampler, StartRequest
from xec_magic.transport.ssh.ahead import Gone, Unused
from xec_magic.transport.ssh.connection import Lease
from xec_magic.transport.ssh.hosts import Host
from xec_magic.transport.ssh.living import living_line, read_living
from xec_magic.transport.ssh.pipeends import PipeEnds
from xec_magic.transport.ssh.process import SSHProcess
from xec_magic.transport.ssh.quoted import quoted
from xec_magic.transport.ssh.reading import tree_line
from xec_magic.transport.ssh.remote import Launch, launch
from xec_magic.transport.ssh.sampler import HostSampler
from xec_magic.transport.ssh.scripts import bring_script, forget_script

__all__ = ["Commands"]


class Commands:
    """All commands on hosts but those in sessions. All methods run on the loop's thread.

    Args:
        kernel_id: Begin of the mark by which their processes are known.
        host: Gives the connections to a target.
    """

    def __init__(self, kernel_id: str, host: Callable[[Target], Host]) -> None:
        self.processes: set[SSHProcess] = set()
        self._kernel_id = kernel_id
        self._host = host

    async def start(self, request: StartRequest) -> Process:
        """Start a command on a channel.

        Raises:
            SpawnError: it cannot be started on the host; the message says why.
            TransportError: the host cannot be reached, trusted or logged in to.
        """
        host = self._host(request.command.target)
        ends = PipeEnds(request)
        uploaded = ""
        try:
            uploaded = await bring_script(host, request.command)
            return await self._start(host, request, ends, uploaded)
        except BaseException:
            ends.close()
            if uploaded:
                forget_script(host, uploaded)
            raise

    def mark(self, request: StartRequest) -> str:
        """Value of `XEC_RUN_ID` of a command."""
        return f"{self._kernel_id}.{request.run_id}.ssh"

    def by_waiting(self, request: StartRequest, begin: Launch, mark: str) -> SSHProcess:
        """A command for a shell that waits, on a channel that is given back by whoever has it."""

        def ended() -> None:
            self.processes.discard(process)
            host.occupy(-1)

        host = self._host(request.command.target)
        host.occupy(+1)
        host.stir()  # its end is told before its channel is closed: a shell that waits now could have the next command by then
        process = SSHProcess(request, PipeEnds(request), begin, mark, self._control, ended, self._sampler)
        process.own_login = False
        self.processes.add(process)
        return process

    async def _start(self, host: Host, request: StartRequest, ends: PipeEnds, uploaded: str) -> Process:
        lease = await host.lease()
        replaced = False
        while True:
            mark = self.mark(request)
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
                lease = host.other(lease)
            except Unused:
                host.shells_fail()
                lease = await host.lease()
            except (asyncssh.ConnectionLost, asyncssh.DisconnectError, OSError) as error:
                # Nothing was confirmed, so nothing has run: a connection that had died unnoticed is replaced, once.
                if replaced:
                    raise ConnectError(
                        f"{host.target}: the connection was lost before the command began: {quoted(error)}"
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
            self.processes.discard(process)
            if ran:
                host.give_back(lease, ran=True)

        process = SSHProcess(request, ends, begin, mark, self._control, ended, self._sampler)
        process.by_waiting = lease.ahead is not None and lease.ahead.has_shell
        process.own_login = not process.by_waiting
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
            self.processes.add(process)
        try:
            await process.begin()
        except (asyncio.CancelledError, Unused):  # of the second the next try gets the descriptors
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

    async def _control(self, process: SSHProcess, signals: Sequence[str]) -> list[ProcessInfo]:
        """Signal a command's processes by a channel of its own; those that live then."""
        if process.begun is None:
            return []
        host = self._host(process.target)
        asked = living_line(process.begun, process.run_mark, signals)
        done = await host.helper(asked)
        found = read_living(done.stdout, asked.mark)
        if found is None:
            raise ConnectError(
                f"{host.target}: it did not say what still runs: {done.stderr.decode('utf-8', 'replace').strip()[:200]}"
            )
        return found

    def _sampler(self, process: SSHProcess) -> Sampler | None:
        """What reads the use of a command."""
        if process.begun is None:
            return None
        line = tree_line(process.begun, process.run_mark, weighed=process.weighed)
        return HostSampler(self._host(process.target), line, process.run_id, process.started_at)

    def ending(self) -> list[Coroutine[Any, Any, None]]:
        """Kill all that run; what waits until that has been done, as far as their hosts can be reached."""
        living = [process for process in self.processes if process.exit is None and process.begun is not None]
        for process in living:
            process.send_signal(9)
        return [process.look() for process in living]

    def close(self) -> None:
        """Let go of all of them."""
        for process in [*self.processes]:
            process.close()


def _is_null(fd: int | None) -> bool:
    """It is `/dev/null`: what is to go there need not travel first."""
    return fd is not None and os.fstat(fd).st_rdev == os.stat(os.devnull).st_rdev
