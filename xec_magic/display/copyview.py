"""Copies on the reader's page: how they go on, and the record that they leave. Text and HTML by pure functions of a result."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any, Final

from IPython.display import DisplayHandle, display

from xec_magic.display import palette
from xec_magic.display.cellvalue import mark_shown
from xec_magic.display.markup import RULE, SMALL, Mask, strong_html
from xec_magic.display.mime import both_forms
from xec_magic.display.mode import Mode
from xec_magic.units import format_count, format_duration, format_size

if TYPE_CHECKING:
    from xec_magic.copied import Copied, CopyResult

__all__ = ["CopyView", "copy_bundle"]

UPDATE_S: Final = 0.25  # a page, or a terminal's line, gets no more often than this
SHOWN_HOSTS: Final = 40  # while they run; the record has all that failed, and so many of the others
TROUBLES: Final = 20  # of one host
_CELL: Final = (
    f"background:{palette.BACKGROUND};color:{palette.FOREGROUND};padding:2px 10px;text-align:left;"
    f"border-top:{RULE};white-space:pre-wrap;font-size:12px"
)
_ENDED: Final = ("copied", "failed", "interrupted")


# -- pure: words, text, HTML ------------------------------------------------------------------------


def copy_bundle(result: CopyResult, volatile: bool = True, mask: Mask = str) -> dict[str, str]:
    """A copy as `text/plain` and `text/html`, ended or on its way.

    Args:
        result: How it stands.
        volatile: Say also what changes from run to run: times and rates.
        mask: Replaces secrets in a text.
    """
    parts = _chosen(result)
    head = mask(_headline(result, volatile))
    hidden = len(result) - len(parts)
    more = f"… and {format_count(hidden, 'host')} more that are well" if hidden else ""
    single = len(result) == 1 and result[0].state == "copied"
    rows = [] if single else [[mask(part.target), part.state, mask(_said(part, volatile))] for part in parts]
    troubles = [mask(line) for part in parts for line in _troubles(part, named=len(result) > 1)]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    table = [f"  {target.ljust(widths[0])}  {state.ljust(widths[1])}  {said}".rstrip() for target, state, said in rows]
    text = [f"[xec] {head}", *table, *([f"  {more}"] if more else []), *(f"  {line}" for line in troubles)]
    return both_forms("\n".join(text), _html(head, result, rows, parts, more, troubles))


def _chosen(result: CopyResult) -> list[Copied]:
    bad = [part for part in result if part.state in ("failed", "interrupted")]
    busy = [part for part in result if part.state in ("looking", "copying", "checking")]
    rest = [part for part in result if part not in bad and part not in busy]
    shown = {id(part) for part in [*bad, *[*busy, *rest][: max(0, SHOWN_HOSTS - len(bad))]]}
    return [part for part in result if id(part) in shown]


def _headline(result: CopyResult, volatile: bool) -> str:
    what = f"{result.source} → {result.destination}"
    ended = sum(part.state in _ENDED for part in result)
    if ended < len(result) or not len(result):
        done, total = result.size_bytes, sum(part.total_bytes for part in result)
        share = f"{100 * done // total} % of {format_size(total)}" if total else "looking"
        rate = f", {format_size(done / result.duration_s)}/s" if volatile and done and result.duration_s >= 1 else ""
        hosts = f", {ended} of {len(result)} hosts done" if len(result) > 1 else ""
        return f"{what}: {share}{rate}{hosts}"
    said = f"{format_count(result.files, 'file')} copied, {format_size(result.size_bytes)}"
    said += f"; {result.same:,} there already" if result.same else ""
    resumed = sum(part.resumed_bytes for part in result)
    said += f"; went on behind {format_size(resumed)} of an earlier copy" if resumed else ""
    said += f"; {len(result.failed):,} of {format_count(len(result), 'host')} not complete" if not result.ok else ""
    if volatile and result.ok:
        rate = (
            f", {format_size(result.size_bytes / result.duration_s)}/s"
            if result.size_bytes and result.duration_s
            else ""
        )
        said += f" in {format_duration(result.duration_s)}{rate}"
    return f"{what}: {said}"


def _said(part: Copied, volatile: bool) -> str:
    if part.state in _ENDED:
        words = part.error or f"{format_count(part.files, 'file')}, {format_size(part.size_bytes)}" + (
            f", {part.same:,} there already" if part.same else ""
        )
        return words + (f", {format_duration(part.duration_s)}" if volatile and part.state == "copied" else "")
    if part.state == "waiting":
        return ""
    share = f"{100 * part.size_bytes // part.total_bytes} %, " if part.total_bytes else ""
    return f"{share}{part.files:,} of {format_count(part.files_total, 'file')}"


def _troubles(part: Copied, *, named: bool) -> list[str]:
    """What was not copied, a line each."""
    begin = f"{part.target}: " if named else ""
    lines = [f"{begin}{trouble}" for trouble in part.failures[:TROUBLES]]
    lines += [f"{begin}left out: {trouble}" for trouble in part.left_out[:TROUBLES]]
    hidden = max(0, len(part.failures) - TROUBLES) + max(0, len(part.left_out) - TROUBLES)
    lines += [f"{begin}… and {hidden:,} more"] if hidden else []
    return lines + [f"{begin}{kept}" for kept in part.kept]


def _html(
    head: str, result: CopyResult, rows: list[list[str]], parts: list[Copied], more: str, troubles: list[str]
) -> str:
    lines = []
    for (target, state, said), part in zip(rows, parts, strict=False):
        bad = f";color:{palette.BAD};font-weight:600" if state in ("failed", "interrupted") else ""
        bar = ""
        if state not in _ENDED and part.total_bytes:
            share = 100 * part.size_bytes // part.total_bytes
            bar = f"<progress max='100' value='{share}' aria-label='{share} %' style='width:8em'></progress> "
        lines.append(
            f'<tr><td style="{_CELL}">{escape(target)}</td><td style="{_CELL}{bad}">{escape(state)}</td>'
            f'<td style="{_CELL}">{bar}{escape(said)}</td></tr>'
        )
    table = f'<table style="border-collapse:collapse;margin:0">{"".join(lines)}</table>' if lines else ""
    hidden = f"<div style='{SMALL}'>{escape(more)}</div>" if more else ""
    said = "".join(f"<div style='padding:2px 10px;color:{palette.BAD}'>{escape(trouble)}</div>" for trouble in troubles)
    broken = any(part.state in ("failed", "interrupted") for part in result)
    title = strong_html(escape(head), palette.BAD) if broken else f"<b>{escape(head)}</b>"
    return (
        f"<div style='background:{palette.BACKGROUND};color:{palette.FOREGROUND};border:{RULE};border-radius:4px;overflow:hidden;"
        f"font-size:12px;line-height:1.45'><div style='padding:3px 10px;overflow-wrap:anywhere'>{title}</div>{table}{hidden}{said}</div>"
    )


# -- on the page --------------------------------------------------------------------------------------


class CopyView:
    """One copy, shown while the main thread waits for it.

    Args:
        mode: In what form.
        mask: Replaces secrets in a text.
        quiet: Show nothing.
    """

    def __init__(self, mode: Mode, *, mask: Mask, quiet: bool = False) -> None:
        self._mode = mode
        self._mask = mask
        self._quiet = quiet
        self._output: DisplayHandle | None = None
        self._opens_at = time.monotonic() + UPDATE_S  # a short copy shows its record alone
        self._line = ""

    def pump(self, snapshot: Callable[[], CopyResult]) -> None:
        """Show how it stands, now and then."""
        now = time.monotonic()
        if self._quiet or now < self._opens_at:
            return
        self._opens_at = now + UPDATE_S
        if self._mode is Mode.WIDGET:
            self._show(copy_bundle(snapshot(), mask=self._mask))
        elif self._mode is Mode.TEXT and sys.stdout.isatty():
            self._say(copy_bundle(snapshot(), mask=self._mask)["text/plain"].partition("\n")[0])

    def close(self, result: CopyResult) -> None:
        """Leave the record."""
        self._say("")
        if self._quiet:
            return
        bundle = copy_bundle(result, self._mode is not Mode.STATIC, self._mask)
        if self._mode is Mode.TEXT:
            print(bundle["text/plain"])  # noqa: T201 - a terminal's view
        else:
            self._show(bundle)
        mark_shown(result)

    def _show(self, data: dict[str, Any]) -> None:
        if self._output is None:
            self._output = display(data, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._output.update(data, raw=True)  # type: ignore[no-untyped-call]

    def _say(self, line: str) -> None:
        """Write over the terminal's last line."""
        if line or self._line:
            sys.stdout.write("\r" + line.ljust(len(self._line)) + ("" if line else "\r"))
            sys.stdout.flush()
            self._line = line
