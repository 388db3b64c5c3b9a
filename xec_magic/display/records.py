"""The record that a run, or several, leave in a notebook."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xec_magic.display import render
from xec_magic.display.lines import excerpt
from xec_magic.display.mime import both_forms
from xec_magic.display.mode import Mode

if TYPE_CHECKING:
    from xec_magic.result import Result
    from xec_magic.results import Results

__all__ = ["result_record", "results_record"]


def result_record(
    result: Result, mode: Mode, mask: Callable[[str], str] = str, *, show: bool = False
) -> dict[str, Any]:
    """The record of one run; of a batch, a table of its commands. With `show` the command stands before it."""
    volatile = mode is not Mode.STATIC
    if result.parts:
        from xec_magic.display import table  # here: a single command need not wait for it
        from xec_magic.results import Results

        results = Results(result.parts, result)
        said = render.command_lines(result.command, mask) if show else []
        return both_forms(
            "\n".join([*said, table.render_results_text(results, volatile, mask=mask)]),
            (render.command_html(result, mask) if show else "")
            + table.render_results_html(results, volatile, mask=mask),
        )
    cut = excerpt(result.log)
    return both_forms(
        render.render_text(result, volatile, mask=mask, show=show, cut=cut),
        render.render_html(result, volatile, mask=mask, show=show, cut=cut),
    )


def results_record(results: Results, mode: Mode, mask: Callable[[str], str] = str) -> dict[str, Any]:
    """The record of several runs, as a table."""
    from xec_magic.display import table

    volatile = mode is not Mode.STATIC
    return both_forms(
        table.render_results_text(results, volatile, mask=mask),
        table.render_results_html(results, volatile, mask=mask),
    )
