"""Cells of `%%xec_tasks` in an IPython shell."""

from __future__ import annotations

import os
import re
import signal
import threading

import pytest
from helpers.waiting import until

from xec_magic import runtime
from xec_magic.errors import TasksFailed, TasksInterrupted

PIPELINE = """\
%%xec_tasks {}
fetch: --creates raw
    printf 'b\\na\\n' > raw
clean: fetch --depends raw --creates clean
    sort raw > clean
    echo cleaned
report: clean
    cat clean
"""


def test_a_cell_runs_its_tasks_shows_each_ones_output_and_keeps_the_results(run, shell):
    cell = run(PIPELINE.format("--out r"))
    assert cell.error is None
    times = re.sub(r"\d[\d.]* m?s", "TIME", cell.out)
    assert (
        "── clean: ok, TIME (it has not run before)\ncleaned\n── report: ok, TIME\na\nb\n[xec] 3 tasks: 3 ok; TIME"
        in times
    )
    assert shell.user_ns["r"]["report"].lines() == ["a", "b"]
    again = run(PIPELINE.format(""))
    assert "── fetch: up to date (nothing has changed)\n" in again.out
    assert "cleaned" not in again.out


def test_a_failure_is_one_line_in_the_cell_behind_the_record(run, shell):
    cell = run("%%xec_tasks -o r\na:\n    echo why >&2\n    exit 3\nb: a\n    true\n")
    assert isinstance(cell.error, TasksFailed)
    assert "Traceback" not in cell.out + cell.err
    assert cell.out.splitlines()[-1] == "TasksFailed: 2 tasks: 1 failed, 1 blocked; failed: a (exit code 3)"
    assert (cell.out + cell.err).count("why") == 1
    assert shell.user_ns["r"].states == {"a": "failed", "b": "blocked"}
    assert run("%%xec_tasks --no-raise -o r\na:\n    exit 3\n").error is None


def test_quiet_shows_nothing_but_the_failure(run):
    assert run("%%xec_tasks -q\na:\n    echo loud\n").out == ""
    cell = run("%%xec_tasks -q\na:\n    echo why >&2; exit 3\n")
    assert cell.out.splitlines() == ["TasksFailed: 1 task: 1 failed; failed: a (exit code 3)", "why"]


def test_values_stand_in_scripts_and_options_quoted_for_their_place(run, shell):
    shell.user_ns.update(name="a b; echo INJECTED", limit="5m", words=["x y", "z"])
    run(
        "%%xec_tasks -o r --env WHO=${{name}}\n"
        'one: --timeout ${{limit}}\n    printf \'<%s>\' ${{name}} "${{name}}" ${{words}} "$WHO"\n'
        "two: --shell python3\n    print(${{words!r}})\n"
    )
    r = shell.user_ns["r"]
    assert r["one"].stdout == "<a b; echo INJECTED><a b; echo INJECTED><x y><z><a b; echo INJECTED>"
    assert r["one"].plan.stop.timeout_s == 300
    assert r["two"].text() == "['x y', 'z']"


def test_the_names_and_options_of_the_line_may_stand_in_any_order(run, shell):
    run("%%xec_tasks -o r -j 2 a c --no-keep-going\na:\n    true\nb:\n    true\nc:\n    true\n")
    assert set(shell.user_ns["r"]) == {"a", "c"}
    assert shell.user_ns["r"].jobs == 2


def test_standing_defaults_hold_for_tasks(run, shell):
    run("%config XecMagics.timeout = '7m'")
    run("%%xec_tasks -o r\na:\n    true\nb: --timeout 3\n    true\n")
    assert [shell.user_ns["r"][name].plan.stop.timeout_s for name in "ab"] == [420, 3]


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("%%xec_tasks\n   \n", ["there are no tasks; write"]),
        ("%xec_tasks build", ["the tasks stand below: write %%xec_tasks"]),
        ("%%xec_tasks\na: a\n  x", ["line 2, column 4: a needs itself", "a: a", "   ^"]),
        ("%%xec_tasks\na: b\n  x\nb: c\n  x\nc: a\n  x", ["line 2, column 4: 3 tasks need each other in a circle: a needs b, b needs c, c needs a", "a: b", "   ^"]),
        ("%%xec_tasks\nbuild:\n  x\ntest: biuld\n  x", ["line 4, column 7: test needs biuld, which is no task; did you mean build?", "test: biuld", "      ^"]),
        ("%%xec_tasks tset\ntest:\n  x", ["there is no task 'tset'; did you mean test?"]),
        ("%%xec_tasks\na:\n  x\n\ty", ["line 4, column 1: this line is indented with a tab where the body begins with spaces; use one of them", "\ty", "^"]),
        ("%%xec_tasks\na:\n  echo one\n  echo ${{nope}}", ["line 4, column 8: ${{nope}}: NameError: name 'nope' is not defined", "  echo ${{nope}}", "       ^"]),
        ("%%xec_tasks\na: --timeout 5 --cwd /no/such\n  x", ["line 2, column 16: task a: --cwd: no such directory: /no/such", "a: --timeout 5 --cwd /no/such", "               ^"]),
        ("%%xec_tasks\na: --retries 3\n  x", ["line 2, column 1: task a: retries needs --read-only", "a: --retries 3", "^"]),
        ("%%xec_tasks\na: --timeout ${{nope}}\n  x", ["line 2, column 14: ${{nope}}: NameError: name 'nope' is not defined", "a: --timeout ${{nope}}", "             ^"]),
        ("%%xec_tasks\na: --jobs 3\n  x", ["line 2, column 4: --jobs is no option of a task; it is said of all tasks together, on the line of the cell or in run()", "a: --jobs 3", "   ^"]),
        ("%%xec_tasks\na: --nosuch\n  x", ["line 2, column 4: there is no option --nosuch; %%xec_tasks? lists them", "a: --nosuch", "   ^"]),
        ("%%xec_tasks --nosuch\na:\n  x", ["there is no option --nosuch; %%xec_tasks? lists them"]),
        ("%%xec_tasks\na:\n  x\0y", ["line 3, column 3: holds a NUL character", "  x\u2400y", "  ^"]),
        ("%%xec_tasks -j 0\na:\n  x", ["-j: at least 1 task must run at a time"]),
        ("%%xec_tasks -j -2\na:\n  x", ["-j: '-2' is no count"]),
        ("%%xec_tasks -j 100000\na:\n  x", ["jobs: 100,000 is more than the 64 commands that run here at once"]),
        ("%%xec_tasks --bg\na:\n  x", ["--bg is no option of %%xec_tasks; tasks run side by side as it is"]),
        ("%%xec_tasks --creates x\na:\n  x", ["--creates is no option of %%xec_tasks; it belongs to one task"]),
        ("%%xec_tasks -j 1 a -j 2\na:\n  x", ["--jobs is given twice"]),
        ("%%xec_tasks --retry-codes 75\na:\n  x", ["--retry-codes belongs to --retries N, and no task is tried again"]),
        ("%%xec_tasks --backoff 1s\na:\n  x", ["--backoff belongs to --retries N, and no task is tried again"]),
        ("%%xec_tasks --out _r\na:\n  x", ["--out _r: IPython itself uses that name"]),
    ],
)  # fmt: skip
def test_a_wrong_cell_is_refused_with_its_place_and_nothing_runs(run, source, lines):
    cell = run(source)
    assert type(cell.error).__name__ == "UsageError", cell
    shown = (cell.out + cell.err).rstrip("\n").split("\n")
    assert "Traceback" not in shown
    assert shown[0].startswith(f"UsageError: {lines[0]}")
    assert shown[1:] == [f"    {line}" for line in lines[1:]]
    assert runtime.current().executor.runs() == []


def test_how_to_retry_may_be_said_for_all_when_some_are_tried_again(run, shell):
    assert run("%%xec_tasks --retry-codes 75 --out r\na: --retries 1\n  true\nb:\n  true\n").error is None
    assert [task.plan.retry.retries for task in shell.user_ns["r"].values()] == [1, 0]


def test_a_dry_run_shows_what_would_run_and_why_and_runs_nothing(run, shell, tmp_path):
    cell = run(PIPELINE.format("--dry-run -o plan"))
    assert cell.out.splitlines() == [
        "[xec] 3 tasks: 3 would run",
        "→ fetch   would run  it has not run before",
        "→ clean   would run  it has not run before",
        "→ report  would run  it names no files, so it always runs",
    ]
    assert shell.user_ns["plan"]["clean"].state == "would run"
    assert runtime.current().executor.runs() == []
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize("wrong", ["\n    echo ${{TOKEN}}", " --cwd /${{TOKEN}}\n    true"])
def test_a_secret_is_not_in_the_refusal_of_a_task(run, shell, wrong):
    shell.user_ns["TOKEN"] = "very-secret-value"
    refused = run(f"%%xec_tasks\na: --secret TOKEN{wrong}\n")
    assert type(refused.error).__name__ == "UsageError"
    assert "very-secret-value" not in refused.out + refused.err


def test_a_secret_of_a_task_is_shown_nowhere(run, shell):
    shell.user_ns["TOKEN"] = "very-secret-value"
    cell = run('%%xec_tasks -o r\na: --secret TOKEN\n    echo "$TOKEN"; exit 3\n')
    assert "very-secret-value" not in cell.out + cell.err + str(cell.error)
    assert "very-secret-value" not in shell.user_ns["r"]["a"].stdout


def test_an_interrupt_is_one_line_and_keeps_what_had_been_done(run, shell):
    def interrupt():
        until(
            lambda: any(
                one.state == "running" and one.plan.label == "hang" for one in runtime.current().executor.runs()
            )
        )
        os.kill(os.getpid(), signal.SIGINT)

    sent = threading.Thread(target=interrupt)
    sent.start()
    cell = run(
        "%%xec_tasks -o r --grace 0.2\nfirst:\n    echo done\nhang: first\n    sleep 100\nlater: hang\n    true\n"
    )
    sent.join()
    assert isinstance(cell.error, TasksInterrupted)
    assert cell.out.splitlines()[-1] == "TasksInterrupted: interrupted; 3 tasks: 1 stopped, 1 blocked, 1 ok"
    assert shell.user_ns["r"].states == {"first": "ok", "hang": "stopped", "later": "blocked"}


def test_tasks_open_no_views_of_their_own_and_are_listed_by_name(run, shell):
    run("%%xec_tasks\nbuild:\n    true\n")
    assert "build" in str(run("%xec_runs").bundles)
    assert shell.magics_manager.registry["CommandMagics"].views == {}


def test_a_static_page_gets_one_display_that_is_the_same_each_time(run, shell, monkeypatch):
    monkeypatch.setenv("XEC_UI", "static")
    source = "%%xec_tasks -o r\na:\n    sleep 0.3; echo out\nb: a\n    exit 1\n"
    first, second = run(source), run(source)
    assert len(first.bundles) == 1
    assert first.bundles == second.bundles
    assert set(first.bundles[0]) == {"text/plain", "text/html"}
    assert not re.search(r"\d m?s\b|pid", first.bundles[0]["text/plain"])
    shown = run("r")
    assert shown.bundles[0]["text/html"] == first.bundles[0]["text/html"]


def test_help_lists_the_options_of_the_line_and_of_a_task(run):
    text = run("%xec_tasks --help").out
    for option in (
        "--jobs",
        "--no-keep-going",
        "--keep-going",
        "--dry-run",
        "--force",
        "--resume",
        "--depends",
        "--creates",
        "--timeout",
    ):
        assert option in text
    assert "--bg" not in text


def test_reloading_leaves_no_formatter_behind(run, shell):
    run("%%xec_tasks -o r\na:\n    true\n")
    run("r")
    run("%unload_ext xec_magic")
    formatter = shell.display_formatter.ipython_display_formatter
    assert not any("xec_magic" in getattr(printer, "__module__", "") for printer in formatter.type_printers.values())
    run("%load_ext xec_magic")
