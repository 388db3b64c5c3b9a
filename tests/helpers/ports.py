"""Ports for servers that cannot say which one they took: nobody else gets one before they listen."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")  # what the kernel gives to connections and to port 0
_LOWEST = 15000  # above what services of a machine usually have
_held: list[socket.socket] = []


def free_port() -> int:
    """A port on 127.0.0.1 that is this process's own until it ends, whoever else runs tests at the same time.

    It is below those that the kernel gives out by itself. A name among the abstract sockets says that it is taken:
    that is free again when this process has ended, in whatever way.
    """
    highest = int(_RANGE.read_text().split()[0]) - 1
    for _ in range(1000):
        port = random.randint(_LOWEST, max(highest, _LOWEST + 1000))
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0xec-test-port-{port}")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _held.append(claim)
        return port
    raise AssertionError("no port is free")
