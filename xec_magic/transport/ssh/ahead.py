"""Session channels opened before there is a command for them: it then takes one round trip, where it would take two.

asyncssh opens a channel and starts a command on it in one call. What is between the two is used here, and nobody promises it:
where it is not as we know it, `Unknown` says so, and channels are opened as any other.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

import asyncssh
from asyncssh.channel import SSHClientChannel

__all__ = ["PACKET_BYTES", "WINDOW_BYTES", "Gone", "Unknown", "open_ahead", "run_on"]

WINDOW_BYTES: Final = 8 * 2**20  # at 20 ms 83 MB/s; the default of 2 MiB gives 44, 16 MiB and more give less
PACKET_BYTES: Final = 128 * 1024


class Gone(Exception):
    """The channel was closed before a command was started on it."""


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
