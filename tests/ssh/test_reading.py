"""The loop that a host is told to run, with the shells and awks that hosts have."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from world import environ_has

from xec_magic.events import Sample
from xec_magic.transport.ssh.reading import Units, machine_line, read_answer_line, read_head, tree_line
from xec_magic.transport.ssh.remote import Begun

TICKS = os.sysconf("SC_CLK_TCK")
FLAVOURS = ["system", "busybox"]


class Loop:
    """The loop, run here as a host would."""

    def __init__(self, launch, flavour, folder):
        assert shutil.which("busybox"), "make test installs it"
        tools = folder / flavour
        tools.mkdir(exist_ok=True)
        for name in ("awk", "cat", "grep"):
            link = tools / name
            if not link.is_symlink():
                link.symlink_to(shutil.which("busybox") if flavour == "busybox" else shutil.which(name))
        shell = ["busybox", "sh", "-c"] if flavour == "busybox" else ["/bin/sh", "-c"]
        # Where BusyBox is all that there is there is no getconf either.
        path = str(tools) if flavour == "busybox" else os.environ["PATH"]
        self.process = subprocess.Popen(
            [shutil.which(shell[0]), *shell[1:], launch.line], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={"PATH": path}, text=True,
        )  # fmt: skip
        mark, _, head = self.process.stdout.readline().strip().partition(":")
        assert mark == launch.mark.decode()
        self.units = read_head(head, "web1")

    def line(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def ask(self):
        return read_answer_line(self.line().rstrip("\n"), self.units, "r1")

    def close(self):
        with self.process:
            self.process.stdin.close()
            self.process.wait(10)
        return self.process.returncode


@pytest.fixture(params=FLAVOURS)
def loop_of(request, tmp_path):
    """Starts a loop with the programs of one kind of host."""
    made = []

    def make(launch):
        made.append(Loop(launch, request.param, tmp_path))
        return made[-1]

    yield make
    for loop in made:
        loop.close()


@pytest.fixture
def watched():
    """A tree that lives until the test is over, and how its loop is told of it."""
    made = []

    def make(script, env=None):
        process = subprocess.Popen(
            ["bash", "-c", f"{script}\necho ready >&2; wait"], start_new_session=True, stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
        )  # fmt: skip
        made.append(process)
        process.stderr.readline()
        stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        return process, Begun(process.pid, stat[19], True)

    yield make
    for process in made:
        try:
            os.killpg(process.pid, 9)
        except ProcessLookupError:
            pass
        process.wait()
        process.stderr.close()


def until(answers, good):
    for _ in range(200):
        answer = answers()
        if good(answer):
            return answer
        time.sleep(0.02)
    raise AssertionError(answer)


def test_a_tree_of_twenty_is_counted_in_less_than_six_hundred_bytes(loop_of, watched, tmp_path):
    process, begun = watched("for i in $(seq 19); do sleep 60 & done; head -c 3000000 /dev/zero > /dev/null")
    loop = loop_of(tree_line(begun, "k.1.ssh"))
    assert loop.units == Units(TICKS, os.sysconf("SC_PAGESIZE"))
    loop.ask()
    line = loop.line()
    assert len(line) <= 600
    answer = read_answer_line(line.rstrip("\n"), loop.units, "r1")
    sample = answer.sample
    assert (sample.processes, sample.threads, len(sample.parts)) == (20, 20, 6)
    assert sample.written_bytes >= 3_000_000
    assert sample.rss_bytes > 20 * 200_000
    assert {part.name for part in sample.parts} == {"bash", "sleep"}
    assert any(part.pid == process.pid and part.parent == os.getpid() for part in sample.parts)
    assert loop.close() == 0


def test_children_that_lived_between_two_samples_are_in_the_total_and_it_never_shrinks(loop_of, watched, tmp_path):
    _process, begun = watched(
        "(for i in $(seq 40); do head -c 2000000 /dev/zero | cksum > /dev/null; done) & sleep 60 &"
    )
    loop = loop_of(tree_line(begun, "k.1.ssh"))
    samples = []

    def ask():
        samples.append(loop.ask().sample)
        return samples[-1]

    until(ask, lambda sample: sample.processes == 2)
    for name in ("cpu_s", "read_bytes", "written_bytes"):
        values = [getattr(sample, name) for sample in samples]
        assert values == sorted(values)
    assert samples[-1].written_bytes >= 80_000_000


def tree(folder, *processes):
    """A `/proc` in which these processes live: pid, parent, ticks of its own, of its children that have ended, children that live."""
    proc = Path(machine(folder))
    for pid, parent, own, ended, living in processes:
        place = proc / str(pid)
        (place / "task" / str(pid)).mkdir(parents=True, exist_ok=True)
        rest = f"{parent} 1 1 0 -1 0 0 0 0 0 {own} 0 {ended} 0 20 0 1 0 5 0 10"
        (place / "stat").write_text(f"{pid} (sh) S {rest}\n")
        (place / "io").write_text("rchar: 1\nwchar: 1\nread_bytes: 0\nwrite_bytes: 0\n")
        (place / "task" / str(pid) / "children").write_text("".join(f"{each} " for each in living))
    return proc


def test_a_child_that_ends_between_the_looks_at_its_parent_and_at_itself_makes_the_total_no_smaller(loop_of, tmp_path):
    proc = tree(tmp_path, (900, 1, 10, 0, [901]), (901, 900, 20, 0, []))
    loop = loop_of(tree_line(Begun(900, "5", True), "k.1.ssh", str(proc)))
    assert loop.ask().sample.cpu_s == 30 / TICKS
    shutil.rmtree(proc / "901")  # and its parent was looked at before
    assert loop.ask().sample.cpu_s == 30 / TICKS
    tree(tmp_path, (900, 1, 10, 25, []))
    assert loop.ask().sample.cpu_s == 35 / TICKS


def test_parents_are_looked_at_before_their_children(loop_of, tmp_path, monkeypatch):
    # Where a child was looked at first, and ended before its parent was, it counted twice, and the next total was smaller.
    proc = tree(
        tmp_path,
        (900, 1, 1, 0, [30]),
        (30, 900, 1, 0, [700]),
        (700, 30, 1, 0, [2]),
        (2, 700, 1, 0, [801]),
        (801, 2, 1, 0, []),
    )
    seen = tmp_path / "seen"
    for folder in (tmp_path / "busybox", tmp_path / "watched"):
        folder.mkdir(exist_ok=True)
        (folder / "spy").write_text(f'#!/bin/sh\necho "$*" >>\'{seen}\'\nexec {shutil.which("cat")} "$@"\n')
        (folder / "spy").chmod(0o755)
        (folder / "cat").symlink_to(folder / "spy")
    monkeypatch.setenv("PATH", f"{tmp_path / 'watched'}:{os.environ['PATH']}")
    loop = loop_of(tree_line(Begun(900, "5", True), "k.1.ssh", str(proc)))
    for _ in range(6):
        assert loop.ask().sample.processes == 5
    looks = [re.findall(r"(\d+)/io", line) for line in seen.read_text().splitlines()]
    assert [pids for pids in looks if len(pids) == 5] == [["900", "30", "700", "2", "801"]] * 5


def test_nothing_is_read_of_what_is_gone_nor_of_another_process_with_its_number(loop_of, watched, tmp_path):
    process, begun = watched("")
    loop = loop_of(tree_line(Begun(begun.pid, str(int(begun.born) + 1), True), "k.1.ssh"))
    assert loop.ask() is None
    loop = loop_of(tree_line(begun, "k.1.ssh"))
    process.wait()
    assert loop.ask() is None


def test_what_left_its_parent_and_its_session_is_found_by_its_environment(loop_of, watched, tmp_path):
    mark = f"far{os.getpid()}"  # another run of these tests must not find ours
    _process, begun = watched("setsid -f sleep 61; sleep 60 &", env={"XEC_RUN_ID": f"{mark}.7.ssh"})
    try:
        loop = loop_of(tree_line(begun, f"{mark}.7.ssh"))
        until(lambda: loop.ask().sample, lambda sample: sample.processes == 3)
        loop = loop_of(tree_line(begun, f"{mark}.77.ssh"))
        for _ in range(3):
            assert loop.ask().sample.processes == 2
    finally:
        for pid in environ_has(f"XEC_RUN_ID={mark}.7.ssh"):
            os.kill(pid, signal.SIGKILL)


def test_a_name_may_hold_anything_but_a_line(loop_of, watched, tmp_path):
    strange = tmp_path / "a) S 1 (b c"
    shutil.copy(shutil.which("sleep"), strange)
    _process, begun = watched(f"'{strange}' 60 &")
    loop = loop_of(tree_line(begun, "k.1.ssh"))
    sample = until(lambda: loop.ask().sample, lambda sample: "bash" not in {p.name for p in sample.parts[1:]})
    assert "a) S 1 (b c" in {part.name for part in sample.parts}


def machine(folder, **files):
    """A `/proc` of a host; files as they are named, with _ for /."""
    stat = Path("/proc/self/stat").read_text()
    made = {"uptime": "100.50 1.0\n", "self/stat": stat, **files}
    proc = folder / "proc"
    for name, text in made.items():
        path = proc / name.replace("_", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    parent = stat.rpartition(")")[2].split()[1]  # the loop takes it for its own
    (proc / parent).mkdir(exist_ok=True)
    (proc / parent / "stat").write_text(f"{parent} {stat.partition(' ')[2]}")
    return str(proc)


STAT = "cpu  100 20 30 4000 50 6 7 8 0 0\ncpu0 1 1 1\ncpu1 1 1 1\nintr 5 6 7\n"
DISKS = """   7       0 loop0 9 0 999 9 9 0 999 9 0 9 9
   8       0 sda 10 0 1000 5 20 0 2000 5 0 5 5
   8       1 sda1 10 0 1000 5 20 0 2000 5 0 5 5
 259       0 nvme0n1 1 0 10 5 2 0 20 5 0 5 5
 259       1 nvme0n1p1 1 0 10 5 2 0 20 5 0 5 5
 253       0 dm-0 10 0 1000 5 20 0 2000 5 0 5 5
"""
NET = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 7777 1 0 0 0 0 0 0 7777 1 0 0 0 0 0 0
  eth0:3000000000000 1 0 0 0 0 0 0 40 1 0 0 0 0 0 0
  eth1: 5 1 0 0 0 0 0 0 6 1 0 0 0 0 0 0
"""


def test_a_host_is_read_whole_and_no_partition_or_loop_counts_twice(loop_of, tmp_path):
    proc = machine(
        tmp_path, stat=STAT, meminfo="MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 400 kB\nBuffers: 5 kB\nCached: 9 kB\n",
        loadavg="0.52 0.58 0.59 1/389 12345\n", diskstats=DISKS, net_dev=NET,
    )  # fmt: skip
    loop = loop_of(machine_line(proc))
    answer = loop.ask()
    assert answer.sample == Sample(
        "r1", 100.5, 163 / TICKS, 600 * 1024, 1010 * 512, 2020 * 512, received_bytes=3_000_000_000_005, sent_bytes=46, load=0.52
    )  # fmt: skip
    assert (answer.cores, answer.memory_bytes) == (2, 1000 * 1024)


def test_what_a_host_cannot_say_is_absent_and_never_zero(loop_of, tmp_path):
    proc = machine(
        tmp_path,
        stat="cpu  1 1 1 1 1 1 1\n",
        meminfo="MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 5 kB\nCached: 9 kB\n",
    )
    loop = loop_of(machine_line(proc))
    sample = loop.ask().sample
    assert sample.rss_bytes == (1000 - 114) * 1024  # before Linux 3.14 there is no MemAvailable
    assert (sample.read_bytes, sample.written_bytes, sample.received_bytes, sample.sent_bytes, sample.load) == (
        None,
    ) * 5


def test_files_that_may_not_be_read_make_their_totals_absent(loop_of, watched, tmp_path):
    _, begun = watched("sleep 60 &")
    real = Path("/proc")
    proc = machine(tmp_path)
    own = tmp_path / "proc" / str(begun.pid)
    own.mkdir()
    (own / "stat").write_text((real / str(begun.pid) / "stat").read_text())
    loop = loop_of(tree_line(begun, "k.1.ssh", proc))
    sample = loop.ask().sample
    assert (sample.read_bytes, sample.written_bytes, sample.storage_read_bytes) == (None, None, None)
    assert sample.cpu_s is not None
    assert sample.rss_bytes > 0


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("proc", "web1 has no /proc to read it from"),
        ("awk", "web1 has no awk to read it with"),
        ("zzz", "web1 cannot be watched: zzz"),
    ],
)
def test_a_host_that_cannot_be_read_says_why_in_one_line(head, words):
    assert read_head(head, "web1") == words


def test_a_loop_ends_with_its_input_and_says_what_it_lacks(loop_of, tmp_path):
    loop = loop_of(machine_line("/nowhere"))
    assert loop.units == "web1 has no /proc to read it from"
    assert loop.close() == 3
    loop = loop_of(machine_line())
    assert loop.close() == 0


def test_a_line_that_is_none_is_refused():
    with pytest.raises(ValueError, match="unexpected line 'S 1 2"):
        read_answer_line("S 1 2", Units(100, 4096), "r1")
