"""`Watch`: this machine, this kernel or a host, sampled for as long as somebody wants."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Literal, Protocol, TypeAlias

from xec_magic.alert import Alert, Capacity, parse_alert
from xec_magic.command import LOCAL, Target
from xec_magic.engine.monitor import watch
from xec_magic.errors import AuthError, HostKeyError, OptionError, TransportError
from xec_magic.events import Mark, Sample
from xec_magic.timeline import Timeline
from xec_magic.transport import Transports
from xec_magic.transport.base import Sampler, Unreadable

__all__ = ["MOST_RATE_HZ", "Watch", "Watched"]

Watched: TypeAlias = Literal["machine", "kernel"]
LEAST_RATE_HZ: Final = 0.2
MOST_RATE_HZ: Final = 20.0
AGAIN_S: Final = 2.0  # after a connection was lost; then twice as long each time
LATEST_AGAIN_S: Final = 60.0
_FOR_GOOD: Final = (Unreadable, AuthError, HostKeyError)  # asking again changes nothing, and may lock us out


class Surroundings(Protocol):
    """What a watch needs of its executor."""

    transports: Transports

    def beside(self, coroutine: Coroutine[Any, Any, None]) -> Callable[[], None]:
        """Run a coroutine on the loop until it ends, is stopped by what this gives, or the executor closes."""


class Watch:
    """Samples a machine or a kernel in a bounded history. Any thread may call it.

    A host whose connection is lost is connected to again, now and then; until then its curves have a gap.

    Args:
        executor: Gives the loop and the way to the samples.
        what: `machine` or `kernel`.
        rate_hz: Samples a second, 0.2 to 20.
        alerts: Bounds, as `mem > 90%`.
        target: Which machine: this one, or a host.

    Attributes:
        failure: Why there are no samples now; empty while there are.
    """

    def __init__(
        self, executor: Surroundings, what: Watched, rate_hz: float = 1.0, alerts: tuple[str, ...] = (),
        target: Target = LOCAL,
    ) -> None:  # fmt: skip
        if not LEAST_RATE_HZ <= rate_hz <= MOST_RATE_HZ:
            raise OptionError(f"rate must lie between 0.2 and 20 samples a second, not {rate_hz:g}")
        if what not in ("machine", "kernel"):
            raise OptionError(f"{what!r} cannot be watched; there are machine and kernel")
        if target.kind not in ("local", "ssh"):
            raise OptionError(f"{target} cannot be watched: it is no machine")
        if what == "kernel" and target != LOCAL:
            raise OptionError(f"the kernel runs here, and not on {target}; leave out one of the two")
        self.what = what
        self.target = target
        self.rate_hz = rate_hz
        self.failure = ""
        self.timeline = Timeline(time.monotonic(), from_zero=False)
        self.warnings: list[str] = []
        self.changed = threading.Condition()
        self._executor = executor
        self._capacity: Capacity | None = None
        self._set(alerts)
        self._listeners: list[Callable[[Sample | Mark], None]] = []
        self._end: Callable[[], None] | None = None

    @property
    def title(self) -> str:
        """What is watched, in words."""
        return f"this {self.what}" if self.target == LOCAL else self.target.name

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
        self._set(alerts)

    def _set(self, alerts: tuple[str, ...]) -> None:
        # How much 100 % is may be known only later; until then the texts are checked.
        self._texts = alerts
        self._alerts = [parse_alert(text, self._capacity) for text in alerts]
        self._broken: set[Alert] = set()

    def subscribe(self, listener: Callable[[Sample | Mark], None]) -> None:
        """Call `listener` on the loop's thread with every later sample and mark."""
        self._listeners.append(listener)

    def wait_for(self, count: int, timeout_s: float) -> bool:
        """Until there have been so many samples in all, or it fails, at most so long. Not on the loop's thread."""
        with self.changed:
            self.changed.wait_for(lambda: len(self.timeline) >= count or bool(self.failure), timeout_s)
            return len(self.timeline) >= count

    async def _go(self) -> None:
        transports, again_s = self._executor.transports, AGAIN_S
        while True:
            kernel = self.what == "kernel"
            sampler = transports.kernel_sampler() if kernel else transports.machine_sampler(self.target)

            def take(sample: Sample, sampler: Sampler = sampler) -> None:
                nonlocal again_s
                again_s = AGAIN_S
                if sampler.size is not None and self._capacity is None:
                    self._capacity = Capacity(*sampler.size)
                    self._set(self._texts)
                self._take(sample)

            try:
                await watch(sampler, self.rate_hz, take)
            except TransportError as error:
                if self._failed(error):
                    return
            else:
                return
            finally:
                sampler.close()
            await asyncio.sleep(again_s)
            again_s = min(2 * again_s, LATEST_AGAIN_S)

    def _failed(self, error: TransportError) -> bool:
        """Say that there are no samples now, once; whether it is for good."""
        over = isinstance(error, _FOR_GOOD)
        if not self.failure:
            self._mark(time.monotonic(), f"no samples from here: {error}", f"{self.title}: {error}")
        with self.changed:
            self.failure = str(error)
            if over:
                self._end = None
            self.changed.notify_all()
        return over

    def _mark(self, at: float, text: str, warning: str) -> None:
        mark = Mark("", at, text)
        self.timeline.marks.append(mark)
        self.warnings.append(warning)
        self._tell(mark)

    def _take(self, sample: Sample) -> None:
        with self.changed:
            self.failure = ""
            self.timeline.add(sample)
            self.changed.notify_all()
        self._tell(sample)
        curves = self.timeline.last_curves()
        for alert in self._alerts:
            if self._capacity is None and "%" in alert.text:
                continue  # of what, the host cannot say
            value = alert.broken_by(curves)
            if value is not None and alert not in self._broken:
                self._broken.add(alert)  # once: an alert that comes again and again is switched off by its reader
                text = f"{alert.text}: {alert.worded(value)}"
                self._mark(sample.at, text, f"{self.what if self.target == LOCAL else self.title}: {text}")

    def _tell(self, event: Sample | Mark) -> None:
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:  # a view that fails must not end the watch
                logging.getLogger("xec_magic").exception("a listener of the watch of %s failed", self.title)

    def __repr__(self) -> str:
        return f"<Watch of {self.title}, {'running' if self.running else 'stopped'}, {len(self.timeline)} samples>"
