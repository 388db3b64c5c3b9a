"""Output as HTML: coloured, bad lines marked, the middle left out when it is long."""

from __future__ import annotations

from html import escape
from itertools import accumulate, groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from xec_magic.display import palette
from xec_magic.display.ansi import PLAIN, Span, Style, has_controls, parse_line, span_html
from xec_magic.display.lines import Excerpt, Line, excerpt, looks_bad, may_look_bad, read_lines
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


def output_html(result: Result, volatile: bool, mask: Mask, share: int = 1, cut: Excerpt | None = None) -> str:
    """What a run printed, its middle left out when it is long; empty when it printed nothing.

    Args:
        result: The run.
        volatile: Say where the whole log is.
        mask: Replaces secrets in a text.
        share: So many are shown together: each gets a part of the room.
        cut: What is shown of its log, where that is known already.
    """
    if not result.log.size():
        return ""
    cut = excerpt(result.log, share) if cut is None else cut
    limits = HEAD_HTML // share, TAIL_HTML // share
    if not cut.gap and _is_plain(cut.head, mask, limits[0]) and _is_plain(cut.tail, mask, limits[1]):
        return _plain_blocks(cut.head + cut.tail)
    head, style = _marked_up(cut.head, PLAIN, mask)
    tail, _ = _marked_up(cut.tail, PLAIN if cut.gap else style, mask)
    kept_head = _fitting(head, limits[0])
    if not cut.gap:  # what finds no room in front holds the end, which a reader wants most
        head, tail = head[: len(kept_head)], head[len(kept_head) :] + tail
    kept_tail = _fitting(tail[::-1], limits[1], end=True)[::-1]
    dropped = len(head) + len(tail) - len(kept_head) - len(kept_tail)
    gap = cut._replace(hidden_lines=cut.hidden_lines + dropped).gap
    if not gap and kept_head == head and kept_tail == tail:
        return _blocks(head + tail)
    gap = gap or "a part of a line not shown"
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


def _is_plain(lines: list[Line], mask: Mask, limit: int) -> bool:
    """There is nothing to be done for any of the lines but to escape it, and there is room for all. To look at all of them at once
    takes a tenth of what it takes to look at each.
    """
    text = "\n".join(line.text for line in lines)
    return (
        len(text) + TAG_COST * (len(escape(text, quote=False)) - len(text)) <= limit
        and not has_controls(text)
        and not may_look_bad(text)
        and mask(text) == text
        and all(len(line.text) <= LONG_LINE for line in lines)
    )


def _plain_blocks(lines: list[Line]) -> str:
    blocks = groupby(lines, key=attrgetter("err"))
    return "".join(
        _block(escape("\n".join(line.text for line in group), quote=False), err=err) for err, group in blocks
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
    """Runs of lines of one stream, each a block."""
    blocks = groupby(rows, key=attrgetter("err"))
    return "".join(_block("\n".join(row.html for row in group), err=err) for err, group in blocks)


def _block(html: str, *, err: bool) -> str:
    """Lines of one stream; standard error has a bar at its side and says what it is."""
    # HTML swallows a newline that follows <pre>; a trailing one keeps an empty last line high.
    return f"<pre{' title=stderr' if err else ''} style='{ERR if err else PRE}'>\n{html}\n</pre>"
