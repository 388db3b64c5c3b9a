"""Runs joined by pipes: a command, a Python function or a file behind a run.

Where both ends are on this machine and neither has begun, they get a pipe of the operating system, and nothing goes through
the loop. Otherwise the output of the first is copied into that pipe, at the pace of its reader.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, Protocol

from xec_magic.engine.outfile import open_for_writing
from xec_magic.engine.pipefunctions import function_of
from xec_magic.errors import OptionError, XecError, map_errors
from xec_magic.events import Cause
from xec_magic.paths import absolute
from xec_magic.transport.base import Function

if TYPE_CHECKING:
    from xec_magic.engine.run import Run

__all__ = ["DEFER_S", "HAD_ENOUGH", "Pipes", "join_to"]

DEFER_S: Final = 0.2  # time for `start(a) | start(b)` to join the two before either has started
HAD_ENOUGH: Final = "its reader had enough"  # why a run is stopped that feeds a reader which wants no more
_HERE: Final = ("local", "function")  # kinds of targets that read and write pipes of this machine themselves


class Loop(Protocol):
    """What joining needs of the executor; all of it on the loop's thread."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """A timer."""

    def keep(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task and hold on to it."""

    def start_now(self, run: Run) -> None:
        """Start a run that has only been planned."""


class Pipes:
    """Joins runs. All methods run on the loop's thread."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    async def join(self, source: Run, sink: Run) -> None:
        """Make `source`'s standard output `sink`'s standard input.

        Raises:
            XecError: `sink` has already started, has input of its own, or would read its own output.
        """
        _check_join(source, sink)
        read, write = os.pipe()
        sink.stdin_fd = read
        sink.upstream = source
        source.output_to = sink
        if _writes_itself(source):
            source.stdout_fd = write
        else:
            self._loop.keep(self._pump(source, write))
        if sink.function is not None:
            sink.add_done_callback(lambda _: _stop_if_enough(source, sink))
        # Not at once: what follows in a chain of pipes joins before anything of it has started.
        self._loop.call_later(DEFER_S, lambda: self._loop.start_now(sink))

    async def to_file(self, source: Run, fd: int, path: str, *, masks: bool) -> None:
        """Have `source` write its standard output to a file, which is open as `fd`.

        Args:
            masks: There are secrets, and no file may hold them, so the output has to come by here.

        Raises:
            XecError: its output already goes elsewhere.
        """
        try:
            check_output_free(source)
        except XecError:
            os.close(fd)
            raise
        source.output_to = path
        if _writes_itself(source) and not masks:
            os.set_blocking(fd, True)
            source.stdout_fd = fd
        else:
            source.pouring = self._loop.keep(self._pump(source, fd, path))

    async def _pump(self, source: Run, fd: int, path: str = "") -> None:
        """Copy a run's output to a descriptor, at the pace of its reader."""
        loop = asyncio.get_running_loop()
        os.set_blocking(fd, False)
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
            source._stop(False, Cause.CANCEL, HAD_ENOUGH)
        except OSError as error:
            channel.discard()
            source._stop(False, Cause.CANCEL, f"cannot write {path}: {error.strerror}")
        finally:
            os.close(fd)


def _check_join(source: Run, sink: Run) -> None:
    if sink.state != "planned":
        raise XecError(
            "the second command has already started, without input; write first.pipe('second command') instead"
        )
    member: Run | None = source
    while member is not None:
        if member is sink:
            raise XecError("a command cannot read its own output; the pipe would end nowhere")
        session = sink.plan.command.session
        if session and member.plan.command.session == session:
            raise XecError(
                f"two commands of session {session} would have to run at once; write the pipe in one command"
            )
        member = member.upstream
    if sink.key is not None:
        raise XecError(
            "a command behind a pipe has no cache, as its input is in no key; cache the whole pipe as one command"
        )
    if sink.plan.command.stdin is not None or sink.upstream is not None:
        raise XecError("the second command already has an input; a command reads from one")
    check_output_free(source)


def check_output_free(source: Run) -> None:
    """Refuse a run whose output already goes elsewhere.

    Raises:
        XecError: it goes into a pipe or a file.
    """
    if source.key is not None:
        raise XecError(
            "a command with a cache keeps its output, and cannot give it to a pipe or a file as well; cache the whole pipe as "
            "one command: run('a | b', cache=…)"
        )
    if source.output_taken:
        raise XecError(f"the output of {source.plan.title!r} already goes into a pipe or a file; it can go to one")


def _writes_itself(source: Run) -> bool:
    """It can be given a descriptor to write to: not begun, on this machine, and nobody else wants its output."""
    return (
        source.state == "planned"
        and not source.has_consumers
        and not source.must_see_output
        and not source.plan.tee
        and not source.plan.batch
        and source.plan.command.target.kind in _HERE
    )


def _stop_if_enough(source: Run, sink: Run) -> None:
    """A function that has ended without reading everything wants no more; its source might never notice."""
    if getattr(sink.process, "had_enough", True) and not source.done():
        source._stop(False, Cause.CANCEL, HAD_ENOUGH)


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


class Joining(Protocol):
    """What `join_to` needs of the executor."""

    def join(self, source: Run, sink: Run) -> None:
        """Make `source`'s standard output `sink`'s standard input."""

    def write_to(self, source: Run, fd: int, path: str) -> None:
        """Have `source` write its standard output to a file, open as `fd`."""

    def plan_next(self, script: str, like: Run) -> Run:
        """A further run of the same kind, planned and not started."""

    def plan_function(self, function: Function, like: Run) -> Run:
        """A Python function to be joined to `like`, planned and not started."""


def join_to(engine: Joining, source: Run, other: Any, of: str) -> Run:
    """What `Run.pipe` does; any thread but the loop's.

    Raises:
        XecError: the two cannot be joined.
        OptionError: `other` is nothing that could take output, or a file that cannot be written.
    """
    from xec_magic.engine.run import Run

    if isinstance(other, os.PathLike):
        path = absolute(os.fsdecode(other))
        check_output_free(source)  # before the file is emptied
        with map_errors(OSError, ValueError, to=OptionError, what=f"cannot write {path}"):
            fd = open_for_writing(path)
        engine.write_to(source, fd, path)
        return source
    if isinstance(other, str):
        sink = engine.plan_next(other, source)
    elif isinstance(other, Run):
        sink = other
    elif callable(other):
        sink = engine.plan_function(function_of(other, of), source)
    else:
        raise OptionError(
            f"a pipe leads to a command's text, a run, a function or a pathlib.Path, not to a {type(other).__name__}"
        )
    engine.join(source, sink)
    return sink
