"""What a run or a machine used over time: as a matplotlib Figure, as an image for the notebook, as lines of text."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from xec_magic.display import chart, palette
from xec_magic.display.ansi import plain_line
from xec_magic.timeline import Curves
from xec_magic.units import format_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from xec_magic.events import Mark
    from xec_magic.timeline import Timeline

__all__ = ["figure_of", "sparkline", "usage_html", "usage_lines"]

POINTS: Final = 240  # of a curve in a saved chart: what a screen shows at 400 pixels
SPARKS: Final = 40  # characters of a line of text
PANEL_PX: Final = 84
TITLE: Final = 64  # letters of 9 points that a chart's width holds
NAMED_MARKS: Final = 8  # more are lines without words
_BARS: Final = "▁▂▃▄▅▆▇█"


def thinned(curves: Curves, most: int = POINTS) -> Curves:
    """The curves with at most so many rows: means of rates, the largest memory. Gaps stay gaps."""
    count = len(curves.time_s)
    if count <= most:
        return curves
    edges = [round(i * count / most) for i in range(most + 1)]
    groups = [slice(a, b) for a, b in pairwise(edges)]
    columns = []
    for name, values in zip(Curves._fields, curves, strict=True):
        pick = _mean if name != "rss_bytes" else _most
        columns.append([values[group][-1] if name == "time_s" else pick(values[group]) for group in groups])
    return Curves(*columns)


def _mean(values: Sequence[float]) -> float:
    return math.nan if any(map(math.isnan, values)) else sum(values) / len(values)


def _most(values: Sequence[float]) -> float:
    return math.nan if any(map(math.isnan, values)) else max(values)


# -- a figure -------------------------------------------------------------------------------------


def figure_of(timeline: Timeline, name: str, target: str) -> Figure:
    """CPU, memory and I/O over time, one above the other; a panel of which nothing was measured is left out.

    Args:
        timeline: The samples.
        name: What was watched.
        target: Where.
    """
    whole = timeline.curves()
    curves = thinned(whole)
    drawn = [draw for measured, draw in _panels(whole) if chart.finite(measured)]
    marks = timeline.marks
    listed = marks[:NAMED_MARKS]
    figure, axes = chart.new_figure([PANEL_PX] * max(1, len(drawn)))
    height = PANEL_PX * max(1, len(drawn)) + 46 + 14 * len(listed)
    figure.set_figheight(height / 96)
    for draw, one in zip(drawn, axes, strict=False):
        draw(one, whole, curves)
        one.set_ylim(0, max(one.get_ylim()[1], 0.1))
        one.margins(x=0.01)
        for number, mark in enumerate(marks, 1):
            _draw_mark(one, mark.at - timeline.started_at, str(number) if one is axes[0] and mark in listed else "")
    told = [f"{number} {chart.plain(plain_line(mark.text)[:80])}" for number, mark in enumerate(listed, 1)]
    chart.label(axes[-1], "\n".join([f"seconds since the start, on {chart.plain(target)}", *told]))
    words = plain_line(name)
    words = words if len(words) <= TITLE else words[: TITLE - 1] + "…"
    figure.suptitle(chart.plain(words), fontsize=9, color=palette.FOREGROUND, family="monospace", x=0.02, ha="left")
    return figure


Draw = Callable[["Axes", Curves, Curves], None]


def _panels(curves: Curves) -> list[tuple[Sequence[float], Draw]]:
    return [
        (curves.cpu_cores, _draw_cpu),
        (curves.rss_bytes, _draw_memory),
        ([*curves.read_rate, *curves.write_rate], _draw_io),
        ([*curves.received_rate, *curves.sent_rate], _draw_network),
    ]


def _draw_cpu(axes: Axes, whole: Curves, curves: Curves) -> None:
    axes.fill_between(curves.time_s, curves.cpu_cores, color=chart.COLOURS[0], alpha=0.15, linewidth=0)
    axes.plot(curves.time_s, curves.cpu_cores, color=chart.COLOURS[0], linewidth=1.4)
    chart.title(axes, "CPU (cores)", f"peak {max(chart.finite(whole.cpu_cores)):.2f}")


def _draw_memory(axes: Axes, whole: Curves, curves: Curves) -> None:
    divisor, unit = chart.scaled(whole.rss_bytes)
    values = [value / divisor for value in curves.rss_bytes]
    axes.fill_between(curves.time_s, values, color=chart.COLOURS[1], alpha=0.15, linewidth=0)
    axes.plot(curves.time_s, values, color=chart.COLOURS[1], linewidth=1.4)
    most = max(chart.finite(curves.rss_bytes))
    at = curves.rss_bytes.index(most)
    axes.plot([curves.time_s[at]], [values[at]], "o", color=chart.COLOURS[1], markersize=3.5)
    chart.title(axes, f"memory ({unit})", f"peak {format_size(most)}")


def _draw_io(axes: Axes, whole: Curves, curves: Curves) -> None:
    del whole  # the means are drawn, and no peak is named
    _draw_two(axes, curves.time_s, (curves.read_rate, curves.write_rate), ("read", "written"))


def _draw_network(axes: Axes, whole: Curves, curves: Curves) -> None:
    del whole
    _draw_two(axes, curves.time_s, (curves.received_rate, curves.sent_rate), ("received", "sent"))


def _draw_two(axes: Axes, times: list[float], both: tuple[list[float], list[float]], words: tuple[str, str]) -> None:
    divisor, unit = chart.scaled([*both[0], *both[1]])
    for values, colour, style, word in zip(both, chart.COLOURS[2:4], ("-", "--"), words, strict=True):
        if chart.finite(values):
            scaled = [value / divisor for value in values]
            axes.plot(times, scaled, color=colour, linestyle=style, linewidth=1.4, label=word)
    axes.legend(
        loc="upper right", bbox_to_anchor=(1.0, 1.32), ncols=2, fontsize=8, frameon=False, borderaxespad=0,
        labelcolor=palette.FOREGROUND, handlelength=1.8, columnspacing=1.2,
    )  # fmt: skip
    chart.title(axes, f"{words[0]}, {words[1]} ({unit}/s)")


def _draw_mark(axes: Axes, at: float, number: str) -> None:
    axes.axvline(at, color=palette.MUTED, linewidth=0.8, linestyle=":")
    if number:
        axes.annotate(
            number, (at, 1.0), xycoords=("data", "axes fraction"), xytext=(2, -1), textcoords="offset points",
            va="top", fontsize=7.5, color=palette.FOREGROUND,
        )  # fmt: skip


# -- in a notebook and in text ----------------------------------------------------------------------


def usage_html(timeline: Timeline, name: str, target: str, mask: Callable[[str], str] = str) -> str:
    """The chart as an image with the same in words for who cannot see it; empty without samples."""
    if not timeline.samples:
        return ""
    marks = [_masked(mark, mask) for mark in timeline.marks]
    shown = _copy(timeline, marks)
    figure = figure_of(shown, mask(name), target)
    words = "; ".join(usage_lines(shown, mask))
    return (
        f"<div style='padding:4px 6px;background:{palette.BACKGROUND};border-top:1px solid {palette.RULE}'>"
        f"{chart.image_html(figure, f'use of {mask(name)} on {target}: {words}')}</div>"
    )


def _masked(mark: Mark, mask: Callable[[str], str]) -> Mark:
    from dataclasses import replace

    return replace(mark, text=mask(mark.text))


def _copy(timeline: Timeline, marks: list[Mark]) -> Timeline:
    from dataclasses import replace

    return replace(timeline, marks=marks)


def sparkline(times: Sequence[float], values: Sequence[float], width: int = SPARKS) -> str:
    """A curve as a row of bars from zero to its largest; a blank where nothing was measured.

    Example:
        >>> sparkline([0, 1, 2, 3], [0, 1, 2, 4], 4)
        '▁▂▄█'
    """
    if not times:
        return ""
    end = times[-1] or 1.0
    width = min(width, len(times))
    most = max(chart.finite(values), default=0.0) or 1.0
    bars = ""
    for column in range(width):
        first = bisect_right(times, end * column / width)
        last = bisect_right(times, end * (column + 1) / width)
        within = values[first:last] or values[max(0, first - 1) : first]
        known = chart.finite(within)
        bars += _BARS[min(7, int(max(known) / most * 7.999))] if known else " "
    return bars


def usage_lines(timeline: Timeline, mask: Callable[[str], str] = str) -> list[str]:
    """The curves as lines of text, each with its largest and mean value; then the marks."""
    curves = timeline.curves()
    lines = []
    known = chart.finite(curves.cpu_cores)
    if known:
        used = timeline.samples[-1].cpu_s
        span = curves.time_s[-1] - (0.0 if timeline.from_zero else curves.time_s[0])
        begin = 0.0 if timeline.from_zero else (timeline.samples[0].cpu_s or 0.0)
        mean = (used - begin) / span if used is not None and span > 0 else sum(known) / len(known)
        lines.append(
            f"CPU    {sparkline(curves.time_s, curves.cpu_cores)} peak {max(known):.2f}, mean {mean:.2f} cores"
        )
    known = chart.finite(curves.rss_bytes)
    if known:
        lines.append(
            f"memory {sparkline(curves.time_s, curves.rss_bytes)} peak {format_size(max(known))}, "
            f"mean {format_size(sum(known) / len(known))}"
        )
    for name, values in (
        ("read  ", curves.read_rate),
        ("write ", curves.write_rate),
        ("recv  ", curves.received_rate),
        ("sent  ", curves.sent_rate),
    ):
        known = chart.finite(values)
        if known and max(known) > 0:
            lines.append(f"{name} {sparkline(curves.time_s, values)} peak {format_size(max(known))}/s")
    lines += [
        f"{mark.at - timeline.started_at:6.1f} s {mask(plain_line(mark.text))}" for mark in timeline.marks[:NAMED_MARKS]
    ]
    if len(timeline.marks) > NAMED_MARKS:
        lines.append(f"… and {len(timeline.marks) - NAMED_MARKS} more marks")
    return lines
