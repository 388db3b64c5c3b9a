"""`SessionLine`: orders to a session's shell, and its answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Final, NamedTuple

from xec_magic.transport.names import Names

__all__ = ["Frame", "SessionLine"]

READ_BYTES: Final = 4096


class Frame(NamedTuple):
    """One answer of the shell; `xec_magic.transport.dialects` has what there can be.

    Attributes:
        kind: Its letter.
        words: What follows.
    """

    kind: str
    words: tuple[str, ...]


class SessionLine:
    """What leads to a session's shell and back. All methods but `put` run on the loop's thread.

    Args:
        names: Where the shell finds both ends.
        hear: Told of each answer.

    Attributes:
        control: Where the answers are read.
    """

    def __init__(self, names: Names, hear: Callable[[Frame], None]) -> None:
        self.control = names.output("ctl")
        self._feed = names.orders("feed")
        self._hear = hear
        self._begun = b""  # of an answer that has come in part

    def put(self, order: bytes) -> None:
        """Write an order that a pipe takes at once. Any thread that has the session."""
        with contextlib.suppress(OSError):  # the shell has gone; its exit says so
            os.write(self._feed, order)

    def write(self, orders: bytes) -> None:
        """Write orders; what the pipe does not take at once follows when the shell has read."""
        loop = asyncio.get_running_loop()
        try:
            sent = os.write(self._feed, orders)
        except BlockingIOError:
            sent = 0
        except OSError:  # the shell has gone; its exit says so
            return
        rest = orders[sent:]
        loop.remove_writer(self._feed)
        if rest:
            loop.add_writer(self._feed, self.write, rest)

    def listen(self) -> None:
        """Hear what the shell says from now on."""
        asyncio.get_running_loop().add_reader(self.control, self._read)

    def rest(self) -> None:
        """Hear nothing, as long as the shell has nothing to say."""
        asyncio.get_running_loop().remove_reader(self.control)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self.heard(os.read(self.control, READ_BYTES))

    def heard(self, data: bytes) -> None:
        """Take what the shell has said."""
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines:
            kind, *words = line.decode("ascii", "replace").split() or [""]
            self._hear(Frame(kind, tuple(words)))

    def close(self) -> None:
        """Close both ends."""
        self.rest()
        asyncio.get_running_loop().remove_writer(self._feed)
        os.close(self.control)
        os.close(self._feed)

    def __repr__(self) -> str:
        return f"<SessionLine {self.control}, {self._feed}>"
