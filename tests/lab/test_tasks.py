"""Tasks in a real JupyterLab."""

import json

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore")]

LOAD = "%load_ext xec_magic"
CELL = """%%xec_tasks -j 2 --out r
first:
    sleep 0.6; echo one
second: first
    sleep 1.2; echo two
third: first
    sleep 0.3; echo three; exit 3
fourth: third
    true
"""


def test_tasks_are_seen_while_they_run_and_leave_a_record_that_needs_no_kernel(notebook):
    n = notebook([LOAD, CELL], fresh=True)
    n.run_wait(0)
    n.run(1)
    n.find(1, "img[alt*='first ok; second running']").wait_for(timeout=60_000)
    n.wait(1)
    saved = n.save()["cells"][1]["outputs"]
    (record,) = [output for output in saved if output["output_type"] == "display_data"]
    assert set(record["data"]) == {"text/plain", "text/html"}
    assert len(json.dumps(record)) < 40_000
    n.reopen_without_kernel()
    n.page.wait_for_function("() => document.body.innerText.includes('4 tasks: 1 failed, 1 blocked, 2 ok')")
    n.find(1, "img[alt*='critical path: first, second']").wait_for()
    assert "third failed" in n.text(1)
    assert "two" not in n.find(1, "details").nth(1).inner_text()
    n.find(1, "summary").nth(1).click()
    assert "two" in n.find(1, "details").nth(1).inner_text()


def test_an_interrupt_stops_all_tasks_and_the_next_cell_knows_what_was_done(notebook):
    n = notebook([LOAD, CELL.replace("sleep 1.2", "sleep 100"), "print(r.states)"])
    n.run_wait(0)
    n.run(1)
    n.find(1, "img[alt*='third failed']").wait_for(timeout=60_000)
    n.interrupt()
    n.wait(1, timeout=60)
    assert n.outputs(1)[-1]["ename"] == "TasksInterrupted"
    assert "'second': 'stopped'" in n.run_wait(2)
