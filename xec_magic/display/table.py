"""Several results as a table, in text and in HTML: what ran, how it ended, its last line, and its output to unfold.

Like the record of one run it brings its own colours and no script; `<details>` unfold by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from xec_magic.display import palette
from xec_magic.display.ansi import plain_line
from xec_magic.display.hostsview import results_html
from xec_magic.display.lines import excerpt, read_lines
from xec_magic.display.markup import RULE, SMALL, Mask, safe_html, strong_html
from xec_magic.display.outputhtml import output_html
from xec_magic.display.render import facts
from xec_magic.outcome import Outcome
from xec_magic.result import Result
from xec_magic.units import format_duration
from xec_magic.verdict import signal_name, tally

if TYPE_CHECKING:
    from xec_magic.results import Results

__all__ = ["render_results_html", "render_results_text"]

HTML_ROWS: Final = 1000  # more make a page slow; those that failed are among them
TEXT_ROWS: Final = 200
TEXT_OUTPUT_LINES: Final = 60  # below a table, of all results together
COMMAND_CHARACTERS: Final = 60
LINE_CHARACTERS: Final = 100
SEEN_ROWS: Final = 20  # of a longer table a page shows the first ones, until it is scrolled
NAMED: Final = 20  # numbers of failed ones below such a table
FULL_OUTPUTS: Final = 4  # so many results get the room of one each; more share it

_CELL: Final = f"padding:2px 10px;text-align:left;vertical-align:top;border-bottom:{RULE};background:{palette.BACKGROUND};color:{palette.FOREGROUND}"
_CODE: Final = "font-family:Menlo,Consolas,DejaVu Sans Mono,monospace"


class _Row(NamedTuple):
    """One line of the table; `hidden` results stand in it together where there are too many."""

    number: int
    result: Result | None
    hidden: int = 0
    hidden_ok: int = 0


class _Columns(NamedTuple):
    """What differs between the results and is worth a column."""

    target: bool
    command: bool
    time: bool

    def head(self) -> list[str]:
        """The headings."""
        return [
            "target" if self.target else "#",
            *(["command"] if self.command else []),
            "state",
            "exit",
            *(["time"] if self.time else []),
            "last line",
        ]


def render_results_text(results: Results, volatile: bool = True, *, mask: Mask = str, outputs: bool = True) -> str:
    """The results as a plain table, then outputs of more than a line if all of them are short, then one line `[xec] …`.

    Args:
        results: What came back.
        volatile: Show also what changes from run to run: times, paths.
        mask: Replaces secrets in a text.
        outputs: Show the outputs as well; not where they have been seen already.
    """
    columns = _columns(results, volatile)
    rows = _rows(results, TEXT_ROWS)
    lines = [
        columns.head(),
        *(["…", _hidden(row)] if row.result is None else _cells(row, columns, mask) for row in rows),
    ]
    widths = [max((len(line[at]) for line in lines if len(line) > at + 1), default=0) for at in range(len(lines[0]))]
    text = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False))]).rstrip() for line in lines
    ]
    if outputs:
        text += _outputs(results, columns, mask)
    return "\n".join([*text, "[xec] " + ", ".join(_said(results, volatile, mask))])


def render_results_html(results: Results, volatile: bool = True, *, mask: Mask = str, chart: bool = True) -> str:
    """The results as an HTML table, each output to unfold, and below it the chart of monitored ones.

    Args:
        results: As for `render_results_text`, as are the others.
        volatile: Likewise.
        mask: Likewise.
        chart: With the chart.
    """
    columns = _columns(results, volatile)
    share = max(1, min(len(results), HTML_ROWS) // FULL_OUTPUTS)
    head = "".join(f"<th scope='col' style='{_CELL};font-weight:600'>{name}</th>" for name in columns.head())
    body = "".join(_row_html(row, columns, volatile, mask, share) for row in _rows(results, HTML_ROWS))
    tallied, *rest = [safe_html(part) for part in _said(results, volatile, mask)]
    picture = results_html(results, mask) if volatile and chart else ""
    ok = all(result.ok for result in results)  # the truth of `results.failed` says that there are any
    foot = " · ".join([tallied if ok else strong_html(tallied, palette.BAD), *rest])
    return (
        f"<div style='background:{palette.BACKGROUND};border:{RULE};border-radius:4px;overflow:hidden'>"
        "<div tabindex='0' style='max-height:420px;overflow:auto'>"
        f"<table style='border-collapse:collapse;table-layout:auto;width:100%;margin:0;font-size:12px;line-height:1.45'><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>{picture}<div style='{SMALL}'>{foot}</div></div>"
    )


# -- what is shown --------------------------------------------------------------------------------


def _columns(results: Results, volatile: bool) -> _Columns:
    commands = {result.plan.title for result in results}
    return _Columns(
        target=len(results.targets) > 1, command=len(commands) > 1 or len(results.targets) == 1, time=volatile
    )


def _rows(results: Sequence[Result], most: int) -> Iterator[_Row]:
    """All results, or as many as can be shown: bad ones, and the first and the last."""
    chosen = range(len(results))
    wanted: set[int] = set(chosen)
    if len(results) > most:
        bad = [at for at in chosen if not results[at].ok]
        wanted = {*bad[: most // 2], *chosen[: most // 4], *chosen[-(most // 4) :]}
    for shown, group in groupby(chosen, key=wanted.__contains__):
        places = list(group)
        if shown:
            yield from (_Row(at + 1, results[at]) for at in places)
        else:
            yield _Row(places[0] + 1, None, len(places), sum(results[at].ok for at in places))


def _hidden(row: _Row) -> str:
    return f"{row.hidden:,} more, {row.hidden_ok:,} of them ok"


def _cells(row: _Row, columns: _Columns, mask: Mask) -> list[str]:
    result = row.result
    assert result is not None
    began = result.outcome is not Outcome.NOT_STARTED
    return [
        mask(result.target) if columns.target else str(row.number),
        *([_cut(plain_line(mask(result.plan.title)), COMMAND_CHARACTERS)] if columns.command else []),
        result.outcome.value,
        _exit(result),
        *([format_duration(result.duration_s) if began else ""] if columns.time else []),
        _last_line(result, mask) if began else plain_line(mask(result.verdict())),
    ]


def _exit(result: Result) -> str:
    if result.signal is not None:
        return signal_name(result.signal)
    return "" if result.exit_code is None else str(result.exit_code)


def _last_line(result: Result, mask: Mask) -> str:
    log = result.log
    start = max(0, log.size() - 4096)
    for line in reversed(read_lines(log.pieces(start))):
        text = plain_line(mask(line.text)).strip()
        if text:
            return _cut(text, LINE_CHARACTERS)
    return ""


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _said(results: Results, volatile: bool, mask: Mask) -> list[str]:
    """The line below the table."""
    whole = results.whole
    more = [] if whole is None else [fact for fact in facts(whole, volatile, mask) if fact != "no output"]
    if whole is not None and whole.outcome not in (Outcome.OK, Outcome.FAILED, Outcome.NOT_STARTED):
        more.insert(0, mask(whole.verdict()))
    counted, *others = tally(results).split(", ")
    return [", ".join([counted + _which(results), *others]), *more]


def _which(results: Results) -> str:
    """The numbers of those that failed, where nobody sees them all at once; targets are named elsewhere."""
    bad = [str(number) for number, result in enumerate(results, 1) if not result.ok and not result.never_tried]
    if len(results) <= SEEN_ROWS or not 0 < len(bad) < len(results) or len(results.targets) > 1:
        return ""
    return f" ({', '.join(bad[:NAMED])}{', …' if len(bad) > NAMED else ''})"


def _outputs(results: Results, columns: _Columns, mask: Mask) -> list[str]:
    long = [(number, result) for number, result in enumerate(results, 1) if result.log.line_count > 1]
    if sum(result.log.line_count for _, result in long) > TEXT_OUTPUT_LINES:
        return []
    lines = []
    for number, result in long:
        lines.append(
            f"[xec] {mask(result.target) if columns.target else number}: {_cut(plain_line(mask(result.plan.title)), COMMAND_CHARACTERS)}"
        )
        cut = excerpt(result.log)
        lines += [plain_line(mask(line.text)) for line in (*cut.head, *cut.tail)]
    return lines


# -- HTML -----------------------------------------------------------------------------------------


def _row_html(row: _Row, columns: _Columns, volatile: bool, mask: Mask, share: int) -> str:
    if row.result is None:
        return f"<tr><td style='{_CELL}'>…</td><td colspan='9' style='{_CELL};color:{palette.MUTED}'>{_hidden(row)}</td></tr>"
    result, names = row.result, columns.head()
    cells = _cells(row, columns, mask)
    return (
        "<tr>"
        + "".join(
            _cell_html(name, cell, result, volatile, mask, share) for name, cell in zip(names, cells, strict=True)
        )
        + "</tr>"
    )


def _cell_html(name: str, text: str, result: Result, volatile: bool, mask: Mask, share: int) -> str:
    markup, style = safe_html(text), _CELL
    if name in ("target", "#"):
        return f"<th scope='row' style='{style};font-weight:400'>{markup}</th>"
    if name == "state" and not result.ok:
        markup = strong_html(markup, palette.MUTED if result.outcome is Outcome.NOT_STARTED else palette.BAD)
    if name in ("state", "time", "exit"):
        style += ";white-space:nowrap"
    elif name == "command":
        style += f";width:45%;{_CODE};overflow-wrap:anywhere"
    elif name == "last line":
        style += f";width:55%;{_CODE};overflow-wrap:anywhere"
        if result.log.line_count > 1 or result.log.size() > LINE_CHARACTERS:
            output = output_html(result, volatile, mask, share)
            markup = (
                f"<details><summary style='cursor:pointer'>{markup or '(output)'}</summary>"
                f"<div style='max-height:300px;overflow:auto'>{output}</div></details>"
            )
    return f"<td style='{style}'>{markup}</td>"
