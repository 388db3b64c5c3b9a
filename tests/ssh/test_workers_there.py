"""Workers on hosts: what every transport promises, and that a script does in them what it does by itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import signal
import tempfile
import time
from pathlib import Path

import pytest
import snippets
from contract import ShellContract
from helpers.waiting import until
from test_ssh_transport import KERNEL_ID, target_of
from world import children, environ_has

import xec_magic as xec
from xec_magic.command import Command
from xec_magic.transport.base import StartRequest
from xec_magic.transport.pool import PoolLimits
from xec_magic.transport.ssh import SSHTransport
from xec_magic.transport.ssh import shellpool as shellpool_module
from xec_magic.transport.ssh import waiting as waiting_module


def shells_of(transport):
    (shells,) = transport.workers._shells.values()
    return shells


async def ready(transport, number=1):
    async with asyncio.timeout(15):
        while len(shells_of(transport).idle) < number:
            await asyncio.sleep(0.005)


async def a_while_for_a_shell(transport):
    """So that not all get plain starts where shells become ready slowly; without one it is a plain start."""
    try:
        async with asyncio.timeout(2):
            await ready(transport)
    except (TimeoutError, ValueError):  # none is ready; nobody has asked for one yet
        pass


class Contract(ShellContract):
    shell = ("bash",)
    login = False

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    async def transport(self, server):
        self.target = target_of(server)
        self.UNSTARTABLE = Command("true", self.target, shell=("/no/such/bash",), worker=True)
        made = SSHTransport(KERNEL_ID)
        yield made
        await made.close(within_s=4)

    def command(self, script):
        return Command(script, self.target, strict=False, worker=True, shell=self.shell, login=self.login)

    async def start(self, transport, script):
        if isinstance(script, Command):
            return await super().start(transport, script)
        await (await super().start(transport, "true")).ended()
        await ready(transport)
        served = shells_of(transport).served
        started = await super().start(transport, script)
        assert shells_of(transport).served == served + 1  # and not a plain start
        return started


class TestBash(Contract):
    pass


class TestBashWithItsProfile(Contract):
    login = True


class TestDash(Contract):
    shell = ("dash",)


class TestZsh(Contract):
    shell = ("zsh",)


# -- the same by both ways --------------------------------------------------------------------------------

NUMBER = re.compile(rb"\b\d{3,7}\b")  # of a process, in a message
AT_ONCE = 3


async def ran(transport, command):
    """What a command has done: streams, code, signal, and the files that it has left."""
    out, changed = {"stdout": b"", "stderr": b""}, asyncio.Event()

    def sink(stream, data):
        out[stream] += data

    place = Path(command.cwd)
    process = await transport.start(StartRequest(command, secrets.token_hex(4), sink, changed.set))
    async with asyncio.timeout(20):
        while process.exit is None:
            await asyncio.sleep(0.002)
    over = time.monotonic() + 1
    while process.streams_open and time.monotonic() < over:
        await asyncio.sleep(0.002)
    process.close()
    files = {
        path.name: (path.stat().st_mode, path.read_bytes() if path.is_file() else None) for path in place.iterdir()
    }
    found = [short(out["stdout"]), short(out["stderr"]), process.exit.exit_code, process.exit.signal, files]
    return [part.replace(os.fsencode(place.name), b"PLACE") if isinstance(part, bytes) else part for part in found]


def short(data):
    return NUMBER.sub(b"N", data) if len(data) < 5000 else data


async def both_ways(transport, target, scripts, shell, login=False):
    """What the scripts do differently in a worker."""
    different, gate = {}, asyncio.Semaphore(AT_ONCE)

    async def one(name, script):
        async with gate:
            done = []
            for worker in (False, True):
                place = tempfile.mkdtemp(prefix="xec-place-")
                os.chmod(place, 0o777)
                try:
                    command = Command(
                        script, target, cwd=place, strict=False, worker=worker, shell=(shell,), login=login
                    )
                    if worker:
                        await a_while_for_a_shell(transport)
                    try:
                        done.append(await ran(transport, command))
                    except TimeoutError:
                        done.append(["HUNG", worker])
                finally:
                    shutil.rmtree(place)
            if done[0] != done[1]:
                different[name] = done

    await asyncio.gather(*(one(name, script) for name, script in scripts.items()))
    return different


@pytest.mark.anyio
async def test_a_worker_there_gets_bytes_that_are_no_text_as_they_are(server):
    made = SSHTransport(KERNEL_ID)
    script = "printf %s 'a\udcc3\n\udce9' | od -An -tx1"
    command = Command(script, target_of(server), cwd="/tmp", worker=True, shell=("bash",), rc="export LC_ALL=C.UTF-8")
    try:
        for _ in range(2):
            assert (await ran_alone(made, command)).split() == [b"61", b"c3", b"0a", b"e9"]
            await ready(made)
        assert shells_of(made).served
    finally:
        await made.close(within_s=4)


async def ran_alone(transport, command):
    """What a command has printed."""
    out, changed = [], asyncio.Event()
    request = StartRequest(command, secrets.token_hex(4), lambda _, data: out.append(data), changed.set)
    process = await transport.start(request)
    async with asyncio.timeout(20):
        while process.exit is None or process.streams_open:
            await asyncio.sleep(0.002)
    process.close()
    return b"".join(out)


# What is no matter of who runs it: in any order, cut off behind the directory's name, without an end.
# Or: a job that is over is spoken of if that is seen in time.
UNLIKE_ITSELF = {
    "variables: exported names", "variables: no variables of ours", "streams: a coprocess", "options: monitor",
}  # fmt: skip
# Where the profile was read ahead, a script is evaluated, as in a session.
UNLIKE_WITH_PROFILE = {
    "variables: the last argument at the start", "variables: level of shells", "processes: a killed child, last",
    "processes: a child in Python, last",
}  # fmt: skip


def told_alike(outcome):
    """Messages without the word for where a script comes from, `set -x` without the depth."""
    return [
        outcome[0],
        re.sub(rb"\+{2,}", b"+", outcome[1].replace(b"eval: ", b"").replace(b"-c: ", b"")),
        *outcome[2:],
    ]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("shell", "login", "every"), [("bash", False, 1), ("bash", True, 3), ("dash", False, 3), ("zsh", False, 3)]
)
async def test_a_script_does_the_same_in_a_worker_there(shell, login, every, server):
    names = sorted(snippets.ALL.keys() - UNLIKE_ITSELF - (UNLIKE_WITH_PROFILE if login else set()))[::every]
    transport = SSHTransport(KERNEL_ID)
    try:
        scripts = {name: snippets.ALL[name] for name in names}
        same = told_alike if login else list
        for _ in range(3):  # what processes do at the same time comes in any order; what is really different stays so
            different = await both_ways(transport, target_of(server), scripts, shell, login)
            different = {name: found for name, found in different.items() if same(found[0]) != same(found[1])}
            scripts = {name: snippets.ALL[name] for name in different}
        assert different == {}
        assert shells_of(transport).served > len(names) / 2
    finally:
        await transport.close(4)


# -- through the public functions -------------------------------------------------------------------------


@pytest.fixture
def ex():
    with xec.Executor(check=False, worker=True) as made:
        yield made
    assert until(lambda: not environ_has(f"XEC_RUN_ID={made._engine.kernel_id}."))


@pytest.fixture
def own(world):
    """A server that may be killed."""
    server = world.sshd()
    yield server
    server.stop()


def pool(ex):
    (shells,) = ex._engine.transports.ssh.workers._shells.values()
    return shells


def warm(ex, number=1, **options):
    """Wait for shells for commands like this one."""
    ex.run("true", **options)
    assert until(lambda: len(pool(ex).idle) >= number and not pool(ex)._starting)


def waiting_pids(server):
    """The shells that wait on a server."""
    found = []
    for pid in children(server.process.pid):
        with contextlib.suppress(OSError):
            found += [pid] if b"x_t=" in Path(f"/proc/{pid}/cmdline").read_bytes() else []
    return found


def test_it_takes_what_every_command_there_takes(ex, server):
    on = server.spec
    warm(ex, on=on)
    for options, script, text in [
        ({"cwd": "/usr"}, "pwd", "/usr"),
        ({"env": {"A": "it's", "b.c": "2"}}, "echo $A; env | grep -c '^b.c='", "it's\n1"),
        ({"stdin": b"data"}, "cat", "data"),
        ({"stdin": Path("/etc/passwd")}, "head -c 4", "root"),
        ({"secret": {"TOKEN": "two\nlines"}}, 'echo "${#TOKEN}"', "9"),
        ({"shell": "dash"}, "echo $0", "dash"),
        ({}, "x=$'a\\\\b\\tc'; echo \"$x\"\n\necho 'd\n\ne'", "a\\b\tc\nd\n\ne"),
    ]:
        assert until(lambda: pool(ex).idle)
        served = pool(ex).served
        assert ex.run(script, on=on, **options).text() == text
        assert pool(ex).served == served + 1
    r = ex.run("true", on=on, cwd="/no/such")
    assert (r.outcome.value, r.detail) == (
        "not started",
        f"{on}: there is no directory /no/such, or it may not be entered",
    )


def test_what_it_has_used_is_told_where_that_is_asked_for(ex, server):
    for options in ({}, {"login": True}):
        warm(ex, on=server.spec, **options)
        r = ex.run("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo on", on=server.spec, monitor=True, **options)
        assert r.text() == "on"
        assert r.usage.cpu_s > 0.005


def test_nothing_leaks_there_from_one_command_to_the_next(ex, server):
    warm(ex, on=server.spec)
    ex.run("x=1; cd /; export E=1; umask 077; trap 'echo no' EXIT", on=server.spec)
    r = ex.run("echo ${x-none} ${E-none} $PWD $(umask); trap", on=server.spec, strict=False)
    assert (
        r.stdout
        == ex.run("echo ${x-none} ${E-none} $PWD $(umask); trap", on=server.spec, strict=False, worker=False).stdout
    )


def test_pipes_and_long_scripts_there_start_as_any_other(ex, server):
    warm(ex, on=server.spec)
    assert (ex.start("echo a", on=server.spec) | ex.start("tr a b", on=server.spec)).result().text() == "b"
    served = pool(ex).served
    assert ex.run("x=" + "a" * 200_000 + "; echo ${#x}", on=server.spec).text() == "200000"
    assert pool(ex).served == served


def test_one_that_has_ended_there_is_not_missed(ex, own):
    warm(ex, on=own.spec)
    stopped = waiting_pids(own)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)  # so that it is given its command, and dies of it
    run = ex.start("echo hi >&2; echo on", on=own.spec)
    run.begin()
    assert until(lambda: pool(ex).served)
    for pid in stopped:
        os.kill(pid, signal.SIGKILL)
    assert run.wait(20).text() == "on"


def test_one_that_is_lost_in_the_moment_of_its_command_is_said_and_nothing_is_run_again(ex, own, tmp_path):
    warm(ex, on=own.spec)
    stopped = waiting_pids(own)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    run = ex.start("echo ran", on=own.spec, grace=0.1)
    run.begin()
    assert until(lambda: pool(ex).served)
    for pid in [pid for pid in children(own.process.pid) if Path(f"/proc/{pid}/comm").read_text().startswith("sshd")]:
        os.kill(pid, signal.SIGKILL)
    r = run.wait(20)
    for pid in stopped:  # a stopped process does not hear that its connection has gone
        os.kill(pid, signal.SIGKILL)
    assert (r.outcome.value, r.stdout) == ("lost", "")
    assert f"the connection to {own.spec} was lost in the moment in which the command was to begin" in r.detail
    assert ex.run("echo on", on=own.spec).text() == "on"


def test_they_make_room_for_commands_that_wait_for_a_channel(ex, server):
    ex._engine.transports._ssh_limits = PoolLimits(connections=1, channels=2, ahead=0)
    warm(ex, 2, on=server.spec)
    runs = [ex.start(f"echo {number}", on=server.spec, worker=False) for number in range(4)]
    for run in runs:
        run.begin()
    assert [run.wait(20).text() for run in runs] == ["0", "1", "2", "3"]
    assert pool(ex).idle == []


def test_a_profile_is_read_before_the_command_comes(ex, world, server):
    profile = world.dir / world.user / ".bash_profile"
    profile.write_text("echo x >>~/count; conda() { echo activated $1; }; echo welcome\n")
    try:
        on = server.spec
        warm(ex, 2, on=on, login=True)
        before = ex.run("cat ~/count", on=on, worker=False).lines()
        assert ex.run("conda it; cat ~/count", on=on, login=True, strict=False).lines()[0] == "activated it"
        assert len(before) == 3  # of the first command, and of the two that wait
    finally:
        profile.unlink()


def test_a_start_up_text_is_read_by_each_shell_there_before_its_command(ex, server, tmp_path):
    rc = tmp_path / "start.sh"
    rc.write_text("greet() { echo hello $1; }\ncat; cd /usr\n")  # what reads its input finds none
    with ex.workers(size=2, rc=rc, on=server.spec) as w:
        assert until(lambda: len(pool(ex).idle) == 2)
        assert [w.run(f"greet {name}; pwd").lines() for name in ("ann", "bob", "cid")] == [
            [f"hello {n}", "/usr"] for n in ("ann", "bob", "cid")
        ]
        assert w.run("greet x; false; echo no").exit_code == 1
    with ex.workers(size=1, rc="echo oops >&2; exit 3", on=server.spec) as w:
        r = w.run("true")
        assert (r.outcome.value, "oops" in r.detail, "start-up text" in r.detail) == ("not started", True, True)
    with pytest.raises(xec.ConnectError), ex.workers(on="nobody@127.0.0.1:9"):
        pass


def test_they_are_listed_and_end_when_asked_and_with_their_executor(ex, own):
    warm(ex, 2, on=own.spec)
    transports = ex._engine.transports
    assert [entry.what for entry in ex._engine.ask(transports.pool()) if entry.kind == "worker"] == [
        f"sh on {own.spec}"
    ] * 2
    (row,) = ex._engine.ssh_rows()
    assert row.busy == 2
    assert ex._engine.ssh_call(lambda ssh: ssh.close_unused()) == (1, 0)
    assert until(lambda: not waiting_pids(own))
    warm(ex, 2, on=own.spec)
    ex._engine.ssh_call(lambda ssh: ssh.drain())
    assert ex._engine.ssh_rows() == []
    warm(ex, 2, on=own.spec)
    ex._engine.ask(transports.end_idle())
    assert until(lambda: not waiting_pids(own))
    warm(ex, 2, on=own.spec)
    ex.close()
    assert until(lambda: not waiting_pids(own))


def test_where_none_can_wait_there_no_more_are_started(ex, own, monkeypatch):
    made = []
    monkeypatch.setattr(waiting_module, "_PLAIN", "exit 3")
    monkeypatch.setattr(
        shellpool_module, "waiting_line", lambda kind: made.append(kind) or waiting_module.waiting_line(kind)
    )
    for number in range(6):
        assert ex.run(f"echo {number}", on=own.spec).text() == str(number)
        assert until(lambda: not pool(ex)._starting)
    assert (pool(ex).idle, pool(ex).served) == ([], 0)
    assert 3 <= len(made) <= 4  # two at once
