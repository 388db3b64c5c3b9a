"""`FleetView`: a command on many targets, on the reader's page while it runs, and the record that it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from IPython.display import DisplayHandle, display

from xec_magic.display import fleetrender
from xec_magic.display.ansi import terminal_text
from xec_magic.display.cellvalue import mark_shown
from xec_magic.display.fleetlines import FleetLines
from xec_magic.display.mime import both_forms, widget_form
from xec_magic.display.mode import Mode
from xec_magic.display.printer import Printer
from xec_magic.display.render import command_lines

if TYPE_CHECKING:
    from xec_magic.display.fleetlive import FleetLive
    from xec_magic.output import OutputLog
    from xec_magic.result import Result
    from xec_magic.results import Results
    from xec_magic.timeline import Timeline

__all__ = ["FleetHandle", "FleetView", "OneRun"]

PUMP_S: Final = 0.2  # a page gets no more often than this


class OneRun(Protocol):
    """What a view needs of the run on one target."""

    state: str

    @property
    def log(self) -> OutputLog:
        """What it has printed so far."""

    @property
    def timeline(self) -> Timeline | None:
        """What it uses, where it is watched."""


class FleetHandle(Protocol):
    """What a view needs of a fleet that runs."""

    @property
    def names(self) -> Sequence[str]:
        """The targets, in order."""

    @property
    def title(self) -> str:
        """What to call the command in a line."""

    @property
    def script(self) -> str:
        """The command."""

    @property
    def watched(self) -> bool:
        """What it uses is sampled."""

    @property
    def runs(self) -> Sequence[OneRun | None]:
        """One a target; None before it begins."""

    @property
    def ended(self) -> Sequence[int]:
        """Numbers of targets, in the order in which they ended; it only grows."""

    @property
    def waiting_for_answer(self) -> bool:
        """Somebody is asked whether to go on."""

    @property
    def begun_at(self) -> float:
        """When it began, in seconds of the monotonic clock."""

    def result_of(self, number: int) -> Result:
        """How one target stands now."""

    def request_stop(self, now: bool = False) -> None:
        """Stop all, or kill it at once; from any thread."""


class FleetView:
    """A fleet of one cell, shown. All on the main thread, which waits for it.

    Args:
        handle: The fleet.
        mode: In what form.
        mask: Replaces secrets in a text.
        quiet: Show nothing; a failure is told by its error.
        show: Show the command as well.
    """

    def __init__(
        self, handle: FleetHandle, mode: Mode, *, mask: Callable[[str], str], quiet: bool = False, show: bool = False
    ) -> None:
        self._handle = handle
        self._mode = mode
        self._mask = mask
        self._quiet = quiet
        self._show = show
        self._output: DisplayHandle | None = None
        self._live: FleetLive | None = None
        self._lines = FleetLines()
        self._printer = Printer(mask)
        self._pumped_at = 0.0
        self._told = 0
        self._begun_at = time.monotonic()

    def pump(self, *, opens_after_s: float = 0.0) -> None:
        """Show what has changed; called some twenty times a second while the main thread waits."""
        now = time.monotonic()
        asked = self._handle.waiting_for_answer  # nothing is shown while the question stands
        if self._quiet or (now - self._begun_at < opens_after_s and not asked):
            return
        if self._mode is Mode.TEXT:
            self._print_new()
        elif self._mode is Mode.WIDGET and (asked or now - self._pumped_at >= PUMP_S):
            self._pumped_at = now
            if self._live is None:
                self._open()
            else:
                self._live.pump()

    def close(self, results: Results) -> None:
        """Leave the record of how it ended."""
        if self._live is not None:
            self._live.end(results)
        if self._quiet:
            return
        mark_shown(results)
        duration_s = None if self._mode is Mode.STATIC else time.monotonic() - self._begun_at
        if self._mode is Mode.TEXT:
            self._print_new()
            for line in fleetrender.summary_lines(results, duration_s, self._mask):
                self._printer.say(line)
            return
        shown = [f"$ {line}" for line in self._mask(self._handle.script).splitlines()] if self._show else []
        text = fleetrender.fleet_text(results, duration_s, mask=self._mask)
        title = self._handle.script if self._show else ""
        page = fleetrender.fleet_html(results, duration_s, mask=self._mask, title=title)
        self._publish(both_forms("\n".join([*shown, text]), page))

    # -- forms ------------------------------------------------------------------------------------

    def _open(self) -> None:
        from xec_magic.display.fleetlive import FleetLive

        self._live = FleetLive(self._handle, self._lines, self._mask, show=self._show)
        view = widget_form(self._live.model_id)
        names, title = self._handle.names, self._mask(self._handle.title)
        self._publish(view | {"text/plain": f"[xec] on {len(names)} targets: {title}"})

    def _publish(self, bundle: dict[str, Any]) -> None:
        if self._output is None:
            self._output = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._output.update(bundle, raw=True)  # type: ignore[no-untyped-call]

    def _print_new(self) -> None:
        """Whole lines with the names of their targets; and of those that failed, how."""
        if self._show:
            self._show = False
            for line in command_lines(self._handle.script, self._mask):
                self._printer.say(line)
        names = self._handle.names
        ended = [*self._handle.ended]
        for number, _, text in self._lines.take(self._handle.runs, set(ended)):
            self._printer.say(terminal_text(f"[{names[number]}] {self._mask(text)}"))
        for number in ended[self._told :]:
            result = self._handle.result_of(number)
            if not result.ok:
                self._printer.say(f"[{names[number]}] [xec] {terminal_text(self._mask(result.verdict_there()))}")
        self._told = len(ended)
