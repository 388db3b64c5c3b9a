"""`xec.monitor`: what this machine, this kernel or a host uses while a block of Python runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple

from xec_magic import runtime
from xec_magic.command import LOCAL, Target
from xec_magic.engine.watching import Watch, Watched
from xec_magic.errors import OptionError
from xec_magic.timeline import Curves, Timeline

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["Monitor", "Use", "monitor"]

FIRST_S: Final = 1.0
FIRST_THERE_S: Final = 10.0  # a host's loop has to be started first


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
        """Take samples from now on.

        Raises:
            TransportError: the host cannot be reached.
        """
        target = self._watch.target
        if target.kind == "ssh":
            (failed,) = runtime.current().executor.ssh_call(lambda ssh: ssh.reach([target]))
            if failed is not None:
                raise failed
        self._watch.start()
        # A first one before what is to be measured begins.
        self._watch.wait_for(len(self.timeline) + 1, FIRST_S if target == LOCAL else FIRST_THERE_S)
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
        """What its alerts had to say, and that a host was lost."""
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
            self.timeline, self._watch.title, self._watch.title
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


def monitor(
    what: Watched = "machine", *, on: str | Target | None = None, rate: float = 4.0, alert: str | Iterable[str] = ()
) -> Monitor:
    """A monitor of this `machine`, this `kernel` or a host, for `with`, or for `start` and `stop`.

    Args:
        what: What is watched.
        on: The host whose machine it is; None for this one.
        rate: Samples a second, 0.2 to 20.
        alert: Bounds such as `mem > 90%`; `alerts` then says which were broken.

    Raises:
        OptionError: a rate out of range, an alert that means nothing, a host that is not known, several hosts.

    Example:
        >>> import xec_magic as xec
        >>> with xec.monitor("kernel", rate=20) as m:
        ...     held = bytearray(50_000_000)
        ...     total = sum(range(2_000_000))
        >>> m.peak.rss_bytes > 50_000_000, len(m.timeline) >= 2
        (True, True)
    """
    alerts = (alert,) if isinstance(alert, str) else tuple(alert)
    now = runtime.current()
    targets = now.settings.inventory().targets(on) if on is not None else [LOCAL]
    if len(targets) > 1:
        raise OptionError(f"on names {len(targets)} hosts, and a monitor watches one; make one for each")
    return Monitor(Watch(now.executor, what, float(rate), alerts, targets[0]))
