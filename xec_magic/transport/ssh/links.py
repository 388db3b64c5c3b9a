"""`Links`: the connections to one host. What the book decides is done here, and what happens here is told to the book."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import asyncssh

from xec_magic.command import Target
from xec_magic.errors import ConnectError, PoolTimeout, TransportError
from xec_magic.transport.pool import Close, Drop, Fail, Give, Ledger, Open, PoolLimits, Prepare
from xec_magic.transport.ssh.ahead import Ahead, Unknown
from xec_magic.transport.ssh.connect import Connector
from xec_magic.transport.ssh.connection import Connection, Lease
from xec_magic.transport.ssh.shellahead import Shells

__all__ = ["Crowd", "Links", "Row"]

USELESS: Final = 3  # connections in a row that were closed before they carried anything
USELESS_S: Final = 2.0  # after the login; later it is an idle one that is closed
CLOSE_S: Final = 1.0  # a connection that was cut is gone at the loop's next turn
MOST: Final = 16  # hosts with channels that were opened ahead: for a large fleet they would cost more than they save


class Crowd:
    """What waits ahead on all hosts together: only so many have something."""

    def __init__(self) -> None:
        self.shells: set[Ahead] = set()
        self._links: set[Links] = set()

    def lets(self, links: Links) -> bool:
        """Whether a host may have channels opened ahead."""
        return links in self._links or len(self._links) < MOST

    def count(self, links: Links, has: bool) -> None:
        """A host has some, or has none any more."""
        if has:
            self._links.add(links)
        else:
            self._links.discard(links)


@dataclass(frozen=True, slots=True)
class Row:
    """A connection as a table shows it."""

    host: str
    state: str
    busy: int
    limit: int
    ahead: int
    commands: int
    reused: int
    saved_s: float
    age_s: float
    idle_s: float | None


class Links:
    """The connections to one target, and whoever waits for a channel on one of them.

    Args:
        target: Where they lead.
        connector: Opens them.
        limits: How many there may be, and for how long.
        rests: Nothing runs there that could change what a login finds.
        crowd: What waits ahead on all hosts.

    Attributes:
        pressed: Called when commands wait for channels.
    """

    def __init__(
        self,
        target: Target,
        connector: Connector,
        limits: PoolLimits,
        rests: Callable[[], bool],
        crowd: Crowd,
    ) -> None:
        self.target = target
        self.book = Ledger(limits)
        self.connections: dict[int, Connection] = {}
        self.shells = Shells(self.connections, rests, self._drop, self.step, crowd.shells)
        self._crowd = crowd
        self.pressed: list[Callable[[], None]] = []
        self._connector = connector
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, asyncio.Future[Lease]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._useless = 0

    def wait(self, ticket: int) -> asyncio.Future[Lease]:
        """What gets the channel, or the error, that the book has for a ticket."""
        future = self._waiting[ticket] = self._loop.create_future()
        return future

    def forget(self, ticket: int) -> None:
        """Nobody waits with this ticket any more."""
        self._waiting.pop(ticket, None)
        self.book.forget(ticket)

    def step(self) -> None:
        """Do what the book says now."""
        now = self._loop.time()
        for number, connection in [*self.connections.items()]:
            if not connection.is_open:
                self._gone(number)
            elif connection.ahead:
                self.book.shells_wait(number, sum(ahead.has_shell for ahead in connection.ahead))
        for action in self.book.step(now, prepare=self._crowd.lets(self)):
            match action:
                case Open(number=number):
                    self._spawn(self._open(number))
                case Close(number=number):
                    connection = self.connections.pop(number)
                    connection.asyncssh.close()
                case Give(ticket=ticket, number=number, ahead=ahead):
                    connection = self.connections[number]
                    lease = Lease(ticket, connection, connection.take_ahead() if ahead else None)
                    future = self._waiting.get(ticket)
                    if future is None or future.done():
                        lease.unused()
                        self.book.give_back(number, now)
                    else:
                        future.set_result(lease)
                        self.shells.command_begins()
                case Prepare(number=number):
                    self._prepare(self.connections[number])
                case Drop(number=number):
                    connection = self.connections[number]
                    while connection.ahead:
                        connection.ahead.popleft().let_go()
                case Fail(ticket=ticket, error=error):
                    future = self._waiting.get(ticket)
                    if future is not None and not future.done():
                        future.set_exception(error)
        if self.book.waiting:
            for call in self.pressed:
                self._loop.call_soon(call)
        self._crowd.count(self, any(connection.ahead for connection in self.connections.values()))
        self._wake_at(self.book.next_at(now))

    def spare(self, connection: Connection, *, any_kind: bool = False) -> Ahead | None:
        """A channel of a connection that is open already, without a shell, or rather so; None where there is none."""
        spare = [ahead for ahead in connection.ahead if ahead.is_open and (any_kind or not ahead.has_shell)]
        found = min(spare, key=lambda ahead: ahead.has_shell, default=None)
        if found is not None:
            connection.ahead.remove(found)
            self.book.ahead_gone(connection.number)
        return found

    def _prepare(self, connection: Connection) -> None:
        """Open a channel ahead."""
        connection.ahead.append(Ahead(connection.asyncssh, partial(self._prepared, connection)))

    def _prepared(self, connection: Connection, ahead: Ahead) -> None:
        error = ahead.error
        if isinstance(error, Unknown):
            self.book.limits = replace(self.book.limits, ahead=0)
        if ahead not in connection.ahead:
            return  # whoever was given it is told by himself
        if error is None:
            self.shells.let_wait()
            return
        connection.ahead.remove(ahead)
        if isinstance(error, asyncssh.ChannelOpenError) and connection.is_open:
            self.book.ahead_refused(connection.number, self._loop.time())
        else:
            self.book.ahead_gone(connection.number)
        self.step()

    def _wake_at(self, time: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if time is None else self._loop.call_at(time + 0.001, self.step)

    def _spawn(self, coroutine: Any) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self, number: int) -> None:
        try:
            opened = await self._connector.open(self.target)
        except asyncio.CancelledError:
            self.book.failed(number, ConnectError(f"{self.target}: connecting was given up"), self._loop.time())
            raise
        except Exception as error:  # noqa: BLE001 - whoever waits gets it
            known = (
                error
                if isinstance(error, TransportError)
                else ConnectError(f"{self.target}: cannot connect: {error!r}")
            )
            self.book.failed(number, known, self._loop.time())
        else:
            self.connections[number] = Connection(number, opened)
            self.book.opened(number, self._loop.time())
            self._spawn(self._watch(number, opened.connection))
        self.step()

    async def _watch(self, number: int, connection: asyncssh.SSHClientConnection) -> None:
        await connection.wait_closed()
        if number in self.connections:
            self._gone(number)
            self.step()

    def _gone(self, number: int) -> None:
        """A connection is lost. One that has never carried anything is opened again; a server that closes each of them is not asked for ever."""
        del self.connections[number]
        link = self.book.links.get(number)
        now = self._loop.time()
        useless = link is not None and not link.served and now < link.opened_at + USELESS_S
        self._useless = self._useless + 1 if useless else 0
        error = self.closed_at_once
        if error is None:
            self.book.lost(number)
        else:
            self.book.failed(number, error, now)

    @property
    def closed_at_once(self) -> ConnectError | None:
        """What is wrong where the server lets us in and then closes every connection; None where it does not."""
        if self._useless < USELESS:
            return None
        return ConnectError(
            f"{self.target}: it lets us in and closes the connection before anything runs, {USELESS} times in a row; its log "
            "knows why (a limit of logins, a ChrootDirectory that is not there)"
        )

    def _drop(self, connection: Connection, ahead: Ahead) -> None:
        """Close a channel that was opened ahead, if nobody has got it; there may be another one later."""
        if ahead in connection.ahead:
            connection.ahead.remove(ahead)
            ahead.let_go()
            self.book.ahead_gone(connection.number)
            self.step()

    def rows(self) -> list[Row]:
        """Its connections, for a table."""
        now = self._loop.time()
        rows = []
        for number, link in self.book.links.items():
            connection = self.connections.get(number)
            commands = connection.commands if connection is not None else 0
            reused = max(0, commands - 1)
            rows.append(Row(
                self.target.name, link.state, link.busy, link.limit, link.ahead, commands, reused,
                reused * connection.handshake_s if connection is not None else 0.0,
                now - (link.opened_at or link.asked_at), None if link.busy or link.state == "opening" else now - link.idle_since,
            ))  # fmt: skip
        return rows

    async def close(self) -> None:
        """Cut all connections now, and wait until they are gone."""
        self.book.draining = True
        self._crowd.count(self, False)
        self.shells.close()
        if self._timer is not None:
            self._timer.cancel()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(PoolTimeout(f"{self.target}: the pool is closed"))
        for connection in self.connections.values():
            connection.asyncssh.abort()
        ending = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in ending:
            task.cancel()
        if ending:
            await asyncio.wait(ending, timeout=CLOSE_S)
