"""What time it is, for things whose age matters: also when the wall clock is set, and when the machine sleeps."""

from __future__ import annotations

import math
import secrets
import time
from typing import Final, NamedTuple

__all__ = ["Clock", "Moment"]

SKEW_S: Final = 1.0  # a moment that lies so little in the future is now: file servers and leap seconds
_BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"


class Moment(NamedTuple):
    """A point in time.

    Attributes:
        wall: Seconds since the epoch, as the wall clock said.
        steady: Seconds of a clock that nobody sets and that counts while the machine sleeps.
        boot: Which steady clock that is: it begins anew at each boot.
    """

    wall: float
    steady: float
    boot: str


class Clock:
    """Tells moments, and how long ago they were.

    Source: clock_gettime(2), `CLOCK_BOOTTIME`; random(4), `boot_id`.
    """

    def __init__(self) -> None:
        self._id = getattr(time, "CLOCK_BOOTTIME", None)  # Linux only; elsewhere the monotonic clock of this process
        try:
            with open(_BOOT_ID, encoding="ascii") as file:
                self.boot = file.read().strip()
        except OSError:
            self._id = None
        if self._id is None:
            self.boot = secrets.token_hex(8)

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def steady(self) -> float:
        """Seconds of the steady clock."""
        return time.monotonic() if self._id is None else time.clock_gettime(self._id)

    def now(self) -> Moment:
        """This moment."""
        return Moment(self.wall(), self.steady(), self.boot)

    def age(self, then: Moment) -> float:
        """Seconds since a moment; infinite when it is not known, so that nothing lives for ever.

        The wall clock may have been set since. In the same boot the longer one of both ages counts; from an earlier boot
        there is only the wall clock, and a moment in its future cannot be trusted.
        """
        wall = self.wall() - then.wall
        if then.boot == self.boot:
            return max(0.0, wall, self.steady() - then.steady)
        return max(0.0, wall) if wall >= -SKEW_S else math.inf
