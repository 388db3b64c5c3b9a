"""What `%%xec --on` does with several targets: one command on all of them, one view, a result for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from IPython.display import display

from xec_magic.errors import CommandError, OptionError, RunInterrupted, TransportError

if TYPE_CHECKING:
    from xec_magic.command import Target
    from xec_magic.display.mode import Mode
    from xec_magic.options import RunOptions
    from xec_magic.results import Results
    from xec_magic.runtime import Runtime

__all__ = ["run_fleet", "targets_of"]

_FORMS = ("df", "table")


def targets_of(now: Runtime, options: RunOptions) -> list[Target]:
    """The targets of a command that goes over several, or over one by the rules for several; none for any other.

    Raises:
        OptionError: a name that nobody knows.
    """
    if not options.on:
        return []
    found = now.settings.inventory().targets(options.on)
    return found if len(found) > 1 or options.fleet_options() else []


def check_fleet_options(options: RunOptions, count: int) -> None:
    """Refuse what is for one target.

    Raises:
        OptionError: an option makes no sense for several targets.
    """
    if count == 1 and (options.bg or options.batch):
        given = options.SPEC.by_name[options.fleet_options()[0]].long
        raise OptionError(
            f"{'--bg' if options.bg else '--batch'} does not go with {given}, which is for several targets; leave one out"
        )
    if options.bg:
        raise OptionError(f"--bg: a command on {count} targets is shown while it runs; leave it out")
    if options.batch:
        raise OptionError(f"--batch is for one target, and these are {count}; several lines in the cell are one script")
    if options.form not in (None, *_FORMS):
        raise OptionError(
            f"--as {options.form} turns one output into a value, and {count} targets have many; write --as table for the rows "
            "of all with their host, --as df for the table of results, or --out results and take results[0]"
        )


def run_fleet(
    now: Runtime,
    options: RunOptions,
    targets: Sequence[Target],
    script: str,
    namespace: Mapping[str, Any],
    mode: Mode,
    keep: Callable[[Any], None],
    *,
    opens_after_s: float,
    tick_s: float,
    is_cell: bool,
) -> Any:
    """Run a script on all targets, show it, and give its value as the line form does.

    Args:
        keep: Puts a value into the variable of `--out`.
        opens_after_s: A shorter run shows one static display.
        tick_s: So often the view is fed.
        is_cell: It is a cell, which shows its value instead of giving it.
    """
    from xec_magic.compose.fleet import FleetRun
    from xec_magic.compose.fleet_plan import plan_fleet
    from xec_magic.display.fleetview import FleetView
    from xec_magic.engine.ask import ask_yes
    from xec_magic.events import Cause

    check_fleet_options(options, len(targets))
    run = FleetRun(now.executor, plan_fleet(options, script, targets, namespace), None if options.yes else ask_yes)
    run.button_cause = Cause.INTERRUPT  # a Stop button while the cell waits stands for the kernel's interrupt
    only_value = options.form is not None and options.out is None
    view = FleetView(run, mode, mask=now.executor.redactor.mask, quiet=options.quiet or only_value, show=options.show)
    run.begin()
    try:
        results = run.wait(on_tick=lambda: view.pump(opens_after_s=opens_after_s), tick_s=tick_s)
    except KeyboardInterrupt:  # all had ended by themselves in the same moment
        keep(run.snapshot())
        view.close(run.snapshot())
        raise
    error = run.interrupted(results) or _failure(results, check=options.check)
    if error is not None:
        keep(results)
        view.close(results)
        error.shown = not (options.quiet or only_value)
        raise error from None
    value = results.df("table" if options.form == "table" else None) if options.form else results
    keep(value)
    view.close(results)
    if options.form and not options.out and is_cell:
        display(value)  # type: ignore[no-untyped-call]
        return None
    return None if is_cell or (options.out and options.form) else value


def _failure(results: Results, *, check: bool) -> CommandError | TransportError | RunInterrupted | None:
    if check:
        try:
            results.check()
        except (CommandError, TransportError, RunInterrupted) as error:
            return error
    return None
