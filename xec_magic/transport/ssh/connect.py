"""Opening a connection: configuration, host key, login; and the words when it fails."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import socket
from dataclasses import dataclass
from typing import Final

import asyncssh

from xec_magic.command import Target
from xec_magic.errors import AuthError, ConnectError, HostKeyError
from xec_magic.transport.ssh.client import Client
from xec_magic.transport.ssh.configured import Configured, configured
from xec_magic.transport.ssh.hostkeys import Verdict, host_key_algorithms, read_known_hosts
from xec_magic.transport.ssh.jumps import Jumps
from xec_magic.transport.ssh.login import Ask, Keys, Logins, nobody_to_ask
from xec_magic.transport.ssh.proxy import Proxy
from xec_magic.transport.ssh.quoted import quoted

__all__ = ["Connector", "Opened"]

HANDSHAKES: Final = 8  # at once to one address; sshd drops some of more than ten (MaxStartups 10:30:100)
TRIES: Final = 7
RETRY_S: Final = 0.1  # before the second try; doubled for each further one, with jitter
RETRY_MOST_S: Final = 2.0
FULL_S: Final = (
    30.0  # a server that says that it is full is tried so long: others finish their logins, and each has his luck
)
KEEPALIVE_S: Final = 15.0  # on an unused connection; a running command asks oftener, see session.py
KEEPALIVE_COUNT: Final = 3


@dataclass(slots=True)
class Opened:
    """A connection, and what was learned while it was opened.

    Attributes:
        connection: Logged in.
        seconds: How long it took.
        accepted: A new host key that was written down; empty for none.
        keepalive_configured: The SSH configuration says how often to ask whether the host is there.
    """

    connection: asyncssh.SSHClientConnection
    seconds: float
    accepted: str = ""
    keepalive_configured: bool = False


class Connector:
    """Opens connections to targets.

    Args:
        ask: Asks the user for a passphrase or a password; gives None where nobody can be asked.
    """

    def __init__(self, ask: Ask = nobody_to_ask) -> None:
        self._logins = Logins(ask)
        self._proxies: set[asyncio.Task[None]] = set()
        self._gates: dict[tuple[str, int], asyncio.Semaphore] = {}
        self._jumps = Jumps(self._open_jump)

    async def open(self, target: Target, *, accept: str = "") -> Opened:
        """A connection to the target, logged in.

        Args:
            target: Where to.
            accept: Fingerprint of an unknown host key that is to be accepted.

        Raises:
            ConnectError: it cannot be reached.
            HostKeyError: its key is not to be trusted.
            AuthError: it lets nobody in.
        """
        return await self._open(target, accept=accept, via=())

    async def _open(
        self, target: Target, *, accept: str, via: tuple[str, ...], through: asyncssh.SSHClientConnection | None = None
    ) -> Opened:
        loop = asyncio.get_running_loop()
        started, plain = loop.time(), False
        for attempt in itertools.count():
            try:
                opened = await self._once(target, accept, via, through, plain)
                opened.seconds = loop.time() - started
                return opened
            except _Uncertified as error:
                if plain:
                    raise HostKeyError(str(error)) from error.__cause__
                plain = True
                continue
            except _Full as error:
                if loop.time() >= started + FULL_S:
                    raise ConnectError(f"{target}: {error}, for {FULL_S:g} s") from error.__cause__
            except _Dropped as error:
                if attempt >= TRIES - 1:
                    raise ConnectError(
                        f"{target}: {error}, {TRIES} times in a row; it is too busy, or no SSH server"
                    ) from error.__cause__
            pause_s = min(RETRY_MOST_S, RETRY_S * 2**attempt)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
        raise AssertionError("unreachable")

    async def _once(
        self, target: Target, accept: str, via: tuple[str, ...], through: asyncssh.SSHClientConnection | None,
        plain: bool,
    ) -> Opened:  # fmt: skip
        conf = await configured(target)
        options, arguments, timeout_s = conf.options, conf.arguments, conf.timeout_s
        known = read_known_hosts(conf.known_hosts)
        accept_new = conf.settings.get("accept_new") == "true"
        verdict = Verdict(target.name, known, conf.known_hosts, accept_new=accept_new, expected=accept)
        keys = await self._logins.keys(target, options.config)
        cheap = keys.cheap and options.public_key_auth
        client = Client(verdict, self._logins.answers(target), signs_first=cheap)
        tunnel = through or await self._jumps.through(target, options.tunnel, via)
        if options.config.get("HostKeyAlgorithms") is None:
            arguments["server_host_key_algs"] = host_key_algorithms(
                known, options.host_key_alias or options.host, options.port, plain=plain
            )
        gate = self._gates.setdefault((options.host, options.port), asyncio.Semaphore(HANDSHAKES))
        arguments |= {
            "known_hosts": known, "client_factory": lambda: client, "tunnel": tunnel,
            "client_keys": keys.pairs or ([] if keys.agent_path else None), "agent_path": keys.agent_path,
            "preferred_auth": _methods(client.answers is not None), "connect_timeout": None, "login_timeout": 0,
        }  # fmt: skip
        async with gate:
            connection = await self._connect(target, conf, _Attempt(verdict, client, keys, timeout_s))
        asks = bool(options.config.get("ServerAliveInterval"))
        if not asks:
            connection.set_keepalive(KEEPALIVE_S, KEEPALIVE_COUNT)
        return Opened(connection, 0.0, verdict.added, asks)

    async def _connect(self, target: Target, conf: Configured, attempt: _Attempt) -> asyncssh.SSHClientConnection:
        """Connect; what goes wrong has words of ours."""
        proxy, arguments = None, conf.arguments
        try:
            if conf.proxy_command and not arguments["tunnel"]:
                proxy = Proxy(conf.proxy_command)
                arguments |= {"proxy_command": None, "sock": proxy.socket, "port": conf.options.port}
            async with asyncio.timeout(attempt.timeout_s) as limit:
                attempt.client.keep_limit(limit, attempt.timeout_s)
                connection = await asyncssh.connect(**arguments)
        except (OSError, asyncssh.Error, ValueError) as error:
            worded = self._worded(target, conf, attempt, error)
            said = proxy.said() if proxy is not None else ""
            if said and isinstance(worded, (_Dropped, ConnectError)):
                raise ConnectError(f"{target}: its ProxyCommand failed: {said}") from error
            raise worded from error
        finally:
            if proxy is not None:
                self._end_proxy(proxy, locals().get("connection"))
        return connection

    def _end_proxy(self, proxy: Proxy, connection: asyncssh.SSHClientConnection | None) -> None:
        if connection is None:
            proxy.end()
            return
        task = asyncio.get_running_loop().create_task(proxy.end_with(connection))
        self._proxies.add(task)
        task.add_done_callback(self._proxies.discard)

    def _worded(self, target: Target, conf: Configured, attempt: _Attempt, error: Exception) -> Exception:
        place, options = conf.place, conf.options
        greeting = attempt.client.greeting
        if greeting.is_full:
            return _Full(f"{place} takes no further connection now (MaxStartups): it {greeting.words}")
        if greeting.words:
            return ConnectError(f"{target}: {place} is no SSH server: it {greeting.words}")
        match error:
            case TimeoutError():  # before OSError, which it is
                agent = attempt.keys.agent_path if attempt.client.has_met else None
                silent = f"{place}, or from the agent at {agent}," if agent else place
                words = f"no answer from {silent} within {attempt.timeout_s:g} s (ConnectTimeout)"
            case asyncssh.PermissionDenied():
                return self._logins.denied(
                    target, place, options.username, attempt.keys, error.reason, attempt.client.answers
                )
            case asyncssh.HostKeyNotVerifiable():
                kind = _Uncertified if attempt.verdict.strange_authority else HostKeyError
                return attempt.verdict.error or kind(f"{target}: {_of_host(error)}; nothing was sent to it")
            case asyncssh.ConnectionLost() | ConnectionResetError() | BrokenPipeError():
                client = attempt.client
                if client.waits_for_user or not client.has_met:
                    return _Dropped(f"{place} closed the connection before the login")
                said = f"; it said: {client.said}" if client.said else ""
                if not client.logged_in:  # not again: each try would be counted as one that has failed
                    return AuthError(
                        f"{target}: {place} closes the connection at the login of {options.username!r}"
                        f"{said or '; the account may be expired or forbidden there'}"
                    )
                words = f"{place} closed the connection after the login{said}"
            case asyncssh.ChannelOpenError():
                words = f"its jump host cannot reach {place}: {quoted(error.reason).lower()}"
            case asyncssh.DisconnectError():
                words = f"{place} and we cannot agree: {quoted(error.reason)}"
            case socket.gaierror():
                words = f"there is no host {options.host!r}: {str(error.strerror).lower()}"
            case OSError():
                words = f"cannot reach {place}: {_reason(error)}"
            case _:
                words = f"cannot connect to {place}: {quoted(error)}"
        return ConnectError(f"{target}: {words}")

    async def _open_jump(
        self, hop: Target, via: tuple[str, ...], through: asyncssh.SSHClientConnection | None
    ) -> asyncssh.SSHClientConnection:
        return (await self._open(hop, accept="", via=via, through=through)).connection

    def close(self) -> None:
        """End the connections to jump hosts, and forget keys and passwords."""
        self._jumps.close()
        for proxy in self._proxies:
            proxy.cancel()
        self._logins.forget()


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What one try to connect knows, for the words when it fails."""

    verdict: Verdict
    client: Client
    keys: Keys
    timeout_s: float


class _Dropped(Exception):
    """The server closed the connection before it had asked anything: it is busy, and a further try may come through."""


class _Full(_Dropped):
    """It has said that it is busy, and no more than that."""


class _Uncertified(HostKeyError):
    """Its key is certified by an authority that is not known. The key alone may be, so it is asked for that."""


def _methods(password: bool) -> list[str]:
    # Never a password unless it was asked for: a server that wants one would otherwise be told something.
    return ["publickey", *(("keyboard-interactive", "password") if password else ())]


def _of_host(error: Exception) -> str:
    """What is wrong with the host's key: a certificate is said to be its own, for the user may have one, too."""
    text = str(error)
    if text.startswith("Host CA key is revoked"):
        return f"the authority that has certified its host key is marked as revoked in known_hosts{text[22:]}"
    return f"the host's own c{text[1:]}" if text.startswith("Certificate") else text


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or getattr(error, "reason", None) or str(error) or type(error).__name__
    if "Connect call failed" in text or "Multiple exceptions" in text:
        number = getattr(error, "errno", None)
        text = os.strerror(number) if number else text
    return str(text).lower()
