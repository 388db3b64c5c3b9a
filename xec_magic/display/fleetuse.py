"""`FleetUse`: what a fleet's page gets of the samples of all its targets: one message with the new rows of each.

The page's side is `static/src/uses.js`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from xec_magic.display.gauge import Gauge

if TYPE_CHECKING:
    from xec_magic.timeline import Timeline

__all__ = ["FleetUse", "Watchable"]


class Watchable(Protocol):
    """What is needed of the run on one target."""

    @property
    def timeline(self) -> Timeline | None:
        """Its samples; None before the first, and a further attempt has one of its own."""


class FleetUse:
    """Turns the samples of many runs into messages. Any thread.

    Args:
        runs: One a target, in order; None before it begins.
        mask: Replaces secrets in the texts of marks.
    """

    def __init__(self, runs: Sequence[Watchable | None], mask: Callable[[str], str] = str) -> None:
        self._runs = runs
        self._mask = mask
        self._lock = threading.Lock()
        self._gauges: dict[int, tuple[Timeline, Gauge]] = {}
        self._begun_at: float | None = None  # of the first of all: the axis of time begins there

    def take(self) -> tuple[dict[str, Any], bytes] | None:
        """What has come since the last time; None when there is nothing new."""
        with self._lock:
            self._feed()
            found = [(number, gauge.take()) for number, (_, gauge) in self._gauges.items()]
            return self._message([(number, *fresh) for number, fresh in found if fresh is not None])

    def whole(self) -> tuple[dict[str, Any], bytes] | None:
        """Everything that has been sent, for a page that has missed some of it."""
        with self._lock:
            return self._message([(number, *gauge.whole()) for number, (_, gauge) in self._gauges.items()])

    def _feed(self) -> None:
        for number, run in enumerate(self._runs):
            timeline = run.timeline if run is not None else None
            if timeline is None or not timeline.samples:
                continue
            known = self._gauges.get(number)
            if known is None or known[0] is not timeline:
                if self._begun_at is None:
                    self._begun_at = timeline.started_at
                self._gauges[number] = timeline, Gauge(timeline, self._mask)  # it has all until now
                continue
            fresh = []
            for sample in reversed(list(timeline.samples)):
                if sample.at <= known[1].latest_at:
                    break
                fresh.append(sample)
            for sample in reversed(fresh):
                known[1].add(sample)
            for mark in timeline.marks[known[1].marks :]:
                known[1].mark(mark)

    def _message(self, parts: list[tuple[int, dict[str, Any], bytes]]) -> tuple[dict[str, Any], bytes] | None:
        if not parts or self._begun_at is None:
            return None
        hosts = []
        for number, content, rows in parts:
            later = self._gauges[number][0].started_at - self._begun_at
            hosts.append(content | {"number": number, "later": later, "bytes": len(rows)})
        return {"hosts": hosts}, b"".join(rows for _, _, rows in parts)
