"""A command on many hosts in a real JupyterLab, on the hosts that ship with the package."""

import json
import re

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore")]

LOAD = "%load_ext xec_magic\nimport xec_magic as xec\nf = xec.demo.fleet({})"
HOSTILE = "printf '\\033]0;evil\\007<img src=x onerror=document.title=1> line %s\\n' $i"


FIVE_HUNDRED = """
import time, types
from xec_magic.command import Command, Target
from xec_magic.display.fleetview import FleetView
from xec_magic.display.mode import Mode
from xec_magic.events import Exited, Started
from xec_magic.output import OutputLog
from xec_magic.plan import Plan
from xec_magic.fold import fold
from xec_magic.results import Results

class Fleet:
    names = [f"web{n:03}" for n in range(500)]
    title = script = "flood"
    waiting_for_answer = watched = False
    ended = []
    begun_at = time.monotonic()
    runs = [types.SimpleNamespace(state="running", log=OutputLog()) for _ in names]

    def result_of(self, number):
        plan = Plan(Command("flood", Target("ssh", self.names[number])))
        return fold([Started("r", 0.0, 0.0, 1), Exited("r", 1.0, number % 50 == 0, None)], plan)

fleet = Fleet()
view = FleetView(fleet, Mode.WIDGET, mask=str)
for turn in range(60):
    for run in fleet.runs:
        run.log.append("stdout", b"\\x1b[31mline\\x1b[0m <b>\\n" * 5)
    if turn > 50:
        fleet.ended.extend(range((turn - 51) * 50, (turn - 50) * 50))
    view.pump()
    time.sleep(0.1)
view.close(Results(map(fleet.result_of, range(500))))
"""


def test_a_table_of_hosts_is_live_and_leaves_a_record_that_needs_no_kernel(notebook):
    cell = f"%%xec --on @web --no-raise --grace 0.3 --out r\nfor i in $(seq 300); do {HOSTILE}; sleep 0.2; done"
    n = notebook([LOAD.format(20) + "\nf.kill('web09')", cell, "print(r); f.close()"])
    n.run_wait(0)
    n.run(1)
    n.find(1, ".xec-host .xec-last").filter(has_text=re.compile(r"<img .*line \d")).first.wait_for(timeout=60_000)
    assert n.find(1, ".xec-counts").inner_text() == "1 failed · 19 running"
    assert 5 < n.find(1, ".xec-host").count() < 20  # those in sight, and a few more
    assert n.find(1, ".xec-row .xec-label").first.inner_text().startswith("[web")
    n.find(1, "button").filter(has_text=re.compile("^Failed$")).click()
    n.find(1, ".xec-host").filter(has_text="connection refused").wait_for()
    assert n.find(1, ".xec-host").count() == 1
    n.find(1, "button").filter(has_text=re.compile("^All$")).click()
    n.find(1, ".xec-tools input").fill("web17")
    n.find(1, ".xec-name button").filter(has_text="web17").click()
    n.page.wait_for_function(
        "() => [...document.querySelectorAll('.xec-label')].every((each) => each.textContent === '[web17] ')"
    )
    assert n.find(1, "img").count() == 0
    n.find(1, ".xec-stop").click()
    n.wait(1, timeout=60)
    assert n.page.title() != "1"
    assert n.outputs(1)[-1]["ename"] == "RunInterrupted"
    assert "19 of 20 had not finished: web01" in n.outputs(1)[-1]["evalue"]
    record = n.save()["cells"][1]["outputs"][0]
    assert set(record["data"]) == {"text/plain", "text/html"}
    assert "<Results 20 of 20 failed>" in n.run_wait(2)
    assert not n.console


def test_five_hundred_hosts_stay_usable(notebook):
    n = notebook([FIVE_HUNDRED])
    n.run(0)
    n.find(0, ".xec-host").first.wait_for(timeout=60_000)
    n.find(0, ".xec-note").filter(has_text="came too fast").wait_for(timeout=60_000)
    most = n.page.locator(".xec-fleet *").count()
    assert 400 < most < 1500
    n.find(0, ".xec-tools input").fill("web499")
    n.find(0, ".xec-host").filter(has_text="web499").wait_for()
    n.wait(0, timeout=60)
    assert "500 targets: 490 ok, 10 failed" in n.text(0)
    (record,) = n.save()["cells"][0]["outputs"]
    assert len(json.dumps(record)) < 100_000
    assert not n.console


def test_a_watched_fleet_has_a_live_chart_with_a_line_a_host_that_mouse_and_keys_read(notebook):
    work = "for i in $(seq 60); do head -c 300000 /dev/urandom > /dev/null; sleep 0.1; done"
    n = notebook([LOAD.format(8), f"%%xec --on @web --monitor --rate 10 --no-raise\n{work}", "f.close()"])
    n.run_wait(0)
    n.run(1)
    n.find(1, ".xec-read").filter(has_text="8 targets in all").wait_for(timeout=30_000)
    assert n.find(1, ".xec-legend button").count() == 6
    assert "2 more in grey" in n.find(1, ".xec-legend").inner_text()
    canvas = n.find(1, ".xec-curves")
    canvas.press("ArrowDown")
    n.find(1, ".xec-read").filter(has_text="web01").wait_for(timeout=60_000)
    assert n.find(1, ".xec-host.xec-chosen .xec-name").inner_text() == "web01"
    canvas.press("ArrowUp")
    n.find(1, ".xec-read").filter(has_text="8 targets in all").wait_for(timeout=60_000)
    box = canvas.bounding_box()
    n.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 70)
    n.page.mouse.down()
    n.page.mouse.move(box["x"] + box["width"] - 30, box["y"] + 70, steps=4)
    n.page.mouse.up()
    n.find(1, ".xec-chart button").filter(has_text="Show all").wait_for(timeout=60_000)
    n.wait(1, timeout=60)
    n.find(1, "img").first.wait_for(timeout=10_000)
    assert "8 runs" in n.find(1, "img").first.get_attribute("alt")
    n.run_wait(2)
    assert not n.console
