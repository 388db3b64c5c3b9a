"""Jump hosts: the connections through which others are made."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncssh

from xec_magic.command import Target
from xec_magic.errors import ConnectError, TransportError

__all__ = ["Jumps"]

Open = Callable[[Target, tuple[str, ...], asyncssh.SSHClientConnection | None], Awaitable[asyncssh.SSHClientConnection]]


class Jumps:
    """The connections to jump hosts, by the way to them. Hosts behind one jump host share its connection.

    Args:
        open_one: Connects to a target: by way of these jump hosts, through this connection.
    """

    def __init__(self, open_one: Open) -> None:
        self._open_one = open_one
        self._known: dict[str, asyncio.Future[asyncssh.SSHClientConnection]] = {}
        self._waits: dict[str, str] = {}  # a jump host that is being connected to, and the one that it needs first

    async def through(self, target: Target, chain: object, via: tuple[str, ...]) -> Any:
        """The connection through which to go, or nothing.

        Args:
            target: Where to.
            chain: What the configuration says, as `user@one,two:2222`.
            via: The jump hosts that lead here.

        Raises:
            TransportError: one of them cannot be reached, or they go in a circle.
        """
        if not isinstance(chain, str) or not chain or chain.lower() == "none":
            return ()
        last: asyncssh.SSHClientConnection | None = None
        for number, hop in enumerate(chain.split(",")):
            if hop in via:
                raise ConnectError(f"{target}: its jump hosts go in a circle: {' → '.join((*via, hop))}")
            path = ",".join(chain.split(",")[: number + 1])
            last = await self._jump(target, path, hop, last, (*via, hop))
        return last

    async def _jump(
        self, target: Target, path: str, hop: str, through: asyncssh.SSHClientConnection | None, via: tuple[str, ...]
    ) -> asyncssh.SSHClientConnection:
        known = self._known.get(path)
        if (
            known is not None
            and known.done()
            and (known.cancelled() or known.exception() or known.result().is_closed())
        ):
            known = None
        if known is None:
            known = self._known[path] = asyncio.ensure_future(self._open_one(_target_of(hop), via, through))
        waits = via[-2] if len(via) > 1 and not known.done() else ""
        if waits:
            self._refuse_circle(target, waits, path)
            self._waits[waits] = path
        try:
            return await asyncio.shield(known)
        except TransportError as error:
            self._known.pop(path, None)
            raise type(error)(f"{target}: by its jump host {error}") from error
        finally:
            self._waits.pop(waits, None)

    def _refuse_circle(self, target: Target, hop: str, needs: str) -> None:
        """Refuse that a jump host waits for one that waits for it: of two targets each may have begun with another one."""
        way = [hop, needs]
        while way[-1] in self._waits:
            way.append(self._waits[way[-1]])
            if way[-1] == hop:
                raise ConnectError(f"{target}: its jump hosts go in a circle: {' → '.join(way)}")

    def close(self) -> None:
        """End these connections."""
        for jump in self._known.values():
            if jump.done() and not jump.cancelled() and jump.exception() is None:
                jump.result().abort()
            else:
                jump.cancel()
        self._known.clear()


def _target_of(hop: str) -> Target:
    user, _, place = hop.rpartition("@")
    host, colon, port = place.rpartition(":")
    return Target("ssh", hop, host if colon else place, user, int(port) if colon else 0)
