"""`Drive`: the course of one run, from its queue to its end."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Final, Protocol

from xec_magic.engine.bell import Bell
from xec_magic.engine.flight import Flights
from xec_magic.engine.gates import Gate, take_at_once
from xec_magic.engine.intake import Intake, Way
from xec_magic.engine.monitor import watch_run
from xec_magic.engine.retry import retry_delay
from xec_magic.engine.run import Run
from xec_magic.errors import TransportError
from xec_magic.events import Cause, Exited, LeftBehind, Note, ProcessInfo, Queued, Retrying, Started, Stopping
from xec_magic.redact import Redactor
from xec_magic.transport import Transports
from xec_magic.transport.base import Distant, Process, StartRequest
from xec_magic.transport.spawned import HelperLost
from xec_magic.transport.terminate import LAST_GRACE_S, living, stop

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
        self._changed = Bell(self._loop)
        self._intake = Intake(run, executor.redactor, self._loop.time, self._changed.set)
        self._way = Way(self._intake)

    async def go(self) -> None:
        """Take the run to its end. It has its result then, whatever went wrong."""
        run = self._run
        run.wake = self._changed.set
        run.hurry = run.hurry or asyncio.Event()
        exited: Exited
        try:
            exited = await self._poured(self._without_tee() or await self._admitted())
        except BaseException as error:  # a fault of ours must not leave anybody waiting
            exited = self._faulty(error)
            if run.process is not None:
                run.process.send_signal(signal.SIGKILL)
                run.process.close()
            raise
        finally:
            try:
                self._intake.close()
                run.emit(exited)
                await self._executor.flights.land(run)
                self._executor.finished(run)
                if run.pouring is not None:  # its file is complete before the run is over
                    run.end_channels()
                    await asyncio.wait([run.pouring])
            finally:
                run.finish()
                if run.process is None or not run.process.streams_open:
                    self._way.intake = None

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

    def _without_tee(self) -> Exited | None:
        """The end of a run whose copy cannot be begun."""
        complaint = self._intake.open_tee()
        if not complaint:
            return None
        self._drop_pipes()
        return Exited(self._run.run_id, self._now(), None, None, Cause.SPAWN, complaint)

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
        if isinstance(error, HelperLost):  # it may have run
            return Exited(self._run.run_id, self._now(), None, None, Cause.LOST, str(error))
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
        self._intake.begin()
        request = StartRequest(
            self._intake.command,
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
        watching = self._loop.create_task(watch_run(run, process, self._plan.monitor)) if self._plan.monitor else None
        try:
            return await self._follow(process)
        finally:
            if watching is not None:
                watching.cancel()
                if run.stop_cause is Cause.LOST:
                    await asyncio.wait([watching])  # it says so, before the run is over

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
                    shell_ended_at, arrived = now, self._intake.arrived
                if not process.streams_open:
                    if self._intake.over and run.stop_cause is None:  # it ended before it could be stopped
                        run._stop(False, Cause.OUTPUT_LIMIT, "")
                    break
                if not policy.wait and now >= shell_ended_at + LEFT_BEHIND_S:
                    if await self._leave_behind(process) or arrived == self._intake.arrived:
                        break
                    shell_ended_at, arrived = now, self._intake.arrived
            if run.stop_cause is None:
                if self._intake.over:
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
        self._intake.end()
        detail = run.stop_detail or (status.failure if status else "")
        if not process.streams_open:
            process.close()
        return Exited(
            run.run_id, self._now(),
            status.exit_code if status else None, status.signal if status else None,
            run.stop_cause, detail, status.usage if status else None, truncated=self._intake.over or self._intake.unkept,
        )  # fmt: skip
