"""Short commands in sessions, run by the thread that waits for them; see `xec_magic.transport.here`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from xec_magic.engine.express import Express
from xec_magic.engine.run import Run
from xec_magic.events import Exited, Output, Started, Stream
from xec_magic.redact import Redactor, StreamRedactor
from xec_magic.transport import Transports
from xec_magic.transport.here import HereRun

__all__ = ["begin_here"]

PATIENCE_S: Final = 0.02  # a waiting thread reads by itself for so long


class Surroundings(Protocol):
    """What it needs of the executor; any thread may call."""

    redactor: Redactor
    transports: Transports

    def post(self, callback: Callable[..., object], *args: Any) -> None:
        """Call on the loop's thread, soon."""

    def take_over(self, run: Run, here: HereRun) -> None:
        """Go on with a run that takes longer. On the loop's thread."""

    def finished_here(self, run: Run) -> None:
        """A run is about to have its result."""


def begin_here(executor: Surroundings, run: Run) -> bool:
    """Run a short command in an idle session, in this thread; False when that is not possible, and nothing has happened.

    Otherwise the run is over, or goes on on the loop. An interrupt leaves it to the loop as well, and is raised.
    """
    command, timeout_s = run.plan.command, run.plan.stop.timeout_s
    if (
        not command.session
        or not Express.suits(run)
        or run.is_watched
        or (timeout_s is not None and timeout_s <= 2 * PATIENCE_S)
    ):
        return False
    here = executor.transports.workers.lend(command)
    if here is None:
        return False
    run.state = "running"
    try:
        code = here.wait(PATIENCE_S)
    except BaseException:
        executor.post(executor.take_over, run, here)
        raise
    if code is None:
        executor.post(executor.take_over, run, here)
        return True
    here.session.give_back()
    now = time.monotonic()
    run.emit(Started(run.run_id, here.started_at, time.time() - (now - here.started_at), here.session.pid))
    for stream, data in _masked(here.pieces, executor.redactor):
        run.emit_output(Output(run.run_id, now, stream, data))
    run.emit(Exited(run.run_id, now, code, None))
    executor.finished_here(run)
    run.finish()
    return True


def _masked(pieces: list[tuple[Stream, bytes]], redactor: Redactor) -> Iterator[tuple[Stream, bytes]]:
    """Complete output without its secrets."""
    if redactor.stream() is None:
        yield from pieces
        return
    streams: dict[Stream, StreamRedactor] = {}
    for stream, data in pieces:
        masker = streams.get(stream) or redactor.stream()
        assert masker is not None
        streams[stream] = masker
        yield stream, masker.feed(data)
    for stream, masker in streams.items():
        yield stream, masker.flush()
