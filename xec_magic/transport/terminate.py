"""The stop ladder: INT, TERM, KILL, with a grace period after each; then it waits until the tree is gone."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from typing import Final

from xec_magic.events import ProcessInfo
from xec_magic.transport.base import Distant, Process

__all__ = ["RUNGS", "living", "stop"]

RUNGS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
POLL_S: Final = (0.005, 0.2)  # first and longest pause between two looks; a look reads all of /proc
LAST_GRACE_S: Final = 5.0  # what KILL has not ended by then waits in the operating system (state D)


async def stop(
    process: Process, grace_s: float, hurry: asyncio.Event, on_rung: Callable[[str], None]
) -> list[ProcessInfo]:
    """End a command and all its children.

    Args:
        grace_s: Seconds between two rungs.
        hurry: Set it to go to KILL at once.
        on_rung: Called with `"INT"`, `"TERM"`, `"KILL"` when that signal is sent.

    Returns:
        The processes that even KILL did not end; nearly always none.

    Raises:
        TransportError: the host where it runs cannot be asked any more.

    Cancelling it leaves the command as it is at that moment.
    """
    alive: list[ProcessInfo] = []
    for number in RUNGS:
        last = number == signal.SIGKILL
        if hurry.is_set() and not last:
            continue
        on_rung(signal.Signals(number).name.removeprefix("SIG"))
        process.send_signal(number)
        alive = await _wait(process, LAST_GRACE_S if last else grace_s, None if last else hurry)
        if not alive:
            return []
    return alive


async def living(process: Process) -> list[ProcessInfo]:
    """The command's living processes; a host is asked for them.

    Raises:
        TransportError: the host cannot be asked.
    """
    if isinstance(process, Distant):
        await process.look()
    return process.alive()


async def _wait(process: Process, seconds: float, hurry: asyncio.Event | None) -> list[ProcessInfo]:
    """Wait until nothing is alive, at most so long, and not after `hurry`. Without `hurry` it kills what is new."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    pause, longest = POLL_S
    while True:
        alive = await living(process)
        # A shell that has ended is a zombie until its exit is reported; only then do we know how it ended.
        if (
            (not alive and process.exit is not None)
            or loop.time() >= deadline
            or (hurry is not None and hurry.is_set())
        ):
            return alive
        if hurry is None and alive:
            process.send_signal(signal.SIGKILL)
        wait = min(pause, max(0.0, deadline - loop.time()))
        if hurry is None:
            await asyncio.sleep(wait)
        else:
            # Not `wait_for`: that of Python 3.11 passes over a cancellation that comes together with what is waited for.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await hurry.wait()
        pause = min(pause * 2, longest)
