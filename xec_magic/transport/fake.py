"""A scripted transport: commands that run nowhere and do exactly what a test or an example tells them to.

Example:
    >>> import xec_magic as xec
    >>> from xec_magic.transport.fake import FakeHost, Say, Wait, Exit
    >>> host = FakeHost("db1")
    >>> host.on("uptime", Say("up 3 days\\n"), Exit(0))
    >>> str(xec.run("uptime", target=host.target))
    'up 3 days'
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import signal
from dataclasses import dataclass
from typing import Final, TypeAlias
from weakref import WeakValueDictionary

from xec_magic.command import Target
from xec_magic.errors import SpawnError
from xec_magic.events import ProcessInfo, Sample, Stream
from xec_magic.transport.base import ExitStatus, Process, Sampler, StartRequest

__all__ = ["Exit", "FakeHost", "FakeProcess", "Ignore", "Refuse", "Say", "Step", "Use", "Wait", "transport_of"]


@dataclass(frozen=True, slots=True)
class Say:
    """Print text or bytes on a stream."""

    data: str | bytes
    stream: Stream = "stdout"


@dataclass(frozen=True, slots=True)
class Wait:
    """Let time pass; signals are heard meanwhile."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Ignore:
    """From now on ignore these signals, by number."""

    signals: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Exit:
    """End with an exit code; with `left_behind` a child of that name goes on and holds the streams."""

    code: int = 0
    left_behind: str = ""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Do not start at all."""

    reason: str


@dataclass(frozen=True, slots=True)
class Use:
    """From now on a sample of the command says this; before the first one there is nothing to read."""

    cpu_s: float | None = None
    rss_bytes: int | None = None


Step: TypeAlias = Say | Wait | Ignore | Exit | Refuse | Use

_HOSTS: Final[WeakValueDictionary[str, FakeHost]] = WeakValueDictionary()
_PIDS: Final = itertools.count(4_000_001)  # above any real one


class FakeHost:
    """A place where commands do what they were told. Keep a reference to it while it is used.

    Attributes:
        target: Give this as the target of a command.
        started: The scripts that were started, in order.
    """

    def __init__(self, name: str) -> None:
        self.target = Target("fake", name)
        self.started: list[str] = []
        self._scripts: list[tuple[re.Pattern[str], list[tuple[Step, ...]]]] = []
        _HOSTS[name] = self

    def on(self, pattern: str, *steps: Step) -> None:
        """Tell what commands that match a regular expression do. Several for one pattern: one for each start in turn,
        the last one for all further starts.
        """
        for known, scripts in self._scripts:
            if known.pattern == pattern:
                scripts.append(steps)
                return
        self._scripts.append((re.compile(pattern), [steps]))

    async def start(self, request: StartRequest) -> Process:
        """Start a command.

        Raises:
            SpawnError: nothing is told for it, or it was told to refuse.
        """
        for fd in (request.stdin_fd, request.stdout_fd):
            if (
                fd is not None
            ):  # it neither reads nor writes a pipe; one that stayed open would keep the other end waiting
                os.close(fd)
        script = request.command.script
        for pattern, scripts in self._scripts:
            if pattern.search(script):
                steps = scripts.pop(0) if len(scripts) > 1 else scripts[0]
                break
        else:
            raise SpawnError(f"{self.target.name} was not told what this does: {request.command.title()}")
        for step in steps:
            if isinstance(step, Refuse):
                raise SpawnError(step.reason)
        self.started.append(script)
        return FakeProcess(request, steps)

    async def close(self, within_s: float) -> None:
        """Nothing to let go of."""

    def __repr__(self) -> str:
        return f"<FakeHost {self.target.name}, {len(self.started)} started>"


class FakeProcess:
    """A command that follows its steps."""

    def __init__(self, request: StartRequest, steps: tuple[Step, ...]) -> None:
        self.pid: int = next(_PIDS)
        self.started_at = asyncio.get_running_loop().time()
        self.exit: ExitStatus | None = None
        self.streams_open = True
        self.signals: list[int] = []
        self._request = request
        self._ignored: tuple[int, ...] = ()
        self._reading = asyncio.Event()
        self._reading.set()
        self._child = ""
        self._use: Use | None = None
        self._task = asyncio.get_running_loop().create_task(self._go(steps))

    async def _go(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            match step:
                case Say(data=data, stream=stream):
                    await self._reading.wait()
                    self._request.sink(stream, data.encode() if isinstance(data, str) else data)
                case Wait(seconds=seconds):
                    await asyncio.sleep(seconds)
                case Ignore(signals=signals):
                    self._ignored = signals
                case Exit(code=code, left_behind=child):
                    self._child = child
                    self._end(ExitStatus(code, None))
                    return
                case Use():
                    self._use = step
                case Refuse():
                    pass
        self._end(ExitStatus(0, None))

    def _end(self, status: ExitStatus) -> None:
        self.exit = self.exit or status
        self.streams_open = bool(self._child)
        self._request.changed()

    def pause(self) -> None:
        """Stop reading; the command waits in its next `Say`."""
        self._reading.clear()

    def resume(self) -> None:
        """Read again."""
        self._reading.set()

    def send_signal(self, number: int) -> None:
        """Signal the command; it ends, unless it ignores that signal."""
        self.signals.append(number)
        if number in self._ignored and number != signal.SIGKILL:
            return
        self._child = ""
        self._task.cancel()
        self._end(ExitStatus(None, number))

    def alive(self) -> list[ProcessInfo]:
        """The command itself while it runs, then the child it left behind."""
        if self.exit is None:
            return [ProcessInfo(self.pid, "fake")]
        return [ProcessInfo(self.pid + 1, self._child)] if self._child else []

    def sampler(self, rate_hz: float) -> Sampler:  # noqa: ARG002 - it says what it was told at any rate
        """What says the last `Use`."""
        return _FakeSampler(self)

    def use(self) -> Sample | None:
        """A sample, as told."""
        if self.exit is not None:
            return None
        told = self._use or Use()
        now = asyncio.get_running_loop().time()
        return Sample(self._request.run_id, now, told.cpu_s, told.rss_bytes, processes=1)

    def close(self) -> None:
        """Let go of the streams."""
        self.streams_open = False
        self._task.cancel()


class _FakeSampler:
    cost_s = 0.0
    share = 1.0
    size: tuple[int, int] | None = None

    def __init__(self, process: FakeProcess) -> None:
        self._process = process

    async def sample(self) -> Sample | None:
        return self._process.use()

    def close(self) -> None:
        pass


def transport_of(target: Target) -> FakeHost:
    """The fake host of this name.

    Raises:
        SpawnError: there is none, or nobody holds it any more.
    """
    host = _HOSTS.get(target.name)
    if host is None:
        raise SpawnError(f"there is no fake host {target.name!r}; make one with FakeHost({target.name!r}) and keep it")
    return host
