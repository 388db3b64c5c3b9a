"""Python functions as members of a pipe: each in a thread of its own, between two pipes of the operating system.

The data does not come by the loop: the thread reads the one pipe and writes the other, so back-pressure is that of pipes.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import select
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from xec_magic.errors import SpawnError, map_errors
from xec_magic.events import ProcessInfo
from xec_magic.splitting import Lines
from xec_magic.transport.base import ExitStatus, Function, Process, StartRequest
from xec_magic.transport.reader import Reader

__all__ = ["FunctionProcess", "FunctionTransport"]

READ_BYTES: Final = 256 * 1024
WRITE_BYTES: Final = 64 * 1024  # what a pipe takes at once
FLUSH_S: Final = 0.05  # what a function gives goes on at the latest after this, if anything follows it


class _Stopped(BaseException):
    """The run is being stopped. No `except Exception` of the function swallows it."""


class _Closed(BaseException):
    """The next member of the pipe has had enough."""


class FunctionProcess:
    """A function in a thread of its own; to the executor it is a process like any other.

    Attributes:
        failure: What the function raised.
        had_enough: It ended, and had not read to the end of what arrives.
    """

    pid = None

    def __init__(
        self, request: StartRequest, function: Function, input_fd: int, output_fd: int, wake_fds: tuple[int, int]
    ) -> None:
        self.exit: ExitStatus | None = None
        self.failure: BaseException | None = None
        self.had_enough = False
        self.started_at = time.monotonic()
        self.reader: Reader | None = None
        self._request = request
        self._function = function
        self._loop = asyncio.get_running_loop()
        self._input, self._output = input_fd, output_fd
        self._woken, self._wake = wake_fds
        os.set_blocking(output_fd, False)
        self._pending = bytearray()
        self._flushed_at = 0.0
        self._stopping = False
        # From outside something is raised in the thread once at most, and only while it is in the function.
        self._guard = threading.Lock()
        self._interruptible = True
        self._thread = threading.Thread(target=self._main, name=f"xec-{function.name}", daemon=True)

    def start(self) -> None:
        """Begin.

        Raises:
            SpawnError: no further thread is allowed.
        """
        try:
            self._thread.start()
        except RuntimeError as error:
            raise SpawnError(
                "cannot start a function: no further thread is allowed (ulimit -u); end some first"
            ) from error

    # -- in its thread ------------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            status = self._run()
        except _Stopped:  # it came while the end was being told
            status = ExitStatus(None, signal.SIGINT)
        try:
            self._leave()
        except _Stopped:
            self._leave()
        with self._guard:
            ends = (self._input, self._output, self._woken, self._wake)
            self._input = self._wake = -1  # before they are closed, which wakes who waits for more
            for fd in ends:
                os.close(fd)
        try:
            self._loop.call_soon_threadsafe(self._over, status)
        except RuntimeError:
            pass  # the executor has been closed, and nobody waits any more

    def _run(self) -> ExitStatus:
        self.had_enough = True
        try:
            self._work()
        except _Stopped:
            return ExitStatus(None, signal.SIGINT)
        except _Closed:
            return ExitStatus(None, signal.SIGPIPE)
        except BaseException as error:  # noqa: BLE001 - whatever it raised is how its run ends
            self.failure = error
            return ExitStatus(1, None, failure=_words(error))
        return ExitStatus(0, None)

    def _leave(self) -> None:
        """From here on nothing is raised from outside; what was on its way is dropped."""
        with self._guard:
            self._interruptible = False
            _raise_in(threading.get_ident(), None)

    def _work(self) -> None:
        arriving = self._lines() if self._function.of == "lines" else self._pieces()
        given: object = self._function.call(arriving)
        if given is None:
            given = ()
        elif isinstance(given, (str, bytes, bytearray, memoryview)):
            given = (given,)  # and not its characters one by one
        elif not isinstance(given, Iterable):
            raise TypeError(_wrong(given, "returned"))
        try:
            for item in given:
                self._take(item)
            self._flush()
        finally:
            close = getattr(given, "close", None)  # of a generator: its `finally` runs now, not when it is collected
            if close is not None:
                close()

    def _pieces(self) -> Iterator[bytes]:
        self._check()
        poll = select.poll()
        poll.register(self._input, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        while True:
            self._check()
            if self._pending and not poll.poll(0):
                self._flush()  # what has been given goes on before this waits
            poll.poll()
            self._check()
            data = os.read(self._input, READ_BYTES)
            if not data:
                self.had_enough = False
                return
            yield data

    def _lines(self) -> Iterator[str]:
        return chain.from_iterable(self._batches())

    def _batches(self) -> Iterator[list[str]]:
        lines = Lines("surrogateescape")  # bytes that are no text leave as they came
        for data in self._pieces():
            yield from lines.feed(data)
        yield from lines.end()

    def _take(self, item: object) -> None:
        if isinstance(item, str):
            self._pending += item.encode("utf-8", "surrogateescape")
            self._pending += b"\n"
        elif isinstance(item, bytes) and len(item) >= WRITE_BYTES:
            self._flush()
            self._write(item)  # as it is: a copy of each would cost as much again
            return
        elif isinstance(item, (bytes, bytearray, memoryview)):
            self._pending += item
        else:
            raise TypeError(_wrong(item, "gave"))
        if len(self._pending) >= WRITE_BYTES or time.monotonic() - self._flushed_at > FLUSH_S:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            data = bytes(self._pending)
            self._pending.clear()
            self._write(data)

    def _write(self, data: bytes) -> None:
        self._check()
        view = memoryview(data)
        poll = select.poll()
        poll.register(self._output, select.POLLOUT)
        poll.register(self._woken, select.POLLIN)
        while view:
            try:
                view = view[os.write(self._output, view) :]
            except BlockingIOError:
                poll.poll()
                self._check()
            except BrokenPipeError:
                raise _Closed from None
        self._flushed_at = time.monotonic()

    def _check(self) -> None:
        if self._input < 0:  # lines kept beyond its end, which the descriptor's next owner would be robbed of
            raise ValueError(f"{self._function.name} has ended, and nothing arrives for it any more")
        if self._stopping:
            raise _Stopped

    # -- on the loop's thread -------------------------------------------------------------------------

    def _over(self, status: ExitStatus) -> None:
        self.exit = status
        self._request.changed()

    @property
    def streams_open(self) -> bool:
        """Its output has not been read to the end."""
        return self.reader is not None and self.reader.open

    def pause(self) -> None:
        """Stop reading; the function soon waits in its write."""
        if self.reader is not None:
            self.reader.pause()

    def resume(self) -> None:
        """Read again."""
        if self.reader is not None:
            self.reader.resume()

    def sampler(self, rate_hz: float) -> None:
        """Nothing reads its use: it is a thread of the kernel."""

    def send_signal(self, number: int) -> None:
        """INT ends its input and refuses its output; TERM and KILL also raise an exception where it is, once.

        That exception is seen by Python code only: a function that waits in the operating system gets it when that wait ends.
        """
        self._stopping = True
        with self._guard:
            if self._wake >= 0:
                os.write(self._wake, b"x")
            if self._interruptible and number != signal.SIGINT:
                self._interruptible = False
                _raise_in(self._thread.ident or 0, _Stopped)

    def alive(self) -> list[ProcessInfo]:
        """The function while it runs, by the kernel's own number."""
        return [] if self.exit else [ProcessInfo(os.getpid(), f"{self._function.name} in a thread of the kernel")]

    def close(self) -> None:
        """Take what has already arrived, then let go of the output."""
        if self.reader is not None:
            self.reader.drain()
            self.reader.close()


class FunctionTransport:
    """Calls functions in threads of this kernel."""

    async def start(self, request: StartRequest) -> Process:
        """Call a function in a thread of its own.

        Raises:
            SpawnError: the operating system allows no further thread or open file.
        """
        assert request.function is not None
        assert request.stdin_fd is not None
        fds = [fd for fd in (request.stdin_fd, request.stdout_fd) if fd is not None]
        reads = -1
        try:
            with map_errors(OSError, to=SpawnError, what="cannot start a function"):
                woken, wake = os.pipe()
                fds += [woken, wake]
                output = request.stdout_fd
                if output is None:
                    reads, output = os.pipe()
                    fds += [reads, output]
            process = FunctionProcess(request, request.function, request.stdin_fd, output, (woken, wake))
            process.start()
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        if reads >= 0:
            process.reader = Reader(reads, "stdout", request.sink, request.changed)
        return process

    async def close(self, within_s: float) -> None:
        """Nothing to let go of: each function's run has been stopped by then."""


def _raise_in(thread_id: int, kind: type[BaseException] | None) -> None:
    """Have an exception raised in a thread at its next step of Python code; None takes back one that is on its way.

    Source: Python/C API, `PyThreadState_SetAsyncExc`.
    """
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread_id), None if kind is None else ctypes.py_object(kind)
    )


def _words(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0]
    if isinstance(error, (TypeError, AttributeError)) and "itertools.chain" in text:
        text += "; pipe() calls its function once, with an iterator over all lines; map() takes a function of one line"
    return type(error).__name__ + (f": {text}" if text else "")


def _wrong(item: object, how: str) -> str:
    shown = repr(item)
    shown = shown if len(shown) <= 60 else shown[:59] + "…"
    return f"it {how} {shown}, which is no output; a function in a pipe gives text, a line each, or bytes"
