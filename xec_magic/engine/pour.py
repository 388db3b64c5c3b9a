"""One file from one end to the other: blocks under way together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from xec_magic.engine.tree import about
from xec_magic.errors import FileError
from xec_magic.transport.files import Entry, Reader, Writer

__all__ = ["AHEAD_BYTES", "Open", "pour"]

# Under way at once, of one file. A server may write blocks in another order than they were sent in, so of a file that
# was cut off the last so many bytes may have holes: they are sent again.
AHEAD_BYTES: Final = 4 * 2**20
MOST_AHEAD: Final = 128


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
