"""Ways to run a command on a target; `Transports` is the only registry of them."""

from __future__ import annotations

from collections.abc import Callable

from xec_magic.command import Command
from xec_magic.transport import fake
from xec_magic.transport.base import Sampler, Transport
from xec_magic.transport.function import FunctionTransport
from xec_magic.transport.local import LocalTransport

__all__ = ["Transports"]


class Transports:
    """The transports of one executor. A new kind of target is added here and in `Target.kind`.

    Args:
        kernel_id: Begin of the executor's run ids.
        script_dir: Gives a private directory for long scripts.
    """

    def __init__(self, kernel_id: str, script_dir: Callable[[], str]) -> None:
        self._local = LocalTransport(kernel_id, script_dir)
        self._functions = FunctionTransport()

    def of(self, command: Command) -> Transport:
        """The transport that reaches a command's target, in the way that the command asks for."""
        if command.target.kind == "function":
            return self._functions
        return fake.transport_of(command.target) if command.target.kind == "fake" else self._local

    def machine_sampler(self) -> Sampler:
        """What reads the use of this machine."""
        return self._local.machine_sampler()

    def kernel_sampler(self) -> Sampler:
        """What reads the use of this process, without its children."""
        return self._local.kernel_sampler()

    def size_of_machine(self) -> tuple[int, int]:
        """How many cores this machine has, and how many bytes of memory."""
        from xec_magic.transport.sampling.machine import size_of_machine

        return size_of_machine()

    def warm(self) -> None:
        """Do ahead what the first command would have to wait for."""
        self._local.warm()

    async def close(self, within_s: float) -> None:
        """Close all of them."""
        await self._local.close(within_s)
