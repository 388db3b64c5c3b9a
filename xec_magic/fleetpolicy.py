"""`FleetPolicy`: how a command goes over many targets: how many at once, who first, when no further one is begun."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from xec_magic.defaults import FANOUT
from xec_magic.errors import OptionError

__all__ = ["FleetPolicy", "Share", "read_share"]

MOST_FANOUT: Final = 1000


@dataclass(frozen=True, slots=True)
class Share:
    """A number of targets, or a part of them in percent."""

    number: int
    percent: bool = False

    def of(self, whole: int, *, least: int = 0) -> int:
        """So many of `whole`; a part of one is rounded down, but not below `least`.

        Example:
            >>> Share(20, percent=True).of(44), Share(3).of(44), Share(1, percent=True).of(44, least=1)
            (8, 3, 1)
        """
        return max(least, math.floor(whole * self.number / 100) if self.percent else self.number)

    def __str__(self) -> str:
        return f"{self.number}%" if self.percent else str(self.number)


def read_share(value: Any) -> Share:
    """A share from a number or a text such as `"5"` or `"20%"`.

    Raises:
        OptionError: it is neither.

    Example:
        >>> read_share("20%"), read_share(5)
        (Share(number=20, percent=True), Share(number=5, percent=False))
    """
    if isinstance(value, Share):
        return value
    text = str(value).strip() if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    digits = text.removesuffix("%").strip()
    if not digits.isascii() or not digits.isdigit():
        raise OptionError(f"{value!r} is no number of targets; write 5, or 20% of them")
    share = Share(int(digits), text.endswith("%"))
    if share.percent and share.number > 100:
        raise OptionError(f"{value!r} is more than all of them; 100% are the most")
    return share


@dataclass(frozen=True, slots=True)
class FleetPolicy:
    """How a command goes over many targets.

    Attributes:
        fanout: So many run at once.
        canary: So many go first, alone; the others follow only when all of these are ok. 0 for none.
        wave: The others go in waves of this size, each after the end of the one before; None for all in one.
        max_fail: When more than this have failed, no further one is begun; None for no bound.
        confirm: Somebody says yes before each wave.
    """

    fanout: int = FANOUT
    canary: int = 0
    wave: Share | None = None
    max_fail: Share | None = None
    confirm: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.fanout <= MOST_FANOUT:
            raise OptionError(f"fanout must lie between 1 and {MOST_FANOUT}, not {self.fanout}")
        if self.wave is not None and self.wave.number < 1:
            raise OptionError(f"wave must be at least 1 target, not {self.wave}")
