"""asyncssh's empty packets: it sends one before each packet, for ciphers in which the end of one packet gives away the begin of the next."""

from __future__ import annotations

from typing import Any

from asyncssh.constants import MSG_IGNORE

__all__ = ["send_no_empty_packets"]


def send_no_empty_packets(connection: Any) -> None:
    """Have a connection leave them out, unless its cipher is one of those, CBC (RFC 4251 §9.3.1): half of all packets are such."""
    send = connection.send_packet

    def send_packet(kind: int, *data: bytes, **more: Any) -> None:
        if kind != MSG_IGNORE or data != (b"\0\0\0\0",) or b"-cbc" in connection._enc_alg_cs:
            send(kind, *data, **more)

    if hasattr(connection, "_enc_alg_cs"):
        connection.send_packet = send_packet
