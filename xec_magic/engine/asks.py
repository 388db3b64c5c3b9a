"""`Asks`: calls that were made before, and the plans they led to, so that a hit need not plan again."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PosixPath
from types import BuiltinFunctionType, FunctionType
from typing import Any, Final

from xec_magic.cachepolicy import CachePolicy, Condition
from xec_magic.command import FileInput, Target
from xec_magic.engine.cachekey import Captured
from xec_magic.plan import Plan

__all__ = ["Ask", "Asks", "holds", "name_of"]

KNOWN: Final = 1024  # calls; then all are forgotten, and the next ones plan again
LARGEST: Final = 64 * 1024  # characters of a script; a larger one is not held here
# What never changes, so that equal calls mean the same. A subclass may be anything.
_CONSTANT: Final = frozenset({
    str, bytes, int, float, bool, type(None), tuple, frozenset, PosixPath, FunctionType, BuiltinFunctionType, CachePolicy,
    Condition, Target, FileInput,
})  # fmt: skip

_Name = tuple[object, ...]


def name_of(script: object, options: Mapping[str, Any]) -> _Name | None:
    """What equal calls have in common; None where that cannot be told.

    Example:
        >>> name_of("ls", {"timeout": 1}) == name_of("ls", {"timeout": True}), name_of("ls", {"ok_codes": [0]})
        (False, None)
    """
    parts: list[object] = [script]
    kind = type(script)
    if (kind is not str and kind is not bytes) or len(script) > LARGEST:  # type: ignore[arg-type]  # it is one of them
        return None
    for name, value in options.items():
        kind = type(value)
        if kind is dict:
            parts += (name, kind, tuple(value.items()))
        elif kind in _CONSTANT:
            parts += (name, kind, value)  # the kind as well: 1 and True are equal
        else:
            return None
    return tuple(parts)


@dataclass(frozen=True, slots=True)
class Ask:
    """A call that was planned.

    Attributes:
        plan: What it led to.
        check: It raises when the command has failed.
        captured: What the plan's keys are made of; None for a command that is run each time.
        surroundings: What it was planned in.
        keep: Whether its output is kept; None where that depends on who reads it.
    """

    plan: Plan
    check: bool
    captured: Captured | None
    surroundings: tuple[object, ...]
    keep: bool | None = None


def holds(plan: Plan) -> bool:
    """A plan of this machine can be used again: nothing in it was looked up in the file system, or holds a secret."""
    command = plan.command
    outside = command.cwd, command.stdin, command.secret_env, command.shell, command.rc, command.reset, plan.tee
    return command.target.kind == "local" and plan.cache is None and not any(outside)


class Asks:
    """Remembers calls. Only what has stayed the same since is recalled: the kernel's directory, its environment, the files
    of standing defaults. Any thread may use it.

    Args:
        files: Gives stamps of the files that set standing defaults.
        environ: The environment.
    """

    def __init__(self, files: Callable[[], object], environ: Mapping[str, str] = os.environ) -> None:
        self._files = files
        # The dictionary beneath compares in a microsecond, the mapping itself in fifty.
        self._environ: Mapping[Any, Any] = getattr(environ, "_data", environ)
        self._seen: dict[Any, Any] = {}
        self._changes = 0
        self._known: dict[_Name, Ask] = {}

    def recall(self, name: _Name) -> Ask | None:
        """The plan of an equal call, if it would be the same now."""
        try:
            ask = self._known.get(name)
        except TypeError:  # a list in a tuple
            return None
        return ask if ask is not None and ask.surroundings == self.surroundings() else None

    def remember(self, name: _Name, ask: Ask) -> None:
        """Keep a plan."""
        if len(self._known) >= KNOWN:
            self._known.clear()
        try:
            self._known[name] = ask
        except TypeError:
            pass

    def surroundings(self) -> tuple[object, ...]:
        """What plans depend on besides their call."""
        if self._environ != self._seen:
            self._seen = dict(self._environ)
            self._changes += 1
        try:
            directory = os.getcwd()
        except OSError:  # it is gone; whoever needs one says so
            directory = ""
        return directory, self._changes, self._files()
