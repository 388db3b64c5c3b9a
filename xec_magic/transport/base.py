"""What every transport promises: start a command, hand over its output, signal it, say how it ended."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from xec_magic.command import Command
from xec_magic.errors import TransportError
from xec_magic.events import ProcessInfo, Sample, Stream, Usage

__all__ = [
    "Distant", "ExitStatus", "Function", "Process", "Sampler", "Sink", "StartRequest", "Transport", "Unreadable",
]  # fmt: skip

Sink: TypeAlias = Callable[[Stream, bytes], None]


@dataclass(frozen=True)
class Function:
    """What a member of a pipe does in Python.

    Attributes:
        call: Gets an iterator over what arrives, and gives what goes on; None for nothing.
        name: What to call it in messages.
        of: What the iterator gives: lines as text without their newlines, or bytes as they come.
    """

    call: Callable[[Iterator[Any]], Iterable[str | bytes] | None]
    name: str
    of: Literal["lines", "chunks"] = "lines"


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a shell ended: by an exit code or by a signal, never both; neither when the way to it was `lost`.

    Attributes:
        failure: Words to a bad end where there is no standard error that has them: what a function raised.
    """

    exit_code: int | None
    signal: int | None
    usage: Usage | None = None
    lost: str = ""
    failure: str = ""


def _ignore(text: str) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What a transport needs to start a command.

    Attributes:
        run_id: Unlike that of any other run of the executor.
        sink: Gets every piece of output, on the loop's thread.
        changed: Called, on the loop's thread, when the shell exits or a stream ends.
        stdin_fd: A descriptor to read from instead of `command.stdin`; the transport closes it.
        stdout_fd: A descriptor to write to instead of `sink`; the transport closes it.
        function: What to call where the command's target is of the kind `function`.
        note: Takes what the reader should know about the run itself.
        weighed: What it uses in all is asked for, also where that costs a process more.
        grouped: The most memory that all its processes hold at once is asked for, where it can be had.
    """

    command: Command
    run_id: str
    sink: Sink
    changed: Callable[[], None]
    stdin_fd: int | None = None
    stdout_fd: int | None = None
    function: Function | None = None
    note: Callable[[str], None] = _ignore
    weighed: bool = False
    grouped: bool = False

    def close_fds(self) -> None:
        """Close the descriptors, where no transport can take them any more: whoever has their other ends sees it."""
        for fd in (self.stdin_fd, self.stdout_fd):
            if fd is not None:
                os.close(fd)


class Unreadable(TransportError):
    """What is used cannot be read where it is used, and asking again changes nothing."""


class Sampler(Protocol):
    """Tells what a command uses while it runs. All methods are called on the loop's thread.

    Attributes:
        share: How much of one core sampling may take, where it reads.
        size: Cores and bytes of memory of the machine that is watched; None where they are not known, or not yet.
    """

    share: float
    size: tuple[int, int] | None

    @property
    def cost_s(self) -> float:
        """CPU seconds that the last sample took, where it was read."""

    async def sample(self) -> Sample | None:
        """What is used now; None when there is nothing left that could be read. The loop goes on meanwhile.

        Cancelling is safe.

        Raises:
            Unreadable: there is nothing to read it from, and there never will be.
            TransportError: it could not be read now.
        """

    def close(self) -> None:
        """Let go of what it holds, also while a sample is on its way."""


class Process(Protocol):
    """A command that has been started. All methods run on the loop's thread."""

    @property
    def pid(self) -> int | None:
        """The shell's process id, where it has one."""

    @property
    def started_at(self) -> float:
        """When it was started, in seconds of the monotonic clock."""

    @property
    def exit(self) -> ExitStatus | None:
        """How the shell ended; None while it runs."""

    @property
    def streams_open(self) -> bool:
        """Some process can still write to the streams."""

    def pause(self) -> None:
        """Stop reading; the command soon waits in its write."""

    def resume(self) -> None:
        """Read again."""

    def send_signal(self, number: int) -> None:
        """Signal the command's process group and what has strayed from it."""

    def alive(self) -> list[ProcessInfo]:
        """The command's living processes, strays included. May take some milliseconds."""

    def sampler(self, rate_hz: float) -> Sampler | None:
        """What reads its use; None where that cannot be had. `rate_hz` says how often it will be asked."""

    def close(self) -> None:
        """Take what has already arrived, then let go of the streams."""


@runtime_checkable
class Distant(Protocol):
    """A process that is asked for what lives by a message, which takes its time."""

    async def look(self) -> None:
        """Find out what lives now; `alive` then says so.

        Raises:
            TransportError: it cannot be asked.
        """


class Transport(Protocol):
    """A way to run commands on some kind of target."""

    async def start(self, request: StartRequest) -> Process:
        """Start a command.

        Cancelling is safe: what was started is then ended.

        Raises:
            SpawnError: it cannot be started; the message says why.
            TransportError: where it is to run cannot be reached.
        """

    async def close(self, within_s: float) -> None:
        """Let go of everything; commands that still run are ended."""
