"""`FleetLive`: feeds the widget of a fleet from the thread that waits, a few messages a second, each bounded.

Imported on first use: it pulls in ipywidgets and anywidget.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import anywidget
import traitlets

from xec_magic.display import fleetrender
from xec_magic.display.ansi import plain_line
from xec_magic.display.fleetuse import FleetUse
from xec_magic.display.widget import STATIC, answer_beside, keep_open, kernel_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from xec_magic.display.feed import Mask
    from xec_magic.display.fleetlines import FleetLines, LabelledLine
    from xec_magic.display.fleetview import FleetHandle
    from xec_magic.result import Result
    from xec_magic.results import Results

__all__ = ["FleetLive", "FleetWidget"]

LINES: Final = 200  # in one message; of more the last ones go, and the page says how many did not
LINE_CHARACTERS: Final = 400
SNAPSHOT_S: Final = 2.0  # for a page that is loaded again, and for what the server dropped
SNAPSHOT_LINES: Final = 100
CHART_S: Final = 0.5  # two chart messages a second: more is not seen

_WAITING, _RUNNING, _OK, _FAILED, _NOT_STARTED = range(5)
ReadUse: TypeAlias = "Callable[[], tuple[dict[str, Any], bytes] | None]"
Row: TypeAlias = tuple[int, int, float | None, str]
"""Number, state, seconds (since the begin of all where it runs, else how long it took), last line."""


class FleetWidget(anywidget.AnyWidget):
    """A fleet in a page: rows and lines go by messages; traits hold what a reloaded page needs.

    Args:
        request_stop: Called with True to kill at once.
        read_use: Gives all that has been sent of the chart; None without any.
    """

    _esm = (STATIC / "fleet.js").read_text(encoding="utf-8")
    _css = "".join((STATIC / name).read_text(encoding="utf-8") for name in ("xec.css", "fleet.css"))

    head = traitlets.Dict().tag(sync=True)  # what does not change: title, names, script
    state = traitlets.Unicode("running").tag(sync=True)
    heard = traitlets.Int(0).tag(sync=True)  # 1 after a wish to stop, 2 after one to kill
    cached = traitlets.Unicode("").tag(sync=True)  # as of one run; always empty
    note = traitlets.Unicode("").tag(sync=True)
    elapsed = traitlets.Float(0.0).tag(sync=True)  # seconds since the begin; the page counts on from it
    blocking = traitlets.Bool(default_value=True).tag(sync=True)
    kernel_id = traitlets.Unicode("").tag(sync=True)
    snap = traitlets.Dict().tag(sync=True)  # all rows, the last lines
    end = traitlets.Dict().tag(sync=True)

    def __init__(self, request_stop: Callable[[bool], None], read_use: ReadUse = lambda: None, **traits: Any) -> None:
        super().__init__(kernel_id=kernel_id(), **traits)
        self._request_stop = request_stop
        self._read_use = read_use
        answer_beside(self)
        self.on_msg(self._on_request)

    def _on_request(self, _widget: Any, content: Any, _buffers: Any) -> None:
        match content:
            case {"op": "stop"}:
                self._request_stop(False)
            case {"op": "kill"}:
                self._request_stop(True)
            case {"op": "uses"}:
                self.send_use(self._read_use())
            case _:
                pass

    def send_use(self, found: tuple[dict[str, Any], bytes] | None) -> None:
        """Rows for the chart."""
        if found is not None:
            self.send({"t": "uses", **found[0]}, buffers=[found[1]])


class FleetLive:
    """The widget of a fleet that runs. All on the main thread but what the page asks.

    Args:
        handle: The fleet.
        lines: Reads what the targets print.
        mask: Replaces secrets in a text.
        show: Show the script as well.
    """

    def __init__(self, handle: FleetHandle, lines: FleetLines, mask: Mask, *, show: bool) -> None:
        self._handle = handle
        self._lines = lines
        self._mask = mask
        self._rows: list[Row] = [(number, _WAITING, None, "") for number in range(len(handle.names))]
        self._told = 0  # of those that have ended
        self._recent: deque[list[Any]] = deque(maxlen=SNAPSHOT_LINES)
        self._skipped = 0
        self._snapped_at = 0.0
        self._dirty = True
        self._use = FleetUse(handle.runs, mask) if handle.watched else None
        self._use_sent_at = 0.0
        names = [plain_line(mask(name)) for name in handle.names]
        self.widget = FleetWidget(
            self._stop,
            self._use.whole if self._use is not None else lambda: None,
            head={
                "title": plain_line(mask(handle.title)), "names": names, "target": f"{len(names)} targets",
                "script": mask(handle.script) if show else "", "chart": handle.watched,
            },
        )  # fmt: skip
        self.pump()

    @property
    def model_id(self) -> str:
        """The widget's name on its page."""
        return str(self.widget.model_id)

    def pump(self) -> None:
        """Send what has changed since the last time."""
        ended = [*self._handle.ended]
        found = self._lines.take(self._handle.runs, set(ended))
        changed = self._changed(ended, found)
        shown = [self._line(line) for line in found[-LINES:]]
        skipped = len(found) - len(shown)
        self._recent.extend(shown)
        self._skipped += skipped
        if changed or shown:
            self._dirty = True
            rows = [self._rows[number] for number in sorted(changed)]
            self.widget.send({"t": "fleet", "rows": rows, "lines": shown, "skipped": skipped})
        note = "waits for your answer below" if self._handle.waiting_for_answer else ""
        if note != self.widget.note:
            self.widget.note = note
        if time.monotonic() - self._snapped_at >= SNAPSHOT_S:
            self._snapshot()
        if self._use is not None and time.monotonic() - self._use_sent_at >= CHART_S:
            self._use_sent_at = time.monotonic()
            self.widget.send_use(self._use.take())

    def end(self, results: Results) -> None:
        """Send the rest and how it ended; nothing is sent after that."""
        self.pump()
        for number, result in enumerate(results):
            self._rows[number] = self._ended_row(number, result)
        self._dirty = True
        self._snapshot()
        first, *more = (line.removeprefix("[xec] ") for line in fleetrender.closing_lines(results, None, self._mask))
        with self.widget.hold_sync():
            self.widget.note = ""
            self.widget.end = {"ok": bool(results), "words": first, "facts": more}
            self.widget.blocking = False
            self.widget.state = "done"
        keep_open(self.widget)

    # -- what has changed -----------------------------------------------------------------------------

    def _elapsed(self) -> float:
        begun = self._handle.begun_at
        return time.monotonic() - begun if begun else 0.0

    def _changed(self, ended: list[int], found: list[LabelledLine]) -> set[int]:
        """The rows that are not as they were: begun, ended, or with another last line."""
        changed = set()
        for number, run in enumerate(self._handle.runs):
            if run is not None and self._rows[number][1] == _WAITING:
                self._rows[number] = number, _RUNNING, self._elapsed(), ""
                changed.add(number)
        last = {line.number: line.text for line in found if line.text.strip()}
        for number, text in last.items():
            _, state, seconds, _ = self._rows[number]
            self._rows[number] = number, state, seconds, self._text(text)
            changed.add(number)
        for number in ended[self._told :]:
            self._rows[number] = self._ended_row(number, self._handle.result_of(number))
            changed.add(number)
        self._told = len(ended)
        return changed

    def _ended_row(self, number: int, result: Result) -> Row:
        said = self._text(result.verdict_there())
        last = self._rows[number][3]
        if result.never_tried:
            return number, _NOT_STARTED, None, said
        took = result.duration_s if result.started_at is not None else None
        if result.ok:
            return number, _OK, took, last
        return number, _FAILED, took, f"{said} · {last}" if last and last != said else said

    def _line(self, line: LabelledLine) -> list[Any]:
        return [line.number, self._text(line.text), line.stream == "stderr"]

    def _text(self, text: str) -> str:
        return plain_line(self._mask(text[: 4 * LINE_CHARACTERS]))[:LINE_CHARACTERS]

    def _snapshot(self) -> None:
        self._snapped_at = time.monotonic()
        if not self._dirty:
            return
        self._dirty = False
        with self.widget.hold_sync():
            self.widget.snap = {"rows": self._rows, "lines": [*self._recent], "skipped": self._skipped}
            self.widget.elapsed = self._elapsed()

    # -- the page, on its own thread ---------------------------------------------------------------------

    def _stop(self, now: bool) -> None:
        self._handle.request_stop(now)
        # The page waits for this: an unheard wish becomes an interrupt of the kernel.
        self.widget.heard = 2 if now else 1
        self.widget.state = "stopping"
