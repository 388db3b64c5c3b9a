"""`View`: one run on the reader's page. Picks the form, has it fed while the run lives, leaves a static record."""

from __future__ import annotations

import contextvars
import threading
from typing import TYPE_CHECKING, Any, Protocol

from IPython.display import DisplayHandle, display

from xec_magic.display import render
from xec_magic.display.ansi import plain_text
from xec_magic.display.cellvalue import mark_shown
from xec_magic.display.mime import both_forms, widget_form
from xec_magic.display.mode import Mode
from xec_magic.display.printer import Printer
from xec_magic.display.records import result_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from xec_magic.display.live import Live
    from xec_magic.events import Event
    from xec_magic.output import OutputLog
    from xec_magic.plan import Plan
    from xec_magic.result import Result
    from xec_magic.timeline import Timeline

__all__ = ["Cancellable", "RunHandle", "View"]


class Cancellable(Protocol):
    """A timer."""

    def cancel(self) -> None:
        """Let it not happen."""


class RunHandle(Protocol):
    """What a view needs of a run."""

    run_id: str
    plan: Plan
    background: bool
    state: str

    @property
    def log(self) -> OutputLog:
        """Grows on the loop thread, is read from any; replaced when the run is retried."""

    @property
    def timeline(self) -> Timeline | None:
        """What has been sampled; None when nobody watches. Grows on the loop thread."""

    def request_stop(self, now: bool = False) -> None:
        """Begin the stop ladder, or kill at once; from any thread."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Cancellable:
        """Call back on the loop thread; called there."""

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Have every later event, on the loop thread; called from any."""

    def rerun(self) -> RunHandle:
        """Run it again behind, whatever is kept; for what was answered from the cache."""

    def add_done_callback(self, callback: Callable[[Result], None]) -> None:
        """Be told how it ended."""


class View:
    """One run, shown.

    The main thread opens and pumps it, and closes it for a run in the foreground; the loop thread feeds it.

    Args:
        handle: The run.
        mode: In what form.
        mask: Replaces secrets in a text.
        quiet: Show nothing; a failure is told by its error.
        show: Show the command as well.
        usual_s: What this command usually takes, for an estimate; None when nobody knows.
    """

    def __init__(
        self,
        handle: RunHandle,
        mode: Mode,
        *,
        mask: Callable[[str], str],
        quiet: bool = False,
        show: bool = False,
        usual_s: float | None = None,
    ) -> None:
        self.handle = handle
        self.mode = mode
        self._mask = mask
        self._quiet = quiet
        self._show = show
        self._usual_s = usual_s
        self._lock = threading.RLock()  # a run in the background may end while the main thread opens its view
        self._result: Result | None = None
        self._outputs: list[DisplayHandle] = []
        self._printer = Printer(mask)
        self._live: Live | None = None
        self._drawing: threading.Thread | None = None
        self._command_said = False
        self.error_follows = False  # the error of the cell says how it ended, so a terminal need not say it before

    def open(self) -> None:
        """Show that the run is alive; called when it outlives 200 ms, or at once when it is in the background."""
        with self._lock:
            if self._quiet or self._outputs:
                return
            if self._result is not None:
                self._show_result(self._result)
            elif self.mode is Mode.WIDGET:
                self._show_live()
            elif self.handle.background:
                self._show_started()

    def pump(self) -> None:
        """Print what has arrived, where that is the form; called every 50 ms while the main thread waits."""
        if self.mode is Mode.TEXT and not self._quiet:
            self._print_command()
            self._printer.print_new(self.handle.log)

    def _print_command(self) -> None:
        if self._show and not self._command_said:
            self._command_said = True
            for line in render.command_lines(self.handle.plan.command.script, self._mask):
                self._printer.say(line)

    def close(self, result: Result) -> None:
        """Leave the record of how it ended; on the main thread for a run in the foreground, else on the loop's."""
        with self._lock:
            if self._result is not None:
                if self._drawing is not None:  # who waits for the run waits for its record, too
                    self._drawing.join()
                return
            self._result = result
            if self._live is not None:
                self._live.end(result)
            if self._outputs and self.handle.background and result.timeline is not None:
                # A chart takes some tenths of a second, which the loop has not.
                self._drawing = threading.Thread(target=self._replace, args=(result,), name="xec-chart", daemon=True)
                self._drawing.start()
            elif self._outputs:
                self._replace(result)
            elif not self._quiet and not self.handle.background:
                self._show_result(result)
            if not self._quiet and not self.handle.background:
                mark_shown(result)

    def reopen(self) -> None:
        """Show the run in the output of the cell that asks: live, or as it ended.

        Where there are widgets an ended run gets one too: all of its log can be read and searched in it.
        """
        with self._lock:
            if self.mode is Mode.WIDGET:
                self._show_live()
            elif self._result is None:
                self._show_started()
            elif self.mode is Mode.TEXT:
                self._printer.say(render.render_text(self._result, mask=self._mask, show=self._show))
            else:
                self._show_result(self._result)

    # -- forms ------------------------------------------------------------------------------------

    def _show_started(self) -> None:
        bundle = self._started()
        if self.mode is Mode.TEXT:
            self._print_command()
            self._printer.say(bundle["text/plain"])
        else:
            self._publish(bundle)

    def _show_live(self) -> None:
        from xec_magic.display.live import Live

        if self._live is None or self._live.closed:
            self._live = Live(self.handle, self._mask, show=self._show, usual_s=self._usual_s)
            if self._result is not None:
                self._live.end(self._result)
        self._publish(widget_form(self._live.model_id) | self._started())

    def _show_result(self, result: Result) -> None:
        if self.mode is Mode.TEXT:
            self._print_command()
            self._printer.print_new(self.handle.log)
            self._printer.finish()
            for line in render.use_lines(result, self._mask):
                self._printer.say(line)
            if result.parts:
                from xec_magic.display import table  # here: only a batch needs it
                from xec_magic.results import Results

                results = Results(result.parts, result)
                self._printer.say(table.render_results_text(results, mask=self._mask, outputs=False))
                return
            said = render.closing_line(result, mask=self._mask)
            if said and not self.error_follows:
                self._printer.say(said)
            elif self.error_follows:
                # The error does not tell these.
                for note in filter(None, (render.what_stays(result), *result.notes)):
                    self._printer.say(plain_text(f"[xec] {self._mask(note)}"))
        else:
            self._publish(self._ended(result))

    def _publish(self, bundle: dict[str, Any]) -> None:
        handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        assert handle is not None
        self._outputs.append(handle)

    def _replace(self, result: Result) -> None:
        bundle = self._ended(result)
        for output in self._outputs:
            if self.handle.background:
                # A context of its own: nbclient drops what does not belong to the cell that is running now.
                contextvars.Context().run(output.update, bundle, raw=True)
            else:
                output.update(bundle, raw=True)  # type: ignore[no-untyped-call]

    def _started(self) -> dict[str, Any]:
        plan, run_id = self.handle.plan, self.handle.run_id
        return both_forms(
            render.render_started_text(plan, run_id, mask=self._mask),
            render.render_started_html(plan, run_id, mask=self._mask),
        )

    def _ended(self, result: Result) -> dict[str, Any]:
        return result_record(result, self.mode, self._mask, show=self._show)
