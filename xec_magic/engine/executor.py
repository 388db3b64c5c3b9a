"""`Executor`: plan in, events out. Admission, limits, retries and the end of a run meet here."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import secrets
import time
from collections.abc import Callable, Coroutine
from typing import Any, BinaryIO, Final

from xec_magic.engine.portal import Portal
from xec_magic.engine.retry import retry_delay
from xec_magic.engine.run import DEFER_S, Run
from xec_magic.engine.spool import SpoolDirectory
from xec_magic.errors import OptionError, SpawnError, XecError
from xec_magic.events import Cause, Exited, LeftBehind, Note, Output, Queued, Retrying, Started, Stopping, Stream
from xec_magic.plan import Plan
from xec_magic.redact import Redactor, StreamRedactor
from xec_magic.transport import Transports
from xec_magic.transport.base import Process, StartRequest
from xec_magic.transport.terminate import stop

__all__ = ["Executor"]

MAX_RUNNING: Final = 64  # local processes at once; more runs wait in the order of their start
LEFT_BEHIND_S: Final = 0.5  # how long children may hold the streams after the shell's end before the run is over
HISTORY_RUNS: Final = 200  # finished runs that can still be shown
HISTORY_BYTES: Final = 256 * 2**20  # output in memory that finished runs may hold together
FORGET_RUNS: Final = 32  # the bounds are looked at after so many runs, or so much output
FORGET_BYTES: Final = 64 * 2**20
EXIT_GRACE_S: Final = 1.0  # a rung of the stop ladder at the kernel's exit: Jupyter kills the kernel after 5 s


class Executor:
    """Runs plans on one loop in one thread. One serves a kernel; more can live beside it.

    Args:
        max_running: Runs that have a process at once; further ones are queued in order.
        redactor: Masks secrets in all output before anything sees it.
    """

    def __init__(self, max_running: int = MAX_RUNNING, redactor: Redactor | None = None) -> None:
        if max_running < 1:
            raise OptionError(f"max_running must be at least 1, not {max_running}")
        self.kernel_id = secrets.token_hex(6)
        self.redactor = redactor or Redactor()
        self.spool = SpoolDirectory(self.kernel_id)
        self._portal = Portal()
        self._numbers = itertools.count(1)
        self._transports = Transports(self.kernel_id, lambda: str(self.spool.path()))
        self._admission = asyncio.Semaphore(max_running)
        self._runs: dict[str, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._owner = os.getpid()
        self._closed = False
        self._unchecked = 0

    # -- the outside: any thread ------------------------------------------------------------------

    def start(self, plan: Plan, *, check: bool = True, background: bool = False, keep: bool | None = None) -> Run:
        """Start a plan; gives its handle at once.

        Raises:
            XecError: the executor is closed.
        """
        run = self.plan_run(plan, check=check, background=background, keep=keep)
        self.begin(run)
        return run

    def plan_run(self, plan: Plan, *, check: bool = True, background: bool = False, keep: bool | None = None) -> Run:
        """A run that is planned and not started; `begin`, or its first use, starts it."""
        if self._closed or not self._portal.is_open or os.getpid() != self._owner:
            raise XecError("the executor is closed; make a new one, or load the extension again")
        run_id = str(next(self._numbers))
        return Run(
            self, run_id, plan, lambda: self.spool.new_log(run_id, plan.limits.memory_bytes),
            check=check, background=background, keep=keep if plan.limits.keep else False,
        )  # fmt: skip

    def plan_next(self, script: str, like: Run) -> Run:
        """A further run with the policies and surroundings of `like`, planned and not started."""
        from dataclasses import replace

        plan = replace(like.plan, command=replace(like.plan.command, script=script, stdin=None), tee=None, label="")
        return self.plan_run(plan, check=like.check, keep=None)

    def begin_later(self, run: Run) -> None:
        """Begin by itself in a moment, unless something has begun it before."""
        self.post(lambda: self.call_later(DEFER_S, lambda: self._begin(run)))

    def begin(self, run: Run) -> None:
        """Start a run that has only been planned. Any thread; a second call does nothing."""
        self._runs.setdefault(run.run_id, run)  # here already: who lists the runs next must see it
        if self._portal.inside:
            self._begin(run)
        else:
            self._portal.post(self._begin, run)

    def post(self, callback: Callable[..., object], *args: Any) -> None:
        """Call on the loop's thread, soon."""
        self._portal.post(callback, *args)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """A timer on the loop. Call it on the loop's thread."""
        return asyncio.get_running_loop().call_later(delay_s, callback)

    def join(self, source: Run, sink: Run) -> None:
        """Make `source`'s standard output `sink`'s standard input: by a pipe of their own where both are still
        planned, else through this process.

        Raises:
            XecError: `sink` has already started, or has input of its own.
        """
        self._portal.call(self._join(source, sink))

    def runs(self) -> list[Run]:
        """All runs that are alive or can still be shown, oldest first."""
        return list(self._runs.values())

    def find(self, run_id: str) -> Run | None:
        """The run with this id, or None."""
        return self._runs.get(run_id)

    def warm(self) -> None:
        """Do ahead what the first command would have to wait for."""
        self.post(self._transports.warm)

    def close(self, grace_s: float = EXIT_GRACE_S) -> None:
        """End all runs by the stop ladder, all at once, and let go of everything. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        if os.getpid() != self._owner or not self._portal.is_open:
            return  # a forked copy: the runs are not its own
        try:
            self._portal.call(self._close(grace_s), timeout_s=3 * grace_s + 5)
        except TimeoutError:
            pass  # the helper process ends what is left when this process is gone
        finally:
            self._portal.close()
            self.spool.close()

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        alive = sum(not run.done() for run in self._runs.values())
        return f"<Executor {self.kernel_id}, {'closed' if self._closed else f'{alive} running'}, {len(self._runs)} runs>"

    # -- the inside: the loop's thread ------------------------------------------------------------

    def _begin(self, run: Run) -> None:
        if run.state != "planned":
            return
        run.state = "starting"
        self._runs[run.run_id] = run
        self._keep(_Drive(self, run).go())

    def end_left_behind(self, run: Run) -> None:
        """End the processes that outlived their run. On the loop's thread."""
        if run.process is not None and run.process.streams_open and not run.ending:
            run.ending = True
            self._keep(self._end_left_behind(run, run.process))

    async def _end_left_behind(self, run: Run, process: Process) -> None:
        await stop(process, run.grace_s, run.hurry or asyncio.Event(), lambda _: None)
        process.close()
        run.ending = False

    def _keep(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a task and hold on to it: the loop itself does not."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self, source: Run, sink: Run) -> None:
        if sink.state != "planned":
            raise XecError(
                "the second command has already started, without input; write first.pipe('second command') instead"
            )
        if sink.plan.command.stdin is not None or sink.upstream is not None:
            raise XecError("the second command already has an input; a command reads from one")
        read, write = os.pipe()
        sink.stdin_fd = read
        sink.upstream = source
        if source.state == "planned" and not source.has_consumers and not source.plan.tee:
            source.stdout_fd = write
            self._begin(source)
        else:
            os.set_blocking(write, False)
            self._keep(self._pump(source, write))
        self._begin(sink)

    async def _pump(self, source: Run, fd: int) -> None:
        """Copy a running command's output into a pipe, at the pace of its reader."""
        loop = asyncio.get_running_loop()
        backlog, channel = source.attach_here("stdout")
        try:
            pieces: Any = backlog
            while pieces is not None:
                for _, data in pieces:
                    view = memoryview(data)
                    while view:
                        try:
                            view = view[os.write(fd, view) :]
                        except BlockingIOError:
                            await _writable(loop, fd)
                pieces = await channel.take_async()
        except BrokenPipeError:
            channel.discard()
            source._stop(False, Cause.CANCEL, "its reader had enough")
        finally:
            os.close(fd)

    def finished(self, run: Run) -> None:
        """Now and then keep the history of finished runs within its bounds: looking costs time for each of them."""
        self._unchecked += FORGET_BYTES // FORGET_RUNS + run.log.size()
        if self._unchecked >= FORGET_BYTES:
            self._unchecked = 0
            self._forget_old()

    def _forget_old(self) -> None:
        self.spool.finished()
        done = [run for run in self._runs.values() if run.state == "done" and not (run.process and run.process.streams_open)]
        held = sum(run.log.size() for run in done if run.log.path is None)
        while done and (len(done) > HISTORY_RUNS or held > HISTORY_BYTES):
            oldest = done.pop(0)
            held -= oldest.log.size() if oldest.log.path is None else 0
            self._runs.pop(oldest.run_id, None)

    async def _close(self, grace_s: float) -> None:
        for run in self._runs.values():
            run.grace_s = min(run.grace_s, grace_s)
            if not run.done():
                run._stop(False, Cause.CANCEL, "its kernel is ending")
            else:
                self.end_left_behind(run)
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=3 * grace_s + 2)
        for run in self._runs.values():
            if run.process is not None:
                run.process.close()
        await self._transports.close(within_s=3 * grace_s + 1)


class _Drive:
    """The course of one run, from its queue to its end."""

    def __init__(self, executor: Executor, run: Run) -> None:
        self._executor = executor
        self._run = run
        self._plan = run.plan
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._printed = 0
        self._over = False
        self._tee: BinaryIO | None = None
        self._redact: dict[Stream, StreamRedactor] = {}
        self._unkept = False

    async def go(self) -> None:
        run = self._run
        run.wake = self._changed.set
        run.hurry = asyncio.Event()
        exited: Exited
        try:
            exited = await self._open_tee() or await self._admitted()
        except BaseException as error:  # a fault of ours must not leave anybody waiting
            exited = Exited(run.run_id, self._now(), None, None, Cause.LOST, f"internal error: {error!r}")
            raise
        finally:
            if self._tee is not None:
                self._tee.close()
            run.emit(exited)
            self._executor.finished(run)
            run.finish()

    def _now(self) -> float:
        return self._loop.time()

    async def _open_tee(self) -> Exited | None:
        if self._plan.tee is None:
            return None
        try:
            self._tee = open(self._plan.tee, "wb", buffering=0)  # noqa: SIM115, ASYNC230 - lives as long as the run; a local file
        except OSError as error:
            reason = f"cannot write the --tee file {self._plan.tee}: {error.strerror}"
            self._drop_pipes()
            return Exited(self._run.run_id, self._now(), None, None, Cause.SPAWN, reason)
        return None

    async def _admitted(self) -> Exited:
        run, admission = self._run, self._executor._admission
        if run.stdout_fd is not None:  # the first of a pair: it starts with its reader, or both would wait for ever
            return await self._attempts()
        if admission.locked():
            run.emit(Queued(run.run_id, self._now()))
            place = asyncio.ensure_future(admission.acquire())
            try:
                while run.stop_cause is None and not place.done():
                    await self._wait(None, place)
            finally:
                if not place.done():
                    place.cancel()
            if not place.done():
                self._drop_pipes()
                return self._stopped_before_start()
        else:
            await admission.acquire()
        try:
            return await self._attempts()
        finally:
            admission.release()

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

    def _drop_pipes(self) -> None:
        for fd in (self._run.stdin_fd, self._run.stdout_fd):
            if fd is not None:
                os.close(fd)
        self._run.stdin_fd = self._run.stdout_fd = None

    async def _attempt(self, attempt: int) -> Exited:
        run = self._run
        self._printed, self._over = 0, False
        self._redact.clear()
        request = StartRequest(
            self._plan.command, run.run_id, self._output, self._changed.set, run.stdin_fd, run.stdout_fd
        )
        run.stdin_fd = run.stdout_fd = None  # the transport closes them
        try:
            transport = self._executor._transports.of(self._plan.command.target)
            process = await transport.start(request)
        except SpawnError as error:
            return Exited(run.run_id, self._now(), None, None, Cause.SPAWN, str(error))
        run.process = process
        if run.full_channels:
            process.pause()
        run.emit(Started(run.run_id, self._now(), time.time(), process.pid, attempt))
        return await self._follow(process)

    async def _follow(self, process: Process) -> Exited:
        """Wait for the end, by itself or by our hand: one race, one outcome."""
        run, policy = self._run, self._plan.stop
        deadline = None if policy.timeout_s is None else self._now() + policy.timeout_s
        shell_ended_at: float | None = None
        while True:
            status = process.exit
            now = self._now()
            if status is not None and status.lost:
                run._stop(False, Cause.LOST, status.lost)
            elif status is not None:
                shell_ended_at = shell_ended_at or now
                if not process.streams_open:
                    break
                if not policy.wait and now >= shell_ended_at + LEFT_BEHIND_S:
                    self._leave_behind(process)
                    break
            if run.stop_cause is None:
                if self._over:
                    run._stop(False, Cause.OUTPUT_LIMIT, "")
                elif deadline is not None and now >= deadline:
                    run._stop(False, Cause.TIMEOUT, "")
            if run.stop_cause is not None:
                await self._end(process)
                break
            limits = [at for at in (deadline, shell_ended_at and shell_ended_at + LEFT_BEHIND_S) if at]
            await self._wait(min(limits) - now if limits else None)
        return self._exited(process)

    async def _wait(self, seconds: float | None, also: asyncio.Future[Any] | None = None) -> None:
        """Until something has changed, at most so long."""
        if also is not None:
            also.add_done_callback(lambda _: self._changed.set())
        if not self._changed.is_set():
            try:
                await asyncio.wait_for(self._changed.wait(), seconds)
            except TimeoutError:
                pass
        self._changed.clear()

    async def _end(self, process: Process) -> None:
        run = self._run
        cause = run.stop_cause or Cause.CANCEL
        if run.full_channels:
            process.resume()  # a command that waits in its write could not end by itself
        survivors = await stop(
            process, run.grace_s, run.hurry or asyncio.Event(),
            lambda name: run.emit(Stopping(run.run_id, self._now(), cause, name)),
        )  # fmt: skip
        process.close()
        if survivors:
            run.emit(LeftBehind(run.run_id, self._now(), tuple(survivors)))
            names = ", ".join(map(str, survivors))
            run.emit(Note(run.run_id, self._now(), f"could not be ended even by KILL: {names}"))

    def _leave_behind(self, process: Process) -> None:
        left = process.alive()
        if left:
            self._run.emit(LeftBehind(self._run.run_id, self._now(), tuple(left)))

    def _exited(self, process: Process) -> Exited:
        run, status = self._run, process.exit
        for stream, redactor in self._redact.items():
            self._deliver(stream, redactor.flush())
        if not process.streams_open:
            process.close()
        return Exited(
            run.run_id, self._now(),
            status.exit_code if status else None, status.signal if status else None,
            run.stop_cause, run.stop_detail, status.usage if status else None, truncated=self._over or self._unkept,
        )  # fmt: skip

    def _output(self, stream: Stream, data: bytes) -> None:
        """The transport's sink: every byte of the run comes by here."""
        redactor = self._redact.get(stream)
        if redactor is None:
            redactor = self._executor.redactor.stream()
            if redactor is not None:
                self._redact[stream] = redactor
        if redactor is not None:
            data = redactor.feed(data)
        self._deliver(stream, data)

    def _deliver(self, stream: Stream, data: bytes) -> None:
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
        if not run.emit_output(Output(run.run_id, self._now(), stream, data)) and not self._unkept:
            self._unkept = True
            failure = run.log.failure
            reason = f": {failure.strerror}" if failure is not None else ""
            run.emit(Note(run.run_id, self._now(), f"the log cannot grow{reason}; the command goes on, later output is not kept"))

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


async def _writable(loop: asyncio.AbstractEventLoop, fd: int) -> None:
    ready: asyncio.Future[None] = loop.create_future()

    def is_ready() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(fd, is_ready)
    try:
        await ready
    finally:
        loop.remove_writer(fd)


