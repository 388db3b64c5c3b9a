"""The magics: parse, plan, submit, show. `load` and `unload` are all that the package's front door needs."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from IPython.core.completer import context_matcher

from xec_magic.magics.deferred import FURTHER, defer, real
from xec_magic.magics.xec import CommandMagics

if TYPE_CHECKING:
    from IPython.core.completer import CompletionContext, SimpleMatcherResult
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["load", "unload"]

_COMPLETES = "xec_magic.matcher"
# By name: the formatters then cost nothing until there is a result. The functions are those of `display/cellvalue.py`.
_SHOWN = {
    ("xec_magic.result", "Result"): "display_result",
    ("xec_magic.results", "Results"): "display_results",
    ("xec_magic.compose.tasks_result", "TaskResults"): "display_tasks",
    ("xec_magic.copied", "CopyResult"): "display_copy",
    ("xec_magic.profiles.comparison", "Profile"): "display_profile",
    ("xec_magic.profiles.session", "Report"): "display_report",
}


def load(shell: InteractiveShell) -> None:
    """Register everything with a shell; a second call does nothing."""
    if CommandMagics.__name__ in shell.magics_manager.registry:
        return
    commands = CommandMagics(shell)
    shell.register_magics(commands)
    defer(shell, commands)
    shell.configurables.append(commands.defaults)  # for %config
    formatter = _formatter(shell)
    for (module, name), function in _SHOWN.items():
        formatter.for_type_by_name(module, name, partial(_display, function))
    shell.Completer.custom_matchers.append(_matcher(shell))


def unload(shell: InteractiveShell) -> None:
    """End all runs, then take everything back; a second call does nothing."""
    if "xec_magic.runtime" in sys.modules:
        from xec_magic import runtime

        runtime.close()
    manager = shell.magics_manager
    commands = manager.registry.pop(CommandMagics.__name__, None)
    if commands is not None:
        shell.configurables.remove(commands.defaults)
    for family in FURTHER:
        magics = real(shell, family)
        if magics is not None and hasattr(magics, "detach"):
            magics.detach()
        manager.registry.pop(family.name, None)
    for names in manager.magics.values():
        for name in ("xec", *(family.magic for family in FURTHER)):
            names.pop(name, None)
    formatter = _formatter(shell)
    for known in _SHOWN:
        formatter.deferred_printers.pop(known, None)
    formatter.type_printers = {
        kind: printer
        for kind, printer in formatter.type_printers.items()
        if getattr(printer, "func", None) is not _display
    }
    matchers = shell.Completer.custom_matchers
    matchers[:] = [matcher for matcher in matchers if getattr(matcher, "matcher_identifier", "") != _COMPLETES]


def _matcher(shell: InteractiveShell) -> Any:
    """What completes lines and cells of this package."""

    @context_matcher(identifier=_COMPLETES, priority=100)  # type: ignore[untyped-decorator]  # IPython's
    def matcher(context: CompletionContext) -> SimpleMatcherResult:
        if "%xec" not in context.full_text:
            return {"completions": []}
        from xec_magic.magics.completion import complete

        return complete(context, shell.user_ns, _run_ids, _session_names, _target_names)

    return matcher


def _formatter(shell: InteractiveShell) -> Any:
    assert shell.display_formatter is not None
    return shell.display_formatter.ipython_display_formatter


def _display(function: str, value: Any) -> None:
    from xec_magic.display import cellvalue

    getattr(cellvalue, function)(value)


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
