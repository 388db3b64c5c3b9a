"""The options of `%xec_monitor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from xec_magic.alert import parse_alert
from xec_magic.command import Target
from xec_magic.errors import OptionError
from xec_magic.options.run import RunOptions
from xec_magic.optionspec import RATE, OptionSet, Unit, option

__all__ = ["MonitorOptions"]


def _read_alerts(value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else list(value)
    for text in texts:
        if not isinstance(text, str):
            raise OptionError(f"{text!r} is no alert; write a text such as 'mem > 90%'")
        parse_alert(text)
    return tuple(texts)


ALERT: Final = Unit("alert", _read_alerts)


@dataclass(frozen=True)
class MonitorOptions:
    """What `%xec_monitor start` takes; `on` is the option of a run."""

    rate: float = option(
        "--rate", unit=RATE, metavar="HZ", group="watch", default=1.0,
        help="Take this many samples a second, 0.2 to 20. Default: 1.",
    )  # fmt: skip
    alert: tuple[str, ...] = option(
        "--alert", unit=ALERT, metavar="'mem > 90%'", group="watch", default=(), repeatable=True,
        help="Mark the chart and warn once when this becomes true: cpu in % or cores, mem in % or bytes, read, write, received, sent in bytes a second.",
    )  # fmt: skip

    on: tuple[str | Target, ...] = ()

    SPEC: ClassVar[OptionSet]


MonitorOptions.SPEC = OptionSet(MonitorOptions, also=[RunOptions.SPEC.by_name["on"]], unknown="")
