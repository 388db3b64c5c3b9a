"""A `ProxyCommand`: a program here whose input and output are the connection."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import tempfile
from typing import Final

import asyncssh

__all__ = ["Proxy"]

END_S: Final = 0.5  # from the end of its input to TERM, and from there to KILL


class Proxy:
    """A running `ProxyCommand`. By a shell, as OpenSSH runs it; the kernel is not forked.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, command: str) -> None:
        self.socket, theirs = socket.socketpair()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        try:
            with theirs:
                self._process: subprocess.Popen[bytes] = subprocess.Popen(
                    ["/bin/sh", "-c", command],
                    stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=self._said, start_new_session=True,
                )  # fmt: skip
        except OSError:
            self.socket.close()
            self._said.close()
            raise

    def said(self) -> str:
        """The last line that it printed as an error; empty for none."""
        self._said.seek(0)
        lines = self._said.read(8192).decode("utf-8", "replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

    async def end_with(self, connection: asyncssh.SSHClientConnection) -> None:
        """End when the connection is closed. Cancelling ends it now."""
        try:
            await connection.wait_closed()
            for _ in range(10):
                if self._process.poll() is not None:
                    return
                await asyncio.sleep(END_S / 10)
        finally:
            self.end()

    def end(self) -> None:
        """End it and what it has started; nothing of it is left."""
        self.socket.close()
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self._said.close()
