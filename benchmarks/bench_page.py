"""Much output in a real JupyterLab, in headless Chromium: when the last line is seen, and what it costs.

Each command ends with a line that carries the time. A script in the page looks for that line every 20 ms and notes
when it has been drawn; so the lag is what lies between the end of the command and the reader's eyes. Our cells run
with the server's limits on output as they come; the peers' with these limits off, or they would not show the line at
all. Also here: every line can be brought onto the page, and what short cells add to a notebook run by nbclient.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from common import HERE, Report, arguments, duration, size

sys.path.insert(0, str(HERE.parent / "tests" / "lab"))
from labdriver import LabServer, Notebook, lab, make_notebook

PATIENCE_S = 180
QUICK_PATIENCE_S = 30
LAST = 'date "+XECLAST %s.%N"'
NO_LIMITS = [f"--ZMQChannelsWebsocketConnection.iopub_{what}_rate_limit=1e12" for what in ("data", "msg")]
SHORT_CELLS = 50
# JupyterLab loads what it typesets and sanitises with when a page gets its first HTML; that is no part of a load's cost.
FIRST_HTML = "from IPython.display import HTML, display; display(HTML('<b style=\"color:red\">first</b>'))"

RUN_AND_WATCH = r"""i => {
  const content = window.jupyterapp.shell.currentWidget.content;
  content.activeCellIndex = i;
  const area = content.widgets[i].outputArea.node;
  const now = () => performance.timeOrigin + performance.now();
  const seen = (window.__seen = { begun: now(), at: null, said: null });
  // From the end: the line is among the last texts, or it is not there yet.
  const look = () => {
    const texts = document.createTreeWalker(area, NodeFilter.SHOW_TEXT);
    for (let node = texts.lastChild(), left = 400; node && left; node = texts.previousNode(), left--) {
      const found = /XECLAST (\d+\.\d+)/.exec(node.substringData(Math.max(0, node.length - 300), 300));
      if (!found) continue;
      const row = node.parentElement.getBoundingClientRect();
      const box = node.parentElement.closest(".xec-log")?.getBoundingClientRect();
      return !box || (row.height && row.bottom <= box.bottom + 2) ? found[1] : null;
    }
    return null;
  };
  const timer = setInterval(() => {
    const said = look();
    if (!said) return;
    clearInterval(timer);
    requestAnimationFrame(() => requestAnimationFrame(() => { seen.at = now(); seen.said = Number(said); }));
  }, 20);
  window.__stall.max = window.__stall.sum = 0;
  window.jupyterapp.commands.execute("notebook:run-cell");
}"""


# Scrolls down as a wheel does, from where the log stands, until a line is in sight; all lines on the way must be seen.
SCROLL = """async ([i, goal]) => {
  const box = window.jupyterapp.shell.currentWidget.content.widgets[i].outputArea.node.querySelector(".xec-log");
  const until = performance.now() + 30000;
  let reached = 0;
  while (reached < goal) {
    const { top, bottom } = box.getBoundingClientRect();
    for (const row of box.querySelectorAll(".xec-row")) {
      const at = row.getBoundingClientRect(), number = Number(row.dataset.line) + 1;
      if (at.bottom <= top || at.top >= bottom || number <= reached) continue;
      if (number !== reached + 1) throw new Error(`line ${number} came after line ${reached}`);
      if (row.textContent.trim() !== String(number)) throw new Error(`line ${number} says ${row.textContent}`);
      reached = number;
    }
    if (performance.now() > until) throw new Error(`only line ${reached} within 30 s`);
    box.dispatchEvent(new WheelEvent("wheel"));
    box.scrollTop += box.clientHeight * 0.8;
    await new Promise((done) => setTimeout(done, 30));
  }
  return reached;
}"""


class Place(NamedTuple):
    """Where notebooks are opened, and how long anything is waited for."""

    ours: LabServer
    peers: LabServer
    browser: Any
    patience_s: float


class Case:
    """One way to run one load: a fresh notebook, a cell for each round."""

    def __init__(self, server, browser, name, cell, rounds, patience_s):
        self.patience_s = patience_s
        self.seconds, self.lags, self.stalls = [], [], []
        self.bytes = self.messages = self.saved = self.cpu = self.page_cpu = self.wire_rate = None
        file = server.root / f"{name}.ipynb"
        setup = f"%load_ext xec_magic\nimport sys\nflood = {str(HERE / 'flood.py')!r}\npython = sys.executable\n{FIRST_HTML}"
        file.write_text(json.dumps(make_notebook([setup, *[cell] * rounds, ""])))
        empty = file.stat().st_size
        self.notebook = Notebook(server, browser, file.name)
        self.notebook.run_wait(0)
        self.notebook.page.wait_for_timeout(2000)  # what is loaded behind for the first HTML
        kernel = self._kernel(server, file.name)
        self._devtools = self.notebook.context.new_cdp_session(self.notebook.page)
        self._devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
        measures = []
        for number in range(1, rounds + 1):
            before, cpu, drawn, begun = self.notebook.traffic(), kernel.cpu_times(), self._drawn(), time.monotonic()
            self.notebook.js(RUN_AND_WATCH, number)
            if not self._wait(number, patience_s):
                return
            took = time.monotonic() - begun
            after, spent = self.notebook.traffic(), kernel.cpu_times()
            measures.append((
                after["rx"] - before["rx"], after["rxn"] - before["rxn"],
                spent.user + spent.system - cpu.user - cpu.system, self._drawn() - drawn, (after["rx"] - before["rx"]) / took,
            ))  # fmt: skip
        medians = map(statistics.median, zip(*measures, strict=True))
        self.bytes, self.messages, self.cpu, self.page_cpu, self.wire_rate = medians
        self.notebook.save()
        self.saved = (file.stat().st_size - empty) / rounds

    def _drawn(self):
        """Seconds of processor time of the page's main thread so far."""
        metrics = self._devtools.send("Performance.getMetrics")["metrics"]
        return next(one["value"] for one in metrics if one["name"] == "TaskDuration")

    def _kernel(self, server, path):
        [session] = [one for one in server.api("/api/sessions") if one["path"] == path]
        for process in psutil.Process(server.proc.pid).children(recursive=True):
            if session["kernel"]["id"] in " ".join(process.cmdline()):
                return process
        raise LookupError(path)

    def _wait(self, number, patience_s):
        try:
            self.notebook.page.wait_for_function(
                "() => window.__seen.at !== null", timeout=patience_s * 1000, polling=100
            )
            self.notebook.wait(number, patience_s)
        except Exception as error:  # Playwright's own timeout, or a page that hangs
            print(f"  not seen: {str(error).splitlines()[0]}", flush=True)
            return False
        seen = self.notebook.js("() => window.__seen")
        self.seconds.append((seen["at"] - seen["begun"]) / 1000)
        self.lags.append(seen["at"] / 1000 - seen["said"])
        self.notebook.page.wait_for_timeout(500)  # what is still drawn after it counts as a stall as well
        self.stalls.append(self.notebook.stall()["max"] / 1000)
        return True

    @property
    def finished(self):
        return self.saved is not None

    def row(self):
        if not self.finished:
            return [f"not within {self.patience_s:g} s", *["–"] * 7]
        return [
            duration(statistics.median(self.seconds)), duration(statistics.median(self.lags)),
            duration(max(self.stalls)) if max(self.stalls) else "none", f"{self.messages:.0f}", size(self.bytes), duration(self.cpu), duration(self.page_cpu),
            size(self.saved),
        ]  # fmt: skip

    def close(self):
        self.notebook.close()
        self.notebook.server.kill_kernels()


HEAD = [
    "cell",
    "last line seen after",
    "after the command's end",
    "longest stall",
    "messages",
    "received",
    "kernel's CPU",
    "page's CPU",
    "saved",
]


def compare(report, name, text, script, rounds, place, check):
    """One load in our cells and in the peers'; `check` gets our case while its page is open."""
    ours = Case(place.ours, place.browser, f"{name}-xec", f"%%xec\n{script}\n{LAST}", rounds, place.patience_s)
    check(ours)
    ours.close()
    rows = [["`%%xec`", *ours.row()]]
    for peer, cell in (("`%%bash`", f"%%bash\n{script}\n{LAST}"), ("`!`", f"!{script}; {LAST}")):
        theirs = Case(
            place.peers, place.browser, f"{name}-{'bash' if 'bash' in peer else 'bang'}", cell, 1, place.patience_s
        )
        theirs.close()
        rows.append([peer, *theirs.row()])
        if peer == "`%%bash`" and ours.seconds:
            what, mine = f"{text}: times as fast as `%%bash`", statistics.median(ours.seconds)
            if theirs.finished:
                report.at_least(what, statistics.median(theirs.seconds) / mine, 100, " ×")
            else:  # a lower bound: it may meet the target, and cannot miss it
                least = place.patience_s / mine
                words = f"more than {least:.3g} ×: not seen within {place.patience_s:g} s"
                report.target(what, words, "≥ 100 ×", met=True if least >= 100 else None)
    report.table([f"{text}", *HEAD[1:]], rows)


def million(report, lines, place, rounds):
    """Many short lines, and each of them can be read."""

    def check(case):
        if not case.finished:
            report.target(f"{lines:,} lines", "not seen", "≤ 0.5 s", met=False)
            return
        report.at_most(f"{lines:,} lines: last line after the end", statistics.median(case.lags), 0.5, " s")
        report.at_most(f"{lines:,} lines: saved notebook", case.saved / 1e6, 0.2, " MB")
        read_everywhere(report, case.notebook, lines)

    compare(report, "lines", f"{lines:,} lines", f"seq {lines}", rounds, place, check)


def read_everywhere(report, notebook, lines):
    """Bring lines of an ended run onto the page: the first, those that follow it, one in the middle, the last."""
    last = notebook.js("() => window.jupyterapp.shell.currentWidget.content.widgets.length") - 1
    notebook.js(
        """([i, s]) => window.jupyterapp.shell.currentWidget.content.widgets[i].model.sharedModel.setSource(s)""",
        [last, "%xec_runs show 1"],
    )
    notebook.run_wait(last)
    log = notebook.find(last, ".xec-log")
    log.wait_for(timeout=20_000)

    def shows(line):
        """Seconds until the line with this number is drawn and says that number."""
        begun = time.monotonic()
        notebook.page.wait_for_function(
            """([i, n]) => { const row = window.jupyterapp.shell.currentWidget.content.widgets[i].outputArea.node
                 .querySelector(`.xec-row[data-line="${n - 1}"]`); return row && row.textContent.trim() === String(n); }""",
            arg=[last, line], timeout=20_000, polling=20,
        )  # fmt: skip
        return time.monotonic() - begun

    steps = []
    try:
        log.press("Home")
        steps.append(["the first line, by Home", duration(shows(1))])
        begun = time.monotonic()
        reached = notebook.js(SCROLL, [last, min(lines, 2000)])
        steps.append(
            [f"on to line {reached:,}, by scrolling; no line was left out", duration(time.monotonic() - begun)]
        )
        notebook.find(last, ".xec-search input").fill(str(lines // 2))
        steps.append([f"line {lines // 2:,}, by search", duration(shows(lines // 2))])
        log.press("End")
        steps.append(["the last number, by End", duration(shows(lines))])
        met = True
    except Exception as error:  # said in the report; the other measurements go on
        steps.append([f"failed: {str(error).splitlines()[0]}", "–"])
        met = False
    report.target(f"{lines:,} lines: each can be brought onto the page", "yes" if met else "no", "yes", met=met)
    report.table(["reading an ended run, after `%xec_runs show`", "takes"], steps)


def flood(report, rate, seconds, place):
    """Coloured lines at a steady rate."""
    case = Case(
        place.ours,
        place.browser,
        "flood",
        f"%%xec\n${{{{python}}}} ${{{{flood}}}} {rate} {seconds}",
        1,
        place.patience_s,
    )
    what = f"{rate:,} ANSI lines/s for {seconds:g} s"
    if case.finished:
        report.at_most(f"{what}: last line after the end", case.lags[0], 0.5, " s")
        report.at_most(f"{what}: longest stall of the page", case.stalls[0] * 1000, 100, " ms")
        report.at_most(f"{what}: on the wire", case.wire_rate / 1e6, 0.5, " MB/s")
    else:
        report.target(what, "not seen", "≤ 0.5 s", met=False)
    case.close()
    # How still the page's main thread is on this machine when nothing is shown.
    quiet = f"import time\ntime.sleep({seconds})\nprint('XECLAST', time.time())"
    control = Case(place.ours, place.browser, "quiet", quiet, 1, place.patience_s)
    control.close()
    rows = [["`%%xec`", *case.row()], ["nothing but a last line, as long", *control.row()]]
    report.table([what, *HEAD[1:]], rows)


def short_cells(report):
    """What short cells add to a notebook that is executed without a page."""
    import nbformat
    from nbclient import NotebookClient

    cells = ["%load_ext xec_magic"] + [f"%%xec\necho cell {number}; seq 10" for number in range(SHORT_CELLS)]
    notebook = nbformat.from_dict(make_notebook(cells))
    before = len(nbformat.writes(notebook))
    begun = time.monotonic()
    NotebookClient(notebook, timeout=120).execute()
    took = time.monotonic() - begun
    added = len(nbformat.writes(notebook)) - before
    assert re.search(r"cell 49\\n", json.dumps(notebook.cells[-1].outputs))
    report.at_most(f"{SHORT_CELLS} short `%%xec` cells through nbclient: added to the notebook", added / 1e6, 1, " MB")
    report.say(f"nbclient took {duration(took)} for them, its kernel included.")


def main():
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=0, help="rounds of our cells; the peers have one")
    parser.add_argument(
        "--patience", type=float, default=0, help="seconds that a last line is waited for; 180 by default"
    )
    options = parser.parse_args()
    patience_s = options.patience or (QUICK_PATIENCE_S if options.quick else PATIENCE_S)
    rounds = options.rounds or (2 if options.quick else 5)
    lines = 100_000 if options.quick else 1_000_000
    long_lines = 10_000 if options.quick else 200_000
    report = Report("page", "Much output in JupyterLab, in headless Chromium.", options)
    short_cells(report)
    folder = Path(tempfile.mkdtemp(prefix="bench-page-"))
    try:
        with lab(folder / "ours") as (ours, browser):
            peers = LabServer(folder / "peers", extra=NO_LIMITS)
            try:
                place = Place(ours, peers.wait(), browser, patience_s)
                flood(report, 10_000, 5 if options.quick else 10, place)
                what = f"{size(long_lines * 100)} in lines of 100 bytes"
                compare(report, "bytes", what, f"seq -f %099.0f {long_lines}", rounds, place, lambda _: None)
                million(report, lines, place, rounds)
            finally:
                peers.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report.finish()


if __name__ == "__main__":
    main()
