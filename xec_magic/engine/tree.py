"""What is to be copied: the files that a path or a pattern names, and the tree below a directory."""

from __future__ import annotations

import asyncio
import fnmatch
import posixpath
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from xec_magic.command import LOCAL
from xec_magic.copied import Trouble, path_text
from xec_magic.errors import FileError
from xec_magic.transport.files import Entry, FileSystem

__all__ = ["Item", "Tree", "about", "find", "has_pattern", "place_text", "walk"]

MOST_ENTRIES: Final = 2_000_000  # a tree without an end is a server that lies
MOST_DEPTH: Final = 256
LISTINGS: Final = 16  # directories that are listed at once
_PATTERN: Final = re.compile(rb"[*?\[]")


@dataclass(frozen=True, slots=True)
class Item:
    """Something to be copied: where it is, where it is to be, what it is."""

    source: bytes
    sink: bytes
    entry: Entry


@dataclass(slots=True)
class Tree:
    """All that is to be copied, sorted by what it is. Directories stand before what is in them."""

    directories: list[Item] = field(default_factory=list)
    files: list[Item] = field(default_factory=list)
    links: list[Item] = field(default_factory=list)
    failures: list[Trouble] = field(default_factory=list)
    left_out: list[Trouble] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.directories) + len(self.files) + len(self.links)


def place_text(files: FileSystem, path: bytes) -> str:
    """A path for people, who should not have to guess on which side it is."""
    return (
        files.prefix
        + (path_text(path) or "the home directory")
        + (" on this machine" if files.name == LOCAL.name else "")
    )


@contextmanager
def about(where: str) -> Iterator[None]:
    """An error that comes through says with what it was, unless it does already."""
    try:
        yield
    except FileError as error:
        error.where = error.where or where
        raise


def has_pattern(path: bytes) -> bool:
    """A path holds `*`, `?` or `[`."""
    return _PATTERN.search(path) is not None


def is_name(name: bytes) -> bool:
    """A file can have this name in a directory. What a host says is not to be relied on: `../x` would lead out of it."""
    return bool(name) and name not in {b".", b".."} and b"/" not in name and b"\0" not in name


async def find(files: FileSystem, path: bytes, literal: bool) -> list[tuple[bytes, Entry]]:
    """What a path names, a pattern perhaps; a link that is named itself is followed.

    Raises:
        FileError: nothing is there.
    """
    with about(place_text(files, path)):
        matched = [] if literal or not has_pattern(path) else await _match(files, path)
        if not matched:
            found = await files.look(path or b".")  # as in a shell: a pattern that matches nothing is a name
            if found is None:
                pattern = not literal and has_pattern(path)
                raise FileError("nothing matches" if pattern else "no such file or directory", "missing")
            return [(path or b".", found)]
    entries = await asyncio.gather(*(files.look(each) for each in matched))
    return [(each, entry) for each, entry in zip(matched, entries, strict=True) if entry is not None]


async def _match(files: FileSystem, pattern: bytes) -> list[bytes]:
    """The paths that a pattern matches, sorted. `*` stands for no `/` and for no dot at a name's begin."""
    paths = [b"/"] if pattern.startswith(b"/") else [b""]
    segments = [segment for segment in pattern.split(b"/") if segment]
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        if not has_pattern(segment):
            paths = [posixpath.join(path, segment) for path in paths]
            if last:
                there = await asyncio.gather(*(files.look(path, follow=False) for path in paths))
                paths = [path for path, entry in zip(paths, there, strict=True) if entry is not None]
            continue
        expression = re.compile(fnmatch.translate(segment.decode("latin-1")))
        found: list[bytes] = []
        for path in paths:
            try:
                names = await files.names(path or b".")
            except FileError as error:
                if error.why in ("missing", "denied", "other"):  # it is no directory, or closed to us
                    continue
                raise
            found += [
                posixpath.join(path, name)
                for name, entry in sorted(names)
                if is_name(name)
                and (not name.startswith(b".") or segment.startswith(b"."))
                and (last or entry.kind in ("directory", "link"))
                and expression.fullmatch(name.decode("latin-1"))
            ]
        paths = found
    return paths


async def walk(files: FileSystem, roots: list[Item], tell: Callable[[int, int], None]) -> Tree:
    """The tree below some roots. Links in it are not followed.

    Args:
        files: Where it is.
        roots: What was named.
        tell: Told how many files and bytes have been found so far.

    Raises:
        FileError: the way to the host was lost, or the tree has no end.
    """
    tree = Tree()
    gate = asyncio.Semaphore(LISTINGS)
    level: list[Item] = []
    for root in roots:
        _sort(tree, root, level)
    size = sum(item.entry.size for item in tree.files)
    for _ in range(MOST_DEPTH):
        tell(len(tree.files), size)
        if not level:
            return tree

        async def children(item: Item) -> list[Item]:
            async with gate:
                return await _children(files, item, tree)

        listed = await asyncio.gather(*(children(item) for item in level))
        level = []
        for items in listed:
            for item in items:
                _sort(tree, item, level)
                size += item.entry.size if item.entry.kind == "file" else 0
        if len(tree) > MOST_ENTRIES:
            raise FileError(f"more than {MOST_ENTRIES:,} files are too many for one copy; copy parts of it")
    raise FileError(f"directories {MOST_DEPTH} deep are too deep for a copy")


def _sort(tree: Tree, item: Item, level: list[Item]) -> None:
    match item.entry.kind:
        case "directory":
            tree.directories.append(item)
            level.append(item)
        case "file":
            tree.files.append(item)
        case "link":
            tree.links.append(item)
        case _:
            tree.left_out.append(Trouble(path_text(item.source), "neither a file nor a directory"))


async def _children(files: FileSystem, item: Item, tree: Tree) -> list[Item]:
    try:
        names = await files.names(item.source)
    except FileError as error:
        if error.why == "lost":
            raise
        tree.failures.append(Trouble(place_text(files, item.source), str(error)))
        return []
    found: dict[bytes, Item] = {}
    for name, entry in names:
        source = posixpath.join(item.source, name)
        if not is_name(name):
            shown = f"{path_text(item.source)}: {path_text(name)!r}"
            tree.failures.append(Trouble(shown, "no file can have this name, so it is not written"))
        elif name in found:
            tree.failures.append(Trouble(path_text(source), "the host names it twice"))
        else:
            found[name] = Item(source, posixpath.join(item.sink, name), entry)
    return list(found.values())
