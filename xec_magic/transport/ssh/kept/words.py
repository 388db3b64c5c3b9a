"""What is said when a session on a host cannot do something, or is gone."""

from __future__ import annotations

import re
from typing import Final

from xec_magic.command import Command
from xec_magic.transport.base import ExitStatus

__all__ = ["NOT_RUN", "lost_note", "no_room", "refusal_of", "worded"]

NOT_RUN: Final = ExitStatus(126, None)  # what a shell gives for what it finds, and cannot run

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_REFUSED: Final = {
    "cwd": "there is no directory {}, or it may not be entered",
    "shell": "there is no command {}",
}


def refusal_of(command: Command, where: str, shell: tuple[str, ...], *, login: bool) -> str:
    """Why a session cannot run a command; empty when it can.

    Args:
        command: What to run.
        where: The session, in words.
        shell: What it is.
        login: It has read the profile.
    """
    if (command.shell or shell) != shell:
        return f"{where} is a {' '.join(shell)}; say --shell {' '.join(shell)!r}, or begin anew with --reset"
    if command.login and not login:
        return f"{where} has not read the profile; begin anew with --login --reset"
    wrong = [name for name, _ in (*command.env, *command.secret_env) if not _NAME.fullmatch(name)]
    return f"{wrong[0]!r} is no variable that a shell can hold" if wrong else ""


def worded(said: str, command: Command) -> str:
    """What the keeper has said of a shell that it cannot start, in words."""
    host, _, what = said.rpartition(": ")
    words = _REFUSED.get(what)
    return f"{host}: {words.format(command.cwd if what == 'cwd' else command.shell[0])}" if words else said


def no_room(where: str, directory: str) -> str:
    """What stands in the place of a command's output when its script could not be brought to the shell."""
    return f"xec: not run: {where} has no room for the script in {directory.rpartition('/')[0]} (disk full?)\n"


def lost_note(where: str, why: str) -> str:
    """What the reader of the command that was the last should know."""
    return f"{where} was lost ({why}): its variables are gone, and the next command starts a new one"
