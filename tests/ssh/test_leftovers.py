"""What a session leaves on a host whose processes were killed, and who cleans it up."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.marks import needs_root
from helpers.waiting import until

import xec_magic as xec
from xec_magic.transport.ssh.kept.lines import KEEPER_DIR

pytestmark = [needs_root, pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")]
OLD: list[str] = []
KEEPER = re.compile(rb"x_d=\$1; x_r=\$2; x_w=\$3")


@pytest.fixture
def user(world):
    """An account; what a former one of its number has left is none of its own."""
    name = world.account()
    OLD[:] = directories(name)
    return name


@pytest.fixture
def there(server, user):
    return f"{user}@{server.address}:{server.port}"


def processes(user):
    """Those of an account that are not sshd's own, with their command lines."""
    uid, found = pwd.getpwnam(user).pw_uid, {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and entry.stat().st_uid == uid:
                line = (entry / "cmdline").read_bytes()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if line and state != "Z" and not line.startswith(b"sshd"):
                    found[int(entry.name)] = line
    return found


def directories(user):
    parent, uid, found = Path(KEEPER_DIR).parent, pwd.getpwnam(user).pw_uid, []
    for each in parent.glob(Path(KEEPER_DIR).name + "?" * 16):
        with contextlib.suppress(FileNotFoundError):
            if each.lstat().st_uid == uid and str(each) not in OLD:
                found.append(str(each))
    return sorted(found)


def kill(pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_keeper_that_is_killed_leaves_nothing(ex, there, user):
    ex.run("true", on=there, session="s")
    (directory,) = directories(user)
    keepers = {pid for pid, line in processes(user).items() if KEEPER.search(line)}
    (keeper,) = (pid for pid in keepers if int(Path(f"/proc/{pid}/stat").read_text().split()[3]) not in keepers)
    kill([keeper])
    assert until(lambda: directories(user) == [] and not any(KEEPER.search(line) for line in processes(user).values()))
    assert not os.path.exists(directory)
    assert str(ex.run("echo again", on=there, session="s")) == "again"


def test_input_that_no_command_has_opened_leaves_no_process(ex, there, user):
    shell = int(str(ex.run("echo $$", on=there, session="s")))
    (directory,) = directories(user)
    os.kill(shell, signal.SIGSTOP)
    run = ex.start("cat", on=there, session="s", stdin="words")
    assert until(Path(directory, "in.1").is_fifo)
    kill([shell])
    with pytest.raises(xec.XecError):
        run.result(30)
    assert until(lambda: directories(user) == [])
    assert until(lambda: not any(directory.encode() in line for line in processes(user).values()))


def test_what_a_session_has_left_is_removed_by_the_next_one_and_nothing_else_is(ex, there, user):
    ex.run("true", on=there, session="killed")
    (left,) = directories(user)
    kill(processes(user))
    ex.run("true", on=there, session="lives")
    assert until(lambda: left not in directories(user))
    (lives,) = directories(user)
    pid, born, space = Path(lives, "keeper").read_text().split()
    gone = subprocess.Popen(["true"])
    gone.wait()
    account, made = pwd.getpwnam(user), {}
    for number, (name, said) in enumerate({
        "of a pid that is another process's now": f"{pid} {int(born) + 1} {space}", "of one that is gone": f"{gone.pid} {born} {space}",
        "elsewhere": f"{gone.pid} {born} pid:[1]", "not said": None, "of another user": f"{gone.pid} {born} {space}", "a link": None,
    }.items()):  # fmt: skip
        path = made[name] = Path(f"{KEEPER_DIR}{os.getpid():08x}{number:08x}")
        if name == "a link":
            path.symlink_to(made["of another user"])
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
            continue
        path.mkdir(mode=0o700)
        if said is not None:
            (path / "keeper").write_text(f"{said}\n")
            os.chown(path / "keeper", account.pw_uid, account.pw_gid)
        if name != "of another user":
            os.chown(path, account.pw_uid, account.pw_gid)
    try:
        made["of another user"].chmod(0o777)  # what is in it could be removed
        ex.run("true", on=there, session="next")
        assert until(lambda: not made["of one that is gone"].exists())
        assert until(lambda: not made["of a pid that is another process's now"].exists())
        assert (made["of another user"] / "keeper").exists()
        assert os.path.isdir(lives)
        assert str(ex.run("echo lives", on=there, session="lives")) == "lives"
        assert {name for name, path in made.items() if os.path.lexists(path)} == {
            "elsewhere", "not said", "a link", "of another user",
        }  # fmt: skip
    finally:
        for path in reversed(made.values()):
            subprocess.run(["rm", "-rf", path], check=True)
        for name in ("lives", "next"):
            ex._engine.ask(ex._engine.transports.stop(name))
