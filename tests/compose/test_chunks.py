"""Large files and outputs in batches of lines and in blocks."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

import xec_magic as xec


def opened(path):
    return [
        entry
        for entry in os.listdir("/proc/self/fd")
        if os.path.realpath(f"/proc/self/fd/{entry}") == os.path.realpath(path)
    ]


@pytest.fixture
def big(tmp_path):
    path = tmp_path / "big file"
    path.write_text("".join(f"line {number}\n" for number in range(250_000)))
    return path


def test_a_file_comes_in_batches_of_lines_in_one_pass(big):
    batches = list(xec.chunks(big, lines=1000))
    assert [len(batch) for batch in batches] == [1000] * 250
    assert [line for batch in batches for line in batch] == big.read_text().splitlines()


def test_a_file_comes_in_blocks_of_one_size(big):
    blocks = list(xec.chunks(str(big), size="64KiB"))
    assert {len(block) for block in blocks[:-1]} == {65536}
    assert b"".join(blocks) == big.read_bytes()


def test_the_same_works_in_a_coroutine(big):
    async def main():
        return [len(batch) async for batch in xec.chunks(big, lines=100_000)]

    assert asyncio.run(main()) == [100_000, 100_000, 50_000]


def test_each_loop_begins_anew(big):
    batches = xec.chunks(big, lines=200_000)
    assert [len(batch) for batch in batches] == [len(batch) for batch in batches] == [200_000, 50_000]


def test_leaving_the_loop_early_closes_the_file(big):
    for _ in xec.chunks(big):
        assert opened(big)
        break
    assert not opened(big)
    with pytest.raises(ZeroDivisionError):
        for _ in xec.chunks(big):
            raise ZeroDivisionError
    assert not opened(big)

    async def main():
        batches = aiter(xec.chunks(big))
        assert await anext(batches)
        await batches.aclose()

    asyncio.run(main())
    assert not opened(big)


def test_cancelling_a_coroutine_in_the_middle_of_a_read_closes_the_file_after_it(big, monkeypatch):
    import threading

    from xec_magic.compose import chunks as module

    go, begun = threading.Event(), threading.Event()
    read = module._read

    def slow(fd, name):
        begun.set()
        go.wait(10)
        return read(fd, name)

    monkeypatch.setattr(module, "_read", slow)

    async def main():
        task = asyncio.ensure_future(anext(aiter(xec.chunks(big))))
        while not begun.is_set():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert opened(big)  # a thread still reads from it: its number must not come to name another file
        go.set()
        for _ in range(500):
            if not opened(big):
                return
            await asyncio.sleep(0.01)

    asyncio.run(main())
    assert not opened(big)


def test_a_run_in_the_place_of_a_file_gives_its_output_and_is_stopped_when_the_loop_is_left(tmp_path):
    assert [len(batch) for batch in xec.chunks(xec.start("seq 2500"))] == [1000, 1000, 500]
    subprocess.run(["sh", "-c", f"seq 5 | gzip >{tmp_path}/f.gz"], check=True)
    assert list(xec.chunks(xec.start(f"zcat {tmp_path}/f.gz"), lines=3)) == [["1", "2", "3"], ["4", "5"]]
    run = xec.start("yes")
    for batch in xec.chunks(run, lines=10):
        assert batch == ["y"] * 10
        break
    assert run.wait(10).outcome == "cancelled"

    async def main():
        other = xec.start("yes")
        batches = aiter(xec.chunks(other, size=10))
        assert await anext(batches) == b"y\n" * 5
        await batches.aclose()
        return await asyncio.to_thread(other.wait, 10)

    assert asyncio.run(main()).outcome == "cancelled"


def test_a_run_that_fails_raises_at_its_end():
    seen = []
    with pytest.raises(xec.NonZeroExit):
        for batch in xec.chunks(xec.start("seq 3; exit 4"), lines=2):
            seen += batch
    assert seen == ["1", "2"]


def test_what_cannot_be_read_is_refused_when_it_is_named(tmp_path):
    (tmp_path / "report.csv").touch()
    os.mkfifo(tmp_path / "fifo")
    for wrong, words in [
        (lambda: xec.chunks(tmp_path / "reprt.csv"), "no such file: .*did you mean report.csv"),
        (lambda: xec.chunks(tmp_path), "is a directory"),
        (lambda: xec.chunks(tmp_path / "fifo"), "is a FIFO"),
        (lambda: xec.chunks(3), "neither a file's path nor a run"),
        (lambda: xec.chunks(""), "neither a file's path nor a run"),
        (lambda: xec.chunks("a\0b"), "no path|no such file"),
        (lambda: xec.chunks(tmp_path / "report.csv", lines=0), "1 at least, not 0"),
        (lambda: xec.chunks(tmp_path / "report.csv", lines=2.5), "not 2.5"),
        (lambda: xec.chunks(tmp_path / "report.csv", lines=True), "not True"),
        (lambda: xec.chunks(tmp_path / "report.csv", lines=1, size=1), "one of them"),
        (lambda: xec.chunks(tmp_path / "report.csv", size=0), "size must lie between"),
        (lambda: xec.chunks(tmp_path / "report.csv", size="lots"), "no size"),
        (lambda: xec.chunks(tmp_path / "report.csv", size="2GiB"), "size must lie between"),
        (lambda: xec.chunks(tmp_path / "report.csv", errors="ignore"), "not among strict"),
    ]:
        with pytest.raises(xec.OptionError, match=words):
            wrong()


def test_a_file_that_may_not_be_read_or_has_gone_says_so(tmp_path, monkeypatch):
    (tmp_path / "f").write_text("x\n")
    batches = xec.chunks(tmp_path / "f")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(xec.OptionError, match="no permission to read"):
        xec.chunks(tmp_path / "f")
    (tmp_path / "f").unlink()
    with pytest.raises(xec.XecError, match="cannot read .*: No such file"):
        list(batches)


def test_an_empty_file_gives_nothing(tmp_path):
    (tmp_path / "empty").touch()
    assert list(xec.chunks(tmp_path / "empty")) == list(xec.chunks(tmp_path / "empty", size=5)) == []


def test_bytes_that_are_no_text_are_refused_with_the_line(tmp_path):
    (tmp_path / "latin").write_bytes(b"a\nb\xe4r\n")
    with pytest.raises(xec.ParseError, match="latin, line 2: byte 0xe4"):
        list(xec.chunks(tmp_path / "latin"))
    assert list(xec.chunks(tmp_path / "latin", errors="surrogateescape")) == [["a", "b\udce4r"]]


def test_memory_stays_flat_over_a_large_file(tmp_path):
    program = """
import resource, sys
import xec_magic as xec
path = sys.argv[1]
next(iter(xec.chunks(xec.__file__)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
lines = sum(len(batch) for batch in xec.chunks(path))
size = sum(len(block) for block in xec.chunks(path, size="1MiB"))
print(lines, size, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < 24 * 1024)
"""
    path = tmp_path / "large"
    subprocess.run(["sh", "-c", f"yes 0123456789 | head -c 55000000 >'{path}'"], check=True)
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["5000000", "55000000", "True"], done.stderr + done.stdout
