"""What to copy, where to go on, and how many things are under way, without a server."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from xec_magic.engine import partfiles
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


@pytest.fixture
def big(files, tmp_path, monkeypatch):
    """A file to be copied, whose part grows still for a moment only."""
    monkeypatch.setattr(partfiles, "STILL_S", 0.2)
    source = tmp_path / "source"
    source.write_bytes(os.urandom(KEEP_BYTES + 1))
    (tmp_path / "to").mkdir()
    return Item(
        os.fsencode(source), os.fsencode(tmp_path / "to" / "big"), Entry("file", KEEP_BYTES + 1, 0o644, 0, 1000)
    )


def write_part(item, size, owner="feedbeef"):
    """What another kernel has written."""
    path = Path(os.fsdecode(part_path(item, "local", "local", owner)))
    path.write_bytes(Path(os.fsdecode(item.source)).read_bytes()[:size])
    return path


async def test_a_part_that_is_being_written_is_nobody_elses_and_not_taken_for_a_stale_one(files, big):
    folder = os.path.dirname(big.sink)
    stale = fresh_part_path(big)
    await (await files.create(stale)).close()
    one, other = PartFiles(files, files), PartFiles(files, files)
    mine, yours = [(await each.begin(big))[0] for each in (one, other)]
    assert mine != yours
    for part in (mine, yours):
        await (await files.create(part)).close()
    one.release(mine)
    os.unlink(mine)
    third = PartFiles(files, files)
    await third.remove_stale(big)
    assert os.listdir(folder) == [os.path.basename(yours)]
    await other.let_go()


async def test_a_copy_that_is_stopped_looks_for_no_parts_any_more(files, big):
    begun = PartFiles(files, files)
    begun.expect(big)
    (looking,) = begun._seen.values()
    await begun.let_go()
    assert looking.cancelled()


async def test_a_part_that_another_kernel_has_left_is_gone_on_with_under_a_name_of_ones_own(files, big):
    left = write_part(big, KEEP_BYTES - 1000)
    parts = PartFiles(files, files)
    part, start = await parts.begin(big)
    assert start == KEEP_BYTES - 1000 - AHEAD_BYTES
    assert os.listdir(left.parent) == [os.fsdecode(os.path.basename(part))]
    assert part != os.fsencode(left)
    await parts.let_go()
    again = PartFiles(files, files)  # what this kernel has left is gone on with at once
    seen = asyncio.get_running_loop().time()
    assert (await again.begin(big))[1] == start
    assert asyncio.get_running_loop().time() - seen < partfiles.STILL_S
    await again.let_go()


async def test_a_part_that_another_kernel_writes_is_left_alone(files, big):
    writes = write_part(big, AHEAD_BYTES + 1000)
    other = write_part(big, 10, owner="00000001")  # too small to go on with, and stale
    parts = PartFiles(files, files)
    began = asyncio.ensure_future(parts.begin(big))
    await asyncio.sleep(partfiles.STILL_S / 2)
    with writes.open("ab") as file:
        file.write(b"more")
    part, start = await began
    assert start is None
    assert part != os.fsencode(writes)
    await parts.remove_stale(big)
    assert os.listdir(writes.parent) == [writes.name]
    assert not other.exists()
    await parts.let_go()


async def test_of_two_kernels_that_go_on_with_a_part_one_gets_it(files, big):
    write_part(big, KEEP_BYTES)
    starts = [start for _, start in await asyncio.gather(*(PartFiles(files, files).begin(big) for _ in range(2)))]
    assert sorted(starts, key=bool) == [None, KEEP_BYTES - AHEAD_BYTES]


async def test_a_part_that_another_kernel_has_taken_over_is_said_to_be_gone(files, big):
    parts = PartFiles(files, files)
    part, _ = await parts.begin(big)
    with pytest.raises(FileError, match="its part is gone; another copy to the same place may have taken it over"):
        await parts.give_name(part, big.sink)
    await parts.let_go()


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
