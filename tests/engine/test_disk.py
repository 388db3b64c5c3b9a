"""What the persistent tier promises: results outlive their kernel, kernels share them, and no disk makes a run fail."""

import contextlib
import errno
import math
import os
import resource
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from cacheparts import Hands, plan
from helpers.marks import needs_root
from helpers.waiting import until

from xec_magic.engine import diskdb, diskfiles, diskplace
from xec_magic.engine.cache import ResultCache
from xec_magic.engine.cachekey import Key
from xec_magic.engine.cachelist import matcher
from xec_magic.engine.clock import Clock
from xec_magic.engine.disk import DiskTier
from xec_magic.engine.diskchanges import Changes
from xec_magic.engine.executor import Executor
from xec_magic.errors import OutputTooLarge
from xec_magic.events import Exited, Started, Usage
from xec_magic.fold import fold
from xec_magic.transport.fake import FakeHost, Say

NAME = "results-2.db"


@pytest.fixture
def kernels():
    """Makes executors that share the disk, as kernels do."""
    made = []

    def new(clock=None, **disk):
        executor = Executor()
        executor.cache = ResultCache(executor.redactor, clock or Clock(), disk=lambda: DiskTier(**disk))
        made.append(executor)
        return executor

    yield new
    for executor in made:
        executor.close(0.2)


@pytest.fixture
def host():
    made = FakeHost("db1")
    made.on("lots", Say(b"x" * 200_000 + b"\n"), Say(b"err\n", "stderr"))
    made.on(".*", Say("out\n"), Say("err\n", "stderr"))
    return made


def ask(executor, script, host, **policy):
    return executor.start(plan(script, target=host.target, persist=True, **policy), check=False).wait(30)


def keep(executor, script, host, **policy):
    result = ask(executor, script, host, **policy)
    executor.cache.disk.flush()
    return result


def home():
    return Path(os.environ["XDG_CACHE_HOME"]) / "xec-magic" / "results"


def said(executor):
    return "\n".join(executor.cache.complaints())


# -- kept ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["uptime", "lots"])
def test_a_result_outlives_its_kernel(kernels, host, script):
    first = keep(kernels(), script, host)
    again = ask(kernels(), script, host)
    assert host.started == [script]
    assert again.cached is not None
    for name in ("output", "stdout", "stderr", "exit_code", "signal", "duration_s", "started_at", "usage", "outcome"):
        assert getattr(again, name) == getattr(first, name), name
    assert [each.name for each in fields(first) if not hasattr(again, each.name)] == []
    assert list(again.log.pieces()) == list(first.log.pieces())
    assert again.log.line_count == first.log.line_count


@pytest.mark.parametrize(
    "usage",
    [Usage(0.5, 0.25, 3 * 2**20, 8, 16, 4096, 0, 2**33), Usage(0.0, 0.0), Usage(1.5, 0.0, None, 0, None, 7), None],
)
def test_all_that_a_command_used_outlives_its_kernel(kernels, host, usage):
    cache = kernels().cache
    key, what = Key(7, b"seven"), plan("uptime", target=host.target, persist=True)
    result = fold([Started("1", 0.0, 0.0, 1), Exited("1", 1.5, 0, None, usage=usage)], what)
    cache.store(key, result, begun=0.0, secrets=0)
    cache.disk.flush()
    again = kernels().cache.disk.load(key, what)
    assert again.result.usage == usage
    assert again.result.duration_s == 1.5


def test_without_persist_nothing_is_written_and_nothing_is_read(kernels, host):
    keep(kernels(), "uptime", host)
    assert kernels().start(plan("uptime", target=host.target)).result().cached is None
    kernels().start(plan("other", target=host.target)).result()
    assert [row.script for row in kernels().cache.disk.rows()] == ["uptime"]


def test_a_result_of_memory_is_written_when_it_is_asked_for_with_persist(kernels, host):
    one = kernels()
    one.start(plan("uptime", target=host.target)).result()
    keep(one, "uptime", host)
    assert ask(kernels(), "uptime", host).cached is not None
    assert host.started == ["uptime"]


def test_output_beyond_memory_is_kept_in_a_file_and_read_from_it(kernels):
    what = plan("seq 1500000; seq 10 >&2", persist=True)
    one = kernels()
    first = one.start(what).result()
    one.cache.disk.flush()
    again = kernels().start(what).result()
    assert again.cached is not None
    assert again.log.size() == first.log.size() > 8 * 2**20
    assert again.log.lines(1_000_000, 1)[0].data == b"1000001\n"
    assert again.stderr == first.stderr
    assert again.stdout == first.stdout


@pytest.mark.parametrize("most", [1000, 0], ids=["its file stays open", "no further file may be open"])
def test_a_larger_output_is_read_from_its_file_when_it_is_wanted_also_when_that_was_removed(kernels, monkeypatch, most):
    monkeypatch.setattr(diskfiles, "LATER_FILES", most)
    what = plan("seq 60000; seq 10 >&2", persist=True)
    one = kernels()
    first = one.start(what).result()
    one.cache.disk.flush()
    again = kernels().start(what).result()
    assert again.cached is not None
    assert (again.log._file is not None) == bool(most)
    for path in (home() / "outputs").iterdir():
        path.unlink()
    assert again.log.size() > diskfiles.LATER_BYTES
    assert (again.stdout, again.stderr, again.log_path) == (first.stdout, first.stderr, None)


def test_directory_and_files_are_the_users_alone(kernels, host):
    os.makedirs(home(), mode=0o755)
    keep(kernels(), "lots", host)
    assert stat.S_IMODE(home().stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in (home() / "outputs").iterdir()] == [0o600]
    assert {stat.S_IMODE(path.stat().st_mode) for path in home().iterdir() if path.is_file()} == {0o600}


def test_a_link_in_the_place_of_the_database_closes_nothing_elsewhere(kernels, host, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch(0o644)
    home().mkdir(parents=True)
    (home() / diskdb.NAME).symlink_to(elsewhere)
    keep(kernels(), "lots", host)
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o644


@pytest.mark.parametrize("how", ["by a link", "by its owner"])
def test_a_directory_of_somebody_else_is_not_used(kernels, host, tmp_path, monkeypatch, how):
    elsewhere = tmp_path / "theirs"
    elsewhere.mkdir()
    (tmp_path / "root").mkdir()
    if how == "by a link":
        (tmp_path / "root" / "results").symlink_to(elsewhere)
    else:
        # To give a directory away takes root; that this process is somebody else does not.
        monkeypatch.setattr(diskfiles, "os", SimpleNamespace(**{**vars(os), "getuid": lambda: os.getuid() + 1}))
        elsewhere = elsewhere.rename(tmp_path / "root" / "results")
    executor = kernels(root=lambda: tmp_path / "root")
    result = ask(executor, "uptime", host)
    assert list(elsewhere.iterdir()) == []
    assert "results cannot be kept on disk" in result.notes[0]


def test_time_goes_on_between_kernels_and_a_clock_that_is_set_back_makes_nothing_immortal(kernels, host):
    clock = Hands()
    keep(kernels(clock), "uptime", host)
    clock.tick(50)
    assert ask(kernels(clock), "uptime", host).cached == pytest.approx(50, abs=3)
    clock.wall_offset = -86400
    assert ask(kernels(clock), "uptime", host).cached is not None, "the same boot: its own clock tells"
    clock.tick(11)
    assert ask(kernels(clock), "uptime", host).cached is None


def test_what_was_kept_in_the_future_of_another_boot_is_not_used(kernels, host):
    ahead = Hands()
    ahead.boot, ahead.wall_offset = "another boot", 86400
    keep(kernels(ahead), "uptime", host, ttl=math.inf)
    assert ask(kernels(), "uptime", host, ttl=math.inf).cached is None


def test_hits_and_sizes_are_counted_on_disk(kernels, host):
    one = kernels()
    keep(one, "uptime", host)
    for _ in range(3):
        ask(one, "uptime", host)
    one.cache.disk.flush()
    (row,) = kernels().cache.disk.rows()
    assert (row.script, row.target, row.hits) == ("uptime", "db1", 3)
    assert row.size == 8
    assert kernels().cache.disk.totals()[0] == 1


def test_a_digest_of_a_large_file_outlives_its_kernel(kernels, tmp_path):
    path = tmp_path / "data"
    path.write_bytes(b"x" * 100_000)
    what = plan("date +%N", depends=str(path), persist=True)
    clock = Hands()
    clock.tick(100)  # the file is not young any more
    one, two = kernels(clock), kernels(clock)
    one.start(what).result()
    one.cache.disk.flush()
    assert two.start(what).result().cached is not None
    assert (one.cache.stamps.read_bytes, two.cache.stamps.read_bytes) == (100_000, 0)


# -- bounded ------------------------------------------------------------------------------------


def test_the_disk_is_bounded_and_what_was_used_longest_ago_goes(kernels, host):
    one = kernels(limit_bytes=500_000)
    keep(one, "lots 1", host)
    keep(one, "lots 2", host)
    one.cache.memory.clear()
    assert ask(one, "lots 1", host).cached is not None
    one.cache.disk.flush()
    keep(one, "lots 3", host)
    assert sorted(row.script for row in one.cache.disk.rows()) == ["lots 1", "lots 3"]
    assert len(list((home() / "outputs").iterdir())) == 2
    assert one.cache.disk.totals()[1] <= 500_000
    assert one.cache.stats.evictions == 1


def test_what_has_ended_is_removed_when_something_is_kept(kernels, host):
    clock = Hands()
    one = kernels(clock)
    keep(one, "lots 1", host)
    clock.tick(61)
    keep(one, "uptime", host)
    assert [row.script for row in one.cache.disk.rows()] == ["uptime"]
    assert list((home() / "outputs").iterdir()) == []


# -- two kernels --------------------------------------------------------------------------------


def test_two_kernels_may_forget_the_same_result(kernels, host):
    one, two = kernels(), kernels()
    keep(one, "uptime", host)
    assert ask(two, "uptime", host).cached is not None
    assert one.cache.forget(matcher("up*")) == 1
    assert two.cache.forget(matcher("up*")) in (0, 1), "its copy in memory"
    assert [each.cache.forget(matcher("up*")) for each in (one, two)] == [0, 0]
    assert [each.cache.clear() for each in (one, two)] == [0, 0]


def test_what_one_kernel_has_forgotten_no_other_one_gives_from_its_memory(kernels, host):
    one, two = kernels(), kernels()
    keep(one, "uptime", host)
    assert [ask(two, "uptime", host).cached is not None for _ in range(2)] == [True, True]
    one.cache.forget(matcher("up*"))
    assert ask(two, "uptime", host).cached is None


def test_what_one_kernel_has_renewed_another_one_gives_at_once(kernels):
    host = FakeHost("db1")
    host.on("date", Say("old"))
    host.on("date", Say("new"))
    one, two = kernels(), kernels()
    keep(one, "date", host)
    assert str(ask(two, "date", host)) == "old"
    keep(one, "date", host, refresh=True)
    assert str(ask(two, "date", host)) == "new"


def test_an_older_result_of_one_kernels_memory_does_not_take_the_place_of_a_newer_one_on_disk(kernels):
    host = FakeHost("db1")
    host.on("date", Say("old"))
    host.on("date", Say("new"))
    one, two = kernels(), kernels()
    one.start(plan("date", target=host.target)).result()
    keep(two, "date", host, refresh=True)
    assert str(keep(one, "date", host)) == "old", "its own, and as fresh as it asks for"
    assert [str(ask(each, "date", host)) for each in (two, kernels(), one)] == ["new"] * 3
    assert host.started == ["date"] * 2


def test_what_is_too_old_in_one_kernels_memory_is_looked_for_on_disk(kernels):
    host, clock = FakeHost("db1"), Hands()
    host.on("date", Say("old"))
    host.on("date", Say("new"))
    one, two = kernels(clock), kernels(clock)
    one.start(plan("date", ttl=600, target=host.target)).result()
    clock.tick(100)
    keep(two, "date", host)
    assert str(ask(one, "date", host)) == "new"
    assert host.started == ["date"] * 2


def test_what_two_kernels_have_kept_of_one_command_is_forgotten_in_memory_and_on_disk(kernels, host):
    one, two = kernels(), kernels()
    one.start(plan("uptime", target=host.target)).result()
    keep(two, "uptime", host)
    assert one.cache.forget(matcher("uptime")) == 1
    assert one.cache.entries() == two.cache.entries() == []
    assert ask(one, "uptime", host).cached is None


@pytest.mark.parametrize("kept_before", [False, True], ids=["nothing", "a smaller result"])
def test_a_large_result_is_given_while_it_is_on_its_way_to_the_disk(kernels, tmp_path, kept_before):
    size = tmp_path / "size"
    size.write_text("10")
    script = f"head -c $(cat {size}) /dev/zero"
    one = kernels()
    if kept_before:
        one.start(plan(script)).result()
    size.write_text("9000000")
    hold, held = threading.Event(), threading.Event()
    one.cache.disk._writer.post(lambda _: hold.set() or held.wait(20))
    assert hold.wait(20)
    first = one.start(plan(script, persist=True, refresh=True)).result()
    try:
        again = [one.start(plan(script, persist=True)).result() for _ in range(2)]
        assert [(each.log.size(), each.cached is not None) for each in again] == [(9_000_000, True)] * 2
        assert again[0].stdout_bytes == first.stdout_bytes
    finally:
        held.set()
    one.cache.disk.flush()
    assert one.start(plan(script, persist=True)).result().log is not first.log
    assert one.cache.forget(matcher("*")) == 1
    assert one.start(plan(script, persist=True)).result().cached is None


def test_a_forgotten_result_that_was_on_its_way_to_the_disk_does_not_come_back(kernels, host, monkeypatch):
    one = kernels()
    begun, held = threading.Event(), threading.Event()
    one.cache.disk._writer.post(
        lambda _: begun.set() or held.wait(20)
    )  # a disk that is so slow that nobody waits for it
    assert begun.wait(20)
    ask(one, "uptime", host)
    (entry,) = one.cache.memory.entries()
    assert one.cache.disk.saving(entry.key) is entry
    waiting = one.cache.disk._writer._jobs
    with monkeypatch.context() as patch:
        patch.setattr(one.cache.disk, "flush", Mock(side_effect=TimeoutError))
        forgetting = threading.Thread(target=one.cache.forget, args=(matcher("*"),))
        forgetting.start()
        until(lambda: waiting.qsize() == 2 or not forgetting.is_alive())
    assert one.cache.disk.saving(entry.key) is None
    held.set()
    forgetting.join(20)
    one.cache.disk.flush()
    assert one.cache.disk.rows() == []


KERNEL = """
import os, sys, time
sys.path.insert(0, {here!r})
from cacheparts import plan
from xec_magic.engine.executor import Executor
executor = Executor()
def ask(script, **policy):
    policy = dict(ttl=600, persist=True) | policy
    return executor.start(plan(script, **policy)).result(60)
{body}
executor.close()
"""


def program(body, *arguments, become=(), **options):
    source = KERNEL.format(here=os.path.dirname(__file__), body=textwrap.dedent(body))
    command = [*become, sys.executable, "-c", source, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def test_two_kernels_write_and_read_one_cache_at_once(kernels):
    body = """
    for number in range(60):
        result = ask(f"echo {number % 20}; head -c $(( {number % 3} * 50000 )) /dev/zero | tr '\\\\0' x")
        assert result.stdout.split()[0] == str(number % 20), result.stdout[:50]
    print(executor.cache.complaints(), executor.cache.stats.hits >= 0)
    """
    both = [program(body), program(body)]
    assert [process.communicate(timeout=100)[0] for process in both] == ["[] True\n"] * 2
    assert [process.returncode for process in both] == [0, 0]
    rows = kernels().cache.disk.rows()
    assert len(rows) == 60
    files = {path.name for path in (home() / "outputs").iterdir()}
    with sqlite3.connect(home() / NAME) as db:
        assert files == {name for (name,) in db.execute("select file from entries where file is not null")}


def test_a_kernel_that_is_killed_while_it_writes_leaves_whole_results_or_none(kernels):
    body = """
    print("begun", flush=True)
    number = 0
    while True:
        ask(f"echo {number}; head -c 300000 /dev/zero | tr '\\\\0' x")
        number += 1
    """
    for _ in range(3):
        process = program(body)
        assert process.stdout.readline() == "begun\n"
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not list(home().glob("outputs/*")):
            time.sleep(0.01)
        time.sleep(0.05)
        process.kill()
        process.communicate(timeout=20)
    survivor = kernels()
    rows = survivor.cache.disk.rows()
    assert rows
    for row in rows:
        again = survivor.start(plan(row.script, 600, persist=True)).result(30)
        assert again.stdout.startswith(row.script.split()[1].rstrip(";") + "\n")
        assert again.log.size() > 300_000
    assert survivor.cache.complaints() == []
    os.utime(home() / "outputs", None)
    orphan = home() / "outputs" / "0123-dead.part"
    orphan.write_text("half")
    os.utime(orphan, (1, 1))
    sweeper = kernels()
    sweeper.start(plan("echo sweep", persist=True)).result()
    sweeper.cache.disk.flush()
    assert not orphan.exists()
    orphan.write_text("half")
    os.utime(orphan, (1, 1))
    sweeper.cache.clear()
    assert not orphan.exists()


# -- damage -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"this is no database\n" * 500),
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 3]),
        lambda path: path.write_bytes(path.read_bytes()[:100] + os.urandom(path.stat().st_size - 100)),
        lambda path: path.write_bytes(b""),
    ],
    ids=["not one", "cut off", "noise", "empty"],
)
def test_a_damaged_database_is_set_aside_with_a_warning_and_never_a_wrong_answer(kernels, host, damage):
    first = kernels()
    for number in range(40):
        ask(first, f"uptime {number}", host)
    first.close()
    for suffix in ("-wal", "-shm"):
        Path(f"{home() / NAME}{suffix}").unlink(missing_ok=True)
    damage(home() / NAME)
    host.started.clear()
    one = kernels()
    result = ask(one, "uptime 1", host)
    assert (result.ok, result.cached, result.stdout) == (True, None, "out\n")
    one.cache.disk.flush()
    aside = list(home().glob("*.damaged-*"))
    if aside:
        assert any("set aside as" in note for note in (*result.notes, *one.cache.complaints()))
    keep(one, "uptime 2", host)
    assert ask(kernels(), "uptime 2", host).cached is not None, "a new one has been begun"


def test_the_warning_of_a_damaged_database_stands_in_the_result_that_met_it(kernels, host):
    keep(kernels(), "uptime", host)
    for path in home().glob(f"{NAME}*"):
        path.unlink()
    (home() / NAME).write_bytes(b"this is no database\n" * 500)
    result = ask(kernels(), "uptime", host)
    (note,) = result.notes
    assert "the results on disk were damaged (file is not a database); set aside as" in note
    (aside,) = home().glob("*.damaged-*")
    assert str(aside) in note


def test_of_two_kernels_that_meet_a_damaged_database_one_sets_it_aside(kernels, host):
    os.makedirs(home(), mode=0o700)
    (home() / NAME).write_bytes(b"this is no database\n" * 500)
    one, two = kernels(), kernels()
    ask(one, "uptime", host)
    one.cache.disk.flush()
    ask(two, "other", host)
    two.cache.disk.flush()
    assert len(list(home().glob("*.damaged-*"))) == 1
    assert ask(kernels(), "uptime", host).cached is not None


def test_a_row_that_was_changed_is_removed_and_the_command_is_run(kernels, host):
    one = kernels()
    keep(one, "uptime", host)
    one.close()
    with sqlite3.connect(home() / NAME) as db:
        db.execute("update entries set output = ?", (b"forged!!",))
    db.close()
    result = ask(kernels(), "uptime", host)
    assert (result.cached, result.stdout) == (None, "out\n")
    assert "a result on disk was damaged (it is not what was written)" in result.notes[0]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_bytes(b"y" * path.stat().st_size), "its output is not what was written"),
        (lambda path: os.truncate(path, 100), "its output is not what was written"),
        (lambda path: path.unlink(), ""),
        (lambda path: (path.unlink(), os.mkfifo(path)), "its output is no file any more"),
        (lambda path: (path.unlink(), path.symlink_to("/dev/zero")), "Too many levels of symbolic links"),
        (lambda path: (path.unlink(), path.mkdir()), "its output is no file any more"),
        (lambda path: (path.unlink(), shutil.copyfile(home() / NAME, path)), "its output is not what was written"),
    ],
    ids=["changed", "cut off", "removed", "a FIFO", "a link", "a directory", "another file"],
)
def test_an_output_file_that_was_changed_is_never_given(kernels, host, damage, words):
    one = kernels()
    keep(one, "lots", host)
    (path,) = (home() / "outputs").iterdir()
    damage(path)
    two = kernels()
    assert [b"".join(pieces)[:4] for _, pieces in two.cache.disk.contents()] == [b"lots"], (
        "nor does a search wait for it"
    )
    result = ask(two, "lots", host)
    assert (result.cached, result.log.size()) == (None, 200_005)
    assert words in " ".join(result.notes)


def test_an_output_for_which_there_is_no_descriptor_for_now_is_not_damaged(kernels, host, monkeypatch):
    keep(kernels(), "lots", host)
    two = kernels()
    asked = plan("lots", target=host.target, persist=True)
    key = two.cache.key(two.cache.captured(asked), asked)
    assert two.cache.disk.totals()[0] == 1
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", Mock(side_effect=OSError(errno.EMFILE, "Too many open files")))
        assert two.cache.disk.load(key, asked) is None
    two.cache.disk.flush()
    assert (ask(two, "lots", host).cached is not None, said(two)) == (True, "")


def test_two_outputs_that_were_exchanged_are_not_given_for_each_other(kernels, host):
    other = FakeHost("db2")
    other.on("lots", Say(b"y" * 200_000))
    keep(kernels(), "lots", host)
    keep(kernels(), "lots", other)
    one, two = (home() / "outputs").iterdir()
    one.rename(home() / "third")
    two.rename(one)
    (home() / "third").rename(two)
    again = kernels()
    assert ask(again, "lots", host).stdout == "x" * 200_000 + "\n"
    assert ask(again, "lots", other).stdout == "y" * 200_000


def test_an_output_that_is_cut_off_while_it_is_open_is_not_taken_for_a_shorter_one(kernels):
    what = plan("seq 60000", persist=True)
    one = kernels()
    one.start(what).result()
    one.cache.disk.flush()
    again = kernels().start(what).result()
    assert again.cached is not None
    (path,) = (home() / "outputs").iterdir()
    os.truncate(path, 1000)
    with pytest.raises(OutputTooLarge, match="the log of this result has been cut off; run the command again"):
        _ = again.stdout


@pytest.mark.parametrize("lines", [60_000, 600_000], ids=["without a name", "with a name"])
def test_an_output_that_is_written_to_while_it_is_open_is_neither_read_nor_given_again(kernels, lines):
    what = plan(f"seq {lines}", persist=True)
    one = kernels()
    one.start(what).result()
    one.cache.disk.flush()
    two = kernels()
    hit = two.start(what).result()
    assert hit.cached is not None
    (path,) = (home() / "outputs").iterdir()
    with path.open("r+b") as file:
        file.write(b"0")
    with pytest.raises(OutputTooLarge, match="changed by another program; run the command again"):
        hit.log.read(0, 10)
    again = two.start(what).result()
    assert (again.cached, again.log.read(0, 4)) == (None, b"1\n2\n")
    assert "its output is not what was written" in " ".join(again.notes)


def test_a_fifo_in_the_place_of_the_database_holds_nobody_up(kernels, host):
    one = kernels()
    keep(one, "uptime", host)
    one.close()
    (home() / NAME).unlink()
    os.mkfifo(home() / NAME)
    two = kernels()
    assert [ask(two, "uptime", host).stdout for _ in range(2)] == ["out\n"] * 2
    assert two.cache.disk.rows() == []


def change(question):
    db = sqlite3.connect(home() / NAME, isolation_level=None)
    db.execute(question)
    db.close()


@pytest.mark.parametrize(
    "damage",
    [
        "record = 'text'", "record = cast(x'ff00fe' as text)", "record = 1.5", "log = 7", "output = 'text'", "script = 1e300",
        "script = cast(x'ff00fe' as text)", "target = cast(x'ff00fe' as text)", "full = 'text'", "proof = 'text'",
        "file = 'a' || char(0) || 'b'", "file = x'ff00ff'", "file = cast(x'ff00fe' as text)", "hits = 'text'",
    ],
)  # fmt: skip
def test_a_damaged_row_costs_itself_and_nothing_else(kernels, host, caplog, damage):
    one = kernels()
    for script in ("uptime", "lots", "other"):
        keep(one, script, host)
    one.close()
    change(f"update entries set {damage} where script = cast('{'lots' if 'file' in damage else 'uptime'}' as blob)")
    two = kernels()
    assert [piece for _, pieces in two.cache.disk.contents() for piece in pieces if b"no such" in piece] == []
    assert len(two.cache.entries()) in (2, 3)
    for script in ("uptime", "lots"):
        result = ask(two, script, host)
        assert (result.stdout, result.stderr) == (("out\n" if script == "uptime" else "x" * 200_000 + "\n"), "err\n")
    assert ask(two, "other", host).cached is not None
    two.cache.disk.flush()
    assert two.cache.forget(matcher("*")) == 3
    assert "cannot be kept" not in said(two)
    assert caplog.records == []


def test_what_a_damaged_row_says_of_its_file_removes_no_other_one(kernels, host):
    one = kernels()
    keep(one, "lots", host)
    one.close()
    precious = home().parent / "precious"
    precious.write_text("of the user")
    change("update entries set file = '../../precious'")
    assert ask(kernels(), "lots", host).cached is None
    change("update entries set file = '../../precious'")
    kernels().cache.clear()
    assert precious.exists()


@pytest.mark.parametrize(
    "damage", ["update totals set bytes = 'text'", "update totals set bytes = 1e18", "delete from totals"]
)
def test_a_damaged_sum_is_made_anew(kernels, host, caplog, damage):
    one = kernels()
    keep(one, "uptime", host)
    one.close()
    change(damage)
    keep(kernels(), "other", host)
    keep(kernels(), "third", host)
    two = kernels()
    assert ask(two, "third", host).cached is not None
    assert two.cache.disk.totals()[0] == len(two.cache.disk.rows())
    assert caplog.records == []


def test_an_output_file_that_was_only_touched_or_restored_is_still_given(kernels, host):
    keep(kernels(), "lots", host)
    (path,) = (home() / "outputs").iterdir()
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    assert ask(kernels(), "lots", host).cached is not None


def test_a_directory_that_is_removed_while_kernels_live_is_made_again(kernels, host):
    import shutil

    one = kernels()
    keep(one, "uptime", host)
    shutil.rmtree(home())
    keep(one, "other", host)
    assert ask(kernels(), "other", host).cached is not None
    assert said(one) == ""
    shutil.rmtree(home())
    result = keep(one, "lots", host)  # its output is a file of its own
    assert ask(kernels(), "lots", host).cached is not None
    shutil.rmtree(home() / "outputs")
    keep(one, "lots 2", host)
    assert ask(kernels(), "lots 2", host).cached is not None
    assert (result.notes, said(one)) == ((), "")


def test_kernels_that_have_lost_their_directory_share_the_next_one(kernels, host):
    import shutil

    one, two = kernels(), kernels()
    keep(one, "uptime", host)
    assert ask(two, "uptime", host).cached is not None
    shutil.rmtree(home())
    assert [keep(each, "uptime", host).cached is None for each in (one, two)] == [True, False], (
        "forgotten, made once more"
    )
    two.cache.clear()
    assert ask(one, "uptime", host).cached is None, "and not given by the other one from its memory"
    (home() / "epoch").unlink()
    keep(one, "uptime", host, refresh=True)
    assert ask(two, "uptime", host).cached is not None
    one.cache.clear()
    assert ask(two, "uptime", host).cached is None


def test_a_database_that_another_kernel_has_set_aside_is_not_used_any_more(kernels, host):
    one = kernels()
    keep(one, "uptime", host)
    for suffix in ("-wal", "-shm", ""):
        os.rename(f"{home() / NAME}{suffix}", f"{home() / 'results-2.damaged-1'}{suffix}")
    keep(kernels(), "other", host)
    assert ask(one, "other", host).cached is not None
    keep(one, "third", host)
    assert ask(kernels(), "third", host).cached is not None


def test_tables_of_another_form_are_set_aside(kernels, host):
    os.makedirs(home(), mode=0o700)
    with sqlite3.connect(home() / NAME) as db:
        db.execute("create table entries(other)")
        db.execute("create table stamps(other)")
    db.close()
    one = kernels()
    assert ask(one, "uptime", host).ok
    keep(one, "uptime", host)
    assert len(list(home().glob("*.damaged-*"))) == 1


# -- what is left -------------------------------------------------------------------------------


def test_databases_of_earlier_forms_go_unless_an_older_kernel_has_them_open(kernels, host):
    body = """
    import sqlite3
    older = sqlite3.connect(sys.argv[1])
    older.execute("pragma journal_mode = wal")
    older.execute("create table entries(one)")
    older.execute("select * from entries").fetchall()
    print("open", flush=True)
    sys.stdin.read()
    """
    os.makedirs(home(), mode=0o700)
    older = program(body, home() / "results-1.db", stdin=subprocess.PIPE)
    try:
        assert older.stdout.readline() == "open\n"
        for name in (
            "results-0.db",
            "results-0.db-wal",
            "results-0.damaged-20260101-000000-ab",
            "results-1.lock",
            "notes.db",
        ):
            (home() / name).write_text("old")
        (home() / "results-3.db").write_text("of a newer kernel")
        keep(kernels(), "uptime", host)
        rest = {path.name for path in home().iterdir() if not path.name.startswith(NAME)}
        assert rest - {"epoch", "outputs", "notes.db", "results-3.db"} == {
            "results-1.db", "results-1.db-wal", "results-1.db-shm", "results-1.lock",
        }  # fmt: skip
    finally:
        older.kill()
        older.communicate()
    keep(kernels(), "other", host)
    rest = {path.name for path in home().iterdir() if not path.name.startswith(NAME)}
    assert rest == {"epoch", "outputs", "notes.db", "results-3.db"}


def test_a_database_that_was_set_aside_goes_when_all_is_cleared(kernels, host):
    os.makedirs(home(), mode=0o700)
    (home() / NAME).write_bytes(b"this is no database\n" * 500)
    one = kernels()
    keep(one, "uptime", host)
    assert len(list(home().glob("*.damaged-*"))) == 1
    one.cache.forget(matcher("*"))
    assert len(list(home().glob("*.damaged-*"))) == 1
    one.cache.clear()
    one.cache.disk.flush()
    assert list(home().glob("*.damaged-*")) == []


# -- secrets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [1, 8, 15])
def test_a_database_that_was_set_aside_goes_also_where_a_page_ends_within_the_secret(kernels, host, at):
    os.makedirs(home(), mode=0o700)
    secret = b"literal-token-77"
    (home() / NAME).write_bytes(b"no database\n" * 500 + secret[:at] + b"\0\0\0\x07" + secret[at:])
    one = kernels()
    keep(one, "harmless", host)
    bare = replace(plan("true", target=host.target), cache=None)
    assert one.start(bare).result().ok
    assert len(list(home().glob("*.damaged-*"))) == 1
    hidden = replace(bare, command=replace(bare.command, secret_env=(("TT", secret.decode()),)))
    assert one.start(hidden).result().ok
    until(lambda: not list(home().glob("*.damaged-*")))


def on_disk(value):
    return [path.name for path in home().rglob("*") if path.is_file() and value in path.read_bytes()]


def test_what_becomes_a_secret_after_it_was_kept_is_taken_off_the_disk(kernels, host):
    talks = FakeHost("db2")
    talks.on("large", Say(b"x" * (2**20 - 5)), Say(b"literal-token-77"), Say(b"x" * 200_000))
    one = kernels()
    keep(one, "echo literal-token-77", host)
    keep(one, "large", talks)
    keep(one, "harmless", host)
    keep(one, "named", host, key="literal-token-77")
    assert len(on_disk(b"literal-token-77")) >= 2
    one.close(0.2)
    shutil.copyfile(home() / NAME, home() / "results-2.damaged-20260101-000000-ab")
    (home() / "results-2.damaged-20260101-000000-cd").write_text("something else")

    two = kernels()
    assert ask(two, "harmless", host).cached is not None
    with_secret = replace(plan("true", target=host.target), cache=None)
    with_secret = replace(with_secret, command=replace(with_secret.command, secret_env=(("TT", "literal-token-77"),)))
    assert two.start(with_secret).result().ok
    deadline = time.monotonic() + 20
    while on_disk(b"literal-token-77"):
        assert time.monotonic() < deadline, on_disk(b"literal-token-77")
        time.sleep(0.02)
    assert [row.script for row in two.cache.disk.rows()] == ["harmless"]
    assert ask(kernels(), "harmless", host).cached is not None
    assert len(list(home().glob("*.damaged-*"))) == 1
    keep(two, "named", host, key="literal-token-77")
    assert on_disk(b"literal-token-77") == [], "it is known now, and written no more"


def test_an_output_without_a_row_goes_when_it_holds_a_secret(kernels, host):
    one = kernels()
    keep(one, "lots", host)
    (kept,) = (home() / "outputs").iterdir()
    for name, text in (("0123-dead.part", "half literal-token-77"), ("0123-live.part", "half, and literal-t")):
        (home() / "outputs" / name).write_text(text)
    bare = plan("true", target=host.target)
    bare = replace(bare, cache=None, command=replace(bare.command, secret_env=(("TT", "literal-token-77"),)))
    assert one.start(bare).result().ok
    until(lambda: not on_disk(b"literal-token-77"))
    assert {path.name for path in kept.parent.iterdir()} == {kept.name, "0123-live.part"}


@pytest.mark.parametrize("way", ["forget", "clear"])
def test_of_what_is_forgotten_nothing_is_left_on_the_disk(kernels, host, way):
    one = kernels()
    keep(one, "echo literal-token-77", host)
    assert on_disk(b"literal-token-77")
    assert (one.cache.clear() if way == "clear" else one.cache.forget(matcher("*"))) == 1
    until(lambda: not on_disk(b"literal-token-77"))


def test_who_reads_while_another_one_waits_for_the_disk_has_a_connection_of_its_own(monkeypatch):
    monkeypatch.setattr(diskplace, "MOST_S", 0.05)
    disk, waits, go = DiskTier(), threading.Event(), threading.Event()
    place = disk._place
    assert place.read("select 1") == [(1,)]

    def hang():
        waits.set()
        assert go.wait(5)
        raise OSError(errno.EIO, "gone")

    place._reader.create_function("hang", 0, hang)
    first = threading.Thread(target=place.read, args=("select hang()",))
    first.start()
    assert waits.wait(20)
    assert (place.read("select 2"), first.is_alive()) == ([(2,)], True)
    go.set()
    first.join(20)
    disk.close()
    assert place.read("select 3") == [(3,)]
    place.close()


def test_a_database_from_which_all_is_removed_gives_its_room_back(kernels):
    lots = FakeHost("db1")
    lots.on(".*", Say(b"x" * 60_000))
    one = kernels()
    for number in range(20):
        ask(one, f"number {number}", lots)
    one.cache.disk.flush()
    assert one.cache.clear() == 20
    assert (home() / NAME).stat().st_size < 200_000


def test_the_name_of_a_file_whose_digest_is_kept_is_not_on_the_disk(kernels, host, tmp_path):
    file = tmp_path / "literal-token-77"
    file.write_text("x")
    os.utime(file, (0, 0))
    one = kernels()
    stamp, digest = one.cache.stamps.digest(str(file))
    one.cache.disk.note(str(file), stamp, digest)
    one.cache.disk.flush()
    assert one.cache.disk.known(str(file), stamp) == digest
    assert on_disk(b"literal-token-77") == []


def test_a_secret_longer_than_what_is_read_at_once_is_found_and_taken_off_the_disk(kernels, host):
    secret = "".join(f"{number:06}-" for number in range(1300)).encode()  # a private key in base64 has half of it
    talks = FakeHost("db2")
    talks.on("large", Say(b"x" * (2**20 - 4550)), Say(secret), Say(b"x" * 200_000))
    parts = (secret[start : start + 1000] for start in range(0, len(secret), 1000))
    talks.on("turns", *(said for part in parts for said in (Say(part), Say(b"|", "stderr"))))
    one = kernels()
    for script in ("large", "turns"):
        keep(one, script, talks)
    assert on_disk(secret)
    bare = replace(plan("true", target=host.target), cache=None)
    assert one.start(replace(bare, command=replace(bare.command, secret_env=(("TT", secret.decode()),)))).result().ok
    until(lambda: not on_disk(secret))
    assert ask(one, "turns", talks).cached is None


def test_what_another_kernel_keeps_from_being_written_back_is_written_back_with_the_next_change(kernels, host):
    one = kernels()
    keep(one, "echo literal-token-77", host)
    with contextlib.closing(sqlite3.connect(home() / NAME, isolation_level=None)) as reader:
        reader.execute("begin")
        assert reader.execute("select count(*) from entries").fetchone() == (1,)
        assert one.cache.forget(matcher("*")) == 1
        assert on_disk(b"literal-token-77"), "the other one reads"
    keep(one, "harmless", host)
    one.cache.disk.flush()
    assert not on_disk(b"literal-token-77")


def test_what_had_gone_before_it_became_a_secret_is_taken_out_of_the_log_as_well(kernels, host):
    one = kernels()
    digest = keep(one, "echo literal-token-77", host) and one.cache.disk.rows()[0].digest
    one.cache.disk.forget_later([digest])
    one.cache.disk.flush()
    assert one.cache.disk.rows() == []
    assert on_disk(b"literal-token-77"), "in the database's log"
    bare = plan("true", target=host.target)
    bare = replace(bare, cache=None, command=replace(bare.command, secret_env=(("TT", "literal-token-77"),)))
    assert one.start(bare).result().ok
    until(lambda: not on_disk(b"literal-token-77"))


def test_without_anything_on_disk_a_secret_makes_nothing_there(kernels, host):
    bare = plan("true", target=host.target)
    bare = replace(bare, cache=None, command=replace(bare.command, secret_env=(("TT", "literal-token-77"),)))
    assert kernels().start(bare).result().ok
    assert not home().exists()


# -- disks that refuse --------------------------------------------------------------------------


def test_on_a_disk_that_takes_nothing_it_works_in_memory_and_says_so_once(kernels, host, tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "results").write_text("a file where the directory should be")
    one = kernels(root=lambda: tmp_path / "root")
    results = []
    for number in range(6):
        results.append(ask(one, f"uptime {number % 2}", host))
        one.cache.disk._writer._rest_until = 0.0  # it is tried again at once
    assert [result.cached is not None for result in results] == [False, False, True, True, True, True]
    notes = [note for result in results for note in result.notes]
    assert len(notes) == 1
    assert f"results cannot be kept on disk ({tmp_path / 'root' / 'results'}: " in notes[0]
    assert "in memory only" in notes[0]
    assert one.cache.forget(matcher("*")) == 2


def test_on_a_file_system_mounted_read_only_it_works_in_memory(kernels, host, tmp_path):
    """The same errors without being root: SQLite opens what it may not write."""
    keep(kernels(), "uptime", host)
    one = kernels()

    def refuse(*_):
        error = sqlite3.OperationalError("attempt to write a readonly database")
        error.sqlite_errorcode = sqlite3.SQLITE_READONLY
        raise error

    one.cache.disk._writer._commit = refuse
    assert ask(one, "uptime", host).cached is not None, "what is there can be read"
    assert ask(one, "other", host).ok
    one.cache.disk.flush()
    assert "attempt to write a readonly database" in said(one)
    assert ask(one, "other", host).cached is not None


def test_on_a_full_disk_it_works_in_memory_and_says_so_once():
    body = """
    import resource
    ask("echo warm")
    executor.cache.disk.flush()
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
    for number in range(3):
        result = ask(f"echo {number}; head -c 200000 /dev/zero")
        assert result.ok, result
        executor.cache.disk.flush()
    assert ask("echo 1; head -c 200000 /dev/zero").cached is not None
    notes = [note for run in executor.runs() for note in run.wait().notes] + executor.cache.complaints()
    print(len(notes), notes)
    """
    process = program(body, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert printed.startswith("1 ["), printed
    assert "results cannot be kept on disk" in printed
    assert not list((home() / "outputs").iterdir()), "nothing half-written is left"


@pytest.mark.parametrize("when", ["from the beginning", "later"])
def test_what_is_kept_is_given_also_when_the_disk_is_full(when):
    body = """
    for script in ("echo a", "echo b; head -c 100000 /dev/zero"):
        ask(script)
    """
    program(body).communicate(timeout=60)
    body = """
    import resource
    def full():
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.argv[1] == "from the beginning":
        full()  # then there is no room either for what SQLite shares between kernels
    else:
        ask("echo a")
        full()
    for turn in range(3):
        executor.cache.memory.clear()  # it is the disk that is asked
        assert ask("echo a").cached is not None, turn
        assert ask("echo b; head -c 100000 /dev/zero").cached is not None, turn
        assert ask(f"echo new {{turn}}; head -c 100000 /dev/zero").ok
        executor.cache.disk.flush()
    notes = [note for run in executor.runs() for note in run.wait().notes] + executor.cache.complaints()
    print(len(notes), notes)
    """
    process = program(body, when, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
    printed, _ = process.communicate(timeout=60)
    assert (process.returncode, printed[:3]) == (0, "1 ["), printed


def test_what_cannot_be_forgotten_on_a_full_disk_is_not_said_to_be():
    body = """
    import resource
    from xec_magic.engine.cachelist import matcher
    if sys.argv[1] == "keep":
        ask("echo a"), ask("echo b")
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        forget, clear = (lambda: executor.cache.forget(matcher("echo a"))), executor.cache.clear
        for work in (forget, clear, forget):
            try:
                print("forgotten:", work())
            except OSError as error:
                print(error)
        print(executor.cache.forget(matcher("nothing like it")), len(executor.cache.entries()))
    """
    program(body, "keep").communicate(timeout=60)
    process = program(body, "forget", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert printed.splitlines() == [
        *(
            f"the disk takes no change, so {left} of the results to forget stay there; to forget all, remove {home()}"
            for left in (1, 2, 1)
        ),
        "0 2",
    ]


@needs_root
@pytest.mark.parametrize("killed", [False, True])
def test_what_is_kept_is_given_from_a_directory_that_may_only_be_read(killed):
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all,+dac_read_search"]
    nobody.append("--ambient-caps=-all,+dac_read_search")
    with tempfile.TemporaryDirectory(prefix="xec-test-user-") as made:  # pytest's own lets nobody else in
        root = Path(made)
        os.chown(root, 65534, 65534)
        body = """
        kept = [ask(script).cached is not None for script in ("echo a", "echo b; head -c 100000 /dev/zero")]
        if all(kept):
            ask("echo new")
        executor.cache.disk.flush()
        if sys.argv[1]:
            os._exit(9)
        notes = [note for run in executor.runs() for note in run.wait().notes] + executor.cache.complaints()
        print(*kept, len(notes))
        """
        env = {**os.environ, "XDG_CACHE_HOME": str(root), "HOME": str(root)}
        program(body, "yes" if killed else "", become=nobody, env=env).communicate(timeout=60)
        for directory, _, files in os.walk(root):
            os.chmod(directory, 0o500)
            for name in files:
                os.chmod(os.path.join(directory, name), 0o400)
        printed, _ = program(body, "", become=nobody, env=env).communicate(timeout=60)
        assert printed == "True True 1\n"


def test_a_change_that_the_disk_refuses_takes_no_output_with_it(kernels, host, monkeypatch):
    one = kernels()
    keep(one, "lots", host)
    busy = sqlite3.OperationalError("database is locked")
    busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
    with monkeypatch.context() as patch:
        patch.setattr(Changes, "_tidy", Mock(side_effect=busy))
        with pytest.raises(OSError, match="the disk takes no change, so 1 of the results to forget stay"):
            one.cache.forget(matcher("lots"))
        keep(one, "lots that is refused", host)
    assert len(list((home() / "outputs").iterdir())) == 1
    keep(one, "other", host)
    again = ask(kernels(), "lots", host)
    assert (again.cached is not None, again.stdout) == (True, "x" * 200_000 + "\n")


def test_a_disk_that_hangs_holds_nobody_up(kernels, host):
    import threading

    release = threading.Event()
    one = kernels()
    keep(one, "warm", host)
    real = one.cache.disk._writer._commit
    one.cache.disk._writer._commit = lambda *jobs: release.wait(60) and real(*jobs)
    try:
        begun = time.monotonic()
        results = [ask(one, f"uptime {number % 5}", host) for number in range(20)]
        assert time.monotonic() - begun < 30
        assert all(result.ok for result in results)
        assert sum(result.cached is not None for result in results) == 15
        with pytest.raises(TimeoutError):
            one.cache.disk.flush(0.1)
    finally:
        release.set()
    one.cache.disk.flush()
    assert len(one.cache.disk.rows()) == 6


def test_cost_does_not_grow_with_what_is_kept(kernels, host):
    """Linear in what is done, not in what is there: rows looked at, not times."""
    one = kernels()
    keep(one, "uptime", host)
    plans = [
        row[3]
        for query in (
            "select output from entries where digest = 1",
            "select digest from entries order by used limit 64",
            "select digest from entries where wall + keep < 1 limit 64",
        )
        for row in one.cache.disk._place.read(f"explain query plan {query}")
    ]
    assert len(plans) == 3
    assert not [step for step in plans if step.startswith("SCAN") and "INDEX" not in step]
