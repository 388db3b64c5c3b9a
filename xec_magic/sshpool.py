"""A pool of SSH connections of one's own: `ssh_pool`."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Unpack

from xec_magic import runtime
from xec_magic.command import Target
from xec_magic.commands import Commands
from xec_magic.engine import executor as engine
from xec_magic.errors import OptionError, XecError
from xec_magic.inventory import Inventory
from xec_magic.keywords import RunKeywords, Script
from xec_magic.result import Result
from xec_magic.results import Results
from xec_magic.transport.pool import PoolLimits
from xec_magic.units import parse_duration

if TYPE_CHECKING:
    from xec_magic.transport.ssh import Row

__all__ = ["SSHPool", "open_pools", "ssh_pool"]

MOST_CONNECTIONS: Final = 32  # to one host; more is what its sshd takes for an attack
_pools: weakref.WeakSet[SSHPool] = weakref.WeakSet()
_numbers = itertools.count(1)


def open_pools() -> list[SSHPool]:
    """The pools that are not closed, oldest first."""
    return sorted((pool for pool in [*_pools] if not pool.closed), key=lambda pool: pool.number)


class SSHPool:
    """Connections to some hosts, kept for its commands alone.

    Args:
        hosts: What `--on` takes.
        connections_per_host: At most so many to one host; each carries several commands at once.
        idle_timeout: Close a connection that was not used for so long; None keeps it.
        **options: Defaults for its commands.

    A context manager, for `with` and `async with`: leaving it ends what runs and closes the connections.

    Attributes:
        number: Counts the pools of this kernel from 1; `%xec_pool` names them by it.
        closed: It runs nothing any more.
    """

    def __init__(
        self,
        hosts: str | Target | Iterable[str | Target],
        connections_per_host: int = 2,
        idle_timeout: float | str | None = "60s",
        **options: Unpack[RunKeywords],
    ) -> None:
        if not 1 <= connections_per_host <= MOST_CONNECTIONS:
            raise OptionError(
                f"connections_per_host must lie between 1 and {MOST_CONNECTIONS}, not {connections_per_host}"
            )
        idle_s = None if idle_timeout is None else parse_duration(idle_timeout)
        settings = runtime.current().settings
        self._inventory: Inventory = settings.inventory()
        given = [hosts] if isinstance(hosts, (str, Target)) else list(hosts)
        self.targets: list[Target] = self._inventory.targets(given)
        wrong = [str(target) for target in self.targets if target.kind != "ssh"]
        if wrong:
            raise OptionError(f"an SSH pool holds hosts, which {wrong[0]} is not")
        limits = PoolLimits(connections=connections_per_host, idle_s=idle_s, last_idle_s=idle_s)
        self._engine = engine.Executor(ssh_limits=limits)
        self._commands = Commands(self._opened, lambda: settings, options)
        self._commands.using()  # a wrong default is refused here
        self.number = next(_numbers)
        self.closed = False
        _pools.add(self)

    def run(self, host: str | Target, script: Script, **options: Unpack[RunKeywords]) -> Result:
        """Run a script on one of the pool's hosts and wait for it.

        Raises:
            OptionError: it is none of the pool's hosts.
            CommandError: it ended badly. Not with `check=False`.
            TransportError: the host cannot be reached, or the connection was lost.
        """
        options["on"] = self._member(host)
        return self._commands.run(script, **options)

    def run_all(self, script: Script, **options: Unpack[RunKeywords]) -> Results:
        """Run a script on all hosts at once; one result a host, in their order, failed ones included.

        Args:
            script: As for `run`.
            **options: As for `xec.map`. Without `fanout` all begin at once.

        Raises:
            OptionError: an option is wrong; nothing has run.
            RunInterrupted: the kernel's interrupt stopped all; `.results` has all results.
        """
        options["check"] = False
        options.setdefault("fanout", len(self.targets))
        return self._commands.map(script, self.targets, **options)

    def _opened(self) -> engine.Executor:
        if self.closed:
            raise XecError("this pool of connections is closed; xec.ssh_pool makes a new one")
        return self._engine

    def _member(self, host: str | Target) -> Target:
        target = host if isinstance(host, Target) else self._inventory.target(host)
        if target not in self.targets:
            raise OptionError(f"{target} is none of the pool's hosts: {', '.join(map(str, self.targets[:8]))}")
        return target

    def warm(self) -> None:
        """Connect to all hosts ahead.

        Raises:
            TransportError: one of them cannot be reached; the others are connected.
        """
        self._opened().ssh_call(lambda ssh: ssh.warm(self.targets))

    def drain(self, targets: list[Target] | None = None) -> None:
        """Wait for what runs on these, or all, hosts, then close the connections. The next command connects anew."""
        self._opened().ssh_call(lambda ssh: ssh.drain(targets))

    def close_unused(self, targets: list[Target] | None = None) -> tuple[int, int]:
        """Close the connections to these, or all, hosts on which nothing runs, the others when their last command ends.

        Returns:
            How many were closed, and how many will be.
        """
        return self._opened().ssh_call(lambda ssh: ssh.close_unused(targets))

    def rows(self) -> list[Row]:
        """Its connections, as `%xec_pool` shows them."""
        return self._engine.ssh_rows()

    def close(self) -> None:
        """End what runs, by the stop ladder, and close all connections. A second call does nothing."""
        self.closed = True
        self._engine.close()

    def __enter__(self) -> SSHPool:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> SSHPool:
        return self

    async def __aexit__(self, *exc: object) -> None:
        import asyncio

        await asyncio.to_thread(self.close)

    def __repr__(self) -> str:
        return f"<SSHPool of {len(self.targets)} hosts, {len(self.rows())} connections>"


def ssh_pool(
    hosts: str | Target | Iterable[str | Target],
    connections_per_host: int = 2,
    idle_timeout: float | str | None = "60s",
    **options: Unpack[RunKeywords],
) -> SSHPool:
    """A pool of SSH connections to some hosts, beside the one that every `on=` uses.

    Args:
        hosts: What `--on` takes: names, node sets, `@groups`, a list of them.
        connections_per_host: At most so many to one host; each carries several commands at once.
        idle_timeout: Seconds, or a text such as `"60s"`; None keeps connections until the pool is closed.
        **options: Defaults for its commands, as for `run`.

    Raises:
        OptionError: a host that is not known.
    """
    return SSHPool(hosts, connections_per_host, idle_timeout, **options)
