"""`Greeting`: what a server says before its SSH version. A full sshd says so there, and what is no SSH server gives itself away."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import asyncssh

__all__ = ["PATIENCE_S", "Greeting"]

KEPT_BYTES: Final = 300  # of a server's words, in a message
PATIENCE_S: Final = 2.0  # for the version of a server that has begun with other lines: a real one sends them together
_NO_SSH: Final = re.compile(rb"\AHTTP/|[\0-\x08\x0e-\x1a]")  # no greeting has control characters, RFC 4253 §4.2
_FULL: Final = (b"Exceeded MaxStartups", b"Not allowed at this time")  # sshd's words before it closes a connection


class Greeting:
    """Listens to the first words on a connection.

    Args:
        waits: Called when the version is overdue, for something else has come; and with False when the version is there after all.
    """

    def __init__(self, waits: Callable[[bool], None] = lambda _: None) -> None:
        self.waits = waits
        self._has_version = False
        self._said = b""

    def listen(self, connection: Any) -> None:
        """Hear what comes until asyncssh has found the version. Where asyncssh is not as we know it, nothing is heard."""
        read = getattr(connection, "_recv_handler", None)
        if read is None or read != getattr(connection, "_recv_version", None):
            return

        def hear() -> bool:
            self._hear(connection._inpbuf)
            found: bool = read()
            if connection._recv_handler is not hear:
                self._has_version = True
                if self._said:
                    self.waits(False)
            return found

        connection._recv_handler = hear

    def _hear(self, data: bytes) -> None:
        if data.startswith(b"SSH-"[: len(data)]):
            return
        before = self._said
        if data.startswith(before):  # a line that came in pieces
            self._said = data.partition(b"\nSSH-")[0][:KEPT_BYTES]
        if _NO_SSH.search(self._said):
            raise asyncssh.ProtocolError("no SSH")
        if not before:
            self.waits(True)

    @property
    def is_full(self) -> bool:
        """An sshd that takes no further connection now, for too many have not logged in yet (MaxStartups)."""
        return not self._has_version and self._said.startswith(_FULL)

    @property
    def words(self) -> str:
        """What a server has said that has not said that it speaks SSH; empty where it has, or was silent."""
        if self._has_version or not self._said:
            return ""
        line = self._said.decode("utf-8", "replace").strip().partition("\n")[0].strip()
        return f"says {line!r}" if line.isprintable() and "\ufffd" not in line else "sends what is no text"
