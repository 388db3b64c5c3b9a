"""Session channels opened before there is a command for them: it then takes one round trip, where it would take two. On one of them
a shell can wait: what the login takes to start is then over, too.

asyncssh opens a channel and starts a command on it in one call. What is between the two is used here, and nobody promises it:
where it is not as we know it, `Unknown` says so, and channels are opened as any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

import asyncssh
from asyncssh.channel import SSHClientChannel

__all__ = ["PACKET_BYTES", "TYPED_BYTES", "WINDOW_BYTES", "Ahead", "Gone", "Unknown", "Unused", "open_ahead", "run_on"]

WINDOW_BYTES: Final = 8 * 2**20  # at 20 ms 83 MB/s; the default of 2 MiB gives 44, 16 MiB and more give less
PACKET_BYTES: Final = 128 * 1024
TYPED_BYTES: Final = 4096  # a shell reads byte by byte, 1 to 2 µs each: a longer text costs more than the shell's start
CHATTER_BYTES: Final = 4096  # kept of what a login prints


class Gone(Exception):
    """The channel was closed before a command was started on it."""


class Unused(Exception):
    """The shell that waited has ended without having read what was typed; nothing has run."""


class Unknown(Exception):
    """This asyncssh is another than we know."""


class _Nothing:
    """What the server says beside that the channel is open: nothing."""

    def check_end(self) -> None:
        """There is nothing more."""


async def open_ahead(connection: asyncssh.SSHClientConnection) -> Any:
    """A channel that waits for its command. It is not to be cancelled: the server would have a channel that nobody knows.

    Raises:
        asyncssh.ChannelOpenError: the server refuses it.
        Unknown: it cannot be done with this asyncssh.
    """
    try:
        if connection._options.x11_forwarding:
            raise Unknown("X11 is forwarded for each command")
        connection._update_recv_pktlen(PACKET_BYTES)
        loop = asyncio.get_running_loop()
        channel = cast("Any", SSHClientChannel)(connection, loop, "strict", None, "strict", WINDOW_BYTES, PACKET_BYTES)
        packet = await channel._open(b"session")
        packet.check_end()
    except (AttributeError, TypeError) as error:
        raise Unknown(str(error)) from error

    async def opened(*_: object) -> _Nothing:
        return _Nothing()

    channel._open = opened
    return channel


async def run_on(channel: Any, session: asyncssh.SSHClientSession[bytes], line: str) -> None:
    """Run a line on a channel that was opened ahead.

    Raises:
        Gone: it has been closed meanwhile, and nothing has run.
        asyncssh.ChannelOpenError: the server does not run the line.
    """
    if channel.is_closing():
        raise Gone
    connection = channel.get_connection()
    env = connection._options.env or {}
    encoded = {_bytes(name): _bytes(value) for name, value in dict(env).items()}
    try:
        await channel.create(
            lambda: session, line, None, encoded, False, None, None, {}, False, None, None, False,
            bool(connection._agent_forward_path),
        )  # fmt: skip
    except asyncssh.ChannelOpenError as error:
        if error.code == asyncssh.OPEN_REQUEST_SESSION_FAILED and channel._conn is None:
            raise Gone from error  # it was closed without an answer; a refusal leaves it open
        raise


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode("utf-8")


class Ahead:
    """A channel without a command. It is opened in a task that is never cancelled, see `open_ahead`.

    Args:
        connection: Where it is opened.
        told: Called when it is open, or is refused.
    """

    def __init__(self, connection: asyncssh.SSHClientConnection, told: Callable[[Ahead], None]) -> None:
        self.opening = asyncio.get_running_loop().create_task(open_ahead(connection))
        self._shell: _Waiting | None = None
        self.opening.add_done_callback(lambda _: told(self))

    @property
    def is_open(self) -> bool:
        """Something can be started on it."""
        return self.error is None and self.opening.done() and not self.opening.result().is_closing()

    @property
    def error(self) -> BaseException | None:
        """Why it is not there."""
        if not self.opening.done():
            return None
        return asyncio.CancelledError() if self.opening.cancelled() else self.opening.exception()

    @property
    def has_shell(self) -> bool:
        """A shell waits on it."""
        return self._shell is not None

    @property
    def waits(self) -> bool:
        """Its shell has not been typed to, and nobody has let go of it."""
        return self._shell is not None and self._shell.ended is not None

    def wait_on(self, line: str, ended: Callable[[Ahead], None]) -> asyncio.Task[None]:
        """Start a shell that waits. The channel is open.

        Args:
            line: What starts it.
            ended: Called when it ends before anything was typed.
        """
        shell = self._shell = _Waiting(lambda: ended(self))
        return asyncio.get_running_loop().create_task(run_on(self.opening.result(), shell, line))

    def type(self, session: asyncssh.SSHClientSession[bytes], text: bytes) -> None:
        """Have the shell that waits read this; from now on the channel is the session's.

        Raises:
            Gone: it has ended; nothing was read.
        """
        assert self._shell is not None
        self._shell.give_to(session, text)

    def let_go(self) -> None:
        """Nobody wants it any more: close it, as soon as it is open."""
        if self._shell is not None:
            self._shell.ended = None
        self.opening.add_done_callback(_close)


def _close(opening: asyncio.Task[Any]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().abort()


class _Waiting(asyncssh.SSHClientSession[bytes]):
    """The session of a shell that waits. When something is typed, all that comes then is another session's business."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self.ended: Callable[[], None] | None = ended
        self._channel: Any = None
        self._session: asyncssh.SSHClientSession[bytes] | None = None
        self._said: list[tuple[bytes, int | None]] = []

    def give_to(self, session: asyncssh.SSHClientSession[bytes], text: bytes) -> None:
        """Type a text, for a session that gets what comes of it."""
        # Not before its line was sent, and not behind its end.
        if self._channel is None or self._channel.is_closing():
            raise Gone
        self.ended = None
        self._session = session
        session.connection_made(self._channel)
        self._channel.write(text)
        session.session_started()
        for data, datatype in self._said:
            session.data_received(data, datatype)

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """Its line is about to be sent."""
        self._channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Before anything was typed only the login has something to say."""
        if self._session is not None:
            self._session.data_received(data, datatype)
        elif sum(len(each) for each, _ in self._said) < CHATTER_BYTES:
            self._said.append((data, datatype))

    def exit_status_received(self, status: int) -> None:
        """See `SSHClientSession`."""
        if self._session is not None:
            self._session.exit_status_received(status)

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """See `SSHClientSession`."""
        if self._session is not None:
            self._session.exit_signal_received(signal, core_dumped, msg, lang)

    def eof_received(self) -> bool:
        """See `SSHClientSession`."""
        return bool(self._session is not None and self._session.eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended, or what was typed has."""
        ended, self.ended = self.ended, None
        if self._session is not None:
            self._session.connection_lost(exc)
        elif ended is not None:
            ended()

    def pause_writing(self) -> None:
        """See `SSHClientSession`."""
        if self._session is not None:
            self._session.pause_writing()

    def resume_writing(self) -> None:
        """See `SSHClientSession`."""
        if self._session is not None:
            self._session.resume_writing()
