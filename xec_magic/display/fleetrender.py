"""How a fleet ended, in text and in HTML: counts, equal outputs together with how the others differ, who failed, who never began."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xec_magic.display import palette
from xec_magic.display.ansi import plain_line
from xec_magic.display.hostsview import results_html, results_lines
from xec_magic.display.markup import RULE, SMALL, Mask, safe_html, strong_html
from xec_magic.display.render import badge
from xec_magic.display.table import render_results_html, render_results_text
from xec_magic.formats import to_lines
from xec_magic.inventory.nodeset import fold
from xec_magic.likeness import begin_of_output, own_name
from xec_magic.units import format_duration
from xec_magic.verdict import tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from xec_magic.results import Group, Results

__all__ = ["closing_lines", "fleet_html", "fleet_text", "folded", "summary_lines"]

GROUPS: Final = 8  # shown one by one; of more the rest is named
OUTPUT_LINES: Final = 30  # of a group
DIFF_LINES: Final = 40
ALIEN_LINES: Final = (
    6  # of the largest group's output: from so many on a difference that has nothing in common with it is left out
)
UNFOLDED: Final = 20  # so many targets have their outputs below the groups, to unfold
REMARKS: Final = 6  # lines of what is to be known of single targets besides their outputs
NAMES: Final = 160  # characters of a list of targets in a line
OWN_NAME: Final = "{host} stands for each host's own name"

_PRE: Final = (
    "margin:0;padding:2px 10px 6px;border:0;background:transparent;color:inherit;"
    "font-family:Menlo,Consolas,DejaVu Sans Mono,monospace;font-size:12px;line-height:1.45;white-space:pre-wrap;overflow-wrap:anywhere"
)
_BOX: Final = (
    f"background:{palette.BACKGROUND};color:{palette.FOREGROUND};border:{RULE};border-radius:4px;overflow:hidden"
)
_ADDED: Final = "#116329"  # on BACKGROUND it has a contrast of 7


def folded(names: Sequence[str], most: int = NAMES) -> str:
    """Targets in few characters: `web[01-20,25]`, cut where it is long."""
    text = fold(names)
    return text if len(text) <= most else text[: most - 3].rpartition(",")[0] + ", …"


def closing_lines(results: Results, duration_s: float | None, mask: Mask = str) -> list[str]:
    """What is to be known at least, in a few lines that begin with `[xec]`: counts, who failed, who never began.

    Args:
        results: One a target.
        duration_s: How long all took; None to say nothing of it.
        mask: Replaces secrets in a text.
    """
    took = f", {format_duration(duration_s)}" if duration_s is not None else ""
    lines = [f"[xec] {_counts(results)}{took}"]
    if results.failed:
        lines.append(f"[xec] failed: {folded(results.failed.targets)}")
    if results.not_started:
        why = plain_line(mask(results.not_started[0].verdict().removeprefix("not started: ")))
        lines.append(f"[xec] not started: {folded(results.not_started.targets)} ({why})")
    return [*lines, *_remarks(results, mask, duration_s is not None)]


def _remarks(results: Results, mask: Mask, volatile: bool) -> list[str]:
    """What the run of a target would say of itself: what may go on there, a session that is gone, a kept result, further attempts."""
    found: dict[str, list[str]] = {}
    for result in results:
        said = [f"attempt {len(result.attempts) + 1}"] if result.attempts else []
        said += [badge(result, volatile)] if result.cached is not None else []
        for note in [*said, *map(own_name(result.plan.command.target), result.notes)]:
            found.setdefault(note, []).append(result.target)
    lines = []
    for note, names in found.items():
        words = note.replace("{host}", names[0]) if len(names) == 1 else note
        lines.append(f"[xec] {folded(names)}: {plain_line(mask(words))}")
    if len(lines) > REMARKS:
        lines[REMARKS - 1 :] = [f"[xec] {len(lines) - REMARKS + 1} more remarks: see notes of each result"]
    return lines


def summary_lines(results: Results, duration_s: float | None, mask: Mask = str) -> list[str]:
    """What stands below outputs that have been seen already: the groups, how they differ from the largest, the closing lines."""
    groups = _groups(results)
    lines = []
    if 1 < len(groups) <= GROUPS:
        for group in groups:
            body, is_diff = _body(group, groups[0])
            lines += [f"[xec] {_headline(group, mask)}", *(map(mask, body) if is_diff else ())]
    return [*lines, *_explained(lines), *_use(results, duration_s, mask), *closing_lines(results, duration_s, mask)]


def fleet_text(results: Results, duration_s: float | None = None, *, mask: Mask = str) -> str:
    """The groups, or the table of targets where nearly each is a group of its own; then the closing lines."""
    groups = _groups(results)
    if _differ(groups, results):
        body = render_results_text(results, duration_s is not None, mask=mask, outputs=False).split("\n")[:-1]
    else:
        body = [line for group in groups[:GROUPS] for line in _group_text(group, groups[0], mask)]
        if len(groups) > GROUPS:
            rest = [name for group in groups[GROUPS:] for name in group.targets]
            body.append(f"[xec] {len(groups) - GROUPS} more groups: {folded(rest)}")
        body += _explained(body)
    return "\n".join([*body, *_use(results, duration_s, mask), *closing_lines(results, duration_s, mask)])


def _explained(lines: Iterable[str]) -> list[str]:
    """What `{host}` is, where lines have it."""
    return [f"[xec] {OWN_NAME}"] if any("{host}" in line for line in lines) else []


def _use(results: Results, duration_s: float | None, mask: Mask) -> list[str]:
    """What monitored targets used, a line each; nothing where outputs must not change."""
    return [f"[xec] {line}" for line in results_lines(results, mask)] if duration_s is not None else []


def fleet_html(results: Results, duration_s: float | None = None, *, mask: Mask = str, title: str = "") -> str:
    """The same as HTML, and below it every target; where they are not too many, with its output to unfold."""
    groups = _groups(results)
    differ = _differ(groups, results)
    pieces = [] if differ else [_group_html(group, groups[0], mask) for group in groups[:GROUPS]]
    if not differ and len(groups) > GROUPS:
        rest = [name for group in groups[GROUPS:] for name in group.targets]
        pieces.append(f"<div style='{SMALL}'>{len(groups) - GROUPS} more groups: {safe_html(folded(rest))}</div>")
    pieces += [f"<div style='{SMALL}'>{safe_html(line.removeprefix('[xec] '))}</div>" for line in _explained(pieces)]
    if duration_s is not None:
        pieces.append(results_html(results, mask))
    if len(results) <= UNFOLDED:
        table = render_results_html(results, duration_s is not None, mask=mask, chart=False)
    else:  # as text: markup and outputs of hundreds would make a notebook large
        rows = render_results_text(results, duration_s is not None, mask=mask, outputs=False)
        table = f"<pre style='{_PRE};max-height:420px;overflow:auto;white-space:pre'>{safe_html(rows)}</pre>"
    opened = " open" if differ else ""
    pieces.append(
        f"<details{opened}><summary style='cursor:pointer;{SMALL}'>all {len(results)} targets</summary>{table}</details>"
    )
    first, *more = (line.removeprefix("[xec] ") for line in closing_lines(results, duration_s, mask))
    head = f"<b>{safe_html(first)}</b>" if _all_ok(results) else strong_html(safe_html(first), palette.BAD)
    said = "".join(f"<div>{safe_html(line)}</div>" for line in more)
    name = f" · <code style='background:transparent;color:inherit'>{safe_html(mask(title))}</code>" if title else ""
    return (
        f"<div style='{_BOX};font-size:12px;line-height:1.45'><div style='padding:3px 10px;border-bottom:{RULE}'>{head}{name}{said}</div>"
        + "".join(pieces)
        + "</div>"
    )


def _counts(results: Results) -> str:
    targets = len(results)
    noun = "target" if targets == 1 else "targets"
    return (
        f"all {targets} {noun} ok"
        if targets and _all_ok(results)
        else f"{targets} {noun}: {len(results.ok)} ok, {_bad(results)}"
    )


def _all_ok(results: Results) -> bool:
    """Not the truth of `results`: that of `failed` says that there are any."""
    return all(result.ok for result in results)


def _bad(results: Results) -> str:
    failed, fresh = len(results.failed), len(results.not_started)
    said = [f"{failed:,} failed"] if failed else []
    return ", ".join([*said, *([f"{fresh:,} not started"] if fresh else [])]) or tally(results)


def _groups(results: Results) -> list[Group]:
    """The groups of those that were tried: of the others the closing lines say all."""
    return [group for group in results.groups() if not group.results[0].never_tried]


def _differ(groups: Sequence[Group], results: Results) -> bool:
    """Grouping says nothing: nearly each has an output of its own."""
    return len(groups) > GROUPS and len(groups) > len(results) // 2


def _headline(group: Group, mask: Mask) -> str:
    verdict = group.verdict if len(group) > 1 else group.results[0].verdict_there()
    return f"{folded(group.targets)}{f' ({len(group)})' if len(group) > 1 else ''}: {plain_line(mask(verdict.removeprefix('{host}: ')))}"


def _lines(text: str, most: int) -> list[str]:
    lines = to_lines(text)
    shown = [plain_line(line) for line in lines[:most]]
    return shown + ([f"… {len(lines) - most} more lines …"] if len(lines) > most else [])


def _body(group: Group, largest: Group) -> tuple[list[str], bool]:
    """What to show of a group: its output, or how that differs from the largest group's; and whether it is such a difference."""
    if group is largest or not group.output or not largest.output:
        return _lines(_output(group), OUTPUT_LINES), False
    usual = f"{len(largest)} × {largest.verdict}" if len(largest) > 1 else largest.targets[0]
    lines = to_lines(group.diff_from(usual, folded(group.targets), plain_line))
    removed = sum(line.startswith("-") for line in lines) - 1  # its head is no line of an output
    if removed >= ALIEN_LINES and not any(line.startswith(" ") for line in lines):
        return _lines(_output(group), OUTPUT_LINES), False
    if len(lines) > DIFF_LINES:
        lines[DIFF_LINES:] = [f"… {len(lines) - DIFF_LINES} more lines …"]
    return lines, True


def _output(group: Group) -> str:
    """With `{host}` only where it stands for several names."""
    return group.output if len(group) > 1 else begin_of_output(group.results[0])


def _group_text(group: Group, largest: Group, mask: Mask) -> list[str]:
    lines, _ = _body(group, largest)
    return [f"[xec] {_headline(group, mask)}", *map(mask, lines)]


def _group_html(group: Group, largest: Group, mask: Mask) -> str:
    lines, is_diff = _body(group, largest)
    ok = all(result.ok for result in group.results)
    head = safe_html(_headline(group, mask))
    title = f"<b>{head}</b>" if ok else strong_html(head, palette.BAD)
    marked = "\n".join(_diff_html(mask(line)) if is_diff else safe_html(mask(line)) for line in lines)
    pre = f"<pre style='{_PRE}'>{marked}</pre>" if lines else ""
    return f"<div style='border-bottom:{RULE}'><div style='padding:3px 10px'>{title}</div>{pre}</div>"


def _diff_html(line: str) -> str:
    colour = {"+": _ADDED, "-": palette.BAD, "@": palette.MUTED}.get(line[:1])
    text = safe_html(line)
    return f"<span style='color:{colour}'>{text}</span>" if colour else text
