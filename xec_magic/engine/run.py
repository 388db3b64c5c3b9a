"""`Run`: the handle to one execution of a plan, usable from any thread and from any event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal, overload

from xec_magic.engine.buffer import Channel
from xec_magic.engine.execution import Execution
from xec_magic.engine.pipefunctions import filtering, mapping
from xec_magic.engine.pipes import join_to
from xec_magic.engine.portal import WAKE_S
from xec_magic.engine.stream import OutputStream
from xec_magic.engine.waiting import checked, wait_async, wait_here
from xec_magic.events import Cause, Stream
from xec_magic.output import OutputLog, Piece
from xec_magic.plan import Plan
from xec_magic.result import Result
from xec_magic.splitting import Chunks, Lines

if TYPE_CHECKING:
    from xec_magic.engine.engine import Engine
    from xec_magic.timeline import Timeline
    from xec_magic.transport.base import Function

__all__ = ["Run"]


class Run(Execution):
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
        super().__init__(run_id, plan, new_log, keep)
        self._engine = engine
        self.background = background
        self.check = check
        self.button_cause = Cause.CANCEL
        # What it is joined to; `engine/pipes.py` sets it, before it begins.
        self.upstream: Run | None = None
        self.function: Function | None = None
        self.stdin_fd: int | None = None
        self.stdout_fd: int | None = None
        self.pouring: asyncio.Task[None] | None = None  # copies the output into a file
        self.output_to: Run | str | None = None  # where a pipe leads: a run, or the path of a file

    def begin(self) -> None:
        """Start now a run that has only been planned. Any thread; a second call does nothing."""
        if self.state == "planned":
            self._engine.begin(self)

    # -- waiting ----------------------------------------------------------------------------

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
            self._refuse_inside()
            while True:
                try:
                    self.begin()
                    return wait_here(self, timeout, on_tick, tick_s, interrupted=interrupted)
                except KeyboardInterrupt:
                    # Between two steps of all that, while it is handed to the loop: it would go on, and nobody wait for it.
                    if self._future.done() or not self.begun:
                        raise
                    interrupted = True

    def _refuse_inside(self) -> None:
        if self._engine.inside:
            raise RuntimeError(
                "waiting on the executor's own thread would wait for ever; a callback must not wait for a run"
            )

    def result(self, timeout: float | None = None) -> Result:
        """The result when the run is over; raises what `Result.check` raises, unless started with `check=False`."""
        return checked(self, self.wait(timeout))

    def __await__(self) -> Generator[Any, None, Result]:
        return wait_async(self).__await__()

    def rerun(self) -> Run:
        """Run the command again behind, and keep its result instead of the one that this run was answered with."""
        return self._engine.refresh(self.plan, self.key)

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
            self._engine.start_now(self)  # it ends at once, as cancelled

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
        channel = self._readers.add(
            stream,
            on_high=lambda: self._pressure(+1),
            on_low=lambda: self._engine.post(self._pressure, -1),
        )
        if self._future.done():
            channel.end()
        size = 0 if self._follows and not self._future.done() else self.log.size()
        return (piece for piece in self.log.pieces(0, size) if stream is None or piece.stream == stream), channel

    @property
    def output_taken(self) -> bool:
        """Its standard output goes into a pipe or a file."""
        return self.output_to is not None

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """A timer on the loop. Call it on the loop's thread."""
        return self._engine.call_later(delay_s, callback)

    def __repr__(self) -> str:
        what = repr(self._future.result())[8:-1] if self._future.done() else f"{self.state}: {self.plan.title}"
        return f"<Run {self.run_id} {what}>"
