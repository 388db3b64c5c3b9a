"""The books of one host's connections: who waits, who gets a channel, what is opened and closed. It decides, and does no I/O.

Whoever keeps such a book tells it what has happened, with the time, then calls `step` and does what that returns.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

__all__ = ["Action", "Close", "Drop", "Fail", "Give", "Ledger", "Link", "Open", "PoolLimits", "Prepare"]

# sshd allows 10 sessions a connection (MaxSessions) and frees one later than we see its end: with 10 at once one in
# five is refused, with 6 none.
CHANNELS: Final = 6
MOST_CHANNELS: Final = 8
MORE_AFTER: Final = 200  # commands without a refusal after which one more channel is tried
FULL_S: Final = (0.02, 1.0)  # a connection that refused a channel rests so long, doubled for each refusal in a row
BACKOFF_S: Final = (0.1, 5.0)  # a host that could not be reached is tried again after so long, doubled each time
AHEAD: Final = 1  # channels opened ahead on a connection; while a command runs on it the next one is opened behind it
AHEAD_FROM: Final = 2  # commands on a connection: one that was used again is going to be used once more
AHEAD_S: Final = 60.0  # a channel opened ahead is closed when no command has come for so long
AHEAD_REST_S: Final = (1.0, 300.0)  # after a refusal none is tried for so long, doubled for each further one
REFUSALS: Final = 12  # in a row on a connection without any channel; then the host is not going to give one


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How many connections a host gets and how long they are kept.

    Attributes:
        connections: To one host at once.
        channels: On one connection, to begin with; learned from what the server refuses.
        idle_s: A further connection is closed when unused for so long; None keeps it.
        last_idle_s: The same for a host's last one.
        lifetime_s: A connection older than this gets no further command, and is closed when its last one ends.
        ahead: Channels that are opened before there are commands for them, on a connection that is in use.
    """

    connections: int = 4
    channels: int = CHANNELS
    idle_s: float | None = 60.0
    last_idle_s: float | None = 600.0
    lifetime_s: float | None = 3600.0
    ahead: int = AHEAD


@dataclass(slots=True)
class Link:
    """One connection, as the book sees it. `ahead` are channels without a command, those on their way included; on `shells` of them a
    shell waits.
    """

    number: int
    limit: int
    asked_at: float
    state: Literal["opening", "open", "retiring"] = "opening"
    opened_at: float = 0.0
    busy: int = 0
    idle_since: float = 0.0
    served: int = 0
    clean: int = 0
    refusals: int = 0
    refused_in_a_row: int = 0
    full_until: float = 0.0
    ahead: int = 0
    shells: int = 0
    given: int = 0
    used_at: float = 0.0
    ahead_refusals: int = 0
    no_ahead_until: float = 0.0

    def has_room(self, now: float) -> bool:
        """It can take one more command now."""
        return self.state == "open" and self.busy < self.limit and now >= self.full_until


@dataclass(frozen=True, slots=True)
class Open:
    """Open a connection and tell the book by `opened` or `failed`."""

    number: int


@dataclass(frozen=True, slots=True)
class Close:
    """Close a connection that nothing uses; the book has forgotten it."""

    number: int


@dataclass(frozen=True, slots=True)
class Give:
    """A waiting ticket gets a channel on this connection: one that was opened ahead, with a shell where one waits, or one to be opened."""

    ticket: int
    number: int
    ahead: bool = False


@dataclass(frozen=True, slots=True)
class Prepare:
    """Open a channel ahead on this connection; where that fails, tell the book by `ahead_refused` or `ahead_gone`."""

    number: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Close the channels that were opened ahead on this connection."""

    number: int


@dataclass(frozen=True, slots=True)
class Fail:
    """A waiting ticket gets this error."""

    ticket: int
    error: Exception


Action: TypeAlias = Open | Close | Give | Prepare | Drop | Fail


@dataclass
class Ledger:
    """The book of one host.

    Example:
        >>> book = Ledger(PoolLimits(channels=1))
        >>> book.ask(1)
        >>> book.step(now=0.0)
        [Open(number=1)]
        >>> book.opened(1, now=0.2)
        >>> book.step(now=0.2)
        [Give(ticket=1, number=1, ahead=False)]
    """

    limits: PoolLimits = field(default_factory=PoolLimits)
    links: dict[int, Link] = field(default_factory=dict)
    waiting: deque[int] = field(default_factory=deque)
    draining: bool = False
    _failed: list[Fail] = field(default_factory=list)
    _numbers: int = 0
    _failures: int = 0
    _not_before: float = 0.0

    # -- what has happened ----------------------------------------------------------------------

    def ask(self, ticket: int) -> None:
        """A command waits for a channel; first come, first served."""
        self.waiting.append(ticket)

    def forget(self, ticket: int) -> None:
        """It does not wait any longer; nothing if it did not wait."""
        if ticket in self.waiting:
            self.waiting.remove(ticket)

    def opened(self, number: int, now: float) -> None:
        """A connection is there."""
        link = self.links[number]
        link.state = "retiring" if self.draining else "open"
        link.opened_at = link.idle_since = now
        self._failures = 0

    def failed(self, number: int, error: Exception, now: float) -> None:
        """A connection could not be opened. Who waits gets the error, unless another connection will serve him."""
        self.links.pop(number, None)
        first, most = BACKOFF_S
        self._not_before = now + min(most, first * 2**self._failures)
        self._failures += 1
        if all(link.state == "retiring" for link in self.links.values()):  # which serve nobody any more
            self._failed += [Fail(ticket, error) for ticket in self.waiting]
            self.waiting.clear()

    def lost(self, number: int) -> None:
        """A connection is gone, with what ran on it."""
        self.links.pop(number, None)

    def refused(self, number: int, ticket: int, error: Exception, now: float) -> None:
        """The server refused a channel. The command is the first to get the next one; the limit is lowered."""
        link = self.links.get(number)
        if link is None:
            self.waiting.appendleft(ticket)
            return
        link.busy -= 1
        link.limit = max(1, link.limit - 1)
        link.clean = 0
        link.refusals += 1
        first, most = FULL_S
        link.full_until = now + min(most, first * 2**link.refused_in_a_row)
        link.refused_in_a_row += 1
        if link.busy == 0 and link.refused_in_a_row > REFUSALS:
            self._failed.append(Fail(ticket, error))
            return
        self.waiting.appendleft(ticket)

    def confirmed(self, number: int) -> None:
        """The server gave a channel."""
        link = self.links.get(number)
        if link is not None:
            link.refused_in_a_row = 0
            link.served += 1

    def give_back(self, number: int, now: float) -> None:
        """A command has ended, and its channel with it."""
        link = self.links.get(number)
        if link is None:
            return
        link.busy -= 1
        link.idle_since = now
        link.clean += 1
        if link.clean >= MORE_AFTER and link.limit < MOST_CHANNELS and not link.refusals:
            link.limit += 1
            link.clean = 0

    def shells_wait(self, number: int, count: int) -> None:
        """On so many of the channels that were opened ahead a shell waits; beside it a bare one is kept for the command that may not have it."""
        self.links[number].shells = count

    def ahead_gone(self, number: int) -> None:
        """A channel that was opened ahead has been closed, or was used for something else than a command."""
        link = self.links.get(number)
        if link is not None and link.ahead:
            link.ahead -= 1

    def ahead_refused(self, number: int, now: float) -> None:
        """The server refused a channel that nobody waits for: it has fewer than we thought, and is left alone for a while."""
        link = self.links.get(number)
        if link is None:
            return
        self.ahead_gone(number)
        if link.busy:  # where nothing runs it has channels, and only frees them late
            link.limit = max(1, link.limit - 1)
            link.clean = 0
            link.refusals += 1
        first, most = AHEAD_REST_S
        link.no_ahead_until = now + min(most, first * 2**link.ahead_refusals)
        link.ahead_refusals += 1

    def drain(self) -> None:
        """Give no more channels; close each connection when its last command has ended."""
        self.draining = True
        self.retire()

    def retire(self) -> None:
        """Give no more channels on the connections that are there; later commands get others."""
        for link in self.links.values():
            if link.state == "open":
                link.state = "retiring"

    # -- what is to be done -----------------------------------------------------------------------

    def step(self, now: float, *, prepare: bool = True) -> list[Action]:
        """All that is to be done now; the book counts it as done.

        Args:
            now: The time.
            prepare: Channels may be opened ahead.
        """
        actions: list[Action] = [*self._failed]
        self._failed.clear()
        actions += self._closings(now)
        while self.waiting:
            free = [link for link in self.links.values() if link.has_room(now)]
            if not free:
                break
            link = next((link for link in free if link.ahead), free[0])
            link.busy += 1
            link.given += 1
            link.used_at = now
            actions.append(Give(self.waiting.popleft(), link.number, ahead=link.ahead > 0))
            link.ahead -= link.ahead > 0
            link.shells -= link.shells > 0
        actions += self._openings(now)
        actions += self._preparations(now, prepare)
        return actions

    def _preparations(self, now: float, prepare: bool) -> list[Action]:
        """Channels to open ahead, and to close: only where no command wants the place."""
        actions: list[Action] = []
        for link in self.links.values():
            if link.state != "open":
                continue
            wanted = bool(link.busy) or now < link.used_at + AHEAD_S
            if link.ahead and not wanted:
                link.ahead = link.shells = 0
                actions.append(Drop(link.number))
            while (
                prepare
                and wanted
                and not self.waiting
                and not link.refused_in_a_row
                and link.given >= AHEAD_FROM
                and link.ahead < (self.limits.ahead and self.limits.ahead + link.shells)
                and link.busy + link.ahead < link.limit
                and now >= max(link.full_until, link.no_ahead_until)
            ):
                link.ahead += 1
                actions.append(Prepare(link.number))
        return actions

    def _closings(self, now: float) -> list[Action]:
        limits = self.limits
        for link in self.links.values():
            if link.state == "open" and limits.lifetime_s is not None and now >= link.opened_at + limits.lifetime_s:
                link.state = "retiring"
        closed: list[Action] = []
        for link in [*self.links.values()]:
            if link.busy or link.state == "opening":
                continue
            bound = limits.last_idle_s if len(self.links) == 1 else limits.idle_s
            idle = not self.waiting and bound is not None and now >= link.idle_since + bound
            if link.state == "retiring" or idle:
                del self.links[link.number]
                closed.append(Close(link.number))
        return closed

    def _openings(self, now: float) -> list[Action]:
        opening = [link for link in self.links.values() if link.state == "opening"]
        usable = [link for link in self.links.values() if link.state == "open"]
        # The first one alone: what is wrong with the host, its key or ours is then found once.
        at_once = self.limits.connections - len(opening) - len(usable) if usable else 1 - len(opening)
        wanted = len(self.waiting) - len(opening) * self.limits.channels
        opened: list[Action] = []
        while wanted > 0 and at_once > 0 and now >= self._not_before:
            self._numbers += 1
            self.links[self._numbers] = Link(self._numbers, self.limits.channels, now)
            opened.append(Open(self._numbers))
            wanted -= self.limits.channels
            at_once -= 1
        return opened

    def next_at(self, now: float) -> float | None:
        """When time alone will give `step` something to do; None for never."""
        times = []
        if self.waiting:
            times += [link.full_until for link in self.links.values() if link.full_until > now]
            if self._not_before > now:
                times.append(self._not_before)
        limits = self.limits
        for link in self.links.values():
            bound = limits.last_idle_s if len(self.links) == 1 else limits.idle_s
            if link.state == "open" and not link.busy and bound is not None:
                times.append(link.idle_since + bound)
            if link.state == "open" and not link.busy and limits.lifetime_s is not None:
                times.append(link.opened_at + limits.lifetime_s)
            if link.state == "open" and link.ahead and not link.busy:
                times.append(link.used_at + AHEAD_S)
        return min(times, default=None)
