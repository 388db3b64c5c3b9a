"""What is kept ready, as a table in text and HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from xec_magic.display.mime import both_forms
from xec_magic.units import format_count, format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xec_magic.transport.worker import PoolEntry

__all__ = ["render_pool"]

_TABLE: Final = "border-collapse:collapse;font-size:90%"
# Each cell has colours of its own: a page's theme colours the rows of any table.
_CELL: Final = (
    "background:#f6f8fa;color:#24292f;padding:2px 10px;text-align:left;border-bottom:1px solid #d0d7de;white-space:pre"
)


def render_pool(entries: Sequence[PoolEntry], volatile: bool = True) -> dict[str, str]:
    """A table of what is kept ready, as `text/plain` and `text/html`.

    Args:
        entries: In the order in which they are shown.
        volatile: Say also what changes from run to run: pids and times. Without it what waits without a name is left out.

    Example:
        >>> render_pool([])["text/plain"]
        '[xec] nothing is kept ready'
    """
    shown = [entry for entry in entries if volatile or entry.name]
    if not shown:
        return {"text/plain": "[xec] nothing is kept ready"}
    head = [
        "kind",
        "name",
        "shell or host",
        *(["pid"] if volatile else []),
        "state",
        "served",
        *(["age", "idle"] if volatile else []),
    ]
    rows = [_row(entry, volatile) for entry in shown]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    ]
    columns = "".join(f'<th style="{_CELL}">{cell}</th>' for cell in head)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{escape(cell)}</td>' for cell in row) + "</tr>" for row in rows
    )
    page = f'<table style="{_TABLE}"><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table>'
    return both_forms("\n".join(lines), page)


def _row(entry: PoolEntry, volatile: bool) -> list[str]:
    pid = [str(entry.pid or "")] if volatile else []
    times = [format_duration(entry.age_s), format_duration(entry.idle_s) if entry.idle_s is not None else ""]
    return [
        entry.kind, entry.name, entry.what, *pid, entry.state, format_count(entry.served, "command"), *(times if volatile else []),
    ]  # fmt: skip
