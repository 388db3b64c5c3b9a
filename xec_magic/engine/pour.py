"""One file from one end to the other: blocks under way together, and where a copy that was cut off goes on."""

from __future__ import annotations

import asyncio
import posixpath
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from xec_magic.engine.tree import Item, about
from xec_magic.errors import FileError
from xec_magic.transport.files import Entry, FileSystem, Reader, Writer

__all__ = ["AHEAD_BYTES", "KEEP_BYTES", "Open", "fresh_part_path", "is_part_of", "part_path", "pour", "resume_at"]

# Under way at once, of one file. A server may write blocks in another order than they were sent in, so of a file that
# was cut off the last so many bytes may have holes: they are sent again.
AHEAD_BYTES: Final = 4 * 2**20
MOST_AHEAD: Final = 128
KEEP_BYTES: Final = 2 * AHEAD_BYTES  # of a smaller file nothing is worth keeping
_MARK: Final = b".xec-"
_END: Final = b".part"


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


async def resume_at(source: FileSystem, sink: FileSystem, item: Item, part: bytes) -> int | None:
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


@dataclass(frozen=True, slots=True)
class Open:
    """A file that is open on both sides, and what to call it on each."""

    reader: Reader
    writer: Writer
    here: str
    there: str

    async def read(self, offset: int, size: int) -> bytes:
        """Bytes of the source."""
        with about(self.here):
            return await self.reader.read(offset, size)

    async def write(self, offset: int, data: bytes) -> None:
        """Bytes for the sink."""
        with about(self.there):
            await self.writer.write(offset, data)


async def pour(
    file: Open, entry: Entry, start: int, block: int, gate: asyncio.Semaphore, moved: Callable[[int], None]
) -> None:
    """Copy a file's bytes from `start` on, several blocks at once.

    Cancelling is safe: when it returns nothing is under way any more.

    Args:
        file: Where from and where to.
        entry: The file's size as it was found; what it has grown by since is left.
        start: Where to begin.
        block: Bytes a request.
        gate: Bounds the requests of all files together.
        moved: Told of each block's bytes.

    Raises:
        FileError: it cannot be read or written, or has become shorter.
    """

    async def one(offset: int, size: int) -> None:
        async with gate:
            data = await file.read(offset, size)
            if len(data) < size:
                with about(file.here):
                    raise FileError("it became shorter while it was copied")
            await file.write(offset, data)
            moved(size)

    if not entry.size:
        await _pour_unsized(file, block, moved)
        return
    ahead = max(2, min(MOST_AHEAD, AHEAD_BYTES // block))
    pending: deque[asyncio.Task[None]] = deque()
    offset = start
    try:
        while offset < entry.size or pending:
            while offset < entry.size and len(pending) < ahead:
                size = min(block, entry.size - offset)
                pending.append(asyncio.ensure_future(one(offset, size)))
                offset += size
            await pending[0]  # the oldest: no block is further ahead of it than AHEAD_BYTES
            pending.popleft()
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


async def _pour_unsized(file: Open, block: int, moved: Callable[[int], None]) -> None:
    """Files of /proc and /sys have a size of 0, and hold something nevertheless."""
    offset = 0
    while data := await file.read(offset, block):
        await file.write(offset, data)
        moved(len(data))
        offset += len(data)
