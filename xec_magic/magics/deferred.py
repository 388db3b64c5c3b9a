"""Magics whose modules are imported when they are first used or asked about, so that loading the extension takes little time."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from IPython.core.magic import Magics, needs_local_scope, no_var_expand

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

    from xec_magic.magics.xec import CommandMagics

__all__ = ["FURTHER", "Family", "defer", "real"]


class Family(NamedTuple):
    """A class of magics.

    Attributes:
        module: Its module, without the package.
        name: Its name.
        magic: The name of its magic.
        kinds: Whether it is a magic of lines, of cells or both.
    """

    module: str
    name: str
    magic: str
    kinds: tuple[str, ...] = ("line",)


# Each is made with the shell and the magics that run commands.
FURTHER: Final = (
    Family("runs", "RunsMagics", "xec_runs"),
    Family("monitor", "MonitorMagics", "xec_monitor"),
    Family("profile", "ProfileMagics", "xec_profile", ("line", "cell")),
    Family("cache", "CacheMagics", "xec_cache"),
    Family("pool", "PoolMagics", "xec_pool"),
    Family("targets", "TargetsMagics", "xec_targets"),
    Family("tasks", "TasksMagics", "xec_tasks", ("line", "cell")),
    Family("copy", "CopyMagics", "xec_copy"),
    Family("tunnel", "TunnelMagics", "xec_tunnel"),
)


class _Deferred:
    """Stands for a magic until it is used."""

    def __init__(self, find: Callable[[], Any]) -> None:
        self._find = find

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]  # of the magic that it stands for
        doc: str | None = self._find().__doc__
        return doc

    @property
    def __wrapped__(self) -> Any:
        """The magic, for whoever asks for its signature or its source."""
        return self._find()

    def __call__(self, *args: Any, local_ns: Any = None) -> Any:
        magic = self._find()
        return magic(*args, local_ns=local_ns) if getattr(magic, "needs_local_scope", False) else magic(*args)


needs_local_scope(_Deferred)
no_var_expand(_Deferred)  # each of ours expands by itself, or not at all


def defer(shell: InteractiveShell, commands: CommandMagics) -> None:
    """Register all further magics with a shell; the modules are imported when they are needed."""
    for family in FURTHER:
        for kind in family.kinds:
            shell.magics_manager.magics[kind][family.magic] = _Deferred(_finder(shell, commands, family))


def _finder(shell: InteractiveShell, commands: CommandMagics, family: Family) -> Callable[[], Any]:
    def find() -> Any:
        magics = real(shell, family)
        if magics is None:
            magics = getattr(import_module(f"xec_magic.magics.{family.module}"), family.name)(shell, commands)
            shell.register_magics(magics)
        return getattr(magics, family.magic)

    return find


def real(shell: InteractiveShell, family: Family) -> Magics | None:
    """The magics of a family; None as long as nobody has used them."""
    registry: dict[str, Magics] = shell.magics_manager.registry
    return registry.get(family.name)
