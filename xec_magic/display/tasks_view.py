"""`TasksView`: tasks on the reader's page while they run, and the record that they leave."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from IPython.display import DisplayHandle, display

from xec_magic.display import tasks_render as render
from xec_magic.display.mime import both_forms
from xec_magic.display.mode import Mode
from xec_magic.display.printer import Printer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xec_magic.compose.tasks_result import TaskResults

__all__ = ["TasksHandle", "TasksView", "show_results"]

UPDATE_S: Final = 0.25  # a page gets no more often than this
CLOCK_S: Final = 1.0  # so often the elapsed times move while nothing else does
_BAD: Final = frozenset({"failed", "stopped"})


class TasksHandle(Protocol):
    """What a view needs of tasks that run."""

    @property
    def changes(self) -> int:
        """Goes up with every change."""

    @property
    def ended(self) -> Sequence[str]:
        """Names, in the order in which they ended; it only grows."""

    def snapshot(self) -> TaskResults:
        """How they stand now."""


class TasksView:
    """Tasks of one cell, shown. All on the main thread, which waits for them.

    Args:
        handle: The tasks.
        mode: In what form.
        mask: Replaces secrets in a text.
        quiet: Show nothing; a failure is told by its error.
    """

    def __init__(self, handle: TasksHandle, mode: Mode, *, mask: Callable[[str], str], quiet: bool = False) -> None:
        self._handle = handle
        self._mode = mode
        self._mask = mask
        self._quiet = quiet
        self._output: DisplayHandle | None = None
        self._begun_at = time.monotonic()
        self._shown_at = 0.0
        self._shown_changes = -1
        self._printed = 0

    def pump(self, *, opens_after_s: float = 0.0) -> None:
        """Show what has changed; called some twenty times a second while the main thread waits."""
        now = time.monotonic()
        if self._quiet or now - self._begun_at < opens_after_s:
            return
        if self._mode is Mode.TEXT:
            self._print_ended()
        elif self._mode is Mode.WIDGET:
            age = now - self._shown_at
            if age >= (UPDATE_S if self._handle.changes != self._shown_changes else CLOCK_S):
                self._shown_at, self._shown_changes = now, self._handle.changes
                self._show(self._alive())

    def close(self, results: TaskResults) -> None:
        """Leave the record of how they ended."""
        if self._quiet:
            return
        if self._mode is Mode.TEXT:
            self._print_ended()
            # Each task's output stands above already.
            Printer(self._mask).say(render.tasks_text(results, mask=self._mask, tails=False))
            return
        self._show(bundle(results, self._mode, self._mask))

    def _alive(self) -> dict[str, Any]:
        results = self._handle.snapshot()
        return both_forms(
            render.tasks_text(results, mask=self._mask, tails=False),
            render.tasks_html(results, mask=self._mask, now_s=results.duration_s),
        )

    def _show(self, data: dict[str, Any]) -> None:
        if self._output is None:
            self._output = display(data, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._output.update(data, raw=True)  # type: ignore[no-untyped-call]

    def _print_ended(self) -> None:
        """The output of each task together, as it ends: of several that run at once nothing is mixed."""
        ended = self._handle.ended
        if self._printed == len(ended):
            return
        results = self._handle.snapshot()
        for name in ended[self._printed :]:
            self._printed += 1
            task = results[name]
            if task.group:
                continue
            printer = Printer(self._mask)
            printer.say(render.one_ended(task, mask=self._mask))
            if task.result is not None:
                printer.print_new(task.result.log)
                printer.finish()


def show_results(results: TaskResults, mode: Mode, *, mask: Callable[[str], str]) -> None:
    """Show how tasks ended, or what would run."""
    if mode is Mode.TEXT:
        Printer(mask).say(render.tasks_text(results, mask=mask))
    else:
        display(bundle(results, mode, mask), raw=True)  # type: ignore[no-untyped-call]


def bundle(results: TaskResults, mode: Mode, mask: Callable[[str], str] = str) -> dict[str, Any]:
    """The record of tasks that have ended, or would run."""
    volatile = mode is not Mode.STATIC
    return both_forms(render.tasks_text(results, volatile, mask=mask), render.tasks_html(results, volatile, mask=mask))
