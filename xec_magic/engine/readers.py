"""`Readers`: those who read a run's output as it comes."""

from __future__ import annotations

from collections.abc import Callable

from xec_magic.engine.buffer import Channel
from xec_magic.events import Stream
from xec_magic.output import Piece

__all__ = ["Readers"]


class Readers:
    """The consumers of one run, each with the stream that it wants; None stands for both. On the loop's thread."""

    __slots__ = ("_channels",)

    def __init__(self) -> None:
        self._channels: list[tuple[Channel, Stream | None]] = []

    def __bool__(self) -> bool:
        return bool(self._channels)

    def add(self, stream: Stream | None, on_high: Callable[[], None], on_low: Callable[[], None]) -> Channel:
        """A consumer more: its channel, which calls when it is full, and from the consumer's thread when there is room."""
        channel = Channel(on_high, on_low)
        self._channels.append((channel, stream))
        return channel

    def want(self, stream: Stream) -> bool:
        """Somebody reads this stream."""
        return any(wanted is None or wanted == stream for _, wanted in self._channels)

    def take(self, piece: Piece) -> bool:
        """Hand over a piece to all who want it; whether there was anybody."""
        taken = False
        for channel, wanted in self._channels:
            if wanted is None or wanted == piece.stream:
                channel.put(piece)
                taken = True
        return taken

    def end(self) -> None:
        """Nothing more will come."""
        for channel, _ in self._channels:
            channel.end()
