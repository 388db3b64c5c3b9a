"""The kernel's side of the spawner: start a command, learn how it ended."""

from __future__ import annotations

import array
import asyncio
import contextlib
import itertools
import marshal
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from xec_magic.errors import SpawnError
from xec_magic.transport.base import ExitStatus
from xec_magic.transport.spawn import proctree
from xec_magic.transport.spawned import GONE, LENGTH, Answers, Followed, Spawned, advice, refusal, status_of, tell

__all__ = ["Spawner", "current_umask", "give_up"]

SEND_TIMEOUT_S: Final = 10.0  # a spawner that takes no message for so long is stopped or stuck
GIVE_UP_S: Final = 4.0  # who stops a command that is being started waits so long for it to come and to go
PROGRAM: Final = Path(__file__).parent / "spawn" / "__main__.py"


class Spawner:
    """One helper process a kernel, started on first use and again when it was lost.

    All methods but `put` run on the loop's thread.

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
        self._starting: dict[int, Callable[[Spawned | SpawnError], None]] = {}
        self._running: dict[int, Spawned] = {}
        self._environ: dict[bytes, bytes] | None = None  # which one the helper process knows
        self._sending = threading.Lock()  # held while the socket is written to, or changed
        self._followed: set[Followed] = set()
        self._received = bytearray()

    @property
    def is_ready(self) -> bool:
        """The helper process lives, as far as is known. Any thread may ask."""
        return self._socket is not None

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
            raise SpawnError(f"cannot start commands: {advice(error.errno, str(error))}") from error
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
                raise SpawnError(f"cannot start commands: {advice(error.errno, str(error))}") from error
        ours.settimeout(SEND_TIMEOUT_S)
        self._environ = None  # before other threads see the socket
        self._socket = ours
        self._received.clear()
        asyncio.get_running_loop().add_reader(ours, self._receive)

    def post(
        self,
        argv: Sequence[bytes],
        cwd: str | None,
        environ: dict[bytes, bytes],
        own: dict[bytes, bytes] | None,
        descriptors: Sequence[int],
        started: Callable[[Spawned | SpawnError], None],
        umask: int | None = None,
        *,
        grouped: bool = False,
    ) -> None:
        """Ask for a command to be started with three descriptors for its streams, in a session of its own. Does not wait.

        Args:
            argv: Its arguments.
            cwd: Its directory.
            environ: Its environment. With variables of its `own` besides, the same object is sent only once in a row, and must
                never change.
            own: These; None where `environ` is all of it, for this command alone.
            descriptors: For its streams; they can be closed afterwards.
            started: Called, on the loop's thread, with the command, or with the reason why there is none.
            umask: Its mask of modes; None for this process's.
            grouped: Start it in a control group of its own as well, where one can be made: its usage then has the peak of the whole tree.

        Raises:
            SpawnError: the operating system refuses; the message says why and what to do.
        """
        self.start()
        number = next(self._numbers)
        self._starting[number] = started
        try:
            with self._sending:
                self._send(number, argv, cwd, environ, own, descriptors, umask, grouped)
        except OSError as error:
            del self._starting[number]
            self._lost()
            raise SpawnError(f"cannot start commands: the helper process does not answer ({error})") from error

    def put(
        self,
        argv: Sequence[bytes],
        cwd: str,
        environ: dict[bytes, bytes],
        own: dict[bytes, bytes],
        descriptors: Sequence[int],
    ) -> bool:
        """Ask for a command from any thread; False when that must be the loop's business.

        Args:
            descriptors: For its streams, and one that the answers are written to; see `Answers`.
            argv: As for `post`, as all others.
            cwd: Its directory.
            environ: Its environment.
            own: Variables besides.
        """
        with self._sending:  # by `with`: an interrupt of this thread must not leave it locked
            if self._socket is None:
                return False
            try:
                self._send(next(self._numbers), argv, cwd, environ, own, descriptors, None, grouped=False)
            except OSError:
                self._hang_up()
                return False
            return True

    def _send(
        self,
        number: int,
        argv: Sequence[bytes],
        cwd: str | None,
        environ: dict[bytes, bytes],
        own: dict[bytes, bytes] | None,
        descriptors: Sequence[int],
        umask: int | None,
        grouped: bool,
    ) -> None:
        """The lock is held."""
        assert self._socket is not None
        known = own is not None and environ is self._environ
        mask = current_umask() if umask is None else umask
        body = marshal.dumps((number, list(argv), cwd, None if known else environ, own, mask, grouped))
        message = LENGTH.pack(len(body)) + body
        if own is not None and not known:
            self._environ = None  # until the new one has gone for sure
        self._write(self._socket, message, descriptors)
        if own is not None:
            self._environ = environ

    def _write(self, to: socket.socket, message: bytes, descriptors: Sequence[int]) -> None:
        """Write a message whole, also where an interrupt of this thread comes meanwhile; or none of it.

        Raises:
            OSError: the helper process does not take it; what it has of it is no message.
        """
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        sent: list[int] = []  # filled by `map` within one step, so that an interrupt leaves no doubt of what has gone

        def write() -> None:
            if not sent:
                sent.extend(map(to.sendmsg, [[message]], [rights]))
            while (gone := sum(sent)) < len(message):
                sent.extend(map(to.send, [message[gone:]]))

        try:
            write()
        except KeyboardInterrupt:
            if sent:
                try:
                    write()
                except KeyboardInterrupt:  # a second one, while the helper process takes nothing
                    self._hang_up()
            raise

    def _hang_up(self) -> None:
        """What follows half a message would mean nothing: the loop hears that this is the end."""
        with contextlib.suppress(OSError, AttributeError):
            self._socket.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]  # gone already

    def follow(self, answers: Answers, started: Callable[[Spawned | SpawnError], None]) -> None:
        """Go on with a command that another thread has asked for by `put`.

        Args:
            answers: What it has heard so far.
            started: As for `post`.
        """
        self._followed.add(Followed(answers, started, self._followed.discard))

    async def spawn(
        self,
        argv: Sequence[bytes],
        cwd: str | None,
        env: dict[bytes, bytes],
        descriptors: Sequence[int],
        umask: int | None = None,
    ) -> Spawned:
        """The same with all of its environment, and wait until it is there.

        Raises:
            SpawnError: the operating system refuses; the message says why and what to do.
        """
        answer: asyncio.Future[Spawned | SpawnError] = asyncio.get_running_loop().create_future()
        self.post(argv, cwd, env, None, descriptors, answer.set_result, umask)
        try:
            spawned = await asyncio.shield(answer)
        except asyncio.CancelledError:
            await give_up(answer)
            raise
        if isinstance(spawned, SpawnError):
            raise spawned
        return spawned

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
                spawned = self._running[number] = Spawned(pid, at, asyncio.get_running_loop().create_future())
                tell(self._starting.pop(number), spawned)
            case ("refused", int(number), int(code), str(where)):
                tell(self._starting.pop(number), SpawnError(refusal(code, where)))
            case ("exited", int(number), *_):
                ended = self._running.pop(number, None)
                if ended is not None:
                    ended.exited(status_of(message))

    def _lost(self) -> None:
        """The helper process has gone: whatever it was to report will not come."""
        self._close_socket()
        if self._process is not None:
            self._process.kill()  # gone already, or stuck: a stopped one would hold its commands for ever
            self._process.wait()
            self._process = None
        starting, self._starting = self._starting, {}
        running, self._running = self._running, {}
        for started in starting.values():
            tell(started, SpawnError(GONE))
        for spawned in running.values():
            spawned.exited(ExitStatus(None, None, lost=GONE))
        self._forsake()

    def _forsake(self) -> None:
        """The same for those with answers of their own."""
        for followed in list(self._followed):
            followed.close()

    def _close_socket(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            with contextlib.suppress(OSError):  # a forked copy of this process may hold it open
                self._socket.shutdown(socket.SHUT_RDWR)
            with self._sending:  # its number may soon name another file
                self._socket.close()
                self._socket = None

    async def close(self, within_s: float) -> None:
        """Let the helper process end; what it still has to end, it ends by the stop ladder."""
        self._close_socket()
        try:
            await self._end(within_s)
        finally:
            self._forsake()

    async def _end(self, within_s: float) -> None:
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
        return f"<Spawner {state}, {len(self._running)} running>"


_status: tuple[int, int] = (0, -1)  # of which process, and its open file


def current_umask() -> int:
    """The mask of modes of this process, which its commands are to have as well.

    Where the system shows it, it is read without being set for a moment: other threads make files.

    Source: proc_pid_status(5), `Umask`.
    """
    global _status
    if proctree.HAS_PROC:
        try:
            if _status[0] != os.getpid():  # one that was forked has the file of its parent
                _status = os.getpid(), os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
            return int(os.pread(_status[1], 128, 0).partition(b"Umask:")[2].split(None, 1)[0], 8)
        except (OSError, ValueError, IndexError):
            pass  # a kernel older than 4.7
    mask = os.umask(0o077)  # what is made meanwhile is made too strict, never too open
    os.umask(mask)
    return mask


async def give_up(answer: asyncio.Future[Spawned | SpawnError]) -> None:
    """Nobody wants the command any more: it is ended as soon as it is there, and gone when this returns, if that is soon.

    Args:
        answer: What the spawner says of it. Nobody else may look at it.
    """

    def end(_: object) -> None:
        if isinstance(spawned := answer.result(), Spawned):
            spawned.end()

    answer.add_done_callback(end)
    await asyncio.wait([answer], timeout=GIVE_UP_S)
    if answer.done() and isinstance(spawned := answer.result(), Spawned):
        await asyncio.wait([spawned.exit], timeout=GIVE_UP_S)
