"""`SessionStreams`: what the command of a session reads from and prints to, under names that its shell opens."""

from __future__ import annotations

import contextlib
import os

from xec_magic.transport.base import StartRequest
from xec_magic.transport.names import Names
from xec_magic.transport.stdin import open_stdin

__all__ = ["SessionStreams"]


class SessionStreams:
    """The slots `in`, `out` and `err` of a session. Only whoever has the session may call.

    Attributes:
        fed: The input is something else than `/dev/null`.
    """

    def __init__(self, names: Names) -> None:
        self.fed = False
        self._names = names
        self._ready: tuple[int, int] | None = None  # pipes for the next command

    def open(self) -> None:
        """Give the shell an input that has nothing in it."""
        self._names.read("in", None)

    def put(self, request: StartRequest) -> tuple[int | None, int]:
        """Put a command's streams in their places; what is to be read of it. The request's descriptors are closed.

        Raises:
            OSError: one of them cannot be had.
        """
        try:
            if request.stdin_fd is not None or request.command.stdin is not None:
                given = open_stdin(request.command) if request.stdin_fd is None else os.dup(request.stdin_fd)
                self._names.read("in", given)
                self.fed = True
            stdout, stderr = self.take()
            try:
                self.hold()
                elsewhere = None if request.stdout_fd is None else os.dup(request.stdout_fd)
            except OSError:
                os.close(stdout)
                os.close(stderr)
                raise
            if elsewhere is None:
                return stdout, stderr
            os.close(stdout)
            self._names.give("out", elsewhere)
            return None, stderr
        finally:
            for fd in (request.stdin_fd, request.stdout_fd):
                if fd is not None:
                    os.close(fd)

    def take(self) -> tuple[int, int]:
        """Pipes for a command, to read from; the caller's from now on.

        Raises:
            OSError: there are none.
        """
        pipes, self._ready = self._ready or self._new(), None
        return pipes

    def prepare(self) -> None:
        """Have pipes ready for the next command."""
        if self._ready is None:
            with contextlib.suppress(OSError):  # the next command asks again, and is told
                self._ready = self._new()

    def give_back(self, pipes: tuple[int, int]) -> None:
        """Use the pipes of a command again, which are at their end; or close them."""
        if self._names.lasting:
            self._ready = pipes
        else:
            for fd in pipes:
                os.close(fd)

    def hold(self) -> None:
        """Let the readers of the command's pipes see no end yet."""
        self._names.hold("out")
        self._names.hold("err")

    def release(self) -> None:
        """Let the readers see the end, when no child holds the pipes."""
        self._names.release("out")
        self._names.release("err")

    def shut(self) -> None:
        """The command is over: its streams have no writer of ours any more, and their names lead elsewhere."""
        self._names.shut("out")
        self._names.shut("err")
        if self.fed:
            self.fed = False
            with contextlib.suppress(OSError):
                self._names.read("in", None)

    def close(self) -> None:
        """Close what is ready."""
        for fd in self._ready or ():
            os.close(fd)
        self._ready = None

    def _new(self) -> tuple[int, int]:
        stdout = self._names.output("out")
        try:
            return stdout, self._names.output("err")
        except OSError:
            os.close(stdout)
            raise

    def __repr__(self) -> str:
        return f"<SessionStreams{', fed' if self.fed else ''}{', ready' if self._ready else ''}>"
