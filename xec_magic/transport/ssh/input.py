"""What a command on a host reads: bytes, or what another command writes into a pipe, sent over its channel."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

import asyncssh

__all__ = ["ChannelInput"]

PIECE_BYTES: Final = 256 * 1024


class ChannelInput:
    """The input of one channel, sent at the host's pace."""

    def __init__(self) -> None:
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def opened(self, channel: asyncssh.SSHClientChannel[bytes]) -> None:
        """The channel is open."""
        self._channel = channel

    def pause(self) -> None:
        """The host takes no more now."""
        self._writable.clear()

    def resume(self) -> None:
        """It takes more again, or never any more: who waits to write goes on."""
        self._writable.set()

    async def send(self, data: bytes, fd: int | None = None) -> None:
        """Send some bytes, then what a pipe gives, and the end. The descriptor is closed, also when this is cancelled."""
        async with contextlib.aclosing(_pieces_of(fd, data, PIECE_BYTES)) as pieces:
            async for piece in pieces:
                await self._writable.wait()
                if self._channel is None or self._channel.is_closing():
                    break
                with contextlib.suppress(OSError):  # the command has closed its input
                    self._channel.write(piece)
        self.end()

    def end(self) -> None:
        """There is no more."""
        if self._channel is not None and not self._channel.is_closing():
            with contextlib.suppress(OSError):
                self._channel.write_eof()


async def _pieces_of(fd: int | None, data: bytes, size: int) -> AsyncGenerator[bytes, None]:
    """Some bytes, then what a descriptor gives, in pieces. The descriptor is closed at the end, and when nobody wants more."""
    try:
        for start in range(0, len(data), size):
            yield data[start : start + size]
        if fd is None:
            return
        loop = asyncio.get_running_loop()
        os.set_blocking(fd, False)
        while True:
            try:
                piece = os.read(fd, size)
            except BlockingIOError:
                await _ready_to(loop.add_reader, loop.remove_reader, fd)
                continue
            if not piece:
                return
            yield piece
    finally:
        if fd is not None:
            os.close(fd)


async def _ready_to(add: Callable[..., Any], remove: Callable[[int], Any], fd: int) -> None:
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def is_ready() -> None:
        if not ready.done():
            ready.set_result(None)

    add(fd, is_ready)
    try:
        await ready
    finally:
        remove(fd)
