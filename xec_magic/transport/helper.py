"""`Helper`: the process beside the kernel that starts commands, and the socket to it."""

from __future__ import annotations

import asyncio
import contextlib
import marshal
import signal
import socket
import subprocess
import sys
import threading
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from xec_magic.errors import SpawnError
from xec_magic.transport import unforked
from xec_magic.transport.refusals import advice
from xec_magic.transport.spawn import proctree
from xec_magic.transport.spawn.replies import LENGTH

__all__ = ["MOMENT_S", "SEND_TIMEOUT_S", "Helper"]

SEND_TIMEOUT_S: Final = 10.0  # a helper that takes no message for so long is stopped or stuck
MOMENT_S: Final = 0.02  # another thread sends for much less than that
PROGRAM: Final = Path(__file__).parent / "spawn" / "__main__.py"


class Helper:
    """Started when it is needed, and again when it was lost. Its methods run on the loop's thread.

    Args:
        marker: Begin of the `XEC_RUN_ID=…` that all its commands carry in their environment.
        temporary: A directory that it removes when the kernel is gone and has not done so itself.
        heard: Called with each of its messages.
        lost: Called when it has gone, and nothing more will come.

    Attributes:
        process: It.
        socket: To it; None before it is started and when it is lost.
        mutex: Held while a message is sent, and while the socket goes.
    """

    def __init__(
        self, marker: str, temporary: str, heard: Callable[[tuple[Any, ...]], None], lost: Callable[[], None]
    ) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.socket: socket.socket | None = None
        self.mutex = threading.Lock()
        self._marker = marker
        self._temporary = temporary
        self._heard = heard
        self._tell_lost = lost
        self._received = b""  # the begin of a message

    def start(self) -> socket.socket:
        """Start it, unless it lives already; the socket to it.

        Raises:
            SpawnError: the operating system refuses.
        """
        if self.socket is not None:
            return self.socket
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        except OSError as error:
            raise SpawnError(f"cannot start commands: {advice(error)}") from error
        with theirs:
            flags = [] if proctree.HAS_PROC else ["--portable"]
            try:
                self.process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(PROGRAM), str(theirs.fileno()), self._marker, self._temporary, *flags],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()], start_new_session=True, cwd="/",
                )  # fmt: skip
            except OSError as error:
                ours.close()
                raise SpawnError(f"cannot start commands: {advice(error)}") from error
        unforked.note(ours.fileno())
        ours.setblocking(False)  # with a time limit each call would first ask whether it can go on
        self.socket = ours
        self._received = b""
        asyncio.get_running_loop().add_reader(ours, self._receive)
        return ours

    @staticmethod
    def send_whole(to: socket.socket, message: bytes, descriptors: Sequence[int]) -> None:
        """Send a message at once, with descriptors that the receiver has then, too. Any thread, with the mutex held.

        Args:
            to: A helper's socket.
            message: So short that a socket takes it as one piece, or nothing of it.
            descriptors: They can be closed afterwards.

        Raises:
            OSError: nothing was sent; the socket has no room, or the helper has gone.
        """
        to.sendmsg([message], [_beside(descriptors)])

    @staticmethod
    def send(to: socket.socket, message: bytes, descriptors: Sequence[int]) -> None:
        """The same with a message of any length; waits for room.

        Raises:
            OSError: the helper has gone, or has taken nothing for `SEND_TIMEOUT_S`.
        """
        beside = [_beside(descriptors)]
        try:
            sent = to.sendmsg([message], beside)
        except BlockingIOError:
            sent = 0
        if sent == len(message):
            return
        to.settimeout(SEND_TIMEOUT_S)
        try:
            if not sent:
                sent = to.sendmsg([message], beside)
            to.sendall(message[sent:])
        finally:
            to.setblocking(False)

    def _receive(self) -> None:
        assert self.socket is not None
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.lose()
            return
        source = self.socket
        data = self._received + data if self._received else data
        at = 0
        while len(data) >= at + LENGTH.size:
            begin = at + LENGTH.size
            end = begin + LENGTH.unpack_from(data, at)[0]
            if len(data) < end:
                break
            at = end
            self._heard(marshal.loads(data[begin:end]))
        if self.socket is source:  # else it was lost meanwhile, and the next one begins anew
            self._received = data[at:]

    def lose(self) -> None:
        """It has gone, or is of no use any more: end it, and say so."""
        self._close_socket()
        if self.process is not None:
            self.process.kill()  # gone already, or stuck: a stopped one would hold its commands for ever
            self.process.wait()
            self.process = None
        self._tell_lost()

    def _close_socket(self) -> None:
        gone = self.socket
        if gone is None:
            return
        asyncio.get_running_loop().remove_reader(gone)
        with contextlib.suppress(OSError):  # a forked copy of this process may hold it open
            gone.shutdown(socket.SHUT_RDWR)
        unforked.forget(gone.fileno())
        self.socket = None
        # Another thread may be about to send; where something that waits for this thread has broken into it, it closes it itself.
        if self.mutex.acquire(timeout=MOMENT_S):
            gone.close()
            self.mutex.release()

    async def close(self, within_s: float) -> None:
        """Let it end; what it still has to end, it ends by the stop ladder."""
        self._close_socket()
        process = self.process
        if process is None:
            return
        deadline = asyncio.get_running_loop().time() + within_s
        # No thread may be started while the interpreter ends, so this looks instead of waiting.
        while process.poll() is None and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
        self.process = None

    def __repr__(self) -> str:
        return f"<Helper {f'pid {self.process.pid}' if self.process is not None and self.socket is not None else 'not started'}>"


def _beside(descriptors: Sequence[int]) -> tuple[int, int, array[int]]:
    """What goes with a message, so that the receiver has these."""
    return socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors)
