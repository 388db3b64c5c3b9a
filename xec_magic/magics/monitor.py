"""`%xec_monitor`: watch this machine, this kernel or hosts, beside whatever runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.display import display

from xec_magic.command import LOCAL, Target
from xec_magic.errors import OptionError, TransportError
from xec_magic.magics.lines import asks_for_help, one_line_errors
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
LIVE: Final = 8  # charts at once in one cell: more are no picture any more
FIRST_S: Final = 1.0  # from its begin, until there should be two samples: a chart of one says nothing
FIRST_THERE_S: Final = 5.0  # on a host a loop has to be started first


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
        """Watch this machine, this kernel or hosts."""  # replaced below by the text that the options give
        from xec_magic import runtime

        if asks_for_help(line, MonitorMagics.xec_monitor):
            return
        with one_line_errors():
            verb, what, options = _read(line, self._fill)
            targets = runtime.current().settings.inventory().targets(options.on) if options.on else [LOCAL]
            getattr(self, f"_{verb}")(what, targets, options)

    def _fill(self, text: str, joins: str = "") -> str:
        from xec_magic.quoting import expand_value, namespace_evaluator

        assert self.shell is not None
        return expand_value(text, namespace_evaluator(self.shell.user_ns), joins)

    def _start(self, what: str, targets: list[Target], options: MonitorOptions) -> None:
        from xec_magic import runtime

        executor = runtime.current().executor
        watches = {target: self._watch(what, target, options) for target in targets}  # what is wrong is refused first
        hosts = [target for target in targets if target.kind == "ssh"]
        failed: dict[Target, TransportError] = {}
        if hosts:
            found = executor.ssh_call(lambda ssh: ssh.reach(hosts))
            failed = {host: error for host, error in zip(hosts, found, strict=True) if error is not None}
        for target, error in failed.items():
            if len(failed) == len(targets):
                raise error
            print(f"[xec] {target.name} is not watched: {executor.redactor.mask(str(error))}")  # noqa: T201 - a warning
        good = [target for target in watches if target not in failed]
        for target in good:
            key, watch = _key(what, target), watches[target]
            if runtime.current().watches.get(key) is not watch:
                runtime.current().watches[key] = watch
                self._told[key] = 0
                self._forget_view(key)
            watch.set_alerts(options.alert)
            watch.start()
        self._show_live([_key(what, target) for target in good])

    def _watch(self, what: str, target: Target, options: MonitorOptions) -> Watch:
        """The watch that goes on, or a new one with its history."""
        from xec_magic import runtime
        from xec_magic.engine.watching import Watch

        now = runtime.current()
        known = now.watches.get(_key(what, target))
        if known is not None and known.rate_hz == options.rate and known.target == target:
            return known
        fresh = Watch(now.executor, cast("Watched", what), options.rate, options.alert, target)
        if known is not None:  # another rate: the history goes on
            known.stop()
            fresh.timeline = known.timeline
        return fresh

    def _show_live(self, keys: list[str]) -> None:
        from xec_magic import runtime

        for key in keys[:LIVE]:
            self._view(key, runtime.current().watches[key]).show()
        if len(keys) > LIVE:
            print(f"[xec] and {len(keys) - LIVE} more are watched; %xec_monitor stop shows all")  # noqa: T201 - a view

    def _stop(self, what: str, targets: list[Target], options: MonitorOptions) -> None:
        del options
        watches = self._known(what, targets)
        _settle(watches)
        for watch in watches.values():  # first all of them: drawing takes its time
            watch.stop()
        for key, watch in watches.items():
            self._view(key, watch).end()
        self._show_all(watches)

    def _show(self, what: str, targets: list[Target], options: MonitorOptions) -> None:
        del options
        watches = self._known(what, targets)
        _settle(watches)
        views = [self._view(key, watch) for key, watch in watches.items()]
        if len(views) > 1 and any(view.handle.running and view.mode == "widget" for view in views):
            self._show_live(list(watches))
        else:
            self._show_all(watches)

    def _show_all(self, watches: dict[str, Watch]) -> None:
        """What they have used until now, in one display."""
        from xec_magic.display.hostsview import hosts_bundle
        from xec_magic.display.mode import Mode

        views = [self._view(key, watch) for key, watch in watches.items()]
        if len(views) == 1:
            views[0].show()
            return
        from xec_magic import runtime

        mode = views[0].mode
        bundle = hosts_bundle(list(watches.values()), mode is not Mode.STATIC, runtime.current().executor.redactor.mask)
        if mode is Mode.TEXT:
            print(bundle["text/plain"])  # noqa: T201 - a terminal's view
        else:
            display(bundle, raw=True)  # type: ignore[no-untyped-call]

    def _known(self, what: str, targets: list[Target]) -> dict[str, Watch]:
        """The watches of these, by their key.

        Raises:
            OptionError: one of them is not watched.
        """
        from xec_magic import runtime

        watches = runtime.current().watches
        found = {}
        for target in targets:
            key = _key(what, target)
            if key not in watches:
                there = ", ".join(watch.title for watch in watches.values())
                name, where = (f"this {what}", what) if target == LOCAL else (target.name, f"--on {target.name}")
                raise OptionError(
                    f"{name} is not watched"
                    + (f"; watched is {there}" if there else f"; %xec_monitor start {where} begins")
                )
            found[key] = watches[key]
        return found

    def _view(self, key: str, watch: Watch) -> WatchView:
        from xec_magic import runtime
        from xec_magic.display.mode import mode_of
        from xec_magic.display.watchview import WatchView

        view = self._views.get(key)
        if view is None or view.handle is not watch:
            view = self._views[key] = WatchView(
                watch,
                mode_of(self.shell),
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


def _settle(watches: dict[str, Watch]) -> None:
    """Give those that have just begun the time for their first two samples."""
    for watch in watches.values():
        patience_s = FIRST_S if watch.target == LOCAL else FIRST_THERE_S
        until = watch.timeline.started_at + patience_s + 1 / watch.rate_hz
        if watch.running and len(watch.timeline) < 2:
            watch.wait_for(2, max(0.0, until - time.monotonic()))


def _key(what: str, target: Target) -> str:
    return what if target == LOCAL else f"on {target.name}"


def _read(line: str, expand: Callable[..., str]) -> tuple[str, str, MonitorOptions]:
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
    parsed = MonitorOptions.SPEC.parse_line(rest, expand=expand)
    if parsed.rest.strip():
        raise OptionError(f"{parsed.rest.split()[0]!r} is no option of %xec_monitor; %xec_monitor --help lists them")
    idle = [name for name in parsed.values if name != "on"]
    if idle and verb != "start":
        raise OptionError(f"{MonitorOptions.SPEC.by_name[idle[0]].long} belongs to %xec_monitor start")
    return verb, what, MonitorOptions(**parsed.values)


MonitorMagics.xec_monitor.__doc__ = f"""Watch this machine, this kernel or hosts, beside whatever runs.

::

    %xec_monitor start [machine|kernel] [options]   begin, or go on, and show it live
    %xec_monitor [show] [machine|kernel]            show it again, live if it runs
    %xec_monitor stop [machine|kernel]              end it; the chart stays
    %xec_monitor start --on TARGETS [options]       the same for hosts; show and stop take --on as well

Its history is bounded, and goes on when the cell is run again.

{MonitorOptions.SPEC.help_text()}
"""
