"""`Express`: the course of a run in a warm shell. Where nothing has to be waited for it needs no task, so little that a command of
a few microseconds is not lost in it; at the first thing that takes time it goes on as any other run does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from xec_magic.engine.drive import Drive, Surroundings
from xec_magic.engine.gates import Gate, take_at_once
from xec_magic.engine.here import suits
from xec_magic.engine.run import Run
from xec_magic.events import Exited, Started
from xec_magic.transport.base import Process, StartRequest
from xec_magic.transport.here import HereRun

__all__ = ["Express"]


class Express(Drive):
    """The course of one run that may be over within the calls that tell of its end.

    Args:
        executor: What it runs in.
        run: What is run.
        keep: Runs a coroutine and holds on to it.
    """

    def __init__(self, executor: Surroundings, run: Run, keep: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        super().__init__(executor, run)
        self._keep = keep
        self._process: Process | None = None
        self._gates: list[Gate] = []
        self._timer: asyncio.TimerHandle | None = None

    @staticmethod
    def suits(run: Run) -> bool:
        """The run is of a kind that can take this way."""
        return (
            suits(run.plan)
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
        process = None
        if self._enter(turn) and self._enter(admission):
            self._changed.call = self._hold
            request = StartRequest(self._plan.command, run.run_id, self._output, self._changed.set, note=self._note)
            process = transports.start_now(request)
        if process is None:
            self._let_go()
            return False
        self._process = run.process = process
        self._begun(process)
        return True

    def _begun(self, process: Process) -> None:
        run = self._run
        run.wake = self._changed.set
        run.hurry = asyncio.Event()
        if run.full_channels:
            process.pause()
        now = self._now()
        run.emit(Started(run.run_id, process.started_at, time.time() - (now - process.started_at), process.pid))
        if self._plan.stop.timeout_s is not None:
            self._timer = self._loop.call_at(process.started_at + self._plan.stop.timeout_s, self._go_on)
        self._changed.call = self._look
        self._look()

    def take_over(self, here: HereRun) -> None:
        """Go on with a command that the thread that waits for it has begun."""
        run = self._run
        # It runs already, so it takes what places there are.
        self._enter(self._executor.transports.turn(self._plan.command))
        self._enter(self._executor.admission)
        self._changed.call = self._hold
        request = StartRequest(self._plan.command, run.run_id, self._output, self._changed.set, note=self._note)
        self._process = run.process = process = here.session.adopt(here, request)
        self._begun(process)

    def _hold(self) -> None:
        """Nothing is to be done yet."""

    def _look(self) -> None:
        """Something has changed: see whether that is the end."""
        process, run = self._process, self._run
        if process is None or process.exit is None:
            if run.stop_cause is not None or self._over:
                self._go_on()
        elif process.streams_open or run.stop_cause is not None or self._over or process.exit.lost:
            self._go_on()
        else:
            self._done()
            exited = self._exited(process)
            try:
                run.emit(exited)
                self._executor.finished(run)
            finally:
                run.finish()

    def _done(self) -> None:
        """Nothing more is to be done here."""
        self._changed.call = None
        if self._timer is not None:
            self._timer.cancel()
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
        process = self._process
        assert process is not None
        try:
            return await self._follow(process)
        finally:
            self._done()
