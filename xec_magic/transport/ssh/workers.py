"""`FarWorkers`: commands on hosts in shells that were started ahead."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import asyncssh

from xec_magic.command import Command, Target
from xec_magic.errors import SpawnError
from xec_magic.transport.base import StartRequest
from xec_magic.transport.shells import shows_its_begin
from xec_magic.transport.ssh.hosts import Host
from xec_magic.transport.ssh.process import SSHProcess
from xec_magic.transport.ssh.remote import Launch, launch
from xec_magic.transport.ssh.shellpool import WaitingShells
from xec_magic.transport.ssh.waiting import ROOM_BYTES, Kind, WaitingShell, kind_of
from xec_magic.transport.worker import PoolEntry

__all__ = ["FarWorkers"]

CLOSE_S: Final = 1.0  # a channel that was let go is closed after one round trip


class FarWorkers:
    """The waiting shells on all hosts. All methods run on the loop's thread.

    Args:
        process: Makes what stands for a command, by its request, how it is started, and the mark of its processes.
    """

    def __init__(self, process: Callable[[StartRequest, Launch, str], SSHProcess]) -> None:
        self._process = process
        self._shells: dict[Target, WaitingShells] = {}

    def of(self, host: Host) -> WaitingShells:
        """Those on a host."""
        shells = self._shells.get(host.target)
        if shells is None:
            shells = self._shells[host.target] = WaitingShells(host)
        return shells

    async def start(self, host: Host, request: StartRequest, mark: str) -> SSHProcess | None:
        """Start a command in a shell that waits for it; None where there is none, or the command needs another start.

        Raises:
            SpawnError: it cannot be started; the message says why.
            TransportError: the host cannot be reached.
        """
        command, shells = request.command, self.of(host)
        if request.stdin_fd is not None or request.stdout_fd is not None:
            return None  # where a waiting shell has just ended, they could not be given to another start
        if shows_its_begin(command.script) and not command.rc:
            return None
        kind = await self._kind(host, command)
        if request.weighed and kind.shell:  # its shell has no parent that could tell what it has used
            if not kind.rc:
                return None
            request = replace(request, weighed=False)
        begin = launch(command, mark, host.has_bash, weighed=request.weighed, inside=bool(kind.shell))
        if len(begin.typed) > ROOM_BYTES and not kind.rc:
            return None
        while True:
            shell = shells.take(kind)
            if shell is None and not kind.rc:
                return None
            process = await self._run_in(shell or await shells.make(kind), request, begin, mark)
            if process is not None:
                if process.begun is not None:
                    host.has_bash = process.begun.has_bash
                return process

    async def _kind(self, host: Host, command: Command) -> Kind:
        if (command.login or command.rc) and not command.shell:
            await host.knows_bash()
        kind = kind_of(command, has_bash=host.has_bash is not False)
        if command.rc and not kind.rc:
            raise SpawnError(f"{host.target}: rc: there is no bash, which would read the start-up text")
        return kind

    async def _run_in(self, shell: WaitingShell, request: StartRequest, begin: Launch, mark: str) -> SSHProcess | None:
        """The command in a waiting shell; None where that had ended, and nothing has run."""
        process = self._process(request, begin, mark)
        shell.give(process, begin.typed)
        try:
            await process.begin()
        except (SpawnError, asyncssh.Error):
            if process.refused:
                process.close()
                raise
            if not shell.cut:
                return None  # what it says comes in order: without a word of the command none has begun
            process.lose(f"the connection to {process.host} was lost in the moment in which the command was to begin")
        return process

    async def reserve(self, host: Host, command: Command, size: int) -> None:
        """Keep so many more shells ready for commands like this one; fewer with a negative number.

        Raises:
            TransportError: the host cannot be reached.
        """
        if size > 0:
            await host.warm()
        self.of(host).reserve(await self._kind(host, command), size)

    def pool(self) -> list[PoolEntry]:
        """They, for a table."""
        return [entry for shells in self._shells.values() for entry in shells.pool()]

    async def end_idle(self, targets: Sequence[Target] | None = None) -> None:
        """End those that wait on these hosts, or on all, and see that their channels are closed."""
        ending: list[WaitingShell] = []
        for target, shells in self._shells.items():
            if targets is None or target in targets:
                ending += shells.idle
                shells.end_idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await asyncio.gather(*(shell.closed() for shell in ending))

    def close(self) -> None:
        """End all of them."""
        for shells in self._shells.values():
            shells.close()
        self._shells.clear()
