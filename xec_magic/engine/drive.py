"""`Drive`: the course of one run, from its queue to its end."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Any, BinaryIO, Final, Protocol

from xec_magic.engine.flight import Flights
from xec_magic.engine.framing import Framing
from xec_magic.engine.gates import Gate, take_at_once
from xec_magic.engine.marks import MarkFinder
from xec_magic.engine.monitor import watch
from xec_magic.engine.pipes import open_for_writing
from xec_magic.engine.retry import retry_delay
from xec_magic.engine.run import Run
from xec_magic.errors import TransportError
from xec_magic.events import (
    Cause,
    Exited,
    LeftBehind,
    Mark,
    Note,
    Output,
    PartExited,
    PartStarted,
    ProcessInfo,
    Queued,
    Retrying,
    Started,
    Stopping,
    Stream,
)
from xec_magic.output import STREAMS
from xec_magic.redact import Redactor, StreamRedactor
from xec_magic.transport import Transports
from xec_magic.transport.base import Distant, Process, StartRequest
from xec_magic.transport.terminate import LAST_GRACE_S, living, stop
from xec_magic.units import format_duration

__all__ = ["Drive", "Surroundings"]

LEFT_BEHIND_S: Final = 0.5  # how long children may hold the streams after the shell's end before the run is over


class Surroundings(Protocol):
    """What a run's course needs of its executor."""

    redactor: Redactor
    transports: Transports
    flights: Flights
    admission: asyncio.Semaphore

    def finished(self, run: Run) -> None:
        """A run is about to have its result."""


class Drive:
    """The course of one run. All of it happens on the loop's thread."""

    def __init__(self, executor: Surroundings, run: Run) -> None:
        self._executor = executor
        self._run = run
        self._plan = run.plan
        self._loop = asyncio.get_running_loop()
        self._changed = _Bell(self._loop)
        self._way = _Way(self)
        self._printed = 0
        self._arrived = 0
        self._over = False
        self._tee: BinaryIO | None = None
        self._redact: dict[Stream, StreamRedactor] = {}
        self._framing: Framing | None = None
        self._unkept = False
        self._marks: MarkFinder | None = None

    async def go(self) -> None:
        """Take the run to its end. It has its result then, whatever went wrong."""
        run = self._run
        run.wake = self._changed.set
        run.hurry = run.hurry or asyncio.Event()
        exited: Exited
        try:
            exited = await self._poured(await self._open_tee() or await self._admitted())
        except BaseException as error:  # a fault of ours must not leave anybody waiting
            exited = self._faulty(error)
            if run.process is not None:
                run.process.send_signal(signal.SIGKILL)
                run.process.close()
            raise
        finally:
            try:
                if self._tee is not None:
                    tee, self._tee = self._tee, None
                    tee.close()
                run.emit(exited)
                await self._executor.flights.land(run)
                self._executor.finished(run)
                if (
                    run.pouring is not None
                ):  # a file that gets the output by way of the loop is complete before the run is over
                    run.end_channels()
                    await asyncio.wait([run.pouring])
            finally:
                run.finish()
                if run.process is None or not run.process.streams_open:
                    self._way.drive = None

    async def _poured(self, exited: Exited) -> Exited:
        """How the run ended, once the file that gets its output by way of the loop is complete."""
        run = self._run
        if run.pouring is None:
            return exited
        run.end_channels()
        await asyncio.wait([run.pouring])
        if exited.cause is None and run.stop_cause is not None:  # the file's disk was full at the last moment
            return replace(exited, cause=run.stop_cause, detail=run.stop_detail)
        return exited

    def _now(self) -> float:
        return self._loop.time()

    async def _open_tee(self) -> Exited | None:
        if self._plan.tee is None:
            return None
        try:
            self._tee = _open_tee_file(self._plan.tee)
        except OSError as error:
            reason = f"cannot write the --tee file {self._plan.tee}: {error.strerror}"
            self._drop_pipes()
            return Exited(self._run.run_id, self._now(), None, None, Cause.SPAWN, reason)
        return None

    async def _admitted(self) -> Exited:
        turn = self._executor.transports.turn(self._plan.command)
        if turn is None:
            return await self._placed()
        way = self._executor.transports.way_maker(self._plan.command)
        making = self._loop.create_task(way) if way is not None else None

        async def course() -> Exited:
            if making is not None:
                making.cancel()
            return await self._placed()

        try:
            # First its turn in the session: who waits for that must not take a place from others.
            return await self._behind(turn, course)
        finally:
            if making is not None:
                making.cancel()

    async def _placed(self) -> Exited:
        run = self._run
        if run.upstream is not None:
            # A chain of pipes has one place, that of its first member: with one each, its members could wait for each
            # other for ever.
            run.upstream.subscribe(lambda _: self._changed.set())
            while run.stop_cause is None and run.upstream.state in {"planned", "starting", "queued"}:
                await self._wait(None)
            return await self._attempts()
        if self._plan.command.target.kind == "ssh":  # the pool of its connections makes it wait, not this machine
            return await self._attempts()
        return await self._behind(self._executor.admission, self._attempts)

    async def _behind(self, gate: Gate, course: Callable[[], Coroutine[Any, Any, Exited]]) -> Exited:
        """Take the run on when a gate lets it pass, and hold that while it lasts."""
        if not await self._passed(gate):
            self._drop_pipes()
            return self._stopped_before_start()
        try:
            return await course()
        finally:
            gate.release()

    async def _passed(self, gate: Gate) -> bool:
        """Wait until there is room; False when the run is stopped before."""
        run = self._run
        if take_at_once(gate):
            return True
        run.emit(Queued(run.run_id, self._now()))
        place = asyncio.ensure_future(gate.acquire())
        try:
            while run.stop_cause is None and not place.done():
                await self._wait(None, place)
        finally:
            if not place.done():
                place.cancel()
        return place.done() and not place.cancelled()

    async def _attempts(self) -> Exited:
        run = self._run
        for attempt in itertools.count(1):
            if run.stop_cause is not None:
                self._drop_pipes()
                return self._stopped_before_start()
            exited = await self._attempt(attempt)
            delay = retry_delay(self._plan, exited, attempt, random.random())  # noqa: S311 - jitter, no secret
            if delay is None or run.stop_cause is not None:
                break
            run.emit(exited)
            reason = f"exit code {exited.exit_code}" if exited.exit_code is not None else f"signal {exited.signal}"
            run.emit(Retrying(run.run_id, self._now(), attempt + 1, reason, delay))
            until = self._now() + delay
            while run.stop_cause is None and self._now() < until:
                await self._wait(until - self._now())
        return exited

    def _stopped_before_start(self) -> Exited:
        run = self._run
        return Exited(run.run_id, self._now(), None, None, run.stop_cause, run.stop_detail)

    def _not_started(self, error: TransportError) -> Exited:
        kind = type(error).__name__
        return Exited(self._run.run_id, self._now(), None, None, Cause.SPAWN, str(error), kind=kind)

    def _faulty(self, error: BaseException) -> Exited:
        return Exited(self._run.run_id, self._now(), None, None, Cause.LOST, f"internal error: {error!r}")

    def _drop_pipes(self) -> None:
        for fd in (self._run.stdin_fd, self._run.stdout_fd):
            if fd is not None:
                os.close(fd)
        self._run.stdin_fd = self._run.stdout_fd = None

    async def _attempt(self, attempt: int) -> Exited:
        run = self._run
        self._printed, self._over, self._unkept = 0, False, False
        self._redact.clear()
        marks = self._plan.monitor.marks if self._plan.monitor else ()
        self._marks = MarkFinder(marks, self._mark) if marks else None
        command = self._plan.command
        if self._plan.batch is not None:
            self._framing = Framing(run.run_id, self._plan, self._executor.redactor, self._now)
            command = self._framing.command
        request = StartRequest(
            command,
            run.run_id,
            self._way.output,
            self._changed.set,
            run.stdin_fd,
            run.stdout_fd,
            run.function,
            self._way.note,
            weighed=run.weighed or self._plan.monitor is not None,
            grouped=self._plan.monitor is not None,
        )
        run.stdin_fd = run.stdout_fd = None  # the transport closes them
        try:
            process = await self._started(request)
        except TransportError as error:
            return self._not_started(error)
        if process is None:
            return self._stopped_before_start()
        run.process = process
        if run.full_channels and not run.followed:
            process.pause()
        age = self._now() - process.started_at
        run.emit(Started(run.run_id, process.started_at, time.time() - age, process.pid, attempt))
        watching = self._loop.create_task(self._watch(process)) if self._plan.monitor else None
        try:
            return await self._follow(process)
        finally:
            if watching is not None:
                watching.cancel()
                if run.stop_cause is Cause.LOST:
                    await asyncio.wait([watching])  # it says so, before the run is over

    async def _watch(self, process: Process) -> None:
        """Emit samples until it is cancelled. The run does not depend on them."""
        assert self._plan.monitor is not None
        rate_hz = self._plan.monitor.rate_hz
        sampler = process.sampler(rate_hz)
        if sampler is None:
            where = f"on {self._plan.command.target}"
            self._run.emit(
                Note(self._run.run_id, self._now(), f"not monitored: what a command {where} uses cannot be read")
            )
            return
        begun = self._now()
        try:
            await watch(sampler, rate_hz, self._run.emit)
        except asyncio.CancelledError:
            if self._run.stop_cause is Cause.LOST:  # which of the two hears of it first is chance
                self._watched_no_more(begun, self._run.stop_detail)
            raise
        except Exception as error:  # noqa: BLE001 - the command is not to suffer from being watched
            self._watched_no_more(begun, str(error))
        finally:
            sampler.close()

    def _watched_no_more(self, begun: float, why: str) -> None:
        after = f"monitoring has stopped after {format_duration(self._now() - begun)}: "
        seen = bool(self._run.timeline and self._run.timeline.samples)
        self._run.emit(Note(self._run.run_id, self._now(), (after if seen else "not monitored: ") + why))

    def _mark(self, text: str) -> None:
        self._run.emit(Mark(self._run.run_id, self._now(), text))

    async def _started(self, request: StartRequest) -> Process | None:
        """The process; None when the run was stopped, or its time was over, before there was one.

        Raises:
            TransportError: it cannot be started.
        """
        run, timeout_s = self._run, self._plan.stop.timeout_s
        process = self._executor.transports.start_now(request)
        if process is not None:
            return process
        transport = self._executor.transports.of(self._plan.command)
        starting = asyncio.ensure_future(transport.start(request))
        deadline = None if timeout_s is None else self._now() + timeout_s
        starting.add_done_callback(lambda _: self._changed.set())
        while not starting.done():
            if run.stop_cause is None and deadline is not None and self._now() >= deadline:
                run._stop(False, Cause.TIMEOUT, "before it started")
            if run.stop_cause is not None:
                starting.cancel()  # what is started nevertheless is then ended by its transport, and gone afterwards
                await asyncio.wait([starting], timeout=LAST_GRACE_S)
                if starting.done() and not starting.cancelled():
                    starting.exception()  # heard: asyncio would complain of it otherwise
                return None
            await self._wait(None if deadline is None else deadline - self._now())
        return starting.result()

    async def _follow(self, process: Process) -> Exited:
        """Wait for the end, by itself or by our hand: one race, one outcome."""
        run, policy = self._run, self._plan.stop
        deadline = None if policy.timeout_s is None else process.started_at + policy.timeout_s
        shell_ended_at: float | None = None
        arrived = 0
        while True:
            status = process.exit
            now = self._now()
            if status is not None and status.lost:
                run._stop(False, Cause.LOST, status.lost)
            elif status is not None:
                if shell_ended_at is None or run.full_channels:  # a reader that is slow holds the streams itself
                    shell_ended_at, arrived = now, self._arrived
                if not process.streams_open:
                    break
                if not policy.wait and now >= shell_ended_at + LEFT_BEHIND_S:
                    if await self._leave_behind(process) or arrived == self._arrived:
                        break
                    shell_ended_at, arrived = now, self._arrived
            if run.stop_cause is None:
                if self._over:
                    run._stop(False, Cause.OUTPUT_LIMIT, "")
                elif deadline is not None and now >= deadline:
                    run._stop(False, Cause.TIMEOUT, "")
            if run.stop_cause is not None:
                await self._end(process)
                break
            left_behind_at = None if shell_ended_at is None or policy.wait else shell_ended_at + LEFT_BEHIND_S
            limits = [at for at in (deadline, left_behind_at) if at is not None]
            await self._wait(min(limits) - now if limits else None)
        return self._exited(process)

    async def _wait(self, seconds: float | None, also: asyncio.Future[Any] | None = None) -> None:
        """Until something has changed, at most so long."""
        if also is not None:
            also.add_done_callback(lambda _: self._changed.set())
        await self._changed.wait(seconds)

    async def _end(self, process: Process) -> None:
        run = self._run
        cause = run.stop_cause or Cause.CANCEL
        if run.full_channels:
            process.resume()  # a command that waits in its write could not end by itself
        survivors: list[ProcessInfo] = []
        try:
            survivors = await stop(
                process, run.grace_s, run.hurry or asyncio.Event(),
                lambda name: run.emit(Stopping(run.run_id, self._now(), cause, name)),
            )  # fmt: skip
        except TransportError as error:
            note = f"what it had started there may go on (pid {process.pid}), since it could not be reached: {error}"
            run.emit(Note(run.run_id, self._now(), note))
        process.close()
        if survivors:
            run.emit(LeftBehind(run.run_id, self._now(), tuple(survivors)))
            names = ", ".join(map(str, survivors))
            run.emit(Note(run.run_id, self._now(), f"could not be ended even by KILL: {names}"))

    async def _leave_behind(self, process: Process) -> bool:
        """Name what holds the streams. False where nothing does: on a host, output can still be on its way."""
        try:
            left = await living(process)
        except TransportError:  # its host is gone; what that means is seen by the next look at its exit
            return True
        if left:
            self._run.emit(LeftBehind(self._run.run_id, self._now(), tuple(left)))
        return bool(left) or not isinstance(process, Distant)

    def _exited(self, process: Process) -> Exited:
        run, status = self._run, process.exit
        for stream, redactor in self._redact.items():
            self._deliver(stream, redactor.flush())
            run.masked |= redactor.masked > 0
        if self._marks is not None:
            self._marks.end()
        if self._framing is not None:
            for name in STREAMS:
                self._take(self._framing.flush(name))
        detail = run.stop_detail or (status.failure if status else "")
        if not process.streams_open:
            process.close()
        return Exited(
            run.run_id, self._now(),
            status.exit_code if status else None, status.signal if status else None,
            run.stop_cause, detail, status.usage if status else None, truncated=self._over or self._unkept,
        )  # fmt: skip

    def _output(self, stream: Stream, data: bytes) -> None:
        """The transport's sink: every byte of the run comes by here."""
        self._arrived += len(data)
        if self._framing is not None:
            self._take(self._framing.feed(stream, data))
            return
        redactor = self._redact.get(stream)
        if redactor is None:
            redactor = self._executor.redactor.stream()
            if redactor is not None:
                self._redact[stream] = redactor
        if redactor is not None:
            data = redactor.feed(data)
        self._deliver(stream, data)

    def _note(self, text: str) -> None:
        self._run.emit(Note(self._run.run_id, self._now(), text))

    def _take(self, found: Iterable[Output | PartStarted | PartExited]) -> None:
        """What a batch's streams say."""
        for event in found:
            if isinstance(event, Output):
                self._deliver(event.stream, event.data, event.part)
            else:
                self._run.emit(event)

    def _deliver(self, stream: Stream, data: bytes, part: int | None = None) -> None:
        if not data:
            return
        run, bound = self._run, self._plan.limits.max_output_bytes
        if run.counts(stream):
            if bound is not None and self._printed + len(data) > bound:
                data = data[: max(0, bound - self._printed)]
                if not self._over:
                    self._over = True
                    self._changed.set()
                if not data:
                    return
            self._printed += len(data)
        if self._tee is not None:
            self._write_tee(self._tee, data)
        if self._marks is not None:
            self._marks.feed(stream, data)
        if not run.emit_output(Output(run.run_id, self._now(), stream, data, part)) and not self._unkept:
            self._unkept = True
            failure = run.log.failure
            reason = f": {failure.strerror}" if failure is not None else ""
            run.emit(
                Note(
                    run.run_id,
                    self._now(),
                    f"the log cannot grow{reason}; the command goes on, later output is not kept",
                )
            )

    def _write_tee(self, tee: BinaryIO, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(tee.fileno(), view) :]
        except OSError as error:
            self._tee = None
            tee.close()
            note = f"cannot write the --tee file {self._plan.tee}: {error.strerror}; the command goes on"
            self._run.emit(Note(self._run.run_id, self._now(), note))


class _Way:
    """What a process tells its run, until the run is over and nothing can come any more.

    From then on the two do not hold each other: thousands of short runs, each a circle of references, keep the garbage
    collector busier than the runs themselves.
    """

    __slots__ = ("drive",)

    def __init__(self, drive: Drive) -> None:
        self.drive: Drive | None = drive

    def output(self, stream: Stream, data: bytes) -> None:
        """The transport's sink."""
        if self.drive is not None:
            self.drive._output(stream, data)

    def note(self, text: str) -> None:
        """What the reader should know about the run itself."""
        if self.drive is not None:
            self.drive._note(text)


class _Bell:
    """Something has changed: rung from the loop's thread, waited for by one coroutine. An asyncio.Event with `wait_for`
    does the same and makes a task each time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._rung = False
        self._waiter: asyncio.Future[None] | None = None
        self.call: Callable[[], None] | None = None  # who hears it instead

    def set(self) -> None:
        """Ring it."""
        if self.call is not None:
            self.call()
            return
        self._rung = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, seconds: float | None) -> None:
        """Until it has been rung since the last time, at most so long. Cancelling is safe."""
        if not self._rung:
            waiter = self._waiter = self._loop.create_future()
            timer = None if seconds is None else self._loop.call_later(seconds, self._end, waiter)
            try:
                await waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        self._rung = False

    @staticmethod
    def _end(waiter: asyncio.Future[None]) -> None:
        if not waiter.done():
            waiter.set_result(None)


def _open_tee_file(path: str) -> BinaryIO:
    return open(open_for_writing(path), "wb", buffering=0)
