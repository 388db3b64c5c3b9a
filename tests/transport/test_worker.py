"""Workers and sessions: what every transport promises, and that a script does in them what it does by itself."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import time
import uuid
from pathlib import Path

import pytest
import snippets
from contract import ShellContract

from xec_magic.command import Command
from xec_magic.transport import names
from xec_magic.transport.base import StartRequest
from xec_magic.transport.local import LocalTransport
from xec_magic.transport.terminate import stop
from xec_magic.transport.worker import WorkerTransport

pytestmark = pytest.mark.anyio

KERNEL_ID = uuid.uuid4().hex[:12]  # tests may run beside one another


@pytest.fixture
async def local(tmp_path):
    scripts = tmp_path / "scripts"
    scripts.mkdir(mode=0o700)
    transport = LocalTransport(KERNEL_ID, lambda: str(scripts))
    yield transport
    await transport.close(within_s=4)
    assert transport.strays() == []


@pytest.fixture
async def workers(local, tmp_path):
    transport = WorkerTransport(local, KERNEL_ID, lambda: str(tmp_path / "scripts"))
    yield transport
    await transport.close(within_s=1)
    assert list((tmp_path / "scripts").glob("*shell-*")) == []


async def until(condition, within_s=10.0):
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


async def ready(workers, number=1):
    """Wait for spares."""
    await until(lambda: len(workers.spares.idle) >= number)


class Shared(ShellContract):
    @pytest.fixture
    async def transport(self, workers):
        return workers


class TestIsolated(Shared):
    UNSTARTABLE = Command("true", shell=("/no/such/bash",), worker=True)

    async def start(self, transport, script):
        if isinstance(script, Command):
            return await super().start(transport, script)
        # A spare has the environment of the commands before it, and pytest changes that with every phase of a test.
        await (await super().start(transport, "true")).ended()
        await ready(transport)
        served = transport.spares.served
        started = await super().start(transport, script)
        assert transport.spares.served == served + 1  # and not a plain start
        return started

    def command(self, script):
        return Command(script, strict=False, worker=True)

    async def test_usage_is_measured_exactly(self, transport):
        started = await self.start(transport, "python3 -c 'x = b\"y\" * (60 << 20); y = sum(range(10**6))'; true")
        await started.ended()
        assert 60 * 2**20 < started.process.exit.usage.peak_rss_bytes < 120 * 2**20
        assert started.process.exit.usage.cpu_s > 0.01


class TestSession(Shared):
    UNSTARTABLE = Command("true", shell=("/no/such/bash",), session="s")
    shell = ("bash",)

    def command(self, script):
        return Command(script, strict=False, session="s", shell=self.shell)

    async def test_a_child_that_is_left_does_not_hold_the_session_up(self, transport):
        started = await self.start(transport, "sleep 60 & echo left")
        await started.until(lambda: started.process.exit is not None)
        assert started.process.streams_open
        await until(lambda: [left.name for left in started.process.alive()] == ["sleep"])  # zsh forks first
        await asyncio.sleep(0.03)  # two clock ticks: by them the system tells which process is older
        second = await self.start(transport, "echo second")
        await second.ended()
        assert second.of("stdout") == b"second\n"
        assert second.process.alive() == []
        assert await stop(started.process, 0.2, asyncio.Event(), lambda _: None) == []
        started.process.close()

    async def test_a_stop_does_not_reach_what_earlier_commands_have_left(self, transport):
        first = await self.start(transport, "sleep 60 >/dev/null 2>&1 & echo $!")
        await first.ended()
        await asyncio.sleep(0.03)  # two clock ticks: by them the system tells which process is older
        second = await self.start(transport, "echo go; sleep 50")
        await second.until(lambda: second.of("stdout") == b"go\n")
        assert await stop(second.process, 1, asyncio.Event(), lambda _: None) == []
        second.process.close()
        os.kill(int(first.of("stdout")), signal.SIGKILL)  # it is still there


class TestZshSession(TestSession):
    shell = ("zsh",)
    UNSTARTABLE = Command("true", shell=("/no/such/zsh",), session="s")


class TestDashSession(TestSession):
    shell = ("dash",)
    UNSTARTABLE = Command("true", shell=("/no/such/dash",), session="s")


class TestSessionByFifos(TestSession):
    """As on a system where no descriptor has a name."""

    @pytest.fixture(autouse=True)
    def _fifos(self, monkeypatch):
        monkeypatch.setattr(names, "PORTABLE", True)


# -- the same by both ways --------------------------------------------------------------------------

NUMBER = re.compile(rb"\b\d{3,7}\b")  # of a process, in a message


async def ran(transport, command, directory):
    """What a command has done: streams, code, signal, and the files that it has left, which are removed."""
    out = {"stdout": b"", "stderr": b""}
    changed = asyncio.Event()

    def sink(stream, data):
        out[stream] += data

    process = await transport.start(StartRequest(command, "1", sink, changed.set))
    await until(lambda: process.exit is not None)
    over = time.monotonic() + 1
    while process.streams_open and time.monotonic() < over:
        await asyncio.sleep(0.002)
    process.close()
    files = {}
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        if os.path.isdir(path):
            files[name] = None
            shutil.rmtree(path)
        else:
            content = Path(path).read_bytes() if os.path.isfile(path) else None  # a FIFO has none
            files[name] = (os.stat(path).st_mode, content)
            os.unlink(path)
    return [short(out["stdout"]), short(out["stderr"]), process.exit.exit_code, process.exit.signal, files]


def short(data):
    return NUMBER.sub(b"N", data) if len(data) < 5000 else data


def groups():
    return sorted({name.partition(":")[0] for name in snippets.ALL})


def of_group(group):
    return {name: script for name, script in snippets.ALL.items() if name.startswith(group + ":")}


@pytest.fixture
def place(tmp_path):
    directory = tmp_path / "place"
    directory.mkdir()
    return str(directory)


def test_there_are_enough_snippets():
    assert len(snippets.ALL) >= 250


def shows_a_spare(script):
    """It reads what a spare has other than a new shell, or begins as an option of it, so it gets a new one."""
    return script.startswith(("-", "+")) or any(name in script for name in ("BASH_ARG", "BASH_COMMAND", "PIPESTATUS"))


@pytest.mark.parametrize("group", groups())
async def test_a_script_does_the_same_in_a_worker(group, local, workers, place):
    different = {}
    await ran(workers, Command("true", cwd=place, worker=True), place)
    for name, script in of_group(group).items():
        plain = await ran(local, Command(script, cwd=place, strict=False), place)
        for _ in range(3):  # a spare may be lost on a busy machine
            await ready(workers)
            served = workers.spares.served
            warm = await ran(workers, Command(script, cwd=place, strict=False, worker=True), place)
            if workers.spares.served > served or shows_a_spare(script):
                break
        assert workers.spares.served == served + (not shows_a_spare(script)), name
        if plain != warm:
            different[name] = (plain, warm)
    assert different == {}


# What a session cannot do as a shell of its own does it, by shell. Everything else is the same.
IN_ANY_SESSION = {
    "variables: the last argument at the start",  # of the command before
    "variables: status of pipes at the start",  # of the command before
    "variables: level of shells",  # the last command is not run in the shell's own process
    "processes: a killed child, last",
    "processes: a child in Python, last",
    "variables: no variables of ours",
    "streams: open descriptors",
    "options: noexec",  # the shell does nothing any more, so it is ended
    *(name for name in snippets.ALL if name.startswith("begins:")),  # a script, and no options of the shell
}
IN_BASH = IN_ANY_SESSION | {
    "plain: code that is none",  # the complaint names a function
    "plain: too many codes",
    "options: monitor",  # says of a job that it is done, if it is seen in time
    "options: options",  # inherit_errexit stays on for the strict scripts of the session
    "options: xtrace with a prefix",  # the prefix is repeated
    "options: ulimit beyond",  # the shell's own descriptors are beyond it
    "flow: functions for everything",  # those that the shell needs itself: it is ended
    "traps: exit in a trap without a code",
    "variables: arguments of functions",  # of the session's own as well
    "traps: the command in a trap at exit",  # it is that of the trap
    "traps: the line in a trap",
}
IN_DASH = IN_ANY_SESSION | {
    "flow: break outside",  # ends the script
    "flow: break 9 outside",
    "flow: continue outside",
    "streams: closes everything",
    "processes: terminates itself",  # an exit code, and the session lives on
    "processes: interrupts itself",
    "processes: kill 0",
    "processes: kill 0 with INT",
    "traps: a trap and a signal",
    "traps: a trap shown",  # so are those of the shell's own
    "traps: no trap shown",
    "traps: a subshell's traps shown",
    "traps: exit in a trap without a code",
}
IN_ZSH = IN_ANY_SESSION | {
    "variables: the name",  # of the file that is read
    "variables: a child's parent",
    "flow: select at the end of input",
    "flow: functions for everything",
    "streams: a coprocess",  # bash's
    "processes: interrupts itself",
    "processes: kill 0 with INT",
    "traps: a trap shown",  # so is one of the shell's own
    "traps: no trap shown",
    "traps: a subshell's traps shown",
    "traps: a trap and an error",  # the trap runs, and zsh itself forgets it
}
EXCEPTIONS = {"bash": IN_BASH, "dash": IN_DASH, "zsh": IN_ZSH}


def told_alike(outcome):
    """Messages without the word for where a script comes from, `set -x` without the depth."""
    words = outcome[1].replace(b"eval: ", b"").replace(b"-c: ", b"").replace(b"(eval):", b"zsh:")
    return [outcome[0], re.sub(rb"\+{2,}", b"+", words), *outcome[2:]]


@pytest.mark.parametrize("group", groups())
@pytest.mark.parametrize("shell", ["bash", "dash", "zsh"])
async def test_a_script_does_the_same_in_a_session(shell, group, local, workers, place):
    different = {}
    for name, script in of_group(group).items():
        if name in EXCEPTIONS[shell]:
            continue
        for _ in range(5):
            plain = await ran(local, Command(script, cwd=place, strict=False, shell=(shell,)), place)
            command = Command(script, cwd=place, strict=False, shell=(shell,), session="s", reset=True)
            kept = await ran(workers, command, place)
            if signal.SIGSEGV not in (plain[3], kept[3]):
                break  # zsh 5.9 itself now and then dies when the last member of a pipe has failed
        if told_alike(plain) != told_alike(kept):
            different[name] = (plain, kept)
    assert different == {}
