"""Marks of several machines or runs in one chart: lines in their colours, and each text once, with who said it and when."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xec_magic.display import chart, palette
from xec_magic.display.ansi import plain_line
from xec_magic.display.usage import NAMED_MARKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from xec_magic.timeline import Timeline

__all__ = ["SharedMark", "draw_marks", "mark_lines", "shared_marks"]

NAMES: Final = 3  # of who said it; the rest are counted
LINE_CHARACTERS: Final = 72  # below a chart of 480 pixels


@dataclass(frozen=True, slots=True)
class SharedMark:
    """One text, and who said it.

    Attributes:
        text: The text.
        said: The number of who said it, and the seconds since the start of the first of all; in order of time.
    """

    text: str
    said: tuple[tuple[int, float], ...]


def shared_marks(timelines: Sequence[Timeline], mask: Callable[[str], str] = str) -> list[SharedMark]:
    """The marks of all, equal texts together, by when they were first said."""
    start = min((timeline.started_at for timeline in timelines), default=0.0)
    said: dict[str, list[tuple[float, int]]] = {}
    for number, timeline in enumerate(timelines):
        for mark in timeline.marks:
            said.setdefault(plain_line(mask(mark.text)), []).append((mark.at - start, number))
    found = [SharedMark(text, tuple((number, at) for at, number in sorted(who))) for text, who in said.items()]
    return sorted(found, key=lambda mark: mark.said[0][1])


def mark_lines(marks: Sequence[SharedMark], names: Sequence[str]) -> list[str]:
    """A line of text for each: when, what, and who."""
    lines = [f"{_when(mark):>11} s {mark.text} ({_who(mark, names)})" for mark in marks[:NAMED_MARKS]]
    return lines + ([f"… and {len(marks) - NAMED_MARKS} more marks"] if len(marks) > NAMED_MARKS else [])


def draw_marks(
    panels: Sequence[Axes], marks: Sequence[SharedMark], names: Sequence[str], colours: Mapping[int, str]
) -> list[str]:
    """Draw them in the colours of who said them, where they have one, and number the first of each text; the words to the numbers."""
    for axes in panels:
        for number, colour in [*colours.items(), (-1, palette.MUTED)]:
            times = [at for mark in marks for who, at in mark.said if (who if who in colours else -1) == number]
            axes.vlines(
                times, 0, 1, transform=axes.get_xaxis_transform(), color=colour, linewidth=0.8, linestyle=":", zorder=1
            )
    for number, mark in enumerate(marks[:NAMED_MARKS], 1):
        panels[0].annotate(
            str(number), (mark.said[0][1], 1.0), xycoords=("data", "axes fraction"), xytext=(2, -1),
            textcoords="offset points", va="top", fontsize=7.5, color=palette.FOREGROUND,
        )  # fmt: skip
    return [f"{number} {chart.plain(_words(mark, names))}" for number, mark in enumerate(marks[:NAMED_MARKS], 1)]


def _words(mark: SharedMark, names: Sequence[str]) -> str:
    who = f" ({_who(mark, names)})"
    room = max(LINE_CHARACTERS - len(who), LINE_CHARACTERS // 3)
    text = mark.text if len(mark.text) <= room else mark.text[: room - 1] + "…"
    return (text + who)[:LINE_CHARACTERS]


def _when(mark: SharedMark) -> str:
    first, last = mark.said[0][1], mark.said[-1][1]
    return f"{first:.1f}" if f"{first:.1f}" == f"{last:.1f}" else f"{first:.1f}–{last:.1f}"


def _who(mark: SharedMark, names: Sequence[str]) -> str:
    who = list(dict.fromkeys(plain_line(names[number]) for number, _ in mark.said))
    more = f" and {len(who) - NAMES} more" if len(who) > NAMES else ""
    return ", ".join(who[:NAMES]) + more
