"""Live charts and the static ones that take their place, in a real JupyterLab."""

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore")]

LOAD = "%load_ext xec_magic"
WORK = "for i in $(seq 12); do echo step $i; head -c 3000000 /dev/urandom > /dev/null; sleep 0.25; done"


def until(n, i, selector, text, timeout=60):
    n.find(i, selector).filter(has_text=text).first.wait_for(timeout=timeout * 1000)


def inked(n, i):
    """How many pixels of the chart are drawn upon."""
    return n.find(i, ".xec-curves").evaluate(
        "c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let k = 0;"
        " for (let at = 3; at < d.length; at += 4) k += d[at] > 0; return k; }"
    )


def test_a_chart_lives_in_the_cell_is_read_by_mouse_and_keys_and_stays_as_a_picture(notebook):
    n = notebook([LOAD, f"%%xec --monitor --rate 10 --mark 'step 3'\n{WORK}"], fresh=True)
    n.theme("JupyterLab Dark")
    n.run_wait(0)
    n.run(1)
    until(n, 1, ".xec-read", "memory")
    n.page.wait_for_timeout(1200)
    assert inked(n, 1) > 2000
    canvas = n.find(1, ".xec-curves")
    box = canvas.bounding_box()
    n.page.mouse.move(box["x"] + 100, box["y"] + 50)
    early = float(n.find(1, ".xec-read").inner_text().split()[0])
    n.page.mouse.move(box["x"] + box["width"] - 20, box["y"] + 50)
    n.page.wait_for_timeout(100)
    assert float(n.find(1, ".xec-read").inner_text().split()[0]) > early
    n.page.mouse.down()
    n.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50, steps=5)
    n.page.mouse.up()
    n.find(1, ".xec-chart button").filter(has_text="Show all").wait_for(timeout=60_000)
    canvas.press("0")
    n.find(1, ".xec-chart button").filter(has_text="Show all").wait_for(state="hidden", timeout=60_000)
    canvas.press(" ")
    until(n, 1, ".xec-chart button", "Go on")
    n.wait(1)
    picture = n.find(1, "img").first
    picture.wait_for(timeout=60_000)
    assert "CPU" in picture.get_attribute("alt")
    assert picture.evaluate("i => i.complete && i.naturalWidth > 300")
    assert not n.console
    n.reopen_without_kernel()
    n.page.wait_for_function("() => document.querySelector('.jp-OutputArea-output img')?.naturalWidth > 300")
    assert "Error displaying widget" not in n.text(1)


def test_ten_charts_live_in_one_notebook_and_a_reloaded_page_has_them_again(notebook):
    cells = [LOAD] + [f"%%xec --bg --monitor --out r{i}\nsleep 60" for i in range(10)]
    stop = "for i in range(10): globals()[f'r{i}'].cancel()\n%xec_runs wait all"
    n = notebook([*cells, stop], fresh=True)
    for i in range(11):
        n.run_wait(i)
    for i in (1, 5, 10):
        n.find(i, ".xec-curves").scroll_into_view_if_needed()
        until(n, i, ".xec-read", "memory")
    before = n.stall()["sum"]
    n.page.wait_for_timeout(1500)
    assert n.stall()["sum"] - before < 1200
    n.save()
    n.load()
    n.find(4, ".xec-curves").wait_for(timeout=60_000)
    n.find(4, ".xec-curves").scroll_into_view_if_needed()
    until(n, 4, ".xec-read", "memory", timeout=60)
    n.run(11)
    n.wait(11)


def test_a_watch_is_live_until_it_is_stopped_by_its_button(notebook):
    n = notebook([LOAD, "%xec_monitor start machine --rate 10", "1 + 1"])
    n.run_wait(0)
    n.run_wait(1)
    until(n, 1, ".xec-read", "memory")
    assert n.run_wait(2).strip().endswith("2")
    n.find(1, ".xec-stop").click()
    n.find(1, "img").first.wait_for(timeout=60_000)
    assert "no longer watched" in n.text(1)


def test_a_known_command_shows_what_it_usually_takes(notebook):
    n = notebook([LOAD, "%%xec\nsleep 3", "%%xec\nsleep 3"])
    n.run_wait(0)
    n.run_wait(1)
    n.run(2)
    n.find(2, "progress").wait_for()
    until(n, 2, ".xec-time", "usually 3 s")
    n.wait(2)
