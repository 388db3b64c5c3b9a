"""The channels of a session: the keeper, which takes orders and gives answers, the streams of one command after the other, their input."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar

import asyncssh

from xec_magic.errors import SpawnError, TransportError
from xec_magic.events import Stream
from xec_magic.transport.ssh.connection import Lease
from xec_magic.transport.ssh.hosts import Host
from xec_magic.transport.ssh.input import ChannelInput
from xec_magic.transport.ssh.quoted import quoted
from xec_magic.transport.ssh.remote import NOWHERE, Launch

__all__ = ["LOST", "Cutter", "Duct", "Feeder", "Keeper", "Streams", "open_duct"]

LOST: Final = "the connection was lost: "  # before the cause, where no host is named
READY_S = 60.0  # a profile may be slow; what was forced upon the login in place of our line never gets there
CHATTER_BYTES = 4096  # kept of what a login prints, for the message when it ends there


class Cutter:
    """Cuts a stream at a mark that may come in pieces.

    Example:
        >>> cutter = Cutter(b"|end|")
        >>> cutter.feed(b"abc|e"), cutter.feed(b"nd|de|"), cutter.feed(b"x")
        ([b'abc'], [b'', b'de'], [b'|x'])
    """

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._held = b""

    def feed(self, data: bytes) -> list[bytes]:
        """What stands between the marks, in order: between each two pieces there was one. The begin of a mark waits for the rest."""
        *pieces, last = (self._held + data).split(self._mark)
        begin = last.rfind(self._mark[:1], max(0, len(last) - len(self._mark) + 1))
        cut = begin if begin >= 0 and self._mark.startswith(last[begin:]) else len(last)
        self._held = last[cut:]
        return [*pieces, last[:cut]]


class Duct(asyncssh.SSHClientSession[bytes]):
    """A channel that is kept open.

    Attributes:
        lease: Its place in the pool; it is given back when the channel is closed.
        lost: Why it is closed; None while it is open.
    """

    def __init__(self, launch: Launch) -> None:
        self.lease: Lease | None = None
        self.lost: str | None = None
        self.on_lost: Callable[[], None] = lambda: None
        self.channel: Any = None
        self._launch = launch
        self._chatter = b""
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """The channel is open."""
        self.channel = chan

    def session_started(self) -> None:
        """The line runs."""
        if self._launch.head:
            self.write(self._launch.head)

    def write(self, data: bytes) -> None:
        """Send something; nothing when the channel is closed."""
        if self.channel is not None and not self.channel.is_closing():
            self.channel.write(data)

    def eof_received(self) -> bool:
        """What ran there has ended."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed."""
        self.lost = f"{LOST}{quoted(exc)}" if exc is not None else "its channel was closed"
        if not self._ready.done():
            self._fail(self._never_ready())
        self.on_lost()

    def _never_ready(self) -> str:
        _, refused, words = self._chatter.partition(self._launch.mark.rstrip(b"\n") + b"-")
        if refused:
            return self._refusal(words.partition(b"\n")[0])
        said = [line.strip() for line in self._chatter.decode("utf-8", "replace").splitlines() if line.strip()]
        return f"the login did not keep a shell{f'; it said: {quoted(said[-1])}' if said else ''}"

    def _refusal(self, said: bytes) -> str:
        """What the line has refused, in words."""
        what, _, detail = said.decode("utf-8", "replace").partition(" ")
        return (
            NOWHERE.get(what, quoted(what)) if not detail else f"a session needs a directory in /tmp: {quoted(detail)}"
        )

    def _fail(self, words: str) -> None:
        if not self._ready.done():
            self._ready.set_exception(SpawnError(words))
            self._ready.exception()

    async def ready(self, host: str) -> None:
        """Wait until what runs there is ready.

        Raises:
            SpawnError: it ended before, or takes too long.
        """
        try:
            async with asyncio.timeout(READY_S):
                await self._ready
        except TimeoutError as error:
            raise SpawnError(f"{host}: the login did not keep a shell within {READY_S:g} s") from error
        except TransportError as error:
            raise SpawnError(f"{host}: {error}") from error

    def close(self) -> None:
        """Close the channel; what runs there hears of it and ends."""
        if self.channel is not None:
            self.channel.abort()


class Keeper(Duct):
    """The channel of the shell itself.

    Args:
        launch: How it is started.
        hear: Gets each line that the shell answers.
    """

    def __init__(self, launch: Launch, hear: Callable[[bytes], None]) -> None:
        super().__init__(launch)
        self.home = ""
        self._hear = hear
        self._begun = False
        self._rest = b""

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Take answers; before the first one what a login prints is left out."""
        if datatype:
            self._chatter = (self._chatter + data)[-CHATTER_BYTES:]
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self._begun:
                self._hear(line)
            else:
                self._before(line)
        if not self._begun:
            self._rest = self._rest[-CHATTER_BYTES:]

    def _before(self, line: bytes) -> None:
        _, found, rest = line.partition(self._launch.mark)
        if not found:
            self._chatter = (self._chatter + line + b"\n")[-CHATTER_BYTES:]
        elif rest.startswith(b"-"):
            self._fail(self._refusal(rest[1:]))
        else:
            self._begun = True
            self.home = rest[1:].decode("utf-8", "surrogateescape")

    def is_ready(self) -> None:
        """The shell waits for its first order."""
        if not self._ready.done():
            self._ready.set_result(None)


class Streams(Duct):
    """The channel of a command's output. It has both streams of one command, until nobody can write to them any more.

    Args:
        launch: How it is started; its mark ends a stream.
        number: Of them in their session.
    """

    def __init__(self, launch: Launch, number: int) -> None:
        super().__init__(launch)
        self.number = number
        self._cutters: dict[Stream, Cutter] = {"stdout": Cutter(launch.mark), "stderr": Cutter(launch.mark)}
        self._begun: set[Stream] = set()
        self._open: set[Stream] = set()
        self._sink: Callable[[Stream, bytes], None] = lambda *_: None
        self._ended: Callable[[], None] = lambda: None

    @property
    def at_rest(self) -> bool:
        """No command writes to it."""
        return not self._open

    def take(self, sink: Callable[[Stream, bytes], None], ended: Callable[[], None]) -> None:
        """From now on it is a command's.

        Args:
            sink: Gets its output.
            ended: Called when nobody can write to its streams any more.
        """
        self._sink, self._ended = sink, ended
        self._open = {"stdout", "stderr"}

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Take output."""
        stream: Stream = "stderr" if datatype else "stdout"
        first, *more = self._cutters[stream].feed(data)
        self._piece(stream, first)
        for piece in more:
            self._mark(stream)
            self._piece(stream, piece)

    def _piece(self, stream: Stream, data: bytes) -> None:
        if stream not in self._begun:
            self._chatter = (self._chatter + data)[-CHATTER_BYTES:]
        elif data:
            self._sink(stream, data)

    def _mark(self, stream: Stream) -> None:
        if stream not in self._begun:
            self._begun.add(stream)
            if len(self._begun) == 2 and not self._ready.done():
                self._ready.set_result(None)
        elif stream in self._open:
            self._open.discard(stream)
            if not self._open:
                self._ended()

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed: nothing more will come."""
        super().connection_lost(exc)
        if self._open:
            self._open.clear()
            self._ended()


class Feeder(Duct):
    """The channel by which a command's input comes."""

    def __init__(self, launch: Launch) -> None:
        super().__init__(launch)
        self._input = ChannelInput()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """The channel is open."""
        super().connection_made(chan)
        self._input.opened(chan)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Wait for the word that the FIFO is there."""
        self._chatter += data
        if not datatype and b"ready\n" in self._chatter and not self._ready.done():
            self._ready.set_result(None)

    def pause_writing(self) -> None:
        """The host takes no more now."""
        self._input.pause()

    def resume_writing(self) -> None:
        """It takes more again."""
        self._input.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """The command has ended, or the connection."""
        self._input.resume()
        super().connection_lost(exc)

    async def feed(self, data: bytes, fd: int | None) -> None:
        """Send some bytes, or what a pipe gives; the descriptor is closed."""
        await self._input.send(data, fd)


D = TypeVar("D", bound=Duct)


async def open_duct(host: Host, launch: Launch, make: Callable[[], D], on_lost: Callable[[D], None]) -> D:
    """A channel of a session, open; its place in the pool is given back when it is closed.

    Args:
        host: Where to.
        launch: What to run there.
        make: Gives one for each attempt.
        on_lost: Called when it is closed.

    Raises:
        TransportError: the host cannot be reached, or runs nothing.
    """
    duct, lease = await host.run(make, launch)
    duct.lease = lease

    def lost() -> None:
        host.give_back(lease, ran=True)
        on_lost(duct)

    duct.on_lost = lost
    if duct.lost is not None:
        lost()
    return duct
