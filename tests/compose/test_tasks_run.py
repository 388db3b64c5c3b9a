"""Tasks on real commands, and on a fake host where the order of events has to be certain."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from helpers.interrupts import interrupt_post
from helpers.waiting import until

import xec_magic as xec
from xec_magic.compose import tasks as tasks_module
from xec_magic.compose import tasks_check
from xec_magic.engine import interruptible
from xec_magic.engine.portal import Helpers
from xec_magic.errors import OptionError, RunInterrupted, SpawnError, TasksFailed, TasksInterrupted
from xec_magic.transport.fake import Exit, FakeHost, Ignore, Say, Wait
from xec_magic.transport.spawn import proctree

RUNNING = "running"


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)


@pytest.fixture
def ex():
    with xec.Executor(max_running=8) as made:
        yield made
    assert proctree.living((), f"XEC_RUN_ID={made._engine.kernel_id}.".encode()) == []


@pytest.fixture
def host():
    made = FakeHost("tasks")
    made.on("fail", Exit(3))
    made.on("hang", Wait(1000))
    made.on("", Exit(0))
    return made


def of(ex, host, **needs):
    """Tasks on a fake host; each one's script is its name."""
    made = ex.tasks(target=host.target)
    for name, wanted in needs.items():
        made.add(name, name, needs=wanted.split())
    return made


# -- order, blocking --------------------------------------------------------------------------


def test_each_task_runs_once_behind_what_it_needs(ex, host):
    r = of(ex, host, test="build lint", build="install", lint="install", install="").run(jobs=4)
    assert r.ok
    assert sorted(host.started) == ["build", "install", "lint", "test"]
    assert host.started[0] == "install"
    assert host.started[-1] == "test"
    assert r.states == dict.fromkeys(r, "ok")


def test_named_tasks_run_with_what_they_need_and_nothing_else(ex, host):
    assert set(of(ex, host, a="", b="a", c="a").run("b")) == {"a", "b"}
    assert host.started == ["a", "b"]


def test_a_failing_task_blocks_those_that_need_it_with_the_reason_and_no_others(ex, host):
    r = of(ex, host, fail1="", b="fail1", c="b", other="").run(jobs=1, check=False)
    assert r.states == {"fail1": "failed", "b": "blocked", "c": "blocked", "other": "ok"}
    assert (r["fail1"].reason, r["b"].reason, r["c"].reason) == ("exit code 3", "fail1 failed", "fail1 failed")
    assert set(host.started) == {"fail1", "other"}
    assert list(r.not_started) == ["b", "c"]


def test_a_failure_raises_and_names_what_failed_and_carries_all(ex):
    with pytest.raises(TasksFailed, match=r"2 tasks: 1 failed, 1 blocked; failed: a \(exit code 3\)\n.*why") as caught:
        ex.tasks().add("a", "echo why >&2; exit 3").add("b", "true", needs=["a"]).run()
    assert caught.value.exit_code == 3
    assert caught.value.results["b"].state == "blocked"
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.results.states == caught.value.results.states


def test_without_keep_going_nothing_new_starts_after_a_failure(ex, host):
    r = of(ex, host, fail="", a="", b="").run(jobs=1, keep_going=False, check=False)
    assert r.states == {"fail": "failed", "a": "skipped", "b": "skipped"}
    assert r["a"].reason == "fail failed (--no-keep-going)"
    assert host.started == ["fail"]


def test_of_a_thousand_one_fails_and_the_others_run(ex, host):
    names = {f"t{number}": "" for number in range(999)}
    r = of(ex, host, fail="", **names).run(jobs=8, check=False)
    assert r.counts() == {"failed": 1, "ok": 999}
    assert list(r.failed) == ["fail"]


def test_no_more_than_so_many_run_at_a_time(ex, host):
    host.on("nap", Wait(0.02))
    host._scripts.insert(0, host._scripts.pop())
    r = of(ex, host, **{f"nap{number}": "" for number in range(12)}).run(jobs=3)
    at_once = [sum(one.start_s <= task.start_s < one.end_s for one in r.values()) for task in r.values()]
    assert max(at_once) == 3


def test_a_group_has_no_command_and_a_chain_of_groups_ends(ex, host):
    made = ex.tasks(target=host.target).add("g0")
    for number in range(1, 5000):
        made.add(f"g{number}", needs=[f"g{number - 1}"])
    r = made.add("last", "last", needs=["g4999"]).run()
    assert host.started == ["last"]
    assert r["g4999"].group
    with pytest.raises(AttributeError, match="task g0 has no stdout: it did not run"):
        _ = r["g0"].stdout


@pytest.mark.parametrize("jobs", [0, -1, 9, 10**6, "many", True])
def test_a_number_of_jobs_that_cannot_be_is_refused(ex, host, jobs):
    with pytest.raises(OptionError, match="jobs"):
        of(ex, host, a="").start(jobs=jobs)  # with none at a time it would never end
    assert host.started == []


def test_where_the_kernels_directory_is_gone_it_is_said_in_words(ex, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(
        xec.OptionError, match="task a: the kernel's own directory has been removed; name one with --cwd"
    ):
        ex.tasks().add("a", "true", creates="x")
    assert "directory has been removed" in ex.tasks().add("a", "true").run(check=False)["a"].reason
    assert ex.tasks().add("a", "touch x", creates="x", cwd=tmp_path).run()["a"].ok


def test_wrong_tasks_are_refused_and_nothing_runs(ex, host):
    with pytest.raises(OptionError, match="a needs b, b needs c, c needs a"):
        of(ex, host, a="b", b="c", c="a").run()
    with pytest.raises(OptionError, match="did you mean build"):
        of(ex, host, build="", test="biuld").run()
    with pytest.raises(OptionError, match="already a task a"):
        of(ex, host, a="").add("a", "a")
    with pytest.raises(OptionError, match=r"tee belongs to one task; give it to add\(\)"):
        ex.tasks(tee="all.log")
    with pytest.raises(OptionError, match="an option's name"):
        of(ex, host).add("--jobs", "a")
    with pytest.raises(OptionError, match=r"needs: 'a' is a text; give a list of names, such as \['a'\]"):
        of(ex, host, a="").add("b", "b", needs="a")
    for wrong in ([3], [None], [["a"]], [b"a"]):
        with pytest.raises(OptionError, match=r"needs: .* is no name of a task; give texts"):
            of(ex, host, a="").add("b", "b", needs=wrong)
    with pytest.raises(OptionError, match="needs: 3 is no list of names"):
        of(ex, host, a="").add("b", "b", needs=3)
    with pytest.raises(OptionError, match="3 is no name of a task; give texts"):
        of(ex, host, a="").run(3)
    with pytest.raises(OptionError, match="no option of a task"):
        of(ex, host).add("a", "a", label="x")
    with pytest.raises(OptionError, match="no script, so its options"):
        of(ex, host).add("a", timeout=3)
    with pytest.raises(OptionError, match="there are no tasks"):
        of(ex, host).run()
    assert host.started == []


# -- what belongs to one task -----------------------------------------------------------------------


def test_a_task_has_limits_and_retries_of_its_own(ex, host):
    host.on("flaky", Exit(75))
    host.on("flaky", Exit(0))
    host._scripts.insert(0, host._scripts.pop())  # before what matches everything
    made = ex.tasks(target=host.target, grace=0)
    made.add("flaky", "flaky", retries=3, retry_codes=75, backoff=0).add("slow", "hang", timeout=0.05)
    r = made.run(jobs=2, check=False)
    assert r.states == {"flaky": "ok", "slow": "failed"}
    assert len(r["flaky"].attempts) == 1
    assert r["slow"].reason == "stopped at its time limit of 50 ms"
    with pytest.raises(OptionError, match="retry_codes belongs to retries=N, and no task is tried again"):
        ex.tasks(target=host.target, retry_codes=75).add("a", "a").run()


def test_a_syntax_error_fails_its_own_task_only(ex):
    r = ex.tasks().add("bad", "if true\n").add("good", "echo fine").run(check=False)
    assert r.states == {"bad": "failed", "good": "ok"}
    assert "syntax error" in r["bad"].stderr
    assert r["good"].text() == "fine"


def test_tasks_run_in_warm_shells_as_well(ex):
    made = ex.tasks(worker=True).add("a", "cd /; X=1; echo $$").add("b", 'echo "${X-none} $PWD"', needs=["a"])
    assert made.run()["b"].text() == f"none {os.getcwd()}"


def test_a_script_with_a_secrets_value_is_refused_and_nothing_runs(ex):
    made = ex.tasks(secret={"TOKEN": "very-secret-value"}).add("a", "touch ran").add("b", "echo very-secret-value")
    with pytest.raises(OptionError, match="task b: the command would hold the value of a secret"):
        made.run()
    assert not os.path.exists("ran")


def test_a_value_that_becomes_a_secret_meanwhile_fails_its_task_and_the_rest_goes_on(ex):
    made = (
        ex.tasks()
        .add("first", "until [ -e go ]; do sleep 0.01; done")
        .add("told", "echo very-secret-value", needs=["first"], creates="out")
        .add("other", "true", needs=["first"], creates="go")
    )
    run = made.start(jobs=1)
    ex.run("touch go", secret={"TOKEN": "very-secret-value"})
    r = run.wait(30)
    assert r.states == {"first": "ok", "told": "failed", "other": "ok"}
    assert r["told"].reason.startswith("the command would hold the value of a secret")


def test_tasks_hold_no_view_and_little_memory(ex):
    made = ex.tasks().add("a", "head -c 600000 /dev/zero")
    assert made.run()["a"].log_path is not None  # more than its share of memory goes to a file


# -- stopping ---------------------------------------------------------------------------------------


def interrupted(run, *conditions):
    """The results of tasks that are interrupted when each of the conditions has come true, one interrupt for each."""
    waits = threading.Event()

    def interrupt():
        waits.wait(20)
        for condition in conditions:
            until(condition)
            os.kill(os.getpid(), signal.SIGINT)

    sent = threading.Thread(target=interrupt)
    sent.start()
    try:
        return run.wait(on_tick=waits.set, tick_s=0.01)
    finally:
        sent.join()


def test_an_interrupt_stops_all_at_once_and_says_what_had_been_done(ex):
    made = ex.tasks(grace=0.3).add("done", "true").add("after", "true", needs=["h1"])
    for number in range(3):
        made.add(f"h{number}", "sleep 100", needs=["done"])
    run = made.start(jobs=3, check=False)
    r = interrupted(run, lambda: len(run.running()) == 3)
    assert r.states == {"done": "ok", "h0": "stopped", "h1": "stopped", "h2": "stopped", "after": "blocked"}
    with pytest.raises(TasksInterrupted) as caught:
        run.result()
    assert isinstance(caught.value, RunInterrupted)
    assert caught.value.results is r
    assert caught.value.result.outcome == "interrupted"
    again = made.run(dry_run=True, resume=True)
    assert (again["done"].state, again["h0"].reason) == ("up to date", "it was not finished the last time")


def test_a_coroutine_that_waits_is_woken_and_its_cancellation_stops_all(ex, host):
    run = of(ex, host, hang="", later="hang").start(check=False)

    async def wait_and_leave():
        waiting = asyncio.ensure_future(_awaited(run))
        await asyncio.sleep(0.01)  # it has begun to wait
        while not run.running():
            await asyncio.sleep(0.005)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return await of(ex, host, a="").start()

    assert asyncio.run(wait_and_leave()).states == {"a": "ok"}
    assert run.result().states == {"hang": "stopped", "later": "blocked"}


async def _awaited(run):
    return await run


def test_an_interrupt_just_before_the_wait_begins_stops_them_too(ex, monkeypatch):
    real = interruptible.ending_of

    def at_once(future):  # the moment is too short to be hit from outside
        monkeypatch.setattr(interruptible, "ending_of", real)
        raise KeyboardInterrupt

    monkeypatch.setattr(interruptible, "ending_of", at_once)
    with pytest.raises(TasksInterrupted) as caught:
        ex.tasks(grace=0.3).add("a", "sleep 100").run()
    assert caught.value.results.states == {"a": "stopped"}


@pytest.mark.parametrize("begun", [False, True])
def test_an_interrupt_while_they_are_handed_to_the_loop_stops_them_and_is_waited_for(ex, monkeypatch, begun):
    engine = ex._engine
    interrupt_post(monkeypatch, engine, begun=begun)
    with pytest.raises(KeyboardInterrupt) as caught:
        ex.tasks(grace=0.3).add("a", "sleep 100").run()
    assert isinstance(caught.value, TasksInterrupted)
    assert caught.value.results.states == {"a": "stopped" if begun else "skipped"}
    assert begun or caught.value.results.duration_s == 0.0  # not counted from the machine's own start

    interrupt_post(monkeypatch, engine, begun=begun)
    with pytest.raises(KeyboardInterrupt):
        ex.tasks(grace=0.3).add("a", "sleep 100").start()
    ex.run("true")  # behind all that was handed to the loop before
    until(lambda: proctree.living((), f"XEC_RUN_ID={engine.kernel_id}.".encode()) == [])


def test_a_second_interrupt_kills_what_does_not_listen(ex):
    run = ex.tasks(grace="1h").add("deaf", "trap '' INT TERM; echo up; sleep 100").start()
    r = interrupted(
        run,
        lambda: any(one.log.size() for one in run.running().values()),
        lambda: [one.state for one in run.running().values()] == ["stopping"],
    )
    assert r.interrupted
    assert r.states == {"deaf": "stopped"}


def test_cancel_ends_all_and_the_results_say_so(ex, host):
    run = of(ex, host, hang1="", hang2="", later="hang1").start(jobs=2, check=False)
    until(lambda: len(run.running()) == 2)
    run.cancel()
    r = run.result()
    assert r.states == {"hang1": "stopped", "hang2": "stopped", "later": "blocked"}
    with pytest.raises(TasksFailed, match=r"2 stopped, 1 blocked"):
        r.check()


def test_one_run_that_is_cancelled_blocks_what_needs_it(ex, host):
    run = of(ex, host, hang="", later="hang", other="").start(jobs=2, check=False)
    until(lambda: "hang" in run.running())
    run.running()["hang"].cancel()
    r = run.result()
    assert (r["hang"].state, r["later"].reason, r["other"].state) == ("stopped", "hang was stopped", "ok")


def test_a_waiter_does_not_hang_when_its_executor_is_closed(host):
    ex = xec.Executor()
    run = of(ex, host, hang="", later="hang").start(check=False)
    until(lambda: run.running())
    ex.close()
    assert run.result(20).states == {"hang": "stopped", "later": "blocked"}


def test_a_waiter_does_not_hang_when_its_executor_is_closed_while_files_are_read():
    with open("large", "wb") as file:
        file.truncate(2**43)
    ex = xec.Executor()
    run = ex.tasks().add("a", "true", depends="large").start(check=False)
    until(lambda: run._busy)
    ex.close()
    r = run.result(20)
    assert r.states == {"a": "skipped"}
    assert r["a"].reason == "its executor is closed"


def test_who_awaits_does_not_hang_when_its_executor_is_closed_while_files_are_read(caplog):
    with open("large", "wb") as file:
        file.truncate(2**43)
    ex = xec.Executor()
    run = ex.tasks().add("a", "true", depends="large").start(check=False)
    until(lambda: run._busy)

    async def main():
        awaited = asyncio.ensure_future(_awaited(run))
        await asyncio.to_thread(ex.close)
        return await asyncio.wait_for(awaited, 20)

    r = asyncio.run(main())
    assert (r.states, r["a"].reason) == ({"a": "skipped"}, "its executor is closed")
    assert not caplog.records, "nothing is raised in the loop's callbacks"


def test_an_interrupt_while_files_are_read_ends_it(ex, tmp_path):
    with open("large", "wb") as file:
        file.truncate(2**43)
    run = ex.tasks().add("a", "true", depends="large").add("b", "true", needs=["a"]).start()
    r = interrupted(run, lambda: run._busy)
    assert r.states == {"a": "skipped", "b": "skipped"}
    assert r["a"].reason == "interrupted before it started"


def test_a_file_that_is_being_read_does_not_hold_up_the_programs_end():
    with open("large", "wb") as file:
        file.truncate(2**43)
    source = (
        "import xec_magic as xec; xec.tasks().add('a', 'true', depends='large').start(); import time; time.sleep(0.3)"
    )
    ended = subprocess.run([sys.executable, "-c", source], timeout=60, check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_waiting_on_the_loops_own_thread_is_refused(ex, host):
    run = of(ex, host, a="").start()
    refused = []

    def ask():
        try:
            run.wait()
        except RuntimeError as error:
            refused.append(error)

    ex._engine.post(ask)
    run.result()
    until(lambda: refused)


# -- what is up to date -----------------------------------------------------------------------------


def pipeline(ex):
    """Two tasks with files, and one that always runs."""
    return (
        ex.tasks()
        .add("clean", "sort raw > clean", depends="raw", creates="clean")
        .add("load", "cat clean > loaded", needs=["clean"], creates="loaded")
        .add("mail", "echo sent", needs=["load"])
    )


def write(name, text):
    with open(name, "w") as file:
        file.write(text)


def test_only_what_changed_runs_and_the_reason_is_told(ex):
    write("raw", "b\na\n")
    first = pipeline(ex).run()
    assert {name: task.reason for name, task in first.items()} == {
        "clean": "it has not run before", "load": "it has not run before", "mail": "",
    }  # fmt: skip
    assert pipeline(ex).run().states == {"clean": "up to date", "load": "up to date", "mail": "ok"}
    write("raw", "c\nb\na\n")
    changed = pipeline(ex).run()
    assert (changed["clean"].reason, changed["load"].reason) == ("raw has changed", "clean has run since")
    os.unlink("loaded")
    again = pipeline(ex).run()
    assert (again["clean"].state, again["load"].reason) == ("up to date", "loaded is not there")
    other = ex.tasks().add("clean", "sort -r raw > clean", depends="raw", creates="clean").run()
    assert other["clean"].reason == "its script has changed"
    other = ex.tasks(env={"LC_ALL": "C"}).add("clean", "sort -r raw > clean", depends="raw", creates="clean").run()
    assert other["clean"].reason == "its options have changed"
    assert pipeline(ex).run("clean", force=True)["clean"].reason == "--force"


def test_a_longer_time_limit_makes_nothing_else(ex):
    ex.tasks(timeout=10).add("a", "touch a", creates="a").run()
    assert ex.tasks(timeout=20).add("a", "touch a", creates="a").run().states == {"a": "up to date"}


def test_who_was_made_from_something_older_runs_even_if_nothing_seems_to_have_changed(ex):
    write("raw", "a\n")
    pipeline(ex).run()
    write("raw", "b\n")
    pipeline(ex).run("clean")  # alone, so that `load` still is what the older one gave
    later = pipeline(ex).run("load")
    assert (later["clean"].state, later["load"].reason) == ("up to date", "clean has run since")


def test_through_a_group_it_is_seen_too(ex):
    def tasks():
        return (
            ex.tasks()
            .add("a", "cp raw a", depends="raw", creates="a")
            .add("both", needs=["a"])
            .add("use", "cp a used", needs=["both"], creates="used")
        )

    write("raw", "1")
    tasks().run()
    assert tasks().run().states == {"a": "up to date", "both": "ok", "use": "up to date"}
    write("raw", "2")
    tasks().run("both")
    assert tasks().run()["use"].reason == "both has run since"


def test_a_task_whose_kernel_died_is_not_taken_for_done(ex, monkeypatch):
    write("raw", "a\n")
    pipeline(ex).run()
    write("raw", "b\n")
    # What would be written down at the end never is: the kernel was killed while the command ran.
    with monkeypatch.context() as patch:
        patch.setattr(tasks_check.Checker, "over", lambda self, name, state, took_s: self._ran.setdefault(name, "x"))
        pipeline(ex).run("clean")
    write("raw", "a\n")
    assert pipeline(ex).run("clean")["clean"].reason == "it was not finished the last time"


def test_a_file_that_changes_while_the_task_runs_is_a_change(ex):
    write("raw", "a\n")
    made = ex.tasks().add("a", "cp raw out; echo more >> raw", depends="raw", creates="out")
    made.run()
    assert made.run()["a"].reason == "raw has changed"


def test_a_task_that_does_not_create_its_file_fails(ex):
    r = ex.tasks().add("a", "true", creates="out").add("b", "true", needs=["a"]).run(check=False)
    assert (r["a"].state, r["a"].reason, r["a"].exit_code, r["b"].state) == (
        "failed",
        "it did not create out",
        0,
        "blocked",
    )
    assert (
        ex.tasks().add("a", "true", creates="out").run(check=False, dry_run=True)["a"].reason
        == "it failed the last time"
    )


def test_what_is_above_a_link_is_above_what_it_leads_to(ex):
    os.makedirs("far/deep")
    Path("link").symlink_to("far/deep")
    Path("far/x").write_text("right")
    Path("x").write_text("wrong")
    r = ex.tasks().add("a", "cat link/../x | tee link/../y", depends="link/../x", creates="link/../y").run()
    assert r["a"].text() == "right"
    Path("far/x").write_text("new")
    assert (
        ex.tasks()
        .add("a", "cat link/../x | tee link/../y", depends="link/../x", creates="link/../y")
        .run(dry_run=True)["a"]
        .reason
        == "link/../x has changed"
    )


def test_a_pattern_among_its_files_is_told_to_be_none(ex):
    reason = ex.tasks().add("a", "touch x.out", creates="*.out").run(check=False)["a"].reason
    assert reason == "it did not create *.out; nothing is expanded in names: name each file, or their directory"
    reason = ex.tasks().add("b", "true", depends="x.[ot]*").run(check=False)["b"].reason
    assert "x.[ot]*, which is not there; nothing is expanded in names" in reason


def test_what_a_task_reads_from_a_file_as_its_input_counts_by_its_content(ex):
    write("in", "one\n")
    made = ex.tasks().add("a", "cat > out", stdin=Path("in"), creates="out").add("b", "cat", stdin=Path("in"))
    made.run()
    assert made.run().states == {"a": "up to date", "b": "ok"}  # b names no file that it makes: it always runs
    write("in", "two\n")
    again = made.run()
    assert (again["a"].state, again["a"].reason) == ("ok", "in has changed")
    assert Path("out").read_text() == "two\n"
    other = ex.tasks().add("a", "cat > out", stdin=Path("/dev/null"), creates="out")
    assert other.run().states == {"a": "ok"}, "what is no file cannot be compared"
    assert other.run().states == {"a": "up to date"}


def test_without_threads_to_look_at_files_it_ends_and_remembers(ex, monkeypatch, caplog):
    real = Helpers.submit
    refused = []

    def submit(self, function, *args):
        name = getattr(function, "__name__", "")
        if name in ("missing", "_put", "finish"):
            refused.append(name)
            raise SpawnError("no further thread is allowed (ulimit -u); end some first")
        return real(self, function, *args)

    monkeypatch.setattr(Helpers, "submit", submit)
    monkeypatch.setattr("xec_magic.compose.tasks_check.FLUSH_S", 0.0)
    made = ex.tasks().add("a", "touch a", creates="a").add("b", "true", needs=["a"])
    ended = made.start(check=False).wait(20)
    assert (ended["a"].state, ended["b"].state) == ("failed", "blocked")
    assert ended["a"].reason.startswith("whether it created its files cannot be told: no further thread is allowed")
    refused.clear()
    made = ex.tasks().add("c", "cat raw", depends="raw").add("d", "sleep 0.1", needs=["c"])
    write("raw", "x\n")
    assert made.start(check=False).wait(20).states == {"c": "ok", "d": "ok"}
    assert "_put" in refused, "what had ended could not be written down at once"
    assert made.run(check=False)["c"].state == "up to date", "and was at the end"
    assert not caplog.records, "nothing is raised in the loop's callbacks"


def test_a_dependency_that_is_not_there_fails_before_the_command_runs(ex, tmp_path):
    made = ex.tasks().add("a", "touch ran", depends="gone")
    r = made.run(check=False)
    assert (r["a"].state, r["a"].reason, r["a"].result) == ("failed", "it depends on gone, which is not there", None)
    assert not os.path.exists("ran")
    assert "it would fail, since gone is not there" in made.run(dry_run=True)["a"].reason
    with pytest.raises(TasksFailed, match="depends on gone"):
        made.run()


def test_a_task_waits_for_the_one_that_creates_what_it_depends_on(ex):
    made = ex.tasks().add("use", "cat made", depends="made").add("make", "sleep 0.1; echo yes > made", creates="made")
    assert made.run(jobs=4)["use"].text() == "yes"


def test_files_are_relative_to_where_the_task_runs(ex):
    os.mkdir("sub")
    made = ex.tasks().add("a", "echo 1 > out", cwd="sub", creates="out")
    made.run()
    assert os.path.exists("sub/out")
    assert made.run().states == {"a": "up to date"}


def test_a_dry_run_says_what_would_run_and_why_and_remembers_nothing(ex, tmp_path):
    write("raw", "a\n")
    r = pipeline(ex).run(dry_run=True)
    assert r.states == dict.fromkeys(["clean", "load", "mail"], "would run")
    assert r["mail"].reason == "it names no files, so it always runs"
    assert not os.path.exists("clean")
    assert not (tmp_path / "cache/xec-magic/tasks").exists()
    pipeline(ex).run()
    write("raw", "b\n")
    again = pipeline(ex).run(dry_run=True)
    assert (again["clean"].reason, again["load"].reason) == ("raw has changed", "clean has run since")
    assert pipeline(ex).run()["clean"].reason == "raw has changed"  # the dry run has not made it up to date
    assert r.check() is r


# -- resuming -----------------------------------------------------------------------------------------


def steps(ex, host):
    return of(ex, host, one="", fail="one", three="fail")


def test_resuming_goes_on_where_the_last_run_failed(ex, host):
    steps(ex, host).run(check=False)
    host._scripts[0][1][:] = [(Exit(0),)]  # what failed works now
    host.started.clear()
    r = steps(ex, host).run(resume=True)
    assert host.started == ["fail", "three"]
    assert r.states == {"one": "up to date", "fail": "ok", "three": "ok"}
    assert r["one"].reason == "it ended well in the run that is resumed"  # and not that nothing has changed: who knows
    host.started.clear()
    steps(ex, host).run(resume=True)
    assert host.started == ["one", "fail", "three"]  # there is nothing to resume: the last run ended well


def test_after_a_kernel_died_in_the_middle_the_run_is_resumed_as_well(ex, host, monkeypatch):
    monkeypatch.setattr(tasks_check, "FLUSH_S", 0.01)
    run = of(ex, host, one="", hang="one").start(check=False)
    until(lambda: run._checker._writes)
    for write in run._checker._writes:
        write.result()
    run._checker._store.close()  # of the run's end nothing is ever written down
    run.cancel()
    run.result()
    host.started.clear()
    again = of(ex, host, one="", hang="one").start(check=False, resume=True)
    until(lambda: host.started)
    again.cancel()
    assert again.result()["one"].state == "up to date"


def test_what_took_long_is_written_down_as_soon_as_it_has_ended(ex, host, monkeypatch):
    monkeypatch.setattr(tasks_check, "FLUSH_S", 3600.0)
    run = of(ex, host, one="", two="", hang="one two").start(check=False)
    until(lambda: "hang" in host.started)
    assert run._checker._writes == []  # short ones are written together later
    run.cancel()
    run.result()
    monkeypatch.setattr(tasks_check, "LONG_S", -1.0)
    run = of(ex, host, one="", hang="one").start(check=False)
    until(lambda: run._checker._writes)
    run._checker._writes[0].result()
    assert run._checker._store.records()[0].get("one").state == "ok"
    run.cancel()
    run.result()


def test_resuming_twice_keeps_what_the_first_run_had_done(ex, host):
    steps(ex, host).run(check=False)
    steps(ex, host).run(check=False, resume=True)
    host.started.clear()
    steps(ex, host).run(check=False, resume=True)
    assert host.started == ["fail"]


def test_without_resume_tasks_without_files_run_again(ex, host):
    steps(ex, host).run(check=False)
    host.started.clear()
    steps(ex, host).run(check=False)
    assert host.started == ["one", "fail"]


def test_resuming_runs_again_what_has_been_changed_meanwhile(ex, host):
    steps(ex, host).run(check=False)
    made = ex.tasks(target=host.target).add("one", "one, but better").add("fail", "fail", needs=["one"])
    assert made.run(check=False, resume=True)["one"].reason == "its script has changed"


# -- the store in trouble -----------------------------------------------------------------------------


def test_with_a_damaged_store_everything_runs_and_it_says_so(ex, tmp_path):
    ex.tasks().add("a", "touch a", creates="a").run()
    (file,) = (tmp_path / "cache/xec-magic/tasks").glob("*.sqlite")
    for path in file.parent.iterdir():
        path.write_bytes(b"rubbish" * 1000)
    r = ex.tasks().add("a", "touch a", creates="a").run()
    assert r.states == {"a": "ok"}
    assert "damaged" in r.notes[0]


def test_on_a_read_only_disk_everything_runs_and_it_says_so(ex, monkeypatch):
    monkeypatch.setattr(tasks_module, "cache_root", lambda: Path("/proc"))
    made = ex.tasks().add("a", "touch a", creates="a")
    assert made.run().states == made.run().states == {"a": "ok"}
    assert "nothing can be remembered" in made.run().notes[0]


def test_two_kernels_run_the_same_tasks_and_both_are_right(ex):
    with xec.Executor() as other:
        both = [
            one.tasks().add("a", "sleep 0.05; touch a", creates="a").add("b", "true", needs=["a"])
            for one in (ex, other)
        ]
        runs = [made.start() for made in both]
        assert [run.result().ok for run in runs] == [True, True]
        assert [run.result().notes for run in runs] == [(), ()]


# -- what one does with the results ---------------------------------------------------------------------


def test_results_are_a_mapping_with_the_graph_a_frame_and_the_critical_path(ex, host):
    host.on("slow", Wait(0.15), Say("out\n"))
    host._scripts.insert(0, host._scripts.pop())
    r = of(ex, host, fetch="", slow="fetch", quick="fetch", end="slow quick").run(jobs=4)
    assert r.critical_path == ["fetch", "slow", "end"]
    assert r["slow"].stdout == "out\n"
    assert r.graph["end"] == ("slow", "quick")
    frame = r.df()
    assert list(frame.index) == list(r)
    assert frame.loc["slow", "duration_s"] >= 0.15
    assert r.critical_s <= r.duration_s
    assert repr(r).startswith("<TaskResults 4 tasks: 4 ok")


def test_ignoring_signals_is_no_way_to_outlive_the_results(ex, host):
    host.on("deaf", Ignore(), Wait(1000))
    host._scripts.insert(0, host._scripts.pop())
    run = ex.tasks(target=host.target, grace=0.01).add("deaf", "deaf").start(check=False)
    until(lambda: run.running())
    run.cancel()
    assert run.result(20).states == {"deaf": "stopped"}
