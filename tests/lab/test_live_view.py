"""The live view in a real JupyterLab, fed by a run that the test writes."""

import json
import os
import re
from pathlib import Path

import pytest
from lab.labdriver import LabServer, Notebook, make_notebook

HERE = Path(__file__).parent
PYTHONPATH = [str(HERE), str(HERE.parents[1])]
NO_SUBSHELLS = {"@jupyterlab/apputils-extension/kernels-settings": {"commsOverSubshells": "disabled"}}

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore")]

LOAD = "%load_ext fakerun"


def rows(n, i):
    return n.find(i, ".xec-row").all_inner_texts()


def until(n, i, selector, text, timeout=60):
    n.find(i, selector).filter(has_text=text).first.wait_for(timeout=timeout * 1000)


def test_a_short_run_shows_one_static_display(notebook):
    n = notebook([LOAD, "%%fakerun\nout('hi\\n')"])
    n.run_wait(0)
    assert n.run_wait(1).split()[:2] == ["hi", "ok"]
    (output,) = n.outputs(1)
    assert output["output_type"] == "display_data"
    assert set(output["data"]) == {"text/plain", "text/html"}
    assert not n.console


def test_output_is_live_while_the_cell_waits_and_static_at_the_end(notebook):
    n = notebook(
        [
            LOAD,
            "%%fakerun exit=2\nfor i in range(30):\n    out(f'line {i}\\n'); err(f'warn {i}\\n')\n    await sleep(.1)",
        ]
    )
    n.run_wait(0)
    n.run(1)
    until(n, 1, ".xec-row", "line 5")
    assert n.find(1, ".xec-state").inner_text() == "running"
    assert "warn 3" in n.find(1, ".xec-row.xec-err").all_inner_texts()
    n.wait(1)
    assert "exit code 2" in n.text(1)
    saved = n.save()["cells"][1]["outputs"]
    assert [set(output["data"]) for output in saved] == [{"text/plain", "text/html"}]
    assert not n.console


def test_progress_overwrites_its_line(notebook):
    n = notebook(
        [
            LOAD,
            "%%fakerun\nfor i in range(40):\n    out(f'\\r{i} of 40 '); await sleep(.05)\nout('\\ndone\\n')\nawait sleep(1)",
        ]
    )
    n.run_wait(0)
    n.run(1)
    until(n, 1, ".xec-partial", re.compile(r"2\d of 40"))
    assert len(rows(n, 1)) == 1
    until(n, 1, ".xec-row", "done")
    assert [row.strip() for row in rows(n, 1)] == ["39 of 40", "done"]
    n.wait(1)


HOSTILE = r"""%%fakerun exit=1 label=<img/src=x/onerror=window.pwned=1>
out('<script>window.pwned=1</script><img src=x onerror="window.pwned=1"></pre></div><style>body{display:none}</style>\n')
out('\x1b]8;;javascript:window.pwned=1\x1b\\link\x1b]8;;\x1b\\ \x1b]52;c;aGk=\x07 \x1b[2J\x1b[1;1H\n')
out(b'nul \x00 \xff\xfe\n' + b'x' * 1_000_000 + b'\n' + b'\x1b[31m\x1b[7m' * 5000 + b'end\n')
err("error: '\"><svg onload=window.pwned=1>\n")
await sleep(1.5)
"""


def test_output_is_data(notebook):
    n = notebook([LOAD, HOSTILE])
    n.run_wait(0)
    n.run(1)
    until(n, 1, ".xec-row", "svg onload")
    assert "bytes of this line not shown" in n.find(1, ".xec-log").inner_text()
    n.find(1, ".xec-log").press("Home")
    until(n, 1, ".xec-row", "<script>window.pwned=1</script>")
    assert any("nul ␀ ��" in row for row in rows(n, 1))
    assert n.find(1, ".xec").locator("script, img, svg, a, iframe").count() == 0
    n.wait(1)
    assert n.find(1, ".jp-OutputArea-output").locator("script, img, svg, a, iframe, style").count() == 0
    n.page.wait_for_timeout(200)
    assert n.js("() => window.pwned") is None
    assert n.find(1, ".jp-InputArea").is_visible()
    assert not n.console


@pytest.mark.parametrize("how", ["button", "interrupt"])
def test_stop_while_the_cell_waits(notebook, how):
    n = notebook([LOAD, "%%fakerun\nfor i in range(600):\n    out(f'{i}\\n'); await sleep(.1)", "print('next')"])
    n.run_wait(0)
    n.run(1)
    until(n, 1, ".xec-row", "3")
    if how == "button":
        n.find(1, ".xec-stop").click()
    else:
        n.interrupt()
    n.wait(1, timeout=60)
    assert "interrupted" in n.text(1)
    # The kernel heard the button itself: an interrupt instead would have raised in the cell.
    assert (n.outputs(1)[-1]["output_type"] == "error") == (how == "interrupt")


def test_stop_interrupts_a_kernel_that_cannot_hear_the_page(jlab, tmp_path):
    _, browser, _ = jlab
    deaf = LabServer(tmp_path, settings=NO_SUBSHELLS, env={"PYTHONPATH": os.pathsep.join(PYTHONPATH)})
    try:
        deaf.wait()
        cells = [LOAD, "%%fakerun\nfor i in range(600):\n    out(f'{i}\\n'); await sleep(.1)"]
        (tmp_path / "a.ipynb").write_text(json.dumps(make_notebook(cells)))
        n = Notebook(deaf, browser, "a.ipynb")
        n.run_wait(0)
        n.run(1)
        until(n, 1, ".xec-row", "3")
        n.find(1, ".xec-stop").click()
        n.wait(1, timeout=60)
        assert n.outputs(1)[-1]["ename"] == "KeyboardInterrupt"
        n.close()
    finally:
        deaf.close()


def test_the_second_press_kills(notebook):
    n = notebook(
        [
            LOAD,
            "%%fakerun bg label=stubborn\nfor i in range(600):\n    out(f'{i}\\n'); await sleep(.1)",
            "print(_run.stops)",
        ]
    )
    n.run_wait(0)
    n.run_wait(1)
    until(n, 1, ".xec-row", "3")
    n.find(1, ".xec-stop").click()
    until(n, 1, ".xec-said", "sent INT")
    assert n.find(1, ".xec-state").inner_text() == "stopping"
    n.find(1, ".xec-stop").filter(has_text="Kill now").click()
    until(n, 1, "pre", "0")
    assert "cancelled" in n.text(1)
    assert n.run_wait(2).strip() == "['stop', 'kill']"


MANY = "%%fakerun bg\nout(''.join(f'line {i} of many\\n' for i in range(30_000)))\nfor i in range(600):\n    out(f'tick {i}\\n'); await sleep(.2)"


def test_the_reader_can_scroll_up_page_and_come_back(notebook):
    n = notebook([LOAD, MANY])
    n.run_wait(0)
    n.run_wait(1)
    until(n, 1, ".xec-row", "tick 2")
    log = n.find(1, ".xec-log")
    until(n, 1, ".xec-gap", "show them")
    log.hover()
    n.page.mouse.wheel(0, -300)
    n.find(1, ".xec-end").wait_for()
    top = log.evaluate("e => e.scrollTop")
    n.page.wait_for_timeout(700)
    assert abs(log.evaluate("e => e.scrollTop") - top) < 3  # it stands still while lines come
    until(n, 1, ".xec-end", "more line")
    log.press("Home")
    until(n, 1, ".xec-row", "line 0 of many")
    for _ in range(3):
        n.page.wait_for_timeout(150)
        log.hover()
        n.page.mouse.wheel(0, 50_000)
    until(n, 1, ".xec-row", "line 1500 of many")
    n.find(1, ".xec-end").click()
    n.page.wait_for_timeout(600)
    assert n.find(1, ".xec-end").is_hidden()
    assert rows(n, 1)[-1].startswith("tick")
    n.find(1, ".xec-stop").click()
    assert not n.console


def test_a_gap_is_filled_on_demand(notebook):
    n = notebook([LOAD, MANY])
    n.run_wait(0)
    n.run_wait(1)
    until(n, 1, ".xec-row", "tick 1")
    log = n.find(1, ".xec-log")
    log.evaluate("e => { e.scrollTop = 0; }")  # as the browser's own search does: no wheel, no key
    until(n, 1, ".xec-end", re.compile(r"[2-9] more lines"))
    assert log.evaluate("e => e.scrollTop") == 0
    n.find(1, ".xec-gap").first.click()
    until(n, 1, ".xec-row", "line 0 of many")
    until(n, 1, ".xec-row", "line 100 of many")  # out of sight, and drawn a little later
    seen = [int(text.split()[1]) for text in rows(n, 1) if text.startswith("line")]
    assert seen == list(range(700))
    n.find(1, ".xec-stop").click()


def test_nothing_moves_under_a_pointer_that_is_held_down(notebook):
    # More at once than a batch holds, so that there is always a gap in sight, and each batch moves it.
    turn = "out(f'tick {i}\\n' + 'x' * 300 + '\\n' + 40_000 * 'y' + '\\n'); await sleep(.2)"
    n = notebook([LOAD, f"%%fakerun bg\nfor i in range(600):\n    {turn}"])
    n.run_wait(0)
    n.run_wait(1)
    until(n, 1, ".xec-gap", "not shown")
    n.find(1, ".xec-gap").last.click(delay=700)
    until(n, 1, ".xec-end", "Jump to the end")
    n.find(1, ".xec-stop").click()


def test_search_goes_through_everything(notebook):
    n = notebook([LOAD, MANY])
    n.run_wait(0)
    n.run_wait(1)
    until(n, 1, ".xec-row", "tick 1")
    box = n.find(1, ".xec-search input")
    box.fill("line 1234")
    until(n, 1, ".xec-count", "11 of 11 lines")
    until(n, 1, ".xec-hit", "line 12349 of many")
    box.press("Enter")
    until(n, 1, ".xec-count", "1 of 11 lines")
    until(n, 1, ".xec-hit", "line 1234 of many")
    hit, log = n.find(1, ".xec-hit").bounding_box(), n.find(1, ".xec-log").bounding_box()
    assert log["y"] <= hit["y"] <= log["y"] + log["height"]
    n.find(1, "button[aria-label='Next match']").click()
    until(n, 1, ".xec-hit", "line 12340 of many")
    n.find(1, "button[aria-label='Regular expression']").click()
    box.fill("^line 2999[0-4] ")
    until(n, 1, ".xec-count", "5 of 5 lines")
    box.fill("(")
    until(n, 1, ".xec-count", "not a regular expression")
    box.fill("nowhere")
    until(n, 1, ".xec-count", "not found")
    n.find(1, ".xec-stop").click()
    assert not n.console


def test_an_ended_run_can_be_searched_when_it_is_shown_again(notebook):
    cells = [
        LOAD,
        "%%fakerun\nout(''.join(f'line {i} of many\\n' for i in range(30_000)))",
        "import fakerun; fakerun.views[_run.run_id].reopen()",
    ]
    n = notebook(cells)
    for i in range(3):
        n.run_wait(i)
    until(n, 2, ".xec-row", "line 29999")
    n.find(2, ".xec-search input").fill("line 1234")
    until(n, 2, ".xec-hit", "line 12349 of many")
    n.page.wait_for_timeout(700)  # it stays there when the rest is drawn
    hit, log = n.find(2, ".xec-hit").bounding_box(), n.find(2, ".xec-log").bounding_box()
    assert log["y"] <= hit["y"] <= log["y"] + log["height"]
    assert n.find(2, ".xec-foot").inner_text().startswith("ok")
    assert n.find(2, ".xec-stop").is_hidden()


def test_copy_takes_everything(notebook):
    n = notebook([LOAD, MANY])
    n.context.grant_permissions(["clipboard-read", "clipboard-write"])
    n.run_wait(0)
    n.run_wait(1)
    until(n, 1, ".xec-row", "tick 1")
    n.find(1, ".xec-tools button").filter(has_text="Copy").click()
    until(n, 1, ".xec-said", "copied")
    text = n.js("() => navigator.clipboard.readText()")
    assert text.startswith("line 0 of many\nline 1 of many\n")
    assert "line 29999 of many\ntick 0\n" in text
    n.find(1, ".xec-stop").click()


def test_a_background_run_ends_while_another_cell_runs(notebook):
    n = notebook(
        [
            LOAD,
            "%%fakerun bg\nfor i in range(15):\n    out(f'{i}\\n'); await sleep(.1)",
            "import time\nfor k in range(10): print('other', k); time.sleep(.2)",
        ]
    )
    n.run_wait(0)
    n.run_wait(1)
    assert "other 9" in n.run_wait(2)
    until(n, 1, "pre", "14")
    assert "ok" in n.text(1)
    assert n.text(2).split() == [word for k in range(10) for word in ("other", str(k))]


def test_a_reloaded_page_finds_its_run_again(notebook):
    n = notebook([LOAD, MANY], fresh=True)
    n.run_wait(0)
    n.run_wait(1)
    until(n, 1, ".xec-row", "tick 1")
    n.save()
    n.load()
    until(n, 1, ".xec-row", "tick", timeout=60)
    assert n.find(1, ".xec-state").inner_text() == "running"
    n.find(1, ".xec-stop").click()
    until(n, 1, ".xec-foot", "cancelled")  # the output cannot be replaced now, so the widget says it
    assert n.find(1, ".xec-stop").is_hidden()


def test_a_reloaded_page_shows_what_a_silent_run_has_printed(notebook):
    n = notebook([LOAD, "%%fakerun bg\nout('long ago\\n')\nfor i in range(600):\n    await sleep(.2)"], fresh=True)
    n.run_wait(0)
    n.run_wait(1)
    until(n, 1, ".xec-row", "long ago")
    n.save()
    n.load()
    until(n, 1, ".xec-row", "long ago", timeout=60)
    n.find(1, ".xec-stop").click()
    until(n, 1, ".xec-foot", "cancelled")


def test_colours_follow_the_theme(notebook):
    n = notebook(
        [LOAD, "%%fakerun bg\nout('\\x1b[31mred \\x1b[38;5;19mdeep blue\\x1b[0m\\n')\nawait sleep(60)"], fresh=True
    )
    n.run_wait(0)
    n.run_wait(1)
    until(n, 1, ".xec-row", "red")
    look = "e => [e, ...e.querySelectorAll('span')].map(x => getComputedStyle(x).color)"
    light = n.find(1, ".xec-row").first.evaluate(look)
    n.theme("JupyterLab Dark")
    dark = n.find(1, ".xec-row").first.evaluate(look)
    assert light[1] == "rgb(197, 34, 31)"
    assert dark[1] == "rgb(255, 138, 128)"
    assert all(one != other for one, other in zip(light, dark, strict=True))


def test_the_view_can_be_used_without_a_mouse_or_eyes(notebook):
    n = notebook([LOAD, "%%fakerun bg label=nightly\nfor i in range(200):\n    out(f'{i}\\n'); await sleep(.2)"])
    n.run_wait(0)
    n.run_wait(1)
    until(n, 1, ".xec-row", "1")
    view = n.find(1, ".xec")
    assert view.get_attribute("role") == "group"
    assert view.get_attribute("aria-label") == "Run: nightly"
    log = n.find(1, ".xec-log")
    assert [log.get_attribute(name) for name in ("role", "aria-live", "tabindex", "aria-label")] == [
        "log",
        "off",
        "0",
        "Output",
    ]
    assert n.find(1, "[role=status]").first.inner_text() == "running"
    for button in n.find(1, ".xec button").all():
        if button.is_visible():
            assert (button.inner_text() or button.get_attribute("aria-label")).strip()
    before = n.js("() => window.jupyterapp.shell.currentWidget.content.widgets.length")
    log.focus()
    n.page.keyboard.type("bbddxaa")  # notebook commands, elsewhere
    assert n.js("() => window.jupyterapp.shell.currentWidget.content.widgets.length") == before
    n.find(1, ".xec-stop").focus()
    n.page.keyboard.press("Enter")
    until(n, 1, "pre", "1")
    assert "cancelled" in n.text(1)


def test_a_saved_notebook_reads_the_same_without_kernel(notebook):
    n = notebook(
        [
            LOAD,
            "%%fakerun exit=3\nfor i in range(10):\n    out(f'\\x1b[32mline {i}\\x1b[0m\\n'); await sleep(.05)\nerr('error: it broke\\n')",
        ],
        fresh=True,
    )
    n.run_wait(0)
    n.run_wait(1)
    text = n.text(1)
    n.reopen_without_kernel()
    assert n.text(1) == text
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        n.theme(theme)
        span = n.find(1, "pre span").first
        assert span.evaluate(
            "e => [getComputedStyle(e).color, getComputedStyle(e.closest('pre')).backgroundColor]"
        ) == [
            "rgb(11, 122, 44)",
            "rgb(246, 248, 250)",
        ]
