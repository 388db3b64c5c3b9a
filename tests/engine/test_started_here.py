"""Plain commands that the thread which waits for them asks for and reads by itself; nobody can tell them from others."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import threading
from pathlib import Path

import pytest
from helpers.interrupts import interrupt_when
from helpers.waiting import until

import xec_magic as xec
from xec_magic.command import Command
from xec_magic.engine import here as here_module
from xec_magic.plan import Plan
from xec_magic.transport.local import LocalTransport
from xec_magic.transport.spawn import proctree
from xec_magic.transport.spawner import Spawner
from xec_magic.transport.started_here import StartedHere


@pytest.fixture
def ex():
    with xec.Executor(check=False) as made:
        made.run("true")  # the helper process lives
        yield made
    assert proctree.living((), f"XEC_RUN_ID={made._engine.kernel_id}.".encode()) == []


@pytest.fixture
def by_loop(monkeypatch):
    """The scripts that the loop was asked to start."""
    scripts = []
    post = LocalTransport.post

    def counted(self, request, started):
        scripts.append(request.command.script)
        return post(self, request, started)

    monkeypatch.setattr(LocalTransport, "post", counted)
    return scripts


@pytest.mark.parametrize(
    "script",
    [
        "echo out; echo err >&2; exit 3",
        "printf 'a\\377b'; kill -9 $$",
        "head -c 300000 /dev/zero | tr '\\0' x",
        "echo a; exec >&- 2>&-; sleep 0.05; exit 4",
        "echo early; sleep 0.05; echo late",
        "cat; echo $#; exit 1",
        "echo a; (sleep 0.05; echo b)& echo c",
        "echo on; nosuch; echo off",
    ],
)
def test_it_ends_as_a_command_that_the_loop_has_started(script, ex, by_loop):
    here = ex.run(script)
    assert by_loop == []
    usual = ex.start(script).wait()
    assert by_loop == [script]
    assert (here.stdout_bytes, here.stderr_bytes, here.outcome, here.exit_code, here.signal, here.notes) == (
        usual.stdout_bytes, usual.stderr_bytes, usual.outcome, usual.exit_code, usual.signal, usual.notes,
    )  # fmt: skip
    assert here.usage.system_s + here.usage.user_s > 0
    assert here.usage.written_bytes > 0


def test_a_command_is_known_by_the_id_of_its_run(ex, by_loop):
    short, long = ex.run("echo $XEC_RUN_ID"), ex.run("echo $XEC_RUN_ID; sleep 0.1")
    assert by_loop == []
    kernel = ex._engine.kernel_id
    assert (short.text(), long.text()) == (f"{kernel}.{short.run_id}", f"{kernel}.{long.run_id}")
    numbers = [int(run.run_id) for run in ex._engine.runs()]
    assert numbers == sorted(set(numbers))
    assert int(long.run_id) == int(short.run_id) + 1


def test_its_surroundings_are_those_of_the_moment(ex, by_loop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLOUR", "green")
    before = os.umask(0o027)
    try:
        r = ex.run("pwd; echo $COLOUR $SIZE; umask; ls -l /proc/self/fd | wc -l", env={"SIZE": "large"})
    finally:
        os.umask(before)
    usual = ex.start("ls -l /proc/self/fd | wc -l").wait()
    assert r.lines() == [str(tmp_path), "green large", "0027", usual.text()]


@pytest.mark.parametrize(
    "options",
    [{"shell": "nosuchshell"}, {"cwd": "/nosuchplace"}, {"env": {"BIG": "x" * 3_000_000}}],
    ids=["shell", "cwd", "env"],
)
def test_what_cannot_be_started_is_told_as_ever(options, ex):
    engine = ex._engine

    def told(run):
        try:
            result = run()
        except xec.XecError as error:
            return type(error), str(error)
        return result.outcome, result.detail

    assert told(lambda: ex.run("true", **options)) == told(lambda: ex.start("true", **options).wait())
    r = ex.run("echo on")
    assert (r.text(), r.detail) == ("on", "")
    assert not any(run.state == "running" for run in engine.runs())


def test_a_program_that_goes_before_it_is_started_is_told(ex, tmp_path, monkeypatch):
    shell = tmp_path / "bash"
    shell.symlink_to("/bin/bash")
    assert ex.run("echo a", shell=str(shell)).text() == "a"
    post_here = Spawner.post_here

    def gone(self, *args):
        shell.unlink()
        return post_here(self, *args)

    monkeypatch.setattr(Spawner, "post_here", gone)
    r = ex.run("echo a", shell=str(shell))
    assert (r.outcome.value, r.stdout) == ("not started", "")
    assert "No such file or directory" in r.detail


@pytest.mark.parametrize("script", ["echo begun; sleep 30", "echo begun; sleep 30 & sleep 30"])
def test_an_interrupt_ends_it_with_all_that_it_has_started(script, ex, by_loop):
    running = lambda: any(run.state == "running" for run in ex._engine.runs())  # noqa: E731
    with interrupt_when(running), pytest.raises(xec.RunInterrupted) as caught:
        ex.run(script)
    assert by_loop == []
    assert caught.value.result.stdout == "begun\n"
    assert ex.run("echo again").text() == "again"


@pytest.mark.parametrize("script", ["echo short", "echo begun; sleep 30"])
def test_an_interrupt_while_it_is_asked_for_leaves_nothing_behind(script, ex, monkeypatch):
    post_here = Spawner.post_here

    def interrupted(self, *args):
        monkeypatch.undo()
        signal.raise_signal(signal.SIGINT)
        return post_here(self, *args)

    monkeypatch.setattr(Spawner, "post_here", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ex.run(script)
    last = ex._engine.runs()[-1].snapshot()
    assert (last.plan.command.script, last.outcome.value in ("ok", "interrupted")) == (script, True)
    assert ex.run("echo again").text() == "again"


def test_an_alarm_while_it_is_asked_for_ends_it(ex, monkeypatch, tmp_path):
    post_here = Spawner.post_here

    def alarmed(self, *args):
        post_here(self, *args)
        raise TimeoutError("the user's own")

    monkeypatch.setattr(Spawner, "post_here", alarmed)
    with pytest.raises(TimeoutError, match="the user's own"):
        ex.run(f"echo $$ > {tmp_path}/pid; sleep 30")
    monkeypatch.undo()
    assert ex.run("echo again").text() == "again"  # the helper process has started both
    until(lambda: not proctree.living((), f"XEC_RUN_ID={ex._engine.kernel_id}.".encode()))


@pytest.mark.parametrize("script", ["echo short", "echo begun; sleep 30"])
def test_an_alarm_between_its_begin_and_who_waits_for_it_leaves_nothing_behind(script, ex, monkeypatch):
    lend = LocalTransport.lend

    def alarmed(self, *args):
        here = lend(self, *args)
        signal.raise_signal(signal.SIGALRM)
        return here

    def late(*_):
        raise TimeoutError("the user's own")

    monkeypatch.setattr(LocalTransport, "lend", alarmed)
    before = signal.signal(signal.SIGALRM, late)
    fds = set(os.listdir("/proc/self/fd"))
    try:
        with pytest.raises(TimeoutError, match="the user's own"):
            ex.run(script)
        assert signal.getsignal(signal.SIGALRM) is late
    finally:
        signal.signal(signal.SIGALRM, before)
    until(lambda: not proctree.living((), f"XEC_RUN_ID={ex._engine.kernel_id}.".encode()))
    until(lambda: set(os.listdir("/proc/self/fd")) <= fds)
    assert ex._engine.runs()[-1].snapshot().plan.command.script == script
    monkeypatch.undo()
    assert ex.run("echo again").text() == "again"


@pytest.mark.parametrize("begun", ["at once", "in a moment"])
@pytest.mark.parametrize("moment", ["_history", "_portal"])
def test_an_alarm_while_a_run_is_handed_to_the_loop_leaves_none_that_never_begins(
    moment, begun, ex, monkeypatch, tmp_path
):
    """The handler raises between any two steps, as after each of these."""
    place, name = getattr(ex._engine, moment), {"_history": "add", "_portal": "post"}[moment]
    step = getattr(place, name)

    def broken(*args):
        step(*args)
        monkeypatch.undo()
        raise TimeoutError("the user's own")

    run = ex._engine.plan_run(Plan(Command(f"sleep 30; touch {tmp_path}/made")))
    monkeypatch.setattr(place, name, broken)
    with pytest.raises(TimeoutError, match="the user's own"):
        (ex._engine.begin if begun == "at once" else ex._engine.begin_later)(run)
    assert run in ex._engine.runs()
    until(lambda: all(run.done() for run in ex._engine.runs()))
    assert ex.run("echo again").text() == "again"


def test_a_helper_process_that_takes_nothing_does_not_hold_up_an_alarm(ex):
    helper = ex._engine.transports._local.spawner.helper.process.pid
    mutex = ex._engine.transports._local.spawner.helper.mutex
    held_up = []

    def late(*_):
        held_up.append(not mutex.locked())  # else the loop still waits for the helper process
        os.kill(helper, signal.SIGCONT)
        raise TimeoutError("the user's own")

    before = signal.signal(signal.SIGALRM, late)
    os.kill(helper, signal.SIGSTOP)
    try:
        starting = threading.Thread(target=lambda: [ex.start("true", env={"BIG": "x" * 100_000}) for _ in range(20)])
        starting.start()
        starting.join()
        until(mutex.locked)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(TimeoutError, match="the user's own"):
            ex.run("sleep 30")
        assert held_up == [False]
    finally:
        os.kill(helper, signal.SIGCONT)
        signal.signal(signal.SIGALRM, before)
    until(lambda: not any(run.state in ("running", "starting") for run in ex._engine.runs()))


@pytest.mark.parametrize("end", ["exec >&- 2>&-; sleep 30", "kill -9 $$"], ids=["goes on", "ends"])
@pytest.mark.parametrize("here", [True, False], ids=["here", "loop"])
def test_a_command_whose_helper_process_goes_before_its_start_is_told_is_lost_and_ended(here, end, ex):
    script = f"echo begun; kill -9 $PPID; {end}"
    r = ex.run(script) if here else ex.start(script).wait()
    assert (r.outcome.value, r.stdout, "helper process" in r.detail) == ("lost", "begun\n", True)
    assert proctree.living((), f"XEC_RUN_ID={ex._engine.kernel_id}.".encode()) == []


def test_where_the_helper_process_has_gone_before_the_command_is_started_once(ex, tmp_path):
    for _ in range(5):
        ex.run("true")
        helper = ex._engine.transports._local.spawner.helper.process.pid
        os.kill(helper, signal.SIGKILL)
        r = ex.run(f"echo x >> {tmp_path}/count")
        assert r.outcome.value in ("ok", "not started", "lost")
    assert len((tmp_path / "count").read_text().split() if (tmp_path / "count").exists() else "") <= 5
    assert ex.run("echo again").text() == "again"


def test_threads_that_wait_at_once_stay_below_the_bound(tmp_path):
    script = f"touch {tmp_path}/$XEC_RUN_ID; ls {tmp_path} | wc -l; sleep 0.02; rm {tmp_path}/$XEC_RUN_ID"
    with xec.Executor(max_running=16) as ex, concurrent.futures.ThreadPoolExecutor(40) as threads:
        ex.run("true")
        results = list(threads.map(lambda _: int(ex.run(script).text()), range(160)))
    assert 1 < max(results) <= 16


def test_a_thread_that_reads_by_itself_has_one_of_the_places(tmp_path, monkeypatch):
    monkeypatch.setattr(here_module, "PATIENCE_S", 30.0)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with xec.Executor(max_running=16) as ex:
        ex.run("true")
        waiting = threading.Thread(target=ex.run, args=(f"touch {gate}.asked; read -r line < {gate}",))
        waiting.start()
        until((tmp_path / "gate.asked").exists)
        others = [ex.start("sleep 60") for _ in range(20)]
        until(lambda: sum(run.state == "queued" for run in others) == 5)
        gate.write_text("go\n")
        waiting.join()


def test_a_thread_whose_command_goes_on_where_no_place_is_free_keeps_its_seat(monkeypatch, tmp_path):
    monkeypatch.setattr(here_module, "PATIENCE_S", 2.0)

    def states(state):
        return sum(run.state == state for run in ex._engine.runs())

    with xec.Executor(check=False, max_running=16) as ex:
        ex.run("true")
        others = [ex.start("sleep 60") for _ in range(14)]
        until(lambda: states("running") == 14)

        def one_here_and_one_by_the_loop(begun):
            threading.Thread(target=ex.run, args=(f"touch {begun}; sleep 60",)).start()
            until(begun.exists)  # else it may find the loop sending the other one, and go by the loop as well
            ex.start("sleep 60").begin()

        one_here_and_one_by_the_loop(tmp_path / "first")
        until(lambda: states("running") == 16)
        others.pop().cancel()
        until(lambda: states("running") == 15)
        one_here_and_one_by_the_loop(tmp_path / "second")
        until(lambda: (states("running"), states("queued")) == (16, 1))
        assert ex._engine.seat.locked()


def test_one_place_is_one_place(tmp_path):
    script = f"mkdir {tmp_path}/held && sleep 0.005 && rmdir {tmp_path}/held"
    with xec.Executor(max_running=1) as ex, concurrent.futures.ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda _: ex.run(script).ok, range(40)))


def test_a_command_that_goes_on_leaves_the_seat_to_others(ex, by_loop, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    waiting = threading.Thread(target=ex.run, args=(f"read -r line < {gate}",))
    waiting.start()
    until(lambda: any(run.state == "running" for run in ex._engine.runs()) and not ex._engine.seat.locked())
    assert ex.run("echo beside").text() == "beside"
    assert by_loop == []
    gate.write_text("go\n")
    waiting.join()


def test_what_came_first_stands_first_although_both_streams_had_something(ex, by_loop, monkeypatch):
    read = StartedHere.read

    def late(self, patience_s):
        until(lambda: (tmp / "done").exists())  # by then both wait in their pipes
        return read(self, patience_s + 30)

    tmp = Path(ex.run("mktemp -d").text())
    monkeypatch.setattr(StartedHere, "read", late)
    r = ex.run(f"echo first >&2; echo second; touch {tmp}/done")
    assert [piece.stream for piece in r.log.pieces()] == ["stderr", "stdout"]
    assert by_loop == []


def test_secrets_are_masked_in_it(ex, by_loop):
    r = ex.run("echo a$TOKEN; printf se >&2; sleep 0.003; printf same-open >&2", secret={"TOKEN": "sesame-open"})
    assert (r.stdout, r.stderr, by_loop) == ("a[secret TOKEN]\n", "[secret TOKEN]", [])


def test_its_streams_and_its_end_are_let_go_of(ex):
    def count():
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    for _ in range(50):
        ex.run("echo a; echo b >&2")
        ex.run("echo a; sleep 0.03")
    until(lambda: count() <= before)
