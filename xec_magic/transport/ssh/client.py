"""`Client`: answers what asyncssh asks while it connects, and remembers how far it came."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncssh

from xec_magic.transport.ssh.answers import Answers
from xec_magic.transport.ssh.greeting import PATIENCE_S, Greeting
from xec_magic.transport.ssh.hostkeys import Verdict
from xec_magic.transport.ssh.ignoring import send_no_empty_packets
from xec_magic.transport.ssh.quiet import log_less
from xec_magic.transport.ssh.quoted import quoted
from xec_magic.transport.ssh.signing import sign_at_once
from xec_magic.transport.ssh.wire import gather_sends

__all__ = ["Client"]


class Client(asyncssh.SSHClient):
    """One try to connect.

    Args:
        verdict: Judges the host's key.
        answers: Answers questions; None where no password was asked for: nobody is told anything then.
        signs_first: Log in with the first key at once. Otherwise the server is asked before whether it knows the key: that is right where
            to sign is dear, as with a token, or an agent that asks.
    """

    def __init__(self, verdict: Verdict, answers: Answers | None, *, signs_first: bool) -> None:
        self.answers = answers
        self.greeting = Greeting()
        self._signs_first = signs_first
        self.logged_in = False
        self._verdict = verdict
        self._connection: asyncssh.SSHClientConnection | None = None
        self._said = ""

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """The connection is there; nothing was said yet."""
        self._connection = conn
        self.greeting.listen(conn)
        log_less(conn)
        send_no_empty_packets(conn)
        gather_sends(conn)

    def begin_auth(self, username: str) -> None:  # noqa: ARG002 - asyncssh's signature
        """The login begins."""
        if self._signs_first:
            sign_at_once(self._connection)

    @property
    def has_met(self) -> bool:
        """The host has shown its key: what comes then is the login."""
        return self._connection is not None and self._connection.get_server_host_key() is not None

    @property
    def said(self) -> str:
        """The last words of the server before the login, in one line."""
        return quoted(self._said)

    @property
    def waits_for_user(self) -> bool:
        """It waits for what the user types: a server that hangs up meanwhile (LoginGraceTime) has judged nothing."""
        return self.answers is not None and self.answers.open

    def keep_limit(self, limit: asyncio.Timeout, seconds: float) -> None:
        """Let a time limit not count while the user types, then begin anew; and let it be short where the server does not speak SSH."""
        loop = asyncio.get_running_loop()

        def set_to(seconds: float | None) -> None:
            if not limit.expired():
                limit.reschedule(None if seconds is None else loop.time() + seconds)

        self.greeting.waits = lambda overdue: set_to(min(PATIENCE_S, seconds) if overdue else seconds)
        if self.answers is not None:
            self.answers.pause = lambda asks: set_to(None if asks else seconds)

    def auth_banner_received(self, msg: str, _: str) -> None:
        """What a server says before the login: a greeting, and why it lets somebody not in after all."""
        self._said = msg

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Whether a key that is not known may be trusted."""
        return self._verdict.accepts(host, addr, port, key)

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002 - asyncssh's
        """Whether an authority that is not known may be trusted."""
        self._verdict.strange_authority = True
        return False

    def auth_completed(self) -> None:
        """We are in."""
        self.logged_in = True

    async def password_auth_requested(self) -> str | None:
        """A password; None for none."""
        return await self.answers.answer("password") if self.answers and self.answers.begin() else None

    def kbdint_auth_requested(self) -> str | None:
        """Whether the server may ask questions."""
        return "" if self.answers and self.answers.begin() else None

    async def kbdint_challenge_received(self, *challenge: Any) -> list[str] | None:
        """Answers to its questions."""
        told = []
        for prompt, _ in challenge[-1]:
            answer = await self.answers.answer(prompt) if self.answers else None
            if answer is None:
                return None
            told.append(answer)
        return told
