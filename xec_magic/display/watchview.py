"""`WatchView`: what a machine, a kernel or a host uses, live on the reader's page, and as a static chart when it is over."""

from __future__ import annotations

import contextvars
import threading
import time
from html import escape
from typing import TYPE_CHECKING, Any, Final, Protocol

from IPython.display import DisplayHandle, display

from xec_magic.display import palette
from xec_magic.display.ansi import plain_line
from xec_magic.display.mime import both_forms, widget_form
from xec_magic.display.mode import Mode
from xec_magic.display.usage import usage_html, usage_lines
from xec_magic.events import Mark, Sample
from xec_magic.output import OutputLog
from xec_magic.units import format_count, format_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from xec_magic.display.gauge import Gauge
    from xec_magic.display.widget import RunWidget
    from xec_magic.timeline import Timeline

__all__ = ["WatchHandle", "WatchView"]

CHART_S: Final = 0.5  # two messages a second at most


class WatchHandle(Protocol):
    """What a view needs of a watch."""

    rate_hz: float
    timeline: Timeline
    warnings: list[str]
    failure: str

    @property
    def title(self) -> str:
        """What is watched: `this machine`, a host's name."""

    @property
    def running(self) -> bool:
        """It takes samples."""

    def stop(self) -> None:
        """Take no more samples; any thread."""

    def subscribe(self, listener: Callable[[Sample | Mark], None]) -> None:
        """Have every later sample and mark, on the loop thread."""


class WatchView:
    """One watch, shown in one or several cells.

    Args:
        handle: The watch.
        mode: In what form.
        mask: Replaces secrets in a text.
    """

    def __init__(self, handle: WatchHandle, mode: Mode, mask: Callable[[str], str]) -> None:
        self.handle = handle
        self.mode = mode
        self._mask = mask
        self._lock = threading.RLock()
        self._outputs: list[DisplayHandle] = []
        self._widget: RunWidget | None = None
        self._gauge: Gauge | None = None
        self._sent_at = 0.0
        handle.subscribe(self._on_event)

    def show(self) -> None:
        """Show it in the output of the cell that asks: live while it runs, else as it is."""
        if self.mode is Mode.TEXT:
            print("\n".join(self._lines()))  # noqa: T201 - a terminal's view
            return
        bundle = self._bundle()
        if self.handle.running and self.mode is Mode.WIDGET:
            bundle = self._started()
            bundle |= widget_form(self._live().model_id)
        output = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        assert output is not None
        with self._lock:
            if self.handle.running and self.mode is Mode.WIDGET:
                self._outputs.append(output)

    def end(self) -> None:
        """Leave the static chart in the place of the live one. Any thread."""
        with self._lock:
            outputs, self._outputs = self._outputs, []
            widget, self._widget = self._widget, None
            if widget is not None:
                self._send(widget)
                with widget.hold_sync():
                    widget.end = {"ok": True, "words": "stopped", "facts": []}
                    widget.state = "done"
        if outputs:
            bundle = self._bundle()
            for output in outputs:
                # A context of its own: nbclient drops what does not belong to the cell that is running now.
                contextvars.Context().run(output.update, bundle, raw=True)

    # -- live -------------------------------------------------------------------------------------

    def _live(self) -> RunWidget:
        from xec_magic.display.gauge import Gauge
        from xec_magic.display.widget import RunWidget

        with self._lock:
            if self._widget is None:
                self._gauge = gauge = Gauge(self.handle.timeline, self._mask)
                self._widget = RunWidget(
                    OutputLog, lambda _: self._stop(), self._mask, read_use=gauge.whole,
                    head={"title": self.handle.title, "target": "", "run": "", "script": "", "chart": True, "bare": True},
                    state="watching", elapsed=time.monotonic() - self.handle.timeline.started_at,
                )  # fmt: skip
                self._send(self._widget)
            return self._widget

    def _stop(self) -> None:
        self.handle.stop()
        self.end()

    def _on_event(self, event: Sample | Mark) -> None:
        with self._lock:
            gauge, widget = self._gauge, self._widget
            if gauge is None or widget is None:
                return
            if isinstance(event, Mark):
                gauge.mark(event)
                widget.note = self._mask(event.text)
            else:
                gauge.add(event)
            if time.monotonic() - self._sent_at >= CHART_S:
                self._send(widget)

    def _send(self, widget: RunWidget) -> None:
        fresh = self._gauge.take() if self._gauge is not None else None
        if fresh is not None:
            self._sent_at = time.monotonic()
            widget.send_use(*fresh)

    # -- words --------------------------------------------------------------------------------------

    def _heading(self) -> str:
        state = "watched" if self.handle.running else "no longer watched"
        why = f"; no samples now: {self._mask(plain_line(self.handle.failure))}" if self.handle.failure else ""
        return f"[xec] {self.handle.title}, {state}{why}"

    def _started(self) -> dict[str, Any]:
        return both_forms(
            self._heading(), f"<div style='{_SMALL}'>{escape(self._heading().removeprefix('[xec] '))}</div>"
        )

    def _lines(self) -> list[str]:
        """Heading and curves; nothing that changes from run to run where that is asked for."""
        timeline = self.handle.timeline
        if self.mode is Mode.STATIC:
            return [self._heading()]
        span = timeline.samples[-1].at - timeline.started_at if timeline.samples else 0.0
        heading = f"{self._heading()}: {format_count(len(timeline), 'sample')} in {format_duration(span)}"
        load = timeline.samples[-1].load if timeline.samples else None
        return [heading + ("" if load is None else f", load {load:.2f}"), *usage_lines(timeline, self._mask)]

    def _bundle(self) -> dict[str, Any]:
        lines = self._lines()
        html = f"<div style='{_SMALL}'>{escape(lines[0].removeprefix('[xec] '))}</div>"
        if self.mode is not Mode.STATIC:
            html += usage_html(self.handle.timeline, self.handle.title, self.handle.title, self._mask)
        return both_forms(
            "\n".join(lines),
            f"<div style='background:{palette.BACKGROUND};border:1px solid {palette.RULE};border-radius:4px'>{html}</div>",
        )


_SMALL: Final = f"padding:3px 10px;color:{palette.MUTED};background:{palette.BACKGROUND};font-size:12px;line-height:1.6"
