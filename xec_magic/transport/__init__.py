"""Ways to run a command on a target; `Transports` is the only registry of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from xec_magic.command import LOCAL, Command, Target
from xec_magic.errors import FileError, SpawnError
from xec_magic.transport.base import Process, Sampler, StartRequest, Transport
from xec_magic.transport.files import FileSystem
from xec_magic.transport.function import FunctionTransport
from xec_magic.transport.here import HereRun
from xec_magic.transport.local import LocalTransport
from xec_magic.transport.localfiles import LocalFiles, Submit
from xec_magic.transport.pool import PoolLimits
from xec_magic.transport.starting import Starting
from xec_magic.transport.worker import PoolEntry, WorkerTransport

if TYPE_CHECKING:
    from xec_magic.transport.ssh import SSHTransport

__all__ = ["Transports"]


class Transports:
    """The transports of one executor. A new kind of target is added here and in `Target.kind`.

    Args:
        kernel_id: Begin of the executor's run ids.
        script_dir: Gives a private directory for long scripts.
        ask: Asks the user for a passphrase or a password; gives None where nobody can be asked.
        ssh_limits: How many connections a host gets, and for how long; None for the usual.
    """

    def __init__(
        self,
        kernel_id: str,
        script_dir: Callable[[], str],
        ask: Callable[[str], Awaitable[str | None]] | None = None,
        ssh_limits: PoolLimits | None = None,
    ) -> None:
        self._local = LocalTransport(kernel_id, script_dir)
        self._functions = FunctionTransport()
        self.workers = WorkerTransport(self._local, kernel_id, script_dir)
        self._kernel_id = kernel_id
        self._ssh: SSHTransport | None = None
        self._ask = ask
        self._ssh_limits = ssh_limits

    def of(self, command: Command) -> Transport:
        """The transport that reaches a command's target, in the way that the command asks for."""
        if command.target.kind == "function":
            return self._functions
        if command.target.kind == "fake":
            from xec_magic.transport import fake  # for tests and documentation: not imported for others

            return fake.transport_of(command.target)
        if command.target.kind == "ssh":
            return self.ssh
        return self.workers if command.worker or command.session else self._local

    @property
    def ssh(self) -> SSHTransport:
        """Commands on hosts. On the loop's thread; the first use takes some 100 ms, for asyncssh."""
        if self._ssh is None:
            from xec_magic.transport.ssh import SSHTransport

            ask = {} if self._ask is None else {"ask": self._ask}
            self._ssh = SSHTransport(self._kernel_id, limits=self._ssh_limits, **ask)
        return self._ssh

    @asynccontextmanager
    async def files(self, target: Target, submit: Submit) -> AsyncIterator[FileSystem]:
        """The files of a target, for a block.

        Args:
            target: This machine, or a host.
            submit: Calls a function in a thread, soon.

        Raises:
            TransportError: the host cannot be reached, or has no SFTP.
        """
        if target.kind == "ssh":
            async with self.ssh.files(target) as remote:
                yield remote
        elif target.kind == "local":
            yield LocalFiles(submit)
        else:
            raise FileError(f"{target}: it has no files")

    @property
    def has_ssh(self) -> bool:
        """SSH has been used."""
        return self._ssh is not None

    def turn(self, command: Command) -> asyncio.Lock | None:
        """What a command must hold while it runs; None where it need not wait for others of its kind."""
        if not command.session or command.target.kind not in ("local", "ssh"):
            return None
        return self.workers.turn(command) if command.target.kind == "local" else self.ssh.sessions.turn(command)

    def way_maker(self, command: Command) -> Coroutine[Any, Any, None] | None:
        """What ends the command that runs where this one wants a new shell; None where it need not, or nothing runs."""
        turn = self.turn(command) if command.reset else None
        if turn is None or not turn.locked():
            return None
        local = command.target.kind == "local"
        return self.workers.make_way(command.session) if local else self.ssh.sessions.make_way(command)

    def start_now(self, request: StartRequest) -> Process | None:
        """Start a command without any waiting, where a warm shell is there for it; None where `start` is needed."""
        command = request.command
        warm = command.target.kind == "local" and (command.worker or command.session)
        return self.workers.start_now(request) if warm else None

    def post(self, request: StartRequest, started: Callable[[Process | SpawnError], None]) -> Starting | None:
        """Ask for a plain command of this machine to be started, without any waiting; None for others, which need `start`.

        Args:
            request: What to start.
            started: Called with the process, or with the reason why there is none.

        Raises:
            SpawnError: it cannot even be asked for.
        """
        command = request.command
        plain = command.target.kind == "local" and not (command.worker or command.session)
        return self._local.post(request, started) if plain else None

    def lend(self, command: Command, new_id: Callable[[], str]) -> HereRun | None:
        """Begin a command of this machine from any thread but the loop's; None when that must be the loop's business, and nothing
        has happened.

        Args:
            command: What to run.
            new_id: Gives an id for its run, where its processes are known by one.
        """
        warm = command.worker or command.session
        return self.workers.lend(command) if warm else self._local.lend(command, new_id)

    async def pool(self) -> list[PoolEntry]:
        """The shells that are kept ready."""
        there = [] if self._ssh is None else self._ssh.sessions.pool() + self._ssh.workers.pool()
        return self.workers.pool() + there

    async def stop(self, name: str) -> None:
        """End what is kept under a name, here and on hosts, with all that it has left."""
        if self._ssh is not None:
            await self._ssh.sessions.stop(name)
        if name in self.workers.sessions:
            await self.workers.stop(name)

    async def end_idle(self) -> None:
        """End what is kept ready without a name."""
        self.workers.spares.end_idle()
        if self._ssh is not None:
            await self._ssh.workers.end_idle()

    async def reserve(self, command: Command, size: int) -> None:
        """Keep so many more shells ready on this machine for commands like this one; fewer with a negative number."""
        self.workers.spares.reserve(command, size)

    async def snapshot_files(self, rc: str) -> tuple[str, str]:
        """Paths of a start-up text and of the file where what it does can be written down.

        Raises:
            SpawnError: they cannot be written.
        """
        return self.workers.snapshot_files(rc)

    async def adopt_snapshot(self, rc: str, file: str) -> None:
        """From now on read this file instead of the start-up text."""
        self.workers.adopt_snapshot(rc, file)

    def session_names(self) -> list[str]:
        """The sessions that can be gone on with; any thread may ask."""
        return sorted({*self.workers.sessions, *(self._ssh.sessions.names() if self._ssh is not None else ())})

    def machine_sampler(self, target: Target = LOCAL) -> Sampler:
        """What reads the use of this machine, or of a host."""
        return self.ssh.machine_sampler(target) if target.kind == "ssh" else self._local.machine_sampler()

    def kernel_sampler(self) -> Sampler:
        """What reads the use of this process, without its children."""
        return self._local.kernel_sampler()

    def warm(self) -> None:
        """Do ahead what the first command would have to wait for."""
        self._local.warm()

    async def close(self, within_s: float) -> None:
        """Close all of them."""
        if self._ssh is not None:
            await self._ssh.close(within_s)
        await self.workers.close(within_s)
        await self._local.close(within_s)
