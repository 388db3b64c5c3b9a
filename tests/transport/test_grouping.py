"""Control groups, on trees of files that look like them; and on this machine, where it lets us make one."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from helpers.waiting import until

import xec_magic as xec
from xec_magic.transport.spawn import grouping
from xec_magic.transport.spawn.grouping import Groups, find

MIB = 2**20
HOLD = "python3 -c 'import time; x = bytearray(60 << 20); time.sleep(0.4)'"


class Tree:
    """A `/proc/self` and a `/sys/fs/cgroup` that say what the test wants."""

    def __init__(self, directory):
        self.proc = directory / "proc"
        self.root = directory / "cgroup"
        self.proc.mkdir()
        self.root.mkdir()

    def tell(self, own, *mounts):
        (self.proc / "cgroup").write_text("".join(f"{line}\n" for line in own))
        lines = [
            f"30 23 0:28 {root} {point} rw,relatime - {kind} {kind} {options}" for kind, root, point, options in mounts
        ]
        (self.proc / "mountinfo").write_text(
            "".join(f"{line}\n" for line in ["1 1 8:1 / / rw - ext4 /dev/sda rw", *lines])
        )

    def group(self, path, hands_down="", **files):
        made = self.root / path if path else self.root
        made.mkdir(parents=True, exist_ok=True)
        for name, text in {"cgroup.procs": "", "cgroup.subtree_control": hands_down, **files}.items():
            (made / name).write_text(text)
        return str(made)

    def find(self):
        return find(str(self.proc))


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def test_beside_the_group_of_the_kernel_where_the_memory_controller_is_handed_down(tree):
    tree.tell(["0::/user.slice/app.slice/jupyter.scope"], ("cgroup2", "/", tree.root, "rw"))
    for path, hands_down in (
        ("", "cpu memory"),
        ("user.slice", "memory pids"),
        ("user.slice/app.slice", "memory pids"),
    ):
        tree.group(path, hands_down)
    home = tree.group("user.slice/app.slice/jupyter.scope", **{"memory.max": "max\n", "cpu.max": "max 100000\n"})
    assert tree.find() == (str(tree.root / "user.slice/app.slice"), home)


def test_never_outside_of_what_limits_the_kernel(tree):
    tree.tell(["0::/app.slice/jupyter.scope"], ("cgroup2", "/", tree.root, "rw"))
    tree.group("", "memory")
    tree.group("app.slice", "memory")
    tree.group("app.slice/jupyter.scope", **{"memory.max": "4294967296\n"})
    assert tree.find() == ("", "")


def test_no_place_where_nobody_hands_the_controller_down_or_nothing_is_told(tree):
    assert tree.find() == ("", "")
    tree.tell(["0::/"], ("cgroup2", "/", tree.root, "rw"))
    tree.group("", "cpu pids")
    assert tree.find() == ("", "")
    tree.tell(["0::/elsewhere"], ("cgroup2", "/docker/1", tree.root, "rw"))
    assert tree.find() == ("", "")


def test_version_1_is_used_where_it_has_the_memory_controller(tree):
    tree.tell(
        ["9:name=systemd:/x", "4:memory:/jobs/7", "0::/"],
        ("cgroup", "/", tree.root, "rw,cpu"), ("cgroup", "/jobs", tree.root, "rw,memory"), ("cgroup2", "/", tree.root, "rw"),
    )  # fmt: skip
    home = tree.group("7")
    assert tree.find() == (home, home)


def test_a_group_is_entered_left_read_and_removed_when_it_is_empty(tree, monkeypatch):
    tree.tell(["0::/app"], ("cgroup2", "/", tree.root, "rw"))
    tree.group("", "memory")
    tree.group("app")
    stale = tree.root / "xec-4000000-1"  # of a spawner that was killed
    stale.mkdir()
    groups = Groups(str(tree.proc))
    assert not stale.exists()
    assert groups.make(1) == ""  # a kernel whose groups tell no peak
    assert not list(tree.root.glob("xec-*"))
    real = os.mkdir
    files = {
        "memory.peak": "1000\n",
        "cpu.stat": "usage_usec 3\nuser_usec 2000000\nsystem_usec 500000\n",
        "cgroup.procs": "",
    }

    def mkdir(path, *rest):
        real(path, *rest)
        for name, text in files.items():
            with open(f"{path}/{name}", "w", encoding="ascii") as file:
                file.write(text)

    monkeypatch.setattr(os, "mkdir", mkdir)
    group = groups.make(2)
    assert (tree.root / group / "cgroup.procs").read_text() == "0"
    groups.leave()
    assert (tree.root / "app" / "cgroup.procs").read_text() == "0"
    assert groups.read(group) == (1000, 2.0, 0.5)
    assert os.path.isdir(group)  # something in it lives on
    for name in files:
        os.unlink(f"{group}/{name}")
    groups.tidy()
    assert not os.path.exists(group)


def test_a_group_that_may_not_be_entered_is_no_group(tree, monkeypatch):
    tree.tell(["0::/app"], ("cgroup2", "/", tree.root, "rw"))
    tree.group("", "memory")
    tree.group("app")
    groups = Groups(str(tree.proc))
    monkeypatch.setattr(grouping, "peak_file", lambda group: f"{group}/memory.peak")

    def refuse(group):
        raise PermissionError

    monkeypatch.setattr(grouping, "enter", refuse)
    assert groups.make(1) == ""
    assert groups.parent == ""
    assert not list(tree.root.glob("xec-*"))


def test_a_group_of_version_2_is_entered_left_read_and_removed_for_real(tmp_path, monkeypatch):
    # Where version 1 has the memory controller, version 2 has all but that, and so all but the peak.
    own, mounts = (Path(f"/proc/self/{name}").read_text().splitlines(True) for name in ("cgroup", "mountinfo"))
    (tmp_path / "cgroup").write_text("".join(line for line in own if line.startswith("0::")))
    (tmp_path / "mountinfo").write_text("".join(line for line in mounts if " - cgroup2 " in line))
    monkeypatch.setattr(grouping, "_hands_down", lambda place: True)
    monkeypatch.setattr(grouping, "peak_file", lambda group: f"{group}/memory.peak")
    groups = Groups(str(tmp_path))
    group = groups.make(1)
    if not groups.parent:  # there is no version 2 here that this user may write to
        assert group == ""
        return
    try:
        assert f"/{os.path.basename(group)}\n" in Path("/proc/self/cgroup").read_text()
        script = "exec 2>&-; (while :; do :; done) & echo $!; (exec sleep 60) & echo $!"  # it waits for neither
        command = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True)
    finally:
        groups.leave()
    busy, idle = (int(command.stdout.readline()) for _ in range(2))
    _, _, waited_for = os.wait4(command.pid, 0)
    command.returncode = 0
    command.stdout.close()
    try:
        assert os.path.basename(group) not in Path("/proc/self/cgroup").read_text()
        _, user_s, system_s = until(lambda: (read := groups.read(group)) and read[1] > 0.05 and read)
        assert user_s + system_s > waited_for.ru_utime + waited_for.ru_stime + 0.03
        assert os.path.isdir(group)  # both live on
    finally:
        for pid in (busy, idle):
            os.kill(pid, signal.SIGKILL)
    until(lambda: groups.tidy() or not os.path.exists(group))


def test_the_peak_of_two_processes_together_is_known_where_a_group_can_be_made():
    parent, _ = find("/proc/self")
    with xec.Executor() as ex:
        r = ex.run(f"{HOLD} & {HOLD}; wait", monitor=True)
        if not parent:
            assert r.usage.tree_peak_bytes is None
        else:
            assert 120 * MIB <= r.usage.tree_peak_bytes <= 150 * MIB
            assert [
                name
                for name in os.listdir(parent)
                if name.startswith(f"xec-{ex._engine.transports._local.spawner.helper.process.pid}-")
            ] == []
        assert ex.run("true").usage.tree_peak_bytes is None  # nobody asked
