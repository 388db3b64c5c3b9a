"""One system call for what is sent at once: asyncssh makes one for each packet, and for an empty one before it."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["gather_sends"]


class _Gathering:
    """A transport that writes at the end of the loop's turn what was written during it."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._pieces: list[bytes] = []
        self._loop = asyncio.get_running_loop()

    def write(self, data: bytes) -> None:
        """Take data."""
        if not self._pieces:
            self._loop.call_soon(self._flush)
        self._pieces.append(data)

    def _flush(self) -> None:
        pieces, self._pieces = self._pieces, []
        if pieces:
            self._transport.write(b"".join(pieces))

    def close(self) -> None:
        """Close it when all is sent."""
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def gather_sends(connection: Any) -> None:
    """Have a connection of asyncssh send what belongs together in one piece. Where asyncssh is not as we know it, all stays as it is."""
    transport = getattr(connection, "_transport", None)
    if transport is not None and hasattr(transport, "write"):
        connection._transport = _Gathering(transport)
