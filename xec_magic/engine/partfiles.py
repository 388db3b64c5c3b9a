"""`PartFiles`: a file that is being copied, beside its place until it is complete, and what becomes of it when it never is."""

from __future__ import annotations

import asyncio
import contextlib
import posixpath
import secrets
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from xec_magic.engine.pour import AHEAD_BYTES
from xec_magic.engine.tree import Item
from xec_magic.errors import FileError
from xec_magic.transport.files import Entry, FileSystem

__all__ = ["KEEP_BYTES", "PartFiles", "fresh_part_path", "is_part_of", "part_path"]

KEEP_BYTES: Final = 2 * AHEAD_BYTES  # of a smaller file nothing is worth keeping
STILL_S: Final = 3.0  # a part that has not changed for so long is written by nobody; who copies writes all the time
CLEAN_S: Final = 5.0  # to remove what was begun, once it is over
_MARK: Final = b".xec-"
_END: Final = b".part"
_TOKEN: Final = 8  # digits, of what it is a part, and as many of who writes it
_written: set[bytes] = set()  # parts that copies of this process write just now
_left: set[bytes] = set()  # parts that copies of this process have left to the next one


@dataclass(frozen=True, slots=True)
class _Seen:
    """A part that was there already, and when it was looked at."""

    entry: Entry
    at: float


class PartFiles:
    """The parts that one transfer writes. Other kernels may copy to the same place: a part is taken over once it does not grow any more.

    Args:
        source: Where from.
        sink: Where to.
    """

    def __init__(self, source: FileSystem, sink: FileSystem) -> None:
        self._source = source
        self._sink = sink
        self._owner = secrets.token_hex(_TOKEN // 2)
        self._seen: dict[bytes, asyncio.Task[dict[bytes, _Seen]]] = {}  # parts of others, by directory and name
        self._mine: set[bytes] = set()  # of those in `_written`
        self._not_kept: set[bytes] = set()  # of these, those that are of no use if it ends now

    async def begin(self, item: Item) -> tuple[bytes, int | None]:
        """Where to write a file until it is complete, and where to go on with what is there; None to begin."""
        if item.entry.size > KEEP_BYTES:
            part = part_path(item, self._source.name, self._sink.name, self._owner)
            if part not in _written:  # the same file twice
                self._claim(part)
                return part, await self._take_over(item, part)
        part = fresh_part_path(item)
        self._claim(part)
        self._not_kept.add(part)
        return part, None

    async def _take_over(self, item: Item, part: bytes) -> int | None:
        """Make a part that somebody has left ours, by its name; where to go on with it, None where there is none of use."""
        folder, name = posixpath.split(item.sink)
        of = posixpath.basename(part)[: -_TOKEN - len(_END)]
        for each, seen in (await self._look(item)).items():
            old = posixpath.join(folder, each)
            if (
                not is_part_of(each, name)
                or not each.startswith(of)
                or old in _written
                or not _usable(seen.entry, item)
            ):
                continue
            if not await self._is_left(old, seen):
                continue
            try:
                await self._sink.replace(old, part)  # of several who want it one gets it
            except FileError:
                continue
            _left.discard(old)
            at = seen.entry.size - AHEAD_BYTES
            with contextlib.suppress(FileError):
                if await _agree(self._source, self._sink, item, part, at):
                    return at
            with contextlib.suppress(FileError):
                await self._sink.remove(part)
        return None

    def expect(self, item: Item) -> None:
        """A file is to be begun soon: look for parts of it while other things are asked."""
        folder = posixpath.dirname(item.sink)
        if item.entry.size > KEEP_BYTES and folder not in self._seen:
            self._seen[folder] = asyncio.get_running_loop().create_task(self._find(folder))

    async def _look(self, item: Item) -> dict[bytes, _Seen]:
        """The parts that were in a directory when it was first looked at."""
        self.expect(item)
        return await asyncio.shield(self._seen[posixpath.dirname(item.sink)])

    async def _find(self, folder: bytes) -> dict[bytes, _Seen]:
        with contextlib.suppress(FileError):
            found = await self._sink.names(folder or b".")
            now = asyncio.get_running_loop().time()
            return {each: _Seen(entry, now) for each, entry in found if each.endswith(_END)}
        return {}

    async def _is_left(self, path: bytes, seen: _Seen) -> bool:
        """Nobody writes to a part: a copy of this process has left it, or it stays as it is for some seconds."""
        if path in _written:
            return False
        if path not in _left:
            await asyncio.sleep(seen.at + STILL_S - asyncio.get_running_loop().time())
        try:
            now = await self._sink.look(path, follow=False)
            same = now is not None and (now.size, now.mtime) == (seen.entry.size, seen.entry.mtime)
            return same and path not in _written
        except FileError:
            return False

    def _claim(self, part: bytes) -> None:
        self._mine.add(part)
        _written.add(part)

    def release(self, part: bytes) -> None:
        """It is none any more."""
        if part in self._mine:
            self._mine.discard(part)
            self._not_kept.discard(part)
            _written.discard(part)

    async def give_name(self, part: bytes, name: bytes) -> None:
        """A part is complete.

        Raises:
            FileError: it cannot be renamed, or another kernel has taken it for one that was left.
        """
        try:
            await self._sink.replace(part, name)
        except FileError as error:
            if error.why == "missing":
                raise FileError("its part is gone; another copy to the same place may have taken it over") from error
            raise
        self.release(part)

    async def let_go(self) -> None:
        """Remove what was begun and is not worth keeping: also what was asked for and not answered when it was stopped."""
        for looking in self._seen.values():
            looking.cancel()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLEAN_S):
                    await asyncio.gather(*self._seen.values(), return_exceptions=True)
                    await asyncio.gather(*(self.remove(part) for part in self._not_kept))
        finally:
            _left.update(self._mine - self._not_kept)
            _written.difference_update(self._mine)

    async def remove_stale(self, item: Item) -> None:
        """Parts of earlier states of a file are of no use any more, if nobody else writes to them."""
        folder, name = posixpath.split(item.sink)
        for each, seen in (await self._look(item)).items():
            part = posixpath.join(folder, each)
            if is_part_of(each, name) and await self._is_left(part, seen):
                await self.remove(part)
                _left.discard(part)

    async def remove(self, path: bytes) -> None:
        """Remove one that is of no use any more, as far as that can be."""
        with contextlib.suppress(FileError):
            await self._sink.remove(path)
            self.release(path)


def part_path(item: Item, source_name: str, sink_name: str, owner: str = "0" * _TOKEN) -> bytes:
    """Where an incomplete large file is: beside its place, under a name that says of what it is a part, and who writes it.

    A source that has changed has another size or time, and so another part.
    """
    entry = item.entry
    names = f"{source_name}\0{sink_name}".encode("utf-8", "surrogateescape")
    said = b"\0".join((names, item.source, b"%d %d" % (entry.size, entry.mtime)))
    return _beside(item, blake2b(said, digest_size=_TOKEN // 2).hexdigest() + owner)


def fresh_part_path(item: Item) -> bytes:
    """Where an incomplete file is that is not worth keeping: under a name that nobody else has."""
    return _beside(item, secrets.token_hex(_TOKEN))


def _beside(item: Item, token: str) -> bytes:
    folder, name = posixpath.split(item.sink)
    return posixpath.join(folder, b"." + name[:200] + _MARK + token.encode() + _END)


def is_part_of(name: bytes, file: bytes) -> bool:
    """A name in a directory is that of a part of this file, in whatever state that was."""
    begin = b"." + file[:200] + _MARK
    return name.startswith(begin) and name.endswith(_END) and len(name) == len(begin) + 2 * _TOKEN + len(_END)


def _usable(part: Entry, item: Item) -> bool:
    return part.kind == "file" and AHEAD_BYTES < part.size <= item.entry.size


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
