"""The magics: parse, plan, submit, show. `load` and `unload` are all that the package's front door needs."""

from __future__ import annotations

import sys
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from xec_magic.magics import completion
from xec_magic.magics.cache import CacheMagics
from xec_magic.magics.copy import CopyMagics
from xec_magic.magics.monitor import MonitorMagics
from xec_magic.magics.pool import PoolMagics
from xec_magic.magics.profile import ProfileMagics
from xec_magic.magics.runs import RunsMagics
from xec_magic.magics.targets import TargetsMagics
from xec_magic.magics.tasks import TasksMagics
from xec_magic.magics.xec import CommandMagics

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.core.magic import Magics

__all__ = ["load", "unload"]

_FURTHER = (
    RunsMagics,
    MonitorMagics,
    ProfileMagics,
    CacheMagics,
    PoolMagics,
    TargetsMagics,
    TasksMagics,
    CopyMagics,
)  # each is made with the shell and the magics that run commands
# By name: the formatters then cost nothing until there is a result.
_SHOWN = {
    ("xec_magic.result", "Result"): ("view", "display_result"),
    ("xec_magic.results", "Results"): ("view", "display_results"),
    ("xec_magic.compose.tasks_result", "TaskResults"): ("tasks_view", "display_tasks"),
    ("xec_magic.copied", "CopyResult"): ("copyview", "display_copy"),
    ("xec_magic.profiles.comparison", "Profile"): ("measured", "display_profile"),
    ("xec_magic.profiles.session", "Report"): ("measured", "display_report"),
}


def load(shell: InteractiveShell) -> None:
    """Register everything with a shell; a second call does nothing."""
    if _loaded(shell):
        return
    commands = CommandMagics(shell)
    for magics in (commands, *(kind(shell, commands) for kind in _FURTHER)):
        shell.register_magics(magics)
    shell.configurables.append(commands.defaults)  # for %config
    formatter = _formatter(shell)
    for (module, name), function in _SHOWN.items():
        formatter.for_type_by_name(module, name, partial(_display, *function))
    completion.register(shell, _run_ids, _session_names, _target_names)


def unload(shell: InteractiveShell) -> None:
    """End all runs, then take everything back; a second call does nothing."""
    if "xec_magic.runtime" in sys.modules:
        from xec_magic import runtime

        runtime.close()
    for magics in _loaded(shell):
        for kind, names in magics.magics.items():
            for name in names:
                shell.magics_manager.magics[kind].pop(name, None)
        shell.magics_manager.registry.pop(type(magics).__name__, None)
        if isinstance(magics, CommandMagics):
            shell.configurables.remove(magics.defaults)
        if isinstance(magics, MonitorMagics):
            magics.detach()
    formatter = _formatter(shell)
    for known in _SHOWN:
        formatter.deferred_printers.pop(known, None)
    formatter.type_printers = {
        kind: printer
        for kind, printer in formatter.type_printers.items()
        if getattr(printer, "func", None) is not _display
    }
    completion.unregister(shell)


def _loaded(shell: InteractiveShell) -> list[Magics]:
    registry = shell.magics_manager.registry
    return [registry[kind.__name__] for kind in (CommandMagics, *_FURTHER) if kind.__name__ in registry]


def _formatter(shell: InteractiveShell) -> Any:
    assert shell.display_formatter is not None
    return shell.display_formatter.ipython_display_formatter


def _display(module: str, function: str, value: Any) -> None:

    getattr(import_module(f"xec_magic.display.{module}"), function)(value)


def _session_names() -> list[str]:
    if "xec_magic.runtime" not in sys.modules:
        return []
    from xec_magic import runtime

    return runtime.current().executor.transports.session_names()


def _target_names() -> list[str]:
    from xec_magic import runtime

    return runtime.current().settings.inventory().names()


def _run_ids() -> list[str]:
    if "xec_magic.runtime" not in sys.modules:
        return []
    from xec_magic import runtime

    return [run.run_id for run in runtime.current().executor.runs()]
