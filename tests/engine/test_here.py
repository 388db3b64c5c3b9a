"""What a plain command promises that the waiting thread runs by itself: it is the same as by the loop, and nothing is left of it."""

import contextlib
import os
import select
import signal
import socket
import threading
import time

import pytest

import xec_magic as xec
from xec_magic import runtime
from xec_magic.command import Command
from xec_magic.engine.executor import Executor
from xec_magic.plan import Plan
from xec_magic.transport.here import MOST_BYTES, PlainRun
from xec_magic.transport.spawner import Spawner


@pytest.fixture
def executor():
    runtime.close()
    xec.run("true")  # the helper process is there
    yield runtime.current().executor
    runtime.close()


@pytest.fixture
def by_itself(executor, monkeypatch):
    """No run may go by the loop."""
    monkeypatch.setattr(executor, "plan_run", None)
    monkeypatch.setattr(executor, "adopt", None)
    return executor


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def open_files():
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the directory itself
            found.append(os.readlink(f"/proc/self/fd/{fd}").partition(":")[0])
    return sorted(found)


def facts(result):
    usage = result.usage
    return (
        result.outcome, result.exit_code, result.stdout, result.stderr, result.ok, result.cached, result.notes,
        result.started_at is not None, result.duration_s > 0, usage.read_bytes, usage.written_bytes, usage.peak_rss_bytes,
    )  # fmt: skip


@pytest.mark.parametrize(
    "script", ["true", "echo out; echo err >&2; exit 3", "printf 'a\\0b'", "cat", "head -c 40000 /dev/zero"]
)
def test_a_short_command_ends_as_by_the_loop(executor, script, monkeypatch):
    monkeypatch.setattr("xec_magic.engine.here.PATIENCE_S", 10)
    options = {"check": False, "stdin": "text"}
    by_the_loop = xec.start(script, **options).result()
    monkeypatch.setattr(executor, "plan_run", None)
    monkeypatch.setattr(executor, "adopt", None)
    here = xec.run(script, **options)
    assert facts(here) == facts(by_the_loop)
    assert executor.find(here.run_id).result() is here
    assert executor.runs()[-1].run_id == here.run_id
    assert xec.profiler.report().records[-1].run_id == here.run_id


def test_its_processes_are_marked_with_its_own_id_whichever_way_it_ends(executor):
    for script in ("echo $XEC_RUN_ID", "sleep 0.1; echo $XEC_RUN_ID"):
        result = xec.run(script)
        assert str(result) == f"{executor.kernel_id}.{result.run_id}"
        assert executor.find(result.run_id) is not None


@pytest.mark.parametrize(
    ("script", "code", "name"),
    [
        ("echo first; echo second >&2; sleep 0.1; echo third; exit 4", 4, None),
        ("echo first; echo second >&2; sleep 0.1; echo third; kill -9 $$", None, 9),
        ("echo first; echo second >&2; echo third; kill -9 $$", None, 9),
    ],
)
def test_what_takes_more_goes_on_by_the_loop_with_all_that_came_before(executor, script, code, name):
    result = xec.run(script, check=False)
    assert (result.exit_code, result.signal) == (code, name)
    assert (result.stdout, result.stderr) == ("first\nthird\n", "second\n")
    assert result.usage is not None


def test_much_output_and_what_is_left_behind_are_the_loops_business(executor):
    assert len(xec.run("head -c 3000000 /dev/zero").stdout_bytes) == 3_000_000
    result = xec.run("sleep 30 & echo done")
    assert [each.name for each in result.left_behind] == ["sleep"]
    assert str(result) == "done"
    executor.find(result.run_id).cancel(now=True)


def test_bounds_hold(executor):
    with pytest.raises(xec.OutputLimit):
        xec.run("seq 1000", max_output=100)
    with pytest.raises(xec.TimedOut):
        xec.run("sleep 30", timeout=0.01)
    with pytest.raises(xec.TimedOut):
        xec.run("sleep 30", timeout=0.2)


def test_secrets_are_masked(by_itself):
    assert str(xec.run('echo "$TOKEN"', secret={"TOKEN": "a value to hide"})) == "[secret TOKEN]"


@pytest.mark.parametrize("moment", ["before it was asked for", "while it runs"])
def test_an_interrupt_ends_it_by_the_ladder_and_carries_its_result(executor, tmp_path, monkeypatch, moment):
    pid = tmp_path / "pid"
    wait = PlainRun.wait

    def interrupted(self, patience_s):
        until(lambda: pid.exists() and pid.read_text())
        assert select.select([self.answers.fd], [], [], 10)[0], "it is said that it has been started"
        os.kill(os.getpid(), signal.SIGINT)
        return wait(self, 10)

    def before(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(PlainRun, *(("wait", interrupted) if moment == "while it runs" else ("begin", before)))
    with pytest.raises(xec.RunInterrupted) as caught:
        xec.run(f"trap 'echo bye; exit 1' INT; echo $$ > {pid}; while :; do sleep 0.01; done")
    assert caught.value.result is xec.last
    if moment == "while it runs":
        assert caught.value.result.stdout == "bye\n"
        assert not is_running(int(pid.read_text()))
    monkeypatch.undo()
    monkeypatch.setattr(executor, "plan_run", None)
    assert str(xec.run("echo again")) == "again"


def test_what_is_left_behind_and_prints_without_end_holds_nobody_up():
    over = threading.Event()
    writers = []

    def put(descriptors):
        stdout = os.dup(descriptors[1])

        def print_without_end():
            with open(stdout, "wb", buffering=0) as file, contextlib.suppress(BrokenPipeError):
                while not over.is_set():
                    file.write(b"y\n" * 30_000)

        writers.append(threading.Thread(target=print_without_end))
        writers[0].start()
        return True

    run = PlainRun("1", lambda: os.open(os.devnull, os.O_RDONLY), put, lambda: None)
    assert run.begin()
    assert not run._has_all()
    assert sum(len(data) for _, data in run.pieces) < 3 * MOST_BYTES
    over.set()
    run.close()
    writers[0].join()


def test_a_message_to_the_helper_goes_whole_although_an_interrupt_comes_meanwhile():
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    message = bytes(range(256)) * 8192  # more than the socket takes at once
    received = bytearray()

    def read():
        until(lambda: not select.select([], [ours], [], 0)[1])
        os.kill(os.getpid(), signal.SIGINT)
        interrupted.wait(0.2)  # whoever gives up does so before anything is read
        while len(received) < len(message) and (data := theirs.recv(65536)):
            received.extend(data)

    interrupted = threading.Event()
    reader = threading.Thread(target=read)
    with ours, theirs, open(os.devnull) as stream:
        reader.start()
        with pytest.raises(KeyboardInterrupt):
            Spawner("XEC_RUN_ID=test.", "")._write(ours, message, [stream.fileno()])
        interrupted.set()
        ours.shutdown(socket.SHUT_WR)
        reader.join()
    assert received == message


@pytest.mark.parametrize("patience_s", [0.02, 10])
def test_a_helper_that_is_lost_takes_it_with_it_and_the_next_one_succeeds(executor, monkeypatch, patience_s):
    monkeypatch.setattr("xec_magic.engine.here.PATIENCE_S", patience_s)
    helper = executor.transports._local.spawner._process.pid
    result = xec.run(f"sleep 0.2; kill -9 {helper}; sleep 30", check=False)
    assert (result.outcome.value, result.ok) == ("lost", False)
    assert "helper process" in result.detail
    assert str(xec.run("echo again")) == "again"


def test_no_file_stays_open(executor):
    helpers = f"/proc/{executor.transports._local.spawner._process.pid}/fd"
    until(lambda: len(os.listdir(helpers)) == 6)
    before, held = open_files(), 6  # its three streams, the pipe that wakes it up, the kernel's socket
    for script in ("true", "exit 3", "kill -9 $$", "sleep 0.05; echo x", "head -c 200000 /dev/zero"):
        xec.run(script, check=False)
    refused = executor.run_here(Plan(Command("true", shell=("/no/such/bash",))), None).run.wait()
    assert "/no/such/bash" in refused.detail
    assert not refused.ok
    until(lambda: open_files() == before)
    until(lambda: len(os.listdir(helpers)) == held)


def test_threads_at_the_same_time_all_get_their_own(executor):
    said = {}

    def ask(name):
        for turn in range(10):
            said[name, turn] = str(xec.run(f"echo {name}-{turn}"))

    threads = [threading.Thread(target=ask, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == {(name, turn): f"{name}-{turn}" for name in "abcd" for turn in range(10)}
    numbers = [int(run.run_id) for run in executor.runs()]
    assert len(set(numbers)) == len(numbers)


def test_it_waits_for_its_place_where_all_are_taken():
    for size in (1, 2):
        with Executor(max_running=size) as executor:
            first = [executor.start(Plan(Command("sleep 30"))) for _ in range(size)]
            until(lambda: all(run.state == "running" or run.process is not None for run in first))  # noqa: B023
            assert executor.run_here(Plan(Command("true")), None) is None
            for run in first:
                run.cancel(now=True)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore::ResourceWarning")
def test_a_forked_process_runs_its_own(executor):
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        with contextlib.suppress(BaseException):
            signal.alarm(10)
            said = str(xec.run("echo from there")), runtime.current().executor is not executor
            os.write(write, repr(said).encode())
            runtime.close()
            code = 0
        os._exit(code)
    os.close(write)
    with open(read, "rb") as file:
        assert file.read() == b"('from there', True)"
    assert os.waitpid(pid, 0)[1] == 0
    assert str(xec.run("echo here")) == "here"


def test_many_are_listed_within_the_bound(executor, monkeypatch):
    monkeypatch.setattr("xec_magic.engine.executor.HISTORY_RUNS", 5)
    monkeypatch.setattr("xec_magic.engine.executor.FORGET_RUNS", 5)
    for _ in range(40):
        executor.runs()
        xec.run("true")
    until(lambda: len(executor.runs()) <= 12)
