"""`watch`: asks for samples at a fixed rate; reading them is the transport's business."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from xec_magic.events import Sample
from xec_magic.transport.base import Sampler

__all__ = ["watch"]

FIRST_S: Final = 0.02  # after the start: shorter commands are measured by their end alone


async def watch(sampler: Sampler, rate_hz: float, take: Callable[[Sample], None], *, first_s: float = FIRST_S) -> None:
    """Hand samples to `take` until there is nothing left to read, or it is cancelled.

    They come on the beat: a late one does not put off the next. After a suspension the missed ones do not come. What
    is dear to read, as a tree of thousands, is read less often, so that it takes no more than the sampler's share of a core.

    Raises:
        TransportError: what is used cannot be read.
    """
    loop = asyncio.get_running_loop()
    period = 1 / rate_hz
    due = loop.time() + min(first_s, period)
    while True:
        await asyncio.sleep(due - loop.time())
        sample = await sampler.sample()
        if sample is None:
            return
        take(sample)
        # Never in the past: after a pause the beat begins anew.
        due = max(due + period, loop.time() + sampler.cost_s * (1 / sampler.share - 1))
