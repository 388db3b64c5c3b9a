"""Which host keys are trusted: known_hosts as OpenSSH keeps it, and what to say of a key that is not in it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import asyncssh
from asyncssh.public_key import get_default_certificate_algs, get_default_public_key_algs

from xec_magic.errors import HostKeyError

__all__ = ["KnownHosts", "Verdict", "append_key", "host_key_algorithms", "read_known_hosts"]

DEFAULT_FILES: Final = (
    "~/.ssh/known_hosts",
    "~/.ssh/known_hosts2",
    "/etc/ssh/ssh_known_hosts",
    "/etc/ssh/ssh_known_hosts2",
)

KnownHosts = asyncssh.SSHKnownHosts

_read: dict[tuple[str, ...], tuple[tuple[tuple[int, int, int], ...], KnownHosts]] = {}


def read_known_hosts(files: Sequence[str]) -> KnownHosts:
    """The known hosts of all these files; those that are not there count as empty, as for OpenSSH.

    A line that cannot be read is passed over. Read again when a file has changed.
    """
    paths = [path for path in map(_full, files) if os.access(path, os.R_OK)]
    stamps = []
    for path in paths:
        status = os.stat(path)
        stamps.append((status.st_ino, status.st_size, status.st_mtime_ns))
    key = tuple(paths)
    known = _read.get(key)
    if known is None or known[0] != tuple(stamps):
        hosts = KnownHosts()
        for path in paths:
            for line in Path(path).read_text("utf-8", "replace").splitlines():
                with contextlib.suppress(ValueError):
                    hosts.load(line)
        known = _read[key] = tuple(stamps), hosts
    return known[1]


def _full(path: str) -> str:
    return os.path.expanduser(path)


def host_key_algorithms(known: KnownHosts, host: str, port: int, *, plain: bool = False) -> list[str]:
    """Which kinds of host key to ask for: the known ones first, then all others, so that a key of another kind is seen, and refused.

    Asked only for what is known, a server that has nothing of it hangs up without a word. A certificate is asked for also where only
    a revoked key is known: it may be that of the authority.

    Args:
        known: The known hosts.
        host: Its name.
        port: Its port.
        plain: Ask for no certificate.
    """
    keys, authorities, revoked, *_ = known.match(host, "", None if port == asyncssh.DEFAULT_PORT else port)
    wanted = [*get_default_certificate_algs()] if (authorities or revoked) and not plain else []
    for key in keys:
        wanted += key.sig_algorithms
    return [name.decode() for name in dict.fromkeys([*wanted, *get_default_public_key_algs()])]


class Verdict:
    """Judges the key that a host shows when it is not among those that are known of it, and remembers why it was refused.

    Args:
        name: What the user calls the host.
        known: The known hosts.
        files: Where they are kept; a new key goes into the first.
        accept_new: Take the key of a host of which none is known. Never another key of one that is known.
        expected: The fingerprint that the user has said to accept; empty for none.
    """

    def __init__(
        self, name: str, known: KnownHosts, files: Sequence[str], *, accept_new: bool = False, expected: str = ""
    ) -> None:
        self.name = name
        self.error: HostKeyError | None = None
        self.added = ""
        self.strange_authority = False  # it has shown a certificate of one that is not known: its key alone may be
        self._known = known
        self._files = files
        self._accept_new = accept_new
        self._expected = expected

    def accepts(self, host: str, address: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Whether a key that is not trusted yet may be trusted; it is then written down."""
        place = host if port == asyncssh.DEFAULT_PORT else f"[{host}]:{port}"
        known_port = port if port != asyncssh.DEFAULT_PORT else None
        keys, authorities, *_ = self._known.match(host, address, known_port)
        shown = f"{_kind(key)} {key.get_fingerprint()}"
        if keys:
            old = ", ".join(sorted({f"{_kind(each)} {each.get_fingerprint()}" for each in keys}))
            self.error = HostKeyError(
                f"{self.name}: THE HOST KEY OF {place} HAS CHANGED to {shown}; known is {old}. Somebody may stand in "
                f"between. If the host was set up anew, and its owner confirms the key, remove the old one first: "
                f"ssh-keygen -R '{place}'"
            )
        elif self._expected and self._expected != key.get_fingerprint():
            self.error = HostKeyError(f"{self.name}: {place} shows {shown}, not the {self._expected} that you accept")
        elif self._expected or (self._accept_new and not authorities):
            append_key(_full(self._files[0]), place, key)
            self.added = shown
            return True
        else:
            why = "is signed by no authority that is known" if authorities else "is unknown"
            self.error = HostKeyError(
                f"{self.name}: the host key {shown} of {place} {why}; compare it with the host's own, then accept it by "
                f"%xec_targets --accept {key.get_fingerprint()} {self.name}"
            )
        return False


def append_key(path: str, place: str, key: asyncssh.SSHKey) -> None:
    """Write a host's key down, in a file that only its owner may write."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    line = f"{place} {key.export_public_key('openssh').decode().strip()}\n"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            line = "\n" + line
        os.write(fd, line.encode())
    finally:
        os.close(fd)


def _kind(key: asyncssh.SSHKey) -> str:
    return key.get_algorithm().removeprefix("ssh-").removeprefix("ecdsa-sha2-").upper()
