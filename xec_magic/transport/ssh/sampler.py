"""`HostSampler`: what a command on a host, or the whole host, uses, read over a channel of the same connections."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import asyncssh

from xec_magic.errors import ConnectError, TransportError
from xec_magic.events import Sample
from xec_magic.transport.base import Unreadable
from xec_magic.transport.sampling.since import less
from xec_magic.transport.ssh.connection import Lease
from xec_magic.transport.ssh.hosts import Host
from xec_magic.transport.ssh.quoted import quoted
from xec_magic.transport.ssh.reading import Answer, Units, read_answer_line, read_head
from xec_magic.transport.ssh.remote import Launch

__all__ = ["HostSampler"]

SHARE: Final = 0.01  # of one core there, at most
SILENCE_S: Final = 30.0  # a host that takes longer to answer is not being watched
LEAST_COUNTED: Final = 4  # samples before their cost is known: the host counts it in hundredths of a second
SETTLING: Final = 2  # answers that tell how the clocks stand
SHIFT_S: Final = 1.0  # by which the clocks may come apart before they are set anew
LEAST_S: Final = 0.03  # between two samples: the host counts time in hundredths, and no rate can be made of a moment
CHATTER_BYTES: Final = 65536  # of a login that never comes to its point


class HostSampler:
    """Asks a loop on a host for one line at a time. All methods are called on the loop's thread.

    Args:
        host: The connections to it.
        launch: The line that starts the loop.
        run_id: Of the run whose samples they are; empty for none.
        since: Nothing was there before, by our monotonic clock.
        lingers: It ends by itself only; connections that are drained do not wait for it.
        before: Says what had been used before, when the first answer has come; where it gives None the counters count from
            that answer on. Without it they count from the begin.
    """

    def __init__(
        self, host: Host, launch: Launch, run_id: str, since: float = 0.0, *, lingers: bool = False,
        before: Callable[[], Sample | None] | None = None,
    ) -> None:  # fmt: skip
        self.share = SHARE
        self.size: tuple[int, int] | None = None
        self._host = host
        self._launch = launch
        self._run_id = run_id
        self._at = since
        self._lingers = lingers
        self._before = before
        self._from: Sample | None = None
        self._told = -math.inf  # the last sample's time, by the host's clock
        self._lines: _Lines | None = None
        self._lease: Lease | None = None
        self._units: Units | None = None
        self._offset = math.inf  # of our clock to the host's
        self._count = 0
        self._spent_s = 0.0
        self._closed = False

    @property
    def cost_s(self) -> float:
        """CPU seconds that a sample takes on the host, on average."""
        return self._spent_s / self._count if self._count >= LEAST_COUNTED else 0.0

    async def sample(self) -> Sample | None:
        """What is used now; None when the command is gone. Cancelling is safe, and ends the sampler's usefulness.

        Raises:
            Unreadable: the host has nothing to read it from.
            ConnectError: the connection was lost, or the host fell silent.
            TransportError: it cannot be reached.
        """
        if self._lines is None:
            await self._open()
            # The first answer is slow, for all has to be found there: it says how the clocks stand, and no more.
            if await self._answer() is None:
                return None
        answer = await self._answer()
        if answer is not None and answer.sample.at < self._told + LEAST_S:
            await asyncio.sleep(LEAST_S)
            answer = await self._answer()
        if answer is None:
            return None
        self._told = answer.sample.at
        # Between two samples it is the host's own clock that counts: rates are made of it.
        self._at = max(self._at + 1e-6, min(time.monotonic(), answer.sample.at + self._offset))
        sample = replace(answer.sample, at=self._at)
        return less(sample, self._from) if self._from is not None else sample

    async def _answer(self) -> Answer | None:
        assert self._lines is not None
        assert self._units is not None
        line = await self._within(self._lines.ask())
        offset = time.monotonic()
        try:
            answer = read_answer_line(line, self._units, self._run_id)
        except ValueError as error:
            raise Unreadable(f"{self._host.target} cannot be watched: {error}") from None
        if answer is None:
            return None
        self._count += 1
        self._spent_s = answer.cost_s
        if answer.cores and answer.memory_bytes:
            self.size = answer.cores, answer.memory_bytes
        if self._before is not None and self._from is None:
            self._from = self._before() or answer.sample
        offset -= answer.sample.at
        if offset < self._offset - (SHIFT_S if self._count > SETTLING else 0.0):
            self._offset = offset
        return answer

    async def _within(self, answer: asyncio.Future[str]) -> str:
        try:
            # Not `wait_for`: that of Python 3.11 passes over a cancellation that comes together with what is waited for.
            async with asyncio.timeout(SILENCE_S):
                return await answer
        except TimeoutError:
            raise ConnectError(f"{self._host.target} did not answer within {SILENCE_S:g} s") from None

    async def _open(self) -> None:
        mark, name = self._launch.mark, self._host.target.name
        lines, lease = await self._host.run(lambda: _Lines(mark, name), self._launch)
        self._lines, self._lease = lines, lease
        if self._lingers:
            self._host.lingering.add(self.drained)
        if self._closed:
            self.close()
        head = read_head(await self._within(lines.next()), str(self._host.target))
        if isinstance(head, str):
            raise Unreadable(head)
        self._units = head

    def drained(self) -> None:
        """Make room: the connections of the host are about to be closed."""
        if self._lines is not None:
            self._lines.why = "its connections are drained"
        self.close()

    def close(self) -> None:
        """End the loop on the host, and give the channel back."""
        self._closed = True
        self._host.lingering.discard(self.drained)
        lease, self._lease = self._lease, None
        if self._lines is not None:
            self._lines.abort()
        if lease is not None:
            self._host.give_back(lease, ran=True)

    def __repr__(self) -> str:
        return f"<HostSampler of {self._host.target}, {self._count} samples>"


class _Lines(asyncssh.SSHClientSession[bytes]):
    """The loop's side of the talk: a line for a line."""

    def __init__(self, mark: bytes, host: str) -> None:
        self._mark = mark
        self._host = host
        self._held = b""
        self._began = False
        self._next: asyncio.Future[str] | None = None
        self._lost: TransportError | None = None
        self._said = b""
        self.why = ""  # it ends, where we know better
        self.channel: asyncssh.SSHClientChannel[bytes] | None = None

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """The channel is open."""
        self.channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Take output."""
        if datatype:
            self._said = (self._said + data)[-1024:]
            return
        self._held += data
        if not self._began:
            _, found, rest = self._held.partition(self._mark + b":")
            if not found:
                self._held = self._held[-CHATTER_BYTES:]
                return
            self._began, self._held = True, rest
        self._give()

    def _give(self) -> None:
        if self._next is not None and not self._next.done():
            line, newline, rest = self._held.partition(b"\n")
            if newline and self._began:
                self._held = rest
                self._next.set_result(line.decode("utf-8", "replace"))
            elif self._lost is not None:
                self._next.set_exception(self._lost)

    def next(self) -> asyncio.Future[str]:
        """The next line."""
        self._next = asyncio.get_running_loop().create_future()
        self._give()
        return self._next

    def ask(self) -> asyncio.Future[str]:
        """The next line, for one of ours."""
        if self.channel is not None and not self.channel.is_closing():
            with contextlib.suppress(OSError):  # then it is closed at once, which says so
                self.channel.write(b"\n")
        return self.next()

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed."""
        said = self._said.decode("utf-8", "replace").strip().splitlines()
        words = str(exc) if exc is not None and str(exc) else said[-1] if said else "what read it there has ended"
        why = self.why or quoted(words)
        self._lost = ConnectError(_lost(self._host, why))
        self._give()

    def abort(self) -> None:
        """Close the channel: its input ends, and with it the loop."""
        if self.channel is not None:
            self.channel.abort()


def _lost(host: str, why: str) -> str:
    return f"the connection to {host} was lost: {why[:1].lower() + why[1:].rstrip('.')}"
