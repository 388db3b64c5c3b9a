"""Scripts that no line holds: they are brought to a file of the host first."""

from __future__ import annotations

import asyncio
from typing import Final

from xec_magic.command import Command
from xec_magic.errors import SpawnError
from xec_magic.transport.ssh.hosts import Host
from xec_magic.transport.ssh.remote import (
    Launch,
    launch,
    long_script,
    read_answer,
    removal_line,
    upload_line,
)

__all__ = ["bring_script", "forget_script"]

UPLOAD_S: Final = 600.0


async def bring_script(host: Host, command: Command) -> str:
    """Put a script that is too long for a line into a file of the host; its path, or nothing.

    Raises:
        SpawnError: the host does not take it.
        TransportError: the host cannot be reached.
    """
    script = long_script(command, host.has_bash is not False)
    if script is None:
        return ""
    if host.has_bash is None:
        script = long_script(command, await host.knows_bash()) or b""
    sent = upload_line(len(script))
    try:
        done = await host.helper(sent, script, seconds=UPLOAD_S)
    except BaseException:
        _ask(host, removal_line(sent))
        raise
    path = read_answer(done.stdout, sent.mark)
    if not path:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise SpawnError(
            f"{host.target}: cannot bring a script of {len(script):,} bytes there: {said[-1] if said else 'no answer'}"
        )
    return path


def forget_script(host: Host, path: str) -> None:
    """Remove such a file, soon, and if that can be."""
    # It may be there still when the command has not begun; nobody waits for that.
    _ask(host, launch(Command('rm -f -- "$F"', strict=False, env=(("F", path),)), "none", has_bash=False))


def _ask(host: Host, line: Launch) -> None:
    task = asyncio.ensure_future(host.helper(line))
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
