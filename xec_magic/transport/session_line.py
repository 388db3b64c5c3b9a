"""`SessionLine`: orders to a session's shell, and its answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Final, NamedTuple

from xec_magic.transport.names import Names

__all__ = ["Frame", "SessionLine", "code_in"]

READ_BYTES: Final = 4096


def code_in(word: str | bytes) -> int:
    """The exit code in an answer, 0 to 255. Within dash and zsh there are others (`return 300`, `return -1`); at their end the system
    keeps the last eight bits.

    Example:
        >>> code_in("7"), code_in(b"300"), code_in("-1")
        (7, 44, 255)
    """
    return int(word) & 0xFF


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
        try:
            self._feed = names.orders("feed")
        except OSError:
            os.close(self.control)
            raise
        self._hear = hear
        self._begun = b""  # of an answer that has come in part
        self._loop = asyncio.get_running_loop()
        self._closed = False

    def put(self, order: bytes) -> None:
        """Write an order. Any thread that has the session; what the pipe does not take at once, the loop writes."""
        rest = self._written(order)
        if rest:
            self._loop.call_soon_threadsafe(self.write, rest)

    def write(self, orders: bytes) -> None:
        """Write orders; what the pipe does not take at once follows when the shell has read."""
        if self._closed:
            return
        self._loop.remove_writer(self._feed)
        rest = self._written(orders)
        if rest:
            self._loop.add_writer(self._feed, self.write, rest)

    def _written(self, orders: bytes) -> bytes:
        """What is left of orders when the pipe takes no more."""
        try:
            return orders[os.write(self._feed, orders) :]
        except BlockingIOError:
            return orders
        except OSError:  # the shell has gone; its exit says so
            return b""

    def listen(self) -> None:
        """Hear what the shell says from now on."""
        self._loop.add_reader(self.control, self._read)

    def rest(self) -> None:
        """Hear nothing, as long as the shell has nothing to say."""
        self._loop.remove_reader(self.control)

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
        self._closed = True
        self.rest()
        self._loop.remove_writer(self._feed)
        os.close(self.control)
        os.close(self._feed)

    def __repr__(self) -> str:
        return f"<SessionLine {self.control}, {self._feed}>"
