"""Commands on this machine: each in a session of its own, started by the spawner, read on the loop."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Final

from xec_magic.command import Command, FileInput
from xec_magic.errors import SpawnError, map_errors
from xec_magic.events import ProcessInfo, Stream
from xec_magic.private import temp_path_of
from xec_magic.transport.base import ExitStatus, Process, Sampler, Sink, StartRequest
from xec_magic.transport.sampling import tree_reader
from xec_magic.transport.sampling.threads import SamplingThreads
from xec_magic.transport.shells import dress
from xec_magic.transport.spawn import proctree
from xec_magic.transport.spawner import Spawned, Spawner, give_up

__all__ = [
    "LocalProcess", "LocalTransport", "Reader", "Starting", "current_environ", "directory_of", "environment", "memory_file",
    "open_stdin",
]  # fmt: skip

READ_BYTES: Final = 256 * 1024
READS_A_WAKEUP: Final = 4  # then the loop serves others
SHORT_READ_BYTES: Final = 4096
FULL_PIPE_BYTES: Final = 65536  # what a pipe holds unless it is enlarged, pipe(7)
QUICK_S: Final = 0.002  # wake-ups closer than this, so many in a row, are a stream of small pieces
QUICK_WAKEUPS: Final = 16
GATHER_S: Final = 0.001
LARGE_PIPE_BYTES: Final = 1024 * 1024  # only for streams that fill the default: a user's pipe memory is bounded
SESSION_KNOWN_S: Final = 10.0  # so long after the shell's end its number surely names nobody else's session
SET_PIPE_SIZE: Final = getattr(fcntl, "F_SETPIPE_SZ", None)  # Linux only


class Reader:
    """Reads one pipe on the loop and hands the bytes to a sink; with `begin=False` not before `resume`."""

    def __init__(self, fd: int, stream: Stream, sink: Sink, ended: Callable[[], None], *, begin: bool = True) -> None:
        self.fd = fd
        self.open = True
        self._stream = stream
        self._sink = sink
        self._ended = ended
        self._enlarged = SET_PIPE_SIZE is None
        self._loop = asyncio.get_running_loop()
        self._wanted = False
        self._reading = False
        self._woken_at = 0.0
        self._streak = 0
        os.set_blocking(fd, False)
        if begin:
            self.resume()

    def _ready(self) -> None:
        total = 0
        for _ in range(READS_A_WAKEUP):
            size = self._read_once() if self._reading else 0
            total += size
            if size < SHORT_READ_BYTES:  # it has emptied the pipe; the next wake-up tells more
                break
        now = self._loop.time()
        self._streak = self._streak + 1 if total < FULL_PIPE_BYTES and now - self._woken_at < QUICK_S else 0
        self._woken_at = now
        if self._streak >= QUICK_WAKEUPS and self._reading:
            # Many small pieces one upon the other: each costs as much as a large one, so let some come together.
            self._enlarge()
            self._halt()
            self._loop.call_later(GATHER_S, self._go_on)

    def _read_once(self) -> int:
        """Read what is there, at most so much; gives the number of bytes."""
        try:
            data = os.read(self.fd, READ_BYTES)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if not data:
            self.close()
            self._ended()
            return 0
        if len(data) >= FULL_PIPE_BYTES:
            self._enlarge()
        self._sink(self._stream, data)
        return len(data)

    def _enlarge(self) -> None:
        if not self._enlarged:
            self._enlarged = True
            with contextlib.suppress(OSError):  # over the user's bound: the small pipe does as well
                fcntl.fcntl(self.fd, SET_PIPE_SIZE or 0, LARGE_PIPE_BYTES)

    def pause(self) -> None:
        """Stop reading."""
        self._wanted = False
        self._halt()

    def resume(self) -> None:
        """Read, from now on."""
        self._wanted = True
        self._go_on()

    def _halt(self) -> None:
        if self._reading:
            self._loop.remove_reader(self.fd)
            self._reading = False

    def _go_on(self) -> None:
        if self.open and self._wanted and not self._reading:
            self._loop.add_reader(self.fd, self._ready)
            self._reading = True

    def drain(self) -> None:
        """Take what has already arrived."""
        while self.open and self._read_once():
            pass

    def close(self) -> None:
        """Read no more, and let go of the pipe."""
        if self.open:
            self.pause()
            self.open = False
            os.close(self.fd)


class LocalProcess:
    """A command on this machine."""

    def __init__(
        self,
        spawned: Spawned,
        request: StartRequest,
        marker: bytes,
        stdout_fd: int | None,
        stderr_fd: int,
        script_file: str | None,
        sampling: SamplingThreads,
    ) -> None:
        self._spawned = spawned
        self._sampling = sampling
        self._request = request
        self._script_file = script_file
        self._marker = marker
        # Where both have something at once nobody knows which came first; a command says why it fails at its end.
        streams: list[tuple[int | None, Stream]] = [(stdout_fd, "stdout"), (stderr_fd, "stderr")]
        self._readers = [Reader(fd, name, request.sink, request.changed) for fd, name in streams if fd is not None]
        self._session_until: float | None = None
        self.exit: ExitStatus | None = None  # how the shell ended; None while it runs
        spawned.at_exit = self._exited
        if spawned.exit.done():  # a shell that was started ahead, and was killed just now
            asyncio.get_running_loop().call_soon(self._exited)

    def _exited(self) -> None:
        self.exit = self._spawned.exit.result()
        if self._session_until is None:
            self._session_until = time.monotonic() + SESSION_KNOWN_S
        if self._script_file is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._script_file)
        self._request.changed()

    def call_at_exit(self, callback: Callable[[], None]) -> None:
        """Call back when the shell has ended."""
        self._spawned.exit.add_done_callback(lambda _: callback())

    @property
    def pid(self) -> int:
        """The shell's process id; also its process group and its session."""
        return self._spawned.pid

    @property
    def started_at(self) -> float:
        """When it was started, in seconds of the monotonic clock."""
        return self._spawned.started_at

    @property
    def streams_open(self) -> bool:
        """Some process can still write to the streams."""
        for reader in self._readers:  # noqa: SIM110 - asked at each change, and any() takes four times as long
            if reader.open:
                return True
        return False

    def pause(self) -> None:
        """Stop reading; the command soon waits in its write."""
        for reader in self._readers:
            reader.pause()

    def resume(self) -> None:
        """Read again."""
        for reader in self._readers:
            reader.resume()

    def send_signal(self, number: int) -> None:
        """Signal the command's process group and what has strayed from it."""
        if self.exit is None:
            self._session_until = float("inf")  # all through the ladder, also when the shell goes first
        proctree.send(number, self._sessions(), self._living())

    def alive(self) -> list[ProcessInfo]:
        """The command's living processes, strays included. May take some milliseconds."""
        return [ProcessInfo(process.pid, process.name) for process in self._living()]

    def sampler(self, rate_hz: float) -> Sampler:  # noqa: ARG002 - reading here costs the same at any rate
        """What reads the use of the command and of all its processes."""
        return self._sampling.of_tree(self.pid, self._marker, self._request.run_id)

    def _living(self) -> list[proctree.Living]:
        return proctree.living(self._sessions(), self._marker, self._spawned.started_at)

    def _sessions(self) -> set[int]:
        """The command's session, as long as its number cannot have come to name a stranger's."""
        return {self.pid} if self._session_until is None or time.monotonic() < self._session_until else set()

    def close(self) -> None:
        """Take what has already arrived, then let go of the streams."""
        for reader in self._readers:
            reader.drain()
            reader.close()


class Starting:
    """A command that is on its way: asked for, and not there yet.

    Args:
        request: What is to be started.
        mark: Its `XEC_RUN_ID`.
        started: Gets the process, or the reason why there is none.
        sampling: For its process.
    """

    def __init__(
        self,
        request: StartRequest,
        mark: str,
        started: Callable[[Process | SpawnError], None],
        sampling: SamplingThreads,
    ) -> None:
        self.mark = mark
        self.stdout: int | None = None
        self.stderr: int | None = None
        self.script_file: str | None = None
        self._request = request
        self._started = started
        self._sampling = sampling
        self._answer: Spawned | SpawnError | None = None
        self._process: LocalProcess | None = None
        self._unwanted: asyncio.Future[Spawned | SpawnError] | None = None

    def answered(self, answer: Spawned | SpawnError) -> None:
        """The spawner has said what came of it."""
        self._answer = answer
        if self._unwanted is not None:
            self._unwanted.set_result(answer)
        elif isinstance(answer, SpawnError):
            self.clean_up()
            self._started(answer)
        else:
            assert self.stderr is not None
            marker = b"XEC_RUN_ID=" + self.mark.encode() + b"\0"
            self._process = LocalProcess(
                answer, self._request, marker, self.stdout, self.stderr, self.script_file, self._sampling
            )
            self._started(self._process)

    async def give_up(self) -> None:
        """Nobody wants it any more: it is ended as soon as it is there, and gone when this returns, if that is soon."""
        unwanted = self._unwanted = asyncio.get_running_loop().create_future()
        if self._answer is not None:
            unwanted.set_result(self._answer)
        try:
            await give_up(unwanted)
        finally:
            if self._process is not None:
                self._process.close()
            else:
                self.clean_up()

    def clean_up(self) -> None:
        """Let go of its streams and its script. A second call does nothing."""
        streams, self.stdout, self.stderr = (self.stdout, self.stderr), None, None
        for fd in streams:
            if fd is not None:
                os.close(fd)
        script_file, self.script_file = self.script_file, None
        if script_file is not None:
            with contextlib.suppress(OSError):
                os.unlink(script_file)


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
        self._spawner.start()

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
                if stdin_fd is None:
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
                argv, directory_of(request.command), current_environ(), _own_variables(request.command, starting.mark),
                (stdin_fd, stdout_fd, stderr_fd), starting.answered, grouped=request.grouped,
            )  # fmt: skip
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


_environ: dict[bytes, bytes] = {}


def current_environ() -> dict[bytes, bytes]:
    """The kernel's environment; the same object as long as nothing in it has changed."""
    global _environ
    # `_data` is what os.environb wraps; through the wrapper a comparison costs ten times as much.
    now = getattr(os.environ, "_data", None)
    if now is None:
        now = dict(os.environb)
    if now != _environ:
        _environ = dict(now)
    return _environ


def environment(command: Command, mark: str) -> dict[bytes, bytes]:
    """The kernel's environment with the command's own additions, and the mark by which its processes are known."""
    return {**current_environ(), **_own_variables(command, mark)}


def _own_variables(command: Command, mark: str) -> dict[bytes, bytes]:
    own = {os.fsencode(name): os.fsencode(value) for name, value in (*command.env, *command.secret_env)}
    own[b"XEC_RUN_ID"] = mark.encode()
    return own


def directory_of(command: Command) -> str:
    """Where to run: the spawner's own directory is `/`."""
    try:
        directory = command.cwd or os.getcwd()
    except FileNotFoundError as error:
        raise SpawnError("cannot start it: the kernel's own directory has been removed; name one with --cwd") from error
    return directory


def open_stdin(command: Command) -> int:
    match command.stdin:
        case None:
            return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        case FileInput(path=path):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO without a writer must not block us
            os.set_blocking(fd, True)
            return fd
        case data:
            return memory_file(data)


def memory_file(data: bytes) -> int:
    """A file without a name that holds `data`, at its begin: no writer is needed, whatever the command reads."""
    if sys.platform == "linux":
        fd = os.memfd_create("xec-stdin", os.MFD_CLOEXEC)
    else:
        fd, path = tempfile.mkstemp()
        os.unlink(path)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd
