"""What several machines or runs use, side by side: a chart with a panel a quantity and a line each, and a line of text each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Final, Protocol

from xec_magic.display import chart, palette
from xec_magic.display.ansi import plain_line
from xec_magic.display.hostmarks import draw_marks, mark_lines, shared_marks
from xec_magic.display.mime import both_forms
from xec_magic.display.usage import sparkline, thinned
from xec_magic.errors import OptionError
from xec_magic.timeline import Curves
from xec_magic.units import format_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from xec_magic.result import Result
    from xec_magic.timeline import Timeline

__all__ = ["Hosted", "hosts_bundle", "hosts_figure", "hosts_lines", "results_figure", "results_html", "results_lines"]

NAMED: Final = 6  # lines that the eye can tell apart; of more hosts the ones that use most are named, the others grey
SPARKS: Final = 16
LINES: Final = 12  # of text below the output of a fleet
PANEL_PX: Final = 78
_STYLES: Final = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)))
_SMALL: Final = f"padding:3px 10px;color:{palette.MUTED};background:{palette.BACKGROUND};font-size:12px;line-height:1.6"


class Hosted(Protocol):
    """What is shown of one watch."""

    timeline: Timeline
    failure: str

    @property
    def title(self) -> str:
        """The host's name."""

    @property
    def running(self) -> bool:
        """It takes samples."""


def hosts_bundle(watched: Sequence[Hosted], volatile: bool = True, mask: Callable[[str], str] = str) -> dict[str, str]:
    """All of them as text and HTML. With `volatile=False` only what does not change from run to run: their names."""
    lines = hosts_lines(watched, mask) if volatile else [plain_line(each.title) for each in watched]
    html = "".join(
        f"<div style='{_SMALL};white-space:pre;font-family:monospace'>{escape(line)}</div>" for line in lines
    )
    seen = [each for each in watched if each.timeline.samples]
    if volatile and seen:
        figure = hosts_figure([(each.title, each.timeline) for each in seen], mask)
        picture = chart.image_html(figure, f"use of {len(seen)} hosts: " + "; ".join(lines))
        html = f"<div style='padding:4px 6px'>{picture}</div>" + html
    return both_forms(
        "\n".join(f"[xec] {line}" for line in lines),
        f"<div style='background:{palette.BACKGROUND};border:1px solid {palette.RULE};border-radius:4px;"
        f"overflow-x:auto'>{html}</div>",
    )


def hosts_lines(watched: Sequence[Hosted], mask: Callable[[str], str] = str) -> list[str]:
    """A line a host: its curves with their peaks, and what went wrong."""
    width = max(len(plain_line(each.title)) for each in watched)
    lines = []
    for each in watched:
        parts = [plain_line(each.title).ljust(width), *_curves(each.timeline)]
        if each.timeline.samples and each.timeline.samples[-1].load is not None:
            parts.append(f"load {each.timeline.samples[-1].load:.2f}")
        if each.failure:
            parts.append(mask(plain_line(each.failure)))
        elif not each.timeline.samples:
            parts.append("no sample yet")
        lines.append("  ".join(parts))
    marks = shared_marks([each.timeline for each in watched], mask)
    return lines + mark_lines(marks, [each.title for each in watched])


def results_figure(results: Sequence[Result], mask: Callable[[str], str] = str) -> Figure:
    """The chart of monitored runs; `Results.plot` is its public name.

    Raises:
        OptionError: none of them was monitored, or all ended before their first sample.
    """
    named = _monitored(results, mask)
    if not named:
        raise OptionError(
            "there is nothing to plot: none of the runs was monitored long enough; run them with monitor=True"
        )
    return hosts_figure(named, mask)


def results_html(results: Sequence[Result], mask: Callable[[str], str] = str) -> str:
    """The chart of monitored runs as an image; empty without any."""
    named = _monitored(results, mask)
    if not named:
        return ""
    words = f"use of {len(named)} runs: " + ", ".join(name for name, _ in named[:NAMED])
    words = "; ".join([words, *_marked(named, mask)])
    return f"<div style='padding:4px 6px'>{chart.image_html(hosts_figure(named, mask), words)}</div>"


def results_lines(results: Sequence[Result], mask: Callable[[str], str] = str) -> list[str]:
    """A line of text for each monitored run: its curves with their peaks; of many those that used most."""
    monitored = _monitored(results, mask)
    named = sorted(monitored, key=lambda one: -(one[1].samples[-1].cpu_s or 0.0))
    width = max((len(plain_line(name)) for name, _ in named[:LINES]), default=0)
    lines = ["  ".join([plain_line(name).ljust(width), *_curves(timeline)]) for name, timeline in named[:LINES]]
    lines += [f"and {len(named) - LINES} more that used less"] if len(named) > LINES else []
    return lines + _marked(monitored, mask)


def _marked(named: Sequence[tuple[str, Timeline]], mask: Callable[[str], str]) -> list[str]:
    return mark_lines(shared_marks([timeline for _, timeline in named], mask), [name for name, _ in named])


def _curves(timeline: Timeline) -> list[str]:
    """Its curves as bars, with their peaks."""
    curves, parts = timeline.curves(), []
    for name, values, words in (
        ("CPU", curves.cpu_cores, lambda value: f"{value:.2f} cores"),
        ("memory", curves.rss_bytes, format_size),
    ):
        known = chart.finite(values)
        if known:
            parts.append(f"{name} {sparkline(curves.time_s, values, SPARKS)} peak {words(max(known))}")
    return parts


def _monitored(results: Sequence[Result], mask: Callable[[str], str]) -> list[tuple[str, Timeline]]:
    alone = len({result.target for result in results}) < 2
    return [
        (mask(result.plan.title if alone else result.target), result.timeline)
        for result in results
        if result.timeline is not None and result.timeline.samples
    ]


def hosts_figure(named: Sequence[tuple[str, Timeline]], mask: Callable[[str], str] = str) -> Figure:
    """CPU, memory, input and output, and network, a panel each, with a line for each host, on one scale of time.

    Of more than six hosts the six that used the most processor are named, and the others drawn in grey. Marks have the colour
    of their host; each text stands below once.
    """
    start = min(timeline.started_at for _, timeline in named)
    drawn = []
    for name, timeline in named:
        curves = thinned(timeline.curves())
        later = timeline.started_at - start
        drawn.append((name, curves._replace(time_s=[time + later for time in curves.time_s])))
    order = sorted(range(len(drawn)), key=lambda at: -_total(drawn[at][1]))
    looks = {at: number for number, at in enumerate(sorted(order[:NAMED]))}
    panels = [panel for panel in _PANELS if any(chart.finite(panel[2](curves)) for _, curves in drawn)]
    figure, axes = chart.new_figure([PANEL_PX] * max(1, len(panels)))
    for (name, unit, pick), one in zip(panels, axes, strict=False):
        # Of a command it is what went through calls.
        what = name.removeprefix("storage, ") if named[0][1].from_zero else name
        _draw(one, what, unit, [pick(curves) for _, curves in drawn], [curves.time_s for _, curves in drawn], looks)
    others = len(drawn) - len(looks)
    handles = [
        axes[0].plot([], [], color=chart.COLOURS[number], linestyle=_STYLES[number], linewidth=1.5)[0]
        for number in looks.values()
    ]
    labels = [chart.plain(plain_line(drawn[at][0])[:28]) for at in looks]
    if others:
        handles.append(axes[0].plot([], [], color=palette.MUTED, linewidth=0.8, alpha=0.6)[0])
        labels.append(f"{others} more")
    marks = shared_marks([timeline for _, timeline in named], mask)
    colours = {at: chart.COLOURS[number] for at, number in looks.items()}
    words = draw_marks(axes, marks, [name for name, _ in named], colours) if marks else []
    chart.label(axes[-1], "\n".join(["seconds since the start", *words]))
    rows = math.ceil(len(labels) / 2)
    figure.set_figheight((PANEL_PX * max(1, len(panels)) + 46 + 17 * rows + 14 * len(words)) / 96)
    figure.legend(
        handles, labels, loc="outside upper left", ncols=2, fontsize=8, frameon=False, labelcolor=palette.FOREGROUND,
        handlelength=2.4,
    )  # fmt: skip
    return figure


def _total(curves: Curves) -> float:
    known = chart.finite(curves.cpu_cores)
    return sum(known) / len(known) if known else 0.0


Pick = Callable[[Curves], list[float]]
_PANELS: Final[list[tuple[str, str, Pick]]] = [
    ("CPU", "cores", lambda curves: curves.cpu_cores),
    ("memory", "bytes", lambda curves: curves.rss_bytes),
    ("storage, read and written", "bytes/s", lambda curves: _both(curves.read_rate, curves.write_rate)),
    ("network, received and sent", "bytes/s", lambda curves: _both(curves.received_rate, curves.sent_rate)),
]


def _both(one: list[float], other: list[float]) -> list[float]:
    """Their sum; what is unknown of one is unknown."""
    return [a + b for a, b in zip(one, other, strict=True)]


def _draw(
    axes: Axes, name: str, unit: str, curves: list[list[float]], times: list[list[float]], looks: dict[int, int]
) -> None:
    divisor, word = (1.0, unit) if unit == "cores" else chart.scaled([value for curve in curves for value in curve])
    for at, curve in enumerate(curves):
        scaled = [value / divisor for value in curve]
        if at in looks:
            number = looks[at]
            axes.plot(
                times[at], scaled, color=chart.COLOURS[number], linestyle=_STYLES[number], linewidth=1.4, zorder=3
            )
        else:
            axes.plot(times[at], scaled, color=palette.MUTED, linewidth=0.8, alpha=0.6)
    axes.set_ylim(0, max(axes.get_ylim()[1], 0.1))
    axes.margins(x=0.01)
    known = chart.finite([value for curve in curves for value in curve])
    peak = f"{max(known):.2f}" if unit == "cores" else format_size(max(known)) + unit.removeprefix("bytes")
    chart.title(axes, f"{name} ({word}{unit.removeprefix('bytes') if unit != 'cores' else ''})", f"peak {peak}")
