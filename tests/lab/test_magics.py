"""The real magics on real commands in a real JupyterLab."""

import json

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore")]

LOAD = "%load_ext xec_magic"
TICKS = "for i in $(seq 600); do echo tick $i; sleep 0.1; done"


def until(n, i, selector, text, timeout=60):
    n.find(i, selector).filter(has_text=text).first.wait_for(timeout=timeout * 1000)


def test_a_cell_streams_then_leaves_a_record_that_needs_no_kernel(notebook):
    n = notebook(
        [LOAD, "%%xec --out r\nfor i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.15; done; echo oops >&2"], fresh=True
    )
    n.run_wait(0)
    n.run(1)
    until(n, 1, ".xec-row", "line 2")
    n.wait(1)
    saved = n.save()["cells"][1]["outputs"]
    assert [set(output["data"]) for output in saved] == [{"text/plain", "text/html"}]
    n.reopen_without_kernel()
    n.page.wait_for_function("() => document.body.innerText.includes('line 8')")
    assert "Error displaying widget" not in n.text(1)


@pytest.mark.parametrize("how", ["button", "interrupt"])
def test_a_foreground_run_is_stopped_and_run_all_stops(notebook, how):
    n = notebook(
        [
            LOAD,
            f"%%xec --out r\ntrap 'echo cleaned; exit 1' INT\n{TICKS}",
            "print('next')",
            "print(r.outcome, 'cleaned' in r.stdout)",
        ]
    )
    n.run_wait(0)
    n.run(1)
    until(n, 1, ".xec-row", "tick 3")
    if how == "button":
        n.find(1, ".xec-stop").click()
    else:
        n.interrupt()
    n.wait(1, timeout=60)
    assert "cleaned" in n.text(1)
    assert n.outputs(1)[-1]["ename"] == "RunInterrupted"
    assert n.run_wait(3).strip() == "interrupted True"


def test_a_background_run_survives_a_reload_of_the_page_and_is_stopped_by_its_button(notebook):
    n = notebook([LOAD, f"%%xec --bg --out r\n{TICKS}", "print('other cell')"], fresh=True)
    n.run_wait(0)
    n.run_wait(1)
    until(n, 1, ".xec-row", "tick 3")
    assert n.run_wait(2).strip() == "other cell"
    n.save()
    n.load()
    until(n, 1, ".xec-row", "tick", timeout=60)
    n.find(1, ".xec-stop").click()
    until(n, 1, ".xec-foot", "cancelled", timeout=60)


def test_a_run_that_is_shown_again_can_be_searched_and_paged_to_its_first_line(notebook):
    n = notebook([LOAD, "%%xec --out r\nseq 1 200000 | sed 's/$/ of the lines/'", "%xec_runs show 1"])
    n.run_wait(0)
    n.run_wait(1)
    n.run_wait(2)
    until(n, 2, ".xec-row", "200000 of the lines")
    n.find(2, ".xec-log").press("Home")
    until(n, 2, ".xec-row", "1 of the lines")
    n.find(2, ".xec-search input[type=search], .xec-search input").first.fill("123456 of")
    n.find(2, ".xec-search input").first.press("Enter")
    until(n, 2, ".xec-hit", "123456 of")


def test_a_failing_cell_shows_its_error_in_one_line_and_the_output_once(notebook):
    n = notebook([LOAD, "%%xec\necho some output\nls /no/such/place"])
    n.run_wait(0)
    n.run_wait(1)
    text = n.text(1)
    assert text.count("No such file") == 1
    assert "NonZeroExit: exit code 2" in text
    assert "Traceback" not in text


def test_twenty_megabytes_reach_the_page_and_hardly_grow_the_notebook(notebook):
    n = notebook([LOAD, "%%xec\nseq 1 2600000"])
    n.run_wait(0)
    n.run(1)
    n.wait(1)
    n.page.wait_for_function("() => document.body.innerText.includes('2600000')", timeout=60_000)
    assert len(json.dumps(n.save())) < 200_000
    assert n.stall()["max"] < 5000


def test_a_kept_result_is_refreshed_by_its_button_in_the_same_place(notebook):
    n = notebook(
        [
            LOAD,
            "%%xec --cache 1h --refresh --quiet\necho made at $(date +%s%N); sleep 0.5",
            "%%xec --cache 1h --out kept\necho made at $(date +%s%N); sleep 0.5",
            "get_ipython().run_line_magic('xec_runs', 'show ' + kept.run_id)",
            "%%xec --cache 1h --out renewed\necho made at $(date +%s%N); sleep 0.5",
            "print(kept.stdout != renewed.stdout, renewed.cached is not None)",
        ]
    )
    for cell in range(4):
        n.run_wait(cell)
    assert "cached" in n.text(2)
    until(n, 3, ".xec-badge", "cached")
    until(n, 3, ".xec-row", "made at")
    kept = n.find(3, ".xec-row").first.inner_text()
    n.find(3, "button").filter(has_text="Refresh").click()
    until(n, 3, ".xec-state", "running")
    until(n, 3, ".xec-state", "done")
    assert not n.find(3, ".xec-badge").is_visible()
    assert n.find(3, ".xec-row").first.inner_text() != kept
    n.run_wait(4)
    assert n.run_wait(5).strip() == "True True"


def test_dollar_signs_are_no_mathematics(notebook):
    n = notebook([LOAD, "%%xec --session s\nx=1; echo $x $PWD", "%%xec --batch\necho '$a' '$b'\necho 2"], fresh=True)
    for i in range(3):
        n.run_wait(i)
    for again in (False, True):
        if again:
            n.reopen_without_kernel()
        n.page.wait_for_timeout(500)
        assert "x=1; echo $x $PWD" in n.text(1)
        assert "echo '$a' '$b'" in n.text(2)
        assert not n.js("() => document.querySelector('mjx-container, .MathJax')")
