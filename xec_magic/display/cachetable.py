"""What the cache holds and what it has done, as text and as HTML; pure functions of values."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, Final, Protocol

from xec_magic.command import Command
from xec_magic.display import palette
from xec_magic.display.ansi import plain_line
from xec_magic.display.markup import WRAP, Mask
from xec_magic.display.mime import both_forms
from xec_magic.units import format_age, format_count, format_duration, format_size

__all__ = ["entries_bundle", "stats_bundle"]

MOST_ROWS: Final = 200  # no page shows more; `list PATTERN` finds the rest
TITLE_WIDTH: Final = 60
_BOX: Final = "max-height:420px;overflow:auto;display:flex;flex-direction:column-reverse"
_TABLE: Final = "border-collapse:collapse;font-size:90%"
# Each cell has colours of its own: a page's theme colours the rows of any table.
_CELL: Final = (
    f"background:{palette.BACKGROUND};color:{palette.FOREGROUND};padding:2px 10px;text-align:left;"
    f"border-bottom:1px solid {palette.RULE};white-space:pre"
)


class _Entry(Protocol):
    """What a row shows."""

    @property
    def command(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def age_s(self) -> float: ...
    @property
    def left_s(self) -> float: ...
    @property
    def size(self) -> int: ...
    @property
    def hits(self) -> int: ...
    @property
    def tier(self) -> str: ...


class _Stats(Protocol):
    """What a cache has done."""

    hits: int
    shared: int
    misses: int
    stores: int
    refused: int
    stale: int
    evictions: int
    saved_s: float


def entries_bundle(
    entries: Sequence[_Entry], *, pattern: str = "", volatile: bool = True, mask: Mask = str
) -> dict[str, str]:
    """A table of entries, the newest last; without ages where nothing may change from run to run.

    Args:
        entries: Those to show.
        pattern: What they were chosen by; empty for all.
        volatile: Say also what changes from run to run.
        mask: Replaces secrets in a text.
    """
    if not entries:
        said = f"nothing that is kept matches {pattern!r}" if pattern else "nothing is kept"
        return both_forms(f"[xec] {said}", _note(said))
    shown = entries[-MOST_ROWS:]
    head = ["command", "target", *(("age", "left") if volatile else ()), "size", "hits", "tier"]
    rows = [_row(entry, volatile, mask) for entry in shown]
    more = len(entries) - len(shown)
    gap = f"{format_count(more, 'older entry') if more == 1 else f'{more:,} older entries'} not shown" if more else ""
    text = _text_table([head, *rows])
    # column-reverse: a long list opens at its end, where the newest entries are.
    page = f'<div tabindex="0" style="{_BOX}"><div>{_note(gap) if gap else ""}{_html_table(head, rows, wraps=0)}</div></div>'
    return both_forms(f"[xec] {gap}\n{text}" if gap else text, page)


def _row(entry: _Entry, volatile: bool, mask: Mask) -> list[str]:
    title = plain_line(mask(Command(entry.command).title(TITLE_WIDTH)))
    times = [f"{format_age(entry.age_s)}", _left(entry.left_s)] if volatile else []
    return [title, entry.target, *times, format_size(entry.size), f"{entry.hits:,}", entry.tier]


def _left(left_s: float) -> str:
    if left_s == float("inf"):
        return "for ever"
    return format_age(left_s) if left_s > 0 else "stale"


def stats_bundle(
    stats: _Stats, memory: tuple[int, int], disk: tuple[int, int], where: str, *, volatile: bool = True
) -> dict[str, str]:
    """What the cache of this kernel has done, and what it holds.

    Args:
        stats: What it has done.
        memory: Entries and bytes in memory.
        disk: Entries and bytes on disk.
        where: Directory of what is on disk; empty when it is not used.
        volatile: Say what changes from run to run as well: times, sizes, the directory.
    """
    asked = stats.hits + stats.shared + stats.misses
    rows = [
        ["hits", f"{stats.hits:,}" + (f" of {asked:,} ({stats.hits / asked:.0%})" if asked else "")],
        ["of them stale", f"{stats.stale:,}"],
        ["shared", f"{stats.shared:,}"],
        ["misses", f"{stats.misses:,}"],
        ["stores", f"{stats.stores:,}"],
        ["not stored", f"{stats.refused:,}"],
        ["evictions", f"{stats.evictions:,}"],
    ]
    if volatile:
        rows += [
            ["time saved", format_duration(stats.saved_s)],
            ["in memory", f"{_entries(memory[0])}, {format_size(memory[1])}"],
            ["on disk", f"{_entries(disk[0])}, {format_size(disk[1])}" + (f" in {where}" if where else "")],
        ]
    return both_forms(_text_table(rows), _html_table([], rows, wraps=1))


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count:,} entries"


def _text_table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]], wraps: int) -> str:
    """A table of which the column `wraps` gives way on a narrow page: all others are short."""

    def line(cells: Sequence[str], tag: str) -> str:
        styles = [f"{_CELL};{WRAP};min-width:9em" if number == wraps else _CELL for number in range(len(cells))]
        return "<tr>" + "".join(
            f'<{tag} style="{style}">{escape(cell)}</{tag}>' for style, cell in zip(styles, cells, strict=True)
        ) + "</tr>"  # fmt: skip

    top = f"<thead>{line(head, 'th')}</thead>" if head else ""
    return f'<table style="{_TABLE}">{top}<tbody>{"".join(line(row, "td") for row in rows)}</tbody></table>'


def _note(text: Any) -> str:
    return f'<div style="{_CELL};display:inline-block;border:0;font-size:90%">{escape(str(text))}</div>'
