"""Commands on this machine: each in a session of its own, started by the spawner, read on the loop."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable

from xec_magic.command import Command
from xec_magic.errors import SpawnError, map_errors
from xec_magic.events import ProcessInfo
from xec_magic.private import temp_path_of
from xec_magic.transport.base import Process, Sampler, StartRequest
from xec_magic.transport.sampling import tree_reader
from xec_magic.transport.sampling.threads import SamplingThreads
from xec_magic.transport.shells import dress
from xec_magic.transport.spawn import proctree
from xec_magic.transport.spawner import Spawner
from xec_magic.transport.started_here import StartedHere, start_here
from xec_magic.transport.starting import Starting
from xec_magic.transport.stdin import open_stdin
from xec_magic.transport.surroundings import current_environ, directory_of, own_variables

__all__ = ["LocalTransport"]


class LocalTransport:
    """Runs commands on this machine.

    Args:
        kernel_id: Unlike that of any other executor: what strays is known by it.
        script_dir: Gives a directory of mode 0700 for scripts that are too long to be an argument.
    """

    def __init__(self, kernel_id: str, script_dir: Callable[[], str]) -> None:
        self._kernel_id = kernel_id
        # How processes are known by their environment, wherever they have strayed.
        self._kernel_marker = f"XEC_RUN_ID={kernel_id}."
        self._spawner = Spawner(self._kernel_marker, temp_path_of(kernel_id))
        self._script_dir = script_dir
        self.sampling = SamplingThreads()

    @property
    def spawner(self) -> Spawner:
        """What starts processes; the workers' shells are started by it as well."""
        return self._spawner

    def warm(self) -> None:
        """Start the helper process ahead of the first command."""
        self._spawner.helper.start()

    def lend(self, command: Command, new_id: Callable[[], str]) -> StartedHere | None:
        """Begin a command from any thread but the loop's; None when that must be the loop's business, and nothing has happened.

        Args:
            command: What to run.
            new_id: Gives an id for its run.
        """
        return start_here(command, new_id, self._kernel_id, self._spawner, self.sampling)

    async def start(self, request: StartRequest) -> Process:
        """Start a command.

        Raises:
            SpawnError: it cannot be started; the message says why.
        """
        answer: asyncio.Future[Process | SpawnError] = asyncio.get_running_loop().create_future()
        starting = self.post(request, answer.set_result)
        try:
            process = await asyncio.shield(answer)
        except asyncio.CancelledError:
            await starting.give_up()
            raise
        if isinstance(process, SpawnError):
            raise process
        return process

    def post(self, request: StartRequest, started: Callable[[Process | SpawnError], None]) -> Starting:
        """Ask for a command to be started. Does not wait; `started` is called with it, or with the reason why there is none.

        Raises:
            SpawnError: it cannot even be asked for; the message says why.
        """
        # Descriptors that only the command needs. Those that were given are among them from the begin: one that
        # stayed open would keep the other end of its pipe waiting.
        theirs = [fd for fd in (request.stdin_fd, request.stdout_fd) if fd is not None]
        starting = Starting(request, f"{self._kernel_id}.{request.run_id}", started, self.sampling)
        try:
            with map_errors(OSError, to=SpawnError, what="cannot open the command's streams"):
                stdin_fd, stdout_fd = request.stdin_fd, request.stdout_fd
                if stdin_fd is None and request.command.stdin is not None:
                    stdin_fd = open_stdin(request.command)
                    theirs.append(stdin_fd)
                if stdout_fd is None:
                    starting.stdout, stdout_fd = os.pipe()
                    theirs.append(stdout_fd)
                starting.stderr, stderr_fd = os.pipe()
                theirs.append(stderr_fd)
            with map_errors(OSError, to=SpawnError, what="cannot write the script to a file"):
                argv, starting.script_file = self._dress(request.command)
            self._spawner.post(
                argv, directory_of(request.command), current_environ(), own_variables(request.command, starting.mark),
                (stdout_fd, stderr_fd) if stdin_fd is None else (stdin_fd, stdout_fd, stderr_fd), starting.answered,
                grouped=request.grouped, kept=2 if request.stdout_fd is None else 1,
            )  # fmt: skip
            starting.read()
        except BaseException:
            starting.clean_up()
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        return starting

    def _dress(self, command: Command) -> tuple[list[bytes], str | None]:
        argv, text = dress(command)
        if text is None:
            return argv, None
        descriptor, path = tempfile.mkstemp(prefix="script-", dir=self._script_dir())
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text)
        except OSError:
            os.unlink(path)  # a full disk
            raise
        return [*argv, os.fsencode(path)], path

    def machine_sampler(self) -> Sampler:
        """What reads the use of this machine."""
        from xec_magic.transport.sampling.machine import (  # psutil takes its time to import
            MachineReader,
            size_of_machine,
        )

        return self.sampling.of_reader(MachineReader(), "", size_of_machine())

    def kernel_sampler(self) -> Sampler:
        """What reads the use of this process, without its children."""
        from xec_magic.transport.sampling.machine import size_of_machine

        return self.sampling.of_reader(tree_reader(os.getpid(), alone=True), "", size_of_machine())

    def strays(self) -> list[ProcessInfo]:
        """All living processes that commands of this kernel have left."""
        return [ProcessInfo(process.pid, process.name) for process in proctree.living((), self._kernel_marker.encode())]

    async def close(self, within_s: float) -> None:
        """End the helper process; it ends by the stop ladder whatever is left of the commands."""
        self.sampling.close()
        await self._spawner.close(within_s)

    def __repr__(self) -> str:
        return f"<LocalTransport {self._spawner!r}>"
