"""One connection to a host, and the lease of a channel on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import Final, cast

import asyncssh

from xec_magic.transport.ssh.ahead import PACKET_BYTES, TYPED_BYTES, WINDOW_BYTES, Ahead, Gone, Unknown, run_on
from xec_magic.transport.ssh.connect import KEEPALIVE_COUNT, KEEPALIVE_S, Opened
from xec_magic.transport.ssh.remote import Launch
from xec_magic.transport.ssh.wire import acknowledging, gather_sends

__all__ = ["Connection", "Lease"]

BUSY_KEEPALIVE_S: Final = 5.0  # three unanswered ones, and a command's connection counts as lost


class Connection:
    """One connection to a host, with what is known of the host through it."""

    def __init__(self, number: int, opened: Opened) -> None:
        self.number = number
        self.asyncssh = opened.connection
        self.handshake_s = opened.seconds
        self.commands = 0
        self.ahead: deque[Ahead] = deque()  # channels without a command, the oldest first
        self._running = 0
        self._has_run = False
        self._keepalive_configured = opened.keepalive_configured

    @property
    def is_open(self) -> bool:
        """Channels can be opened on it."""
        return not self.asyncssh.is_closed()

    def count(self, step: int) -> None:
        """A command begins or ends on it; while one runs a dead link must be noticed soon."""
        before, self._running = self._running, self._running + step
        if bool(before) != bool(self._running) and self.is_open and not self._keepalive_configured:
            self.asyncssh.set_keepalive(BUSY_KEEPALIVE_S if self._running else KEEPALIVE_S, KEEPALIVE_COUNT)

    def take_ahead(self) -> Ahead:
        """A channel that was opened ahead, for a command: one with a shell, else the oldest."""
        found = next((ahead for ahead in self.ahead if ahead.has_shell), self.ahead[0])
        self.ahead.remove(found)
        return found

    async def run(
        self, session: asyncssh.SSHClientSession[bytes], launch: Launch, ahead: Ahead | None = None, *, typed: bool = True
    ) -> None:  # fmt: skip
        """Run something on a channel: one that was opened ahead, or is being opened, or a new one.

        Args:
            session: Gets what comes of it.
            launch: What to run.
            ahead: The channel that was opened ahead.
            typed: A shell that waits there may run it.

        Raises:
            Gone: the channel opened ahead was closed when the line came; nothing has run.
            asyncssh.ChannelOpenError: the server refuses the channel.
        """
        if ahead is not None and ahead.has_shell:
            text = launch.typed_ahead if typed else b""
            if not 0 < len(text) <= TYPED_BYTES:
                ahead.let_go()
                raise Gone
            ahead.type(session, text)
            return
        if ahead is not None:
            try:
                channel = await asyncio.shield(ahead.opening)
            except Unknown as error:
                raise Gone from error
            await run_on(channel, session, _text(launch.line))
            return
        first, self._has_run = not self._has_run, True
        if first:  # in two pieces its request brings, on some links, what sshd waits for
            gather_sends(self.asyncssh, False)
        with acknowledging(self.asyncssh) if first else contextlib.nullcontext():
            await self.asyncssh.create_session(
                lambda: session, _text(launch.line), encoding=None, window=WINDOW_BYTES, max_pktsize=PACKET_BYTES,
                request_pty=False, send_env=[],
            )  # fmt: skip
        gather_sends(self.asyncssh)


@dataclass(frozen=True, slots=True)
class Lease:
    """A channel that may be opened on a connection, or that was opened ahead."""

    ticket: int
    connection: Connection
    ahead: Ahead | None = None

    def unused(self) -> None:
        """Nobody runs anything on what was opened ahead for it: that is closed."""
        if self.ahead is not None:
            self.ahead.let_go()


def _text(line: bytes) -> str:
    return cast("str", line)  # asyncssh sends bytes as they are, and only says that it wants text
