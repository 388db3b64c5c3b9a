"""Waiting for a run: in a thread, which an interrupt reaches and which answers questions meanwhile, and in any event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from xec_magic.engine.awaiting import as_cancellation, ended, until_over
from xec_magic.engine.interruptible import interruptible
from xec_magic.engine.pipes import HAD_ENOUGH
from xec_magic.errors import RunInterrupted
from xec_magic.events import Cause
from xec_magic.outcome import Outcome
from xec_magic.result import Result

if TYPE_CHECKING:
    from xec_magic.engine.buffer import Channel
    from xec_magic.engine.run import Run
    from xec_magic.output import Piece

__all__ = ["checked", "next_async", "wait_async", "wait_here"]

_SIGPIPE: Final = 13
_SIGPIPE_OF_SHELL: Final = 141  # 128 + 13: how a shell says so


def wait_here(
    run: Run, timeout: float | None, on_tick: Callable[[], None] | None, tick_s: float, *, interrupted: bool
) -> Result:
    """What `Run.wait` does, by the thread that calls.

    Raises:
        TimeoutError: not over after `timeout` seconds.
        RunInterrupted: interrupted while waiting.
    """

    def stop(cause: Cause, now: bool) -> None:
        run.request_stop(now, cause, "" if cause is Cause.INTERRUPT else "who waited for it failed")

    def lives() -> bool:
        if not run._engine.is_open:
            run.abandon()
        return run._engine.is_open

    def tick() -> None:
        run._engine.questions.serve()
        if on_tick is not None:
            on_tick()

    if interrupted:
        stop(Cause.INTERRUPT, False)
    result, interrupts = interruptible(
        run._future, stop, lives, timeout=timeout, late=f"{run.plan.title} still runs", on_tick=tick, tick_s=tick_s,
        interrupts=int(interrupted),
    )  # fmt: skip
    if interrupts:
        error = result.error()
        if result.outcome is Outcome.INTERRUPTED and error is not None:
            raise error from None
        raise KeyboardInterrupt  # it had ended by itself at the same moment; the user's wish still counts
    return result


async def wait_async(run: Run) -> Result:
    """What `await run` does. Cancelling it stops the run, and waits until that is gone.

    Raises:
        RunInterrupted: the kernel's interrupt came.
    """
    try:
        interrupted = await until_over(run._future, _stopping(run), run.begin)
    except KeyboardInterrupt:
        run.wait().check()
        raise
    if interrupted:
        raise _interruption(run)
    return checked(run, run._future.result())


async def next_async(run: Run, channel: Channel, interrupts: Callable[[], int]) -> list[Piece] | None:
    """What a coroutine that reads gets next, None at the end. Cancelling it loses nothing; an interrupt stops the run.

    Raises:
        RunInterrupted: the kernel's interrupt came, and the run is over.
    """
    try:
        return await channel.take_async()
    except asyncio.CancelledError:
        if not interrupts():
            raise
        channel.discard()
        await ended(run._future, _stopping(run), interrupts)
    raise _interruption(run)


def _stopping(run: Run) -> Callable[[Cause, bool], None]:
    def stop(cause: Cause, now: bool) -> None:
        run.request_stop(now, Cause.INTERRUPT if cause is Cause.INTERRUPT else None)

    return stop


def _interruption(run: Run) -> KeyboardInterrupt:
    """What a task gets that waited for a run, and was cancelled for an interrupt."""
    result = run._future.result()
    error = result.error()
    if not isinstance(error, RunInterrupted):
        error = RunInterrupted(f"interrupted when it had ended by itself: {run.plan.title}", result)
    return as_cancellation(error)


def checked(run: Run, result: Result) -> Result:
    """A run's result, where neither it nor a run that feeds it has failed.

    Raises:
        XecError: one of them has, and was started with `check`.
    """
    if not run.check:
        return result
    error = result.error()
    if error is not None:
        raise error from getattr(run.process, "failure", None)  # what a function raised
    if run.upstream is not None:
        above = run.upstream.wait()
        if not _ended_by_closed_pipe(above):
            checked(run.upstream, above)
    return result


def _ended_by_closed_pipe(result: Result) -> bool:
    """It ended because its reader had enough, which is no failure."""
    if result.outcome is Outcome.CANCELLED:
        return result.detail == HAD_ENOUGH
    return result.signal == _SIGPIPE or result.exit_code == _SIGPIPE_OF_SHELL
