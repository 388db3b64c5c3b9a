"""What a value can be completed to: files, variables, sessions, targets, tunnels."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from xec_magic.errors import OptionError
from xec_magic.optionspec import Option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    Names: TypeAlias = Callable[[], Sequence[str]]

__all__ = ["Found", "World", "of_shell", "of_targets", "of_value", "tunnel_names"]

_SHELL_WORD = re.compile(r"(?:\\.|[^\s\\;|&<>()=:`'\"])*$")  # what ends at the cursor and may be a path
_SHELL_SPECIAL = re.compile(r"([\s\\;|&<>()`'\"$*?\[\]{}!#])")
_MOST: Final = 200  # no page shows more; a directory can hold a million files


@dataclass(frozen=True, slots=True)
class Found:
    """Completions for the last `fragment` of the text before the cursor."""

    fragment: str
    items: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class World:
    """What values are completed from."""

    namespace: Mapping[str, Any]
    session_names: Names
    targets: Names


def of_value(option: Option, text: str, raw: str, world: World) -> Found:
    """What the value of an option can be; `raw` is its beginning as typed, `text` without quotes."""
    if option.unit.choices:
        return Found(raw, [(name, "value") for name in option.unit.choices if name.startswith(text)])
    if option.completes == "session":
        return Found(raw, [(name, "session") for name in world.session_names() if name.startswith(text)])
    if option.completes == "variable-or-@file" and text.startswith("@"):
        return _paths(text[1:], raw, prefix="@")
    if option.completes == "target":
        return of_targets(text, world)
    if option.completes.startswith("variable"):
        kinds = str if option.completes == "variable" else (str, bytes, bytearray, os.PathLike)
        names = sorted(
            name for name, value in world.namespace.items() if isinstance(value, kinds) and not name.startswith("_")
        )
        return Found(raw, [(name, "variable") for name in names if name.startswith(text) and name.isidentifier()])
    if option.completes:
        return _paths(text, raw, directories_only=option.completes == "directory")
    return Found(raw)


def of_targets(text: str, world: World) -> Found:
    """Names for the last item of a node set."""
    last = re.split(r"[,!]", text)[-1]
    try:
        names = world.targets()
    except OptionError:  # a file of targets is wrong; running will say so
        names = []
    return Found(last, [(name, "target") for name in names if name.startswith(last)][:_MOST])


def of_shell(before: str) -> Found:
    """File names for the last word of a shell's line."""
    match = _SHELL_WORD.search(before)
    raw = match[0] if match else ""
    return _paths(re.sub(r"\\(.)", r"\1", raw), raw)


def _paths(text: str, raw: str, *, prefix: str = "", directories_only: bool = False) -> Found:
    """Files and directories whose path begins with `text`; they replace `raw`, keeping its quote."""
    head, tail = os.path.split(text)
    quote = raw[len(prefix) : len(prefix) + 1] if prefix and raw.startswith(prefix) else raw[:1]
    quote = quote if quote in {"'", '"'} else ""
    items = []
    for name, is_directory in _entries(os.path.expanduser(head) or "."):
        # Hidden files only to those who ask, as in a shell.
        if name.startswith(tail) and (tail or not name.startswith(".")) and (is_directory or not directories_only):
            path = os.path.join(head, name) + ("/" if is_directory else "")
            shown = f"{quote}{prefix}{path}" if quote else prefix + _SHELL_SPECIAL.sub(r"\\\1", path)
            items.append((shown, "directory" if is_directory else "file"))
    return Found(raw, sorted(items)[:_MOST])


def _entries(directory: str) -> Iterator[tuple[str, bool]]:
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                try:
                    yield entry.name, entry.is_dir()
                except OSError:  # a link in a circle
                    yield entry.name, False
    except (OSError, ValueError):  # no such directory, no permission, a NUL in its name
        return


def tunnel_names() -> list[str]:
    """The tunnels that are open."""
    if "xec_magic.tunnels" not in sys.modules:
        return []
    from xec_magic.tunnels import tunnels

    return [each.name for each in tunnels()]
