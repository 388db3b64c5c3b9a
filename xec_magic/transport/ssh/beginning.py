"""`begun_at`: from when a command on a host counts: not from when we read that it has begun, which on a busy day is late."""

from __future__ import annotations

from typing import Final

__all__ = ["begun_at"]

TICK_S: Final = 0.01  # the host tells a login's start in hundredths of a second
SLOW_LOGIN_S: Final = 0.05  # what a quicker one takes is told too coarsely to be left out


def begun_at(asked_at: float, told_at: float, round_trip_s: float, login_s: float) -> float:
    """The earliest moment at which the word that the command has begun could have been here.

    The end of a command is known by a word of the host, too. When that comes in time and the first came late, for a server or a
    loop that has forty of them to see to, the command would be shown to have taken less than it can have.

    Args:
        asked_at: When its start was sent.
        told_at: When the word was read.
        round_trip_s: The shortest to the host and back; 0 where it is not known.
        login_s: How long its login had been there when it began, as the host tells; 0 where it does not.

    Example:
        >>> begun_at(10.0, 10.2, 0.02, 0.0), begun_at(10.0, 11.1, 0.02, 1.01), begun_at(10.0, 10.01, 0.02, 0.0)
        (10.02, 11.02, 10.01)
    """
    earliest = asked_at + round_trip_s
    login_s -= TICK_S
    if login_s >= SLOW_LOGIN_S and earliest + login_s <= told_at:  # more than that cannot be true
        earliest += login_s
    return min(earliest, told_at)
