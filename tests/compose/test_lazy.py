"""Commands that are noted down first: in order, several at once, against each other; conditions, failures, interrupts."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import pytest
from helpers.waiting import until

import xec_magic as xec
from xec_magic.transport.fake import Exit, FakeHost, Say, Wait
from xec_magic.transport.spawn import proctree

PATIENCE_S = 25.0


@pytest.fixture
def ex():
    rescued = []

    def rescue():  # a race that does not stop its losers would wait for them, whatever is raised in its thread
        for process in proctree.living((), marker):
            rescued.append(process)
            os.kill(process.pid, signal.SIGKILL)

    with xec.Executor(grace="0.5s") as made:
        marker = f"XEC_RUN_ID={made._engine.kernel_id}.".encode()
        timer = threading.Timer(PATIENCE_S, rescue)
        timer.daemon = True
        timer.start()
        yield made
        timer.cancel()
        assert rescued == [], "these were not stopped in time"
        assert proctree.living((), marker) == []


def outcomes(results):
    return [result.outcome.value for result in results]


# -- in order


def test_commands_run_one_after_the_other_and_results_are_in_the_order_of_adding(ex, tmp_path):
    log = tmp_path / "log"
    steps = ex.lazy()
    for name in "abc":
        steps.add(f"echo begin {name} >>{log}; sleep 0.05; echo end {name} >>{log}; echo {name}", name=name)
    assert [str(result) for result in steps.run()] == ["a", "b", "c"]
    assert log.read_text().split("\n")[:-1] == [f"{word} {name}" for name in "abc" for word in ("begin", "end")]


def test_nothing_runs_before_it_is_asked_for_and_it_can_be_run_again(ex, tmp_path):
    steps = ex.lazy().add(f"echo x >>{tmp_path}/ran")
    assert not (tmp_path / "ran").exists()
    steps.run()
    steps.run()
    assert (tmp_path / "ran").read_text() == "x\nx\n"


def test_no_command_gives_no_result(ex):
    assert ex.lazy().run() == ex.lazy().run_parallel() == ex.lazy().all() == []


def test_a_failure_stops_the_chain_and_its_error_names_it_and_has_all_results(ex, tmp_path):
    steps = (
        ex.lazy().add("echo a").add("echo why >&2; exit 3", name="build").add(f"touch {tmp_path}/ran", name="deploy")
    )
    with pytest.raises(xec.NonZeroExit) as caught:
        steps.run()
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("'build': exit code 3 on local")
    assert lines[1:] == ["why", "not started: deploy"]
    assert outcomes(caught.value.results) == ["ok", "failed", "not started"]
    assert not (tmp_path / "ran").exists()


def test_with_continue_all_are_run_and_failures_are_results(ex):
    results = ex.lazy().add("exit 3").add("echo b").run(on_failure="continue")
    assert [(result.exit_code, str(result)) for result in results] == [(3, ""), (0, "b")]


def test_a_failure_of_a_command_with_check_false_is_none(ex):
    assert outcomes(ex.lazy().add("exit 3", check=False).add("echo b").run()) == ["failed", "ok"]


def test_a_command_can_be_made_of_the_results_so_far(ex):
    steps = ex.lazy().add("echo '; exit 9'", name="first")
    steps.add(lambda done: xec.template("echo ${{text}}", text=done["first"].text()), name="second")
    assert str(steps.run()[1]) == "; exit 9"


# -- conditions


def test_a_condition_gets_the_results_so_far_by_name_and_a_skipped_command_says_so(ex, tmp_path):
    seen = []

    def wanted(done):
        seen.append({name: str(result) for name, result in done.items()})
        return False

    steps = ex.lazy().add("echo 1", name="one").add(f"touch {tmp_path}/ran", when=wanted, name="two").add("echo 3")
    results = steps.run()
    assert seen == [{"one": "1"}]
    assert outcomes(results) == ["ok", "skipped", "ok"]
    assert results[1].verdict() == "skipped: its condition is false"
    assert results[1].check() is results[1]
    assert not results[1]
    assert not (tmp_path / "ran").exists()


def test_a_condition_may_run_commands_and_is_called_in_the_thread_that_waits(ex):
    threads = []

    def wanted(_):
        threads.append(threading.current_thread())
        return ex.run("echo yes").text() == "yes"

    assert outcomes(ex.lazy().add("true", when=wanted).run_parallel()) == ["ok"]
    assert threads == [threading.current_thread()]
    ex.lazy().add("true", when=wanted).start().result(30)
    assert threads[1] not in (threads[0], ex._engine._portal._thread)


def test_a_condition_that_raises_is_one_error_and_what_runs_is_stopped(ex, tmp_path):
    def wanted(done):
        until(lambda: (tmp_path / "begun").exists())
        return done["nothing"].ok

    steps = (
        ex.lazy().add(f"touch {tmp_path}/begun; sleep 60", name="a").add(f"touch {tmp_path}/ran", when=wanted, name="b")
    )
    with pytest.raises(xec.CallbackError) as caught:
        steps.run_parallel()
    assert str(caught.value) == "when of 'b' raised KeyError: there is no result of 'nothing' so far; there is none"
    assert isinstance(caught.value.__cause__, KeyError)
    assert outcomes(caught.value.results) == ["cancelled", "not started"]
    assert any("in wanted" in line for line in caught.value._render_traceback_())
    assert not (tmp_path / "ran").exists()


def no_argument():
    return True


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda lazy: lazy.add("true", when=True), "when: True is no function"),
        (lambda lazy: lazy.add("true", when=lambda: True), "must take one argument, the results so far"),
        (lambda lazy: lazy.add("true", when=no_argument), "when: no_argument() must take one argument"),
        (lambda lazy: lazy.add("true", when=partial(no_argument)), "when: no_argument() must take one argument"),
        (lambda lazy: lazy.add("true", name="a").add("true", name="a"), "there is a step 'a' already"),
        (lambda lazy: lazy.add("true", name=" "), "is no name"),
        (lambda lazy: lazy.add("true", tiemout=3), "did you mean timeout?"),
        (lambda lazy: lazy.add("true", timeout="soon"), "'soon' is no duration"),
        (lambda lazy: lazy.add(3), "not int"),
        (lambda lazy: lazy.map("len"), "map: 'len' is no function"),
        (lambda lazy: lazy.filter(lambda a, b: a), "must take one argument, each result"),
        (lambda lazy: lazy.add("true").run_parallel(0), "limit must be a whole number, 1 at least, not 0"),
        (lambda lazy: lazy.add("true").run_parallel(2.5), "not 2.5"),
        (lambda lazy: lazy.add("true").all(limit=-1), "not -1"),
        (lambda lazy: lazy.add("true").start("any", limit=0), "not 0"),
        (lambda lazy: lazy.add("true").run(on_failure="stopp"), "neither 'stop' nor 'continue'"),
        (lambda lazy: lazy.add("true").start("run", limit=7), "run takes none, only run_parallel, any, all"),
        (lambda lazy: lazy.add("true").start("all", on_failure="stop"), "all takes none, only run, run_parallel"),
        (lambda lazy: lazy.add("true").start("rase"), "did you mean race?"),
        (lambda lazy: lazy.race(), "race needs a command"),
        (lambda lazy: lazy.any(), "any needs a command"),
        (lambda lazy: lazy.start("race"), "race needs a command"),
    ],
)
def test_what_is_wrong_is_refused_in_one_line(ex, wrong, words):
    with pytest.raises(xec.OptionError) as caught:
        wrong(ex.lazy())
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_asynchronous_condition_is_refused_since_it_would_always_be_true(ex):
    async def wanted(_):
        return False

    with pytest.raises(xec.OptionError, match="asynchronous"):
        ex.lazy().add("true", when=wanted)
    with pytest.raises(xec.CallbackError, match="nobody awaits it"):
        ex.lazy().add("true", when=lambda done: wanted(done)).run()


def test_an_answer_that_is_neither_true_nor_false_is_an_error_of_who_gave_it_and_what_runs_is_stopped(ex):
    class Neither:  # as a DataFrame
        def __bool__(self):
            raise ValueError("neither true nor false")

    with pytest.raises(xec.CallbackError, match="^when of 'b' raised ValueError: neither true nor false$") as caught:
        ex.lazy().add("sleep 60", name="a").add("true", when=lambda _: Neither(), name="b").run_parallel()
    assert outcomes(caught.value.results) == ["cancelled", "not started"]
    with pytest.raises(xec.CallbackError, match="^filter, called for 'step 1', raised ValueError: neither"):
        ex.lazy().add("true").filter(lambda _: Neither()).run()


# -- several at once


def test_no_more_than_the_limit_run_at_once(ex, tmp_path):
    steps = ex.lazy()
    for number in range(6):
        steps.add(f"touch {tmp_path}/{number}; ls {tmp_path} | wc -l; sleep 0.05; rm {tmp_path}/{number}")
    assert max(int(str(result)) for result in steps.run_parallel(limit=2)) <= 2


def test_results_of_several_at_once_are_in_the_order_of_adding():
    host = FakeHost("lazy-order")
    host.on("slow", Wait(0.2), Say("slow"))
    host.on("fast", Say("fast"))
    steps = xec.lazy().add("slow", target=host.target).add("fast", target=host.target)
    assert [str(result) for result in steps.run_parallel()] == ["slow", "fast"]


def test_after_a_failure_no_more_is_started_and_what_runs_ends_by_itself(ex, tmp_path):
    steps = ex.lazy().add(f"while [ ! -e {tmp_path}/failed ]; do sleep 0.02; done; echo ended", name="slow")
    steps.add("exit 3", name="bad").add(f"touch {tmp_path}/ran", name="late")

    def let_it_end():  # when the failure is known, and not when it is about to come
        until(lambda: [run for run in ex._engine.runs() if run.done()])
        (tmp_path / "failed").touch()

    thread = threading.Thread(target=let_it_end)
    thread.start()
    with pytest.raises(xec.NonZeroExit, match="not started: late") as caught:
        steps.run_parallel(limit=2)
    thread.join()
    assert outcomes(caught.value.results) == ["ok", "failed", "not started"]
    assert str(caught.value.results[0]) == "ended"


# -- race, any, all


def test_of_a_race_the_first_wins_and_the_others_are_gone(ex):
    results = []
    steps = ex.lazy().add("trap '' INT TERM; while :; do sleep 0.1; done").add("echo fast")
    results.append(str(steps.race()))
    assert results == ["fast"]
    assert proctree.living((), f"XEC_RUN_ID={ex._engine.kernel_id}.".encode()) == []


def test_many_losers_are_stopped_together_and_not_one_after_the_other(ex, monkeypatch):
    looks, asked, look, living = [], [], proctree._look, proctree.living
    monkeypatch.setattr(proctree, "_look", lambda: looks.append(None) or look())
    monkeypatch.setattr(proctree, "living", lambda *args: asked.append(None) or living(*args))
    steps = ex.lazy()
    for _ in range(40):
        steps.add("sleep 60")
    assert str(steps.add("echo fast").race()) == "fast"
    assert 2 * len(looks) < len(asked)  # each reads all of /proc


@pytest.mark.parametrize(
    "options", [{}, {"retries": 1, "read_only": True}], ids=["without a task", "in a task of its own"]
)
def test_a_loser_that_is_just_being_started_is_gone_too(ex, options):
    helper = ex._engine.transports._local.spawner.helper
    ex.run("true")
    host = FakeHost("winner")
    host.on("x", Wait(0.2), Say("won"))
    os.kill(helper.process.pid, signal.SIGSTOP)  # so that its start takes a while
    let_go = threading.Timer(1, os.kill, (helper.process.pid, signal.SIGCONT))
    let_go.start()
    assert str(ex.lazy().add("sleep 60", **options).add("x", target=host.target).race()) == "won"
    assert let_go.finished.is_set()
    assert proctree.living((), f"XEC_RUN_ID={ex._engine.kernel_id}.".encode()) == []


def test_a_race_is_over_when_the_first_fails(ex):
    with pytest.raises(xec.NonZeroExit) as caught:
        ex.lazy().add("sleep 60", name="slow").add("exit 3", name="bad").race()
    assert outcomes(caught.value.results) == ["cancelled", "failed"]
    assert caught.value.results[0].verdict() == "cancelled (another one was first)"


def test_a_race_of_one_is_its_result(ex):
    assert str(ex.lazy().add("echo alone").race()) == "alone"


def test_in_a_race_one_that_cannot_start_is_the_first_to_end(ex, tmp_path):
    steps = ex.lazy().add("sleep 60").add("echo x", tee="/dev/stdin/no", name="wrong")
    with pytest.raises(xec.XecError, match="wrong"):
        steps.race()


def test_nothing_of_a_race_starts_when_one_cannot_be_planned(ex):
    with pytest.raises(xec.OptionError, match="'b': cwd: no such directory"):
        ex.lazy().add("sleep 60").add("true", cwd="/no/such/dir", name="b").race()
    assert ex._engine.runs() == []


def test_any_takes_the_first_that_ends_well(ex):
    assert str(ex.lazy().add("exit 1").add("sleep 0.1; echo good").add("sleep 60").any()) == "good"


def test_when_none_ends_well_the_error_names_each(ex):
    steps = ex.lazy().add("exit 3", name="a").add("kill -9 $$", name="b").add("sleep 60", name="c", timeout="0.2s")
    with pytest.raises(xec.AllFailed) as caught:
        steps.any()
    lines = str(caught.value).splitlines()
    assert lines[0] == "none of 3 ended well"
    assert [line.split(":")[0] for line in lines[1:]] == ["a", "b", "c"]
    assert outcomes(caught.value.results) == ["failed", "signalled", "timed out"]


def test_of_all_the_first_failure_stops_the_others(ex):
    with pytest.raises(xec.NonZeroExit) as caught:
        ex.lazy().add("sleep 60").add("exit 3").all()
    assert outcomes(caught.value.results) == ["cancelled", "failed"]
    assert [str(result) for result in ex.lazy().add("echo a").add("echo b").all(limit=1)] == ["a", "b"]


def test_skipped_commands_take_no_part_in_a_race(ex):
    no = lambda _: False  # noqa: E731
    assert str(ex.lazy().add("echo skipped", when=no).add("sleep 0.1; echo ran").race()) == "ran"
    with pytest.raises(xec.OptionError, match="all commands were skipped"):
        ex.lazy().add("true", when=no).any()


# -- values


def test_map_and_filter_work_on_each_result_in_the_order_of_adding(ex):
    steps = ex.lazy().add("sleep 0.1; echo 1").add("echo 2").add("echo 3", when=lambda _: False).add("echo 4")
    doubled = steps.map(lambda r: int(str(r)) * 2).filter(lambda n: n != 4)
    assert doubled.run_parallel() == [2, 8]
    assert len(steps.run()) == 4


def test_with_continue_map_and_filter_see_the_failures_too(ex):
    steps = ex.lazy().add("exit 3").add("echo b")
    assert steps.map(lambda r: r.exit_code).run(on_failure="continue") == [3, 0]
    assert steps.filter(lambda r: r.ok).map(str).run(on_failure="continue") == ["b"]


def test_what_is_filtered_out_does_not_win(ex):
    steps = ex.lazy().add("echo 1").add("sleep 0.2; echo 2")
    assert steps.map(lambda r: int(str(r))).filter(lambda n: n > 1).any() == 2
    assert steps.map(lambda r: int(str(r))).filter(lambda n: n > 1).race() == 2
    with pytest.raises(xec.AllFailed, match="step 2: filtered out"):
        steps.filter(lambda _: False).any()


def test_a_map_that_raises_stops_the_rest(ex):
    with pytest.raises(xec.CallbackError, match="map, called for 'bad', raised ValueError: invalid literal") as caught:
        ex.lazy().add("echo x", name="bad").add("sleep 60").map(lambda r: int(str(r))).run_parallel()
    assert outcomes(caught.value.results) == ["ok", "cancelled"]


# -- handles, interrupts, ends


def test_a_handle_is_awaited_or_waited_for(ex):
    steps = ex.lazy().add("echo a").add("sleep 0.1; echo b")

    async def main():
        return await steps.start("race"), await steps.map(str).start("all")

    first, both = asyncio.run(main())
    assert (str(first), both) == ("a", ["a", "b"])
    assert str(steps.start("any").result(30)) == "a"


def test_an_interrupt_while_its_thread_begins_stops_what_nobody_has_a_handle_of(ex, monkeypatch):
    real = threading.Thread.start

    def broken_into(thread):  # the thread goes on before the call returns, and an interrupt comes up in that
        real(thread)
        if thread.name == "xec-lazy all":
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", broken_into)
    with pytest.raises(KeyboardInterrupt):
        ex.lazy().add("sleep 60").add("sleep 60").start("all")
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "xec-lazy all"])


def test_a_handle_that_is_not_over_says_so_and_is_cancelled(ex):
    work = ex.lazy().add("sleep 60", name="nap").add("true").start()
    with pytest.raises(TimeoutError, match=r"lazy run still goes on after 0\.05 s"):
        work.result(0.05)
    work.cancel()
    with pytest.raises(xec.Cancelled, match="'nap': cancelled") as caught:
        work.result(30)
    assert outcomes(caught.value.results) == ["cancelled", "not started"]


def test_cancelling_the_task_that_awaits_stops_everything_before_it_ends(ex):
    work = None

    async def main():
        nonlocal work
        work = ex.lazy().add("sleep 60").add("sleep 60").start("all")
        task = asyncio.ensure_future(work._wait())
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert work.done()


def test_a_closed_executor_ends_what_goes_on():
    executor = xec.Executor()
    work = executor.lazy().add("sleep 60").add("true").start(on_failure="continue")
    time.sleep(0.2)
    executor.close()
    with pytest.raises(xec.XecError) as caught:
        work.result(30)
    assert "closed" in str(caught.value)
    assert outcomes(caught.value.results) == ["cancelled", "not started"]


INTERRUPTED = """
import os, signal, threading, time
import xec_magic as xec
from xec_magic import runtime
from xec_magic.transport.spawn import proctree
executor = runtime.current().executor
def living(): return proctree.living((), f"XEC_RUN_ID={executor.kernel_id}.".encode())
mapped = threading.Event()
def said(): return len([r for r in executor.runs() if r.log.size()])
def interrupt():
    while not WANTED: time.sleep(0.01)
    for _ in range(TIMES):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.5)
threading.Thread(target=interrupt, daemon=True).start()
steps = xec.lazy()
try:
    try:
        print(BODY)
    except Exception as error:
        print("swallowed", error)
except KeyboardInterrupt as stop:
    print(type(stop).__name__, [r.outcome.value for r in getattr(stop, "results", ())], living())
"""


@pytest.mark.parametrize(
    ("body", "wanted", "times", "printed"),
    [
        ("steps.add('echo a; sleep 60').add('true').run()", "said() >= 1", 1, "RunInterrupted ['interrupted', 'not started'] []"),
        ("steps.add('echo a; sleep 60').add('echo a; sleep 60').all()", "said() >= 2", 1, "RunInterrupted ['interrupted', 'interrupted'] []"),
        (
            "steps.add('trap \"\" INT TERM; echo a; while :; do sleep 0.1; done', grace=60).race()", "said() >= 1", 2,
            "RunInterrupted ['interrupted'] []",
        ),
        (
            "steps.add('echo a; sleep 60').add('true', when=lambda _: time.sleep(60)).run_parallel()", "said() >= 1", 1,
            "RunInterrupted ['interrupted', 'not started'] []",
        ),
        (
            "steps.add('true', when=lambda _: xec.run('echo a; sleep 60').ok).run()", "said() >= 1", 1,
            "RunInterrupted ['not started'] []",
        ),
        ("steps.add('echo a; sleep 60').start().result()", "said() >= 1", 1, "RunInterrupted ['interrupted'] []"),
        (
            "steps.add('echo a').add('true').map(lambda _: (mapped.set(), time.sleep(60))).run()", "mapped.is_set()", 1,
            "RunInterrupted ['ok', 'not started'] []",
        ),
    ],
)  # fmt: skip
def test_an_interrupt_stops_everything_and_nothing_swallows_it(body, wanted, times, printed):
    program = INTERRUPTED.replace("WANTED", wanted).replace("TIMES", str(times)).replace("BODY", body)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == printed, done.stderr


def test_hundreds_of_commands_all_end():
    host = FakeHost("lazy-many")
    host.on("x", Exit(0))
    steps = xec.lazy()
    for _ in range(500):
        steps.add("x", target=host.target)
    assert len([r for r in steps.run_parallel(limit=50) if r.ok]) == 500
