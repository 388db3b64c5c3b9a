"""`PipeEnds`: the descriptors that came with a request, each until somebody takes it."""

from __future__ import annotations

import os

from xec_magic.transport.base import StartRequest

__all__ = ["PipeEnds"]


class PipeEnds:
    """The ends of pipes that a command on a host is to read from and to write to.

    A command may need a second try on another channel, which must find them; so a try takes them only when its shell is there,
    and what nobody has taken is closed by whoever had them made.
    """

    def __init__(self, request: StartRequest) -> None:
        self._input = request.stdin_fd
        self._output = request.stdout_fd

    def take_input(self) -> int | None:
        """What to read from; it is the caller's to close now."""
        fd, self._input = self._input, None
        return fd

    def take_output(self) -> int | None:
        """What to write to; it is the caller's to close now."""
        fd, self._output = self._output, None
        return fd

    def close(self) -> None:
        """Close what nobody has taken."""
        for fd in (self.take_input(), self.take_output()):
            if fd is not None:
                os.close(fd)
