"""A live chart: kernel time and bytes a frame, beside matplotlib drawn into an Image and ipympl; frames a second in a page.

A frame of ours is what is sent for two new samples. The page is a JupyterLab in headless Chromium, in which a pointer is
dragged over one of ten live charts.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import time
from pathlib import Path

from common import Report, arguments, duration, interleave, size

from xec_magic.display.gauge import Gauge
from xec_magic.events import Sample
from xec_magic.timeline import Timeline

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "lab"))
POINTS = 300

FRAMES = """async (canvas) => {
  const box = canvas.getBoundingClientRect(); let frames = 0, on = true;
  const count = () => { frames++; if (on) requestAnimationFrame(count); };
  requestAnimationFrame(count);
  const begun = performance.now();
  canvas.dispatchEvent(new PointerEvent('pointermove', {clientX: box.left + 80, clientY: box.top + 40, bubbles: true}));
  while (performance.now() - begun < 2000) {
    const x = box.left + 80 + ((performance.now() - begun) / 2000) * (box.width - 100);
    canvas.dispatchEvent(new PointerEvent('pointermove', {clientX: x, clientY: box.top + 40, bubbles: true}));
    await new Promise(requestAnimationFrame);
  }
  on = false;
  return frames / ((performance.now() - begun) / 1000);
}"""


class Sent:
    """Counts what widgets send, as it would go over the wire."""

    def __init__(self):
        self.bytes = self.frames = 0

    def take(self, content, buffers=()):
        self.frames += 1
        self.bytes += len(json.dumps(content)) + sum(len(bytes(buffer)) for buffer in buffers or ())


def series():
    return [[(7 * n * (k + 3)) % 101 for n in range(POINTS)] for k in range(4)]


def ours(sent):
    from xec_magic.display.widget import RunWidget
    from xec_magic.output import OutputLog

    gauge = Gauge(Timeline(0.0), str)
    widget = RunWidget(OutputLog, lambda _: None, str, gauge.whole, head={"chart": True})
    widget.send = lambda content, buffers=None: sent.take(content, buffers)
    gauge.take()
    state = {"at": 0.0}

    def frame():
        for _ in range(2):
            state["at"] += 0.25
            at = state["at"]
            gauge.add(Sample("r", at, at / 2, int(at * 1000), int(at * 10), int(at * 20)))
        widget.send_use(*gauge.take())

    return frame


def picture(sent):
    import ipywidgets
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3))
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    lines = [axes.plot(values)[0] for values in series()]
    image = ipywidgets.Image(format="png")

    def frame():
        for line, values in zip(lines, series(), strict=True):
            line.set_ydata(values)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=100)
        image.value = buffer.getvalue()
        sent.take({"value": ""}, [image.value])

    return frame


def ipympl_canvas(sent):
    import matplotlib as mpl

    mpl.use("module://ipympl.backend_nbagg")
    from ipympl.backend_nbagg import Canvas, FigureManager
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3))
    canvas = Canvas(figure)
    FigureManager(canvas, 0)
    canvas.send = lambda content, buffers=None: sent.take(content, buffers)
    axes = figure.subplots()
    lines = [axes.plot(values)[0] for values in series()]

    def frame():
        for line, values in zip(lines, series(), strict=True):
            line.set_ydata(values)
        canvas.draw()
        canvas.manager.refresh_all()

    return frame


def frames_in_a_page():
    """Frames a second while a pointer moves over one of ten live charts; longest stall in milliseconds."""
    from labdriver import Notebook, lab, make_notebook

    root = Path(tempfile.mkdtemp())
    cells = ["%load_ext xec_magic", *(f"%%xec --bg --monitor --rate 10 --out r{i}\nsleep 100" for i in range(10))]
    (root / "a.ipynb").write_text(json.dumps(make_notebook(cells)))
    with lab(root, env={"PYTHONPATH": str(Path(__file__).resolve().parents[1])}) as (server, browser):
        page = Notebook(server, browser, "a.ipynb")
        for i in range(len(cells)):
            page.run_wait(i)
        canvas = page.find(1, ".xec-curves")
        canvas.scroll_into_view_if_needed()
        page.page.wait_for_timeout(3000)
        before = page.traffic()
        rate = canvas.evaluate(FRAMES)
        page.page.wait_for_timeout(3000)
        after = page.traffic()
        return rate, page.stall()["max"], (after["rx"] - before["rx"]) / 5 / 10


def main():
    parser = arguments(__doc__)
    parser.add_argument("--no-page", action="store_true", help="without Chromium")
    options = parser.parse_args()
    report = Report("chart", "A live chart of four curves, frame by frame.", options)
    counts, contestants = {}, {}
    for name, make in (("ours", ours), ("matplotlib → Image", picture), ("ipympl", ipympl_canvas)):
        counts[name] = Sent()
        try:
            contestants[name] = make(counts[name])
        except ImportError as error:
            report.say(f"{name} is not installed: {error}")
    repeats = 10 if options.quick else 50

    def several(frame):
        def run():
            begun = time.process_time()
            for _ in range(repeats):
                frame()
            return (time.process_time() - begun) / repeats

        return run

    found = interleave({name: several(frame) for name, frame in contestants.items()}, rounds=3 if options.quick else 7)
    report.at_most("kernel time a frame", found["ours"].median * 1e3, 1, " ms")
    report.at_most("bytes a frame", counts["ours"].bytes / counts["ours"].frames / 1e3, 3, " kB")
    report.table(
        ["way", "kernel time a frame", "bytes a frame"],
        [
            [name, duration(t.median), size(counts[name].bytes / max(1, counts[name].frames))]
            for name, t in found.items()
        ],
    )
    if not options.no_page:
        rate, stall, bytes_s = frames_in_a_page()
        report.at_least("frames a second in the page, ten charts live", rate, 30)
        report.say(
            f"Ten live charts at 10 Hz: {size(bytes_s)} a second and chart over the wire, longest stall {stall:.0f} ms."
        )
    report.finish()


if __name__ == "__main__":
    main()
