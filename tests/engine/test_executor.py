from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import weakref

import pytest
from helpers.waiting import until

from xec_magic import errors
from xec_magic.command import Command, FileInput
from xec_magic.engine.executor import Executor
from xec_magic.errors import OptionError, RunInterrupted, XecError
from xec_magic.events import Exited, Output, Queued, Retrying, Started, Stopping
from xec_magic.fold import fold
from xec_magic.outcome import Outcome
from xec_magic.plan import Limits, Plan, RetryPolicy, StopPolicy
from xec_magic.transport import spawned
from xec_magic.transport.fake import Exit, FakeHost, Ignore, Say, Wait
from xec_magic.transport.spawn import proctree


@pytest.fixture
def executor():
    with Executor() as made:
        yield made
    assert proctree.living((), f"XEC_RUN_ID={made.kernel_id}.".encode()) == []


def wait(executor, script, **policies):
    return executor.start(
        Plan(script if isinstance(script, Command) else Command(script), **policies), check=False
    ).wait(30)


def test_a_command_gives_its_output_and_its_end(executor):
    r = wait(executor, "echo out; echo err >&2; exit 3")
    assert (r.stdout, r.stderr, r.exit_code, r.outcome) == ("out\n", "err\n", 3, Outcome.FAILED)
    assert r.usage.cpu_s >= 0
    assert r.started_at is not None


def test_the_result_is_the_fold_of_the_events_that_views_see(executor):
    host = FakeHost("f")
    host.on("cmd", Wait(0.05), Say("a\n"), Say("b\n", "stderr"), Exit(4))
    plan = Plan(Command("cmd", target=host.target))
    run = executor.plan_run(plan, check=False)
    seen = []
    run.subscribe(seen.append)
    result = run.wait()
    again = fold(seen, plan)
    assert (again.outcome, again.output, again.exit_code, again.duration_s) == (
        result.outcome, result.output, result.exit_code, result.duration_s,
    )  # fmt: skip
    assert [type(event) for event in seen] == [Started, Output, Output, Exited]


# The last one goes the longer way: a child holds its streams for a moment after its end.
@pytest.mark.parametrize("script", ["true", "echo out; echo err >&2; exit 3", "sleep 0.1 &"])
def test_a_run_that_is_over_goes_without_the_garbage_collector(executor, script):
    run = executor.start(Plan(Command(script)), check=False)
    run.wait()
    gone = weakref.ref(run)
    gc.disable()
    try:
        executor._history._runs.clear()
        del run
        until(lambda: gone() is None)
    finally:
        gc.enable()


def test_at_its_time_limit_it_is_stopped_and_what_it_printed_is_kept(executor):
    r = wait(executor, "echo before; sleep 60", stop=StopPolicy(timeout_s=0.3, grace_s=0.5))
    assert (r.outcome, r.stdout) == (Outcome.TIMED_OUT, "before\n")
    with pytest.raises(errors.TimedOut):
        r.check()


def test_clean_up_output_still_arrives_while_it_is_stopped(executor):
    run = executor.start(
        Plan(
            Command(
                "trap 'echo cleaning; sleep 0.2; echo cleaned; exit 1' INT; echo ready; while :; do sleep 0.05; done"
            )
        ),
        check=False,
    )
    until(lambda: run.log.size())
    run.cancel()
    r = run.wait(10)
    assert r.stdout == "ready\ncleaning\ncleaned\n"
    assert r.outcome is Outcome.CANCELLED


def test_the_first_cause_counts(executor):
    run = executor.start(
        Plan(Command("trap '' INT; while :; do sleep 0.05; done"), stop=StopPolicy(timeout_s=0.4, grace_s=0.6)),
        check=False,
    )
    until(lambda: run.state == "running")
    run.cancel()
    assert run.wait(10).outcome is Outcome.CANCELLED


def test_a_second_request_kills_at_once(executor):
    run = executor.start(
        Plan(Command("trap '' INT TERM; echo ready; while :; do sleep 0.05; done"), stop=StopPolicy(grace_s=60)),
        check=False,
    )
    rungs = []
    run.subscribe(lambda event: rungs.append(event.signal) if isinstance(event, Stopping) else None)
    until(lambda: run.log.size())
    run.cancel()
    until(lambda: run.state == "stopping")
    run.cancel(now=True)
    assert run.wait(10).signal == signal.SIGKILL
    assert rungs == ["INT", "KILL"]


def test_a_child_that_holds_the_streams_ends_the_run_half_a_second_later_by_name(executor):
    started = time.monotonic()
    r = wait(executor, "sleep 30 & echo parent")
    assert r.ok
    assert r.stdout == "parent\n"
    assert [process.name for process in r.left_behind] == ["sleep"]
    assert 0.4 < time.monotonic() - started < 20


def test_what_is_left_behind_still_reaches_the_log_and_can_be_stopped(executor):
    run = executor.start(Plan(Command("(sleep 0.9; echo late; sleep 60) & echo early")), check=False)
    assert run.wait(10).stdout == "early\n"
    until(lambda: run.log.stream() == b"early\nlate\n")
    run.cancel()
    until(lambda: run.process.alive() == [])


def test_with_wait_it_ends_when_its_children_do(executor):
    r = wait(executor, "(sleep 0.8; echo late) & echo early", stop=StopPolicy(wait=True))
    assert r.stdout == "early\nlate\n"
    assert r.left_behind == ()


def test_output_beyond_the_bound_stops_the_command_and_keeps_what_came(executor):
    r = wait(executor, "yes", limits=Limits(max_output_bytes=1000), stop=StopPolicy(grace_s=0.5))
    assert r.outcome is Outcome.OUTPUT_LIMIT
    assert r.truncated
    assert len(r.stdout_bytes) == 1000
    with pytest.raises(errors.OutputLimit, match="--max-output"):
        r.check()


def test_large_output_goes_to_a_private_file_and_the_file_goes_with_the_executor():
    with Executor() as executor:
        r = wait(executor, "head -c 20000000 /dev/zero")
        path = r.log_path
        assert os.stat(path).st_size == 20_000_000
        assert os.stat(path).st_mode & 0o777 == 0o600
        assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700
    assert not os.path.exists(os.path.dirname(path))


def test_a_string_of_more_than_64_mib_is_refused_with_the_way_out(executor):
    r = wait(executor, "head -c 70000000 /dev/zero")
    with pytest.raises(errors.OutputTooLarge, match=r"chunks\(\).*log_path"):
        _ = r.stdout
    assert sum(map(len, r.chunks())) == 70_000_000


def test_a_full_spool_disk_does_not_end_the_command_and_is_said(executor, monkeypatch):
    monkeypatch.setattr(executor.spool, "_open", lambda _: open("/dev/full", "r+b", buffering=0))
    r = wait(executor, "head -c 9000000 /dev/zero; sleep 0.1; echo end >&2; exit 5")
    assert r.exit_code == 5
    assert r.truncated
    assert "No space left" in r.notes[0]


def test_a_reader_that_is_slow_makes_the_command_wait_and_loses_nothing(executor):
    run = executor.start(Plan(Command("seq 1 10000000")), keep=False)
    chunks = iter(run.chunks())
    total = next(chunks).count(b"\n")
    channel = run._readers._channels[0][0]
    until(lambda: channel._full or run.done())
    with pytest.raises(TimeoutError):
        run.wait(0.5)
    assert channel._size < 10 * 2**20
    assert total + sum(chunk.count(b"\n") for chunk in chunks) == 10_000_000


def test_lines_come_as_they_are_printed(executor):
    run = executor.start(Plan(Command("echo one; sleep 0.3; printf two")))
    lines = iter(run.lines())
    assert next(lines) == "one"
    assert not run.done()
    assert list(lines) == ["two"]


def test_a_line_and_a_character_may_be_cut_anywhere(executor):
    run = executor.start(Plan(Command(r"printf 'gr\303'; sleep 0.2; printf '\266\303\237e\nnext'")))
    assert list(run.lines()) == ["größe", "next"]


def test_leaving_the_loop_early_stops_the_command(executor):
    run = executor.start(Plan(Command("yes")))
    for line in run.lines():
        assert line == "y"
        break
    until(run.done)
    assert run.wait().outcome is Outcome.CANCELLED


def test_a_loop_over_a_failing_command_raises_at_its_end(executor):
    seen = []
    with pytest.raises(errors.NonZeroExit):
        for line in executor.start(Plan(Command("echo a; exit 4"))).lines():
            seen.append(line)  # noqa: PERF402 - it must be a loop
    assert seen == ["a"]


async def read_all(run):
    return [line async for line in run.lines()]


def test_a_coroutine_of_any_loop_can_wait_and_read(executor):
    async def main():
        result = await executor.start(Plan(Command("echo awaited")))
        return str(result), await read_all(executor.start(Plan(Command("seq 3"))))

    assert asyncio.run(main()) == ("awaited", ["1", "2", "3"])


def test_cancelling_a_waiting_task_stops_the_command_before_it_returns(executor):
    run = executor.start(Plan(Command("sleep 60")), check=False)

    async def main():
        task = asyncio.ensure_future(_await(run))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return run.done()

    assert asyncio.run(main())
    assert run.process.alive() == []


async def _await(run):
    return await run


def test_two_planned_commands_are_joined_by_a_pipe_of_their_own(executor):
    source = executor.plan_run(Plan(Command("yes")), check=True)
    sink = executor.plan_run(Plan(Command("head -n 2")), check=True)
    assert (source | sink).result().stdout == "y\ny\n"
    assert source.log.size() == 0


def test_a_running_command_can_be_piped_too(executor):
    run = executor.start(Plan(Command("seq 100000")))
    time.sleep(0.1)
    assert str(run.pipe("tail -n 1").result()) == "100000"


def test_a_pipe_into_a_command_that_already_runs_is_refused(executor):
    sink = executor.start(Plan(Command("cat")))
    until(lambda: sink.state != "planned")
    with pytest.raises(XecError, match="already started"):
        executor.start(Plan(Command("echo"))).pipe(sink)


def test_a_failure_at_the_head_of_a_pipe_is_not_lost(executor):
    with pytest.raises(errors.NonZeroExit, match="exit code 7"):
        executor.plan_run(Plan(Command("echo a; exit 7"))).pipe("cat").result()


def test_further_runs_wait_for_a_place_in_order():
    host = FakeHost("queue")
    host.on("x", Wait(0.2))
    with Executor(max_running=1) as executor:
        order = []
        runs = [executor.plan_run(Plan(Command("x", target=host.target)), check=False) for _ in range(3)]
        for number, run in enumerate(runs):
            run.subscribe(lambda event, number=number: order.append((number, type(event).__name__)))
            executor.begin(run)
        for run in runs:
            assert run.wait(10).ok
    assert [entry for entry in order if entry[1] == "Started"] == [(0, "Started"), (1, "Started"), (2, "Started")]
    assert (1, "Queued") in order
    assert Queued  # the event that stands behind the name


def test_a_run_is_stopped_while_it_is_queued():
    host = FakeHost("queue2")
    host.on("x", Wait(30))
    with Executor(max_running=1) as executor:
        first = executor.start(Plan(Command("x", target=host.target)), check=False)
        second = executor.start(Plan(Command("x", target=host.target)), check=False)
        until(lambda: second.state == "queued")
        second.cancel()
        result = second.wait(10)
        assert (result.outcome, result.started_at) == (Outcome.CANCELLED, None)
        assert len(host.started) == 1
        first.cancel()
        first.wait(10)


def test_failures_that_may_be_retried_are_and_every_attempt_is_kept(executor):
    host = FakeHost("flaky")
    host.on("x", Say("first\n"), Exit(75))
    host.on("x", Say("second\n"), Exit(75))
    host.on("x", Say("third\n"), Exit(0))
    plan = Plan(Command("x", target=host.target), retry=RetryPolicy(3, frozenset({75}), backoff_s=0.01))
    run = executor.plan_run(plan, check=False)
    retries = []
    run.subscribe(lambda event: retries.append(event) if isinstance(event, Retrying) else None)
    result = run.wait(10)
    assert (result.ok, result.stdout, [a.stdout for a in result.attempts]) == (True, "third\n", ["first\n", "second\n"])
    assert [event.attempt for event in retries] == [2, 3]


def test_other_failures_are_not_retried(executor):
    host = FakeHost("firm")
    host.on("x", Exit(1))
    wait(executor, Command("x", target=host.target), retry=RetryPolicy(3, frozenset({75}), backoff_s=0.01))
    assert len(host.started) == 1


def test_a_run_can_be_stopped_between_two_attempts(executor):
    host = FakeHost("slow-retry")
    host.on("x", Exit(75))
    plan = Plan(Command("x", target=host.target), retry=RetryPolicy(3, frozenset({75}), backoff_s=600))
    run = executor.start(plan, check=False)
    until(lambda: run.state == "waiting to retry")
    run.cancel()
    assert run.wait(10).outcome is Outcome.CANCELLED
    assert len(host.started) == 1


def test_retries_of_a_command_that_may_change_things_are_refused():
    with pytest.raises(OptionError, match="--read-only"):
        RetryPolicy(retries=1)


def test_the_tee_file_gets_every_byte(executor, tmp_path):
    wait(executor, "echo a; sleep 0.1; echo b >&2", tee=str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_text() == "a\nb\n"


def test_a_tee_file_whose_disk_fills_up_is_said_and_the_command_goes_on(executor):
    r = wait(executor, "echo a; sleep 0.1; echo b; exit 5", tee="/dev/full")
    assert (r.exit_code, r.stdout) == (5, "a\nb\n")
    assert r.notes == ("cannot write the --tee file /dev/full: No space left on device; the command goes on",)


def test_a_tee_file_that_another_run_writes_to_is_refused_and_keeps_its_lines(executor, tmp_path):
    copy = tmp_path / "copy"
    first = executor.start(
        Plan(Command(f"echo first; until test -e {tmp_path}/go; do sleep 0.05; done"), tee=str(copy))
    )
    until(lambda: copy.exists() and copy.read_text() == "first\n")
    second = wait(executor, f"touch {tmp_path}/ran", tee=str(copy))
    assert second.outcome is Outcome.NOT_STARTED
    assert f"cannot write the --tee file {copy}: another run is writing to it" in second.verdict()
    (tmp_path / "go").touch()
    first.wait(25)
    assert (copy.read_text(), (tmp_path / "ran").exists()) == ("first\n", False)
    wait(executor, "echo third", tee=str(copy))
    assert copy.read_text() == "third\n"


def test_a_run_that_was_stopped_at_its_time_limit_is_not_tried_again(executor, tmp_path):
    retry = RetryPolicy(3, read_only=True, backoff_s=0.01)
    stop = StopPolicy(timeout_s=0.3, grace_s=0.1)
    r = wait(executor, f"echo x >>{tmp_path}/tried; sleep 60", retry=retry, stop=stop)
    assert (r.outcome, (tmp_path / "tried").read_text()) == (Outcome.TIMED_OUT, "x\n")


def test_a_tee_file_that_cannot_be_written_is_said_before_anything_runs(executor, tmp_path):
    r = wait(executor, f"touch {tmp_path}/ran", tee=str(tmp_path / "no" / "copy"))
    assert r.outcome is Outcome.NOT_STARTED
    assert not (tmp_path / "ran").exists()


def test_a_registered_secret_is_masked_before_anything_sees_it_also_when_cut(executor):
    executor.redactor.register("TOKEN", "s3cr3t-value")
    seen = []
    run = executor.plan_run(Plan(Command("printf 's3cr3t'; sleep 0.2; printf -- '-value\\n'")), check=False)
    run.subscribe(lambda event: seen.append(event.data) if isinstance(event, Output) else None)
    assert run.wait(10).stdout == "[secret TOKEN]\n"
    assert b"s3cr3t" not in b"".join(seen)


def test_many_at_once_all_end(executor):
    runs = [executor.start(Plan(Command(f"echo {n}")), check=False) for n in range(200)]
    assert [str(run.wait(60)) for run in runs] == [str(n) for n in range(200)]


def test_closing_ends_everything_also_what_ignores_signals_and_what_was_left_behind():
    executor = Executor()
    deaf = executor.start(Plan(Command("trap '' INT TERM; echo ready; while :; do sleep 0.05; done")), check=False)
    left = executor.start(Plan(Command("sleep 60 & echo x")), check=False)
    assert left.wait(10).left_behind
    until(lambda: deaf.log.size())
    executor.close(grace_s=0.2)
    assert deaf.done()
    assert proctree.living((), f"XEC_RUN_ID={executor.kernel_id}.".encode()) == []
    with pytest.raises(XecError, match="closed"):
        executor.start(Plan(Command("true")))
    executor.close()


def test_an_interrupt_stops_the_command_keeps_its_output_and_raises():
    program = """
import os, signal, threading, time
from xec_magic.engine.executor import Executor
from xec_magic.errors import RunInterrupted
from xec_magic.plan import Plan
from xec_magic.command import Command
with Executor() as ex:
    run = ex.start(Plan(Command("trap 'echo cleaned; exit' INT; echo begun; while :; do sleep 0.05; done")))
    def interrupt():
        while not run.log.size(): time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=interrupt).start()
    try:
        run.result()
    except RunInterrupted as error:
        print(error.result.stdout.split(), str(error).splitlines()[0])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.stdout.startswith("['begun', 'cleaned'] interrupted"), done.stderr


@pytest.mark.parametrize("handed_over", [False, True])
def test_an_interrupt_while_it_is_handed_to_the_loop_ends_it_as_any_other(handed_over, executor, monkeypatch):
    run = executor.plan_run(Plan(Command("sleep 60")))
    post, interrupts = executor._portal.post, iter([True])

    def interrupted(callback, *args):
        breaks = next(interrupts, False)
        if handed_over or not breaks:
            post(callback, *args)
        if breaks:
            raise KeyboardInterrupt

    monkeypatch.setattr(executor._portal, "post", interrupted)
    with pytest.raises(RunInterrupted) as caught:
        run.wait()
    assert caught.value.result.outcome is Outcome.INTERRUPTED
    assert run.state == "done"


def test_an_interrupt_while_it_is_queued_takes_it_out_of_the_queue():
    program = """
import os, signal, threading, time
from xec_magic.engine.executor import Executor
from xec_magic.errors import RunInterrupted
from xec_magic.plan import Plan
from xec_magic.command import Command
with Executor(max_running=1) as ex:
    first = ex.start(Plan(Command("sleep 60")), check=False)
    run = ex.start(Plan(Command("echo ran")))
    def interrupt():
        while run.state != "queued": time.sleep(0.01)
        time.sleep(0.3)  # the main thread is out of Thread.start() by then
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=interrupt).start()
    try:
        run.result()
    except RunInterrupted as error:
        print(error.result.outcome.value, error.result.started_at, repr(error.result.stdout), first.done())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.stdout == "interrupted None '' False\n", done.stderr


def test_an_interrupt_of_a_loop_over_its_lines_stops_it_and_raises():
    program = """
import os, signal, threading
from xec_magic.engine.executor import Executor
from xec_magic.errors import RunInterrupted
from xec_magic.plan import Plan
from xec_magic.command import Command
with Executor() as ex:
    run = ex.start(Plan(Command("echo one; sleep 60")))
    try:
        for line in run.lines():  # the loop waits for the next line when the interrupt comes
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    except RunInterrupted as error:
        print(line, error.result.outcome.value, run.process.alive())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.stdout == "one interrupted []\n", done.stderr


@pytest.mark.parametrize(
    ("script", "printed", "code"),
    [
        ("echo a | cat\nexit 7\necho never", "a\n", 7),
        ("( exit 3 ) | cat\necho never", "", 3),
        ("echo a | cat\nexec echo b\necho never", "a\nb\n", 0),
        ("exec sh -c 'echo b; exit 4'\necho never", "b\n", 4),
        ("exec >&2\necho a | cat", "", 0),
        ("trap 'echo bye' EXIT\necho a | cat\nfalse\necho never", "a\nbye\n", 1),
        ("trap 'echo bye; exit 9' EXIT\nfalse | cat", "bye\n", 9),
        ("trap 'echo $?' ERR\nfalse | cat", "1\n", 1),
        ("trap 'echo usr' USR1\nkill -USR1 $$\necho a | cat", "usr\na\n", 0),
        ("echo a | cat\nif true; then", "a\n", 2),
        ("echo a | cat; fi", "", 2),
        ("echo a | cat\necho 'open", "a\n", 2),
        ('echo a | cat\necho "$(open', "a\n", 2),
        ("echo a | cat\ncat <<EOF\nopen\n", "a\nopen\n", 0),
        ("cat <<EOF | cat", "", 0),
        ("cat - | wc -c", "0\n", 0),
        ("read -r x || echo none", "none\n", 0),
        ("printf a | cat", "a", 0),
        ("echo a | cat\n! true", "a\n", 1),
        ("echo a | cat\nfalse && true", "a\n", 1),
        ("echo a # | ' \\", "a\n", 0),
    ],
)
def test_a_script_ends_as_it_does_by_itself(executor, script, printed, code):
    r = wait(executor, Command(script, shell=("bash",)))
    assert (r.stdout, r.exit_code) == (printed, code), r.stderr


def test_a_fork_of_the_kernel_does_not_end_its_runs(executor):
    run = executor.start(Plan(Command("sleep 0.6; echo survived")), check=False)
    until(lambda: run.state == "running")
    pid = os.fork()
    if pid == 0:
        executor.close()
        os._exit(0)
    os.waitpid(pid, 0)
    assert str(run.wait(10)) == "survived"


def test_threads_can_use_it_at_once(executor):
    results = []

    def work(n):
        results.append(str(wait(executor, f"echo {n}")))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results, key=int) == [str(n) for n in range(20)]


def test_a_command_that_ignores_signals_on_a_fake_host_climbs_the_whole_ladder(executor):
    host = FakeHost("deaf")
    host.on("x", Ignore(), Wait(60))
    r = wait(executor, Command("x", target=host.target), stop=StopPolicy(timeout_s=0.1, grace_s=0.05))
    assert (r.outcome, r.signal) == (Outcome.TIMED_OUT, signal.SIGKILL)


@pytest.mark.parametrize("tee", [None, os.devnull], ids=["a simple run", "one with a tee file"])
def test_a_fault_of_the_transport_leaves_nobody_waiting(executor, monkeypatch, recwarn, tee):
    def broken(*_):
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(executor.transports._local, "post", broken)
    r = wait(executor, "true", tee=tee)
    assert r.outcome is Outcome.LOST
    assert "a fault" in r.describe()


@pytest.mark.parametrize("ends", ["at its time limit", "cancelled"])
def test_a_run_whose_start_takes_too_long_is_over_all_the_same_and_never_takes_place(
    executor, tmp_path, monkeypatch, ends
):
    monkeypatch.setattr(spawned, "GIVE_UP_S", 0.3)
    wait(executor, "true")
    helper = executor.transports._local.spawner.helper.process.pid
    script = f"sleep 0.5; touch {tmp_path}/ran"
    os.kill(helper, signal.SIGSTOP)
    try:
        limit = StopPolicy(timeout_s=0.1) if ends == "at its time limit" else StopPolicy()
        run = executor.start(Plan(Command(script), stop=limit), check=False)
        if ends == "cancelled":
            run.cancel()
        r = run.wait(10)
    finally:
        os.kill(helper, signal.SIGCONT)
    assert (r.outcome, r.started_at) == (Outcome.TIMED_OUT if ends == "at its time limit" else Outcome.CANCELLED, None)
    assert wait(executor, "sleep 0.6; echo next").stdout == "next\n"
    assert not (tmp_path / "ran").exists()
    assert executor.transports._local.strays() == []


def test_output_beyond_its_bound_ends_a_run_also_before_the_word_that_it_was_started(executor, monkeypatch):
    wait(executor, "true")
    spawner = executor.transports._local.spawner
    dispatch = spawner._dispatch

    def late(message):
        asyncio.get_running_loop().call_later(0.3 if message[0] == "started" else 0.4, dispatch, message)

    monkeypatch.setattr(spawner.helper, "_heard", late)
    r = wait(executor, "echo more than it may; sleep 60", limits=Limits(max_output_bytes=5))
    assert r.outcome is Outcome.OUTPUT_LIMIT
    assert r.truncated
    assert r.started_at is not None


def test_a_fifo_is_no_tee_file_and_blocks_nobody(executor, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert wait(executor, "echo hi", tee=str(tmp_path / "fifo")).outcome is Outcome.NOT_STARTED
    assert wait(executor, "echo other").stdout == "other\n"


def test_late_output_of_children_is_kept_also_beside_a_tee_file(executor, tmp_path):
    run = executor.start(Plan(Command("(sleep 0.9; echo late) & echo now"), tee=str(tmp_path / "copy")), check=False)
    assert run.wait(10).ok
    until(lambda: run.log.stream() == b"now\nlate\n")


def test_a_handle_that_outlives_its_executor_ends_instead_of_waiting_for_ever():
    with Executor() as executor:
        ended = executor.start(Plan(Command("echo kept")), check=False)
        ended.wait(10)
        planned = executor.plan_run(Plan(Command("echo never")), check=False)
        later = executor.plan_run(Plan(Command("echo never")), check=False)
        executor.begin_later(later)
    assert list(ended.lines()) == ["kept"]
    assert planned.wait(10).outcome is Outcome.CANCELLED
    assert later.wait(10).outcome is Outcome.CANCELLED


def test_waiting_for_children_costs_no_cpu(executor):
    before = time.process_time()
    wait(executor, "sleep 1.5 & echo x", stop=StopPolicy(wait=True))
    assert time.process_time() - before < 1.0


def test_a_pipe_whose_source_cannot_start_ends(executor, tmp_path):
    (tmp_path / "input").write_text("x")
    source = executor.plan_run(Plan(Command("cat", stdin=FileInput(str(tmp_path / "gone")))), check=False)
    assert source.pipe("cat; echo done").wait(10).stdout == "done\n"


def test_a_listener_that_fails_does_not_take_the_command_with_it(executor):
    run = executor.plan_run(Plan(Command("echo on")), check=False)
    run.subscribe(lambda _: 1 / 0)
    assert run.wait(10).stdout == "on\n"


def test_a_callback_on_the_loop_that_would_wait_is_refused(executor):
    refused = []

    def wait_inside(_):
        try:
            executor.start(Plan(Command("true"))).wait()
        except RuntimeError as error:
            refused.append(str(error))

    executor.start(Plan(Command("true"))).add_done_callback(wait_inside)
    until(lambda: refused)
    assert "wait for ever" in refused[0]


def test_a_chain_of_pipes_needs_one_place(tmp_path):
    with Executor(max_running=1) as executor:
        source = executor.start(Plan(Command("seq 300000"), tee=str(tmp_path / "copy")), check=False)
        assert str(source.pipe("wc -l").wait(30)).strip() == "300000"


def test_a_pipe_into_itself_is_refused(executor):
    run = executor.plan_run(Plan(Command("cat")))
    with pytest.raises(XecError, match="its own output"):
        run.pipe(run)


def test_a_secret_is_refused_wherever_others_could_read_it(executor):
    executor.redactor.register("TOKEN", "s3cr3t-value")
    for command in (
        Command("echo s3cr3t-value"),
        Command("true", env=(("A", "s3cr3t-value"),)),
        Command("true", cwd="/s3cr3t-value"),
    ):
        with pytest.raises(OptionError, match="secret"):
            executor.start(Plan(command))
    with pytest.raises(OptionError, match="secret"):
        executor.start(Plan(Command("true"), label="s3cr3t-value"))


def test_a_result_leaves_the_kernel_without_its_secrets(executor):
    result = wait(executor, Command("true", secret_env=(("TOKEN", "s3cr3t-value"),)))
    assert b"s3cr3t" not in pickle.dumps(result)
    assert pickle.loads(pickle.dumps(result)).command == "true"


@pytest.mark.parametrize("proc", [True, False])
def test_a_command_has_the_umask_that_the_kernel_has_when_it_starts(proc, executor, monkeypatch):
    monkeypatch.setattr(proctree, "HAS_PROC", proc)
    masks = []
    before = os.umask(0o027)
    try:
        for mask in (0o077, 0o002):
            os.umask(mask)
            masks.append(wait(executor, "umask").stdout)
            assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert masks == ["0077\n", "0002\n"]
