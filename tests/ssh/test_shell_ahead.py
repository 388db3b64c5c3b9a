"""The shell that waits on a host for the next command: what it does to commands, which is nothing but to make them begin sooner."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from helpers.marks import needs_root
from helpers.waiting import until
from world import children

import xec_magic as xec
from xec_magic import runtime
from xec_magic.transport.ssh import links, shellpool
from xec_magic.transport.ssh import shellahead as module
from xec_magic.transport.ssh.remote import Launch, waiting_launch


@pytest.fixture(scope="module")
def server(world):
    """One of this file's own: what runs there is counted."""
    return world.sshd()


def waiting(server):
    """The shells that wait there."""
    text = waiting_launch().program.encode()

    def is_one(pid):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return len(words) > 2 and words[2] == text

    return [pid for pid in children(server.process.pid) if is_one(pid)]


def the_one(server):
    assert until(lambda: len(waiting(server)) == 1)
    return waiting(server)[0]


def warmed(ex, on, server):
    """The shell that waits for the third command."""
    for _ in range(2):
        ex.run("true", on=on)
    return the_one(server)


def test_a_command_is_run_by_the_shell_that_has_waited(ex, on, server):
    pid = warmed(ex, on, server)
    assert ex.run("echo $$; pwd", on=on, cwd="/usr").stdout == f"{pid}\n/usr\n"
    assert the_one(server) != pid
    ex.close()
    assert until(lambda: waiting(server) == [])


SCRIPTS = {
    "streams and code": "echo out; echo err >&2; exit 7",
    "surroundings": "env | grep -v XEC_RUN_ID | sort; pwd; umask; echo $0 $- $#; readlink /proc/self/fd/0; ls /proc/self/fd",
    "text": "printf '%s|' 'ä € \u0081\u0088' \"$(printf 'a\\tb')\" 'two\n\n\nlines' '.' ':' '-n' ' x  '; cat <<'END'\n.\n:\n\n \\n\nEND",
    "strict": "f() { false; echo never; }; f; echo never",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_nothing_is_unlike_a_command_on_a_channel_of_its_own(ex, on, server, script):
    first = ex.run(script, on=on, check=False)
    pid = warmed(ex, on, server)
    later = ex.run(script, on=on, check=False)
    assert (later.stdout, later.stderr, later.exit_code) == (first.stdout, first.stderr, first.exit_code)
    assert the_one(server) != pid


def test_input_secrets_and_pipes_reach_it(ex, on, server):
    data = os.urandom(300_000)
    warmed(ex, on, server)
    assert ex.run("cat", on=on, stdin=data).stdout_bytes == data
    the_one(server)
    word = f"{secrets.token_hex(8)}' \\ \n$x"
    assert ex.run('printf %s "$TOKEN"; cat', on=on, secret={"TOKEN": word}, stdin="!").stdout.endswith("!")
    the_one(server)
    assert str((ex.start("seq 3000", on=on) | ex.start("wc -l", on=on)).result()) == "3000"


def test_a_script_that_is_too_long_to_be_typed_is_run_all_the_same(ex, on, server):
    warmed(ex, on, server)
    script = f"true {'x' * 5000}; echo $$"
    assert ex.run(script, on=on).stdout.strip().isdigit()
    assert until(lambda: all(row.busy == 0 for row in ex._engine.ssh_rows()))


@needs_root
@pytest.mark.parametrize("by", ["a command", "a session", "a worker", "a copy"])
def test_what_changes_a_start_up_file_is_heeded_by_the_next_command(world, server, by, tmp_path):
    user = world.account()
    on = f"{user}@{server.address}:{server.port}"
    xec.run("true", on=on, session="s")
    if by == "a worker":
        xec.run("true", on=on, worker=True)
        assert until(lambda: runtime.current().executor.transports.ssh.workers.pool())
    warmed(xec, on, server)
    line = "export WHERE=changed"
    if by == "a copy":
        (tmp_path / "rc").write_text(line + "\n")
        xec.copy(tmp_path / "rc", f"{on}:.bashrc")
    else:
        xec.run(
            f"echo '{line}' >>~/.bashrc",
            on=on,
            **({"session": {"session": "s"}, "worker": {"worker": True}}.get(by[2:], {})),
        )
    assert str(xec.run("echo $WHERE", on=on)) == "changed"
    runtime.close()


def test_none_waits_while_anything_runs_there(ex, on, server):
    warmed(ex, on, server)
    run = ex.start("echo ready; sleep 300", on=on, check=False, grace=0.1)
    ex._engine.begin(run)
    assert until(lambda: run.log.size() > 0)
    assert str(ex.run("echo beside", on=on)) == "beside"
    assert until(lambda: [row.busy for row in ex._engine.ssh_rows()] == [1])
    assert until(lambda: all(each.is_open for each in spares(ex)))
    assert not any(each.has_shell for each in spares(ex))
    run.cancel()
    run.wait(10)
    the_one(server)


def test_none_waits_while_a_worker_runs_a_command_there(ex, on, server, monkeypatch):
    ex.run("true", on=on, worker=True)
    assert until(lambda: ex._engine.transports.ssh.workers.pool())
    # No worker more, which could be given the channel of the waiting shell.
    monkeypatch.setattr(shellpool, "EARLY_ENDS", 0)
    warmed(ex, on, server)
    run = ex.start("echo ready; sleep 300", on=on, worker=True, check=False, grace=0.1)
    ex._engine.begin(run)
    assert until(lambda: run.log.size() > 0)
    # Not by and by: the end of a command is told before its channel is closed, and the next one may come in between.
    assert not any(each.has_shell for each in spares(ex))
    assert ex._engine.transports.ssh.workers.of(hosts(ex)[0]).served == 1  # and no command of its own has had it
    assert until(lambda: [each.is_open for each in spares(ex)] == [True])
    assert not any(each.has_shell for each in spares(ex))
    run.cancel()
    run.wait(10)
    the_one(server)


def test_behind_what_a_shell_must_not_have_waited_through_a_bare_channel_is_there(ex, on, server):
    ex.run("true", on=on, session="s")
    warmed(ex, on, server)
    assert until(lambda: sorted(each.has_shell for each in spares(ex) if each.is_open) == [False, True])
    bare = next(each for each in spares(ex) if not each.has_shell).opening.result()
    ex.run("true", on=on, session="s")
    assert not bare.is_closing()
    assert str(ex.run("echo soon", on=on)) == "soon"
    assert until(bare.is_closing)


def test_commands_that_follow_each_other_at_once_find_bare_channels(ex, on, server, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE_S", 60.0)
    monkeypatch.setattr(module, "LULL_S", 60.0)
    for _ in range(3):
        ex.run("true", on=on)
    assert until(
        lambda: all(row.busy == 0 for row in ex._engine.ssh_rows()) and any(each.is_open for each in spares(ex))
    )
    for _ in range(3):
        ex._engine.ssh_rows()  # the loop has had its turns
    assert not any(each.has_shell for each in spares(ex))
    monkeypatch.setattr(module, "AT_ONCE_S", 0.0)
    ex.run("true", on=on)
    the_one(server)


def hosts(ex):
    return [*ex._engine.transports.ssh._hosts.values()]


def spares(ex):
    return [each for host in hosts(ex) for connection in host.links.connections.values() for each in connection.ahead]


def four_names(world, server, stem):
    """Four hosts, for who is told the name."""
    aliases = [f"{stem}-{number}" for number in range(4)]
    with world.config.open("a") as file:
        for alias in aliases:
            file.write(f"Host {alias}\n HostName {server.address}\n Port {server.port}\n User {world.user}\n")
    return aliases


def test_of_many_hosts_only_some_have_one(ex, world, server, monkeypatch):
    monkeypatch.setattr(module, "MOST", 2)
    aliases = four_names(world, server, "of-many")
    for _ in range(3):
        assert all(result.ok for result in ex.map("true", on=aliases))
        assert until(lambda: all(row.busy == 0 for row in ex._engine.ssh_rows()))
        assert sum(each.waits for each in spares(ex)) <= 2
    assert until(lambda: len(waiting(server)) == 2)


def test_of_many_hosts_only_some_have_channels_ahead(ex, world, server, monkeypatch):
    monkeypatch.setattr(links, "MOST", 2)
    aliases = four_names(world, server, "of-more")
    for _ in range(3):
        assert all(result.ok for result in ex.map("true", on=aliases))
    assert sum(any(row.ahead for row in host.links.rows()) for host in hosts(ex)) == 2


def test_one_that_has_waited_for_long_ends(ex, on, server, monkeypatch):
    monkeypatch.setattr(module, "SHELL_S", 0.3)
    warmed(ex, on, server)
    assert until(lambda: waiting(server) == [])
    assert until(lambda: [each.is_open for each in spares(ex)] == [True])  # a channel still waits
    assert waiting(server) == []
    assert str(ex.run("echo well", on=on)) == "well"


@pytest.mark.parametrize("when", ["before", "when the command is typed"])
def test_where_it_is_killed_the_command_runs_once_and_none_waits_any_more(ex, on, server, when):
    pid = warmed(ex, on, server)
    if when == "before":
        os.kill(pid, signal.SIGKILL)
        assert until(lambda: not any(each.has_shell for each in spares(ex)))
        run = ex.start("echo once", on=on)
    else:
        os.kill(pid, signal.SIGSTOP)
        run = ex.start("echo once", on=on)
        ex._engine.begin(run)
        assert until(lambda: not any(each.has_shell for each in spares(ex)))
        os.kill(pid, signal.SIGKILL)
    result = run.result()
    assert (result.stdout, result.notes) == ("once\n", ())
    assert until(lambda: all(row.busy == 0 for row in ex._engine.ssh_rows()))
    ex.run("true", on=on)
    assert until(lambda: [each.is_open for each in spares(ex)] == [True])
    assert not any(each.has_shell for each in spares(ex))


def test_behind_a_connection_that_was_lost_one_waits_again(ex, world):
    server = world.sshd()
    warmed(ex, server.spec, server)
    server.kill_connections()
    assert until(lambda: not ex._engine.ssh_rows())
    warmed(ex, server.spec, server)


def test_its_pipes_serve_the_next_try(ex, on, server):
    pid = warmed(ex, on, server)
    os.kill(pid, signal.SIGSTOP)
    chain = ex.start("echo in; sleep 0.1; echo on") | ex.start("cat; echo end", on=on) | ex.start("tr a-z A-Z")
    ex._engine.begin(chain)
    assert until(lambda: not any(each.has_shell for each in spares(ex)))
    os.kill(pid, signal.SIGKILL)
    assert str(chain.result()) == "IN\nON\nEND"


def test_when_the_connection_is_lost_behind_what_was_typed_nothing_is_run_again(ex, world):
    server = world.sshd()
    pid = warmed(ex, server.spec, server)
    os.kill(pid, signal.SIGSTOP)
    run = ex.start("echo once", on=server.spec)
    ex._engine.begin(run)
    assert until(lambda: not any(each.has_shell for each in spares(ex)))
    above = [each for each in children(server.process.pid) if pid in children(each)]
    for each in above:
        os.kill(each, signal.SIGKILL)
    with pytest.raises(xec.ConnectionLost, match="whether the command had begun is not known") as caught:
        run.result(20)
    assert caught.value.result.stdout == ""
    os.kill(pid, signal.SIGKILL)
    assert str(ex.run("echo again", on=server.spec)) == "again"


@pytest.mark.parametrize(
    "shell", [["sh"], ["bash", "--posix"], ["dash"], ["busybox", "sh"], ["zsh", "--emulate", "sh"]]
)
def test_what_was_typed_is_read_byte_for_byte(shell, tmp_path):
    assert shutil.which(shell[0]) or not os.environ.get("CI"), "make test installs it"
    if not shutil.which(shell[0]):
        pytest.skip(f"there is no {shell[0]}")
    chosen = random.Random(3)
    for _ in range(20):
        word = bytes(chosen.randint(1, 255) for _ in range(chosen.randint(0, 300)))
        launch = Launch('printf %s "$1"; pwd; echo "${OLDPWD-none}"; cat', [word], b"")
        got = subprocess.run(
            [*shell, "-c", waiting_launch().program], input=launch.typed_ahead + b"rest", capture_output=True, cwd=tmp_path,
            env={**os.environ, "LC_ALL": "C.UTF-8"}, check=True,
        )  # fmt: skip
        assert got.stdout == word + f"{tmp_path}\nnone\nrest".encode()
    for part in (b"xec\n:echo begun\n:ec", b":echo begun\n.\n"):  # neither the begin nor the end may be missing
        cut = subprocess.run([*shell, "-c", waiting_launch().program], input=part, capture_output=True)
        assert (cut.stdout, cut.returncode) == (b"", 0)
