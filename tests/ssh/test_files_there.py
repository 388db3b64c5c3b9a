"""Files on hosts by the batch floor: operations, large files in pieces, temporary files, what is done at the end."""

from __future__ import annotations

import os
import secrets
from pathlib import PurePosixPath

import pytest
from helpers.waiting import until
from world import IS_ROOT, environ_has

import xec_magic as xec
from xec_magic import runtime
from xec_magic.atend import registry

pytestmark = pytest.mark.usefixtures("own_runtime")


@pytest.fixture
def there(on):
    """A directory on the host."""
    with xec.cleanup() as stack:
        yield stack.temp_dir(on=on)


# -- operations --------------------------------------------------------------------------------------------


def test_operations_on_files_are_done_there_in_one_run(on, there):
    before = len(runtime.current().executor.runs())
    todo = xec.files(on=on, cwd=there).mkdir("a b").write("a b/-f", "x'y\n").copy("a b/-f", "a b/g").move("a b/g", "h")
    results = todo.delete("a b").run()
    assert results.ok
    assert len(runtime.current().executor.runs()) == before + 1
    assert {result.target for result in results} == {on}
    assert xec.run("ls; cat h", on=on, cwd=there).lines() == ["h", "x'y"]
    failed = xec.using(on=on, cwd=there).files().delete("nope").mkdir("z").run(keep_going=True)
    assert [result.ok for result in failed] == [False, True]
    assert "nope: no such file or directory" in failed[0].stderr


# -- large files -------------------------------------------------------------------------------------------


def test_a_large_file_comes_in_pieces_and_each_loop_begins_anew(on, there):
    xec.run("seq 100000 >'big file'", on=on, cwd=there)
    batches = xec.chunks(there / "big file", lines=30_000, on=on)
    assert repr(batches) == f"<Batches of 30,000 lines: {on}:{there}/big file>"
    for _ in range(2):
        found = list(batches)
        assert [len(batch) for batch in found] == [30_000, 30_000, 30_000, 10_000]
        assert found[-1][-1] == "100000"
    blocks = xec.using(on=on, cwd=there).chunks("big file", size="64KiB")
    assert sum(map(len, blocks)) == 588_895


@pytest.mark.anyio
async def test_a_file_on_a_host_is_read_by_coroutines_too(on, there):
    xec.run("seq 2500 >f", on=on, cwd=there)
    assert [len(batch) async for batch in xec.chunks(there / "f", on=on)] == [1000, 1000, 500]


def test_leaving_the_loop_early_ends_what_reads_there(on, there, world):
    xec.run(f"cat {world.zeros} >big", on=on, cwd=there)
    for block in xec.chunks(there / "big", size="1MiB", on=on):
        assert len(block) == 2**20
        break
    run = runtime.current().executor.runs()[-1]
    assert run.plan.title.startswith("read ")
    assert until(lambda: not environ_has(f"{runtime.current().executor.kernel_id}.{run.run_id}."))


def test_what_cannot_be_read_there_is_told_with_the_host(on, there):
    with pytest.raises(xec.XecError, match=f"^{on}:{there}/nope: no such file$"):
        list(xec.chunks(there / "nope", on=on))
    with pytest.raises(xec.XecError, match=f"^{on}:{there}: it is a directory; give a file in it$"):
        list(xec.chunks(there, on=on))
    xec.run("touch closed; chmod 0 closed", on=on, cwd=there)
    if IS_ROOT:
        with pytest.raises(xec.XecError, match="/closed: no permission to read it$"):
            list(xec.chunks(there / "closed", on=on))
    with pytest.raises(xec.OptionError, match="lines and size: give one of them"):
        xec.chunks("f", lines=1, size=1, on=on)
    with pytest.raises(xec.OptionError, match="there is no target 'nohost'"):
        xec.chunks("f", on="nohost")
    with pytest.raises(xec.OptionError, match="the run says itself where it runs"):
        xec.chunks(xec.start("true"), on=on)


# -- temporary files and the end -------------------------------------------------------------------------


def test_a_temporary_file_there_is_private_and_goes_at_the_end_of_the_block(on):
    content = secrets.token_bytes(3000) + b"\0'\n"
    with xec.cleanup() as stack:
        path = stack.temp_file(suffix=" it's.json", content=content, on=on)
        folder = xec.temp_dir(suffix=".d", on=on)
        assert isinstance(path, PurePosixPath)
        assert path.name == "file it's.json"
        assert folder.name.endswith(".d")
        assert xec.run(xec.template("cat ${{path}}", path=path), on=on).stdout_bytes == content
        modes = xec.run(xec.template("stat -c %a ${{a}} ${{b}} ${{c}}", a=path, b=path.parent, c=folder), on=on)
        assert modes.lines() == ["600", "700", "700"]
        xec.run(xec.template("mkdir ${{d}}/x; touch ${{d}}/x/y", d=folder), on=on)
    gone = xec.template("ls -d ${{a}} ${{b}}", a=path.parent, b=folder)
    assert xec.run(gone, on=on, check=False).stdout == ""


def test_a_temporary_file_there_goes_at_the_kernels_end(on):
    path = xec.temp_file(content="x", on=on)
    assert os.path.exists(path)  # the host is this machine
    xec.defer(xec.template("echo end >>${{p}}", p=f"{path}.log"), on=on)
    runtime.current().clean_up(10)
    assert not os.path.exists(path.parent)


def test_a_deferred_command_runs_on_its_host_at_the_end(on, there):
    with xec.cleanup() as stack:
        stack.defer("echo $USER >deferred", on=on, cwd=there)
        assert xec.run("ls", on=on, cwd=there).stdout == ""
    assert xec.run("cat deferred", on=on, cwd=there).lines() == [on.partition("@")[0]]


def test_what_cannot_be_made_there_is_told_and_leaves_nothing_to_undo():
    with xec.cleanup() as stack:
        with pytest.raises(xec.ConnectError, match=r"cannot reach 127\.0\.0\.1:1"):
            stack.temp_file(on="bob@127.0.0.1:1")
        assert repr(stack) == "<Cleanup of 0>"
    with pytest.raises(xec.OptionError, match="is no end of a file's name"):
        xec.temp_file(suffix="a/b", on="bob@127.0.0.1:1")
    with pytest.raises(xec.OptionError, match="there is no target 'nohost'"):
        xec.temp_dir(on="nohost")
    assert repr(registry()) == "<Cleanup of 0>"
