"""What a command of this machine finds around it: the environment and the directory."""

from __future__ import annotations

import os

from xec_magic.command import Command
from xec_magic.errors import SpawnError

__all__ = ["current_environ", "directory_of", "environment", "own_variables"]

_environ: dict[bytes, bytes] = {}


def current_environ() -> dict[bytes, bytes]:
    """The kernel's environment; the same object as long as nothing in it has changed."""
    global _environ
    # `_data` is what os.environb wraps; through the wrapper a comparison costs ten times as much.
    now = getattr(os.environ, "_data", None)
    if now is None:
        now = dict(os.environb)
    if now != _environ:
        _environ = dict(now)
    return _environ


def environment(command: Command, mark: str) -> dict[bytes, bytes]:
    """The kernel's environment with the command's own additions, and the mark by which its processes are known."""
    return {**current_environ(), **own_variables(command, mark)}


def own_variables(command: Command, mark: str) -> dict[bytes, bytes]:
    """The command's own additions, and the mark by which its processes are known."""
    own = {os.fsencode(name): os.fsencode(value) for name, value in (*command.env, *command.secret_env)}
    own[b"XEC_RUN_ID"] = mark.encode()
    return own


def directory_of(command: Command) -> str:
    """Where to run: the spawner's own directory is `/`."""
    try:
        directory = command.cwd or os.getcwd()
    except FileNotFoundError as error:
        raise SpawnError("cannot start it: the kernel's own directory has been removed; name one with --cwd") from error
    return directory
