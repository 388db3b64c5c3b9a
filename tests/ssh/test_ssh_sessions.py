"""Sessions on hosts: what every transport promises, and what is kept from command to command."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import signal
import subprocess
from pathlib import Path

import pytest
from contract import ShellContract
from helpers.interrupts import interrupt_when
from helpers.marks import needs_root
from helpers.waiting import until
from test_ssh_transport import KERNEL_ID, target_of
from world import children, environ_has

import xec_magic as xec
from xec_magic.command import Command
from xec_magic.transport.ssh import SSHTransport
from xec_magic.transport.ssh.kept import step as step_module
from xec_magic.transport.ssh.kept.command import SPARE_THE_SHELL_S
from xec_magic.transport.ssh.kept.ducts import Cutter
from xec_magic.transport.ssh.kept.input import FarInput
from xec_magic.transport.ssh.kept.kin import Kin
from xec_magic.transport.ssh.kept.lines import session_line, streams_line
from xec_magic.transport.terminate import living, stop


def places(server):
    """The directories of sessions on the servers of these tests."""
    uid = pwd.getpwnam(server.world.user).pw_uid
    found = set()
    for path in Path("/tmp").glob("xec-" + "[0-9a-f]" * 16):
        with contextlib.suppress(FileNotFoundError):
            found |= {path} if path.stat().st_uid == uid else set()
    return found


def relays(server):
    """The processes of sessions on the servers of these tests that hold a directory or wait for it."""
    uid = pwd.getpwnam(server.world.user).pw_uid
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if entry.stat().st_uid == uid and b"/tmp/xec-" in (entry / "cmdline").read_bytes():
                found.add(int(entry.name))
    return found


class Contract(ShellContract):
    shell = ("bash",)

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    async def transport(self, server):
        self.target = target_of(server)
        self.UNSTARTABLE = Command("true", self.target, shell=("/no/such/bash",), session="s")
        before = places(server)
        made = SSHTransport(KERNEL_ID)
        yield made
        await made.close(within_s=4)
        async with asyncio.timeout(10):
            while places(server) - before:
                await asyncio.sleep(0.02)

    def command(self, script):
        return Command(script, self.target, strict=False, session="s", shell=self.shell)

    async def test_a_child_that_is_left_does_not_hold_the_session_up(self, transport):
        started = await self.start(transport, "sleep 60 & echo left")
        await started.until(lambda: started.process.exit is not None)
        assert started.process.streams_open
        assert [left.name for left in await living(started.process)] == ["sleep"]
        second = await self.start(transport, "echo second")
        await second.ended()
        assert second.of("stdout") == b"second\n"
        assert await living(second.process) == []
        assert await stop(started.process, 0.2, asyncio.Event(), lambda _: None) == []
        started.process.close()

    async def test_what_a_child_prints_late_is_never_another_commands(self, transport):
        first = await self.start(transport, "(sleep 0.4; echo late; echo late >&2) & echo first")
        await first.until(lambda: first.process.exit is not None)
        for number in range(3):
            other = await self.start(transport, f"echo {number}; sleep 0.2")
            await other.ended()
            assert (other.of("stdout"), other.of("stderr")) == (b"%d\n" % number, b"")
        await first.ended()
        assert (first.of("stdout"), first.of("stderr")) == (b"first\nlate\n", b"late\n")

    async def test_a_stop_does_not_reach_what_earlier_commands_have_left(self, transport):
        first = await self.start(transport, "sleep 60 >/dev/null 2>&1 & echo $!")
        await first.ended()
        second = await self.start(transport, "echo go; sleep 50")
        await second.until(lambda: second.of("stdout") == b"go\n")
        assert await stop(second.process, 1, asyncio.Event(), lambda _: None) == []
        second.process.close()
        os.kill(int(first.of("stdout")), signal.SIGKILL)  # it is still there


class TestBash(Contract):
    pass


class TestDash(Contract):
    shell = ("dash",)


def test_a_mark_is_found_wherever_it_is_cut():
    mark = b"\x1e0123456789\n"
    text = b"one" + mark + b"\x1e01" + b"\x1e\x1e" + mark + mark + b"end\x1e"
    for size in range(1, len(text)):
        cutter, pieces = Cutter(mark), [b""]
        for start in range(0, len(text), size):
            first, *more = cutter.feed(text[start : start + size])
            pieces[-1] += first
            pieces += more
        assert pieces == [b"one", b"\x1e01\x1e\x1e", b"", b"end"]


# -- what is promised of sessions here holds there ------------------------------------------------------

from engine.test_sessions import (  # noqa: E402, F401 - run here with the fixtures below
    FAILURES,
    test_a_background_process_goes_on_and_can_be_waited_for,
    test_a_secret_is_there_for_its_command_and_nowhere_afterwards,
    test_children_that_ignore_everything_are_killed_and_the_session_stays,
    test_directory_variables_functions_and_environment_carry_over,
    test_everything_that_bash_knows_survives_a_fatal_error,
    test_long_scripts_arrive_whole,
    test_output_beyond_the_bound_stops_the_command_and_keeps_the_session,
    test_ten_megabytes_on_both_streams_at_once,
    test_the_directory_of_a_call_is_left_again_unless_the_script_goes_elsewhere,
    test_variables_of_a_call_are_for_that_command,
)


@pytest.fixture(scope="module")
def kept(server):
    """One executor for all; each test ends its session."""
    home = os.environ["HOME"]
    os.environ["HOME"] = str(server.world.home)
    before = places(server)
    with xec.Executor(check=False) as made:
        yield made
    os.environ["HOME"] = home
    assert until(lambda: not places(server) - before)


@pytest.fixture
def end(kept):
    yield
    transports = kept._engine.transports
    for name in transports.session_names():
        kept._engine.ask(transports.stop(name))


@pytest.fixture(params=["bash", "dash"])
def each(request, every):
    return every(request.param)


@pytest.fixture
def every(kept, end, server):
    """Gives commands in a session of a shell."""
    return lambda shell: kept.using(session="s", shell=shell, on=server.spec)


@pytest.fixture
def bash(kept, end, server):
    return kept.using(session="s", on=server.spec)


def lost(result):
    return [note for note in result.notes if "was lost" in note]


@pytest.mark.parametrize("shell", ["bash", "dash", "zsh"])
def test_whatever_fails_in_a_session_there_what_was_set_survives_and_strict_is_for_one_command(shell, every):
    each = every(shell)
    each.run("y=1; f() { :; }; cd /usr")
    for name, script in FAILURES.items():
        each.run("x=1; unset r 2>/dev/null; true", strict=False)
        r = each.run(script)
        assert (r.ok, r.notes) == (False, ()), name
        assert each.run("echo $y $PWD").text() == "1 /usr", name
        assert each.run("false; echo $NOT_SET_ANYWHERE; echo on", strict=False).text() == "\non", name


def test_input_there_is_for_one_command_also_where_it_is_not_read(each):
    data = os.urandom(300_000)
    assert each.run("cat", stdin=data).stdout_bytes == data
    assert each.run("head -n 1", stdin=Path("/etc/passwd")).stdout.startswith("root:")
    assert each.run("echo unread", stdin=data).text() == "unread"
    assert each.run("cat").stdout == ""


def test_the_input_of_the_next_command_is_not_taken_away_with_the_last_ones(each, monkeypatch):
    """The end of a command is told before its shell has taken its input away."""
    taking_away = FarInput.no_input.fget
    monkeypatch.setattr(FarInput, "no_input", property(lambda self: b"sleep 0.2; " + taking_away(self)))
    for number in range(3):
        assert each.run("cat", stdin=f"input {number}").stdout == f"input {number}"
    assert each.run("cat").stdout == ""


def test_a_trap_on_exit_there_runs_at_the_end_of_the_script(bash):
    assert bash.run("trap 'echo bye' EXIT; x=1; echo in").lines() == ["in", "bye"]
    r = bash.run("trap 'echo bye again' EXIT; x=2; false; x=3")
    assert (r.exit_code, r.text(), r.notes) == (1, "bye again", ())
    assert bash.run("echo $x").text() == "2"


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_trap_on_debug_there_that_prints_is_taken_for_no_full_disk(ex, on, shell):
    session = ex.using(on=on, session="d", shell=shell, strict=False)
    session.run("x=1; trap 'echo heard' DEBUG")
    r = session.run("echo $x", cwd="/")
    assert (r.lines()[-1], r.exit_code, r.notes) == ("1", 0, ())


def test_what_ends_the_shell_there_is_said_with_the_command_that_did_it(each):
    for script, signal_number, exit_code in [
        ("echo before; exit 3", None, 3),
        ("kill -9 $$", 9, None),
        ("exec sh -c 'exit 7'", None, 7),
    ]:
        r = each.run(script)
        assert (r.signal, r.exit_code, len(lost(r))) == (signal_number, exit_code, 1)
        after = each.run("echo ${x-new}; x=1")
        assert (after.text(), after.notes) == ("new", ())


def test_a_shell_that_no_longer_answers_there_is_ended(bash):
    r = bash.run("set -n; echo not said")
    assert (r.stdout, len(lost(r)), r.outcome.value, r.signal) == ("", 1, "lost", None)
    r = bash.run("ulimit -n 6", timeout=10)
    assert (r.outcome.value, len(lost(r))) == ("failed", 1)
    assert bash.run("echo on").text() == "on"


def test_reset_there_ends_what_runs_in_the_session_and_does_not_wait_for_it(each):
    each.run("x=1")
    running = each.start("echo begun; sleep 60")
    running.begin()
    assert until(lambda: running.log.size())
    assert each.run("echo ${x-new}", reset=True, timeout=20).text() == "new"
    ended = running.wait(20)
    assert ended.outcome.value == "signalled"
    assert "was reset" in ended.notes[0]


def test_what_waits_for_a_session_there_that_is_stopped_begins_in_a_new_one(each, kept):
    each.run("x=1")
    running, waiting = each.start("echo begun; sleep 60"), each.start("echo ${x-new}")
    running.begin()
    assert until(lambda: running.log.size())
    waiting.begin()
    assert until(lambda: waiting.state == "queued")
    kept._engine.ask(kept._engine.transports.stop("s"))
    assert waiting.wait(20).text() == "new"
    ended = running.wait(20)
    assert ended.outcome.value == "signalled"
    assert "was stopped" in ended.notes[0]


def test_what_the_kill_of_a_session_there_has_missed_is_killed_by_the_next(bash, kept, monkeypatch):
    seen, real = [], Kin.stop_all

    async def blind_once(self, signals):
        seen.append(signals)  # the first KILL finds nothing, as where something starts while processes are looked for
        return await real(self, [] if seen.count(["KILL"]) == 1 else signals)

    monkeypatch.setattr(Kin, "stop_all", blind_once)
    running = bash.start("sh -c 'trap : INT TERM; echo begun; while :; do sleep 0.1; done'")
    running.begin()
    assert until(lambda: running.log.size())
    begun = environ_has(f"XEC_RUN_ID={kept._engine.kernel_id}.h")
    kept._engine.ask(kept._engine.transports.stop("s"))
    assert running.wait(20).outcome.value == "signalled"
    assert begun
    assert not environ_has(f"XEC_RUN_ID={kept._engine.kernel_id}.h")


@pytest.mark.parametrize("lives", [False, True])
def test_streams_that_come_while_a_session_there_goes_leave_no_directory(tmp_path, lives):
    place = tmp_path / "xec-0"
    place.mkdir()
    if lives:
        (place / "keeper").touch()
    line = streams_line(str(place), 1)
    argv = [b"sh", b"-c", line.program.encode(), b"xec", *line.arguments]
    done = subprocess.run(argv, input=line.head, capture_output=True, start_new_session=True, timeout=20, check=False)
    assert line.mark.strip() in done.stdout
    assert (place.exists(), (place / "1").exists()) == (lives, False)


def test_a_stop_there_keeps_the_session(each):
    each.run("y=1")
    r = each.run("x=2; sleep 60; x=3", timeout=0.3)
    assert (r.outcome.value, r.notes) == ("timed out", ())
    assert each.run("echo $x $y").text() == "2 1"


def test_an_interrupt_there_keeps_the_session(bash):
    bash.run("x=1; begun=$(mktemp -u)")
    begun = Path(bash.run("echo $begun").text())
    with pytest.raises(xec.RunInterrupted), interrupt_when(begun.exists):
        bash.run("x=2; : >$begun; sleep 60")
    begun.unlink()
    assert bash.run("echo $x").text() == "2"


# -- after a signal ---------------------------------------------------------------------------------------


def session_there(kept):
    (session,) = kept._engine.transports.ssh.sessions._sessions.values()
    return session


def test_a_shell_there_that_is_stopped_gives_no_command_the_answer_of_another(kept, each):
    each.run("true")
    os.kill(session_there(kept).shells[-1], signal.SIGSTOP)
    r = each.run("echo hi", timeout=0.5, grace=0.1)
    assert r.outcome.value == "timed out" or r.text() == "hi"
    assert each.run("echo on").text() == "on"
    assert each.run("[ a = b ]").exit_code == 1
    kept._engine.ask(kept._engine.transports.stop("s"))
    assert until(lambda: all(row.busy == 0 for row in kept._engine.ssh_rows()))  # also what no command has opened


@pytest.mark.parametrize("shell", ["bash", "dash", "zsh"])
def test_a_shell_there_that_answers_twice_after_a_signal_is_brought_into_step(shell, kept, every):
    each = every(shell)
    each.run("true")
    control = f"{session_there(kept)._directory}/ctl"
    busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"  # no child of its own, for which a stop would wait
    twice = f"trap 'echo s 0 >{control}; {busy}' INT; x=5; sleep 60"
    assert each.run(twice, timeout=0.3, grace=0.5).outcome.value == "timed out"
    r = each.run("trap - INT; echo $x; ls /no/such")
    assert (r.text(), r.exit_code, r.notes) == ("5", 2, ())
    assert each.run("echo on; [ $x = 6 ]").exit_code == 1


def test_a_shell_there_that_says_nothing_after_a_signal_is_replaced(kept, bash, monkeypatch):
    monkeypatch.setattr(step_module, "IN_STEP_S", 0.3)
    bash.run("true")
    session = session_there(kept)
    busy = "for ((i = 0; i < 50000; i++)); do :; done"  # CONT follows INT
    stuck = f"trap 'echo s 0 >{session._directory}/ctl; {busy}; kill -STOP $$' INT; sleep 60"
    assert bash.run(stuck, timeout=0.3, grace=0.5).outcome.value == "timed out"
    r = bash.run("echo on", timeout=20)
    assert r.text() == "on"
    assert "was lost while it was idle (its shell no longer answers)" in r.notes[0]
    assert session_there(kept) is not session


@pytest.mark.parametrize("rest", [b".y=2\n\n.x=2\n\np\n.x=3\n", b"p\n\n.x=3\n"], ids=["its middle", "its begin"])
def test_an_order_that_was_cut_short_there_is_not_taken_for_another(kept, every, rest):
    dash = every("dash")
    dash.run("x=1")

    async def rest_of_an_order():
        session_there(kept)._keeper.write(rest)

    kept._engine.ask(rest_of_an_order())
    r = dash.run("echo $x")
    assert (r.text(), r.notes) == ("1", ())


# -- the connection under it ------------------------------------------------------------------------------


@pytest.fixture
def own(world):
    """A server that may be killed, and an executor for it."""
    server = world.sshd()
    with xec.Executor(check=False) as ex:
        yield server, ex


def kill_sessions(server):
    for pid in children(server.process.pid):
        with contextlib.suppress(OSError):  # it has just ended by itself
            if Path(f"/proc/{pid}/comm").read_text().startswith("sshd"):
                os.kill(pid, 9)


def test_a_lost_connection_loses_the_session_and_its_command_and_says_both(own):
    server, ex = own
    c = ex.using(session="etl", on=server.spec)
    c.run("x=1")
    run = c.start("echo partial; sleep 300", grace=0.2)
    run.begin()
    assert until(lambda: run.log.size() > 0)
    kill_sessions(server)
    r = run.wait(30)
    assert (r.outcome.value, r.stdout) == ("lost", "partial\n")
    assert len(lost(r)) == 1
    assert until(lambda: not environ_has(f"XEC_RUN_ID={ex._engine.kernel_id}."))
    assert c.run("echo ${x-new}").text() == "new"


def test_one_that_was_lost_while_idle_is_told_with_the_next_command(own):
    server, ex = own
    c = ex.using(session="etl", on=server.spec)
    before = places(server)
    c.run("x=1")
    kill_sessions(server)
    assert until(lambda: not [row for row in ex._engine.ssh_rows() if row.busy])
    r = c.run("echo ${x-new}")
    assert r.text() == "new"
    assert "session etl on" in r.notes[0]
    assert "was lost while it was idle" in r.notes[0]
    ex.close()
    assert until(lambda: not places(server) - before)


def test_when_a_session_ends_nothing_of_it_runs_there_any_more(own):
    server, ex = own
    before = relays(server)
    for shell in ("bash", "dash", "zsh"):
        ex.run("x=1", session=shell, shell=shell, on=server.spec, check=True)
    assert len(relays(server) - before) >= 6
    ex.close()
    assert until(lambda: not relays(server) - before)


def test_a_session_is_of_one_host_and_one_shell_and_is_listed(own, world):
    server, ex = own
    other = world.sshd()
    assert ex.run("x=1", session="etl", on=server.spec, check=True).notes == ()
    assert ex.run("echo ${x-none}", session="etl", on=other.spec).text() == "none"
    assert ex.run("echo ${x-none}", session="etl").text() == "none"
    r = ex.run("true", session="etl", on=server.spec, shell="dash")
    words = f"session etl on {server.spec} is a bash; say --shell 'bash', or begin anew with --reset"
    assert (r.outcome.value, r.detail, r.notes) == ("not started", words, ())
    transports = ex._engine.transports
    listed = [entry.what for entry in ex._engine.ask(transports.pool()) if entry.kind == "session"]
    assert listed == ["bash", *sorted([f"bash on {server.spec}", f"bash on {other.spec}"])]
    ex._engine.ask(transports.stop("etl"))
    assert transports.session_names() == []


def test_it_costs_one_command_each_and_a_drain_ends_it(own):
    server, ex = own
    for number in range(3):
        ex.run(f"echo {number}", session="s", on=server.spec)
    (row,) = ex._engine.ssh_rows()
    assert (row.commands, row.busy) == (3, 2)
    ex._engine.ssh_call(lambda ssh: ssh.drain())
    assert ex._engine.ssh_rows() == []
    assert ex.run("echo anew", session="s", on=server.spec).text() == "anew"


@needs_root
def test_the_login_shell_of_a_session_does_not_matter_nor_what_it_prints(kept, end, world, server):
    user = world.account("/usr/bin/fish")
    (world.dir / user / ".config" / "fish").mkdir(parents=True)
    (world.dir / user / ".config" / "fish" / "config.fish").write_text("echo welcome; echo beware >&2\n")
    c = kept.using(session="s", on=f"{user}@{server.address}:{server.port}")
    assert c.run("cd /; x='a  b'").stdout == ""
    r = c.run('pwd; echo "$x"; echo own >&2')
    assert (r.stdout, r.stderr) == ("/\na  b\n", "own\n")


@needs_root
def test_what_keeps_a_session_from_beginning_is_told(kept, end, world, server):
    c = kept.using(session="s", check=True)
    with pytest.raises(xec.SpawnError, match="there is no directory /no/such"):
        c.run("true", on=server.spec, cwd="/no/such")
    user = world.account("/usr/sbin/nologin")
    with pytest.raises(xec.SpawnError, match="the login did not keep a shell; it said: .*not available"):
        c.run("true", on=f"{user}@{server.address}:{server.port}")
    assert until(lambda: all(row.busy == 0 for row in kept._engine.ssh_rows()))


@pytest.mark.parametrize("shell", ["bash", "dash", "zsh"])
def test_a_stop_there_that_comes_when_the_shell_has_answered_leaves_it_alone(shell, every, kept):
    session = every(shell)
    session.run("x=1")
    there = session_there(kept)
    for name in ("INT", "TERM", "KILL"):
        line = session_line(
            there._mark, 1, there._directory, there.shells, control_fd=there.kin._control_fd, busy=True, signals=[name], spare=2
        )  # fmt: skip
        kept._engine.ssh_call(lambda _, line=line: there.kin._asked(line))
    assert session.run("echo $x").text() == "1"


def test_a_session_there_that_is_stopped_when_idle_ends_by_itself(bash, kept, monkeypatch):
    bash.run("x=1")
    kin, sent = session_there(kept).kin, []
    stop_all = kin.stop_all

    async def watched(signals):
        sent.extend(signals)
        return await stop_all(signals)

    monkeypatch.setattr(kin, "stop_all", watched)
    kept._engine.ask(kept._engine.transports.stop("s"))
    assert sent == ["TERM"]
    assert bash.run("echo ${x-new}").text() == "new"


def test_a_further_kill_there_leaves_the_shell_a_moment_to_notice_that_all_else_is_dead(bash, kept, monkeypatch):
    running = bash.start("echo begun; sleep 60")
    running.begin()
    assert until(lambda: running.log.size())
    process = session_there(kept).current
    spared = []

    async def control(_process, _names, spare):
        spared.append(spare)
        return []

    async def kill_twice(_):
        process._killed_at = asyncio.get_running_loop().time()
        await process._deliver(["KILL"])
        await process._deliver(["KILL"])
        process._killed_at -= SPARE_THE_SHELL_S
        await process._deliver(["KILL"])

    with monkeypatch.context() as patched:
        patched.setattr(process, "_control", control)
        kept._engine.ssh_call(kill_twice)
    process._killed_at = None
    running.cancel()
    running.wait(20)
    assert spared == [1, 2, 0]


@pytest.mark.parametrize("before", ["true", "false"])  # behind a failure bash goes on in a new shell
@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_a_stop_there_reaches_copies_of_the_shell_and_none_that_an_earlier_command_has_left(ex, on, shell, before):
    s = {"on": on, "session": "copies", "shell": shell, "check": False, "strict": True}
    left = int(str(ex.run("m=1; (while :; do sleep 0.1; done) >/dev/null 2>&1 & echo $!", **s)))
    ex.run(before, **s)
    r = ex.run(
        "sh -c 'echo $PPID'; (trap '' INT TERM; sh -c 'echo $PPID'; while :; do sleep 0.1; done)",
        timeout=2,
        grace=0.2,
        **s,
    )
    assert r.outcome == "timed out"
    *_, copy = map(int, r.lines())
    assert copy != left
    assert not os.path.exists(f"/proc/{copy}")
    assert os.path.exists(f"/proc/{left}")
    assert str(ex.run('echo "$m"', **s)) == "1"
    ex.run(f"kill -9 {left}", **s)
