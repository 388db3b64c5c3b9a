"""Whether a failed attempt is followed by another, and after how long. Pure."""

from __future__ import annotations

from typing import Final

from xec_magic.events import Exited
from xec_magic.plan import Plan

__all__ = ["retry_delay"]

LONGEST_DELAY_S: Final = 300.0
JITTER: Final = 0.5  # the share of the delay that is random, so that many clients do not return at the same moment


def retry_delay(plan: Plan, exited: Exited, attempt: int, random: float) -> float | None:
    """Seconds to wait before the next attempt; None when this one was the last.

    Only failures of the command's own are retried: not what we stopped, and not what could not start.

    Args:
        attempt: The number of the attempt that has ended, from 1.
        random: A random number in [0, 1).

    Example:
        >>> from xec_magic.plan import RetryPolicy
        >>> from xec_magic.command import Command
        >>> plan = Plan(Command("false"), retry=RetryPolicy(retries=2, backoff_s=4.0, read_only=True))
        >>> failed = Exited("r", 0.0, 1, None)
        >>> [retry_delay(plan, failed, n, 0.5) for n in (1, 2, 3)]
        [3.0, 6.0, None]
    """
    policy = plan.retry
    if attempt > policy.retries or exited.cause is not None:
        return None
    if exited.exit_code is None:  # ended by a signal: only a command that changes nothing may run again
        if policy.codes or not policy.read_only:
            return None
    elif exited.exit_code in plan.ok_codes or (policy.codes and exited.exit_code not in policy.codes):
        return None
    delay: float = min(policy.backoff_s * 2 ** (attempt - 1), LONGEST_DELAY_S)
    return delay * (1 - JITTER + JITTER * random)
