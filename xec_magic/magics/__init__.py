"""The magics: parse, plan, submit, show. `load` and `unload` are all that the package's front door needs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from xec_magic.magics import completion
from xec_magic.magics.cache import CacheMagics
from xec_magic.magics.runs import RunsMagics
from xec_magic.magics.xec import CommandMagics

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.core.magic import Magics

__all__ = ["load", "unload"]

_FURTHER = (RunsMagics, CacheMagics)  # each is made with the shell and the magics that run commands
_RESULT = ("xec_magic.result", "Result")  # by name: the formatter then costs nothing until there is a result


def load(shell: InteractiveShell) -> None:
    """Register everything with a shell; a second call does nothing."""
    if _loaded(shell):
        return
    commands = CommandMagics(shell)
    for magics in (commands, *(kind(shell, commands) for kind in _FURTHER)):
        shell.register_magics(magics)
    shell.configurables.append(commands.defaults)  # for %config
    formatter = _formatter(shell)
    formatter.for_type_by_name(*_RESULT, _display)
    completion.register(shell, _run_ids)


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
    formatter = _formatter(shell)
    formatter.deferred_printers.pop(_RESULT, None)
    formatter.type_printers = {
        kind: printer for kind, printer in formatter.type_printers.items() if printer is not _display
    }
    completion.unregister(shell)


def _loaded(shell: InteractiveShell) -> list[Magics]:
    registry = shell.magics_manager.registry
    return [registry[kind.__name__] for kind in (CommandMagics, *_FURTHER) if kind.__name__ in registry]


def _formatter(shell: InteractiveShell) -> Any:
    assert shell.display_formatter is not None
    return shell.display_formatter.ipython_display_formatter


def _display(result: Any) -> None:
    from xec_magic.display.view import display_result

    display_result(result)


def _run_ids() -> list[str]:
    if "xec_magic.runtime" not in sys.modules:
        return []
    from xec_magic import runtime

    return [run.run_id for run in runtime.current().executor.runs()]
