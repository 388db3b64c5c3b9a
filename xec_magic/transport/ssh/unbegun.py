"""Why a command on a host has not begun, in words."""

from __future__ import annotations

from typing import Final

import asyncssh

from xec_magic.command import Command
from xec_magic.errors import SpawnError
from xec_magic.transport.ssh.quoted import quoted
from xec_magic.transport.ssh.remote import NOWHERE, Refused

__all__ = ["never_began", "refusal"]

_REFUSED: Final = {
    "cwd": "there is no directory {}, or it may not be entered",
    "stdin": "there is no readable file {} for its input",
    "shell": "there is no command {}",
    **NOWHERE,
}


def refusal(host: str, command: Command, refused: Refused) -> SpawnError:
    """The host's `sh` has said what is not there."""
    what = {
        "cwd": command.cwd,
        "shell": command.shell[0] if command.shell else "",
        "stdin": getattr(command.stdin, "path", ""),
    }
    words = _REFUSED.get(refused.what, "it cannot be started: {}").format(what.get(refused.what, refused.what))
    return SpawnError(f"{host}: {words}")


def never_began(host: str, said: str, why: Exception | None) -> Exception:
    """Its channel was closed before its mark came: the connection was lost, or the login runs no command.

    Args:
        host: Its name.
        said: The last words of the login.
        why: What the connection was lost by; None where the channel alone was closed.
    """
    if why is not None and not said:
        return asyncssh.ConnectionLost(str(why) or "closed")
    heard = f"; it said: {quoted(said)}" if said else ""
    return SpawnError(
        f"{host}: the login did not run the command, for a login shell that ends at once, a ForceCommand (internal-sftp "
        f"serves files only), or a key that is bound to a command{heard}"
    )
