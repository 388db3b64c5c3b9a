"""Tasks as text and as HTML: while they run, when they have ended, and what would run. Pure.

The HTML is like that of one run: colours and a background of its own, no script, no outside style. With `volatile=False`
nothing in it changes from run to run: no time, and so no chart of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Final

from xec_magic.display import palette
from xec_magic.display.ansi import plain_line
from xec_magic.display.lines import read_lines
from xec_magic.display.markup import Mask
from xec_magic.display.outputhtml import render_tail
from xec_magic.display.tasks_svg import MARKS, colour_of, gantt_svg, graph_svg, image, short_names
from xec_magic.units import format_count, format_duration

if TYPE_CHECKING:
    from xec_magic.compose.tasks_result import TaskResult, TaskResults

__all__ = ["one_ended", "tasks_html", "tasks_text"]

MOST_ROWS: Final = 60  # tasks that are shown by name; the rest is counted
LIVE_ROWS: Final = 30
FEW_ROWS: Final = 8  # of very many tasks, those of one state that is no failure
TAIL_LINES: Final = 40  # of a failed task; of others a few
OK_LINES: Final = 20
TAIL_HTML: Final = 8 * 1024  # characters of markup of one failed task
OK_HTML: Final = 3 * 1024
ALL_HTML: Final = 64 * 1024  # of the output of all tasks together
TEXT_TAILS: Final = 5  # failed tasks whose output a text shows
BARS: Final = 32  # characters
GANTT_FROM_S: Final = 0.05  # a chart of less shows nothing but noise

_BAD: Final = frozenset({"failed", "stopped"})
_ALIVE: Final = frozenset({"pending", "running"})
_BLOCK: Final = f"color:{palette.MUTED};background:{palette.BACKGROUND};font-size:12px;line-height:1.6"
_LINE: Final = "padding:3px 10px"
_MONO: Final = "font-family:Menlo,Consolas,DejaVu Sans Mono,monospace"
_RULE: Final = f"1px solid {palette.RULE}"
_ORDER: Final = ("failed", "stopped", "running", "blocked", "skipped", "would run", "pending", "ok", "up to date")


def _chosen(tasks: Sequence[TaskResult], most: int) -> tuple[list[TaskResult], str]:
    """The tasks to show, and how many more there are: all in their order; of very many the failures first."""
    if len(tasks) <= most:
        return list(tasks), ""
    kinds: dict[str, list[TaskResult]] = {}
    for task in tasks:
        kinds.setdefault(task.state, []).append(task)
    shown: list[TaskResult] = []
    hidden = []
    for state in sorted(kinds, key=_ORDER.index):
        alike = sorted(kinds[state], key=lambda task: -task.duration_s)
        room = min(most - len(shown), most if state in _BAD | {"running"} else FEW_ROWS)
        shown += alike[:room]
        if len(alike) > room:
            hidden.append(f"{len(alike) - room:,} {state}")
    return shown, ", ".join(hidden)


def _note(task: TaskResult, volatile: bool) -> str:
    """What is to be said about a task besides its state and its time."""
    said = [task.reason]
    result = task.result
    if result is not None:
        if result.attempts:
            said.append(f"attempt {len(result.attempts) + 1}")
        if result.left_behind:
            names = (str(process) if volatile else process.name for process in result.left_behind)
            said.append("still running: " + ", ".join(names))
        if result.truncated:
            said.append("output is incomplete")
        said += result.notes
    if task.group:
        said.append(f"group of {len(task.needs)}")
    return "; ".join(one for one in said if one)


def _head(results: TaskResults, volatile: bool, mask: Mask) -> str:
    said = [results.summary()]
    if volatile and any(task.start_s is not None for task in results.values()):
        said.append(f"{format_duration(results.duration_s)} with {format_count(results.jobs, 'job')}")
        path = results.critical_path
        if len(path) > 1 and not any(task.state in _ALIVE for task in results.values()):
            way = path if len(path) <= 6 else [*path[:3], "…", *path[-2:]]
            said.append(f"critical path {' → '.join(way)}, {format_duration(results.critical_s)}")
    return mask(plain_line("; ".join(said)))


def _closing(results: TaskResults) -> list[str]:
    """What stands below: notes, and what to do about a failure."""
    notes = list(results.notes)
    if results.failed and not any(task.state in _ALIVE for task in results.values()):
        notes.append("--resume goes on from here: what ended well is not run again")
    return notes


# -- text ---------------------------------------------------------------------------------------------


def tasks_text(results: TaskResults, volatile: bool = True, *, mask: Mask = str, tails: bool = True) -> str:
    """Tasks as plain text: a line each with its bar in time, then the last lines of what failed.

    Args:
        results: How they stand.
        volatile: Say also what changes from run to run.
        mask: Replaces secrets in a text.
        tails: Show the output of failed tasks.
    """
    tasks, more = _chosen(list(results.values()), MOST_ROWS)
    columns = _Columns(tasks, volatile)
    end = max((task.end_s or 0.0 for task in tasks), default=0.0)
    bars = volatile and sum(task.start_s is not None for task in tasks) > 1 and end >= GANTT_FROM_S
    lines = [f"[xec] {_head(results, volatile, mask)}"]
    for task in tasks:
        name, state, took = columns.cells(task, results.duration_s)
        parts = [f"{MARKS[task.state]} {name}  {state}{took}"]
        if bars:
            parts.append(_text_bar(task, end))
        parts.append(mask(plain_line(_note(task, volatile))))
        lines.append("  ".join(parts).rstrip())
    if more:
        lines.append(f"  … and {more}")
    lines += [f"[xec] {mask(plain_line(note))}" for note in _closing(results)]
    if tails:
        for task in [task for task in tasks if task.state in _BAD][:TEXT_TAILS]:
            tail = _text_tail(task, TAIL_LINES, mask)
            if tail:
                lines += [f"── {plain_line(task.name)}: the last of its output", *tail]
    return "\n".join(lines)


def _text_bar(task: TaskResult, end: float) -> str:
    if task.start_s is None or task.end_s is None:
        return " " * BARS
    start = min(BARS - 1, round(task.start_s / end * BARS))
    length = max(1, min(BARS - start, round(task.duration_s / end * BARS)))
    return (" " * start + "█" * length).ljust(BARS)


def _text_tail(task: TaskResult, count: int, mask: Mask) -> list[str]:
    if task.result is None:
        return []
    log = task.result.log
    total = log.line_count
    lines = [mask(plain_line(line.text)) for line in read_lines(log.lines(max(0, total - count), count))]
    return ([f"… {format_count(total - count, 'line')} before this"] if total > count else []) + lines


def one_ended(task: TaskResult, *, mask: Mask = str) -> str:
    """The line above the output of a task that has just ended, for terminals."""
    took = f", {format_duration(task.duration_s)}" if task.start_s is not None else ""
    note = _note(task, volatile=True)
    return mask(plain_line(f"── {task.name}: {task.state}{took}{f' ({note})' if note else ''}"))


# -- HTML -----------------------------------------------------------------------------------------------


def tasks_html(results: TaskResults, volatile: bool = True, *, mask: Mask = str, now_s: float | None = None) -> str:
    """Tasks as HTML: the chart, then a line each that opens to the task's output.

    Args:
        results: How they stand.
        volatile: Say also what changes from run to run.
        mask: Replaces secrets in a text.
        now_s: Seconds since the first one began, while they run; None when they have ended.
    """
    live = now_s is not None
    tasks, more = _chosen(list(results.values()), LIVE_ROWS if live else MOST_ROWS)
    parts = [_header(results, volatile, mask)]
    chart = _chart(results, volatile, live=live)
    if chart:
        parts.append(f"<div style='padding:4px 0;overflow:auto'>{chart}</div>")
    columns = _Columns(tasks, volatile)
    left = ALL_HTML
    for task in tasks:
        row, used = _row(task, columns, mask, left, now_s)
        left -= used
        parts.append(row)
    if more:
        parts.append(f"<div style='{_LINE}'>… and {more}</div>")
    parts += [f"<div style='{_LINE}'>{_safe(mask(note))}</div>" for note in _closing(results)]
    if live:
        parts.append(f"<div style='{_LINE};border-top:{_RULE}'>interrupt the kernel to stop all of them</div>")
    return f"<div style='{_BLOCK};border:{_RULE};border-radius:4px;overflow:hidden;padding-bottom:3px'>{''.join(parts)}</div>"


def _header(results: TaskResults, volatile: bool, mask: Mask) -> str:
    words = _safe(_head(results, volatile, mask))
    bad = any(task.state in _BAD for task in results.values())
    return f"<div style='{_LINE};border-bottom:{_RULE}'>" + (
        f"<b style='color:{palette.BAD}'>{words}</b></div>" if bad else f"{words}</div>"
    )


def _chart(results: TaskResults, volatile: bool, *, live: bool) -> str:
    tasks = list(results.values())
    if volatile and not live and results.duration_s >= GANTT_FROM_S:
        svg = gantt_svg(tasks, results.critical_path)
        if svg:
            path = results.critical_path
            return image(svg, f"Gantt chart of {len(tasks)} tasks; critical path: {', '.join(path[:10])}")
    svg = graph_svg(tasks)
    if svg:
        return image(svg, "graph of the tasks: " + "; ".join(f"{task.name} {task.state}" for task in tasks))
    return _progress(results) if live else ""


def _progress(results: TaskResults) -> str:
    """How far very many tasks are, as a bar of their states."""
    total = len(results) or 1
    counts = sorted(results.counts().items(), key=lambda each: ("ok", "up to date").count(each[0]), reverse=True)
    cells = "".join(
        f"<td title='{state}' style='width:{100 * count / total:.2f}%;background:{colour_of(state) if state != 'pending' else palette.RULE};padding:0;border:0'></td>"
        for state, count in counts
    )
    return f"<table style='width:100%;height:10px;border-collapse:collapse;margin:4px 0'><tr style='height:10px'>{cells}</tr></table>"


class _Columns:
    """How wide the columns of a table of tasks are, in characters."""

    def __init__(self, tasks: Sequence[TaskResult], volatile: bool) -> None:
        self.volatile = volatile
        self._names = short_names(task.name for task in tasks)
        self.name = max(map(len, self._names.values()), default=0)
        self.state = max((len(task.state) for task in tasks), default=0)
        self.took = 10 if volatile and any(task.start_s is not None for task in tasks) else 0

    def cells(self, task: TaskResult, now_s: float | None) -> tuple[str, str, str]:
        """Its name, state and time, each as wide as its column."""
        took = ""
        if self.took and task.start_s is not None:
            took = (
                format_duration(task.duration_s) if task.end_s is not None else _so_far((now_s or 0.0) - task.start_s)
            )
        return self._names[task.name].ljust(self.name), task.state.ljust(self.state), took.rjust(self.took)


def _so_far(seconds: float) -> str:
    """How long a task has run: steady figures, since they change before one's eyes."""
    return f"{max(0.0, seconds):.1f} s" if seconds < 60 else format_duration(seconds)


def _row(task: TaskResult, columns: _Columns, mask: Mask, budget: int, now_s: float | None) -> tuple[str, int]:
    """The markup of one task, and how much of it is output."""
    bad = task.state in _BAD
    name, state, took = columns.cells(task, now_s)
    colour = colour_of(task.state)
    note = _safe(mask(_note(task, columns.volatile)))
    if bad:
        note = f"<span style='color:{palette.BAD}'>{note}</span>"
    cells = (
        f"<span style='{_MONO};white-space:pre;color:{palette.FOREGROUND}'><span style='color:{colour}'>{MARKS[task.state]}</span> "
        f"<span title='{_safe(task.name)}'>{_safe(name)}</span>  <span style='color:{colour}'>{state}</span>{took}  </span>{note}"
    )
    output = ""
    if task.result is not None and (now_s is None or bad):
        lines, limit = (TAIL_LINES, TAIL_HTML) if bad else (OK_LINES, OK_HTML)
        if budget >= limit:
            output = render_tail(task.result.log, lines, limit, mask=mask) if task.result.log.size() else ""
    if not output:
        return f"<div style='padding:0 10px 0 23px'>{cells}</div>", 0  # as far in as one that can be opened
    # column-reverse: the block opens at its end, where a script says why it failed.
    body = (
        "<div tabindex='0' style='max-height:260px;overflow:auto;display:flex;flex-direction:column-reverse;"
        f"padding:2px 0 4px 18px'><div>{output}</div></div>"
    )
    opened = " open" if bad else ""
    return (
        f"<details{opened}><summary style='padding:0 10px;cursor:pointer'>{cells}</summary>{body}</details>",
        len(output),
    )


def _safe(text: str) -> str:
    return escape(plain_line(text.replace("\n", " ")))
