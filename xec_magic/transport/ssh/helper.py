"""Short helper commands on a host: what one of them prints is collected whole."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import asyncssh

from xec_magic.transport.ssh.ahead import Ahead, Gone
from xec_magic.transport.ssh.connection import Connection
from xec_magic.transport.ssh.remote import Launch

__all__ = ["Collected", "Collector", "collect"]


class Collected:
    """What a short helper command on a host printed, and its exit code; None when the connection was lost."""

    def __init__(self) -> None:
        self.stdout = b""
        self.stderr = b""
        self.exit_code: int | None = None


class Collector(asyncssh.SSHClientSession[bytes]):
    """The session of a short helper command."""

    def __init__(self) -> None:
        self.collected = Collected()
        self.channel: Any = None
        self.done: asyncio.Future[Collected] = asyncio.get_running_loop().create_future()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """The channel is open."""
        self.channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Take output."""
        if datatype:
            self.collected.stderr += data
        else:
            self.collected.stdout += data

    def exit_status_received(self, status: int) -> None:
        """Take the exit code."""
        self.collected.exit_code = status

    def connection_lost(self, _: Exception | None) -> None:
        """The channel is closed."""
        if not self.done.done():
            self.done.set_result(self.collected)


async def collect(connection: Connection, launch: Launch, data: bytes, ahead: Ahead | None = None) -> Collected:
    """Run a helper command on a connection, on the channel that was opened ahead where there is one.

    Raises:
        asyncssh.Error: there is no channel for it.
    """
    try:
        collector = await _begin(connection, launch, ahead)
    except Gone:
        collector = await _begin(connection, launch, None)
    channel = collector.channel
    try:
        with contextlib.suppress(BrokenPipeError):  # it has ended without reading; why, it may have said
            channel.write(launch.head + data)
            channel.write_eof()
        return await collector.done
    finally:
        channel.abort()


async def _begin(connection: Connection, launch: Launch, ahead: Ahead | None) -> Collector:
    """It runs. Where nobody waits for that any more its channel is closed as soon as it is open: the server would keep it for ever."""
    collector = Collector()
    opening = asyncio.ensure_future(connection.run(collector, launch, ahead))

    def given_up(done: asyncio.Future[None]) -> None:
        if not done.cancelled() and done.exception() is None:
            collector.channel.abort()

    try:
        await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(given_up)
        raise
    return collector
