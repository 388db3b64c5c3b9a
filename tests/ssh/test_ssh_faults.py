"""What goes wrong on real servers: each fault names host and cause, and leaves other hosts, the pool and both machines as they were."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.marks import needs_root
from helpers.ports import free_port
from helpers.waiting import until
from world import Dropbear, children, environ_has, generate_key

import xec_magic as xec
from xec_magic.command import Target
from xec_magic.transport.ssh import SSHTransport
from xec_magic.transport.ssh import hosts as hosts_module
from xec_magic.transport.ssh.helper import Collected
from xec_magic.transport.ssh.remote import facts_line, read_answer, upload_line

MUCH = 100_000_000  # bytes


@pytest.fixture
def ex(server):
    """An executor that also has a host where nothing is wrong; afterwards that one works and nothing is in use or left."""
    with xec.Executor() as made:
        yield made
        assert str(made.run("echo other", on=server.spec)) == "other"
        assert until(lambda: all(row.busy == 0 for row in made._engine.ssh_rows()))
        assert until(lambda: not environ_has(f"XEC_RUN_ID={made._engine.kernel_id}."))


@pytest.fixture
def alias(world):
    """A server under a name whose connections notice soon when it says nothing."""

    def make(server, name="faulty", port=None):
        world.config.write_text(
            f"Host {name}\n HostName {server.address}\n Port {port or server.port}\n User {world.user}\n"
            f" HostKeyAlias [{server.address}]:{server.port}\n ServerAliveInterval 1\n ServerAliveCountMax 2\n ConnectTimeout 1\n"
        )
        return name

    yield make
    world.config.write_text("")


@pytest.mark.parametrize("first", ["here", "there"])
def test_a_pipe_to_or_from_a_host_that_cannot_be_reached_leaves_no_descriptor(ex, world, first):
    nowhere = f"{world.user}@127.0.0.1:{free_port()}"
    places = (None, nowhere) if first == "here" else (nowhere, None)

    def refused():
        with pytest.raises(xec.XecError):
            ex.start("seq 3", on=places[0]).pipe(ex.start("cat", on=places[1])).result(20)

    def pipes():
        return sum(os.readlink(fd).startswith("pipe:") for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink())

    refused()
    before = pipes()
    refused()
    assert until(lambda: pipes() <= before)


# -- the server -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"session": "s"}])
def test_a_server_that_is_stopped_while_a_command_streams_is_noticed(ex, world, alias, options):
    server = world.sshd()
    on = alias(server)
    run = ex.start("echo begin; while :; do echo more; sleep 0.05; done", on=on, grace=0.1, **options)
    ex._engine.begin(run)
    assert until(lambda: run.log.size() > 20)
    daemons = [server.process.pid, *(pid for pid in children(server.process.pid) if name_of(pid).startswith("sshd"))]
    for pid in daemons:
        os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(xec.ConnectionLost, match=f"the connection to {on} was lost: (?i:server not)") as caught:
            run.result(30)
    finally:
        for pid in daemons:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    assert caught.value.result.stdout.startswith("begin\nmore\n")
    assert any("may go on" in note for note in caught.value.result.notes)
    assert str(ex.run("echo again", on=on, **options)) == "again"
    for pid in environ_has(f"XEC_RUN_ID={ex._engine.kernel_id}."):  # what the note says
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def name_of(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as file:
        return file.read()
    return ""


def test_a_server_that_serves_files_only_refuses_a_command_in_one_line(ex, world):
    server = world.sshd(ForceCommand="internal-sftp")
    for options in ({}, {"stdin": "input"}, {"session": "s"}):
        with pytest.raises(xec.SpawnError, match=r"internal-sftp serves files only|did not keep a shell") as caught:
            ex.run("echo ran", on=server.spec, **options)
        assert server.spec in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def test_a_forced_command_that_waits_for_input_does_not_hold_a_command_up(ex, world):
    server = world.sshd(ForceCommand="cat")
    with pytest.raises(xec.SpawnError, match="the login did not run the command.*ForceCommand"):
        ex.run("echo ran", on=server.spec)


@pytest.mark.parametrize("sessions", [1, 3, 10])
def test_no_refused_channel_is_ever_shown(ex, world, sessions):
    server = world.sshd(MaxSessions=sessions)
    runs = [ex.start(f"echo {number}", on=server.spec) for number in range(100)]
    for run in runs:
        ex._engine.begin(run)
    assert [str(run.result(60)) for run in runs] == [str(number) for number in range(100)]
    assert until(lambda: all(row.busy == 0 for row in ex._engine.ssh_rows()))
    rows = [row for row in ex._engine.ssh_rows() if row.host == server.spec]
    assert 1 <= len(rows) <= 4
    assert min(row.limit for row in rows) <= max(1, sessions)


def test_the_first_session_beside_commands_begins_also_where_a_connection_has_one_channel(ex, world):
    server = world.sshd(MaxSessions=1)
    runs = [
        ex.start("echo here", on=server.spec, check=False, **options)
        for options in ({"session": "a"}, {}, {}, {}, {})  # a second one could hold all channels that there are
    ]
    for run in runs:
        run.begin()
    assert [str(run.wait(20)) for run in runs] == ["here"] * 5
    ex._engine.ask(ex._engine.transports.stop("a"))


def test_where_sessions_hold_all_channels_the_next_command_is_refused(ex, world, monkeypatch):
    monkeypatch.setattr(hosts_module, "KEPT_LOOK_S", 0.05)
    server = world.sshd(MaxSessions=1)
    for name in ("a", "b"):  # two channels each, of the four that there are
        assert str(ex.run("echo ready", on=server.spec, session=name)) == "ready"
    for options in ({}, {"session": "c"}):
        with pytest.raises(
            xec.PoolTimeout, match=r"sessions, monitors or tunnels hold all of its 4 channels; end some"
        ):
            ex.run("true", on=server.spec, timeout=20, **options)
    assert str(ex.run("echo still", on=server.spec, session="a")) == "still"
    for name in ("a", "b"):
        ex._engine.ask(ex._engine.transports.stop(name))


@needs_root
def test_a_full_disk_there_takes_no_long_script_and_keeps_no_half_of_it(ex, world):
    small = world.dir / "small"
    small.mkdir(mode=0o777)
    small.chmod(0o777)
    full = (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k,mode=777", "tmpfs", small], capture_output=True
        ).returncode
        == 0
    )
    user = world.account()
    if not full:  # where nothing can be mounted: no file may grow beyond that
        (world.dir / user / ".bashrc").write_text("ulimit -f 64\n")
    server = world.sshd(SetEnv=f"TMPDIR={small}")
    try:
        on = f"{user}@{server.address}:{server.port}"
        with pytest.raises(
            xec.SpawnError, match=f"{user}@.*: cannot bring a script of 300,[0-9]+ bytes there: .*"
        ) as caught:
            ex.run("x=" + "a" * 300_000, on=on)
        assert not full or "No space left" in str(caught.value)
        assert list(small.iterdir()) == []
        assert str(ex.run("echo short", on=on)) == "short"
    finally:
        if full:
            subprocess.run(["umount", small], check=True)


# -- helpers that are given up ------------------------------------------------------------------------------


def test_a_helper_that_is_given_up_while_it_opens_its_channel_leaves_none(world):
    server = world.sshd()

    async def go():
        ssh = SSHTransport("0123456789cf")
        host = ssh.host(Target("ssh", "stalled", server.address, world.user, server.port))
        await host.warm()
        (connection,) = host.links.connections.values()
        family = server.sessions()
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        asking = asyncio.create_task(host.helper(facts_line(), seconds=0.2))  # then by a connection of its own
        await asyncio.wait([asking], timeout=0.5)
        for pid in family:
            with contextlib.suppress(ProcessLookupError):  # one of a login, which had ended before it was stopped
                os.kill(pid, signal.SIGCONT)
        assert (await asking).exit_code == 0
        channels = connection.asyncssh._channels
        for _ in range(100):
            await asyncio.sleep(0.05 * bool(channels))
        assert not channels
        await ssh.close(1)

    asyncio.run(go())
    server.stop()


def test_a_helper_that_is_cancelled_in_the_moment_of_its_answer_is_cancelled(monkeypatch):
    class Ready:
        is_open, ahead = True, ()

    async def go():
        answer = asyncio.Event()

        async def collect(*_):
            await answer.wait()
            found = Collected()
            found.exit_code = 0
            return found

        monkeypatch.setattr(hosts_module, "collect", collect)
        host = SSHTransport("0123456789cf").host(Target("ssh", "web1"))
        host.links.connections[1] = Ready()
        asking = asyncio.create_task(host.helper(facts_line()))
        await asyncio.sleep(0)
        answer.set()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(go())


@pytest.fixture
def tmp_there(world):
    """The directory for temporary files on a host, and the host's name."""
    folder = world.dir / "tmp_there"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    server = world.sshd(SetEnv=f"TMPDIR={folder}")
    yield folder, server.spec
    server.stop()
    shutil.rmtree(folder)


@pytest.mark.parametrize("arrived", [False, True], ids=["on its way", "arrived"])
def test_a_long_script_whose_command_is_given_up_before_it_begins_does_not_stay_there(
    ex, tmp_there, monkeypatch, arrived
):
    folder, on = tmp_there

    def slow_line(size):
        line = upload_line(size)
        slow = ("echo", "sleep 2; echo") if arrived else ("if cat", "head -c 100000; sleep 2; if cat")
        return replace(line, program=line.program.replace(*slow))

    monkeypatch.setattr("xec_magic.transport.ssh.scripts.upload_line", slow_line)
    run = ex.start("true\n#" + "x" * 10_000_000, on=on)
    size = 10_000_000 if arrived else 0
    assert until(lambda: any(path.stat().st_size >= size for path in folder.iterdir()))
    run.cancel()
    with pytest.raises(xec.Cancelled):
        run.result()
    assert until(lambda: not list(folder.iterdir()), 10)


def test_a_script_that_has_not_arrived_whole_is_not_kept(tmp_path):
    def keep(data):
        line = upload_line(10)
        argv = ["/bin/sh", "-c", line.program, "xec"]
        done = subprocess.run(argv, input=data, capture_output=True, env={**os.environ, "TMPDIR": str(tmp_path)})
        return read_answer(done.stdout, line.mark), len(list(tmp_path.iterdir()))

    assert keep(b"nine byte") == (None, 0)
    path, files = keep(b"ten bytes.")
    assert files == 1
    assert Path(path).read_bytes() == b"ten bytes."


@pytest.mark.parametrize("options", [{}, {"worker": True}, {"session": "s"}])
def test_much_output_of_a_host_arrives_byte_for_byte_at_flat_memory(server, world, options):
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    script = f"openssl enc -aes-128-ctr -nosalt -pass pass:x <{world.zeros} 2>/dev/null | head -c {MUCH}"
    whole = subprocess.run(["sh", "-c", f"{script} | sha256sum"], check=True, capture_output=True, text=True).stdout
    with xec.Executor() as ex:
        ex.run("true", on=server.spec, **options)
        before, peak, count, digest = resident(), 0, 0, hashlib.sha256()
        run = ex.start(script, on=server.spec, keep=False, strict=False, **options)
        for number, chunk in enumerate(run.chunks()):
            if not number:
                time.sleep(1)  # a reader that is slow makes the host wait
            count += len(chunk)
            digest.update(chunk)
            peak = max(peak, resident())
        assert run.result().ok
    assert (count, digest.hexdigest()) == (MUCH, whole.split()[0])
    assert peak - before < 48 * 2**20


# -- logins -----------------------------------------------------------------------------------------------


def test_a_wrong_key_alone_lets_nobody_in_and_is_named(ex, world, server):
    stranger = generate_key(world.dir / f"stranger_{free_port()}")
    target = Target("ssh", "web1", server.address, world.user, server.port, (("key", str(stranger)),))
    usual = world.home / ".ssh" / "id_ed25519"
    usual.rename(usual.with_name("away"))
    try:
        with pytest.raises(xec.AuthError, match=f"web1: .* does not let '{world.user}' in.*{stranger.name}"):
            ex.run("true", target=target)
    finally:
        usual.with_name("away").rename(usual)
    assert [row for row in ex._engine.ssh_rows() if row.host == "web1"] == []


@needs_root
def test_a_locked_account_is_not_let_in(ex, world, server):
    user = world.account()
    on = f"{user}@{server.address}:{server.port}"
    assert ex.run("true", on=on).ok
    ex._engine.ssh_call(lambda ssh: ssh.drain())
    subprocess.run(["usermod", "-p", "!locked", user], check=True)
    with pytest.raises(xec.AuthError, match=f"does not let '{user}' in"):
        ex.run("true", on=on)


@needs_root
def test_an_expired_password_is_told_in_the_servers_words(ex, world):
    server = world.sshd(UsePAM="yes")
    user = world.account()
    subprocess.run(["chpasswd"], input=f"{user}:old secret", text=True, check=True)
    subprocess.run(["chage", "-d", "0", user], check=True)
    with pytest.raises(xec.TransportError, match=f"{user}@.*it said: .*assword") as caught:
        ex.run("true", on=f"{user}@{server.address}:{server.port}")
    assert len(str(caught.value).splitlines()) == 1


@needs_root
def test_questions_of_the_server_are_answered_where_that_was_asked_for(world):
    user = world.account()
    subprocess.run(["chpasswd"], input=f"{user}:tell nobody", text=True, check=True)
    server = world.sshd(UsePAM="yes", KbdInteractiveAuthentication="yes", AuthorizedKeysFile="none")

    def result(answers, **settings):
        asked = []

        async def ask(text):
            asked.append(text)
            return answers.pop(0) if answers else None

        async def go():
            ssh = SSHTransport("0123456789cf", ask=ask)
            (found,) = await ssh.ping(
                [Target("ssh", "web1", server.address, user, server.port, tuple(settings.items()))]
            )
            await ssh.close(1)
            return found

        return asyncio.run(go()), asked

    found, asked = result(["tell nobody"], auth="password")
    assert isinstance(found, float), found
    assert len(asked) == 1
    assert isinstance(result(["tell nobody"])[0], xec.AuthError)
    assert "the password was not taken" in str(result(["wrong"], auth="password")[0])


# -- another server, small shells --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dropbear(world):
    if not shutil.which("dropbear"):
        assert not os.environ.get("CI"), "tools/install-programs installs it"
        pytest.skip("there is no dropbear")
    server = Dropbear(world)
    yield server
    server.stop()


@needs_root
@pytest.mark.parametrize("shell", ["busybox", "dash"])
def test_dropbear_and_a_small_shell_do_all_of_it(ex, world, dropbear, shell):
    path = "/bin/dash"
    if shell == "busybox":
        path = str(world.dir / "ash")
        if not os.path.exists(path):
            os.symlink("/bin/busybox", path)
    on = f"{dropbear.account(path)}@127.0.0.1:{dropbear.port}"
    for number in range(4):
        assert str(ex.run(f"echo {number}; exit 0", on=on)) == str(number)
    result = ex.run("cat; echo err >&2; exit 3", on=on, stdin="input", check=False)
    assert (result.stdout, result.stderr, result.exit_code) == ("input", "err\n", 3)
    c = ex.using(session="s", shell="sh", on=on, check=False)
    c.run("cd /; x=5")
    assert c.run("pwd; echo $x; false; echo never").stdout == "/\n5\n"
    assert c.run("echo $x").text() == "5"
    with pytest.raises(xec.TimedOut):
        ex.run("(setsid sleep 300 &); sleep 300", on=on, timeout=0.5, grace=0.2)
    ex._engine.ask(ex._engine.transports.stop("s"))
