"""Files to hosts and from them, on real servers."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from helpers.marks import needs_root
from helpers.waiting import until
from world import IS_ROOT, Link

import xec_magic as xec
from xec_magic import runtime
from xec_magic.engine import partfiles
from xec_magic.engine.partfiles import KEEP_BYTES, part_path
from xec_magic.engine.pour import AHEAD_BYTES
from xec_magic.engine.tree import Item
from xec_magic.transport.files import entry_of_stat

ODD_NAMES = [b"two words", b"new\nline", b"not \xff text", b"-rf", b"caf\xc3\xa9", b"$HOME `id` 'x\"", b"a:b", b"star*"]


pytestmark = pytest.mark.usefixtures("own_runtime")


@pytest.fixture
def home(world):
    """The login's home on the host, empty."""
    path = Path(pwd.getpwnam(world.user).pw_dir) if IS_ROOT else Path.home()
    yield path / "copies"
    subprocess.run(["rm", "-rf", path / "copies"], check=True)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def place(on, home, world):
    """`HOST:PATH` of a name in a directory on the host, which is made."""
    xec.run("mkdir -p copies", on=on)
    return lambda name="": f"{on}:copies/{name}"


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    (root / "empty folder").mkdir(parents=True)
    (root / "deep" / "er").mkdir(parents=True)
    (root / "deep" / "er" / "file").write_bytes(os.urandom(300_000))
    (root / "nothing").write_bytes(b"")
    for number, name in enumerate(ODD_NAMES):
        Path(os.fsdecode(os.path.join(os.fsencode(root), name))).write_bytes(b"%d" % number)
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o750)
    (root / "locked").write_text("read only")
    (root / "locked").chmod(0o400)
    (root / "link").symlink_to("deep/er/file")
    (root / "dangling").symlink_to("/no/such")
    for number, path in enumerate([root / "run.sh", root / "nothing", root / "deep"]):
        os.utime(path, (1_000_000_000 + number, 1_100_000_000 + number))
    return root


def listing(root):
    """All below a directory: kind, mode, time, content."""
    found = {}
    for here, folders, files in os.walk(os.fsencode(root)):
        for name in folders + files:
            path = os.path.join(here, name)
            status = os.lstat(path)
            if os.path.islink(path):
                what = os.readlink(path)
            elif os.path.isdir(path):
                what = (status.st_mode, int(status.st_mtime))
            else:
                what = (status.st_mode, int(status.st_mtime), Path(os.fsdecode(path)).read_bytes())
            found[os.path.relpath(path, os.fsencode(root))] = what
    return found


def parts(folder):
    return [name for name in os.listdir(folder) if name.endswith(".part")]


# -- there and back ------------------------------------------------------------------------------------


def test_a_tree_goes_there_and_comes_back_as_it_was(place, home, tree, tmp_path):
    there = xec.copy(tree, place("tree"))
    assert there.ok
    assert there.files == 4 + len(ODD_NAMES)
    assert listing(home / "tree") == listing(tree)
    back = xec.copy(place("tree"), tmp_path / "back")
    assert back.ok
    assert listing(tmp_path / "back") == listing(tree)


def test_what_is_there_already_is_left_and_what_has_changed_is_copied(place, home, tree):
    xec.copy(tree, place("tree"))
    (tree / "run.sh").write_text("#!/bin/sh\n# changed\n")
    (tree / "nothing").chmod(0o600)
    again = xec.copy(tree, place("tree"))
    assert (again.files, again.same) == (2, 2 + len(ODD_NAMES))
    assert listing(home / "tree") == listing(tree)
    assert xec.copy(tree, place("tree"), force=True).same == 0


def test_a_destination_with_a_slash_is_a_directory_and_is_made(place, home, tmp_path):
    (tmp_path / "a").write_text("a")
    xec.copy("a", place("new/deep/"))
    assert (home / "new/deep/a").read_text() == "a"
    xec.copy(place("new/deep/a"), "got/")
    assert (tmp_path / "got/a").read_text() == "a"
    xec.copy("a", place("new/b"))
    assert (home / "new/b").read_text() == "a"


def test_from_host_to_host_through_the_kernel(world, place, home, tree):
    other = world.sshd()
    xec.copy(tree, place("one"))
    done = xec.copy(place("one"), f"{other.spec}:copies/two")
    assert done.ok
    assert done[0].target.endswith(other.spec)
    assert listing(home / "two") == listing(tree)


def test_patterns_match_as_in_a_shell(place, tmp_path):
    for name in ("a.log", "b.log", ".hidden.log", "c.txt", "x[1].log"):
        (tmp_path / name).write_text(name)
    for folder in ("d1", "d2"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "e.log").write_text(folder)
    assert xec.copy("*.log", place("logs/")).files == 3
    xec.copy(place("logs/[ab].log"), "back/")
    assert sorted(os.listdir("back")) == ["a.log", "b.log"]
    xec.copy(["d1", "d2"], place("all/"))
    with pytest.raises(xec.CopyError, match=r"two of the sources would be both/e\.log"):
        xec.copy(place("all/*/e.log"), place("").split(":c")[0] + ":both/")
    xec.copy(place("logs/x[1].log"), "literal/")  # matches nothing as a pattern, so it is a name
    assert os.listdir("literal") == ["x[1].log"]
    with pytest.raises(xec.CopyError, match="nope-.*: nothing matches"):
        xec.copy(place("nope-*"), "none/")


def test_a_thousand_small_files_all_arrive(place, home, tmp_path):
    many = tmp_path / "many"
    many.mkdir()
    for number in range(1000):
        (many / f"{number}").write_text(str(number))
    assert xec.copy(many, place("many")).files == 1000
    assert listing(home / "many") == listing(many)


def test_a_file_of_proc_is_read_to_its_end(on, tmp_path):
    xec.copy(f"{on}:/proc/version", "version")
    assert (tmp_path / "version").read_text() == Path("/proc/version").read_text()


def test_what_is_neither_file_nor_directory_is_left_out_and_said(place, home, tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "file").write_text("x")
    os.mkfifo(tmp_path / "t" / "fifo")
    done = xec.copy("t", place("t"))
    assert done.ok
    assert [str(each) for each in done[0].left_out] == [f"{tmp_path}/t/fifo: neither a file nor a directory"]
    assert os.listdir(home / "t") == ["file"]


# -- several hosts -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three(world, server):
    if not IS_ROOT:
        assert not os.environ.get("CI")
        pytest.skip("makes accounts, which takes root")
    names = [world.account() for _ in range(3)]
    return names, [f"{name}@{server.address}:{server.port}" for name in names]


@needs_root
def test_one_source_goes_to_many_hosts_and_each_ones_trouble_is_its_own(three, tmp_path):
    names, hosts = three
    (tmp_path / "app.toml").write_text("port = 1\n")
    homes = [Path(pwd.getpwnam(name).pw_dir) for name in names]
    done = xec.copy("app.toml", (hosts, "app.toml"))
    assert [part.ok for part in done] == [True] * 3
    assert [(home / "app.toml").read_text() for home in homes] == ["port = 1\n"] * 3
    (homes[1] / "two").mkdir()
    with pytest.raises(xec.CopyError, match=r"1 of 3 hosts failed: .*two is a directory; end it with /") as caught:
        xec.copy("app.toml", (hosts, "two"))
    result = caught.value.result
    assert result.failed.targets == [hosts[1]]
    assert list(result.errors) == [hosts[1]]
    assert (homes[2] / "two").read_text() == "port = 1\n"
    dead = f"{names[0]}@127.0.0.1:1"
    with pytest.raises(xec.CopyError, match=r"1 of 4 hosts failed: .*cannot reach 127\.0\.0\.1:1"):
        xec.copy("app.toml", f"{','.join([dead, *hosts])}:there")
    assert (homes[0] / "there").exists()


@needs_root
def test_from_many_hosts_each_has_a_folder_of_its_own(three, tmp_path):
    _, hosts = three
    for host in hosts:
        xec.run('echo "$USER" >who.log', on=host)
    done = xec.copy((hosts, "*.log"), "logs/")
    assert done.files == 3
    assert sorted(os.listdir("logs")) == sorted(hosts)
    assert [(tmp_path / "logs" / host / "who.log").read_text().strip() for host in hosts] == [
        host.partition("@")[0] for host in hosts
    ]
    xec.copy((hosts[:1], "who.log"), "one/")  # a list means a folder for each, however many it holds
    assert os.listdir("one") == hosts[:1]


# -- what is wrong ---------------------------------------------------------------------------------------


def test_what_is_wrong_is_said_in_one_line_with_the_place(place, on, home, tmp_path):
    (tmp_path / "a").write_text("a")
    (tmp_path / "folder").mkdir()
    xec.run("mkdir copies/dir; touch copies/file; mkdir copies/closed; chmod 0 copies/closed", on=on)
    for source, destination, words in [
        ("nope", place("x"), f"{tmp_path}/nope on this machine: no such file or directory"),
        (place("nope"), "x", "copies/nope: no such file or directory"),
        ("a", place("dir"), "copies/dir is a directory; end it with / to put something into it"),
        ("folder", place("file"), "copies/file is there and is no directory"),
        ("a", place("no/such/a"), "copies/no/such: no such directory; end the destination with / to have it made"),
        ("a", place("file/"), "copies/file is there and is no directory"),
        (place("file"), "folder", f"{tmp_path}/folder on this machine is a directory; end it with /"),
        (place(".."), place("x/"), "copies/.. has no name that it could have there; write the whole destination"),
    ]:
        with pytest.raises(xec.CopyError) as caught:
            xec.copy(source, destination)
        assert str(caught.value).startswith(f"{on}: {words}") or f": {words}" in str(caught.value), str(caught.value)
        assert "\n" not in str(caught.value)
    if IS_ROOT:
        with pytest.raises(xec.CopyError, match=r"/etc/nope: permission denied$"):
            xec.copy("a", f"{on}:/etc/nope")
        for path in ("/root/x", "/root/x/"):
            with pytest.raises(xec.CopyError, match=rf": {path.rstrip('/')}: permission denied$"):
                xec.copy("a", f"{on}:{path}")
        with pytest.raises(xec.CopyError, match=r"/etc/shadow: permission denied$"):
            xec.copy(f"{on}:/etc/shadow", "x")
    assert parts(home) == []
    assert sorted(os.listdir(tmp_path)) == ["a", "folder"]


@needs_root
def test_a_file_that_may_not_be_read_does_not_keep_the_others(place, on, home, tmp_path):
    xec.run("mkdir copies/t; echo 1 >copies/t/a; echo 2 >copies/t/b; echo 3 >copies/t/c; chmod 0 copies/t/b", on=on)
    done = xec.copy(place("t"), "t", check=False)
    assert not done.ok
    assert [str(each) for each in done[0].failures] == ["copies/t/b: permission denied"]
    assert sorted(os.listdir("t")) == ["a", "c"]


@pytest.mark.parametrize(
    ("source", "destination", "words"),
    [
        ("a", "b", "both are on this machine; write HOST:PATH for one of them, or use cp"),
        (
            "a",
            "nohost:b",
            r"there is no target 'nohost'.*a file of this machine with a colon in its name is written \./nohost:b",
        ),
        ("u@h1:*.log", "logs", "for what may be several files the destination is a directory; end it with /"),
        (["a", "b"], "u@h1:x", "for what may be several files the destination is a directory; end it with /"),
        ("u@h1,u@h2:a", "logs", "for a folder for each host the destination is a directory; end it with /"),
        ("u@h1,u@h2:a", "u@h3,u@h4:b/", "from several hosts to several hosts: make it two copies"),
        (["u@h1:a", "b"], "u@h2:c/", "the sources are on several machines; copy from one after the other"),
        ("u@h1:a", "u@h1:a", "a would be copied onto itself"),
        ([], "u@h1:a", "there is nothing to copy: the list of sources is empty"),
        ("a\0b", "u@h1:a", "a path holds a NUL character, which no file has in its name"),
        (3, "u@h1:a", "3 is nothing that could be copied"),
        ("", "u@h1:a", r"the path is empty; write \. for this directory"),
    ],
)
def test_a_copy_that_makes_no_sense_is_refused_before_anything_is_reached(source, destination, words):
    with pytest.raises(xec.OptionError, match=words):
        xec.copy(source, destination)


# -- servers that give no SFTP, or nothing else ------------------------------------------------------------


def test_a_server_without_sftp_is_told(world, tmp_path):
    other = world.sshd(Subsystem="nothing /bin/false")
    (tmp_path / "a").write_text("a")
    with pytest.raises(
        xec.CopyError, match="the server has no SFTP; its sshd_config needs a line such as: Subsystem sftp"
    ):
        xec.copy("a", f"{other.spec}:a")
    assert xec.run("echo fine", on=other.spec).lines() == ["fine"]


@needs_root
def test_a_login_that_prints_something_is_told(world, tmp_path):
    name = world.account()
    home = Path(pwd.getpwnam(name).pw_dir)
    (home / ".bashrc").write_text("echo welcome to this host\n")
    other = world.sshd(Subsystem="sftp /usr/lib/openssh/sftp-server")
    (tmp_path / "a").write_text("a")
    with pytest.raises(xec.CopyError, match="a start-up file of the login prints something"):
        xec.copy("a", f"{name}@{other.address}:{other.port}:a")


@needs_root
def test_an_account_for_sftp_alone_is_enough_also_for_digests(world, tree, tmp_path):
    name = world.account()
    other = world.sshd(ForceCommand="internal-sftp")
    spec = f"{name}@{other.address}:{other.port}"
    assert xec.copy(tree, f"{spec}:tree", checksum=True).ok
    assert listing(Path(pwd.getpwnam(name).pw_dir) / "tree") == listing(tree)


@needs_root
def test_a_full_disk_is_told_and_nothing_half_done_stays(place, on, home, world, tmp_path):
    large(tmp_path / "big", KEEP_BYTES + 2**20)  # of which a part would be worth keeping
    small = home / "small"
    small.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=777", "none", small], capture_output=True)
    if mounted.returncode:
        pytest.skip("no disk may be mounted here; the scripted server's test says the same")
    try:
        with pytest.raises(xec.CopyError, match="copies/small/big: no space left on device"):
            xec.copy("big", place("small/big"))
        assert os.listdir(small) == []
    finally:
        subprocess.run(["umount", small], check=True)


# -- what is cut off is gone on with -------------------------------------------------------------------------


@pytest.fixture
def slow(world):
    """A server behind a link on which a large file takes its time."""
    other = world.sshd()
    link = Link((other.address, other.port), one_way_s=0.002)
    with world.known_hosts.open("a") as file:
        key = world.known_hosts.read_text().splitlines()[-1].partition(" ")[2]
        file.write(f"[127.0.0.1]:{link.port} {key}\n")
    yield other, f"{world.user}@127.0.0.1:{link.port}"
    link.close()
    other.stop()


def large(path, size=3 * KEEP_BYTES):
    path.write_bytes(os.urandom(2**20) * (size // 2**20))
    return path


def when_part_is_there(folder, act):
    """Do something as soon as a part is large enough to be gone on with."""

    def has_grown():
        with contextlib.suppress(OSError):
            return any(os.path.getsize(folder / name) > KEEP_BYTES + AHEAD_BYTES for name in parts(folder))

    def wait():
        until(has_grown)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def kill_sessions(server):
    for pid in server.sessions():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_connection_lost_on_the_way_is_said_and_the_next_call_goes_on(slow, place, home, tmp_path, way):
    server, host = slow
    if way == "up":
        big = large(tmp_path / "big")
        source, destination, sink = "big", f"{host}:copies/big", home / "big"
    else:
        big = large(home / "big")
        big.chmod(0o644)
        source, destination, sink = f"{host}:copies/big", tmp_path / "big", tmp_path / "big"
    thread = when_part_is_there(sink.parent, lambda: kill_sessions(server))
    with pytest.raises(xec.CopyError) as caught:
        xec.copy(source, destination)
    thread.join()
    assert "the connection was lost" in str(caught.value)
    assert "MiB are kept, and the same call goes on from there" in str(caught.value)
    assert not sink.exists()
    assert len(parts(sink.parent)) == 1
    again = xec.copy(source, destination)
    assert again[0].resumed_bytes > 0
    assert again[0].resumed_bytes + again[0].size_bytes == big.stat().st_size
    assert sink.read_bytes() == big.read_bytes()
    assert parts(sink.parent) == []


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_link_gone_silent_on_the_way_is_noticed_and_the_next_call_goes_on(
    world, place, home, tmp_path, monkeypatch, way
):
    server = world.sshd()
    link = Link((server.address, server.port), one_way_s=0.002)
    world.config.write_text(
        f"Host faraway\n HostName 127.0.0.1\n Port {link.port}\n User {world.user}\n"
        f" HostKeyAlias [{server.address}]:{server.port}\n"
    )
    monkeypatch.setattr("xec_magic.transport.ssh.connection.BUSY_KEEPALIVE_S", 0.5)  # a person waits for 15 s
    big = large((tmp_path if way == "up" else home) / "big")
    big.chmod(0o644)
    sink = (home if way == "up" else tmp_path) / ("big" if way == "up" else "got")
    ends = ("big", "faraway:copies/big") if way == "up" else ("faraway:copies/big", "got")
    try:
        thread = when_part_is_there(sink.parent, link.silent.set)
        with pytest.raises(xec.CopyError) as caught:
            xec.copy(*ends)
        thread.join()
        assert "faraway" in str(caught.value)
        assert "the connection was lost" in str(caught.value)
        assert "MiB are kept, and the same call goes on from there" in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
        assert not sink.exists()
        assert len(parts(sink.parent)) == 1
        link.silent.clear()
        again = xec.copy(*ends)
        assert again[0].resumed_bytes > 0
        assert sink.read_bytes() == big.read_bytes()
        assert parts(sink.parent) == []
        assert until(lambda: all(row.busy == 0 for row in runtime.current().executor.ssh_rows()))
    finally:
        world.config.write_text("")
        link.close()


def test_an_interrupt_keeps_the_part_and_says_so(slow, place, home, tmp_path):
    _, host = slow
    big = large(tmp_path / "big")
    thread = when_part_is_there(home, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(
        xec.CopyInterrupted, match="interrupted: .*MiB are kept, and the same call goes on from there"
    ) as caught:
        xec.copy("big", f"{host}:copies/big")
    thread.join()
    assert caught.value.result.interrupted
    assert isinstance(caught.value, xec.RunInterrupted)
    assert xec.copy("big", f"{host}:copies/big")[0].resumed_bytes > 0
    assert (home / "big").read_bytes() == big.read_bytes()


def test_what_a_handler_of_the_users_raises_ends_the_copy_too(slow, place, home, tmp_path):
    _, host = slow
    large(tmp_path / "big")

    def ring(*_):
        raise TimeoutError("the user's own alarm")

    before = signal.signal(signal.SIGALRM, ring)
    thread = when_part_is_there(home, lambda: os.kill(os.getpid(), signal.SIGALRM))
    try:
        with pytest.raises(TimeoutError, match="the user's own alarm"):
            xec.copy("big", f"{host}:copies/big")
    finally:
        signal.signal(signal.SIGALRM, before)
    thread.join()
    assert until(lambda: all(row.busy == 0 for row in runtime.current().executor.ssh_rows()), 5)
    assert len(parts(home)) == 1  # it has stopped on the way, and nobody writes on


@pytest.mark.parametrize("checksum", [False, True])
def test_an_interrupt_leaves_no_parts_of_small_files(slow, place, home, tmp_path, checksum):
    _, host = slow
    (tmp_path / "many").mkdir()
    for number in range(2000):
        (tmp_path / "many" / f"f{number}").write_text(str(number))

    def interrupt():
        until(lambda: (home / "many").is_dir() and len(os.listdir(home / "many")) > 50)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(xec.CopyInterrupted):
        xec.copy("many", f"{host}:copies/many", checksum=checksum)
    thread.join()
    assert until(lambda: not parts(home / "many"), 3)


def test_two_copies_of_one_file_to_one_place_do_not_take_each_others_part(slow, place, home, tmp_path):
    _, host = slow
    big = large(tmp_path / "big")
    done = []
    threads = [
        threading.Thread(target=lambda: done.append(xec.copy("big", f"{host}:copies/big", check=False, force=True)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.errors for result in done] == [{}, {}]
    assert (home / "big").read_bytes() == big.read_bytes()
    assert parts(home) == []


def test_a_part_that_does_not_match_is_not_gone_on_with(place, on, home, tmp_path, monkeypatch):
    monkeypatch.setattr(partfiles, "STILL_S", 0.1)
    big = large(tmp_path / "big", KEEP_BYTES + 2**20)
    item = Item(os.fsencode(big), b"copies/big", entry_of_stat(big.stat()))
    part = home.parent / os.fsdecode(part_path(item, "local", on))
    part.write_bytes(b"something else" * (AHEAD_BYTES // 8))
    part.chmod(0o666)
    stale = home / ".big.xec-0000000000000000.part"  # of an earlier state of the file
    stale.write_bytes(b"old")
    done = xec.copy("big", place("big"))
    assert done[0].resumed_bytes == 0
    assert (home / "big").read_bytes() == big.read_bytes()
    assert parts(home) == []


def test_a_name_that_somebody_has_laid_out_is_not_written_through(place, on, home, tmp_path):
    big = large(tmp_path / "big", KEEP_BYTES + 2**20)
    item = Item(os.fsencode(big), b"copies/big", entry_of_stat(big.stat()))
    trap = home / "trap"
    trap.write_bytes(b"")
    trap.chmod(0o666)
    (home.parent / os.fsdecode(part_path(item, "local", on))).symlink_to(trap)
    xec.copy("big", place("big"))
    assert (home / "big").read_bytes() == big.read_bytes()
    assert trap.read_bytes() == b""


def test_digests_are_compared_before_a_file_gets_its_name(place, home, tmp_path, tree):
    assert xec.copy(tree, place("tree"), checksum=True).files == 4 + len(ODD_NAMES)
    assert listing(home / "tree") == listing(tree)
    changed = home / "tree" / "run.sh"
    status = changed.stat()
    changed.write_bytes(b"x" * status.st_size)  # of the same size, time and mode
    os.utime(changed, (status.st_atime, status.st_mtime))
    assert xec.copy(tree, place("tree")).files == 0
    assert xec.copy(tree, place("tree"), checksum=True).files == 1
    assert listing(home / "tree") == listing(tree)


def test_a_copy_leaves_the_pool_as_it_was(place, on, tmp_path):
    (tmp_path / "a").write_text("a")
    xec.copy("a", place("a"))
    with pytest.raises(xec.CopyError):
        xec.copy("nope", place("b"))
    rows = [row for row in runtime.current().executor.ssh_rows() if row.host == on]
    assert [row.busy for row in rows] == [0] * len(rows)
