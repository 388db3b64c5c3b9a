"""Output as HTML: coloured, bad lines marked, the middle left out when it is long."""

from __future__ import annotations

from html import escape
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from xec_magic.display import palette
from xec_magic.display.ansi import PLAIN, Span, Style, parse_line, span_html
from xec_magic.display.lines import Line, excerpt, looks_bad, read_lines
from xec_magic.display.markup import ERR, PRE, SMALL, WRAP, Mask, safe_html
from xec_magic.units import format_count

if TYPE_CHECKING:
    from xec_magic.output import OutputLog
    from xec_magic.result import Result

__all__ = ["output_html", "render_tail"]

HEAD_HTML: Final = 16 * 1024  # characters; many colours make it several times the text
TAIL_HTML: Final = 48 * 1024
TAG_COST: Final = 3  # a character of markup holds a page up so many times as long as one of text
LONG_LINE: Final = 400  # characters; longer lines wrap, so that one does not make the whole block scroll sideways


def output_html(result: Result, volatile: bool, mask: Mask, share: int = 1) -> str:
    """What a run printed, its middle left out when it is long; empty when it printed nothing.

    Args:
        result: The run.
        volatile: Say where the whole log is.
        mask: Replaces secrets in a text.
        share: So many are shown together: each gets a part of the room.
    """
    cut = excerpt(result.log, share)
    head, style = _marked_up(cut.head, PLAIN, mask)
    tail, _ = _marked_up(cut.tail, PLAIN if cut.gap else style, mask)
    kept_head, kept_tail = _fitting(head, HEAD_HTML // share), _fitting(tail[::-1], TAIL_HTML // share, end=True)[::-1]
    dropped = len(head) + len(tail) - len(kept_head) - len(kept_tail)
    gap = cut._replace(hidden_lines=cut.hidden_lines + dropped).gap
    if not gap and kept_head == head and kept_tail == tail:
        return _blocks(head + tail)
    path = f"; the whole log: {safe_html(result.log_path)}" if volatile and result.log_path else ""
    return _blocks(kept_head) + f"<div style='{SMALL}'>… {gap}{path} …</div>" + _blocks(kept_tail)


def render_tail(log: OutputLog, lines: int, limit: int, *, mask: Mask = str) -> str:
    """The last lines of a log as HTML, and before them how many there are more; empty when there is no output.

    Args:
        log: What a run printed.
        lines: So many at most.
        limit: Characters of markup at most.
        mask: Replaces secrets in a text.
    """
    total = log.line_count
    start = max(log.offset_of_line(max(0, total - lines)), log.size() - limit)
    rows, _ = _marked_up(read_lines(log.pieces(start)), PLAIN, mask)
    kept = _fitting(rows[::-1], limit, end=True)[::-1]
    more = total - len(kept)
    return (f"<div style='{SMALL}'>… {format_count(more, 'line')} before this</div>" if more > 0 else "") + _blocks(
        kept
    )


class _Row(NamedTuple):
    html: str
    text: str
    err: bool


def _fitting(rows: list[_Row], limit: int, *, end: bool = False) -> list[_Row]:
    """The first rows that together cost at most `limit` characters; of a first row that costs more, a plain part."""
    costs = (len(row.text) + TAG_COST * (len(row.html) - len(row.text)) for row in rows)
    kept = rows[: sum(size <= limit for size in accumulate(costs))]
    if kept or not rows:
        return kept
    part = limit // 6  # an escaped character has six at most
    text = "…" + rows[0].text[-part:] if end else rows[0].text[:part] + "…"
    return [rows[0]._replace(html=f"<span style='{WRAP}'>{escape(text, quote=False)}</span>")]


def _marked_up(lines: list[Line], style: Style, mask: Mask) -> tuple[list[_Row], Style]:
    rows = []
    for line in lines:
        spans, style = parse_line(line.text, style)
        text = "".join(span.text for span in spans)
        if mask(text) != text:  # a secret may lie across several styles, so its line loses them
            spans, text = [Span(mask(text), PLAIN)], mask(text)
        bad = looks_bad(text)
        html = "".join(span_html(span, palette.MARKED if bad else palette.BACKGROUND) for span in spans)
        css = [f"background:{palette.MARKED}"] if bad else []
        if len(text) > LONG_LINE:
            css.append(WRAP)
        rows.append(_Row(f"<span style='{';'.join(css)}'>{html}</span>" if css else html, text, line.err))
    return rows, style


def _blocks(rows: list[_Row]) -> str:
    """Runs of lines of one stream, each a block; standard error has a bar at its side and says what it is."""
    blocks = []
    for err, group in groupby(rows, key=lambda row: row.err):
        text = "\n".join(row.html for row in group)
        # HTML swallows a newline that follows <pre>; a trailing one keeps an empty last line high.
        blocks.append(f"<pre{' title=stderr' if err else ''} style='{ERR if err else PRE}'>\n{text}\n</pre>")
    return "".join(blocks)
