"""What `--batch` means for a cell: its commands, and what comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xec_magic.errors import CommandError, OptionError, RunInterrupted, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from xec_magic.command import Target
    from xec_magic.options import RunOptions
    from xec_magic.plan import Plan
    from xec_magic.result import Result
    from xec_magic.results import Results

__all__ = ["check_batch_options", "plan_of_cell", "verdict"]


def check_batch_options(options: RunOptions, *, is_cell: bool) -> None:
    """Refuse what a batch cannot do, and what only a batch can.

    Raises:
        OptionError: the options do not go together.
    """
    if not options.batch:
        alone = "--isolated" if options.isolated else "--keep-going" if options.keep_going else ""
        if alone:
            raise OptionError(f"{alone} does nothing without --batch; write both, or neither")
        return
    if not is_cell:
        raise OptionError("--batch needs a cell: write %%xec --batch, and the commands on the lines below")
    if options.form not in (None, "df"):
        raise OptionError(
            f"--as {options.form} turns one output into a value, and a batch has many; write --as df for the table of "
            "results, or --out results and take results[0]"
        )


def plan_of_cell(
    options: RunOptions, cell: str, evaluate: Callable[[str], Any], namespace: Mapping[str, Any], target: Target
) -> Plan:
    """The plan of a cell with `--batch`.

    Raises:
        OptionError: the cell or an option is wrong; nothing has run.
    """
    from xec_magic.compose.batch import fill_in, plan_batch
    from xec_magic.compose.lines import split_commands
    from xec_magic.plan import Batch
    from xec_magic.transport.shells import family_of

    commands = fill_in(split_commands(cell), evaluate, family_of(options.shell))
    batch = Batch(commands, keep_going=options.keep_going, isolated=options.isolated)
    return plan_batch(options, batch, namespace, target)


def verdict(whole: Result) -> tuple[Results, CommandError | TransportError | RunInterrupted | None]:
    """The results of a batch, and what they raise."""
    from xec_magic.compose.batch import check_results, results_of

    results = results_of(whole)
    try:
        check_results(results)
    except (CommandError, TransportError, RunInterrupted) as error:
        return results, error
    return results, None
