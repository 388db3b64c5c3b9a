"""`Spawner`: ask the helper process for commands, and hear how each of them began and ended."""

from __future__ import annotations

import asyncio
import itertools
import marshal
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

from xec_magic.errors import SpawnError
from xec_magic.transport.base import ExitStatus
from xec_magic.transport.helper import MOMENT_S, SEND_TIMEOUT_S, Helper
from xec_magic.transport.refusals import refusal
from xec_magic.transport.spawn import proctree
from xec_magic.transport.spawn.replies import LENGTH
from xec_magic.transport.spawned import HelperLost, Spawned, exit_status, give_up, nobody
from xec_magic.transport.umask import current_umask

__all__ = ["Spawner"]

BEGUN_S: Final = 0.1  # a process that has just been made is known by its environment when it has become its program
WHOLE_BYTES: Final = 32 * 1024  # a socket takes so much as one piece, or nothing of it
BROKEN_INTO: Final = (
    "cannot start commands: a finalizer or the handler of a signal has begun this one in the midst of another one's start, which"
    " takes an environment and arguments of less than 32 KiB"
)


class Spawner:
    """The commands of one helper process. All methods but `post_here` run on the loop's thread.

    Args:
        marker: Begin of the `XEC_RUN_ID=…` that all its commands carry in their environment.
        temporary: A directory that the helper removes when the kernel is gone and has not done so itself.

    Attributes:
        helper: It; started on first use, and again when it was lost.
    """

    def __init__(self, marker: str, temporary: str) -> None:
        self.helper = Helper(marker, temporary, self._dispatch, self._lost)
        self._numbers = itertools.count(1)
        self._starting: dict[int, Callable[[Spawned | SpawnError], None]] = {}
        self._running: dict[int, Spawned] = {}
        self._told: tuple[socket.socket | None, dict[bytes, bytes]] = None, {}  # who was last told which environment

    @property
    def lives(self) -> bool:
        """The helper process has been started, and is not known to be lost. Any thread may ask."""
        return self.helper.socket is not None

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
        kept: int = 0,
    ) -> None:
        """Ask for a command to be started in a session of its own. Does not wait.

        Args:
            argv: Its arguments.
            cwd: Its directory.
            environ: Its environment. With variables of its `own` besides, the same object is sent only once in a row, and must
                never change.
            own: These; None where `environ` is all of it, for this command alone.
            descriptors: For its three streams, and perhaps the end of a pipe that gets what `exit_status` reads; they can be closed afterwards. Two leave its
                stdin empty.
            started: Called, on the loop's thread, with the command, or with the reason why there is none.
            umask: Its mask of modes; None for this process's.
            grouped: Start it in a control group of its own as well, where one can be made: its usage then has the peak of the whole tree.
            kept: So many of the last descriptors are ends of pipes that nobody but the caller reads. They stay open until the command
                has ended, and the word of its start may come a millisecond late, with that of an end: so the loop is woken once.

        Raises:
            SpawnError: the operating system refuses; the message says why and what to do.
        """
        to = self.helper.start()
        mask = current_umask() if umask is None else umask
        mutex = self.helper.mutex
        alone = mutex.acquire(timeout=MOMENT_S)
        try:
            if not alone:
                # A finalizer, or the handler of a signal, may have broken into who has it, and wait for this very command. An order that
                # has all of its environment and is one piece can go beside: it depends on nothing that is sent before or after it.
                environ, own = environ if own is None else {**environ, **own}, None
            number, message = self._message(to, argv, cwd, environ, own, descriptors, mask, grouped=grouped, kept=kept)
            if not alone and len(message) > WHOLE_BYTES:
                alone = mutex.acquire(timeout=SEND_TIMEOUT_S)
                if not alone:
                    raise SpawnError(BROKEN_INTO)
            self._starting[number] = started
            failure = None
            try:
                self.helper.send(to, message, descriptors)
            except OSError as error:
                failure = error
                del self._starting[number]
            else:
                if own is not None:
                    self._told = to, environ
        finally:
            if alone:
                mutex.release()
        if failure is not None:
            self.helper.lose()
            raise SpawnError(f"cannot start commands: the helper process does not answer ({failure})") from failure

    def post_here(
        self,
        argv: Sequence[bytes],
        cwd: str | None,
        environ: dict[bytes, bytes],
        own: dict[bytes, bytes],
        descriptors: Sequence[int],
        started: Callable[[Spawned | SpawnError], None],
    ) -> bool:
        """The same from any thread but the loop's, which the last of four descriptors tells of the end; the loop hears of start and end
        together, a moment later. False when that has to be the loop's business: nothing has happened then.
        """
        helper = self.helper
        to = helper.socket
        # Who sends may have to wait for seconds, for a helper process that is stopped.
        if to is None or helper.mutex.locked():
            return False
        try:
            with helper.mutex:
                return to is helper.socket and self._sent_here(to, argv, cwd, environ, own, descriptors, started)
        finally:
            if helper.socket is not to:  # and the loop did not get the mutex
                to.close()

    def _sent_here(
        self,
        to: socket.socket,
        argv: Sequence[bytes],
        cwd: str | None,
        environ: dict[bytes, bytes],
        own: dict[bytes, bytes],
        descriptors: Sequence[int],
        started: Callable[[Spawned | SpawnError], None],
    ) -> bool:
        number, message = self._message(
            to, argv, cwd, environ, own, descriptors, current_umask(), grouped=False, kept=1
        )
        if len(message) > WHOLE_BYTES:
            return False
        self._starting[number] = started
        try:
            self.helper.send_whole(to, message, descriptors)
        except BaseException as error:
            self._starting.pop(number, None)
            if isinstance(error, OSError) and error.errno is not None:
                return False  # it has no room, or has gone, and the loop comes upon that
            raise  # what a signal's handler of the user's has raised
        self._told = to, environ
        return True

    def _message(
        self,
        to: socket.socket,
        argv: Sequence[bytes],
        cwd: str | None,
        environ: dict[bytes, bytes],
        own: dict[bytes, bytes] | None,
        descriptors: Sequence[int],
        umask: int,
        *,
        grouped: bool,
        kept: int,
    ) -> tuple[int, bytes]:
        """The number of a command, and what asks for it. With the mutex held until that is sent."""
        number = next(self._numbers)
        known = own is not None and self._told[0] is to and self._told[1] is environ
        body = marshal.dumps(
            (number, list(argv), cwd, None if known else environ, own, umask, grouped, len(descriptors), kept)
        )
        return number, LENGTH.pack(len(body)) + body

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
        if isinstance(spawned, HelperLost):
            await self._end_begun(env)
        if isinstance(spawned, SpawnError):
            raise spawned
        return spawned

    @staticmethod
    async def _end_begun(env: dict[bytes, bytes]) -> None:
        """End what a lost helper process has begun and not told of, before its caller closes what it opens by name."""
        try:
            await asyncio.sleep(BEGUN_S)
        finally:
            begun = proctree.living((), b"XEC_RUN_ID=" + env[b"XEC_RUN_ID"] + b"\0")
            proctree.send(signal.SIGKILL, (), begun)

    def _dispatch(self, message: tuple[Any, ...]) -> None:
        kind, number, *said = message
        if kind == "started":
            pid, at = said
            spawned = self._running[number] = Spawned(pid, at, asyncio.get_running_loop().create_future())
            self._answer(number, spawned)
        elif kind == "refused":
            code, where = said
            self._answer(number, SpawnError(refusal(code, where)))
        elif kind == "exited" and (ended := self._running.pop(number, None)) is not None:
            self._exited(ended, exit_status(message))

    def _answer(self, number: int, answer: Spawned | SpawnError) -> None:
        started = self._starting.pop(number, None)
        if started is not None:
            self._tell(started, answer)
        elif isinstance(answer, Spawned):  # nobody asked for it
            answer.end()

    def _exited(self, spawned: Spawned, status: ExitStatus) -> None:
        if not spawned.exit.done():
            spawned.exit.set_result(status)
            # Who hears it holds the command as well: a circle, which would be left to the garbage collector.
            at_exit, spawned.at_exit = spawned.at_exit, nobody
            self._tell(at_exit)

    @staticmethod
    def _tell(who: Callable[..., None], *what: Spawned | SpawnError) -> None:
        """Call back. A fault of who is called must not keep others from being called."""
        try:
            who(*what)
        except Exception as error:  # noqa: BLE001 - said as asyncio says it of any callback
            context = {"message": f"a fault in {who!r}", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    def _lost(self) -> None:
        """The helper process has gone: whatever it was to report will not come."""
        words = "the helper process that starts commands was ended from outside"
        starting, self._starting = self._starting, {}
        running, self._running = self._running, {}
        for started in starting.values():
            self._tell(started, HelperLost(words))
        for spawned in running.values():
            self._exited(spawned, ExitStatus(None, None, lost=words))

    async def close(self, within_s: float) -> None:
        """Let the helper process end; what it still has to end, it ends by the stop ladder."""
        await self.helper.close(within_s)

    def __repr__(self) -> str:
        return f"<Spawner of {self.helper!r}, {len(self._running)} running>"
