"""`%xec_monitor`: watch this machine, or this kernel, beside whatever runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand

from xec_magic.errors import OptionError
from xec_magic.options.monitor import MonitorOptions
from xec_magic.optionspec import nearest

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from xec_magic.display.watchview import WatchView
    from xec_magic.engine.watching import Watch, Watched
    from xec_magic.magics.xec import CommandMagics

__all__ = ["MonitorMagics"]

_WHAT = ("machine", "kernel")
_VERBS = ("start", "stop", "show")
FIRST_S = 1.0  # how long `show` waits for the first two samples: a chart of one says nothing


@magics_class
class MonitorMagics(Magics):
    """The magic that watches what is no command.

    Args:
        shell: Where it is registered.
        commands: The magics that run commands.
    """

    def __init__(self, shell: InteractiveShell, commands: CommandMagics) -> None:
        super().__init__(shell)
        del commands  # this one has views of its own
        self._views: dict[str, WatchView] = {}
        self._told: dict[str, int] = {}
        shell.events.register("post_run_cell", self._warn)

    def detach(self) -> None:
        """Let go of the shell."""
        if self.shell is not None:
            self.shell.events.unregister("post_run_cell", self._warn)

    @no_var_expand
    @line_magic
    def xec_monitor(self, line: str) -> None:
        """Watch this machine or this kernel."""  # replaced below by the text that the options give
        if line.strip() in ("--help", "-h", "-?"):
            print(MonitorMagics.xec_monitor.__doc__)  # noqa: T201 - asked for
            return
        try:
            verb, what, options = _read(line)
            getattr(self, f"_{verb}")(what, options)
        except OptionError as error:
            raise UsageError(str(error)) from None

    def _start(self, what: str, options: MonitorOptions) -> None:
        from xec_magic import runtime
        from xec_magic.engine.watching import Watch

        now = runtime.current()
        watch = now.watches.get(what)
        if watch is None or watch.rate_hz != options.rate:
            fresh = Watch(now.executor, cast("Watched", what), options.rate, options.alert)
            if watch is not None:  # another rate: the history goes on
                watch.stop()
                fresh.timeline = watch.timeline
            watch = now.watches[what] = fresh
            self._told[what] = 0
            self._forget_view(what)
        else:
            watch.set_alerts(options.alert)
        watch.start()
        self._view(what, watch).show()

    def _stop(self, what: str, options: MonitorOptions) -> None:
        del options
        watch = self._known(what)
        watch.stop()
        view = self._view(what, watch)
        view.end()
        view.show()

    def _show(self, what: str, options: MonitorOptions) -> None:
        del options
        watch = self._known(what)
        if watch.running:
            watch.wait_for(2, FIRST_S + 1 / watch.rate_hz)
        self._view(what, watch).show()

    def _known(self, what: str) -> Watch:
        from xec_magic import runtime

        watches = runtime.current().watches
        if what not in watches:
            there = ", ".join(watches)
            raise OptionError(
                f"this {what} is not watched"
                + (f"; watched is {there}" if there else f"; %xec_monitor start {what} begins")
            )
        return watches[what]

    def _view(self, what: str, watch: Watch) -> WatchView:
        from xec_magic import runtime
        from xec_magic.display.view import choose_mode, request_allows_stdin
        from xec_magic.display.watchview import WatchView

        view = self._views.get(what)
        if view is None or view.handle is not watch:
            view = self._views[what] = WatchView(
                watch,
                choose_mode(self.shell, request_allows_stdin(self.shell)),
                runtime.current().executor.redactor.mask,
            )
        return view

    def _forget_view(self, what: str) -> None:
        view = self._views.pop(what, None)
        if view is not None:
            view.end()

    def _warn(self, *_: Any) -> None:
        """Say what has come up since the last cell, once, below the cell that has just ended."""
        for what, view in self._views.items():
            warnings = view.handle.warnings
            for text in warnings[self._told.get(what, 0) :]:
                print(f"[xec] alert: {text}")  # noqa: T201 - below the cell, as a warning would be
            self._told[what] = len(warnings)


def _read(line: str) -> tuple[str, str, MonitorOptions]:
    """Verb, what to watch, and the options behind them."""
    words = line.split()
    verb = words.pop(0) if words and not words[0].startswith("-") else "show"
    if verb not in _VERBS:
        hint = nearest(verb, _VERBS) or f"there are {', '.join(_VERBS)}"
        raise OptionError(f"%xec_monitor cannot {verb!r}; {hint}")
    what = words.pop(0) if words and not words[0].startswith("-") else "machine"
    if what not in _WHAT:
        hint = nearest(what, _WHAT) or "there are machine and kernel"
        raise OptionError(f"{what!r} cannot be watched; {hint}")
    rest = line
    for word in (verb, what):
        head = rest.lstrip()
        rest = head[len(word) :] if head.startswith(word) else rest
    parsed = MonitorOptions.SPEC.parse_line(rest)
    if parsed.rest.strip():
        raise OptionError(f"{parsed.rest.split()[0]!r} is no option of %xec_monitor; %xec_monitor --help lists them")
    if parsed.values and verb != "start":
        raise OptionError(
            f"{MonitorOptions.SPEC.by_name[next(iter(parsed.values))].long} belongs to %xec_monitor start"
        )
    return verb, what, MonitorOptions(**parsed.values)


MonitorMagics.xec_monitor.__doc__ = f"""Watch this machine, or this kernel, beside whatever runs.

::

    %xec_monitor start [machine|kernel] [options]   begin, or go on, and show it live
    %xec_monitor [show] [machine|kernel]            show it again, live if it runs
    %xec_monitor stop [machine|kernel]              end it; the chart stays

Its history is bounded, and goes on when the cell is run again.

{MonitorOptions.SPEC.help_text()}
"""
