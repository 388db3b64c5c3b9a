"""What to copy, where to go on, and how many things are under way, without a server."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from xec_magic.engine.partfiles import KEEP_BYTES, PartFiles, fresh_part_path, is_part_of, part_path
from xec_magic.engine.pour import AHEAD_BYTES, Open, pour
from xec_magic.engine.together import FILES_AT_ONCE
from xec_magic.engine.transfer import CopyPolicy, Transfer
from xec_magic.engine.tree import MOST_DEPTH, Item, walk
from xec_magic.errors import FileError
from xec_magic.transport.files import Entry
from xec_magic.transport.localfiles import LocalFiles

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def files():
    with ThreadPoolExecutor(4) as threads:
        yield LocalFiles(threads.submit)


class Far(LocalFiles):
    """A side that answers to no request for a file before several have come, as a far host does in one round trip."""

    name = "far"

    def __init__(self, submit, together):
        super().__init__(submit)
        self._barrier = asyncio.Barrier(together)

    async def create(self, path, *, resumes=False):
        async with asyncio.timeout(20):
            await self._barrier.wait()
        return await super().create(path, resumes=resumes)


async def test_many_small_files_are_on_their_way_at_once(files, tmp_path):
    (tmp_path / "many").mkdir()
    for number in range(2 * FILES_AT_ONCE):
        (tmp_path / "many" / str(number)).write_text("x")
    far = Far(files._submit, FILES_AT_ONCE)
    transfer = Transfer("far", CopyPolicy())
    await transfer.run(files, far, [(os.fsencode(tmp_path / "many"), True)], os.fsencode(tmp_path / "there"))
    assert transfer.snapshot().files == 2 * FILES_AT_ONCE


class Blocks:
    """Both ends of a file whose blocks are written in an order of the test's own."""

    def __init__(self, held):
        self.held = held  # the blocks that are not written until the test allows it
        self.released = asyncio.Event()
        self.begun, self.written = [], []

    async def read(self, offset, size):
        self.begun.append(offset)
        return b"x" * size

    async def write(self, offset, data):
        if offset in self.held:
            await self.released.wait()
        self.written.append(offset)

    async def finish(self, entry):
        pass

    async def close(self):
        pass


async def test_no_block_is_further_ahead_than_what_is_sent_again(tmp_path):
    block = 256 * 1024
    file = Blocks(held=(0,))
    size = 4 * AHEAD_BYTES
    task = asyncio.ensure_future(
        pour(Open(file, file, "", ""), Entry("file", size), 0, block, asyncio.Semaphore(1000), lambda _: None)
    )
    for _ in range(200):
        await asyncio.sleep(0)
    assert max(file.written) + block <= AHEAD_BYTES  # so a part that is as long has no hole below its last AHEAD_BYTES
    assert len(file.begun) == AHEAD_BYTES // block
    file.released.set()
    await task
    assert len(file.written) == size // block


class Slow(Blocks):
    """A side that needs some turns of the loop to stop."""

    async def write(self, offset, data):
        try:
            await super().write(offset, data)
        finally:
            for _ in range(5):
                await asyncio.sleep(0)


async def test_cancelling_leaves_nothing_under_way():
    file, before = Slow(held=range(AHEAD_BYTES)), asyncio.all_tasks()
    task = asyncio.ensure_future(
        pour(Open(file, file, "", ""), Entry("file", AHEAD_BYTES), 0, 2**18, asyncio.Semaphore(1000), lambda _: None)
    )
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == before


async def test_a_file_that_becomes_shorter_is_told(files, tmp_path):
    (tmp_path / "a").write_bytes(b"123")
    reader, writer = await files.open(os.fsencode(tmp_path / "a")), Blocks(held=())
    with pytest.raises(FileError, match="it became shorter while it was copied"):
        await pour(Open(reader, writer, "a", "b"), Entry("file", 5), 0, 2**18, asyncio.Semaphore(9), lambda _: None)
    await reader.close()


class Endless(LocalFiles):
    async def names(self, path):
        return [(b"again", Entry("directory"))]


async def test_a_tree_without_an_end_is_refused(files):
    with pytest.raises(FileError, match=f"directories {MOST_DEPTH} deep are too deep"):
        await walk(Endless(files._submit), [Item(b"/", b"x", Entry("directory"))], lambda *_: None)


async def test_a_part_that_is_being_written_is_nobody_elses_and_not_taken_for_a_stale_one(files, tmp_path):
    item = Item(b"/a/big", os.fsencode(tmp_path / "big"), Entry("file", KEEP_BYTES + 1, 0o644, 0, 1000))
    one, other = PartFiles(files, files), PartFiles(files, files)
    mine, yours = [(await each.begin(item))[0] for each in (one, other)]
    assert mine != yours
    for part in (mine, yours):
        await (await files.create(part)).close()
    stale = fresh_part_path(item)
    await (await files.create(stale)).close()
    third = PartFiles(files, files)
    own, _ = await third.begin(item)
    await third.remove_stale(item, own)
    assert set(os.listdir(os.fsencode(tmp_path))) == {os.path.basename(mine), os.path.basename(yours)}
    for each in (one, other, third):
        await each.let_go()


async def test_a_copy_that_is_stopped_looks_for_no_parts_any_more(files, tmp_path):
    begun = PartFiles(files, files)
    await begun.begin(Item(b"/a/big", os.fsencode(tmp_path / "big"), Entry("file", KEEP_BYTES + 1, 0o644, 0, 1000)))
    (looking,) = begun._stale.values()
    await begun.let_go()
    assert looking.done()


def test_a_part_belongs_to_one_state_of_one_source():
    entry = Entry("file", 100, 0o644, 0, 1000)
    item = Item(b"/a/big", b"/b/big", entry)
    part = part_path(item, "local", "web1")
    assert part.startswith(b"/b/.big.xec-")
    assert is_part_of(os.path.basename(part), b"big")
    assert not is_part_of(os.path.basename(part), b"bigger")
    others = [
        part_path(Item(b"/a/big", b"/b/big", Entry("file", 101, 0o644, 0, 1000)), "local", "web1"),
        part_path(Item(b"/a/big", b"/b/big", Entry("file", 100, 0o644, 0, 1001)), "local", "web1"),
        part_path(Item(b"/c/big", b"/b/big", entry), "local", "web1"),
        part_path(item, "local", "web2"),
    ]
    assert len({part, *others, fresh_part_path(item), fresh_part_path(item)}) == 7
    assert len(os.path.basename(part_path(Item(b"x", b"/b/" + b"n" * 255, entry), "local", "web1"))) <= 255
