"""Cells with `--batch`: one shell, a table, the results kept; wrong ones refused in one line."""

from __future__ import annotations

import os

import pytest

import xec_magic as xec
from xec_magic import runtime
from xec_magic.errors import RunInterrupted, SomeFailed
from xec_magic.outcome import Outcome


def test_a_cell_streams_its_output_then_shows_the_table_and_keeps_the_results(run, shell):
    cell = run("%%xec --batch --out r\necho a\ncd /\n# no command\npwd; echo err >&2\n")
    assert cell.error is None
    assert cell.out.startswith("a\n/\n#  command")
    assert cell.err == "err\n"
    assert len(cell.out.splitlines()) == 7
    results = shell.user_ns["r"]
    assert isinstance(results, xec.Results)
    assert [str(result) for result in results] == ["a", "", "/"]
    assert xec.last is results.whole


def test_a_failing_cell_raises_after_its_table_and_keeps_the_results(run, shell):
    cell = run("%%xec --batch --out r\necho a\nexit 3\necho b")
    assert isinstance(cell.error, SomeFailed)
    assert "SomeFailed: command 2 of 3: exit code 3: exit 3; 1 not started" in cell.out + cell.err
    assert "3  echo b   not started" in cell.out
    assert len(shell.user_ns["r"].not_started) == 1


def test_with_keep_going_all_run_and_the_cell_still_fails(run, shell):
    cell = run("%%xec --batch --keep-going --out r\nfalse\necho b")
    assert isinstance(cell.error, SomeFailed)
    assert [result.ok for result in shell.user_ns["r"]] == [False, True]
    assert run("%%xec --batch --keep-going --no-raise\nfalse\necho b").error is None


def test_isolated_commands_share_nothing(run, shell):
    run("%%xec --batch --isolated --out r\nx=1; cd /\necho ${x-unset}; exit 0\necho on")
    assert [str(result) for result in shell.user_ns["r"]] == ["", "unset", "on"]


def test_values_are_filled_in_command_by_command(run, shell):
    shell.user_ns["v"] = "a\n---\nb; echo INJECTED"
    run("%%xec --batch --out r\nv=${{v}}\nprintf '%s' \"$v\"")
    assert [result.stdout for result in shell.user_ns["r"]] == ["", shell.user_ns["v"]]


def test_a_static_page_gets_one_table_and_a_page_replaces_the_live_log_by_it(run, shell, monkeypatch):
    monkeypatch.setenv("XEC_UI", "static")
    cell = run("%%xec --batch\necho a; echo b\necho c")
    assert len(cell.bundles) == 1
    assert "<table" in cell.bundles[0]["text/html"]
    assert "<details>" in cell.bundles[0]["text/html"]
    assert cell.bundles[0]["text/plain"].splitlines()[-1] == "[xec] 2 ok"
    shown = run("xec = __import__('xec_magic'); xec.batch(['true', 'true'])").bundles
    assert ["<table" in bundle["text/html"] for bundle in shown] == [True]


def test_no_frame_is_ever_seen(run, shell, tmp_path):
    cell = run("%%xec --batch --out r --tee log.txt\necho a\nls -l\nset -x\necho b\nset")
    text = cell.out + cell.err + (tmp_path / "log.txt").read_text() + shell.user_ns["r"].whole.output
    assert "\x1e" not in text


def test_as_df_gives_the_table(run, shell):
    pytest.importorskip("pandas")
    assert "echo c" in run("%%xec --batch --as df\necho a\necho c").out
    run("%%xec --batch --as df --out frame\necho a\necho c")
    assert list(shell.user_ns["frame"]["stdout"]) == ["a", "c"]


def test_in_the_background_the_run_has_the_parts(run, shell):
    run("%%xec --batch --bg --out job\necho a\necho b")
    run("%xec_runs wait")
    assert [str(part) for part in shell.user_ns["job"].result().parts] == ["a", "b"]


def test_show_shows_the_commands(run):
    assert "$ echo a\n$ ---\n$ cd /\n$ pwd\n" in run("%%xec --batch --show\necho a\n---\ncd /\npwd").out


def test_an_interrupt_keeps_the_results(run, shell):
    cell = run(f"%%xec --batch --out r\necho a\nsleep 1; kill -INT {os.getpid()}; sleep 60\necho b")
    assert isinstance(cell.error, RunInterrupted)
    assert [result.outcome for result in shell.user_ns["r"]] == [Outcome.OK, Outcome.INTERRUPTED, Outcome.NOT_STARTED]
    assert cell.error.results is shell.user_ns["r"]


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("%%xec --batch\n  \n", "there is no command; write %xec CMD, or %%xec with the command on the lines below"),
        ("%%xec --batch\n# nothing\n---\n", "there is no command in the batch; write one a line"),
        ("%%xec --keep-going\nls", "--keep-going does nothing without --batch; write both, or neither"),
        ("%%xec --isolated\nls", "--isolated does nothing without --batch; write both, or neither"),
        ("%xec --batch ls", "--batch needs a cell: write %%xec --batch, and the commands on the lines below"),
        ("%%xec --batch --as json\nls", "--as json turns one output into a value, and a batch has many; write --as df for the table of results, or --out results and take results[0]"),
        ("%%xec --batch --shell python3\nprint(1)", "a batch needs a shell (bash, sh, dash, zsh); python3 is none that it knows"),
        ("%%xec --batch --retries 2 --read-only\nls", "--retries would run again what has already ended well in the batch; retry in the command itself, or run it by itself"),
        ("%%xec --batch\nls\necho 'abc\nls", "line 2 is not understood, so where its command ends is not certain; write --- alone on a line between the commands"),
        ("%%xec --batch\nls\nls ${{nope}}", "in the command at line 2, its line 1: ${{nope}}: NameError: name 'nope' is not defined"),
    ],
)  # fmt: skip
def test_a_wrong_batch_is_refused_in_one_line_and_nothing_runs(run, shell, source, line):
    before = len(runtime.current().executor.runs())
    cell = run(source)
    assert (cell.out + cell.err).strip() == f"UsageError: {line}"
    assert before == len(runtime.current().executor.runs())


@pytest.mark.parametrize("ui", ["text", "static"])
def test_show_puts_the_commands_before_the_table(ui, run, monkeypatch):
    monkeypatch.setenv("XEC_UI", ui)
    cell = run("%%xec --batch --show\necho a\necho '<b>'")
    assert cell.out.startswith("$ echo a\n$ echo '<b>'\n")
    assert all("&lt;b&gt;" in bundle["text/html"].split("<table")[0] for bundle in cell.bundles)
