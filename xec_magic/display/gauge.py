"""What a page gets of samples: numbered rows of seven numbers, new ones as they come, all of them when asked.

The page's side of this protocol is `static/src/samples.js`.
"""

from __future__ import annotations

import math
import threading
from array import array
from typing import TYPE_CHECKING, Any, Final

from xec_magic.timeline import COUNTED, GAP_STEPS, LEAST_GAP_S

if TYPE_CHECKING:
    from xec_magic.display.feed import Mask
    from xec_magic.events import Mark, Sample
    from xec_magic.timeline import Timeline

__all__ = ["Gauge"]

ROWS: Final = 1200  # kept for a page that is loaded again; of more every second one goes
_GAP: Final = (math.nan,) * 6
_Row = tuple[float, ...]  # seconds, cores, bytes, bytes a second read, written, received, sent


class Gauge:
    """Turns samples into rows for a page. Any thread.

    Args:
        timeline: What has been sampled until now.
        mask: Replaces secrets in the texts of marks.
    """

    def __init__(self, timeline: Timeline, mask: Mask) -> None:
        self._mask = mask
        self._lock = threading.Lock()
        self._started_at = timeline.started_at
        self._before: Sample | None = None
        self._from_zero = timeline.from_zero
        self._step_s = timeline.step_s()
        self._rows: list[_Row] = []
        self._fresh: list[_Row] = []
        self._next = 0  # the number of the next row that is sent
        self._marks = [self._worded(mark) for mark in timeline.marks]
        self._told = len(self._marks)
        self._begun = False
        for sample in list(timeline.samples):
            self.add(sample)

    @property
    def latest_at(self) -> float:
        """When the last sample was taken that it knows of."""
        return self._before.at if self._before is not None else -math.inf

    @property
    def marks(self) -> int:
        """Of how many marks it knows."""
        return len(self._marks)

    def add(self, sample: Sample) -> None:
        """Take the next sample; one that is known already does nothing."""
        with self._lock:
            before = self._before
            if before is not None and sample.at <= before.at:
                return
            self._before = sample
            time = sample.at - self._started_at
            rates: list[float] = [math.nan] * len(COUNTED)
            if before is not None or self._from_zero:
                elapsed = sample.at - (before.at if before is not None else self._started_at)
                if before is not None:
                    if elapsed > max(LEAST_GAP_S, GAP_STEPS * (self._step_s if self._step_s > 0 else elapsed)):
                        self._append((time - elapsed / 2, *_GAP))
                    else:
                        self._step_s = elapsed
                for at, name in enumerate(COUNTED):
                    now, then = getattr(sample, name), getattr(before, name) if before is not None else 0
                    if now is not None and then is not None and elapsed > 0:
                        rates[at] = max(0.0, (now - then) / elapsed)
            memory = math.nan if sample.rss_bytes is None else float(sample.rss_bytes)
            self._append((time, rates[0], memory, *rates[1:]))

    def _append(self, row: _Row) -> None:
        self._rows.append(row)
        self._fresh.append(row)
        if len(self._rows) > ROWS:
            self._rows = [row for at, row in enumerate(self._rows) if at % 2 or all(map(math.isnan, row[1:]))]

    def mark(self, mark: Mark) -> None:
        """Take the next mark."""
        with self._lock:
            self._marks.append(self._worded(mark))

    def _worded(self, mark: Mark) -> tuple[float, str]:
        return mark.at - self._started_at, self._mask(mark.text)

    def take(self) -> tuple[dict[str, Any], bytes] | None:
        """What has come since the last time, for a message, first of all everything; None when there is nothing new."""
        with self._lock:
            if not self._begun:
                self._begun = True
                self._next = len(self._rows)
                self._fresh.clear()
                self._told = len(self._marks)
                return self._whole()
            if not self._fresh and self._told == len(self._marks):
                return None
            content: dict[str, Any] = {"first": self._next, "next": self._next + len(self._fresh)}
            if self._told != len(self._marks):
                content["marks"] = list(self._marks)
                self._told = len(self._marks)
            data = _packed(self._fresh)
            self._next += len(self._fresh)
            self._fresh.clear()
            return content, data

    def whole(self) -> tuple[dict[str, Any], bytes]:
        """Everything that has been sent, for a page that has missed some of it."""
        with self._lock:
            return self._whole()

    def _whole(self) -> tuple[dict[str, Any], bytes]:
        sent = self._rows[: len(self._rows) - len(self._fresh)]
        return {"whole": True, "next": self._next, "marks": list(self._marks)}, _packed(sent)


def _packed(rows: list[_Row]) -> bytes:
    return array("f", [value for row in rows for value in row]).tobytes()
