"""Tunnels as a table in text and HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final, Protocol

from xec_magic.display import palette
from xec_magic.display.mime import both_forms

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TunnelRow", "render_tunnels"]

_CELL: Final = (
    f"background:{palette.BACKGROUND};color:{palette.FOREGROUND};padding:2px 10px;text-align:left;"
    f"border-bottom:1px solid {palette.RULE};white-space:pre"
)


class TunnelRow(Protocol):
    """What a table needs of a tunnel."""

    name: str

    @property
    def kind(self) -> str:
        """What it forwards."""

    @property
    def way(self) -> str:
        """From where to where."""

    @property
    def state(self) -> str:
        """Whether it is open."""

    @property
    def connections(self) -> int | None:
        """How many have been made through it."""

    @property
    def trouble(self) -> str:
        """What was wrong with the last one that failed."""


def render_tunnels(tunnels: Sequence[TunnelRow]) -> dict[str, str]:
    """A table of tunnels, as `text/plain` and `text/html`.

    Example:
        >>> render_tunnels([])["text/plain"]
        '[xec] no tunnel is open'
    """
    if not tunnels:
        return {"text/plain": "[xec] no tunnel is open"}
    head = ["name", "kind", "from and to", "state", "connections", ""]
    rows = [
        [
            each.name,
            each.kind,
            each.way,
            each.state,
            "" if each.connections is None else f"{each.connections:,}",
            each.trouble,
        ]
        for each in tunnels
    ]
    rows = [["".join(char if char.isprintable() else "?" for char in cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    ]
    columns = "".join(f'<th style="{_CELL}">{escape(cell)}</th>' for cell in head)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{escape(cell)}</td>' for cell in row) + "</tr>" for row in rows
    )
    table = f'<table style="border-collapse:collapse;font-size:90%"><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table>'
    return both_forms("\n".join(lines), table)
