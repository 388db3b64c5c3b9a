"""`Run`: the handle to one execution of a plan, usable from any thread and from any event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

from xec_magic.engine.ask import Questions
from xec_magic.engine.buffer import Channel
from xec_magic.engine.pipes import HAD_ENOUGH, filtering, join_to, mapping
from xec_magic.engine.portal import WAKE_S
from xec_magic.engine.stream import OutputStream
from xec_magic.events import Cached, Cause, Event, Exited, Note, Output, Queued, Retrying, Started, Stopping, Stream
from xec_magic.output import OutputLog, Piece
from xec_magic.parts import BatchFold
from xec_magic.plan import Plan
from xec_magic.result import Outcome, Result, ResultFold
from xec_magic.splitting import Chunks, Lines

if TYPE_CHECKING:
    from xec_magic.engine.cachekey import Key
    from xec_magic.timeline import Timeline
    from xec_magic.transport.base import Function, Process

__all__ = ["Engine", "Run"]


class Engine(Protocol):
    """What a run needs of its executor."""

    questions: Questions

    def begin(self, run: Run) -> None:
        """Start a run that has only been planned. Any thread; a second call does nothing."""

    @property
    def is_open(self) -> bool:
        """It can still run something."""

    @property
    def inside(self) -> bool:
        """The caller is on the loop's thread."""

    def post(self, callback: Callable[..., object], *args: Any) -> None:
        """Call on the loop's thread, soon."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """A timer on the loop. Call it on the loop's thread."""

    def join(self, source: Run, sink: Run) -> None:
        """Make `source`'s standard output `sink`'s standard input.

        Raises:
            XecError: `sink` has already started.
        """

    def refresh(self, plan: Plan, key: Key | None = None) -> Run:
        """Run a plan behind, and keep its result instead of what is kept."""

    def write_to(self, source: Run, fd: int, path: str) -> None:
        """Have `source` write its standard output to a file, open as `fd`."""

    def plan_next(self, script: str, like: Run) -> Run:
        """A further run of the same kind, planned and not started."""

    def plan_function(self, function: Function, like: Run) -> Run:
        """A Python function to be joined to `like`, planned and not started."""

    def end_left_behind(self, run: Run) -> None:
        """End the processes that outlived their run. On the loop's thread."""


class Run:
    """One execution of a plan: wait for it, stop it, read from it while it runs.

    It is a handle for `with`-less use: nothing needs to be closed. A run that has been planned by `xec.start` begins
    at once when it is asked for anything, and 0.2 s later by itself, so that `start(a) | start(b)` can join the two.
    """

    def __init__(
        self,
        engine: Engine,
        run_id: str,
        plan: Plan,
        new_log: Callable[[], OutputLog],
        *,
        check: bool,
        background: bool,
        keep: bool | None,
    ) -> None:
        self.run_id = run_id
        self.plan = plan
        self.background = background
        self.check = check
        self.button_cause = Cause.CANCEL
        self.upstream: Run | None = None
        self.function: Function | None = None
        self._engine = engine
        self._keep = keep
        self._new_log = new_log
        self._fold = ResultFold(run_id, plan, new_log) if plan.batch is None else BatchFold(run_id, plan, new_log)
        self._future: concurrent.futures.Future[Result] = concurrent.futures.Future()
        self._listeners: list[Callable[[Event], None]] = []
        self._channels: list[tuple[Channel, Stream | None]] = []
        self.begun = False
        self.state = "planned"
        self.key: Key | None = None  # of its result in the cache; None when it has no cache
        self.asked_at = 0.0
        # The rest belongs to the executor, on the loop's thread.
        self.process: Process | None = None
        self.stop_cause: Cause | None = None
        self.stop_detail = ""
        self.hurry: asyncio.Event | None = None
        self.wake: Callable[[], None] = lambda: None
        self.stdin_fd: int | None = None
        self.stdout_fd: int | None = None
        self.pouring: asyncio.Task[None] | None = None  # copies the output into a file
        self.output_to: Run | str | None = None  # where a pipe leads: a run, or the path of a file
        self.grace_s = plan.stop.grace_s
        self.created_at = time.time()
        self.full_channels = 0
        self.ending = False
        self.recorded = True  # observers hear of it
        self.weighed = False  # what it uses is asked for also where that costs a process more
        self.hear: Callable[[Result], None] = lambda _: None  # hears of its result before anybody who waits for it
        self.masked = False  # a secret was found in its output
        self.followed = False  # others wait for its result
        self._follows = False

    # -- waiting ----------------------------------------------------------------------------

    def done(self) -> bool:
        """It is over."""
        return self._future.done()

    def wait(
        self,
        timeout: float | None = None,
        *,
        on_tick: Callable[[], None] | None = None,
        tick_s: float = WAKE_S,
        interrupted: bool = False,
    ) -> Result:
        """The result, good or bad, when the run is over.

        The kernel's interrupt stops the run by the stop ladder, waits until it is gone and raises
        `RunInterrupted`; a second interrupt kills it at once.

        Args:
            timeout: Seconds to wait; None for as long as it takes.
            on_tick: Called in this thread every `tick_s` seconds while waiting.
            tick_s: Seconds between two of these calls.
            interrupted: There has been an interrupt already.

        Raises:
            TimeoutError: not over after `timeout` seconds; the run goes on.
            RunInterrupted: interrupted while waiting.
        """
        with self._engine.questions.attended():
            return self._wait(timeout, on_tick, tick_s, interrupted)

    def _wait(
        self, timeout: float | None, on_tick: Callable[[], None] | None, tick_s: float, interrupted: bool
    ) -> Result:
        self._refuse_inside()
        self.begin()
        deadline = None if timeout is None else time.monotonic() + timeout
        interrupts = 0
        if interrupted:
            interrupts = 1
            self.request_stop(cause=Cause.INTERRUPT)
        while True:
            try:
                pause = min(tick_s, WAKE_S)
                if deadline is not None:
                    pause = max(0.0, min(pause, deadline - time.monotonic()))
                result = self._future.result(pause)
                break
            except TimeoutError:
                if not self._engine.is_open:
                    self.abandon()
                    continue
                if deadline is not None and not interrupts and time.monotonic() >= deadline:
                    raise TimeoutError(f"{self.plan.title} still runs after {timeout:g} s") from None
            except KeyboardInterrupt:
                interrupts += 1
                self.request_stop(now=interrupts > 1, cause=Cause.INTERRUPT)
                continue
            try:
                self._engine.questions.serve()
                if on_tick is not None:
                    on_tick()
            except KeyboardInterrupt:
                interrupts += 1
                self.request_stop(now=interrupts > 1, cause=Cause.INTERRUPT)
            except BaseException:
                self.request_stop(cause=Cause.CANCEL, detail="who waited for it failed")
                raise
        if interrupts:
            error = result.error()
            if result.outcome is Outcome.INTERRUPTED and error is not None:
                raise error from None
            raise KeyboardInterrupt  # it had ended by itself at the same moment; the user's wish still counts
        return result

    def result(self, timeout: float | None = None) -> Result:
        """The result when the run is over; raises what `Result.check` raises, unless started with `check=False`."""
        result = self.wait(timeout)
        return self._checked(result)

    def _checked(self, result: Result) -> Result:
        if not self.check:
            return result
        error = result.error()
        if error is not None:
            raise error from getattr(self.process, "failure", None)  # what a function raised
        if self.upstream is not None:
            above = self.upstream.wait()
            if not _ended_by_closed_pipe(above):
                self.upstream._checked(above)
        return result

    def __await__(self) -> Generator[Any, None, Result]:
        return self._wait_async().__await__()

    async def _wait_async(self) -> Result:
        self.begin()
        future = asyncio.wrap_future(self._future)
        try:
            while not future.done():
                # Wake now and then: an interrupt reaches a waiting loop only when it wakes.
                await asyncio.wait([future], timeout=WAKE_S)
        except asyncio.CancelledError:
            self.request_stop()
            await asyncio.shield(_settle(self._future))
            raise
        except KeyboardInterrupt:
            self.request_stop(cause=Cause.INTERRUPT)
            self.wait().check()
            raise
        return self._checked(self._future.result())

    # -- stopping ---------------------------------------------------------------------------

    def cancel(self, *, now: bool = False) -> None:
        """Stop the command by the stop ladder, or kill it `now`. Does not wait; the run ends in `Cancelled`."""
        self.request_stop(now=now, cause=Cause.CANCEL)

    def request_stop(self, now: bool = False, cause: Cause | None = None, detail: str = "") -> None:
        """Ask for the end of the run and of all its processes, from any thread. The first cause counts.

        Without a cause it is `button_cause`: what a Stop button stands for.
        """
        self._engine.post(self._stop, now, cause or self.button_cause, detail)

    def _stop(self, now: bool, cause: Cause, detail: str) -> None:
        if self.upstream is not None:
            self.upstream._stop(now, cause, detail)
        if now and self.hurry is not None:
            self.hurry.set()
        if self.state == "done":
            self._engine.end_left_behind(self)
            return
        if self.stop_cause is None:
            self.stop_cause = cause
            self.stop_detail = detail
        self.wake()
        if self.state == "planned":
            self.begin()  # it ends at once, as cancelled

    # -- reading ----------------------------------------------------------------------------

    @property
    def log(self) -> OutputLog:
        """What has been kept of the output; it grows until the run is over. A retry begins a new one."""
        return self._fold.log

    @property
    def timeline(self) -> Timeline | None:
        """What has been sampled until now, of a run with `monitor`; it grows on the loop's thread."""
        return self._fold.timeline

    def chunks(self, stream: Stream | None = "stdout") -> OutputStream[bytes]:
        """Output as bytes, as it arrives, for `for` and `async for`; None for both streams in arrival order.

        The command waits when the consumer is slow. What goes to the consumer is neither kept nor counted,
        unless the run was started with `keep=True`. Leaving the loop early stops the command.
        """
        return OutputStream(self, stream, Chunks)

    def line_batches(self, stream: Stream | None = "stdout") -> OutputStream[list[str]]:
        """Output as lists of lines without newlines, as many as arrived at once. Faster than `lines`."""
        return OutputStream(self, stream, Lines)

    def lines(self, stream: Stream | None = "stdout") -> OutputStream[str]:
        """Output line by line, without newlines, as it arrives."""
        return OutputStream(self, stream, Lines, flatten=True)

    @overload
    def pipe(self, other: Run | str | os.PathLike[str]) -> Run: ...
    @overload
    def pipe(
        self, other: Callable[[Iterator[str]], Iterable[str | bytes] | None], *, of: Literal["lines"] = ...
    ) -> Run: ...
    @overload
    def pipe(
        self, other: Callable[[Iterator[bytes]], Iterable[str | bytes] | None], *, of: Literal["chunks"]
    ) -> Run: ...

    def pipe(self, other: Any, *, of: Literal["lines", "chunks"] = "lines") -> Run:
        """Feed standard output to a command, a Python function or a file; gives the run that does the last of it.

        A function is called once, in a thread of its own, with an iterator over the lines (text without newlines, bytes that are
        no UTF-8 as lone surrogates) or with `of="chunks"` over bytes as they come. What it gives goes on: text is a line each and
        gets its newline, bytes are as they are. So a generator that loops over its argument does; `map` and `filter` take a
        function of one line. It is slow or fast as its neighbours are, and when it ends early, what feeds it is stopped.

        A `pathlib.Path` is a file that gets the output and nothing else; the run itself is given.

        Args:
            other: A command's text, which gets the options of this run; a planned run; a function; a path.
            of: What a function gets.

        Raises:
            XecError: the other run has already started, or has an input; this run's output already goes elsewhere.
            OptionError: `other` is none of these, or a file that cannot be written.

        Example:
            >>> import xec_magic as xec
            >>> str(xec.start("seq 5").pipe("tail -n 1").result())
            '5'
            >>> def squares(lines):
            ...     for line in lines:
            ...         yield str(int(line) ** 2)
            >>> str(xec.start("seq 5").pipe(squares).pipe("tail -n 1").result())
            '25'
        """
        return join_to(self._engine, self, other, of)

    def map(self, function: Callable[[str], str | bytes]) -> Run:
        """Call a function for each line and let what it gives go on: `pipe` for a function of one line.

        Example:
            >>> import xec_magic as xec
            >>> list(xec.start("echo a; echo b").map(str.upper).lines())
            ['A', 'B']
        """
        return self.pipe(mapping(function))

    def filter(self, function: Callable[[str], object]) -> Run:
        """Let the lines through for which a function gives something true.

        Example:
            >>> import xec_magic as xec
            >>> str(xec.start("seq 30").filter(lambda line: line.endswith("7")).pipe("wc -l").result()).strip()
            '3'
        """
        return self.pipe(filtering(function))

    def __or__(self, other: Any) -> Run:
        return self.pipe(other)

    # -- for views, and for the executor ----------------------------------------------------------

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` on the loop's thread with every later event."""
        self._listeners.append(listener)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """A timer on the loop. Call it on the loop's thread."""
        return self._engine.call_later(delay_s, callback)

    def begin(self) -> None:
        """Start now a run that has only been planned. Any thread; a second call does nothing."""
        if self.state == "planned":
            self._engine.begin(self)

    def emit(self, event: Event) -> None:
        """Take an event: fold it, show it to listeners. On the loop's thread."""
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
        consumed = False
        if self._channels:
            for channel, wanted in self._channels:
                if wanted is None or wanted == event.stream:
                    channel.put(Piece(event.stream, event.data))
                    consumed = True
        if self._keep is not False and (not consumed or self._keep):
            kept = self._fold.apply(event)
        self._tell(event)
        return kept

    def counts(self, stream: Stream) -> bool:
        """Output of this stream counts against the bound on output."""
        if self._keep is not None:
            return self._keep
        return not any(wanted is None or wanted == stream for _, wanted in self._channels)

    def finish(self, result: Result | None = None) -> None:
        """The run is over: its result is known. On the loop's thread, after `Exited`."""
        self.state = "done"
        self.end_channels()
        if not self._future.done():
            result = self._fold.result() if result is None else result
            self.hear(result)
            self._future.set_result(result)

    # -- without a process of its own: a kept result, or that of an equal run ---------------------------

    def rerun(self) -> Run:
        """Run the command again behind, and keep its result instead of the one that this run was answered with."""
        return self._engine.refresh(self.plan, self.key)

    def replay(self, kept: Result, age_s: float) -> None:
        """End with a result that was kept: its events once more. On the loop's thread, or before anybody else knows the run."""
        now = time.monotonic()
        self._tell(Cached(self.run_id, now, age_s))
        self._end_like(kept.replayed(self.run_id, self.plan, age_s), now)

    def conclude(self, result: Result) -> None:
        """Be the run of a result that came about without one. Before anybody else knows the run."""
        self._fold.log = result.log
        self.created_at = result.started_at.timestamp() if result.started_at is not None else self.created_at
        self.finish(result)

    def share(self, kept: Result, note: str) -> None:
        """End with the result of an equal run that has just ended. On the loop's thread."""
        result = replace(kept, run_id=self.run_id, plan=self.plan, notes=(*kept.notes, note))
        now = time.monotonic()
        self._tell(Note(self.run_id, now, note))
        self._end_like(result, now)

    def _end_like(self, result: Result, now: float) -> None:
        self._fold.log = result.log
        for stream, data in result.log.pieces() if self._listeners or self._channels else ():
            if not self._follows:  # a follower's views have seen it come
                self._tell(Output(self.run_id, now, stream, data))
            for channel, wanted in self._channels:
                if wanted is None or wanted == stream:
                    channel.put(Piece(stream, data))
        if not self._follows:
            self._tell(Exited(self.run_id, now, result.exit_code, result.signal, usage=result.usage))
        if self.plan.tee is not None:
            self._write_tee(self.plan.tee, result)
        self.finish(result)

    def _write_tee(self, path: str, result: Result) -> None:
        try:
            with open(path, "wb", buffering=0, opener=lambda file, flags: os.open(file, flags | os.O_NONBLOCK)) as file:
                for piece in result.log.pieces():
                    file.write(piece.data)
        except OSError as error:
            note = f"cannot write the --tee file {path}: {error.strerror}"
            object.__setattr__(result, "notes", (*result.notes, note))

    def see(self, event: Event | None, log: OutputLog) -> None:
        """What the run does whose result this one waits for, and where it prints. On the loop's thread."""
        self._follows = True
        self._fold.log = log
        if event is not None:
            self._tell(event)

    def stand_alone(self) -> None:
        """Nothing came of what it waited for: as if it had just been planned. On the loop's thread."""
        self._follows = False
        self._fold = ResultFold(self.run_id, self.plan, self._new_log)
        self.state = "planned"

    def has_followers(self) -> None:
        """Others wait for its result from now on: a slow reader of its output holds it up no more. On the loop's thread."""
        self.followed = True
        if self.process is not None:
            self.process.resume()

    def end_channels(self) -> None:
        """Tell those who read along that nothing more will come. On the loop's thread."""
        for channel, _ in self._channels:
            channel.end()

    def abandon(self) -> None:
        """Its executor has been closed, so nothing will happen to it any more: it ends as it is. Any thread."""
        self._end_here(Cause.CANCEL, "its executor is closed")

    def skip(self, why: str) -> None:
        """Let a run that has not begun end without having run. Any thread."""
        self.begun = True
        self._end_here(Cause.SKIPPED, why)

    def interrupt_unbegun(self, where: str) -> None:
        """Let a run that has not begun end as interrupted. Any thread."""
        self.begun = True
        self._end_here(Cause.INTERRUPT, where)

    def _end_here(self, cause: Cause, detail: str) -> None:
        if not self._future.done():
            self._fold.apply(Exited(self.run_id, time.monotonic(), None, None, cause, detail))
            with contextlib.suppress(concurrent.futures.InvalidStateError):
                self.finish()

    def _refuse_inside(self) -> None:
        if self._engine.inside:
            raise RuntimeError(
                "waiting on the executor's own thread would wait for ever; a callback must not wait for a run"
            )

    def add_done_callback(self, callback: Callable[[Result], None]) -> None:
        """Call `callback` with the result when the run is over, on the loop's thread, or now if it is."""
        self._future.add_done_callback(lambda future: callback(future.result()))

    def attach(self, stream: Stream | None) -> tuple[Iterator[Piece], Channel]:
        """What has been kept of a stream so far, and a channel with all that follows. Any thread but the loop's."""
        self._refuse_inside()
        if not self._engine.is_open:
            self.abandon()
            return self.attach_here(stream)
        attached: concurrent.futures.Future[tuple[Iterator[Piece], Channel]] = concurrent.futures.Future()
        self._engine.post(lambda: attached.set_result(self.attach_here(stream)))
        self.begin()
        return attached.result()

    def attach_here(self, stream: Stream | None) -> tuple[Iterator[Piece], Channel]:
        """The same on the loop's thread."""
        channel = Channel(
            on_high=lambda: self._pressure(+1),
            on_low=lambda: self._engine.post(self._pressure, -1),
        )
        if self._future.done():
            channel.end()
        self._channels.append((channel, stream))
        size = 0 if self._follows and not self._future.done() else self.log.size()
        return (piece for piece in self.log.pieces(0, size) if stream is None or piece.stream == stream), channel

    @property
    def output_taken(self) -> bool:
        """Its standard output goes into a pipe or a file."""
        return self.output_to is not None

    @property
    def is_watched(self) -> bool:
        """Somebody sees its events or reads from it; they expect that on the loop's thread."""
        return bool(self._listeners or self._channels)

    @property
    def has_consumers(self) -> bool:
        """Somebody reads from it."""
        return bool(self._channels)

    def _pressure(self, step: int) -> None:
        """Count the channels that are full; the command waits while there is one."""
        self.full_channels += step
        if self.process is not None:
            if self.full_channels and not self.followed:
                self.process.pause()
            else:
                self.process.resume()

    def snapshot(self) -> Result:
        """The result as far as it is known now."""
        return self._future.result() if self._future.done() else self._fold.result()

    def __repr__(self) -> str:
        what = repr(self._future.result())[8:-1] if self._future.done() else f"{self.state}: {self.plan.title}"
        return f"<Run {self.run_id} {what}>"


def _ended_by_closed_pipe(result: Result) -> bool:
    """It ended because its reader had enough, which is no failure."""
    if result.outcome is Outcome.CANCELLED:
        return result.detail == HAD_ENOUGH
    return result.signal == 13 or result.exit_code == 141  # SIGPIPE, by itself or by way of a shell


async def _settle(future: concurrent.futures.Future[Result]) -> None:
    await asyncio.wait([asyncio.wrap_future(future)])
