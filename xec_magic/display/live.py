"""`Live`: feeds the widget of one run from the loop thread, at most some ten messages a second."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

from xec_magic.display import render
from xec_magic.display.ansi import plain_line, plain_text
from xec_magic.display.feed import Feed
from xec_magic.display.gauge import Gauge
from xec_magic.display.widget import RunWidget, keep_open
from xec_magic.errors import XecError
from xec_magic.events import (
    Event,
    LeftBehind,
    Mark,
    Note,
    Output,
    PartStarted,
    Queued,
    Retrying,
    Sample,
    Started,
    Stopping,
)
from xec_magic.units import format_duration

if TYPE_CHECKING:
    from xec_magic.display.feed import Mask
    from xec_magic.display.view import RunHandle
    from xec_magic.result import Result

__all__ = ["Live"]

FLUSH_S: Final = 0.1  # shorter intervals cost the browser more than they show
FIRST_FLUSH_S: Final = 0.02  # after a silence: time for the rest of what is being printed
SNAPSHOT_S: Final = 1.0
CHART_S: Final = 0.5  # two chart messages a second: more is not seen, and costs the server's allowance


class Live:
    """The widget of a run that is alive, or of an ended one that is looked at again.

    Args:
        handle: The run.
        mask: Replaces secrets in a text.
        show: Show the script as well.
        usual_s: What the command usually takes; None when nobody knows.
    """

    def __init__(self, handle: RunHandle, mask: Mask, *, show: bool, usual_s: float | None = None) -> None:
        self._handle = handle
        self._mask = mask
        self._lock = threading.RLock()  # one thread at a time writes traits
        self._started_at = time.monotonic()
        self._feed = Feed(handle.log, mask)
        self._epoch = 1
        self._flush_waits = self._snapshot_waits = False
        self._flushed_at = 0.0
        self._dirty = False  # the snapshot is older than the log
        self._over = False
        self._gauge = Gauge(handle.timeline, mask) if handle.timeline is not None else None
        self._chart_waits = False
        self._part = self._part_said = 0  # the command of a batch that runs, and that the page knows of
        self.widget = RunWidget(
            lambda: self._handle.log,
            self._stop,
            mask,
            self._refresh,
            lambda: self._gauge.whole() if self._gauge is not None else ({}, b""),
            head={
                "title": plain_line(mask(handle.plan.title)),
                "target": render.place_of(handle.plan),
                "run": handle.run_id,
                "script": plain_text(mask(handle.plan.command.script)) if show else "",
                "usual": usual_s,
                "chart": handle.plan.monitor is not None,
            },
            blocking=not handle.background,
        )
        handle.subscribe(self._on_event)
        if handle.state == "queued":
            self._say(render.waits_for(handle.plan), state="queued")
        # What came before the subscription; whatever comes later raises a flush of its own.
        self._flush(now=True)
        self._send_use()

    @property
    def closed(self) -> bool:
        """Its widget was closed to make room."""
        return self.widget.comm is None

    @property
    def model_id(self) -> str:
        """The widget's name on its page."""
        return str(self.widget.model_id)

    def end(self, result: Result) -> None:
        """Send the rest and how it ended; nothing is sent after that."""
        with self._lock:
            if self._over:
                return
            self._flush(now=True)
            self._send_use()
            self._over = True
            with self.widget.hold_sync():
                self.widget.note = ""
                self.widget.cached = render.badge(result)
                self.widget.elapsed = result.duration_s
                self.widget.end = {
                    "ok": result.ok,
                    "words": plain_line(self._mask(render.headline(result))),
                    "facts": [plain_line(fact) for fact in render.facts(result, mask=self._mask)],
                }
                self.widget.blocking = False
                self.widget.state = "done"
        keep_open(self.widget)

    # -- loop thread ------------------------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        match event:
            case Output():
                self._arm()
            case Sample() | Mark():
                self._take_use(event)
            case PartStarted(part=number):
                self._part = number
                self._arm()
            case Stopping(cause=cause, signal=signal):
                self._say(f"{cause}: sent {signal}", state="stopping")
            case Retrying(reason=reason, delay_s=delay_s):
                self._say(f"{reason}; next attempt in {format_duration(delay_s)}")
            case Queued():
                self._say(render.waits_for(self._handle.plan), state="queued")
            case Started(attempt=attempt):
                if self._handle.timeline is not None:  # a further attempt has a chart of its own
                    self._gauge = Gauge(self._handle.timeline, self._mask)
                self._say(f"attempt {attempt}" if attempt > 1 else "", state="running")
            case LeftBehind(processes=processes):
                self._say("still running: " + ", ".join(map(str, processes)))
            case Note(text=text):
                self._say(text)
            case _:
                pass

    def _say(self, text: str, state: str = "") -> None:
        with self._lock:
            if self._over:
                return
            self.widget.note = plain_line(self._mask(text))
            if state:
                self.widget.state = state

    def _take_use(self, event: Sample | Mark) -> None:
        if self._gauge is None and self._handle.timeline is not None:
            self._gauge = Gauge(self._handle.timeline, self._mask)
        if self._gauge is None:
            return
        if isinstance(event, Mark):
            self._gauge.mark(event)
        else:
            self._gauge.add(event)
        if not self._chart_waits:
            self._chart_waits = True
            self._handle.call_later(CHART_S, self._chart_tick)

    def _chart_tick(self) -> None:
        self._chart_waits = False
        with self._lock:
            if not self._over:
                self._send_use()

    def _send_use(self) -> None:
        fresh = self._gauge.take() if self._gauge is not None else None
        if fresh is not None:
            self.widget.send_use(*fresh)

    def _arm(self) -> None:
        if not self._flush_waits and not self._over:
            self._flush_waits = True
            since = time.monotonic() - self._flushed_at
            self._handle.call_later(max(FIRST_FLUSH_S, FLUSH_S - since), self._tick)

    def _tick(self) -> None:
        self._flush_waits = False
        self._flush()
        if self._dirty and not self._snapshot_waits:
            self._snapshot_waits = True
            self._handle.call_later(SNAPSHOT_S, self._heal)

    def _heal(self) -> None:
        self._snapshot_waits = False
        self._flush(now=True)

    # -- any thread -------------------------------------------------------------------------------

    def _flush(self, *, now: bool = False) -> None:
        with self._lock:
            if self._over:
                return
            clock = time.monotonic()
            elapsed = clock - self._started_at
            self._flushed_at = clock
            if self._handle.log is not self._feed.log:  # a further attempt has a log of its own
                self._feed = Feed(self._handle.log, self._mask)
                self._epoch += 1
            lines = self._feed.take()
            if lines is not None:
                self._dirty = True
                self.widget.send_batch(lines, self._epoch, elapsed)
            if self._dirty and now:
                self._snapshot(elapsed)
                self._dirty = False
            batch = self._handle.plan.batch
            if batch is not None and self._part != self._part_said and self.widget.state == "running":
                self._part_said = self._part
                self.widget.note = f"command {self._part} of {len(batch.commands)}"

    def _snapshot(self, elapsed: float) -> None:
        batch = self._feed.snapshot()
        if batch is not None:
            snap: dict[str, Any] = {
                "epoch": self._epoch,
                **batch.content(),
                "data": batch.data,
                "partial": batch.partial,
            }
            with self.widget.hold_sync():
                self.widget.snap = snap
                self.widget.elapsed = elapsed

    def _stop(self, now: bool) -> None:
        self._handle.request_stop(now)
        with self._lock:
            if not self._over:
                # The page waits for this: an unheard wish becomes an interrupt of the kernel.
                self.widget.heard = 2 if now else 1
                self.widget.state = "stopping"

    def _refresh(self) -> None:
        """Run it again behind; the new run goes on in the place of the kept result."""
        with self._lock:
            if not self._over or not self.widget.cached:
                return
            try:
                self._handle = handle = self._handle.rerun()
            except XecError as error:
                self.widget.note = self._mask(str(error))
                return
            self._over = False
            self._started_at = time.monotonic()
            with self.widget.hold_sync():
                self.widget.cached, self.widget.note, self.widget.elapsed = "", "", 0.0
                self.widget.state = "running"
        handle.subscribe(self._on_event)
        self._flush(now=True)
        handle.add_done_callback(self.end)
