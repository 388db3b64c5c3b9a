"""Where a copy goes to: the new names of what was named, the directories above them; and the digests of both sides."""

from __future__ import annotations

import asyncio
import posixpath
import time
from collections.abc import Iterable
from typing import Final

from xec_magic.copied import base_name, path_text
from xec_magic.engine.tree import Item, about, place_text
from xec_magic.errors import FileError
from xec_magic.transport.files import Entry, FileSystem

__all__ = ["digest_pairs", "find_places", "make_directory"]

CHECKS: Final = 500  # digests that are asked for at once


async def find_places(source: FileSystem, sink: FileSystem, found: list[tuple[bytes, Entry]], to: bytes) -> list[Item]:
    """What was named, with its new place. A directory to put it into is made.

    Raises:
        FileError: it cannot have that place.
    """
    if to.endswith(b"/") or to in {b"", b".", b".."}:
        await _make_way(sink, to.rstrip(b"/") or (b"/" if to else b"."))
        items = [Item(path, posixpath.join(to, _own_name(path)), entry) for path, entry in found]
        twice = _first_double(item.sink for item in items)
        if twice is not None:
            raise FileError(f"two of the sources would be {path_text(twice)}; copy them one after the other")
        return items
    ((path, entry),) = found
    where = place_text(sink, to)
    parent = posixpath.dirname(to)
    with about(where):
        there = await sink.look(to)
        above = await sink.look(parent) if parent and there is None else Entry("directory")
    if there is None:
        if above is None or above.kind != "directory":
            where = place_text(sink, parent)
            raise FileError(f"{where}: no such directory; end the destination with / to have it made", "missing")
    elif there.kind == "directory" and entry.kind != "directory":
        raise FileError(f"{where} is a directory; end it with / to put something into it")
    elif there.kind != "directory" and entry.kind == "directory":
        raise FileError(f"{where} is there and is no directory")
    if entry.kind == "other":
        raise FileError(f"{place_text(source, path)} is neither a file nor a directory")
    return [Item(path, to, entry)]


async def _make_way(sink: FileSystem, path: bytes) -> None:
    """See that a directory is there; make it, and those above it."""
    where = place_text(sink, path)
    with about(where):
        there = await sink.look(path)
    if there is not None and there.kind == "directory":
        return
    if there is not None:
        raise FileError(f"{where} is there and is no directory")
    parent = posixpath.dirname(path)
    if parent and parent != path:
        await _make_way(sink, parent)
    with about(where):
        if await make_directory(sink, path):
            now = int(time.time())
            await sink.finish_directory(path, Entry("directory", 0, 0o755, now, now))


async def make_directory(sink: FileSystem, path: bytes) -> bool:
    """Make a directory; whether it was not there. What comes from another host may need the same one.

    Raises:
        FileError: something else is there, or it cannot be made.
    """
    try:
        await sink.make_directory(path)
    except FileError:
        there = await sink.look(path, follow=False)
        if there is None or there.kind != "directory":
            raise
        return False
    return True


def _own_name(path: bytes) -> bytes:
    name = base_name(path)
    if name in {b"", b".", b".."}:
        raise FileError(f"{path_text(path)} has no name that it could have there; write the whole destination")
    return name


def _first_double(paths: Iterable[bytes]) -> bytes | None:
    seen: set[bytes] = set()
    for path in paths:
        if path in seen:
            return path
        seen.add(path)
    return None


async def digest_pairs(
    source: FileSystem, sink: FileSystem, pairs: list[tuple[bytes, bytes]]
) -> list[tuple[bytes, bytes, bool]]:
    """Pairs of a file here and a file there, with whether their digests are equal."""
    found = []
    for at in range(0, len(pairs), CHECKS):
        some = pairs[at : at + CHECKS]
        ours, theirs = await asyncio.gather(
            source.digests([here for here, _ in some]), sink.digests([there for _, there in some])
        )
        found += [(here, there, one == other) for (here, there), one, other in zip(some, ours, theirs, strict=True)]
    return found
