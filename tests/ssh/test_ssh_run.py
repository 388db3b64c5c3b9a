"""Commands on hosts through the public functions, on real servers."""

from __future__ import annotations

import os
import pickle
import pwd
import re
import secrets
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from helpers.marks import needs_root
from helpers.waiting import until
from world import environ_has

import xec_magic as xec
from xec_magic.plan import Plan

# -- what a command is told, and tells ---------------------------------------------------------------


def test_a_command_on_a_host_is_as_one_here(ex, on):
    script = "echo out; echo err >&2; seq 3 | head -1; false; echo never"
    there, here = ex.run(script, on=on, check=False), ex.run(script, check=False)
    assert (there.stdout, there.stderr, there.exit_code, there.outcome) == (
        here.stdout,
        here.stderr,
        here.exit_code,
        here.outcome,
    )
    assert str(there.target) == on
    assert isinstance(pickle.loads(pickle.dumps(there.plan)), Plan)


def test_a_failure_names_the_host(ex, on):
    with pytest.raises(xec.NonZeroExit, match=f"exit code 3 on {on}"):
        ex.run("exit 3", on=on)


def test_it_runs_where_it_is_told_with_the_logins_own_environment(ex, on, monkeypatch):
    monkeypatch.setenv("KERNELS_OWN", "1")
    result = ex.run('pwd; echo "$A$B:${KERNELS_OWN-none}:$HOME"', on=on, cwd="/usr", env={"A": "a 'b'", "B": "\n\\n"})
    assert result.stdout.startswith("/usr\na 'b'\n\\n:none:/")
    assert ex.run("pwd", on=on, cwd="~").stdout.strip() == ex.run("echo ~", on=on).stdout.strip()
    assert ex.run("printenv a.b", on=on, env={"a.b": "strange"}).stdout == "strange\n"


def test_input_arrives_whole_and_there_is_none_unless_given(ex, on):
    data = os.urandom(1_500_000)
    assert ex.run("cat", on=on, stdin=data).stdout_bytes == data
    assert ex.run("readlink /proc/self/fd/0", on=on).stdout == "/dev/null\n"
    assert ex.run("cat | head -n 1", on=on, stdin=Path("/etc/passwd")).stdout.startswith("root:")
    with pytest.raises(xec.SpawnError, match="no readable file /no/such"):
        ex.run("cat", on=on, stdin=Path("/no/such"))


def test_a_secret_reaches_the_command_and_no_process_list(ex, on):
    word = secrets.token_hex(8)
    secret = f"{word}' \\ \n$x"
    listing = 'ps -ewwo args; cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" " "; echo ${#TOKEN}; cat'
    result = ex.run(listing, on=on, secret={"TOKEN": secret}, stdin="input", strict=False)
    assert result.stdout.endswith(f"{len(secret)}\ninput")
    assert word not in result.stdout
    assert str(ex.run('printf %s "$TOKEN" | od -An -c', on=on, secret={"TOKEN": secret})).split() == [
        {"\n": "\\n", "\\": "\\"}.get(char, char) for char in secret if char != " "
    ]


def scripts(server):
    """Files that commands have left."""
    uid = pwd.getpwnam(server.world.user).pw_uid
    return {path for path in Path("/tmp").glob("xec-*") if path.is_file() and path.stat().st_uid == uid}


@pytest.mark.parametrize("size", [90_000, 3_000_000])
def test_a_script_of_any_size_runs_and_leaves_no_file(ex, on, server, size):
    before = scripts(server)
    result = ex.run(f"x='{'y' * size}'\necho ${{#x}}; cat", on=on, stdin="input")
    assert result.stdout == f"{size}\ninput"
    assert scripts(server) == before


def test_another_interpreter_runs_the_script(ex, on):
    assert str(ex.run("import sys\nprint('a' 'b', sys.argv)", on=on, shell="python3")) == "ab ['-c']"
    with pytest.raises(xec.SpawnError, match="there is no command nosuch"):
        ex.run("x", on=on, shell="nosuch")


def test_commands_here_and_there_are_joined_by_pipes(ex, on):
    assert str(ex.start("seq 200000", on=on).pipe(ex.start("tail -n 1")).result()) == "200000"
    assert str(ex.start("seq 200000").pipe(ex.start("tail -n 1", on=on)).result()) == "200000"
    assert str(ex.start("yes", on=on).pipe(ex.start("head -n 2")).result()) == "y\ny"


def test_much_output_arrives_whole_and_a_slow_reader_makes_it_wait(ex, on, world):
    run = ex.start(f"head -c 60000000 {world.zeros}; echo end", on=on)
    chunks = iter(run.chunks())
    total = len(next(chunks))
    time.sleep(0.3)
    last = b""
    for chunk in chunks:
        total, last = total + len(chunk), chunk
    assert total == 60_000_004
    assert last.endswith(b"end\n")


def test_garbage_is_kept_byte_for_byte(ex, on):
    result = ex.run("head -c 300000 /dev/urandom > ~/garbage; cat ~/garbage; sha256sum < ~/garbage >&2", on=on)
    import hashlib

    assert hashlib.sha256(result.stdout_bytes).hexdigest() == result.stderr.split()[0]


def test_output_beyond_the_bound_stops_it(ex, on):
    with pytest.raises(xec.OutputLimit):
        ex.run("yes", on=on, max_output="100k")
    assert until(lambda: not environ_has(f"XEC_RUN_ID={ex._engine.kernel_id}."))


# -- logins -----------------------------------------------------------------------------------------


@needs_root
@pytest.mark.parametrize("shell", ["bash", "dash", "zsh", "fish", "busybox"])
def test_the_login_shell_does_not_matter(ex, world, server, shell):
    path = f"/bin/{shell}" if os.path.exists(f"/bin/{shell}") else f"/usr/bin/{shell}"
    if shell == "busybox":
        path = str(world.dir / "ash")
        if not os.path.exists(path):
            os.symlink("/bin/busybox", path)
    user = world.account(path)
    script = """echo 'a "b"' "c\\\\d" $HOME; ! false; x=$(printf '%s' "it's"); echo "$x"; printf '%s' "$V"; exit 4"""
    value = "a'b\\\\c\\"  # fish would make one backslash of two within quotes
    result = ex.run(script, on=f"{user}@{server.address}:{server.port}", env={"V": value}, check=False)
    shown = f'a "b" c\\d {world.dir}/{user}\nit\'s\n{value}'
    assert (result.stdout, result.stderr, result.exit_code) == (shown, "", 4)


@needs_root
def test_what_a_login_prints_is_not_the_commands(ex, world, server):
    user = world.account()
    (world.dir / user / ".bashrc").write_text("echo welcome; echo beware >&2; seq 20000\n")
    result = ex.run("echo mine; echo own >&2", on=f"{user}@{server.address}:{server.port}")
    assert (result.stdout, result.stderr) == ("mine\n", "own\n")


@needs_root
def test_a_login_that_runs_nothing_says_so(ex, world, server):
    user = world.account("/usr/sbin/nologin")
    with pytest.raises(xec.SpawnError, match="the login did not run the command.*not available"):
        ex.run("true", on=f"{user}@{server.address}:{server.port}")
    assert ex.run("echo other", on=server.spec).ok


def test_a_forced_command_is_told(ex, world):
    forced = world.sshd(ForceCommand="echo forced")
    with pytest.raises(xec.SpawnError, match="ForceCommand.*it said: forced"):
        ex.run("true", on=forced.spec)


def test_a_banner_is_no_output(ex, world):
    banner = world.dir / "banner"
    banner.write_text("private property\n")
    assert str(ex.run("echo mine", on=world.sshd(Banner=banner).spec)) == "mine"


# -- the end ------------------------------------------------------------------------------------------


def left(ex):
    return environ_has(f"XEC_RUN_ID={ex._engine.kernel_id}.")


TREE = "echo ready; (setsid sleep 300 & sleep 300 & wait) & nohup sleep 300 >/dev/null & wait"


def test_a_time_limit_ends_the_whole_tree_strays_included(ex, on):
    with pytest.raises(xec.TimedOut):
        ex.run(TREE, on=on, timeout=1, grace=0.2)
    assert left(ex) == []


@needs_root
def test_as_root_too_though_its_sshd_refuses_signals(ex, world, server):
    run = ex.start(TREE, on=f"root@{server.address}:{server.port}", grace=0.2)
    next(iter(run.lines()))
    run.cancel()
    with pytest.raises(xec.Cancelled):
        run.result()
    assert left(ex) == []


def test_a_process_that_hears_only_kill_is_killed(ex, on):
    run = ex.start("trap '' INT TERM; echo ready; while :; do sleep 0.1; done", on=on, grace=0.2)
    assert next(iter(run.lines())) == "ready"
    assert run.wait(15).signal == 9
    assert left(ex) == []


def test_a_child_left_behind_is_named_and_can_be_ended(ex, on):
    result = ex.run("sleep 300 & echo done", on=on)
    assert [process.name for process in result.left_behind] == ["sleep"]
    assert str(result) == "done"
    ex.close()
    assert until(lambda: not left(ex))


def test_closing_ends_what_runs_on_hosts(ex, on):
    run = ex.start(TREE, on=on)
    next(iter(run.lines(None)))
    ex.close()
    assert run.done()
    assert until(lambda: not left(ex))


def test_an_interrupt_while_connecting_is_heard(world, monkeypatch):
    import signal
    import socket

    silent = socket.create_server(("127.0.0.1", 0))  # takes the connection and says nothing
    threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with xec.Executor() as ex, pytest.raises(KeyboardInterrupt):
        ex.run("true", on=f"{world.user}@127.0.0.1:{silent.getsockname()[1]}")
    silent.close()


@needs_root
@pytest.mark.parametrize("who", ["user", "root"])
def test_what_was_given_up_before_it_began_does_not_go_on(ex, world, server, who, monkeypatch):
    user = world.account()
    (world.dir / user / ".bashrc").write_text("sleep 1\n")
    if who == "root":  # whose server hears no signals
        from xec_magic.transport.ssh.process import asyncssh

        monkeypatch.setattr(asyncssh.SSHClientChannel, "send_signal", lambda *_: None)
    on = f"{user}@{server.address}:{server.port}"
    with pytest.raises(xec.TimedOut, match="before it started|time limit"):
        ex.run("sleep 5; echo ran > ~/ran; sleep 300", on=on, timeout=0.5)
    assert until(lambda: not [row for row in ex._engine.ssh_rows() if row.busy])
    assert left(ex) == []
    assert not (world.dir / user / "ran").exists()


# -- many at once ----------------------------------------------------------------------------------------


def test_a_server_that_drops_connections_is_tried_again(world):
    server = world.sshd(MaxStartups="2:100:4")
    pools = [xec.Executor() for _ in range(12)]
    try:
        runs = [ex.start("echo in", on=server.spec) for ex in pools]
        assert [str(run.result()) for run in runs] == ["in"] * 12
    finally:
        for ex in pools:
            ex.close()


def test_a_host_listed_twice_shares_its_connection(ex, on):
    ex.run("true", on=on)
    ex.run("true", on=on)
    (row,) = ex._engine.ssh_rows()
    assert (row.commands, row.reused, row.busy) == (2, 1, 0)
    assert row.saved_s > 0


def test_a_pool_of_ones_own_runs_on_all_its_hosts_warms_and_drains(world, server):
    other = world.sshd(known=True)
    with xec.ssh_pool([server.spec, other.spec], connections_per_host=1) as pool:
        pool.warm()
        assert len(pool.rows()) == 2
        assert str(pool.run(other.spec, "echo one")) == "one"
        everywhere = pool.run_all("exit 3")
        assert [result.exit_code for result in everywhere] == [3, 3]
        assert everywhere.failed.targets == [server.spec, other.spec]
        with pytest.raises(xec.OptionError, match="none of the pool's hosts"):
            pool.run("root@192.0.2.1", "true")
        running = pool._commands.start("sleep 0.5; echo whole", on=server.spec)
        pool._engine.begin(running)
        assert until(lambda: any(row.busy for row in pool.rows()))
        pool.drain()
        assert str(running.result()) == "whole"
        assert pool.rows() == []
        assert pool.run(server.spec, "true").ok
    for late in (lambda: pool.run(server.spec, "true"), lambda: pool.run_all("true"), pool.warm, pool.drain):
        with pytest.raises(xec.XecError, match="this pool of connections is closed; xec.ssh_pool makes a new one"):
            late()


def test_an_interrupt_stops_what_a_pool_runs_on_all_its_hosts(world, server):
    other = world.sshd()
    with xec.ssh_pool([server.spec, other.spec], grace=0.2) as pool:
        pool.warm()
        busy = lambda: until(lambda: sum(row.busy for row in pool.rows()) == 2)  # noqa: E731
        interrupting = threading.Thread(target=lambda: busy() and os.kill(os.getpid(), signal.SIGINT))
        interrupting.start()
        with pytest.raises(xec.RunInterrupted, match="2 of 2 had not finished"):
            pool.run_all("sleep 60")
        interrupting.join()
        assert until(lambda: not any(row.busy for row in pool.rows()))


def test_an_unused_connection_is_closed(world, server):
    with xec.ssh_pool(server.spec, idle_timeout=0.2) as pool:
        pool.run(server.spec, "true")
        assert until(lambda: pool.rows() == [])
        assert pool.run(server.spec, "true").ok


# -- channels opened ahead -------------------------------------------------------------------------------


def spares(ex):
    return [
        each
        for host in ex._engine.transports.ssh._hosts.values()
        for c in host.links.connections.values()
        for each in c.ahead
    ]


def ahead(ex):
    """The one channel that waits for a command, once it is open."""
    assert until(lambda: any(each.is_open for each in spares(ex)))
    (each,) = spares(ex)
    return each.opening.result()


@pytest.fixture
def no_shell_waits(monkeypatch):
    """The channels ahead are bare, as they are while anything runs on the host."""
    monkeypatch.setattr("xec_magic.transport.ssh.shellahead.Shells.let_wait", lambda self: None)


@pytest.mark.usefixtures("no_shell_waits")
def test_a_command_takes_the_channel_that_was_opened_ahead(ex, on):
    ex.run("true", on=on)
    assert spares(ex) == []  # a host that is asked once needs none
    ex.run("true", on=on)
    for number in range(3):
        channel = ahead(ex)
        run = ex.start(f"echo {number}; exit {number}", on=on, check=False)
        assert (str(run.result()), run.result().exit_code) == (str(number), number)
        assert ahead(ex) is not channel
        assert until(channel.is_closing)
    (row,) = ex._engine.ssh_rows()
    assert (row.commands, row.busy, row.ahead) == (5, 0, 1)


@pytest.mark.usefixtures("no_shell_waits")
@pytest.mark.parametrize("when", ["before", "while it is asked"])
def test_a_channel_ahead_that_has_died_is_replaced_silently(ex, on, when):
    ex.run("true", on=on)
    ex.run("true", on=on)
    channel = ahead(ex)
    if when == "before":
        ex._engine.post(channel.abort)
        assert until(channel.is_closing)
    else:  # our close is on its way when the command is put on it: it is never answered
        request = channel._make_request

        async def closed_meanwhile(*args):
            channel._loop.call_soon(channel.abort)
            channel._send_request = lambda *_, **__: None
            return await request(*args)

        channel._make_request = closed_meanwhile
    result = ex.run("echo once >> ~/count; cat ~/count; rm ~/count", on=on)
    assert (result.stdout, result.notes) == ("once\n", ())
    (row,) = ex._engine.ssh_rows()
    assert row.busy == 0


def test_an_asyncssh_that_is_not_as_we_know_it_opens_channels_as_ever(ex, on, monkeypatch):
    from xec_magic.transport.ssh import ahead as module

    monkeypatch.setattr(module, "SSHClientChannel", lambda *_: None)
    for number in range(4):
        assert str(ex.run(f"echo {number}", on=on)) == str(number)
    (row,) = ex._engine.ssh_rows()
    assert (row.commands, row.busy, row.ahead) == (4, 0, 0)


def test_where_the_server_gives_one_channel_none_is_missing_for_commands(ex, world):
    server = world.sshd(MaxSessions=1)
    for number in range(8):
        assert str(ex.run(f"echo {number}", on=server.spec)) == str(number)
    assert until(lambda: all(row.busy == 0 for row in ex._engine.ssh_rows()))
    with pytest.raises(xec.TimedOut):
        ex.run("sleep 300", on=server.spec, timeout=0.3, grace=0.2)
    assert left(ex) == []


# -- lost connections --------------------------------------------------------------------------------------


def started(ex, server, script="echo partial; exec sleep 300", **options):
    run = ex.start(script, on=server.spec, grace=0.2, **options)
    ex._engine.begin(run)
    assert until(lambda: run.log.size() > 0)
    return run


def lost(run):
    with pytest.raises(xec.ConnectionLost, match="the connection to .* was lost") as caught:
        run.result(30)
    assert caught.value.result.stdout == "partial\n"
    assert not caught.value.result.ok
    return caught.value


def test_a_killed_session_loses_its_command_with_what_arrived_and_the_next_one_connects_anew(ex, world):
    server = world.sshd()
    run = started(ex, server, "echo partial; echo $$ >&2; exec sleep 300")
    server.kill_connections()
    lost(run)
    assert until(lambda: not left(ex))  # what ran there is ended over a new connection
    assert ex.run("echo again", on=server.spec).ok


def test_a_killed_server_loses_its_commands_and_says_what_may_go_on(ex, world):
    server = world.sshd()
    run = started(ex, server)
    pid = run.process.pid
    server.kill_connections(daemon=True)
    error = lost(run)
    assert any(f"pid {pid}" in note for note in error.result.notes)
    os.kill(pid, 9)
    with pytest.raises(xec.ConnectError, match="connection refused"):
        ex.run("true", on=server.spec)


def test_a_silent_link_is_noticed_and_is_never_success(world):
    from world import Link

    server = world.sshd()
    link = Link((server.address, server.port))
    config = world.home / ".ssh" / "config"
    config.write_text(
        f"Host silent\n HostName 127.0.0.1\n Port {link.port}\n User {world.user}\n HostKeyAlias [{server.address}]:{server.port}\n"
        " ServerAliveInterval 1\n ServerAliveCountMax 2\n ConnectTimeout 1\n"
    )
    try:
        with xec.Executor() as ex:
            run = ex.start("echo partial; exec sleep 300", on="silent", grace=0.1)
            ex._engine.begin(run)
            assert until(lambda: run.log.size() > 0)
            pid = run.process.pid
            link.silent.set()
            error = lost(run)
            assert any(f"pid {pid}" in note for note in error.result.notes)
            os.kill(pid, 9)
    finally:
        config.write_text("")
        link.close()


# -- names and logins ----------------------------------------------------------------------------------------


def test_who_cannot_be_reached_is_named_with_the_cause(ex, world, server):
    with pytest.raises(xec.ConnectError, match=r"no\.such\.host\.invalid: there is no host"):
        ex.run("true", on="bob@no.such.host.invalid")
    with pytest.raises(xec.ConnectError, match="cannot reach 127.0.0.1:9: connection refused"):
        ex.run("true", on="bob@127.0.0.1:9")
    with pytest.raises(xec.AuthError, match="does not let 'nobody-here' in"):
        ex.run("true", on=f"nobody-here@{server.address}:{server.port}")


def test_an_alias_means_what_the_ssh_configuration_says(ex, world, server, config):
    (world.home / ".ssh" / "included").write_text(f"Match originalhost web?\n  User {world.user}\n")
    config(
        f"Include included\nHost web1\n  HostName {server.address}\n  Port {server.port}\n  IdentityFile {world.key}\n"
    )
    assert ex.run("id -un", on="web1").stdout.strip() == world.user


def test_the_configuration_is_read_as_openssh_reads_it(ex, world, server, config):
    config(
        f"""
        User = {world.user}  # as everywhere; don't change
        Match exec "test %n = other"
          Port 9
        Match originalhost web* exec "test %n = web1 && test %p = 22"  # here
          HostName={server.address}
          Port {server.port}
        Match host=127.0.0.1 !originalhost=web1
          Port 9
        Host web9
          Include "no such file"
        Host web1 # the first one
          ServerAliveInterval "7" # seconds
        """
    )
    spoken = subprocess.run(
        ["ssh", "-G", "-F", world.config, "web1"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {f"port {server.port}", f"user {world.user}", "serveraliveinterval 7"} <= set(spoken)
    assert ex.run("echo here", on=f"{world.user}@web1").lines() == ["here"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Port 22 23", "line 1: Port: there is more behind the value: 23"),
        ("\nPort", "line 2: this has no value: Port"),
        ("Port # none", "line 1: Port has no value"),
        ('Port "22', "line 1: no closing quotation"),
        ("Match exec 'test %q'", "line 1: Match exec: there is no %q"),
    ],
)
def test_a_configuration_that_is_wrong_is_told_with_the_line(ex, server, config, text, words):
    config(text)
    with pytest.raises(xec.ConnectError, match=f"the SSH configuration is wrong: .*{re.escape(words)}"):
        ex.run("true", on=server.spec)


def test_a_jump_host_leads_there_and_a_broken_one_is_named(ex, world, server, config):
    inner = world.sshd()
    block = f"Host gate\n  HostName {server.address}\n  Port {server.port}\n  User {world.user}\n"
    config(
        block
        + f"Host gate2\n  HostName {server.address}\n  Port {server.port}\n  User {world.user}\n  ProxyJump gate\n"
        f"Host inner\n  HostName {inner.address}\n  Port {inner.port}\n  User {world.user}\n  ProxyJump gate,gate2\n"
        f"Host lost\n  HostName {inner.address}\n  ProxyJump bob@127.0.0.1:9\n"
        f"Host round\n  HostName x\n  ProxyJump round\n"
    )
    assert str(ex.run("echo inside", on="inner")) == "inside"
    with pytest.raises(xec.ConnectError, match="^lost: by its jump host bob@.*127.0.0.1:9: connection refused"):
        ex.run("true", on="lost")
    with pytest.raises(xec.ConnectError, match="circle"):
        ex.run("true", on="round")


def test_jump_hosts_in_a_circle_that_two_targets_enter_at_different_places_are_refused(ex, world, server, config):
    place = f"HostName {server.address}\n  Port {server.port}\n  User {world.user}\n"
    ways = {"east": "west", "west": "east", "one": "east", "two": "west"}
    config("".join(f"Host {name}\n  {place}  ProxyJump {jump}\n" for name, jump in ways.items()))
    results = ex.map("true", on=["one", "two"], check=False, timeout=20)
    assert ["circle: " in str(result.error()) for result in results] == [True, True]


def test_a_proxy_command_leads_there(ex, world, server, config):
    program = "import socket,sys,threading,os;s=socket.create_connection((sys.argv[1],int(sys.argv[2])))\n"
    pump = world.dir / "pump.py"
    pump.write_text(
        program
        + "def up():\n  while d:=os.read(0,65536): s.sendall(d)\nthreading.Thread(target=up,daemon=True).start()\n"
        "while d:=s.recv(65536): os.write(1,d)\n"
    )
    config(
        f"Host far\n  HostName {server.address}\n  Port {server.port}\n  User {world.user}\n  ProxyCommand python3 {pump} %h %p\n"
    )
    assert str(ex.run("echo through", on="far")) == "through"


def test_a_proxy_command_that_fails_says_what_it_said(ex, world, config):
    config("Host far\n  HostName 192.0.2.1\n  ProxyCommand echo gate is shut >&2; exit 1\n")
    with pytest.raises(xec.ConnectError, match="far: its ProxyCommand failed: gate is shut"):
        ex.run("true", on="far")


# -- together with the rest --------------------------------------------------------------------------------------


def test_a_batch_takes_one_round_trip_and_gives_each_command_its_result(ex, on):
    results = ex.batch(["echo a; echo e >&2", "(exit 3)", "echo b"], on=on, keep_going=True)
    assert [(r.stdout, r.exit_code, str(r.target)) for r in results] == [("a\n", 0, on), ("", 3, on), ("b\n", 0, on)]
    assert results[0].stderr == "e\n"
    (row,) = ex._engine.ssh_rows()
    assert row.commands == 1


def test_what_contradicts_a_kept_shell_on_a_host_is_refused(ex, on):
    with pytest.raises(xec.OptionError, match="leave one of them out"):
        ex.run("true", on=on, worker=True, session="s")
    with pytest.raises(xec.OptionError, match="python3 cannot be kept ready"):
        ex.run("true", on=on, worker=True, shell="python3")
    with pytest.raises(xec.OptionError, match="no session to reset"):
        ex.run("true", on=on, reset=True)
    with pytest.raises(xec.OptionError, match="python3 cannot be kept ready"):
        ex.run("true", on=on, session="s", shell="python3")
