"""`Host`: what runs on one host, each on a channel of its own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

import asyncssh

from xec_magic.command import Target
from xec_magic.errors import ConnectError, PoolTimeout, SpawnError
from xec_magic.transport.pool import PoolLimits
from xec_magic.transport.ssh.ahead import Gone
from xec_magic.transport.ssh.connect import Connector
from xec_magic.transport.ssh.connection import Connection, Lease
from xec_magic.transport.ssh.helper import Collected, collect
from xec_magic.transport.ssh.links import Crowd, Links
from xec_magic.transport.ssh.quoted import quoted
from xec_magic.transport.ssh.remote import Launch, facts_line, read_answer
from xec_magic.units import format_duration

__all__ = ["Host"]

KEPT_LOOK_S: Final = 1.0
KEPT_LOOKS: Final = 10  # so often nothing but what is kept had the channels: none becomes free by itself
HELPERS: Final = 2  # short helper commands on one host at once: each takes one of the server's few channels
HELPER_S: Final = 5.0


S = TypeVar("S", bound=asyncssh.SSHClientSession[bytes])


class Host:
    """All that runs on one target.

    Args:
        target: Where they lead.
        connector: Opens them.
        limits: How many there may be, and for how long.
        crowd: What waits ahead on all hosts.
    """

    def __init__(self, target: Target, connector: Connector, limits: PoolLimits, crowd: Crowd) -> None:
        self.target = target
        self.has_bash: bool | None = None
        self.links = Links(target, connector, limits, self._rests, crowd)
        self.book = self.links.book
        self.lingering: set[Callable[[], None]] = set()  # what else holds a channel and would never give it back
        self._connector = connector
        self._loop = asyncio.get_running_loop()
        self._tickets: Iterator[int] = itertools.count(1)
        self._helpers = asyncio.Semaphore(HELPERS)
        self._kept: set[int] = set()  # tickets of what is no command, but stays
        self._occupied = 0  # commands that run on what stays

    @property
    def has_room(self) -> bool:
        """There is a channel that no command waits for."""
        now = self._loop.time()
        return not self.book.waiting and any(link.has_room(now) for link in self.book.links.values())

    # -- channels for commands ---------------------------------------------------------------------------

    async def lease(self, timeout_s: float | None = None) -> Lease:
        """Wait for a free channel; first come, first served. Cancelling leaves the queue.

        Raises:
            TransportError: the host cannot be reached, or the pool is drained.
            PoolTimeout: nothing was free in time.
        """
        if self.book.draining:
            raise PoolTimeout(f"{self.target}: its connections are being drained; no further command is taken")
        ticket = next(self._tickets)
        future = self.links.wait(ticket)
        self.book.ask(ticket)
        self.links.step()
        return await self._granted(ticket, future, timeout_s)

    async def _granted(self, ticket: int, future: asyncio.Future[Lease], timeout_s: float | None) -> Lease:
        taken = False
        try:
            # Not `wait_for`: that of Python 3.11 passes over a cancellation that comes together with what is waited for.
            async with asyncio.timeout(timeout_s):
                lease = await self._in_turn(future)
            taken = True
            return lease
        except TimeoutError:
            busy = sum(link.busy for link in self.book.links.values())
            raise PoolTimeout(
                f"{self.target}: no channel became free within {format_duration(timeout_s or 0)}; {busy} in use, "
                f"{len(self.book.waiting)} wait"
            ) from None
        finally:
            self.links.forget(ticket)
            if not taken and future.done() and not future.cancelled() and future.exception() is None:
                future.result().unused()
                self.give_back(future.result())  # granted in the moment in which nobody wanted it any more

    async def _in_turn(self, future: asyncio.Future[Lease]) -> Lease:
        """Wait for a channel as long as one may become free: what is kept, as a session is, holds its own until somebody ends it."""
        looks = 0
        while not future.done():
            await asyncio.wait([future], timeout=KEPT_LOOK_S)
            looks = looks + 1 if self._all_is_kept() else 0
            if looks >= KEPT_LOOKS and not future.done():
                raise PoolTimeout(
                    f"{self.target}: sessions, monitors or tunnels hold all of its {len(self._kept)} channels; end some of them "
                    "(%xec_pool lists them, %xec_pool stop NAME ends a session)"
                )
        return future.result()

    def _all_is_kept(self) -> bool:
        links = self.book.links.values()
        return 0 < sum(link.busy for link in links) <= len(self._kept) and all(
            link.state != "opening" for link in links
        )

    async def again(self, lease: Lease, error: Exception, timeout_s: float | None = None) -> Lease:
        """The server refused this channel: wait for another one, before all others."""
        closed = self.links.closed_at_once
        if closed is not None and not self.book.links:
            raise closed from error  # it was no refusal, and a further connection would end like the last ones
        future = self.links.wait(lease.ticket)
        refusal = ConnectError(f"{self.target}: the server opens no channel for a command: {_reason(error)}")
        self.book.refused(lease.connection.number, lease.ticket, refusal, self._loop.time())
        self.links.step()
        return await self._granted(lease.ticket, future, timeout_s)

    def other(self, lease: Lease) -> Lease:
        """The channel that was opened ahead for it is gone, or has a shell that cannot run it: another one, or one to be opened."""
        return replace(lease, ahead=self.links.spare(lease.connection))

    def confirmed(self, lease: Lease, *, command: bool = True) -> None:
        """A command runs on it, or something else that keeps the channel."""
        self.book.confirmed(lease.connection.number)
        if not command:
            self._kept.add(lease.ticket)
        lease.connection.commands += command
        lease.connection.count(+1)

    async def run(self, make: Callable[[], S], launch: Launch) -> tuple[S, Lease]:
        """Run a line that is no command, but stays; whoever has the session gives the lease back when that ends.

        Args:
            make: Gives a session for each attempt.
            launch: What to run.

        Raises:
            TransportError: the host cannot be reached, or runs nothing.
        """
        lease, replaced = await self.lease(), False
        while True:
            session = make()
            opening = asyncio.ensure_future(lease.connection.run(session, launch, lease.ahead, typed=False))
            try:
                await asyncio.shield(opening)
            except asyncssh.ChannelOpenError as error:
                if error.code == asyncssh.OPEN_REQUEST_SESSION_FAILED:
                    self.give_back(lease)
                    raise SpawnError(f"{self.target}: the server runs no commands for this user") from error
                lease = await self.again(lease, error)
            except Gone:
                lease = self.other(lease)
            except (asyncssh.Error, OSError) as error:
                self.give_back(lease)
                if replaced:
                    raise ConnectError(f"{self.target}: the connection was lost: {_reason(error)}") from error
                lease, replaced = await self.lease(), True
            except asyncio.CancelledError:
                opening.add_done_callback(partial(self._given_up, lease, session))
                raise
            else:
                self.confirmed(lease, command=False)
                return session, lease

    def _given_up(self, lease: Lease, session: Any, opening: asyncio.Future[None]) -> None:
        if not opening.cancelled() and opening.exception() is None:
            session.channel.abort()
        self.give_back(lease)

    def give_back(self, lease: Lease, *, ran: bool = False) -> None:
        """Its command has ended."""
        if ran:
            lease.connection.count(-1)
        self.book.give_back(lease.connection.number, self._loop.time())
        self.links.step()
        if lease.ticket in self._kept:
            self._kept.discard(lease.ticket)
        elif ran:
            self.links.shells.command_ends()

    def occupy(self, step: int) -> None:
        """A command begins or ends on something that stays, as a session."""
        self._occupied += step
        if step < 0:
            self.links.shells.stir()

    def stir(self) -> None:
        """Something may change what a login finds, or has done so."""
        self.links.shells.stir()

    def shells_fail(self) -> None:
        """A shell that waited has ended without having read what was typed: none is tried again."""
        self.links.shells.fail()

    def _rests(self) -> bool:
        """Nothing runs that could change what a login finds, and what one finds is known."""
        busy = sum(link.busy for link in self.book.links.values()) - len(self._kept) + self._occupied
        return not busy and self.has_bash is not None

    async def knows_bash(self) -> bool:
        """Whether bash is there; asks, if no command has told yet."""
        if self.has_bash is None:
            asked = facts_line()
            self.has_bash = read_answer((await self.helper(asked)).stdout, asked.mark) == "bash"
        return self.has_bash

    # -- helpers -------------------------------------------------------------------------------------------

    async def helper(self, launch: Launch, data: bytes = b"", seconds: float = HELPER_S) -> Collected:
        """Run a short helper command, also where all channels are in use or the connection has been lost.

        Raises:
            TransportError: the host cannot be reached, or does not answer in time.
        """
        async with self._helpers:
            for connection in [*self.links.connections.values()]:
                if connection.is_open:
                    with contextlib.suppress(asyncssh.Error, OSError, TimeoutError):
                        # No `wait_for`, which passes over a cancellation that comes together with the answer.
                        async with asyncio.timeout(seconds):
                            found = await collect(connection, launch, data, self.links.spare(connection, any_kind=True))
                        if found.exit_code is not None:
                            return found
            try:
                async with asyncio.timeout(2 * seconds):
                    if not self.links.connections and not self.book.draining:
                        with contextlib.suppress(asyncssh.ChannelOpenError):  # others that came meanwhile have them all
                            return await self._helper_on_lease(launch, data)
                    opened = await self._connector.open(self.target)
                    try:
                        return await collect(Connection(0, opened), launch, data)
                    finally:
                        opened.connection.abort()
            except TimeoutError as error:
                raise ConnectError(f"{self.target}: it does not answer") from error
            except (asyncssh.Error, OSError) as error:
                raise ConnectError(f"{self.target}: it cannot be asked: {_reason(error)}") from error

    async def _helper_on_lease(self, launch: Launch, data: bytes) -> Collected:
        lease = await self.lease()
        try:
            return await collect(lease.connection, launch, data, lease.ahead)
        finally:
            self.give_back(lease)

    # -- the whole -------------------------------------------------------------------------------------------

    async def warm(self) -> None:
        """Open a connection ahead, if there is none."""
        lease = await self.lease()
        lease.unused()
        self.give_back(lease)

    def retire(self) -> tuple[int, int]:
        """Close what nothing runs on, the others when their last command ends; later commands connect anew.

        Returns:
            How many were closed, and how many will be.
        """
        before = len(self.book.links)
        self.book.retire()
        self.links.step()
        return before - len(self.book.links), len(self.book.links)

    def begin_drain(self) -> None:
        """Take no further command, and close each connection when its last one has ended."""
        for let_go in [*self.lingering]:
            let_go()
        self.book.drain()
        self.links.step()

    async def drain(self) -> None:
        """Take no further command, wait for those that run, close all. Cancelling closes nothing."""
        self.begin_drain()
        while self.book.links:
            await asyncio.sleep(0.02)
            self.links.step()
        self.book.draining = False

    async def close(self) -> None:
        """Cut all connections now, and wait until they are gone."""
        await self.links.close()


def _reason(error: BaseException) -> str:
    return quoted(getattr(error, "reason", "") or error or type(error).__name__).lower()
