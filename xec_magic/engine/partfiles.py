"""`PartFiles`: a file that is being copied, beside its place until it is complete, and what becomes of it when it never is."""

from __future__ import annotations

import asyncio
import contextlib
import posixpath
import secrets
from hashlib import blake2b
from typing import Final

from xec_magic.engine.pour import AHEAD_BYTES
from xec_magic.engine.tree import Item
from xec_magic.errors import FileError
from xec_magic.transport.files import FileSystem

__all__ = ["KEEP_BYTES", "PartFiles", "fresh_part_path", "is_part_of", "part_path"]

KEEP_BYTES: Final = 2 * AHEAD_BYTES  # of a smaller file nothing is worth keeping
_MARK: Final = b".xec-"
_END: Final = b".part"
CLEAN_S: Final = 5.0  # to remove what was begun, once it is over
_written: set[bytes] = set()  # parts that copies of this process write just now


class PartFiles:
    """The parts that one transfer writes.

    Args:
        source: Where from.
        sink: Where to.
    """

    def __init__(self, source: FileSystem, sink: FileSystem) -> None:
        self._source = source
        self._sink = sink
        self._mine: set[bytes] = set()  # of those in `_written`
        self._not_kept: set[bytes] = set()  # of these, those that are of no use if it ends now
        self._stale: dict[bytes, asyncio.Task[list[bytes]]] = {}  # found while the file is copied, which takes longer

    async def begin(self, item: Item) -> tuple[bytes, int | None]:
        """Where to write a file until it is complete, and where to go on with what is there; None to begin."""
        if item.entry.size > KEEP_BYTES:
            self._stale[item.sink] = asyncio.get_running_loop().create_task(self._find_stale(item))
            part = part_path(item, self._source.name, self._sink.name)
            if part not in _written:  # two copies of one file at once must not write into one part
                self._claim(part)
                start = await _resume_at(self._source, self._sink, item, part)
                if start != 0:
                    return part, start
                self.release(part)
        part = fresh_part_path(item)
        self._claim(part)
        self._not_kept.add(part)
        return part, None

    def _claim(self, part: bytes) -> None:
        self._mine.add(part)
        _written.add(part)

    def release(self, part: bytes) -> None:
        """It is none any more."""
        if part in self._mine:
            self._mine.discard(part)
            self._not_kept.discard(part)
            _written.discard(part)

    async def let_go(self) -> None:
        """Remove what was begun and is not worth keeping: also what was asked for and not answered when it was stopped."""
        for looking in self._stale.values():
            looking.cancel()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLEAN_S):
                    await asyncio.gather(*self._stale.values(), return_exceptions=True)
                    await asyncio.gather(*(self.remove(part) for part in self._not_kept))
        finally:
            _written.difference_update(self._mine)

    async def remove_stale(self, item: Item, own: bytes) -> None:
        """Parts of earlier states of a file are of no use any more, when it is complete; its own part has its name by now."""
        for part in await self._stale.pop(item.sink):
            if part != own and part not in _written:
                await self.remove(part)

    async def _find_stale(self, item: Item) -> list[bytes]:
        folder, name = posixpath.split(item.sink)
        with contextlib.suppress(FileError):
            names = await self._sink.names(folder or b".")
            return [posixpath.join(folder, each) for each, _ in names if is_part_of(each, name)]
        return []

    async def remove(self, path: bytes) -> None:
        """Remove one that is of no use any more, as far as that can be."""
        with contextlib.suppress(FileError):
            await self._sink.remove(path)
            self.release(path)


def part_path(item: Item, source_name: str, sink_name: str) -> bytes:
    """Where an incomplete large file is: beside its place, under a name that says of what it is a part.

    A source that has changed has another size or time, and so another part.
    """
    entry = item.entry
    names = f"{source_name}\0{sink_name}".encode("utf-8", "surrogateescape")
    said = b"\0".join((names, item.source, b"%d %d" % (entry.size, entry.mtime)))
    return _beside(item, blake2b(said, digest_size=4).hexdigest())


def fresh_part_path(item: Item) -> bytes:
    """Where an incomplete file is that is not worth keeping: under a name that nobody else has."""
    return _beside(item, secrets.token_hex(4))


def _beside(item: Item, token: str) -> bytes:
    folder, name = posixpath.split(item.sink)
    return posixpath.join(folder, b"." + name[:200] + _MARK + token.encode() + _END)


def is_part_of(name: bytes, file: bytes) -> bool:
    """A name in a directory is that of a part of this file, in whatever state that was."""
    begin = b"." + file[:200] + _MARK
    return name.startswith(begin) and name.endswith(_END) and len(name) == len(begin) + 8 + len(_END)


async def _resume_at(source: FileSystem, sink: FileSystem, item: Item, part: bytes) -> int | None:
    """Where to go on with a part; None where there is none, 0 for one that cannot be used: another copy may be at it."""
    there = await sink.look(part, follow=False)
    if there is None:
        return None
    at = there.size - AHEAD_BYTES
    usable = there.kind == "file" and at > 0 and there.size <= item.entry.size
    return at if usable and await _agree(source, sink, item, part, at) else 0


async def _agree(source: FileSystem, sink: FileSystem, item: Item, part: bytes, at: int) -> bool:
    """The last block before `at` is the same in both."""
    size = min(at, source.block_bytes, sink.block_bytes)
    blocks = []
    for files, path in ((source, item.source), (sink, part)):
        reader = await files.open(path)
        try:
            blocks.append(await reader.read(at - size, size))
        finally:
            await reader.close()
    return blocks[0] == blocks[1]
