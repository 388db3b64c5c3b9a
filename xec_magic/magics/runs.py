"""`%xec_runs`: what runs and what has run; stop it, show it again, read its log, wait for it."""

from __future__ import annotations

import html
import re
import time
from typing import TYPE_CHECKING, Any, Final

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.display import display

from xec_magic.command import LOCAL
from xec_magic.display import palette
from xec_magic.display.ansi import plain_line, terminal_text
from xec_magic.display.markup import WRAP
from xec_magic.display.mime import both_forms
from xec_magic.errors import OptionError
from xec_magic.magics.lines import asks_for_help, one_line_errors
from xec_magic.optionspec import nearest
from xec_magic.outcome import Outcome
from xec_magic.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

    from xec_magic.engine.executor import Executor
    from xec_magic.engine.run import Run
    from xec_magic.magics.xec import CommandMagics

__all__ = ["RunsMagics"]

LOG_LINES: Final = 40
_BAD: Final = frozenset(Outcome) - {Outcome.OK, Outcome.SKIPPED}
_BOX: Final = "max-height:420px;overflow:auto;display:flex;flex-direction:column-reverse"
_TABLE: Final = "border-collapse:collapse;font-size:90%"
# Each cell has colours of its own: a page's theme colours the rows of any table.
_CELL: Final = (
    "background:#f6f8fa;color:#24292f;padding:2px 10px;text-align:left;border-bottom:1px solid #d0d7de;white-space:pre"
)


@magics_class
class RunsMagics(Magics):
    """The magic that manages runs.

    Args:
        shell: Where it is registered.
        commands: The magics that run commands; they know the views.
    """

    def __init__(self, shell: InteractiveShell, commands: CommandMagics) -> None:
        super().__init__(shell)
        self._views = commands.views

    @no_var_expand
    @line_magic
    def xec_runs(self, line: str) -> Any:
        """List the runs of this kernel, or do something with some of them.

        ::

            %xec_runs                 list them, newest last
            %xec_runs stop ID…|all    stop runs and what they left behind: INT, then TERM, then KILL
            %xec_runs kill ID…|all    kill them at once
            %xec_runs show ID         show a run again, live if it runs
            %xec_runs log ID [LINES]  the last lines of its output, and where the whole is
            %xec_runs wait [ID…|all]  wait until these, or all, are over; raises if one failed
        """
        with one_line_errors():
            verb, *rest = line.split() or ["list"]
            actions: dict[str, Callable[[list[str]], Any]] = {
                "list": self._list, "stop": self._stop, "kill": self._kill, "show": self._show, "log": self._log,
                "wait": self._wait,
            }  # fmt: skip
            if asks_for_help(verb, RunsMagics.xec_runs):
                return None
            if verb not in actions:
                hint = nearest(verb, actions) or f"there are {', '.join(actions)}"
                raise OptionError(f"%xec_runs cannot {verb!r}; {hint}")
            return actions[verb](rest)

    def _runs(self, names: list[str], *, default_all: bool = False) -> list[Run]:
        executor = _executor()
        if names == ["all"] or (not names and default_all):
            return executor.runs()
        if not names:
            raise OptionError("name a run by its id, or write all; %xec_runs lists them")
        return [self._run(name) for name in names]

    def _run(self, name: str) -> Run:
        executor = _executor()
        run = executor.find(name)
        if run is None:
            known = ", ".join(run.run_id for run in executor.runs()[-10:])
            raise OptionError(
                f"there is no run {name!r}; " + (f"the last ones are {known}" if known else "nothing has run yet")
            )
        return run

    def _list(self, names: list[str]) -> None:
        if names:
            raise OptionError(f"%xec_runs list takes nothing more, but {names[0]!r} stands there")
        mask = _executor().redactor.mask
        rows = [_row(run, mask) for run in _executor().runs()]
        display(_bundle(rows), raw=True)  # type: ignore[no-untyped-call]

    def _stop(self, names: list[str], *, now: bool = False) -> None:
        for run in self._runs(names):
            run.cancel(now=now)

    def _kill(self, names: list[str]) -> None:
        self._stop(names, now=True)

    def _show(self, names: list[str]) -> None:
        for run in self._runs(names):
            view = self._views.get(run.run_id)
            if view is None:
                raise OptionError(
                    f"run {run.run_id} was started from Python and has no view; %xec_runs log {run.run_id} has its output"
                )
            view.reopen()

    def _log(self, names: list[str]) -> None:
        if not names:
            raise OptionError("name a run by its id; %xec_runs lists them")
        run, count = self._run(names[0]), LOG_LINES
        if names[1:]:
            if not re.fullmatch(r"[1-9]\d{0,5}", names[1]):
                raise OptionError(f"{names[1]!r} is no number of lines; write %xec_runs log {names[0]} 100")
            count = int(names[1])
        log = run.log
        first = max(0, log.line_count - count)
        text = b"".join(piece.data for piece in log.lines(first, count)).decode("utf-8", "replace")
        if first:
            where = f"; all of it: {log.path}" if log.path else ""
            text = f"[xec] lines {first + 1:,}–{log.line_count:,} of {log.line_count:,}{where}\n" + text
        print(terminal_text(text), end="" if text.endswith("\n") else "\n")  # noqa: T201 - asked for

    def _wait(self, names: list[str]) -> None:
        runs = self._runs(names, default_all=True)
        failed = []
        for run in runs:
            if not names and run.done():
                continue
            result = run.wait()
            view = self._views.get(run.run_id)
            if view is not None:
                view.close(result)
                if view.mode == "text":  # what a page shows in the place of the run, a terminal shows here
                    view.reopen()
            if run.check and not result.ok:
                failed.append(result)
        if failed:
            error = failed[0].error()
            assert error is not None
            raise error


def _executor() -> Executor:
    from xec_magic import runtime

    return runtime.current().executor


def _row(run: Run, mask: Callable[[str], str]) -> tuple[str, ...]:
    result = run.snapshot()
    if run.done():
        state, seconds = result.outcome.value, result.duration_s
        if run.process is not None and run.process.streams_open:
            state += ", children left"
    else:
        state, seconds = run.state, time.time() - run.created_at
    where = str(run.plan.command.target)
    return (
        run.run_id,
        where,
        state,
        format_duration(seconds),
        format_size(run.log.size()),
        plain_line(mask(run.plan.title)),
    )


_HEAD: Final = ("id", "on", "state", "time", "output", "command")
_ON: Final = 1


def _bundle(rows: list[tuple[str, ...]]) -> dict[str, str]:
    if not rows:
        return {"text/plain": "[xec] nothing has run yet"}
    table = [_HEAD, *rows]
    if all(row[_ON] == LOCAL.name for row in rows):  # where all is here, it need not be said in each line
        table = [(*row[:_ON], *row[_ON + 1 :]) for row in table]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]) - 1)]
    text = "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in table
    )
    head = "".join(f'<th style="{_CELL}">{cell}</th>' for cell in table[0])
    state = table[0].index("state")
    body = "".join(
        "<tr>"
        + "".join(_cell(cell, column == state, column == len(row) - 1) for column, cell in enumerate(row))
        + "</tr>"
        for row in table[1:]
    )
    # column-reverse: a long list opens at its end, where the newest runs are.
    page = f'<table style="{_TABLE}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return both_forms(text, f'<div tabindex="0" style="{_BOX}"><div>{page}</div></div>')


def _cell(text: str, is_state: bool, is_command: bool) -> str:
    bad = f";color:{palette.BAD};font-weight:600" if is_state and text.partition(",")[0] in _BAD else ""
    wrap = f";{WRAP};min-width:9em" if is_command else ""  # all others are short
    return f'<td style="{_CELL}{bad}{wrap}">{html.escape(text)}</td>'
