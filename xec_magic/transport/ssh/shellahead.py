"""A shell that waits on a host for the next command, so that this begins without what a login takes to start: when there is one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Generic, Protocol, TypeVar, cast

from xec_magic.transport.ssh.ahead import Ahead
from xec_magic.transport.ssh.remote import waiting_launch

__all__ = ["Shells"]

MOST: Final = 8  # wait at once, on all hosts together: for a large fleet they would cost more than they save
# Nothing can be typed before the server has said that the shell runs: a command that comes at once is better off with a bare channel.
AT_ONCE_S: Final = 0.01  # commands that follow each other so soon are run one after the other by a program
LULL_S: Final = 0.05  # behind one of those, or behind a session's command, no shell is started before so long
SHELL_S: Final = 15.0  # it waits so long: what it has read of the login's start-up files is hardly older than that


class _Link(Protocol):
    ahead: deque[Ahead]

    @property
    def is_open(self) -> bool: ...


L = TypeVar("L", bound=_Link)


class Shells(Generic[L]):
    """The shell that waits on one host; there is one at most. All methods run on the loop's thread.

    It is started on a channel that was opened ahead, when a command has ended and none runs any more: so it has read its start-up
    files later than anything that a command has done to them. When a later command ends without having had it, it is replaced.

    Args:
        links: The connections, by number.
        rests: Says whether nothing runs on the host.
        drop: Closes a channel that was opened ahead, if nobody has got it.
        told: Called when one has been started.
        all_waiting: Those of all hosts.
    """

    def __init__(
        self,
        links: Mapping[int, L],
        rests: Callable[[], bool],
        drop: Callable[[L, Ahead], None],
        told: Callable[[], None],
        all_waiting: set[Ahead],
    ) -> None:
        self._all = all_waiting
        self._links = links
        self._rests = rests
        self._drop = drop
        self._told = told
        self._timer: asyncio.TimerHandle | None = None
        self._wanted = False  # a command has ended since one was started
        self._ended_at = self._not_before = 0.0
        self._at_once = False
        self._works = True

    def command_begins(self) -> None:
        """A command gets a channel, perhaps that of the shell."""
        self._at_once = asyncio.get_running_loop().time() < self._ended_at + AT_ONCE_S

    def command_ends(self) -> None:
        """As `stir`, for a command on a channel of its own: others are likely to come, at once where it has come so."""
        self._ended_at = asyncio.get_running_loop().time()
        self._stir(self._ended_at + (LULL_S if self._at_once else 0.0))

    def stir(self) -> None:
        """A command has ended, and may have changed what a login finds: a shell that has waited meanwhile is of no use any more."""
        self._stir(asyncio.get_running_loop().time() + LULL_S)

    def _stir(self, not_before: float) -> None:
        self._wanted, self._not_before = True, not_before
        for link in [*self._links.values()]:
            for ahead in [each for each in link.ahead if each.has_shell]:
                self._drop(link, ahead)
        self.let_wait()

    def let_wait(self) -> None:
        """Have a shell wait, if that is wanted, where there is a channel for it."""
        self.close()
        if self._wanted and self._works:
            self._timer = asyncio.get_running_loop().call_at(self._not_before, self._start)

    def _start(self) -> None:
        if not self._wanted or not self._works or not self._rests():
            return
        self._all.intersection_update([each for each in self._all if each.waits])
        if len(self._all) >= MOST:
            return
        for link in self._links.values():
            for ahead in link.ahead:
                if ahead.is_open and not ahead.has_shell:
                    self._wanted = False
                    self._all.add(ahead)
                    line = cast("str", waiting_launch().line)  # asyncssh sends bytes as they are
                    starting = ahead.wait_on(line, partial(self._ended, link))
                    starting.add_done_callback(partial(self._started, link, ahead))
                    asyncio.get_running_loop().call_later(SHELL_S, self._drop, link, ahead)
                    self._told()
                    return

    def _started(self, link: L, ahead: Ahead, starting: asyncio.Task[None]) -> None:
        if not starting.cancelled() and starting.exception() is not None:
            self._ended(link, ahead)

    def _ended(self, link: L, ahead: Ahead) -> None:
        """It has ended by itself: it is killed there, or may not wait. Or the connection is lost, which is not said before all are told."""
        asyncio.get_running_loop().call_soon(self._blame, link)
        self._drop(link, ahead)

    def _blame(self, link: L) -> None:
        if link.is_open:
            self.fail()

    def close(self) -> None:
        """Start none for now."""
        if self._timer is not None:
            self._timer.cancel()

    def fail(self) -> None:
        """None is tried again."""
        self._works = False
