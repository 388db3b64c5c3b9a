"""`Watch`: this machine or this kernel, sampled for as long as somebody wants."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Literal, Protocol, TypeAlias

from xec_magic.alert import Alert, Capacity, parse_alert
from xec_magic.engine.monitor import watch
from xec_magic.errors import OptionError
from xec_magic.events import Mark, Sample
from xec_magic.timeline import Timeline
from xec_magic.transport import Transports

__all__ = ["MOST_RATE_HZ", "Watch", "Watched"]

Watched: TypeAlias = Literal["machine", "kernel"]
LEAST_RATE_HZ: Final = 0.2
MOST_RATE_HZ: Final = 20.0


class Surroundings(Protocol):
    """What a watch needs of its executor."""

    transports: Transports

    def beside(self, coroutine: Coroutine[Any, Any, None]) -> Callable[[], None]:
        """Run a coroutine on the loop until it ends, is stopped by what this gives, or the executor closes."""


class Watch:
    """Samples a machine or a kernel in a bounded history. Any thread may call it.

    Args:
        executor: Gives the loop and the way to the samples.
        what: `machine` or `kernel`.
        rate_hz: Samples a second, 0.2 to 20.
        alerts: Bounds, as `mem > 90%`.
    """

    def __init__(
        self, executor: Surroundings, what: Watched, rate_hz: float = 1.0, alerts: tuple[str, ...] = ()
    ) -> None:
        if not LEAST_RATE_HZ <= rate_hz <= MOST_RATE_HZ:
            raise OptionError(f"rate must lie between 0.2 and 20 samples a second, not {rate_hz:g}")
        if what not in ("machine", "kernel"):
            raise OptionError(f"{what!r} cannot be watched; there are machine and kernel")
        self.what = what
        self.rate_hz = rate_hz
        self.capacity = Capacity(*executor.transports.size_of_machine())
        self.timeline = Timeline(time.monotonic(), from_zero=False)
        self.warnings: list[str] = []
        self.changed = threading.Condition()
        self._executor = executor
        self._alerts = [parse_alert(text, self.capacity) for text in alerts]
        self._broken: set[Alert] = set()
        self._listeners: list[Callable[[Sample | Mark], None]] = []
        self._end: Callable[[], None] | None = None

    @property
    def running(self) -> bool:
        """It takes samples."""
        return self._end is not None

    def start(self) -> None:
        """Take samples from now on; what was sampled before stays. A second call does nothing."""
        if self._end is None:
            self._end = self._executor.beside(self._go())

    def stop(self) -> None:
        """Take no more samples; the history stays."""
        end, self._end = self._end, None
        if end is not None:
            end()

    def set_alerts(self, alerts: tuple[str, ...]) -> None:
        """Watch these bounds from now on."""
        self._alerts = [parse_alert(text, self.capacity) for text in alerts]
        self._broken.clear()

    def subscribe(self, listener: Callable[[Sample | Mark], None]) -> None:
        """Call `listener` on the loop's thread with every later sample and mark."""
        self._listeners.append(listener)

    def wait_for(self, count: int, timeout_s: float) -> bool:
        """Until there have been so many samples in all, at most so long. Not on the loop's thread."""
        with self.changed:
            return self.changed.wait_for(lambda: len(self.timeline) >= count, timeout_s)

    async def _go(self) -> None:
        transports = self._executor.transports
        sampler = transports.machine_sampler() if self.what == "machine" else transports.kernel_sampler()
        try:
            await watch(sampler, self.rate_hz, self._take)
        finally:
            sampler.close()

    def _take(self, sample: Sample) -> None:
        with self.changed:
            self.timeline.add(sample)
            self.changed.notify_all()
        self._tell(sample)
        curves = self.timeline.last_curves()
        for alert in self._alerts:
            value = alert.broken_by(curves)
            if value is not None and alert not in self._broken:
                self._broken.add(alert)  # once: an alert that comes again and again is switched off by its reader
                text = f"{alert.text}: {alert.worded(value)}"
                mark = Mark("", sample.at, text)
                self.timeline.marks.append(mark)
                self.warnings.append(f"{self.what}: {text}")
                self._tell(mark)

    def _tell(self, event: Sample | Mark) -> None:
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:  # a view that fails must not end the watch
                logging.getLogger("xec_magic").exception("a listener of the watch of this %s failed", self.what)

    def __repr__(self) -> str:
        return f"<Watch of this {self.what}, {'running' if self.running else 'stopped'}, {len(self.timeline)} samples>"
