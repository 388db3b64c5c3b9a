"""`Alert`: a bound that is watched, written as `mem > 90%`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xec_magic.errors import OptionError
from xec_magic.units import format_size, parse_size

if TYPE_CHECKING:
    from xec_magic.timeline import Curves

__all__ = ["Alert", "Capacity", "parse_alert"]

_FORM: Final = re.compile(r"\s*(\w+)\s*(>=?|<=?)\s*([\d.]+)\s*([A-Za-z%]*?)(?:/s)?\s*")
_COLUMNS: Final = {
    "cpu": "cpu_cores", "mem": "rss_bytes", "memory": "rss_bytes", "read": "read_rate", "write": "write_rate",
    "received": "received_rate", "sent": "sent_rate",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a machine has: 100% of it."""

    cores: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Alert:
    """A bound on one curve.

    Attributes:
        text: As it was written.
        column: The curve, a field of `Curves`.
        below: It is broken by less, not by more.
        bound: In the unit of the curve: cores, bytes, bytes a second.
    """

    text: str
    column: str
    below: bool
    bound: float

    def broken_by(self, curves: Curves) -> float | None:
        """The last value, if it breaks the bound; None while it holds or nothing is known."""
        values: list[float] = getattr(curves, self.column)
        if not values or math.isnan(values[-1]):
            return None
        broken = values[-1] < self.bound if self.below else values[-1] > self.bound
        return values[-1] if broken else None

    def worded(self, value: float) -> str:
        """A value of the curve with its unit."""
        if self.column == "cpu_cores":
            return f"{value:.2f} cores"
        return format_size(value) + ("" if self.column == "rss_bytes" else "/s")


def parse_alert(text: str, capacity: Capacity | None = None) -> Alert:
    """The bound that a text means: `cpu > 80%`, `cpu > 3`, `mem > 90%`, `mem > 4GiB`, `write > 100MB/s`.

    Args:
        text: What is watched, `>` or `<`, and a number with a unit.
        capacity: What 100% is; without it the text is only checked.

    Raises:
        OptionError: it means none; the message says what could stand there.

    Example:
        >>> parse_alert("mem > 90%", Capacity(4, 1000)).bound
        900.0
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise OptionError(f"{text!r} is no alert; write what, > or <, and a bound, such as 'mem > 90%' or 'cpu > 3'")
    name, sign, number, unit = found.groups()
    column = _COLUMNS.get(name.lower())
    if column is None:
        raise OptionError(
            f"alert {text!r}: there is no {name!r} to watch; there are cpu, mem, read, write, received, sent"
        )
    try:
        value = float(number)
    except ValueError:
        raise OptionError(f"alert {text!r}: {number!r} is no number") from None
    if unit == "%":
        if column not in ("cpu_cores", "rss_bytes"):
            raise OptionError(f"alert {text!r}: only cpu and mem have a whole of which there is a percentage")
        whole = 1.0 if capacity is None else capacity.cores if column == "cpu_cores" else capacity.memory_bytes
        bound = value / 100 * whole
    elif column == "cpu_cores":
        if unit.lower() not in ("", "core", "cores"):
            raise OptionError(f"alert {text!r}: cpu is counted in cores or %, not in {unit}")
        bound = value
    else:
        bound = float(parse_size(f"{number}{unit}"))
    return Alert(" ".join(text.split()), column, sign.startswith("<"), bound)
