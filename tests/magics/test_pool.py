"""`--session`, `--worker` and `%xec_pool` in an IPython shell."""

from __future__ import annotations

import os
import signal
import time

import pytest

import xec_magic as xec
from xec_magic import runtime
from xec_magic.errors import NonZeroExit
from xec_magic.transport.spawn import proctree


def test_a_session_goes_on_from_cell_to_cell_also_after_one_that_failed(run):
    run("%%xec --session etl\ncd /usr; x=5")
    assert isinstance(run("%%xec --session etl\ny=6; false; y=7").error, NonZeroExit)
    assert run("%%xec --session etl\necho $PWD $x $y").out == "/usr 5 6\n"
    assert run("%%xec --session etl --reset\necho ${x-new}").out == "new\n"


def test_a_session_that_a_failing_cell_has_ended_is_said_on_a_terminal_and_by_the_error(run):
    said = run("%%xec --session etl\nx=1\nexit 3").said.splitlines()
    assert said[0] == (
        "[xec] session etl was lost (the script called exit): its variables are gone, and the next command starts a new one"
    )
    assert len(said) == 2  # and the error, which does not say it again
    with pytest.raises(NonZeroExit, match="exit 3\nsession etl was lost"):
        xec.run("exit 3", session="etl")


def test_a_worker_shows_what_the_command_prints(run):
    cell = run("%%xec --worker\necho out; echo err >&2")
    assert (cell.out, cell.err) == ("out\n", "err\n")


def test_a_session_that_is_lost_is_told_in_the_cell(run):
    cell = run("%%xec --session etl --no-raise\nexit 3")
    assert "session etl was lost (the script called exit): its variables are gone" in cell.out


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--session 'a b'", "no name for a session"),
        ("--session etl --worker", "leave one of them out"),
        ("--reset", "name it with --session NAME"),
        ("--worker --shell python3", "--worker: python3 cannot be kept ready; bash, dash, sh and zsh can"),
        ("--session", "--session needs a value, NAME"),
    ],
)
def test_a_wrong_cell_is_refused_in_one_line(line, words, run):
    cell = run(f"%%xec {line}\necho ran")
    assert type(cell.error).__name__ == "UsageError"
    lines = (cell.out + cell.err).strip().splitlines()
    assert len(lines) == 1
    assert words in lines[0]


def test_where_a_worker_is_the_standing_default_other_interpreters_run_as_ever(run, monkeypatch):
    monkeypatch.setenv("XEC_WORKER", "1")
    assert run("%%xec --shell python3\nprint(1)").out == "1\n"
    assert run("%%xec --session etl\necho s").out == "s\n"


def test_the_pool_lists_sessions_and_waiting_shells(run):
    assert run("%xec_pool").out.strip() == "[xec] nothing is kept ready"
    run("%%xec --session etl\ntrue")
    run("%%xec --session etl\ntrue")
    run("%%xec --session other --shell dash\ntrue")
    cell = run("%xec_pool")
    lines = cell.out.splitlines()
    assert lines[0].split() == ["kind", "name", "shell", "or", "host", "pid", "state", "served", "age", "idle"]
    assert lines[1].split()[:3] == ["session", "etl", "bash"]
    assert "idle   2 commands" in lines[1]
    assert lines[2].split()[:3] == ["session", "other", "dash"]
    assert "<table" in cell.bundles[0]["text/html"]


def test_where_nothing_may_change_from_run_to_run_the_pool_says_no_pids_and_times(run, monkeypatch):
    monkeypatch.setenv("XEC_UI", "static")
    run("%%xec --session etl\ntrue")
    assert run("%xec_pool").out.splitlines() == [
        "kind     name  shell or host  state  served",
        "session  etl   bash           idle   1 command",
    ]


def test_sessions_are_stopped_with_all_that_they_have_left(run):
    run("%%xec --session etl\nsleep 60 >/dev/null 2>&1 &\nsh -c 'trap \"\" TERM; sleep 61' >/dev/null 2>&1 &")
    kernel_id = runtime.current().executor.kernel_id
    marker = f"XEC_RUN_ID={kernel_id}.".encode()
    assert len(proctree.living((), marker)) >= 3
    run("%xec_pool stop etl")
    assert [process.name for process in proctree.living((), marker)] == []
    assert run("%xec_pool").out.strip() == "[xec] nothing is kept ready"
    assert run("%%xec --session etl\necho ${x-new}").out == "new\n"


def test_all_are_stopped(run):
    run("%%xec --session a\ntrue")
    run("%%xec --session b\ntrue")
    run("%%xec --worker\ntrue")
    deadline = time.monotonic() + 10
    while "worker" not in run("%xec_pool").out:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run("%xec_pool stop all")
    assert run("%xec_pool").out.strip() == "[xec] nothing is kept ready"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("stop elt", "there is no session 'elt'; did you mean etl?"),
        ("stop", "name a session"),
        ("lst", "cannot 'lst'; did you mean list?"),
        ("list x", "takes nothing more"),
    ],
)
def test_a_wrong_line_is_refused_with_the_nearest(line, words, run):
    run("%%xec --session etl\ntrue")
    cell = run(f"%xec_pool {line}")
    assert type(cell.error).__name__ == "UsageError"
    assert words in cell.out + cell.err


@pytest.mark.filterwarnings("ignore:.Completer.complete. is pending deprecation:PendingDeprecationWarning")
def test_session_names_are_completed(run, shell):
    run("%%xec --session etl\ntrue")
    run("%%xec --session load\ntrue")
    for line, wanted in [
        ("%xec --session ", {"etl", "load"}),
        ("%xec_pool stop l", {"load"}),
        ("%xec --session=e", {"etl"}),
    ]:
        assert set(shell.complete("", line, len(line))[1]) == wanted, line


def test_unloading_ends_every_shell(run, shell):
    run("%%xec --session etl\nsleep 60 >/dev/null 2>&1 &")
    run("%%xec --worker\ntrue")
    marker = f"XEC_RUN_ID={runtime.current().executor.kernel_id}.".encode()
    assert proctree.living((), marker)
    shell.run_line_magic("unload_ext", "xec_magic")
    assert proctree.living((), marker) == []
    shell.run_line_magic("load_ext", "xec_magic")


def test_a_shell_killed_from_outside_is_told_with_the_next_cell(run):
    run("%%xec --session etl\nx=1")
    executor = runtime.current().executor
    os.kill(executor.transports.workers.sessions["etl"].shells.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while executor.transports.session_names():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    cell = run("%%xec --session etl\necho ${x-new}")
    assert cell.out.splitlines()[0] == "new"
    assert "was lost while it was idle" in cell.out
