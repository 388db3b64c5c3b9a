"""How a connection uses TCP: one system call for what is sent at once, and no waiting for the peer's word that something has arrived."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Iterator
from typing import Any, Final

__all__ = ["acknowledging", "gather_sends", "round_trip_s"]

MIN_RTT_AT: Final = (
    148  # of tcpi_min_rtt in Linux's struct tcp_info, 32 bits of microseconds: linux/tcp.h, since Linux 4.6
)
_NEVER: Final = 2**32 - 1  # nothing has been measured


class _Gathering:
    """A transport that writes at the end of the loop's turn what was written during it."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._pieces: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self.gathers = True

    def write(self, data: bytes) -> None:
        """Take data."""
        if not self.gathers:
            self._flush()
            self._transport.write(data)
            return
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


def gather_sends(connection: Any, gathers: bool = True) -> None:
    """Have a connection of asyncssh send what belongs together in one piece, or each packet by itself as it does: by a system call for
    each, and for an empty one before it. Where asyncssh is not as we know it, all stays as it is.
    """
    transport = getattr(connection, "_transport", None)
    if isinstance(transport, _Gathering):
        transport.gathers = gathers
    elif gathers and transport is not None and hasattr(transport, "write"):
        connection._transport = _Gathering(transport)


@contextlib.contextmanager
def acknowledging(connection: Any) -> Iterator[None]:
    """In this block all that arrives is acknowledged at once. For the first session of a connection.

    sshd sets TCP_NODELAY when a session runs. Before that its answer to the first request waits for the word that the list of its
    host keys has arrived, which it has sent just before; and that word is held back for 40 ms here (delayed acknowledgement).
    """
    sock, quick = connection.get_extra_info("socket"), getattr(socket, "TCP_QUICKACK", None)
    if sock is None or quick is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        yield
        return
    take = connection.data_received

    def received(data: bytes, *more: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, quick, 1)  # holds for what has arrived, and not for what comes later
        take(data, *more)

    connection.data_received = received
    try:
        yield
    finally:
        del connection.data_received


def round_trip_s(connection: Any) -> float:
    """The shortest round trip of a connection, as the system has measured it; 0 where it does not tell, or another program connects."""
    sock, info = connection.get_extra_info("socket"), getattr(socket, "TCP_INFO", None)
    if (
        sock is None
        or info is None
        or sock.family not in (socket.AF_INET, socket.AF_INET6)
        or not sys.platform.startswith("linux")
    ):
        return 0.0
    try:
        told = sock.getsockopt(socket.IPPROTO_TCP, info, MIN_RTT_AT + 4)
    except OSError:  # it has just been closed
        return 0.0
    micros = int.from_bytes(told[MIN_RTT_AT:], sys.byteorder) if len(told) == MIN_RTT_AT + 4 else _NEVER
    return 0.0 if micros == _NEVER else micros / 1e6
