"""`%xec_pool`: what is kept ready: shells started ahead, sessions, connections to hosts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.display import display

from xec_magic.errors import OptionError
from xec_magic.magics.lines import asks_for_help, one_line_errors
from xec_magic.optionspec import nearest, what_there_is
from xec_magic.units import format_count

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

    from xec_magic.command import Target
    from xec_magic.engine.executor import Executor
    from xec_magic.magics.xec import CommandMagics
    from xec_magic.sshpool import SSHPool

__all__ = ["PoolMagics"]


@magics_class
class PoolMagics(Magics):
    """The magic that shows and ends what is kept ready.

    Args:
        shell: Where it is registered.
        commands: The magics that run commands.
    """

    def __init__(self, shell: InteractiveShell, commands: CommandMagics) -> None:  # noqa: ARG002 - all magics are made so
        super().__init__(shell)

    @no_var_expand
    @line_magic
    def xec_pool(self, line: str) -> Any:
        """List the shells and connections that are kept ready, or end some of them.

        ::

            %xec_pool                   list the sessions, the shells that wait, the connections to hosts
            %xec_pool stop NAME…|all    end sessions with all that they have left; all: the waiting shells as well
            %xec_pool reset NAME…       as stop; the next command with --session NAME begins in a new shell
            %xec_pool close TARGETS|all close the connections to hosts on which nothing runs, the others when their commands end
            %xec_pool drain TARGETS|all wait for what runs on hosts, then close the connections to them
        """
        with one_line_errors():
            verb, *names = line.split() or ["list"]
            actions: dict[str, Callable[[list[str]], Any]] = {
                "list": self._list, "stop": self._stop, "reset": self._stop, "close": self._close, "drain": self._drain,
            }  # fmt: skip
            if asks_for_help(verb, PoolMagics.xec_pool):
                return None
            if verb not in actions:
                hint = nearest(verb, actions) or f"there are {', '.join(actions)}"
                raise OptionError(f"%xec_pool cannot {verb!r}; {hint}")
            return actions[verb](names)

    def _list(self, names: list[str]) -> None:
        if names:
            raise OptionError(f"%xec_pool list takes nothing more, but {names[0]!r} stands there")
        from xec_magic.display.mode import Mode, mode_of
        from xec_magic.display.pool import render_pool

        executor = _executor()
        entries = executor.ask(executor.transports.pool())
        connections = [("--on", row) for row in executor.ssh_rows()]
        connections += [(f"ssh_pool {pool.number}", row) for pool in _own_pools() for row in pool.rows()]
        volatile = mode_of(self.shell) is not Mode.STATIC
        display(render_pool(entries, connections, volatile), raw=True)  # type: ignore[no-untyped-call]

    def _close(self, names: list[str]) -> None:
        executor, targets = _executor(), _connected(names)
        counts = [pool.close_unused(targets) for pool in _own_pools()]
        if executor.transports.has_ssh:
            counts.append(executor.ssh_call(lambda ssh: ssh.close_unused(targets)))
        closed, busy = (sum(count) for count in zip((0, 0), *counts, strict=True))
        more = f", {busy} when their commands end" if busy else ""
        print(f"[xec] {format_count(closed, 'connection')} closed{more}")  # noqa: T201 - what was asked for

    def _drain(self, names: list[str]) -> None:
        executor, targets = _executor(), _connected(names)
        if executor.transports.has_ssh:
            executor.ssh_call(lambda ssh: ssh.drain(targets))
        for pool in _own_pools():
            pool.drain(targets)

    def _stop(self, names: list[str]) -> None:
        executor = _executor()
        there = executor.transports.session_names()
        if not names:
            raise OptionError("name a session, or write all; %xec_pool lists them")
        for name in names:
            if name != "all" and name not in there:
                hint = nearest(name, there) or what_there_is(there)
                raise OptionError(f"there is no session {name!r}; {hint}")
        for name in there if "all" in names else names:
            executor.ask(executor.transports.stop(name))
        if "all" in names:
            executor.ask(executor.transports.end_idle())


def _own_pools() -> list[SSHPool]:
    """The pools that somebody has made."""
    module = sys.modules.get("xec_magic.sshpool")
    return module.open_pools() if module is not None else []


def _connected(names: list[str]) -> list[Target] | None:
    """The named targets, of which there is at least one connection; None for all.

    Raises:
        OptionError: none is named, one is unknown, or nothing leads to any of them.
    """
    if not names:
        raise OptionError("name hosts as --on takes them, or write all; %xec_pool lists them")
    if names == ["all"]:
        return None
    from xec_magic import runtime

    targets = runtime.current().settings.inventory().targets(names)
    rows = [*_executor().ssh_rows(), *(row for pool in _own_pools() for row in pool.rows())]
    there = sorted({row.host for row in rows})
    if not any(str(target) in there for target in targets):
        hint = f"there are connections to {', '.join(there[:8])}" if there else "there is none"
        raise OptionError(f"there is no connection to {', '.join(map(str, targets[:8]))}; {hint}")
    return targets


def _executor() -> Executor:
    from xec_magic import runtime

    return runtime.current().executor
