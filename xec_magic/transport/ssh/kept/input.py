"""`FarInput`: how the input of a session's commands comes to its host."""

from __future__ import annotations

import asyncio
import itertools
import os
from typing import Any, Final

from xec_magic.command import FileInput
from xec_magic.transport.base import StartRequest
from xec_magic.transport.ssh.hosts import Host
from xec_magic.transport.ssh.kept.ducts import Feeder, open_duct
from xec_magic.transport.ssh.remote import Launch, quote

__all__ = ["FarInput"]

_FEED: Final = 'mkfifo -m 600 "$1/$2" && echo ready && { rm -f "$1/$2"; exec cat; } >"$1/$2"'  # it waits for who reads


class FarInput:
    """What the commands of one session read: a name in the session's directory, which is a FIFO, or a link to a file or to nothing.

    Args:
        host: Where the session is.
        directory: Of the session.

    Attributes:
        given: To the current command. Then the shell takes it away again, see `no_input`.
    """

    def __init__(self, host: Host, directory: str) -> None:
        self.given = False
        self._numbers = itertools.count(1)
        self._host = host
        self._place = directory.encode()
        self._feeding: set[asyncio.Task[Any]] = set()

    async def bring(self, request: StartRequest, home: str) -> list[bytes]:
        """Bring a command's input to the host; what the shell has to do for it.

        Args:
            request: Whose input it is. Its descriptor is closed when there is one.
            home: What `~` is there.

        Raises:
            SpawnError: it cannot be brought.
            TransportError: the host cannot be reached.
        """
        command, place = request.command, self._place
        if request.stdin_fd is None and command.stdin is None:
            return []
        self.given = True
        if request.stdin_fd is None and isinstance(command.stdin, FileInput):
            path = command.stdin.path
            if path == "~" or path.startswith("~/"):
                path = home + path[1:]
            word = quote(path.encode("utf-8", "surrogateescape"))
            return [b"command rm -f %s/in; command ln -s %s %s/in" % (place, word, place)]
        # A name of its own: the shell may still be about to take the input of the last command away.
        name = b"in.%d" % next(self._numbers)
        line = Launch(_FEED, [place, name], b"ready")
        feeder = await open_duct(self._host, line, lambda: Feeder(line), lambda _: None)
        try:
            await feeder.ready(str(self._host.target))
        except BaseException:
            feeder.close()
            raise
        fd, request_fd = None, request.stdin_fd
        if request_fd is not None:
            fd = os.dup(request_fd)
            os.close(request_fd)
        data = command.stdin if isinstance(command.stdin, bytes) else b""
        task = asyncio.get_running_loop().create_task(feeder.feed(data, fd))
        self._feeding.add(task)
        task.add_done_callback(self._feeding.discard)
        return [b"command rm -f %s/in; command ln -s %s %s/in" % (place, name, place)]

    @property
    def no_input(self) -> bytes:
        """What the shell does to have none any more."""
        # Who waits to write into a FIFO that the command has not opened is let through, to find no reader.
        return (
            b"[ ! -p %s/in ] || { :; } <>%s/in; command rm -f %s/in; command ln -s /dev/null %s/in" % ((self._place,) * 4)
        )  # fmt: skip

    def stop(self) -> None:
        """Nobody reads it any more."""
        for task in self._feeding:
            task.cancel()
