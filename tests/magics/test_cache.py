"""What `%xec_cache` and the cache options of `%%xec` promise, in an IPython shell; and a notebook that is resumed."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
from pathlib import Path
from unittest.mock import Mock

import nbformat
import pytest
from helpers.cells import refusal
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from xec_magic import runtime
from xec_magic.engine.diskchanges import Changes

LOAD = "%load_ext xec_magic"


CELL = "%%xec --cache 5m --out r\necho run >> runs; echo done"


def runs():
    return Path("runs").read_text().count("run")


def test_an_equal_cell_is_answered_says_so_and_keeps_its_result(run, shell):
    assert run(CELL).out == "done\n"
    again = run(CELL)
    assert re.fullmatch(r"done\n\[xec\] ok, cached \d s ago; --refresh runs it again\n", again.out)
    assert runs() == 1
    assert shell.user_ns["r"].cached is not None
    assert run(CELL.replace("5m", "5m --refresh")).out == "done\n"
    assert runs() == 2


def test_the_line_form_and_values_in_options_work_as_well(run, shell):
    shell.user_ns.update(ttl="5m", name="my key")
    run("a = %xec --cache ${{ttl}} --cache-key ${{name}} date +%N")
    run("b = %xec --cache ${{ttl}} --cache-key ${{name}} date +%N")
    assert shell.user_ns["a"].stdout == shell.user_ns["b"].stdout


def test_a_hit_of_a_failure_raises_in_its_cell_with_its_age(run):
    cell = "%%xec --cache 5m --cache-failures 1m\necho no >&2; exit 3"
    assert run(cell).error.cached is None
    again = run(cell)
    assert again.error.exit_code == 3
    assert "(cached 0 s ago)" in str(again.error)


def test_in_the_background_a_hit_is_there_at_once(run, shell):
    run(CELL)
    run("%%xec --bg --cache 5m --out job\necho run >> runs; echo done")
    assert shell.user_ns["job"].done()
    assert runs() == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--cache soon", "--cache: 'soon' is no duration"),
        ("--cache 0", "--cache: a result that is kept for 0 seconds is never used"),
        ("--cache -5", "--cache: '-5' is no duration"),
        ("--cache=nan", "--cache: 'nan' is no duration"),
        ("--cache", "--cache needs a value, TTL"),
        ("--cache 5 --stale inf", "--stale: 'inf' is no duration"),
        ("--cache 5 --cache-failures soon", "--cache-failures: 'soon' is no duration"),
        ("--cache 5 --cache-if 'ok and'", "--cache-if: 'ok and' is no Python expression: invalid syntax at its end"),
        ("--cache 5 --cache-if 'stdot'", "--cache-if: a result has no 'stdot'; did you mean stdout?"),
        ("--cache 5 --cache-if ''", "--cache-if: '' is no Python expression"),
        ("--cache 5 --cache-key ''", "cache key: the text is empty"),
        ("--cache 5 --cache-env 'A B'", "--cache-env: 'A B'"),
        ("--cache 5 --depends nmubers.txt", "no such file or directory"),
        ("--cache 5 --secret TOKEN", "what a command makes of a secret is never kept"),
        ("--cache 5 --session etl", "a session's state is in no key"),
        ("--persist", "--persist does nothing without a cache; give --cache TTL as well"),
        ("--refresh", "--refresh does nothing without a cache"),
        ("--depends numbers.txt", "--depends does nothing without a cache"),
        ("--cahce 5", "did you mean --cache?"),
    ],
)
def test_a_wrong_cache_is_refused_in_one_line_and_nothing_runs(run, shell, options, reason):
    Path("numbers.txt").write_text("1")
    shell.user_ns["TOKEN"] = "long enough"
    said = refusal(run(f"%%xec {options}\ntouch ran"))
    assert reason in said
    assert not Path("ran").exists()


def test_a_missing_dependency_is_refused_with_the_nearest_name(run):
    Path("numbers.txt").write_text("1")
    assert "did you mean numbers.txt?" in refusal(run("%%xec --cache 5 --depends number.txt\ntrue"))


def test_what_a_command_depends_on_is_looked_for_where_it_runs(run, shell):
    Path("proj").mkdir()
    Path("in.txt").write_text("the kernel's")
    Path("proj/in.txt").write_text("one")
    Path("proj/own.txt").write_text("own")
    cell = "%%xec --cwd proj --cache 1h --depends in.txt --depends own.txt --out r\ncat in.txt"
    run(cell)
    run(cell)
    assert (shell.user_ns["r"].stdout, shell.user_ns["r"].cached is not None) == ("one", True)
    Path("proj/in.txt").write_text("two")
    run(cell)
    assert shell.user_ns["r"].stdout == "two"
    Path("in.txt").write_text("changed")
    run(cell)
    assert shell.user_ns["r"].cached is not None


def test_an_interrupt_while_a_large_file_is_read_is_said_in_one_line(run, shell, monkeypatch):
    Path("big").write_text("x")
    cell = "%%xec --cache 60 --depends big --out r\ntouch ran"
    with monkeypatch.context() as patched:
        patched.setattr("xec_magic.engine.stamps.Stamps._read", lambda *_: signal.raise_signal(signal.SIGINT))
        stopped = run(cell)
    said = (stopped.out + stopped.err).strip()
    assert re.fullmatch(
        r"RunInterrupted: interrupted \(before it started, while what it depends on was looked at\) on local after .*: touch ran",
        said,
    )
    assert isinstance(stopped.error, KeyboardInterrupt)
    assert not Path("ran").exists()
    assert run(cell).error is None


def test_what_the_cache_needs_is_no_standing_default(run, monkeypatch):
    Path("xec.toml").write_text('cache = "5m"')
    runtime.close()
    assert "cache is no standing default; write --cache on the line that needs it" in refusal(run("%%xec\ntrue"))


# -- %xec_cache -----------------------------------------------------------------------------------


def test_what_is_kept_is_listed_with_command_target_age_size_hits_and_tier(run):
    assert run("%xec_cache").out.strip() == "[xec] nothing is kept"
    run(CELL)
    run(CELL)
    run("%%xec --cache inf --persist\necho kept")
    lines = run("%xec_cache").out.splitlines()
    assert lines[0].split() == ["command", "target", "age", "left", "size", "hits", "tier"]
    assert re.fullmatch(r"echo run >> runs; echo done +local +\d s +4 min +5 B +1 +memory", lines[1])
    assert re.fullmatch(r"echo kept +local +\d s +for ever +5 B +0 +memory, disk", lines[2])
    assert len(run("%xec_cache list 'echo k*'").out.splitlines()) == 2
    assert run("%xec_cache list 'nothing*'").out.strip() == "[xec] nothing that is kept matches 'nothing*'"


def test_the_numbers_are_shown(run):
    run(CELL)
    run(CELL)
    run("%%xec --cache 5m --no-raise\nexit 1")
    said = dict(re.split(r"  +", line, maxsplit=1) for line in run("%xec_cache stats").out.splitlines())
    assert (said["hits"], said["misses"], said["stores"], said["not stored"]) == ("1 of 3 (33%)", "2", "1", "1")
    assert said["time saved"].endswith(("ms", "s"))
    assert said["in memory"].startswith("1 entry, ")


def test_forgetting_and_clearing_say_how_many(run):
    run(CELL)
    run("%%xec --cache 5m\necho other")
    assert run("%xec_cache forget 'echo run*'").out == "[xec] forgot 1 result\n"
    assert run("%xec_cache forget echo run*").out == "[xec] nothing that is kept matches 'echo run*'\n"
    assert run("%xec_cache clear").out == "[xec] forgot 1 result\n"
    assert run("%xec_cache clear").out == "[xec] forgot 0 results\n"
    run(CELL)
    assert runs() == 2


def test_a_link_that_leads_nowhere_is_not_its_own_nearest_name(run):
    Path("numbers.txt").symlink_to("gone")
    assert refusal(run("%%xec --cache 5m --depends numbers.txt\necho no")).endswith("/numbers.txt")


def test_what_a_disk_does_not_forget_is_said_in_one_line(run, monkeypatch):
    run("%%xec --cache 5m --persist\necho kept")
    runtime.current().executor.cache.disk.flush()
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    monkeypatch.setattr(Changes, "commit", Mock(side_effect=full))
    for line in ("%xec_cache forget 'echo kept'", "%xec_cache clear"):
        assert "the disk takes no change, so 1 of the results to forget stay" in refusal(run(line))


def test_a_command_is_run_ahead_so_that_its_cell_need_not(run):
    run("%xec_cache warm --cache 5m echo run >> runs; echo done")
    run("%xec_runs wait")
    assert "cached" in run("%xec --cache 5m echo run >> runs; echo done").out
    assert "cached" in run("%%xec --cache 5m\necho run >> runs; echo done").out
    assert runs() == 1


def test_what_is_kept_is_renewed_behind(run, shell):
    run(CELL)
    assert re.match(r"\[xec\] 1 result renewed behind, run \d+", run("%xec_cache renew 'echo run*'").out)
    run("%xec_runs wait")
    assert runs() == 2
    run(CELL)
    assert runs() == 2
    assert shell.user_ns["r"].cached < 60
    assert "holds nothing that matches" in run("%xec_cache renew nothing*").out


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("frget x", "%xec_cache cannot 'frget'; did you mean forget?"),
        ("xyzzy", "%xec_cache cannot 'xyzzy'; there are list, stats, forget, clear, warm, renew"),
        ("forget", "write a pattern"),
        ("renew", "write a pattern"),
        ("clear all", "%xec_cache clear takes nothing more, but 'all' stands there"),
        ("stats now", "%xec_cache stats takes nothing more"),
        ("warm", "there is no command to run ahead"),
        ("warm --cache 5m", "there is no command to run ahead"),
        ("warm echo x", "without --cache nothing is kept"),
        ("warm --cache soon echo x", "'soon' is no duration"),
    ],
)
def test_a_wrong_line_is_refused_with_what_to_write(run, line, reason):
    assert reason in refusal(run(f"%xec_cache {line}"))


def test_help_names_every_verb(run):
    said = run("%xec_cache --help").out
    assert all(f"%xec_cache {verb}" in said for verb in ("list", "stats", "forget", "clear", "warm", "renew"))


def test_where_nothing_may_change_from_run_to_run_no_age_is_shown(run, monkeypatch):
    monkeypatch.setenv("XEC_UI", "static")
    run(CELL)
    assert run(CELL).out == "done\n[xec] ok, cached"
    table = run("%xec_cache").out
    assert "age" not in table
    assert not re.search(r"\d s\b", table)
    assert "saved" not in run("%xec_cache stats").out


# -- a notebook that is resumed -------------------------------------------------------------------


STEPS = [
    """%%xec --cache inf --persist --depends ${{work}}/input.csv --out rows
echo extract >> ${{work}}/log; tail -n +2 ${{work}}/input.csv | wc -l | tr -d ' '""",
    """%%xec --cache inf --persist --out total --as json
echo sum >> ${{work}}/log; awk -F, 'NR > 1 { sum += $2 } END { print sum }' ${{work}}/input.csv""",
    """%%xec --cache inf --persist --out report
echo load >> ${{work}}/log; test -e ${{work}}/target || { echo "the target is not there" >&2; exit 1; }; echo "loaded ${{total}}" """,
    """%%xec --cache inf --persist
echo notify >> ${{work}}/log; echo ${{report.text()}}""",
]


def notebook(work):
    cells = [LOAD, f"import os; os.chdir({str(work)!r}); work = {str(work)!r}", *STEPS]
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])


def run_all(book):
    """Run All in a new kernel."""
    NotebookClient(book, timeout=60, kernel_name="python3").execute()


@pytest.mark.filterwarnings("default")
def test_a_resumed_notebook_replays_what_was_finished_and_goes_on_at_the_broken_cell(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (work / "input.csv").write_text("name,value\na,1\nb,2\nc,3\n")
    log = work / "log"

    with pytest.raises(CellExecutionError, match="the target is not there"):
        run_all(notebook(work))
    assert log.read_text().split() == ["extract", "sum", "load"]

    (work / "target").touch()  # what was broken is mended; the kernel is a new one
    book = notebook(work)
    run_all(book)
    assert log.read_text().split() == ["extract", "sum", "load", "load", "notify"]
    texts = [json.dumps([output.get("data", output) for output in cell.outputs]) for cell in book.cells]
    assert "[xec] ok, cached" in texts[2]
    assert "cached" not in texts[4]
    assert "loaded 6" in texts[5]

    again = notebook(work)
    run_all(again)
    assert log.read_text().split() == ["extract", "sum", "load", "load", "notify"]
    assert ["cached" in json.dumps(cell.outputs) for cell in again.cells[2:]] == [True] * 4

    (work / "input.csv").write_text("name,value\na,1\nb,2\nc,4\n")  # the first cell depends on it, and says so
    run_all(notebook(work))
    assert log.read_text().split()[5:] == ["extract"]
