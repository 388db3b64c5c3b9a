"""The kernel's side of the spawner: start a command, learn how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import marshal
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from xec_magic.errors import SpawnError
from xec_magic.events import Usage
from xec_magic.transport.base import ExitStatus
from xec_magic.transport.spawn import proctree

__all__ = ["Spawned", "Spawner", "current_umask"]

SEND_TIMEOUT_S: Final = 10.0  # a spawner that takes no message for so long is stopped or stuck
GIVE_UP_S: Final = 4.0  # who stops a command that is being started waits so long for it to come and to go
LENGTH: Final = struct.Struct("<I")
PROGRAM: Final = Path(__file__).parent / "spawn" / "__main__.py"

_ADVICE: Final = {
    errno.E2BIG: "its environment or arguments are too large for the operating system; pass data by --stdin or a file",
    errno.EAGAIN: "no further process is allowed (ulimit -u); end some first",
    errno.EMFILE: "too many open files (ulimit -n); close some first",
    errno.ENFILE: "too many open files on this machine",
    errno.ENOMEM: "not enough memory to start a process",
}


class Spawned:
    """A command that the spawner has started, when (monotonic seconds), and how it ends."""

    def __init__(self, pid: int, started_at: float, exit: asyncio.Future[ExitStatus]) -> None:  # noqa: A002 - the word for it
        self.pid = pid
        self.started_at = started_at
        self.exit = exit


class Spawner:
    """One helper process a kernel, started on first use and again when it was lost.

    All methods run on the loop's thread.

    Args:
        marker: Begin of the `XEC_RUN_ID=…` that all its commands carry in their environment.
        temporary: A directory that the helper removes when the kernel is gone and has not done so itself.
    """

    def __init__(self, marker: str, temporary: str) -> None:
        self._marker = marker
        self._temporary = temporary
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._numbers = itertools.count(1)
        self._starting: dict[int, asyncio.Future[tuple[int, float]]] = {}
        self._exits: dict[int, asyncio.Future[ExitStatus]] = {}
        self._received = bytearray()

    def start(self) -> None:
        """Start the helper process, unless it lives already.

        Raises:
            SpawnError: the operating system refuses.
        """
        if self._socket is not None:
            return
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        except OSError as error:
            raise SpawnError(f"cannot start commands: {_advice(error.errno, str(error))}") from error
        with theirs:
            flags = [] if proctree.HAS_PROC else ["--portable"]
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(PROGRAM), str(theirs.fileno()), self._marker, self._temporary, *flags],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()], start_new_session=True, cwd="/",
                )  # fmt: skip
            except OSError as error:
                ours.close()
                raise SpawnError(f"cannot start commands: {_advice(error.errno, str(error))}") from error
        ours.settimeout(SEND_TIMEOUT_S)
        self._socket = ours
        self._received.clear()
        asyncio.get_running_loop().add_reader(ours, self._receive)

    async def spawn(
        self,
        argv: Sequence[bytes],
        cwd: str | None,
        env: dict[bytes, bytes],
        descriptors: Sequence[int],
        umask: int | None = None,
        *,
        grouped: bool = False,
    ) -> Spawned:
        """Start a command with three descriptors for its streams, in a session of its own; the umask is this process's unless one is given.

        With `grouped` in a control group of its own as well, where one can be made: its usage then has the peak of the whole tree.

        Raises:
            SpawnError: the operating system refuses; the message says why and what to do.
        """
        self.start()
        assert self._socket is not None
        loop = asyncio.get_running_loop()
        number = next(self._numbers)
        started: asyncio.Future[tuple[int, float]] = loop.create_future()
        ended: asyncio.Future[ExitStatus] = loop.create_future()
        self._starting[number] = started
        self._exits[number] = ended
        body = marshal.dumps((number, list(argv), cwd, env, current_umask() if umask is None else umask, grouped))
        try:
            message = LENGTH.pack(len(body)) + body
            sent = socket.send_fds(self._socket, [message], list(descriptors))
            if sent < len(message):
                self._socket.sendall(message[sent:])
        except OSError as error:
            self._lost()
            raise SpawnError(f"cannot start commands: the helper process does not answer ({error})") from error
        try:
            pid, at = await asyncio.shield(started)
            return Spawned(pid, at, ended)
        except asyncio.CancelledError:
            await _give_up(started, ended)
            raise
        except BaseException:
            self._exits.pop(number, None)
            raise

    def _receive(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        buffer = self._received
        buffer += data
        while len(buffer) >= LENGTH.size:
            size = LENGTH.unpack_from(buffer)[0]
            if len(buffer) < LENGTH.size + size:
                return
            message = marshal.loads(bytes(buffer[LENGTH.size : LENGTH.size + size]))
            del buffer[: LENGTH.size + size]
            self._dispatch(message)

    def _dispatch(self, message: tuple[Any, ...]) -> None:
        match message:
            case ("started", int(number), int(pid), float(at)):
                future = self._starting.pop(number)
                if not future.done():
                    future.set_result((pid, at))
                elif future.cancelled():  # nobody waits for it any more, so nobody would ever end it
                    with contextlib.suppress(OSError):
                        os.killpg(pid, signal.SIGKILL)
            case ("refused", int(number), int(code), str(where)):
                future = self._starting.pop(number)
                if not future.done():
                    future.set_exception(SpawnError(_refusal(code, where)))
            case (
                "exited",
                int(number),
                _,
                int(status),
                float(user),
                float(system),
                peak,
                int(blocks_in),
                int(blocks_out),
                read,
                written,
                tree_peak,
            ):
                ended = self._exits.pop(number, None)
                if ended is not None and not ended.done():
                    usage = Usage(user, system, peak, blocks_in, blocks_out, read, written, tree_peak)
                    code = os.waitstatus_to_exitcode(status)
                    ended.set_result(ExitStatus(code, None, usage) if code >= 0 else ExitStatus(None, -code, usage))

    def _lost(self) -> None:
        """The helper process has gone: whatever it was to report will not come."""
        self._close_socket()
        if self._process is not None:
            self._process.kill()  # gone already, or stuck: a stopped one would hold its commands for ever
            self._process.wait()
            self._process = None
        words = "the helper process that starts commands was ended from outside"
        for starting in self._starting.values():
            if not starting.done():
                starting.set_exception(SpawnError(words))
        for ended in self._exits.values():
            if not ended.done():
                ended.set_result(ExitStatus(None, None, lost=words))
        self._starting.clear()
        self._exits.clear()

    def _close_socket(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            with contextlib.suppress(OSError):  # a forked copy of this process may hold it open
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            self._socket = None

    async def close(self, within_s: float) -> None:
        """Let the helper process end; what it still has to end, it ends by the stop ladder."""
        self._close_socket()
        process = self._process
        if process is None:
            return
        deadline = asyncio.get_running_loop().time() + within_s
        # No thread may be started while the interpreter ends, so this looks instead of waiting.
        while process.poll() is None and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
        self._process = None

    def __repr__(self) -> str:
        state = f"pid {self._process.pid}" if self._process is not None and self._socket is not None else "not started"
        return f"<Spawner {state}, {len(self._exits)} running>"


def current_umask() -> int:
    """The mask of modes of this process, which its commands are to have as well.

    Where the system shows it, it is read without being set for a moment: other threads make files.

    Source: proc_pid_status(5), `Umask`.
    """
    if proctree.HAS_PROC:
        try:
            with open("/proc/self/status", "rb", 0) as file:
                return int(file.read(128).partition(b"Umask:")[2].split(None, 1)[0], 8)
        except (OSError, ValueError, IndexError):
            pass  # a kernel older than 4.7
    mask = os.umask(0o077)  # what is made meanwhile is made too strict, never too open
    os.umask(mask)
    return mask


async def _give_up(started: asyncio.Future[tuple[int, float]], ended: asyncio.Future[ExitStatus]) -> None:
    """Nobody wants the command any more: it is ended as soon as it is there, and gone when this returns, if that is soon."""
    await asyncio.wait([started], timeout=GIVE_UP_S)
    if not started.done():
        started.cancel()  # whoever hears of it then ends it
    elif started.exception() is None:
        with contextlib.suppress(OSError):
            os.killpg(started.result()[0], signal.SIGKILL)
        await asyncio.wait([ended], timeout=GIVE_UP_S)


def _advice(code: int | None, text: str) -> str:
    return _ADVICE.get(code or 0) or text


def _refusal(code: int, where: str) -> str:
    if code in _ADVICE:
        return f"cannot start it: {_ADVICE[code]}"
    if code == 0:
        return f"cannot start it: {where}"
    return f"cannot start {where or 'it'}: {os.strerror(code)}"
