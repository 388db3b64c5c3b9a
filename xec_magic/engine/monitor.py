"""`watch`: asks for samples at a fixed rate; reading them is the transport's business. `watch_run` does so for a run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from xec_magic.events import Cause, Note, Sample
from xec_magic.transport.base import Process, Sampler
from xec_magic.units import format_duration

if TYPE_CHECKING:
    from xec_magic.engine.run import Run
    from xec_magic.plan import MonitorPolicy

__all__ = ["watch", "watch_run"]

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


async def watch_run(run: Run, process: Process, policy: MonitorPolicy) -> None:
    """Emit samples of a run's process until it is cancelled. The run does not depend on them."""
    now = asyncio.get_running_loop().time
    begun = now()

    def say(text: str) -> None:
        run.emit(Note(run.run_id, now(), text))

    def no_more(why: str) -> None:
        seen = bool(run.timeline and run.timeline.samples)
        after = f"monitoring has stopped after {format_duration(now() - begun)}: "
        say((after if seen else "not monitored: ") + why)

    sampler = process.sampler(policy.rate_hz)
    if sampler is None:
        say(f"not monitored: what a command on {run.plan.command.target} uses cannot be read")
        return
    try:
        await watch(sampler, policy.rate_hz, run.emit)
    except asyncio.CancelledError:
        if run.stop_cause is Cause.LOST:  # which of the two hears of it first is chance
            no_more(run.stop_detail)
        raise
    except Exception as error:  # noqa: BLE001 - the command is not to suffer from being watched
        no_more(str(error))
    finally:
        sampler.close()
