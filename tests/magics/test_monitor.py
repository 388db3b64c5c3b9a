"""`%xec_monitor`, and `--monitor` in cells."""

import re

import pytest
from helpers.cells import refusal


def test_a_monitored_cell_ends_with_its_curves_as_text(run):
    cell = run("%%xec --monitor --rate 20 --mark two\necho one; sleep 0.3; echo two")
    assert cell.out.startswith("one\ntwo\n")
    assert re.search(r"^\[xec\] memory [▁▂▃▄▅▆▇█ ]+ peak [\d.]+ MiB", cell.out, re.MULTILINE)
    assert re.search(r"^\[xec\] +0\.\d s two$", cell.out, re.MULTILINE)


def test_a_monitored_cell_that_must_not_change_shows_no_figures(run, monkeypatch):
    monkeypatch.setenv("XEC_UI", "static")
    first, second = (run("%%xec --monitor --rate 20\nsleep 0.2; echo x") for _ in range(2))
    assert first.out == second.out == "x"


def test_a_watch_is_started_shown_and_stopped_and_its_history_goes_on(run, shell):
    assert "this kernel, watched" in run("%xec_monitor start kernel --rate 20").out
    shown = run("%xec_monitor show kernel").out
    assert re.search(r"this kernel, watched: \d+ samples", shown)
    run("%xec_monitor start kernel --rate 20")  # the cell is run again
    stopped = run("%xec_monitor stop kernel").out
    count = int(re.search(r"no longer watched: (\d+) samples", stopped)[1])
    assert count >= int(re.search(r"watched: (\d+) samples", shown)[1])
    run("%xec_monitor start kernel --rate 10")
    again = int(re.search(r"(\d+) samples", run("%xec_monitor stop kernel").out)[1])
    assert again >= count


def test_an_alert_is_said_once_below_the_next_cell(run):
    run("%xec_monitor start kernel --rate 20 --alert 'mem > 1MB'")
    from xec_magic import runtime

    assert runtime.current().watches["kernel"].wait_for(2, 10)
    assert "[xec] alert: kernel: mem > 1MB: " in run("1").out + run("1").out
    assert "alert" not in run("2").out
    run("%xec_monitor stop kernel")


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("strat", "%xec_monitor cannot 'strat'; did you mean start"),
        ("start moon", "'moon' cannot be watched; there are machine and kernel"),
        ("start --rate 0", "rate must lie between 0.2 and 20"),
        ("start --rate 1000", "rate must lie between 0.2 and 20"),
        ("start --alert disk", "--alert: 'disk' is no alert"),
        ("start machine extra", "'extra' is no option"),
        ("stop kernel", "this kernel is not watched"),
        ("show --rate 3", "--rate belongs to %xec_monitor start"),
    ],
)
def test_a_wrong_line_is_refused_in_one_line(run, line, hint):
    assert hint in refusal(run(f"%xec_monitor {line}"))


def test_unloading_ends_what_is_watched(run, shell):
    run("%xec_monitor start machine --rate 20")
    from xec_magic import runtime

    watch = runtime.current().watches["machine"]
    assert watch.wait_for(1, 20)
    shell.run_line_magic("reload_ext", "xec_magic")
    count = len(watch.timeline)
    run("import time; time.sleep(0.2)")
    assert len(watch.timeline) <= count + 1
    assert "this machine is not watched" in refusal(run("%xec_monitor show"))
