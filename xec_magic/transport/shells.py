"""How a script is handed to its interpreter: never on stdin, and strict where it asks for that."""

from __future__ import annotations

import os
import shutil
from functools import lru_cache
from pathlib import PurePath
from typing import Final, Literal, TypeAlias

from xec_magic.command import Command, encode_script
from xec_magic.transport.strict import strict_script

__all__ = ["Family", "default_shell", "dress", "family_of", "is_warmable", "script_for", "shows_its_begin"]

Family: TypeAlias = Literal["bash", "zsh", "sh", "other"]

ARGUMENT_LIMIT_BYTES: Final = 120 * 1024  # Linux allows 128 KiB for one argument (MAX_ARG_STRLEN, execve(2))
_SH: Final = {"sh", "dash", "ash", "ksh", "mksh", "busybox"}
# What a waiting shell has read before its script is a command, too: these show it.
_SHOWN: Final = ("BASH_ARG", "BASH_COMMAND", "PIPESTATUS")
_INLINE: Final = {"python": "-c", "pypy": "-c", "node": "-e", "perl": "-e", "ruby": "-e", "Rscript": "-e", "php": "-r"}


@lru_cache(maxsize=64)
def _family(shell: str) -> Family:
    name = PurePath(shell).name
    if name == "bash":
        return "bash"
    if name == "zsh":
        return "zsh"
    return "sh" if name in _SH else "other"


def family_of(shell: tuple[str, ...]) -> Family:
    """Which quoting and which strict mode an interpreter needs.

    Example:
        >>> family_of(("/bin/dash",)), family_of(("python3.12", "-I")), family_of(())
        ('sh', 'other', 'bash')
    """
    return _family((shell or default_shell())[0])


def is_warmable(shell: tuple[str, ...]) -> bool:
    """Whether this interpreter can be a worker, or keep a session.

    Example:
        >>> is_warmable(("/bin/dash",)), is_warmable(("python3",)), is_warmable(("fish",))
        (True, False, False)
    """
    return PurePath(shell[0]).name in {"bash", "dash", "sh", "zsh"}


def default_shell() -> tuple[str, ...]:
    """Bash if there is one, else sh."""
    # `_data` is what os.environ wraps; every command asks, and through the wrapper it takes ten calls.
    data = getattr(os.environ, "_data", None)
    return _default_shell(os.environb.get(b"PATH") if data is None else data.get(b"PATH"))


@lru_cache(maxsize=8)
def _default_shell(path: bytes | None) -> tuple[str, ...]:
    return ("bash",) if shutil.which("bash", path=None if path is None else os.fsdecode(path)) else ("sh",)


def dress(
    command: Command, default: tuple[str, ...] = (), limit: int = ARGUMENT_LIMIT_BYTES
) -> tuple[list[bytes], bytes | None]:
    """The argument vector for a command, and the script where it is too long to be an argument.

    In that case the caller writes the script to a file and appends the file's path.

    Args:
        command: What to run.
        default: The shell where the command names none; empty for this machine's.
        limit: Bytes that an argument may have.
    """
    shell = command.shell or default or default_shell()
    text = script_for(command)
    argv, inline = _argv(shell, command.login)
    return ([*argv, inline, text], None) if inline is not None and len(text) <= limit else ([*argv], text)


@lru_cache(maxsize=64)
def _argv(shell: tuple[str, ...], login: bool) -> tuple[tuple[bytes, ...], bytes | None]:
    """What comes before a script, and the option that takes it, where there is one."""
    family = family_of(shell)
    argv = tuple(part.encode("utf-8", "surrogateescape") for part in shell)
    if login and family != "other":
        argv += (b"-l",)
    return argv, b"-c" if family != "other" else _inline_option(shell[0])


def script_for(command: Command) -> bytes:
    """The text that the command's shell is to run: the script, made strict where that is asked for."""
    family = family_of(command.shell)
    if not command.strict or family == "other":
        return encode_script(command.script)
    return _strict(command.script, family)


@lru_cache(maxsize=64)
def _strict(script: str, family: Literal["bash", "zsh", "sh"]) -> bytes:
    return encode_script(strict_script(script, family))


def _inline_option(interpreter: str) -> bytes | None:
    name = PurePath(interpreter).name.rstrip("0123456789.")
    option = _INLINE.get(name)
    return option.encode() if option else None


def shows_its_begin(script: str) -> bool:
    """Whether a script names what would differ in a shell that has waited for it, or begins as an option of the shell does: it
    needs a shell of its own.
    """
    return script.startswith(("-", "+")) or any(name in script for name in _SHOWN)
