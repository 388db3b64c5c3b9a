"""`Transfer`: a tree of files from one end to the other."""

from __future__ import annotations

import asyncio
import posixpath
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from xec_magic.copied import Copied, CopyState, Trouble, path_text
from xec_magic.engine.destination import Destination
from xec_magic.engine.partfiles import KEEP_BYTES, PartFiles
from xec_magic.engine.places import digest_pairs, find_places
from xec_magic.engine.pour import Open, pour
from xec_magic.engine.together import for_each
from xec_magic.engine.tree import Item, Tree, about, find, place_text, walk
from xec_magic.errors import FileError
from xec_magic.transport.files import Entry, FileSystem
from xec_magic.units import format_size

__all__ = ["CopyPolicy", "Transfer"]

REQUESTS: Final = 32  # blocks under way at once, of all files of a host together: 8 MiB


@dataclass(frozen=True, slots=True)
class CopyPolicy:
    """How to copy.

    Attributes:
        checksum: Compare digests before a file gets its name.
        force: Copy also what seems to be there already.
        requests: Blocks under way at once.
    """

    checksum: bool = False
    force: bool = False
    requests: int = REQUESTS


@dataclass(slots=True)
class _Finished:
    """A file that has arrived and is to be compared before it gets its name."""

    item: Item
    part: bytes


class Transfer:
    """Copies what some paths name on one end to the other end. Made, run and stopped on the loop's thread; any thread may look.

    Args:
        target: What the reader calls it.
        policy: How.
    """

    def __init__(self, target: str, policy: CopyPolicy) -> None:
        self.target = target
        self._policy = policy
        self._gate = asyncio.Semaphore(policy.requests)
        self.state: CopyState = "waiting"
        self.error = ""
        self._counts = {"files": 0, "files_total": 0, "size_bytes": 0, "total_bytes": 0, "same": 0, "resumed_bytes": 0}
        self._failures: list[Trouble] = []
        self._left_out: list[Trouble] = []
        self._kept: list[Trouble] = []
        self._began_at: float | None = None
        self._ended_at: float | None = None
        self._finished: list[_Finished] = []
        self._equal: set[bytes] = set()  # files that are there already, by their digests
        self.source: FileSystem
        self.sink: FileSystem
        self._parts: PartFiles
        self._destination: Destination

    def snapshot(self) -> Copied:
        """How it stands. Any thread."""
        began = self._began_at
        return Copied(
            self.target, self.state, **self._counts, failures=tuple(self._failures), left_out=tuple(self._left_out), error=self.error,
            kept=tuple(self._kept), duration_s=0.0 if began is None else (self._ended_at or time.monotonic()) - began,
        )  # fmt: skip

    def end(self, state: CopyState, error: str = "") -> None:
        """It is over."""
        self.state, self.error = state, error
        self._ended_at = time.monotonic()

    async def run(self, source: FileSystem, sink: FileSystem, paths: Iterable[tuple[bytes, bool]], to: bytes) -> None:
        """Copy.

        Cancelling is safe: complete files stay, of a large one that is not complete the part stays.

        Args:
            source: Where from.
            sink: Where to.
            paths: What; with each whether it is taken as it is, or may be a pattern.
            to: A name, or with a `/` at its end a directory to put it into.

        Raises:
            FileError: it cannot go on.
        """
        self.source, self.sink = source, sink
        self._parts = PartFiles(source, sink)
        self._began_at = time.monotonic()
        try:
            await self._run(paths, to)
        finally:
            await self._parts.let_go()

    async def _run(self, paths: Iterable[tuple[bytes, bool]], to: bytes) -> None:
        source, sink = self.source, self.sink
        self.state = "looking"
        found = [each for path, literal in paths for each in await find(source, path, literal)]
        roots = await find_places(source, sink, found, to)
        tree = await walk(source, roots, self._tell)
        self._failures += tree.failures
        self._left_out += tree.left_out
        self._tell(len(tree.files), sum(item.entry.size for item in tree.files))
        self.state = "copying"
        self._destination = Destination(sink, to, {item.sink for item in tree.directories})
        await self._make_directories(tree)
        if self._policy.checksum and not self._policy.force:
            await self._compare(tree.files)
        await self._each(self._file, tree.files)
        if self._policy.checksum:
            await self._check()
        # Links come last, and nothing is written below one: a name that was a directory cannot become a way out.
        await self._each(self._link, tree.links)
        for _, level in groupby(reversed(tree.directories), key=lambda item: item.sink.count(b"/")):
            await self._each(self._destination.finish, level)

    def _tell(self, files: int, size: int) -> None:
        self._counts["files_total"], self._counts["total_bytes"] = files, size

    async def _make_directories(self, tree: Tree) -> None:
        """All of them, from above; nothing is copied to where none could be made."""
        has_way = self._destination.has_way
        for _, level in groupby(tree.directories, key=lambda item: item.sink.count(b"/")):
            await self._each(self._destination.make, [item for item in level if has_way(item)])
        tree.files = [item for item in tree.files if has_way(item)]
        tree.links = [item for item in tree.links if has_way(item)]

    async def _each(self, act: Callable[[Item], Coroutine[Any, Any, None]], items: Iterable[Item]) -> None:
        await for_each(act, items, lambda item: place_text(self.source, item.source), self._failures.append)

    # -- files -------------------------------------------------------------------------------------------------

    async def _file(self, item: Item) -> None:
        self._parts.expect(item)
        with about(self._at_sink(item.sink)):
            there = await self._destination.entry(item)
            if there is not None and there.kind == "directory":
                raise FileError("a directory is there, where a file is to be")
        if self._is_same(item, there):
            self._counts["same"] += 1
            self._tell(self._counts["files_total"] - 1, self._counts["total_bytes"] - item.entry.size)
            return
        part, start = await self._parts.begin(item)
        reader = await self.source.open(item.source)
        try:
            await self._write(item, part, start, reader)
        finally:
            await reader.close()
        if self._policy.checksum:
            self._finished.append(_Finished(item, part))
        else:
            await self._give_name(item, part)

    def _at_sink(self, path: bytes) -> str:
        return place_text(self.sink, path)

    def _is_same(self, item: Item, there: Entry | None) -> bool:
        """What is there has the size, the time and the mode that a copy would have; with `checksum` the digest as well."""
        if there is None or self._policy.force or not _looks_same(item.entry, there):
            return False
        return not self._policy.checksum or item.sink in self._equal

    async def _write(self, item: Item, part: bytes, start: int | None, reader: Any) -> None:
        there = self._at_sink(item.sink)
        with about(there):
            writer = await self.sink.create(part, resumes=start is not None)
        done = start or 0
        self._counts["resumed_bytes"] += done
        self._counts["total_bytes"] -= done

        def moved(size: int) -> None:
            nonlocal done
            done += size
            self._counts["size_bytes"] += size

        block = min(self.source.block_bytes, self.sink.block_bytes)
        try:
            opened = Open(reader, writer, place_text(self.source, item.source), there)
            await pour(opened, item.entry, start or 0, block, self._gate, moved)
            with about(there):
                await writer.finish(item.entry)
        except BaseException as error:
            await writer.close()
            known = await self._reason(error, item)
            if known.why != "full" and item.entry.size > KEEP_BYTES:
                where = f"{format_size(done)} of {format_size(item.entry.size)} are kept"
                self._kept.append(Trouble(path_text(item.sink), f"{where}, and the same call goes on from there"))
            elif known.why != "lost":
                await self._parts.remove(part)
            if known is not error and isinstance(error, FileError):
                raise known from error
            raise

    async def _reason(self, error: BaseException, item: Item) -> FileError:
        """What was wrong. SFTP 3 has no word for a full disk, so the host is asked."""
        if not isinstance(error, FileError):
            return FileError("it was interrupted")
        full = await self.sink.why_full(posixpath.dirname(item.sink)) if error.why == "other" else ""
        if not full:
            return error
        known = FileError(full, "full")
        known.where = self._at_sink(item.sink)
        return known

    async def _give_name(self, item: Item, part: bytes) -> None:
        with about(self._at_sink(item.sink)):
            await self._parts.give_name(part, item.sink)
        self._counts["files"] += 1
        if item.entry.size > KEEP_BYTES:
            await self._parts.remove_stale(item)

    async def _link(self, item: Item) -> None:
        to = await self.source.read_link(item.source)
        with about(self._at_sink(item.sink)):
            there = await self._destination.entry(item)
            if there is not None and there.kind == "link":
                if await self.sink.read_link(item.sink) == to:
                    return
            elif there is not None and there.kind != "file":
                raise FileError(f"a {there.kind} is there, where a link is to be")
            if there is not None:
                await self.sink.remove(item.sink)
            await self.sink.make_link(item.sink, to)

    # -- digests -----------------------------------------------------------------------------------------------

    async def _compare(self, items: list[Item]) -> None:
        """Find which of the files that seem to be there already are really equal."""
        alike: list[Item] = []

        async def look(item: Item) -> None:
            with about(self._at_sink(item.sink)):
                there = await self._destination.entry(item)
            if there is not None and _looks_same(item.entry, there):
                alike.append(item)

        self.state = "checking"
        await self._each(look, items)
        pairs = [(item.source, item.sink) for item in alike]
        self._equal |= {sink for _, sink, equal in await digest_pairs(self.source, self.sink, pairs) if equal}
        self.state = "copying"

    async def _check(self) -> None:
        """Compare what has arrived with what was sent, then give it its name."""
        self.state = "checking"
        good = []
        pairs = [(each.item.source, each.part) for each in self._finished]
        compared = await digest_pairs(self.source, self.sink, pairs)
        for each, (here, _, equal) in zip(self._finished, compared, strict=True):
            if equal:
                good.append(each)
                continue
            await self._parts.remove(each.part)
            why = "what has arrived has another digest, so it is not kept; did it change meanwhile?"
            self._failures.append(Trouble(place_text(self.source, here), why))
        await self._each_named(good)

    async def _each_named(self, finished: list[_Finished]) -> None:
        parts = {each.item.sink: each.part for each in finished}
        await self._each(lambda item: self._give_name(item, parts[item.sink]), [each.item for each in finished])

    def __repr__(self) -> str:
        return f"<Transfer {self.target} {self.state}, {self._counts['files']} files>"


def _looks_same(wanted: Entry, there: Entry) -> bool:
    return (there.kind, there.size, there.mtime, there.mode) == ("file", wanted.size, wanted.mtime, wanted.mode)
