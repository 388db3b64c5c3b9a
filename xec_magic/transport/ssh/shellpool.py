"""`WaitingShells`: the shells that wait on one host, and which are started and ended."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from xec_magic.errors import SpawnError, TransportError
from xec_magic.transport.ssh.hosts import Host
from xec_magic.transport.ssh.waiting import Kind, WaitingShell, waiting_line
from xec_magic.transport.warmpool import Demand, Idle, step
from xec_magic.transport.worker import PoolEntry

__all__ = ["WaitingShells"]

BOUND: Final = 4  # waiting shells on a host; each holds one of the channels that its server gives
EARLY_ENDS: Final = 3  # where shells end before they are used, so often in a row, none are started ahead any more
FULL_S: Final = 1.0  # where no channel is free, look again after so long
REST_S: Final = 60.0  # after channels were wanted by others


class WaitingShells:
    """All of them on one host. All methods run on the loop's thread.

    Args:
        host: Where they are.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.idle: list[WaitingShell] = []
        self.served = 0
        self._kinds: dict[int, Kind] = {}
        self._used_at: dict[int, float] = {}
        self._reserved: dict[int, int] = {}
        self._starting: list[int] = []
        self._numbers = 0
        self._early = 0
        self._rest_until = 0.0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        host.links.pressed.append(self.make_room)
        host.lingering.add(self.end_idle)

    # -- what commands take ---------------------------------------------------------------------------

    def take(self, kind: Kind) -> WaitingShell | None:
        """The youngest one of a kind; None where there is none. Others for later commands are started."""
        self._used_at[self._number_of(kind)] = time.monotonic()
        found = next((shell for shell in reversed(self.idle) if shell.kind == kind and shell.lost is None), None)
        if found is not None:
            self.idle.remove(found)
            self.served += 1
            self._early = 0
        self.look_soon()
        return found

    def look_soon(self) -> None:
        """Look whether shells are missing; called when a command has begun."""
        self._look_at(time.monotonic())

    async def make(self, kind: Kind) -> WaitingShell:
        """Start one now.

        Raises:
            TransportError: the host cannot be reached, or keeps no shell.
        """
        self._numbers += 1
        number, line = self._numbers, waiting_line(kind)
        shell, lease = await self.host.run(lambda: WaitingShell(number, kind, line), line)
        shell.lease = lease

        def lost() -> None:
            self.host.give_back(lease, ran=True)
            if shell in self.idle:
                self.idle.remove(shell)
                self._early += 1
                self.look_soon()

        shell.on_lost = lost
        if shell.lost is not None:
            lost()
        try:
            await shell.ready(str(self.host.target))
        except SpawnError as error:
            raise SpawnError(f"{error} (its start-up text, rc, was read before)" if kind.rc else str(error)) from error
        except BaseException:
            shell.close()
            raise
        return shell

    def _number_of(self, kind: Kind) -> int:
        number = next((number for number, known in self._kinds.items() if known == kind), 0)
        if not number:
            self._numbers += 1
            number = self._numbers
            self._kinds[number] = kind
        return number

    # -- keeping them ---------------------------------------------------------------------------------

    def reserve(self, kind: Kind, size: int) -> None:
        """Keep so many more of a kind; fewer with a negative number. Half of the host's channels stay for other commands."""
        number = self._number_of(kind)
        self._reserved[number] = self._reserved.get(number, 0) + size
        self._used_at[number] = time.monotonic()
        self._look()

    def _most(self) -> int:
        limits = self.host.book.limits
        return max(1, limits.connections * limits.channels // 2)

    def _look_at(self, when: float) -> None:
        if self._closed:
            return
        loop = asyncio.get_running_loop()  # whose clock is the monotonic one
        if self._timer is None or when < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(when, self._look)

    def _look(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = time.monotonic()
        demands = [
            Demand(number, self._used_at.get(number, 0.0), min(self._reserved.get(number, 0), self._most()) or None)
            for number in self._kinds
        ]
        idle = [Idle(shell.number, self._number_of(shell.kind), shell.born_at) for shell in self.idle]
        done = step(demands, idle, starting=self._starting, bound=BOUND, now=now)
        for shell in [shell for shell in self.idle if shell.number in done.end]:
            self._let_go(shell)
        for number in done.forget:
            del self._kinds[number]
            self._used_at.pop(number, None)
            self._reserved.pop(number, None)
        for number in done.start if now >= self._rest_until and self._early < EARLY_ENDS else ():
            self._starting.append(number)
            task = asyncio.get_running_loop().create_task(self._add(number, self._kinds[number]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if done.next_at is not None:
            self._look_at(max(done.next_at, now + 0.01))

    async def _add(self, number: int, kind: Kind) -> None:
        try:
            # A channel that no command wants, on a connection that is there: for more than that a command is needed.
            if not self.host.has_room:
                self._look_at(time.monotonic() + FULL_S)
                return
            shell = await self.make(kind)
        except TransportError:
            self._early += 1  # the command that needs it is started by itself, and says why that does not work
        else:
            if self._closed or time.monotonic() < self._rest_until:
                shell.close()
            elif shell.lost is None:
                self.idle.append(shell)
        finally:
            self._starting.remove(number)

    def _let_go(self, shell: WaitingShell) -> None:
        self.idle.remove(shell)
        shell.close()

    def make_room(self) -> None:
        """Commands wait for channels: give them these, and take no more for a while."""
        if self.idle or self._starting:
            self._rest_until = time.monotonic() + REST_S
            for shell in [*self.idle]:
                self._let_go(shell)

    def end_idle(self) -> None:
        """End those that wait; later commands bring new ones."""
        for number in self._kinds:
            if not self._reserved.get(number):
                self._used_at.pop(number, None)
        for shell in [*self.idle]:
            self._let_go(shell)

    def pool(self) -> list[PoolEntry]:
        """They, for a table."""
        now = time.monotonic()
        return [
            PoolEntry(
                "worker", "", f"{' '.join(shell.kind.shell) or 'sh'} on {self.host.target}", None, "idle", 0,
                now - shell.born_at, now - shell.born_at,
            )
            for shell in self.idle
        ]  # fmt: skip

    def close(self) -> None:
        """End all of them, and start no more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        self.end_idle()

    def __repr__(self) -> str:
        return f"<WaitingShells on {self.host.target}: {len(self.idle)} idle, {self.served} served>"
