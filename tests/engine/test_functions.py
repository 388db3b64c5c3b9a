"""Python functions and files as members of a pipe."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from itertools import islice
from pathlib import Path

import pytest
from helpers.waiting import until

import xec_magic as xec
from xec_magic.command import Command
from xec_magic.plan import Plan
from xec_magic.transport.fake import FakeHost, Say
from xec_magic.transport.spawn import proctree


@pytest.fixture
def ex():
    with xec.Executor(grace="0.5s") as made:
        yield made
        until(lambda: proctree.living((), f"XEC_RUN_ID={made._engine.kernel_id}.".encode()) == [])
    assert [thread for thread in threading.enumerate() if thread.name.startswith("xec-") and "()" in thread.name] == []


def upper(lines):
    for line in lines:
        yield line.upper()


# -- what goes in and out


def test_a_function_stands_between_two_commands(ex):
    assert ex.start("echo b; echo a").pipe(upper).pipe("sort").result().stdout == "A\nB\n"
    assert str((ex.start("echo b; echo a") | upper | "sort" | upper).result()) == "A\nB"


def test_what_a_function_gives_can_be_read_as_it_comes(ex):
    run = ex.start("echo one; sleep 60").pipe(upper)
    lines = iter(run.lines())
    assert next(lines) == "ONE"
    assert not run.done()
    del lines
    until(lambda: run.upstream.done())


def test_a_function_runs_in_a_thread_of_its_own_and_may_run_commands(ex):
    threads = []

    def ask(lines):
        threads.append(threading.current_thread())
        for line in lines:
            yield ex.run(f"echo {line}{line}").text()

    assert str(ex.start("echo a; echo b").pipe(ask).result()) == "aa\nbb"
    assert threads[0] not in (threading.current_thread(), ex._engine._portal._thread)


def test_lines_lose_nothing_also_where_they_are_no_text(ex):
    script = r"printf 'gr\303'; sleep 0.1; printf '\266n\n\377\376\n\nlast'"
    seen = []

    def note(lines):
        for line in lines:
            seen.append(line)
            yield line

    assert ex.start(script).pipe(note).result().stdout_bytes == "grön\n".encode() + b"\xff\xfe\n\nlast\n"
    assert seen == ["grön", "\udcff\udcfe", "", "last"]


def test_chunks_are_bytes_as_they_come(ex):
    run = ex.start("head -c 3000000 /dev/zero").pipe(lambda chunks: (c[::-1] for c in chunks), of="chunks")
    assert str(run.pipe("wc -c").result()).strip() == "3000000"


def test_map_and_filter_take_a_function_of_one_line(ex):
    assert (
        str(ex.start("seq 20").filter(lambda line: "1" in line).map(lambda line: line * 2).pipe("tail -n 1").result())
        == "1919"
    )


@pytest.mark.parametrize(
    ("function", "printed"),
    [
        (lambda lines: "one line", b"one line\n"),
        (lambda lines: b"bytes", b"bytes"),
        (lambda lines: [b"a", "b", bytearray(b"c"), memoryview(b"d")], b"ab\ncd"),
        (lambda lines: None, b""),
        (lambda lines: list(lines) and None, b""),
        (lambda lines: sorted(lines, reverse=True), b"2\n1\n"),
    ],
)
def test_what_a_function_may_give(ex, function, printed):
    assert ex.start("seq 2").pipe(function).result().stdout_bytes == printed


def test_a_function_behind_a_running_command_gets_all_of_its_output(ex):
    run = ex.start("seq 1000; sleep 0.3; seq 3")
    until(lambda: run.log.size())
    assert str(run.pipe(lambda lines: str(len(list(lines)))).result()) == "1003"


def test_a_command_behind_a_function_has_the_options_of_the_command_before_it(ex):
    assert str(ex.start("echo", env={"A": "1"}).pipe(upper).pipe("echo $A").result()) == "1"


def test_a_function_behind_a_host_that_knows_no_pipes_gets_its_output(ex):
    host = FakeHost("streams")
    host.on("x", Say("a\n"), Say("b\n"))
    assert str(ex.start("x", target=host.target).pipe(upper).result()) == "A\nB"


def test_tee_writes_the_output_of_any_member_of_a_chain(ex, tmp_path):
    first = ex.start("echo b; echo a", tee=tmp_path / "first")
    second = ex.start("sort", tee=tmp_path / "second")
    third = ex.start("cat -n", tee=tmp_path / "third")
    last = (first | upper | second | third).result()
    assert (tmp_path / "first").read_text() == "b\na\n"
    assert (tmp_path / "second").read_text() == "A\nB\n"
    assert (tmp_path / "third").read_text() == last.stdout


# -- back-pressure and ends


def test_a_slow_reader_makes_function_and_command_wait(ex, tmp_path):
    passed = 0

    def count(chunks):
        nonlocal passed
        for chunk in chunks:
            passed += len(chunk)
            yield chunk

    run = (
        ex.start("yes", keep=False)
        .pipe(count, of="chunks")
        .pipe(f"head -c 1000; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; head -c 1000")
    )
    run.begin()
    until(lambda: passed)
    stood = -1
    while stood != passed:  # until it does not move any more
        stood = passed
        time.sleep(0.2)
    assert passed < 4 * 2**20
    (tmp_path / "go").touch()
    assert run.result(30).log.size() == 2000


def test_a_function_that_is_slow_makes_the_command_wait(ex, tmp_path):
    go = threading.Event()

    def slow(chunks):
        yield next(chunks)
        go.wait(30)
        yield from chunks

    run = ex.start(f"head -c 5000000 /dev/zero; touch {tmp_path}/written").pipe(slow, of="chunks").pipe("wc -c")
    run.begin()
    until(lambda: run.upstream.upstream.state == "running")
    time.sleep(0.2)
    assert not (tmp_path / "written").exists()
    go.set()
    assert str(run.result(30)).strip() == "5000000"


def test_a_reader_that_has_enough_ends_a_function_and_a_command_without_end(ex):
    closed = []

    def noting(lines):
        try:
            yield from lines
        finally:
            closed.append(True)

    assert str((ex.start("yes") | noting | "head -n 2").result()) == "y\ny"
    assert closed == [True]


def test_a_function_that_has_enough_stops_what_feeds_it_also_when_that_writes_nothing(ex):
    run = ex.start("echo a; sleep 60").pipe(lambda lines: islice(lines, 1))
    assert str(run.result(10)) == "a"
    assert run.upstream.wait(10).verdict() == "cancelled (its reader had enough)"


def test_a_function_that_has_read_everything_stops_nothing(ex, tmp_path):
    run = ex.start(f"echo a; exec >&-; sleep 0.5; touch {tmp_path}/ended").pipe(upper)
    assert str(run.result(10)) == "A"
    assert (tmp_path / "ended").exists()


def test_leaving_the_loop_over_a_function_stops_it_and_what_feeds_it(ex):
    run = ex.start("yes").pipe(upper)
    for line in run.lines():
        assert line == "Y"
        break
    until(lambda: run.done() and run.upstream.done())


def test_what_was_given_goes_on_before_the_function_waits_for_more(ex):
    run = ex.start("echo a; echo b; sleep 60").pipe(upper).pipe("while read -r line; do echo got $line; done")
    lines = iter(run.lines())
    assert [next(lines), next(lines)] == ["got A", "got B"]
    assert not run.upstream.upstream.done()
    del lines
    until(run.done)


# -- failures


def raising(lines):
    for line in lines:
        if line == "2":
            raise ValueError(f"cannot use {line}")
        yield line


def test_a_function_that_raises_fails_the_chain_in_one_clear_line(ex):
    chain = ex.start("yes 2").pipe(raising).pipe("cat")
    with pytest.raises(xec.CallbackError) as caught:
        chain.result(30)
    assert str(caught.value) == "raising() in a pipe raised ValueError: cannot use 2"
    assert isinstance(caught.value.__cause__, ValueError)
    assert any("in raising" in line for line in caught.value._render_traceback_())
    assert chain.upstream.upstream.wait(10).outcome in ("cancelled", "signalled", "failed")  # it has been ended


def test_what_came_before_a_function_raises_is_not_lost(ex):
    seen = []
    with pytest.raises(xec.CallbackError):
        for line in ex.start("seq 3").pipe(raising).lines():
            seen.append(line)  # noqa: PERF402 - it must be a loop
    assert seen == ["1"]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda lines: 3, "it returned 3, which is no output"),
        (lambda lines: (len(line) for line in lines), "it gave 1, which is no output"),
        (lambda lines: map(print, lines), "it gave None, which is no output"),
        (str.upper, "map() takes a function of one line"),
        (lambda line: line.upper(), "map() takes a function of one line"),
        (lambda: None, "takes 0 positional arguments"),
        (lambda lines: exit(3), "SystemExit: 3"),
    ],
)
def test_a_function_that_gives_what_is_no_output_says_so(ex, function, words):
    with pytest.raises(xec.CallbackError) as caught:
        ex.start("seq 3").pipe(function).pipe("cat").result(30)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_with_check_false_a_failed_function_is_a_result(ex):
    run = ex.start("seq 3", check=False).pipe(raising)
    result = run.result(10)
    assert (result.outcome, result.exit_code, result.stdout) == ("failed", 1, "1\n")
    assert result.verdict() == "ValueError: cannot use 2"


@pytest.mark.parametrize("begun", [0, 1])
def test_lines_that_a_function_keeps_beyond_its_end_are_nobody_elses(ex, begun):
    kept = []

    def keeps(lines):
        kept.append(lines)
        yield from islice(lines, begun)

    ex.start("seq 100000").pipe(keeps).pipe("cat").result(10)
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "xec-keeps()"])
    others = []
    try:
        for _ in range(32):  # one of them has the number that the function's input had
            read, write = os.pipe()
            others += [read, os.dup(read)]
            os.write(write, b"of somebody else\n")
            os.close(write)
        with pytest.raises(ValueError, match=r"keeps\(\) has ended, and nothing arrives for it any more"):
            list(kept[0])
    finally:
        for fd in others:
            os.close(fd)


def test_who_waits_for_lines_of_a_function_while_it_ends_is_refused_as_well(ex, monkeypatch):
    said, waits = [], threading.Event()

    def reads(lines):
        waits.set()
        try:
            list(lines)
        except Exception as error:
            said.append(error)

    def keeps(lines):
        threading.Thread(target=reads, args=(lines,), name="reads").start()
        waits.wait(10)
        time.sleep(0.01)  # it comes to its wait; where it has not, it is refused in any case
        return ()

    real = os.close

    def slow(fd):
        real(fd)
        if threading.current_thread().name == "xec-keeps()":
            time.sleep(0.02)  # who is woken by that goes on at once

    monkeypatch.setattr(os, "close", slow)
    ex.start("sleep 0.2").pipe(keeps).result(10)
    until(lambda: said)
    assert isinstance(said[0], ValueError)


def test_a_source_that_cannot_start_ends_the_function_and_is_raised(ex):
    run = ex._engine.plan_run(Plan(Command("true", shell=("/no/such/shell",))))
    with pytest.raises(xec.SpawnError, match="/no/such/shell"):
        run.pipe(upper).result(10)


def test_where_a_pipe_cannot_lead_is_refused(ex, tmp_path):
    async def later(lines):
        yield "x"

    run = ex.start("true")
    for other, words in [
        (3, "not to a int"), (later, "asynchronous"), (tmp_path, "Is a directory"), (tmp_path / "no" / "x", "No such file"),
        (Path("nul\0"), "cannot write"),
    ]:  # fmt: skip
        with pytest.raises(xec.OptionError, match=words):
            run.pipe(other)
    with pytest.raises(xec.OptionError, match="'lines' or 'chunks'"):
        run.pipe(upper, of="words")
    with pytest.raises(xec.OptionError, match="called with each line"):
        run.map("upper")

    async def agrees(line):
        return False

    for of_a_line in (run.map, run.filter):  # a coroutine is true: the one would have let every line through
        with pytest.raises(xec.OptionError, match=r"agrees\(\) is asynchronous"):
            of_a_line(agrees)
    assert run.result().ok


def test_an_output_can_be_piped_once(ex, tmp_path):
    run = ex.start("seq 3")
    chain = run.pipe("cat")
    for other in ("cat", upper, tmp_path / "x"):
        with pytest.raises(xec.XecError, match="already goes into a pipe or a file"):
            run.pipe(other)
    assert chain.result().stdout == "1\n2\n3\n"
    assert not (tmp_path / "x").exists()


def test_a_pipe_into_itself_by_way_of_a_function_is_refused(ex):
    run = ex.start("cat")
    middle = run.pipe(upper)
    with pytest.raises(xec.XecError, match="its own output"):
        middle.pipe(run)
    run.cancel()
    middle.wait(10)


# -- stops


def endless(lines):
    yield from lines
    while True:
        pass


def test_cancelling_ends_a_function_that_loops_for_ever(ex):
    run = ex.start("echo a").pipe(endless)
    until(lambda: run.process is not None and run.upstream.done())
    run.cancel()
    assert run.wait(20).outcome == "cancelled"


def test_cancelling_ends_a_function_that_waits_for_input_and_runs_its_finally(ex):
    closed = []

    def noting(lines):
        try:
            yield from lines
        except Exception:
            closed.append("swallowed")
        finally:
            closed.append("closed")

    run = ex.start("echo a; sleep 60").pipe(noting).pipe("cat")
    run.begin()
    until(lambda: run.log.size())
    run.cancel()
    assert run.wait(20).outcome == "cancelled"
    assert run.upstream.wait(10).outcome == "cancelled"
    assert closed == ["closed"]


def test_a_function_that_cannot_be_ended_is_named_and_holds_nobody_up(ex, monkeypatch):
    from xec_magic.transport import terminate

    monkeypatch.setattr(terminate, "LAST_GRACE_S", 0.3)
    stop = threading.Event()

    def waiting(lines):
        stop.wait(60)  # in the operating system: no exception reaches it there

    run = ex.start("sleep 60", check=False).pipe(waiting)
    until(lambda: run.process is not None)
    run.cancel(now=True)
    result = run.wait(20)
    assert "waiting() in a thread of the kernel" in result.notes[0]
    stop.set()
    until(lambda: not run.process._thread.is_alive())


def test_closing_the_executor_ends_functions():
    executor = xec.Executor()
    run = executor.start("yes").pipe(upper).pipe("cat >/dev/null")
    run.begin()
    until(lambda: run.state == "running")
    executor.close()
    assert run.wait(10).outcome == "cancelled"
    until(lambda: not run.upstream.process._thread.is_alive())


def test_descriptors_are_closed_however_a_chain_ends(ex):
    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    def once():
        ex.start("seq 3").pipe(upper).pipe("cat").result()
        ex.start("yes").pipe(upper).pipe("head -n 1").result()
        ex.start("seq 3", check=False).pipe(raising).pipe("cat").result()
        run = ex.start("yes").pipe(upper)
        run.begin()
        run.cancel()
        run.wait(10)

    once()
    before = descriptors()
    for _ in range(3):
        once()
    until(lambda: descriptors() <= before)


def test_an_interrupt_of_a_chain_with_a_function_stops_all_of_it():
    program = """
import os, signal, threading, time
import xec_magic as xec
def up(lines):
    for line in lines:
        yield line.upper()
run = xec.start("echo a; sleep 60").pipe(up).pipe("cat")
def interrupt():
    while not run.log.size(): time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
try:
    run.result()
except xec.RunInterrupted as error:
    print(error.result.stdout.strip(), [r.wait().outcome.value for r in (run, run.upstream, run.upstream.upstream)])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "A ['interrupted', 'interrupted', 'interrupted']", done.stderr


def test_a_coroutine_reads_from_a_function(ex):
    async def main():
        return [line async for line in ex.start("echo a").pipe(upper).lines()], str(
            await ex.start("echo b").pipe(upper)
        )

    assert asyncio.run(main()) == (["A"], "B")


# -- files


def test_a_command_writes_its_output_into_a_file_itself(ex, tmp_path):
    (tmp_path / "out").write_text("what was there before\n")
    run = ex.start("seq 3; echo err >&2")
    assert run.pipe(tmp_path / "out") is run
    result = run.result()
    assert (tmp_path / "out").read_text() == "1\n2\n3\n"
    assert (result.stdout, result.stderr) == ("", "err\n")


def test_a_chain_may_end_in_a_file_and_a_running_command_too(ex, tmp_path):
    ex.start("seq 3").pipe(upper).pipe("sort -r").pipe(tmp_path / "chain").result()
    assert (tmp_path / "chain").read_text() == "3\n2\n1\n"
    ex.start("echo a").pipe(upper).pipe(tmp_path / "function").result()
    assert (tmp_path / "function").read_text() == "A\n"
    run = ex.start("echo a; sleep 0.3; echo b")
    until(lambda: run.log.size())
    run.pipe(tmp_path / "running").result()
    assert (tmp_path / "running").read_text() == "a\nb\n"


def test_a_run_is_over_when_its_file_is_complete_or_cannot_be(ex, tmp_path, monkeypatch):
    from xec_magic.engine.buffer import Channel

    take = Channel.take_async

    async def late(channel):
        await asyncio.sleep(0.2)
        return await take(channel)

    monkeypatch.setattr(Channel, "take_async", late)  # the run has ended before anything is written
    run = ex.start("echo all of it", tee=tmp_path / "copy")
    run.pipe(tmp_path / "out").result(20)
    assert (tmp_path / "out").read_text() == "all of it\n"
    begun = ex.start(f"until [ -e {tmp_path}/go ]; do sleep 0.01; done; echo all of it")
    until(lambda: begun.state == "running")
    begun.pipe(tmp_path / "begun")
    (tmp_path / "go").touch()
    begun.result(20)
    assert (tmp_path / "begun").read_text() == "all of it\n"
    with pytest.raises(xec.Cancelled, match="cannot write /dev/full"):
        ex.start("echo all of it", tee=tmp_path / "copy").pipe(Path("/dev/full")).result(20)


def test_a_full_disk_under_a_file_is_said(ex):
    with pytest.raises(xec.NonZeroExit, match="No space left"):
        ex.start("seq 100000").pipe(Path("/dev/full")).result()
    for rest in ("sleep 60", "exit 0"):
        run = ex.start(f"echo a; sleep 0.3; echo b; {rest}")
        until(lambda run=run: run.log.size())
        with pytest.raises(xec.Cancelled, match="cannot write /dev/full: No space left"):
            run.pipe(Path("/dev/full")).result(20)


def test_a_secret_is_masked_in_a_file(ex, tmp_path):
    ex.run("true", secret={"TOKEN": "s3cr3t-value"})
    run = ex.start("printf 's3cr3t'; sleep 0.1; echo -value")
    run.pipe(tmp_path / "out").result()
    assert (tmp_path / "out").read_text() == "[secret TOKEN]\n"


def test_a_fifo_is_refused_and_blocks_nobody(ex, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    run = ex.start("true")
    with pytest.raises(xec.OptionError, match="cannot write"):
        run.pipe(tmp_path / "fifo")
    assert run.result().ok
