"""A secret's value that would stand where others can read it: in a command's text, its name, a plain variable."""

from __future__ import annotations

from xec_magic.errors import OptionError
from xec_magic.plan import Plan
from xec_magic.redact import Redactor

__all__ = ["refuse_exposed"]


def refuse_exposed(plan: Plan, redactor: Redactor) -> None:
    """Refuse a plan that would show a secret which the redactor knows.

    Raises:
        OptionError: it stands in the script, the interpreter's arguments, a name or a plain variable.
    """
    command = plan.command
    texts = {
        "the command": command.script,
        "shell": " ".join(command.shell),
        "env": " ".join(f"{name}={value}" for name, value in command.env),
        "cwd": command.cwd or "",
        "tee": plan.tee or "",
        "label": plan.label,
    }
    for where, text in texts.items():
        if text and redactor.mask(text) != text:
            raise OptionError(
                f"{where} would hold the value of a secret, and every user of this machine could read it; "
                'write its variable instead, as in "$TOKEN" with --secret TOKEN'
            )
