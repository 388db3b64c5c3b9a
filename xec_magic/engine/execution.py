"""`Execution`: what the engine knows of a run: its state, the events it is told, and the result that they fold into."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from xec_magic.engine.outfile import Tee
from xec_magic.engine.readers import Readers
from xec_magic.events import Cached, Cause, Event, Exited, Note, Output, Queued, Retrying, Started, Stopping, Stream
from xec_magic.fold import ResultFold
from xec_magic.output import OutputLog, Piece
from xec_magic.parts import BatchFold
from xec_magic.plan import Plan
from xec_magic.result import Result

if TYPE_CHECKING:
    from xec_magic.engine.cachekey import Key
    from xec_magic.transport.base import Process

__all__ = ["Execution"]


class Execution:
    """One execution of a plan as the engine tells it. All of it happens on the loop's thread, where nothing else is said.

    Args:
        run_id: Its name.
        plan: What is executed.
        new_log: Makes the log of its output.
        keep: Whether output is kept that somebody reads as it comes; None for no, but all else.
    """

    def __init__(self, run_id: str, plan: Plan, new_log: Callable[[], OutputLog], keep: bool | None) -> None:
        self.run_id = run_id
        self.plan = plan
        self._keep = keep
        self._new_log = new_log
        self._fold = ResultFold(run_id, plan, new_log) if plan.batch is None else BatchFold(run_id, plan, new_log)
        self._future: concurrent.futures.Future[Result] = concurrent.futures.Future()
        self._listeners: list[Callable[[Event], None]] = []
        self._readers = Readers()
        self.begun = False
        self.state = "planned"
        self.key: Key | None = None  # of its result in the cache; None when it has no cache
        self.asked_at = 0.0
        self.created_at = time.time()
        self.process: Process | None = None
        self.stop_cause: Cause | None = None
        self.stop_detail = ""
        self.hurry: asyncio.Event | None = None
        self.wake: Callable[[], None] = lambda: None
        self.grace_s = plan.stop.grace_s
        self.full_channels = 0
        self.ending = False
        self.recorded = True  # observers hear of it
        self.weighed = False  # what it uses is asked for also where that costs a process more
        self.hear: Callable[[Result], None] = lambda _: None  # hears of its result before anybody who waits for it
        self.masked = False  # a secret was found in its output
        self.followed = False  # others wait for its result
        self._follows = False

    # -- what is known of it: any thread --------------------------------------------------------

    def done(self) -> bool:
        """It is over."""
        return self._future.done()

    def snapshot(self) -> Result:
        """The result as far as it is known now."""
        return self._future.result() if self._future.done() else self._fold.result()

    def add_done_callback(self, callback: Callable[[Result], None]) -> None:
        """Call `callback` with the result when the run is over, on the loop's thread, or now if it is."""
        self._future.add_done_callback(lambda future: callback(future.result()))

    @property
    def is_watched(self) -> bool:
        """Somebody sees its events or reads from it; they expect that on the loop's thread."""
        return bool(self._listeners or self._readers)

    @property
    def has_consumers(self) -> bool:
        """Somebody reads from it."""
        return bool(self._readers)

    # -- what it is told ------------------------------------------------------------------------

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` on the loop's thread with every later event."""
        self._listeners.append(listener)

    def emit(self, event: Event) -> None:
        """Take an event: fold it, show it to listeners."""
        match event:
            case Queued():
                self.state = "queued"
            case Started():
                self.state = "running"
            case Stopping():
                self.state = "stopping"
            case Retrying():
                self.state = "waiting to retry"
            case _:
                pass
        self._fold.apply(event)
        self._tell(event)

    def _tell(self, event: Event) -> None:
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:  # a view that fails must not take the command with it
                logging.getLogger("xec_magic").exception("a listener of run %s failed", self.run_id)

    def emit_output(self, event: Output) -> bool:
        """Take output: to consumers, else to the log. False when the log could not keep it."""
        kept = True
        consumed = bool(self._readers) and self._readers.take(Piece(event.stream, event.data))
        if self._keep is not False and (not consumed or self._keep):
            kept = self._fold.apply(event)
        self._tell(event)
        return kept

    @property
    def must_see_output(self) -> bool:
        """Its output has to come by here, also where it goes into a pipe: to be kept and counted, or to be looked at for marks."""
        return self._keep is True or bool(self.plan.monitor and self.plan.monitor.marks)

    def counts(self, stream: Stream) -> bool:
        """Output of this stream counts against the bound on output."""
        if self._keep is not None:
            return self._keep
        return not self._readers.want(stream)

    def end_channels(self) -> None:
        """Tell those who read along that nothing more will come."""
        self._readers.end()

    def _pressure(self, step: int) -> None:
        """Count the channels that are full; the command waits while there is one."""
        self.full_channels += step
        if self.process is not None:
            if self.full_channels and not self.followed:
                self.process.pause()
            else:
                self.process.resume()

    def finish(self, result: Result | None = None) -> None:
        """The run is over: its result is known. After `Exited`."""
        self.state = "done"
        self.end_channels()
        if not self._future.done():
            result = self._fold.result() if result is None else result
            self.hear(result)
            self._future.set_result(result)

    # -- without a process of its own: a kept result, or that of an equal run -----------------------

    def replay(self, kept: Result, age_s: float) -> None:
        """End with a result that was kept: its events once more. Or before anybody else knows the run."""
        now = time.monotonic()
        self._tell(Cached(self.run_id, now, age_s))
        self._end_like(kept.replayed(self.run_id, self.plan, age_s), now)

    def conclude(self, result: Result) -> None:
        """Be the run of a result that came about without one. Before anybody else knows the run."""
        self._fold.log = result.log
        self.created_at = result.started_at.timestamp() if result.started_at is not None else self.created_at
        self.finish(result)

    def share(self, kept: Result, note: str) -> None:
        """End with the result of an equal run that has just ended."""
        result = replace(kept.replayed(self.run_id, self.plan, None), notes=(*kept.notes, note))
        now = time.monotonic()
        self._tell(Note(self.run_id, now, note))
        self._end_like(result, now)

    def _end_like(self, result: Result, now: float) -> None:
        self._fold.log = result.log
        for piece in result.log.pieces() if self.is_watched else ():
            if not self._follows:  # a follower's views have seen it come
                self._tell(Output(self.run_id, now, piece.stream, piece.data))
            self._readers.take(piece)
        if not self._follows:
            self._tell(Exited(self.run_id, now, result.exit_code, result.signal, usage=result.usage))
        if self.plan.tee is not None:
            self._write_tee(Tee(self.plan.tee), result)
        self.finish(result)

    @staticmethod
    def _write_tee(tee: Tee, result: Result) -> None:
        complaint = tee.open()
        for piece in result.log.pieces():
            complaint = complaint or tee.write(piece.data)
        tee.close()
        if complaint:
            object.__setattr__(result, "notes", (*result.notes, complaint))

    def see(self, event: Event | None, log: OutputLog) -> None:
        """What the run does whose result this one waits for, and where it prints."""
        self._follows = True
        self._fold.log = log
        if event is not None:
            self._tell(event)

    def stand_alone(self) -> None:
        """Nothing came of what it waited for: as if it had just been planned."""
        self._follows = False
        self._fold = ResultFold(self.run_id, self.plan, self._new_log)
        self.state = "planned"

    def has_followers(self) -> None:
        """Others wait for its result from now on: a slow reader of its output holds it up no more."""
        self.followed = True
        if self.process is not None:
            self.process.resume()

    # -- without having run: any thread -------------------------------------------------------------

    def abandon(self) -> None:
        """Its executor has been closed, so nothing will happen to it any more: it ends as it is."""
        self._end_here(Cause.CANCEL, "its executor is closed")

    def skip(self, why: str) -> None:
        """Let a run that has not begun end without having run."""
        self.begun = True
        self._end_here(Cause.SKIPPED, why)

    def interrupt_unbegun(self, where: str) -> None:
        """Let a run that has not begun end as interrupted."""
        self.begun = True
        self._end_here(Cause.INTERRUPT, where)

    def _end_here(self, cause: Cause, detail: str) -> None:
        if not self._future.done():
            self._fold.apply(Exited(self.run_id, time.monotonic(), None, None, cause, detail))
            with contextlib.suppress(concurrent.futures.InvalidStateError):
                self.finish()
