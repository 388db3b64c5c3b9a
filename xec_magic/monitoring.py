"""`xec.monitor`: what this machine, or this kernel, uses while a block of Python runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from xec_magic import runtime
from xec_magic.engine.watching import Watch, Watched
from xec_magic.timeline import Curves, Timeline

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["Monitor", "Use", "monitor"]


class Use(NamedTuple):
    """One number of each curve; None where nothing was measured."""

    cpu_cores: float | None
    rss_bytes: float | None
    read_rate: float | None
    write_rate: float | None
    received_rate: float | None
    sent_rate: float | None


class Monitor:
    """Samples from its start to its stop; a context manager that does both. `monitor` makes one.

    Attributes:
        timeline: The samples, at most 1,200: of more every second one goes, and the peaks stay.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def start(self) -> Monitor:
        """Take samples from now on."""
        self._watch.start()
        self._watch.wait_for(len(self.timeline) + 1, 1.0)  # a first one before what is to be measured begins
        return self

    def stop(self) -> Monitor:
        """Take a last sample, and no more."""
        if self._watch.running:
            self._watch.wait_for(max(2, len(self.timeline) + 1), 1.5 / self._watch.rate_hz + 0.5)
            self._watch.stop()
        return self

    @property
    def timeline(self) -> Timeline:
        """The samples."""
        return self._watch.timeline

    @property
    def peak(self) -> Use:
        """The largest of each curve."""
        return _each(self.timeline.curves(), max)

    @property
    def average(self) -> Use:
        """The mean of each curve."""
        return _each(self.timeline.curves(), lambda values: sum(values) / len(values))

    @property
    def alerts(self) -> list[str]:
        """What its alerts had to say."""
        return list(self._watch.warnings)

    @property
    def samples(self) -> pd.DataFrame:
        """A row a sample, units in the names of the columns.

        Raises:
            OptionError: pandas is not installed.
        """
        return self.timeline.frame()

    def plot(self) -> Figure:
        """A matplotlib Figure of the curves."""
        figure: Figure = import_module("xec_magic.display.usage").figure_of(
            self.timeline, f"this {self._watch.what}", f"this {self._watch.what}"
        )
        return figure

    def __enter__(self) -> Monitor:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    async def __aenter__(self) -> Monitor:
        import asyncio

        return await asyncio.to_thread(self.start)

    async def __aexit__(self, *exc: object) -> None:
        import asyncio

        await asyncio.to_thread(self.stop)

    def __repr__(self) -> str:
        return f"<Monitor {self._watch!r}>"


def _each(curves: Curves, pick: Callable[[list[float]], float]) -> Use:
    found = ([value for value in getattr(curves, name) if value == value] for name in Use._fields)  # noqa: PLR0124 - NaN
    return Use(*(pick(values) if values else None for values in found))


def monitor(what: Watched = "machine", *, rate: float = 4.0, alert: str | Iterable[str] = ()) -> Monitor:
    """A monitor of this `machine` or this `kernel`, for `with`, or for `start` and `stop`.

    Args:
        what: What is watched.
        rate: Samples a second, 0.2 to 20.
        alert: Bounds such as `mem > 90%`; `alerts` then says which were broken.

    Raises:
        OptionError: a rate out of range, an alert that means nothing.

    Example:
        >>> import xec_magic as xec
        >>> with xec.monitor("kernel", rate=20) as m:
        ...     held = bytearray(50_000_000)
        ...     total = sum(range(2_000_000))
        >>> m.peak.rss_bytes > 50_000_000, len(m.timeline) >= 2
        (True, True)
    """
    alerts = (alert,) if isinstance(alert, str) else tuple(alert)
    return Monitor(Watch(runtime.current().executor, what, float(rate), alerts))
