"""`Outlets`: where the output of a session's commands comes, for each one streams that no earlier command has any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from xec_magic.errors import SpawnError
from xec_magic.transport.ssh.hosts import Host
from xec_magic.transport.ssh.kept.ducts import Streams, open_duct
from xec_magic.transport.ssh.kept.lines import streams_line

__all__ = ["Outlets"]

SWEEP_S: Final = 1.0  # between two looks at the streams of a session that has ended


class Outlets:
    """The streams of one session: those for the next command, and those that children of earlier ones still have.

    Args:
        host: Where the session is.
        directory: Of the session.
        on_lost: Told why, when streams that a command has are lost.
    """

    def __init__(self, host: Host, directory: str, on_lost: Callable[[str], None]) -> None:
        self._host = host
        self._directory = directory
        self._on_lost = on_lost
        self._numbers = 0
        self._streams: Streams | None = None
        self._late: list[Streams] = []
        self._renewing: asyncio.Task[Streams] | None = None
        self._ended: str | None = None  # why there is no session any more

    async def renew(self) -> Streams:
        """New streams, where nobody writes to.

        Raises:
            SpawnError: there are none, or the session has ended.
            TransportError: the host cannot be reached.
        """
        self._numbers += 1
        number = self._numbers
        line = streams_line(self._directory, number)
        streams = await open_duct(self._host, line, lambda: Streams(line, number), self._streams_lost)
        try:
            await streams.ready(str(self._host.target))
        except BaseException:
            streams.close()
            raise
        if self._ended is not None:
            streams.close()
            raise SpawnError(f"{self._host.target}: the session has ended: {self._ended}")
        self._streams = streams
        return streams

    def _streams_lost(self, streams: Streams) -> None:
        if streams is self._streams and self._ended is None:
            self._streams = None
            if not streams.at_rest:
                self._on_lost(streams.lost or "")

    async def resting(self) -> Streams:
        """Streams that no earlier command has any more."""
        if self._renewing is not None:
            renewing, self._renewing = self._renewing, None
            return await renewing
        if self._streams is not None and self._streams.at_rest and self._streams.lost is None:
            return self._streams
        self._let_go_late()
        return await self.renew()

    def _let_go_late(self) -> None:
        """The streams stay with the command whose children have them; when they are closed, their channel is as well."""
        streams, self._streams = self._streams, None
        if streams is None:
            return
        if streams.at_rest:
            streams.close()
        else:
            self._late.append(streams)

    def renew_ahead(self) -> None:
        """Get streams for the next command, if children of the last one have kept its own."""
        if self._streams is not None and not self._streams.at_rest:
            self._let_go_late()
            self._renewing = asyncio.get_running_loop().create_task(self.renew())
            self._renewing.add_done_callback(lambda task: task.cancelled() or task.exception())

    def opened_once(self) -> list[bytes]:
        """What ends, in the shell, streams that no process has open, since their command was ended before it came to that."""
        texts = []
        for streams in self._late:
            place = b"%s/%d" % (self._directory.encode(), streams.number)
            texts.append(b"[ ! -p %s/out ] || { { :; } <>%s/out; { :; } <>%s/err; }" % ((place,) * 3))
        return texts

    def close_ended(self) -> None:
        """Close those of earlier commands that nobody can write to any more."""
        for streams in [*self._late]:
            if streams.at_rest:
                self._late.remove(streams)
                streams.close()

    def end(self, why: str, *, flowing: bool, late_s: float) -> None:
        """The session has ended.

        Args:
            why: It has.
            flowing: What its command has printed last is still on its way.
            late_s: So long that may take.
        """
        self._ended = why
        if self._renewing is not None:
            self._renewing.cancel()
        if flowing and self._streams is not None:
            self._late.append(self._streams)
            self._streams = None
        asyncio.get_running_loop().call_later(late_s, self._sweep)
        if self._streams is not None:
            self._streams.close()

    def _sweep(self) -> None:
        """Close late streams when they have ended; until then their command has them."""
        self.close_ended()
        if self._late:
            asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def close(self) -> None:
        """Close all of them now."""
        for streams in self._late:
            streams.close()
        self._late.clear()
        if self._streams is not None:
            self._streams.close()
