"""What is kept ready, as a table in text and HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from xec_magic.display.markup import WRAP
from xec_magic.display.mime import both_forms
from xec_magic.units import format_count, format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xec_magic.transport.ssh import Row
    from xec_magic.transport.worker import PoolEntry

__all__ = ["render_pool"]

_TABLE: Final = "border-collapse:collapse;font-size:90%"
# Each cell has colours of its own: a page's theme colours the rows of any table.
_CELL: Final = (
    "background:#f6f8fa;color:#24292f;padding:2px 10px;text-align:left;border-bottom:1px solid #d0d7de;white-space:pre"
)

_WRAPS: Final = ("name", "shell or host", "connection", "of")  # what may be long, and gives way on a narrow page


def render_pool(
    entries: Sequence[PoolEntry], connections: Sequence[tuple[str, Row]] = (), volatile: bool = True
) -> dict[str, str]:
    """Tables of what is kept ready, as `text/plain` and `text/html`.

    Args:
        entries: Shells, in the order in which they are shown.
        connections: Whose each one is, and the connection; the owner of those that every `--on` uses is `--on`.
        volatile: Say also what changes from run to run: pids and times. Without it what waits without a name is left out.

    Example:
        >>> render_pool([])["text/plain"]
        '[xec] nothing is kept ready'
    """
    tables = []
    shown = [entry for entry in entries if volatile or entry.name]
    if shown:
        head = ["kind", "name", "shell or host", "pid", "state", "served", "age", "idle"]
        tables.append(_table(head, [_row(entry) for entry in shown], () if volatile else ("pid", "age", "idle")))
    if connections:
        head = ["connection", "of", "state", "channels", "ahead", "served", "reused", "saved", "age", "idle"]
        rows = [_connection(owner, row) for owner, row in connections]
        tables.append(_table(head, rows, () if volatile else ("ahead", "saved", "age", "idle")))
    if not tables:
        return {"text/plain": "[xec] nothing is kept ready"}
    return both_forms("\n\n".join(text for text, _ in tables), "".join(html for _, html in tables))


def _table(head: list[str], rows: list[list[str]], without: tuple[str, ...]) -> tuple[str, str]:
    """A table as text and as HTML, some of its columns left out."""
    kept = [number for number, name in enumerate(head) if name not in without]
    cells = [[row[number] for number in kept] for row in [head, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(kept))]
    text = "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )
    styles = [_CELL + (f";{WRAP};min-width:6em" if name in _WRAPS else "") for name in cells[0]]
    columns = "".join(f'<th style="{style}">{cell}</th>' for style, cell in zip(styles, cells[0], strict=True))
    body = "".join(
        "<tr>"
        + "".join(f'<td style="{style}">{escape(cell)}</td>' for style, cell in zip(styles, row, strict=True))
        + "</tr>"
        for row in cells[1:]
    )
    return text, f'<table style="{_TABLE}"><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table>'


def _row(entry: PoolEntry) -> list[str]:
    return [
        entry.kind, entry.name, entry.what, str(entry.pid or ""), entry.state, format_count(entry.served, "command"),
        format_duration(entry.age_s), "" if entry.idle_s is None else format_duration(entry.idle_s),
    ]  # fmt: skip


def _connection(owner: str, row: Row) -> list[str]:
    state = "busy" if row.busy and row.state == "open" else "idle" if row.state == "open" else row.state
    return [
        row.host, owner, state, f"{row.busy} of {row.limit}", str(row.ahead), format_count(row.commands, "command"),
        str(row.reused), format_duration(row.saved_s) if row.reused else "", format_duration(row.age_s),
        "" if row.idle_s is None else format_duration(row.idle_s),
    ]  # fmt: skip
