"""The options for where a command runs: how targets and sessions are named, and which shell there is for it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from xec_magic.errors import OptionError
from xec_magic.optionspec import TEXT, Unit, nearest, what_there_is

if TYPE_CHECKING:
    from xec_magic.command import Target
    from xec_magic.fleetpolicy import Share
    from xec_magic.options.declared import DeclaredOptions

__all__ = ["SESSION", "SHARE", "TARGETS", "found_shell", "wants_worker"]

_SHELLS: Final = ("bash", "sh", "dash", "zsh", "ksh", "fish", "python3")


def _session_name(value: Any) -> str:
    name: str = TEXT.read(value)
    if not re.fullmatch(r"[A-Za-z0-9_][\w.-]{0,63}", name, re.ASCII):
        raise OptionError(f"{name!r} is no name for a session; letters, digits and . _ - make one, 64 at most")
    return name


def _share(value: Any) -> Share:
    from xec_magic.fleetpolicy import read_share  # here, as below: loading the extension need not wait for it

    return read_share(value)


def _targets(value: Any) -> tuple[str | Target, ...]:
    from xec_magic.command import Target, targets_of
    from xec_magic.inventory.nodeset import split_items

    items = [value] if isinstance(value, (str, Target)) else targets_of(value)
    if not isinstance(items, Iterable) or isinstance(items, (bytes, Mapping)):
        raise OptionError(f"a {type(value).__name__} names no targets; give a text such as 'web1,web2', or a list")
    found = tuple(items)
    for item in found:
        if not isinstance(item, (str, Target)):
            raise OptionError(f"{item!r} is no target; give a name")
        if isinstance(item, str):
            split_items(item)  # its brackets match
    if not any(found):
        raise OptionError("it names no target; leave the option out for this machine")
    return found


TARGETS: Final = Unit("targets", _targets)
SESSION: Final = Unit("session name", _session_name)
SHARE: Final = Unit("share of the targets", _share)


def found_shell(options: DeclaredOptions) -> tuple[str, ...]:
    """The interpreter that is asked for, on this machine; nothing for the usual one.

    Raises:
        OptionError: it is not there, or has no profile to log in with.
    """
    if options.shell and shutil.which(os.path.expanduser(options.shell[0])) is None:
        there = [name for name in _SHELLS if shutil.which(name)]
        hint = nearest(options.shell[0], there) or what_there_is(there)
        raise OptionError(f"{options.who('shell')}: there is no command {options.shell[0]!r} here; {hint}")
    if options.login and options.shell:
        from xec_magic.transport.shells import family_of  # here: loading the extension need not wait for it

        if family_of(options.shell) == "other":
            raise OptionError(
                f"{options.who('login')}: {options.shell[0]} is no shell that has a profile; leave it out"
            )
    return (os.path.expanduser(options.shell[0]), *options.shell[1:]) if options.shell else ()


def wants_worker(options: DeclaredOptions, *, here: bool) -> bool:
    """Whether it runs in a shell that was started ahead.

    Raises:
        OptionError: something contradicts that, or a session.
    """
    if options.reset and not options.session:
        raise OptionError(f"{options.who('reset')}: there is no session to reset; name it with --session NAME")
    if not options.worker and not options.session:
        return False
    from xec_magic.transport.shells import default_shell, is_warmable

    asked = options.asks("worker")  # a standing default concerns those that can
    if options.session and options.worker and asked:
        raise OptionError("worker keeps nothing and session keeps everything; leave one of them out")
    shell = (options.shell if here else options.asked_for("shell", ())) or (default_shell() if here else ("bash",))
    if is_warmable(shell):
        return not options.session
    if options.session or asked:
        who = options.who("session" if options.session else "worker")
        raise OptionError(f"{who}: {shell[0]} cannot be kept ready; bash, dash, sh and zsh can")
    return False
