"""Who logs in with what: keys, certificates and the agent; a passphrase or a password where the user is asked for it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import asyncssh

from xec_magic.command import Target
from xec_magic.errors import AuthError
from xec_magic.transport.ssh.answers import Answers, Ask
from xec_magic.transport.ssh.certificates import certificate_troubles

__all__ = ["Ask", "Keys", "Logins", "nobody_to_ask"]

PASSPHRASE_TRIES: Final = 3  # as many as ssh gives (NumberOfPasswordPrompts)
AGENT_S: Final = 5.0  # one that is forwarded from elsewhere may be there, and never answer
USUAL_KEYS: Final = tuple(f"~/.ssh/id_{kind}" for kind in ("ed25519", "ecdsa", "rsa", "ed25519_sk", "ecdsa_sk"))


async def nobody_to_ask(_: str) -> str | None:
    """Answers no question: there is nobody."""
    return None


@dataclass(slots=True)
class Keys:
    """What to log in with.

    Attributes:
        pairs: Keys, with certificates where there are some, as asyncssh takes them.
        agent_path: The agent's socket; None for no agent.
        locked: Keys that have a passphrase which is not known.
        certificates: Certificates that belong to any of the keys.
        tried: Files of the keys that are not the agent's.
        cheap: The first one to be tried is a file's, and signs without anybody's doing.
    """

    pairs: list[Any] = field(default_factory=list)
    agent_path: str | None = None
    locked: list[str] = field(default_factory=list)
    certificates: list[str] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)

    @property
    def cheap(self) -> bool:
        """See above."""
        first = self.pairs[0] if self.pairs and self.agent_path is None else None
        key = first[0] if isinstance(first, tuple) else first
        return key is not None and not key.algorithm.startswith(b"sk-")


class Logins:
    """Finds what to log in with. A passphrase is asked for once and not kept; the unlocked key is, until the kernel ends.

    Args:
        ask: Asks the user; gives None where nobody can be asked.
    """

    def __init__(self, ask: Ask = nobody_to_ask) -> None:
        self._ask = ask
        self._unlocked: dict[str, asyncssh.SSHKey] = {}
        self._plain: dict[str, tuple[tuple[int, int, int], asyncssh.SSHKey]] = {}  # those without a passphrase
        self._passwords: dict[Target, str] = {}
        self._asking = asyncio.Lock()

    async def keys(self, target: Target, config: Any) -> Keys:
        """The keys that the configuration names, or the usual ones; those of the agent are asked for by asyncssh.

        Raises:
            AuthError: a key that was named cannot be read, or its passphrase is wrong or not to be had.
        """
        try:
            keys = self._find(target, config, self._read)
        except _Unread:
            keys = await asyncio.get_running_loop().run_in_executor(None, self._find, target, config, self._read_now)
        if keys.locked and not keys.pairs and not await _agent_has_keys(keys.agent_path):
            await self._unlock(target, keys)
        return keys

    def _find(self, target: Target, config: Any, read: Callable[[str], asyncssh.SSHKey]) -> Keys:
        named = dict(target.settings).get("key")
        files: Iterable[str] | None = [named] if named else config.get("IdentityFile", None)
        agent = config.get("IdentityAgent", None) or os.environ.get("SSH_AUTH_SOCK", "")
        agent = os.path.expanduser(agent) if agent and agent.lower() != "none" else ""
        certificates = map(os.path.expanduser, config.get("CertificateFile", ()))
        keys = Keys(agent_path=agent if agent and os.path.exists(agent) else None, certificates=[*certificates])
        for path in map(os.path.expanduser, USUAL_KEYS if files is None else files):
            if not os.path.isfile(path):
                if path == named:
                    raise AuthError(f"{target}: there is no key {path}")
                continue
            try:
                key = self._unlocked.get(path) or read(path)
            except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, OSError) as error:
                if _is_locked(error):
                    keys.locked.append(path)
                elif files is not None:
                    raise AuthError(f"{target}: the key {path} cannot be read: {error}") from error
                continue
            keys.pairs += _with_certificates(key, path, keys.certificates)
            keys.tried.append(path)
        return keys

    def _read(self, path: str) -> asyncssh.SSHKey:
        """A key that has been read already, and has not changed."""
        known = self._plain.get(path)
        if known is None or known[0] != _stamp(path):
            raise _Unread
        return known[1]

    def _read_now(self, path: str) -> asyncssh.SSHKey:
        stamp = _stamp(path)
        key = asyncssh.read_private_key(path)
        self._plain[path] = stamp, key
        return key

    async def _unlock(self, target: Target, keys: Keys) -> None:
        async with self._asking:  # many hosts with one key: the user is asked once
            for path in keys.locked:
                key = self._unlocked.get(path)
                if key is None:
                    key = self._unlocked[path] = await self._ask_for_key(target, path)
                keys.pairs += _with_certificates(key, path, keys.certificates)
            keys.locked.clear()

    async def _ask_for_key(self, target: Target, path: str) -> asyncssh.SSHKey:
        """A key that has a passphrase; who types it wrong is asked again, as `ssh` does it: else each typing error costs a host."""
        again = ""
        for more in reversed(range(PASSPHRASE_TRIES)):
            passphrase = await self._ask(f"{again}Passphrase for {path}, to log in on {target}: ")
            if passphrase is None:
                raise AuthError(
                    f"{target}: the key {path} has a passphrase, and nobody can be asked for it here; give the key to an "
                    f"agent first: ssh-add {path}"
                )
            try:
                return await asyncio.get_running_loop().run_in_executor(
                    None, asyncssh.read_private_key, path, passphrase
                )
            except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
                if not more:
                    raise AuthError(f"{target}: that is not the passphrase of {path}") from error
                again = "That is not it. "
        raise AssertionError("the last wrong answer raises")

    def answers(self, target: Target) -> Answers | None:
        """Answers a server's questions during a login; None where a password was not asked for: nobody is told anything then.

        What the user types is kept until the kernel ends, for further connections, and in no file.
        """
        if dict(target.settings).get("auth") != "password":
            return None
        return Answers(target, self._ask, self._passwords, self._asking)

    def denied(
        self, target: Target, place: str, user: str, keys: Keys, reason: str, answers: Answers | None = None
    ) -> AuthError:
        """The error for a login that was refused."""
        certificates = [*keys.certificates, *(f"{path}-cert.pub" for path in keys.tried)]
        if keys.locked:
            more = f"; not tried, for it has a passphrase: {', '.join(keys.locked)} (ssh-add gives it to the agent)"
        elif answers is not None and answers.given:
            self._passwords.pop(target, None)
            more = "; the password was not taken"
        elif answers is not None:
            more = "; it wants a password, and nobody can be asked for it here"
        elif troubles := certificate_troubles(certificates, user, time.time()):
            more = f"; {'; '.join(troubles)}"
        else:
            tried = f"; tried: {', '.join(keys.tried)}" if keys.tried else ""
            more = f"{tried}; check the user and the key (IdentityFile, or the agent: ssh-add -l)"
        why, _, _ = reason.lower().partition(f" for user {user.lower()}")  # which has been said
        return AuthError(f"{target}: {place} does not let {user!r} in: {why}{more}")

    def forget(self) -> None:
        """Forget keys and passwords."""
        self._unlocked.clear()
        self._plain.clear()
        self._passwords.clear()


class _Unread(Exception):
    """A key has to be read from its file."""


def _stamp(path: str) -> tuple[int, int, int]:
    status = os.stat(path)
    return status.st_ino, status.st_size, status.st_mtime_ns


async def _agent_has_keys(agent_path: str | None) -> bool:
    if agent_path is None:
        return False
    try:
        async with asyncio.timeout(AGENT_S), asyncssh.connect_agent(agent_path) as agent:
            return bool(await agent.get_keys())
    except (OSError, asyncssh.Error, ValueError):
        return False


def _with_certificates(key: Any, path: str, certificates: list[str]) -> list[Any]:
    pairs: list[Any] = []
    for certificate in [*certificates, f"{path}-cert.pub"]:
        try:
            read = asyncssh.read_certificate(certificate)
        except (asyncssh.KeyImportError, OSError):
            continue
        if read.key.public_data == key.public_data:
            pairs.append((key, read))
    return [*pairs, key]


def _is_locked(error: BaseException) -> bool:
    return isinstance(error, asyncssh.KeyEncryptionError) or "passphrase" in str(error).lower()
