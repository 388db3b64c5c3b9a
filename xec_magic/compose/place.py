"""One side of a copy, as it is written: `Place`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from xec_magic.command import LOCAL, Target, encode_script
from xec_magic.errors import OptionError
from xec_magic.inventory import Inventory

__all__ = ["PLACE", "Place", "check_sources", "read_place"]

_ITEM: Final = r"(?:\[[^\]]*\]|[^:,/\[\]\s])+(?::\d+(?=[:,]))?"
PLACE: Final = re.compile(rf"({_ITEM}(?:,{_ITEM})*):(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Place:
    """One side of a copy.

    Attributes:
        targets: Where it is.
        path: What it is called there.
        text: As it was given.
        literal: The path is taken as it is; else it may be a pattern.
        several: It was written so that it may name several hosts.
    """

    targets: tuple[Target, ...]
    path: bytes
    text: str
    literal: bool = False
    several: bool = False

    @property
    def is_local(self) -> bool:
        """It is on this machine."""
        return self.targets == (LOCAL,)


def read_place(given: object, inventory: Inventory) -> Place:
    """A side of a copy: a path of this machine, `HOST:PATH`, or a pair of what `on=` takes and a path.

    Raises:
        OptionError: it is none, or names a host that is not known.

    Example:
        >>> place = read_place("ann@10.0.0.7:2222:conf/app.toml", Inventory())
        >>> [str(target) for target in place.targets], place.path
        (['ann@10.0.0.7:2222'], b'conf/app.toml')
    """
    if isinstance(given, tuple) and len(given) == 2:
        on, path = given
        targets = tuple(inventory.targets(on))
        several = not isinstance(on, (str, Target)) or (isinstance(on, str) and _may_be_several(on))
        text = f"{on if isinstance(on, (str, Target)) else ','.join(map(str, targets))}:{_words(path)}"
        literal = not isinstance(path, (str, bytes))
        return Place(targets, _path(path, local=targets == (LOCAL,)), text, literal, several)
    if isinstance(given, (bytes, os.PathLike)):
        return Place((LOCAL,), _path(given, local=True), _words(given), literal=True)
    if not isinstance(given, str):
        raise OptionError(f"{given!r} is no place; write a path, 'HOST:PATH', or (hosts, path)")
    match = PLACE.fullmatch(given)
    if match is None:
        return Place((LOCAL,), _path(given, local=True), given)
    try:
        targets = tuple(inventory.targets(match[1]))
    except OptionError as error:
        raise OptionError(
            f"{given}: {error}; a file of this machine with a colon in its name is written ./{given}"
        ) from None
    return Place(targets, _path(match[2], local=targets == (LOCAL,)), given, several=_may_be_several(match[1]))


def _may_be_several(on: str) -> bool:
    bare = re.sub(r"\[[0-9a-fA-F:.%]*:[0-9a-fA-F:.%]*\w*\]", "", on)  # an address of version 6 in its brackets
    return bare.startswith("@") or any(char in bare for char in ",![")


def _words(path: object) -> str:
    return os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else str(path)


def _path(path: object, *, local: bool) -> bytes:
    """A path as bytes. `~/` is the home directory, here and there."""
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise OptionError(f"{path!r} is no path; give a text or a pathlib.Path")
    raw = os.fspath(path)
    data = encode_script(raw) if isinstance(raw, str) else bytes(raw)
    if b"\0" in data:
        raise OptionError("a path holds a NUL character, which no file has in its name")
    if local:
        if not data:
            raise OptionError("the path is empty; write . for this directory")
        return os.path.join(os.fsencode(os.getcwd()), os.path.expanduser(data))
    if data == b"~":
        return b""
    return data.removeprefix(b"~/").lstrip(b"/") if data.startswith(b"~/") else data


def check_sources(sources: object) -> list[Any]:
    """What is to be copied, as a list.

    Raises:
        OptionError: nothing.
    """
    if isinstance(sources, (str, bytes, os.PathLike, tuple)):
        return [sources]
    if not isinstance(sources, Iterable):
        raise OptionError(f"{sources!r} is nothing that could be copied; write a path, 'HOST:PATH', or (hosts, path)")
    found = list(sources)
    if not found:
        raise OptionError("there is nothing to copy: the list of sources is empty")
    return found
