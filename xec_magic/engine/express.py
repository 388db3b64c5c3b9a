"""`Express`: the course of a simple run of this machine. Where nothing but its command has to be waited for it needs no task, and
is over within the calls that tell of its end: a short command is not lost in it. At the first thing that takes more it goes on as
any other run does.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias

from xec_magic.engine.drive import Drive, Surroundings
from xec_magic.engine.gates import Gate, take_at_once
from xec_magic.engine.here import is_simple
from xec_magic.engine.run import Run
from xec_magic.errors import SpawnError, TransportError
from xec_magic.events import Cause, Exited, Started
from xec_magic.transport.base import Process, StartRequest
from xec_magic.transport.here import HereRun
from xec_magic.transport.starting import Starting
from xec_magic.transport.terminate import LAST_GRACE_S

__all__ = ["Express"]

LINGER_S: Final = 0.01  # after the shell's end, for the ends of its streams

Keep: TypeAlias = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Express(Drive):
    """The course of one run that may be over within the calls that tell of its end.

    Args:
        executor: What it runs in.
        run: What is run.
        keep: Runs a coroutine and holds on to it.
    """

    def __init__(self, executor: Surroundings, run: Run, keep: Keep) -> None:
        super().__init__(executor, run)
        self._keep = keep
        self._process: Process | None = None
        self._starting: Starting | None = None  # until it is there, or refused
        self._refusal: TransportError | None = None
        self._gates: list[Gate | threading.Lock] = []
        self._timer: asyncio.TimerHandle | None = None
        self._lingering: asyncio.TimerHandle | None = None

    @staticmethod
    def suits(run: Run) -> bool:
        """The run is of a kind that can take this way."""
        return (
            is_simple(run.plan)
            and run.upstream is None
            and run.stdin_fd is None
            and run.stdout_fd is None
            and run.pouring is None
        )

    def begin(self) -> bool:
        """Start the command; False when it cannot be started at once, and nothing has happened."""
        run, transports = self._run, self._executor.transports
        turn, admission = transports.turn(self._plan.command), self._executor.admission
        if run.stop_cause is not None:
            return False
        if not (self._enter(turn) and self._enter(admission)):
            self._let_go()
            return False
        self._changed.call = self._hold
        request = StartRequest(self._plan.command, run.run_id, self._way.output, self._changed.set, note=self._way.note)
        process = None
        try:
            process = transports.start_now(request)
            if process is None:
                self._starting = transports.post(request, self._answered)
        except TransportError as error:
            self._refusal = error
        except BaseException as error:  # a fault of ours must not leave anybody waiting
            self._done()
            self._end_with(self._faulty(error))
            raise
        if process is not None:
            self._there(process)
        elif self._starting is not None:
            run.wake = self._changed.set
            self._time_out_after(self._now())
        elif self._refusal is None:
            self._changed.call = None
            self._let_go()
            return False
        self._changed.call = self._look
        self._look()
        return True

    def _answered(self, outcome: Process | SpawnError) -> None:
        """What has come of the start."""
        self._starting = None
        if isinstance(outcome, SpawnError):
            self._refusal = outcome
        else:
            self._there(outcome)
        self._changed.set()

    def _there(self, process: Process) -> None:
        """It has been started."""
        self._process = self._run.process = process
        run = self._run
        run.wake = self._changed.set
        run.hurry = run.hurry or asyncio.Event()
        if run.full_channels:
            process.pause()
        now = self._now()
        run.emit(Started(run.run_id, process.started_at, time.time() - (now - process.started_at), process.pid))
        self._time_out_after(process.started_at)

    def _time_out_after(self, begun: float) -> None:
        if self._plan.stop.timeout_s is not None and self._timer is None:
            self._timer = self._loop.call_at(begun + self._plan.stop.timeout_s, self._go_on)

    def take_over(self, here: HereRun, seat: threading.Lock | None) -> None:
        """Go on with a command that the thread that waits for it has begun."""
        run = self._run
        # It runs already, so it takes what places there are.
        self._enter(self._executor.transports.turn(self._plan.command))
        entered = self._enter(self._executor.admission)
        if seat is not None and entered:
            seat.release()
        elif seat is not None:
            self._gates.append(seat)  # the place that it has, until there is an end
        self._changed.call = self._hold
        request = StartRequest(self._plan.command, run.run_id, self._way.output, self._changed.set, note=self._way.note)
        self._starting = here.adopt(request, self._answered)
        if self._starting is not None:
            run.wake = self._changed.set
            self._time_out_after(self._now())
        self._changed.call = self._look
        self._look()

    def _hold(self) -> None:
        """Nothing is to be done yet."""

    def _look(self) -> None:
        """Something has changed: see whether that is the end."""
        process, run = self._process, self._run
        status = None if process is None else process.exit
        if self._refusal is not None:
            self._done()
            self._end_with(self._not_started(self._refusal))
        elif process is None:  # what it prints may come before the word that it was started, which then is on the way
            if run.stop_cause is not None:
                self._go_on()
        elif status is None:
            if run.stop_cause is not None or self._intake.over:
                self._go_on()
        elif run.stop_cause is not None or self._intake.over or status.lost or run.pouring is not None:
            self._go_on()
        elif process.streams_open:  # as a rule their ends are on the way
            self._lingering = self._lingering or self._loop.call_later(LINGER_S, self._go_on)
        else:
            self._done()
            self._end_with(self._exited(process))

    def _end_with(self, exited: Exited) -> None:
        run = self._run
        try:
            run.emit(exited)
            self._executor.finished(run)
        finally:
            run.finish()
            self._way.intake = None

    def _done(self) -> None:
        """Nothing more is to be done here."""
        self._changed.call = None
        for timer in (self._timer, self._lingering):
            if timer is not None:
                timer.cancel()
        self._let_go()

    def _enter(self, gate: Gate | None) -> bool:
        """Take a place that is free, or needs none."""
        if gate is None:
            return True
        taken = take_at_once(gate)
        if taken:
            self._gates.append(gate)
        return taken

    def _let_go(self) -> None:
        while self._gates:
            self._gates.pop().release()

    def _go_on(self) -> None:
        """Go on as any other run: there is something to wait for."""
        if self._changed.call is None:
            return
        self._changed.call = None
        self._keep(self.go())

    async def _admitted(self) -> Exited:
        try:
            if self._starting is not None:
                return await self._given_up(self._starting)
            if self._process is None:
                assert self._refusal is not None
                return self._not_started(self._refusal)
            return await self._follow(self._process)
        finally:
            self._done()

    async def _given_up(self, starting: Starting) -> Exited:
        """Its end has come before it was there."""
        if self._run.stop_cause is None:
            self._run._stop(False, Cause.TIMEOUT, "before it started")
        # What is started nevertheless is then ended, and gone afterwards.
        await asyncio.wait([self._keep(starting.give_up())], timeout=LAST_GRACE_S)
        return self._stopped_before_start()
