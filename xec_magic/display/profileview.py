"""Profiles and the session's report as text and HTML, with charts by matplotlib. Pure functions of values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Final

from xec_magic.display import chart, palette
from xec_magic.display.ansi import plain_line
from xec_magic.display.markup import Mask
from xec_magic.display.mime import both_forms
from xec_magic.units import format_count, format_duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from xec_magic.profiles.comparison import Profile
    from xec_magic.profiles.session import Record, Report

__all__ = ["distribution_figure", "gantt_figure", "profile_bundle", "report_bundle", "scaling_figure"]

ROW_PX: Final = 42
GANTT_RUNS: Final = 40  # the last ones: more rows are no picture any more
NAME: Final = 46  # characters of a command above its row
# Each cell has colours of its own: a page's theme colours the rows of any table.
_CELL: Final = (
    f"background:{palette.BACKGROUND};color:{palette.FOREGROUND};padding:2px 6px;vertical-align:top;"
    f"border-bottom:1px solid {palette.RULE};font-size:12px;"
)
# Commands and headings may take several lines, so that all figures are seen.
_NAME: Final = "text-align:left;white-space:normal;min-width:7em"
_FIGURE: Final = {"th": "text-align:right;white-space:normal", "td": "text-align:right;white-space:nowrap"}
_SMALL: Final = f"padding:3px 10px;color:{palette.MUTED};background:{palette.BACKGROUND};font-size:12px;line-height:1.6"


# -- a profile --------------------------------------------------------------------------------------


def profile_bundle(profile: Profile, volatile: bool = True, mask: Mask = str) -> dict[str, str]:
    """A profile as text and HTML. With `volatile=False` only what does not change from run to run: names and counts."""
    if not volatile:
        runs = [(variant.title, len(done)) for variant, done in profile.variants]
        lines = [f"[xec] {format_count(count, 'run')}: {mask(plain_line(name))}" for name, count in runs]
        return both_forms("\n".join(lines), _block([_line(line[6:]) for line in lines]))
    head, rows = profile.table()
    rows = [[mask(plain_line(row[0])), *row[1:]] for row in rows]
    notes = [mask(plain_line(note)) for note in _notes(profile)]
    text = [*_text_table(head, rows), *(f"[xec] {note}" for note in notes)]
    parts = [_html_table(head, rows)]
    if profile.summaries:
        figures = [(distribution_figure(profile, mask), "distribution of the times of all runs")]
        if profile.growth:
            figures.append((scaling_figure(profile, mask), "time over the parameter"))
        for figure, what in figures:
            parts.append(
                f"<div style='padding:4px 6px'>{chart.image_html(figure, f'{what}: ' + '; '.join(text[2:]))}</div>"
            )
    parts += [_line(note) for note in notes]
    return both_forms("\n".join(text), _block(parts))


def _notes(profile: Profile) -> list[str]:
    said = []
    for name, growth in profile.growth.items():
        within = "" if math.isnan(growth.low) else f" (95 %: {growth.low:.2f} to {growth.high:.2f})"
        which = f"{name}: " if len(profile.growth) > 1 else ""
        said.append(
            f"{which}time grows as {profile.variants[0][0].param} to the power of {growth.exponent:.2f}{within}"
        )
    if profile.startups:
        away = [target for target in profile.targets if target != "local"]
        each = ", ".join(
            (f"{target} " if away else "") + format_duration(startup.wall_s)
            for target, startup in profile.startups.items()
        )
        way = " and the way there" if away else ""
        said.append(f"a shell's start{way} of {each} is taken off each time; page cache {profile.page_cache}")
    else:
        said.append(f"page cache {profile.page_cache}")
    return [*said, *profile.warnings]


def distribution_figure(profile: Profile, mask: Mask = str) -> Figure:
    """Each run as a dot, a variant a row, with the median and the middle half of the runs."""
    shown = [(at, variant) for at, (variant, runs) in enumerate(profile.variants) if runs]
    figure, (axes,) = chart.new_figure([ROW_PX * len(shown) + 44])
    every = [time for at, _ in shown for time in profile.times(at)]
    factor, unit = _time_unit(max(every))
    for row, (at, variant) in enumerate(shown):
        times = sorted(time * factor for time in profile.times(at))
        colour = chart.COLOURS[row % len(chart.COLOURS)]
        low, middle, high = (_at(times, share) for share in (0.25, 0.5, 0.75))
        axes.barh(row, high - low, left=low, height=0.4, color=colour, alpha=0.2, linewidth=0)
        axes.plot([middle, middle], [row - 0.24, row + 0.24], color=colour, linewidth=2)
        # In the order of their runs, a little apart, so that equal ones are seen.
        spread = [row + 0.12 * math.sin(2.4 * number) for number in range(len(times))]
        axes.plot(
            [time * factor for time in profile.times(at)],
            spread,
            "o",
            color=colour,
            markersize=3,
            alpha=0.75,
            markeredgewidth=0,
        )
        value = "" if variant.value is None else f" [{variant.param}={plain_line(variant.value)}]"
        name = _cut(mask(plain_line(variant.name)), NAME - len(value)) + value
        axes.annotate(
            chart.plain(name), (0, row - 0.3), xycoords=("axes fraction", "data"),
            xytext=(3, 0), textcoords="offset points", va="bottom", fontsize=8, color=palette.FOREGROUND,
        )  # fmt: skip
    axes.set_ylim(len(shown) - 0.5, -0.75)
    axes.set_yticks([])
    axes.set_xlim(left=0)
    names = profile.targets
    where = chart.plain(plain_line(names[0])) if len(names) == 1 else f"{len(names)} hosts"
    chart.label(axes, f"time of a run ({unit}), on {where}; line: median, bar: middle half")
    return figure


def scaling_figure(profile: Profile, mask: Mask = str) -> Figure:
    """The median time over the parameter, both axes logarithmic, with the power law through it."""
    groups: dict[str, list[tuple[float, float, float, float]]] = {}
    for one in profile.summaries:
        x = float(one.variant.value or "nan")
        if x > 0 and one.wall.median > 0:
            groups.setdefault(one.variant.name, []).append((x, one.wall.median, one.wall.least, one.wall.most))
    figure, (axes,) = chart.new_figure([190])
    factor, unit = _time_unit(max(point[1] for points in groups.values() for point in points))
    for number, (name, points) in enumerate(groups.items()):
        points.sort()
        colour = chart.COLOURS[number % len(chart.COLOURS)]
        xs, medians = [point[0] for point in points], [point[1] * factor for point in points]
        errors = [[(p[1] - p[2]) * factor for p in points], [(p[3] - p[1]) * factor for p in points]]
        axes.errorbar(xs, medians, yerr=errors, fmt="o", color=colour, markersize=4, linewidth=1, capsize=2)
        law = profile.growth.get(name)
        if law is not None:
            axes.plot(
                xs, [law.factor * x**law.exponent * factor for x in xs], color=colour, linewidth=1.3,
                label=f"{chart.plain(_cut(mask(plain_line(name)), NAME))}: power {law.exponent:.2f}",
            )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = sorted({point[0] for points in groups.values() for point in points})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    _plain_ticks(axes)
    axes.legend(fontsize=8, frameon=False, labelcolor=palette.FOREGROUND)
    chart.title(axes, f"median time ({unit})")
    chart.label(axes, profile.variants[0][0].param)
    return figure


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _plain_ticks(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator

    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _time_unit(most_s: float) -> tuple[float, str]:
    return (1e3, "ms") if most_s < 1 else (1.0, "s") if most_s < 180 else (1 / 60, "min")


def _at(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    return ordered[low] + (ordered[min(low + 1, len(ordered) - 1)] - ordered[low]) * (place - low)


# -- the session ------------------------------------------------------------------------------------


def report_bundle(report: Report, volatile: bool = True) -> dict[str, str]:
    """The session's report as text and HTML, with its timeline. Names in it are masked already."""
    if not volatile:
        line = f"{format_count(report.runs, 'run')}, {format_count(len(report.failures), 'failure')}"
        return both_forms(f"[xec] {line}", _block([_line(line)]))
    lines = [plain_line(line) for line in report.lines()]
    parts = [_line(line) for line in lines]
    if report.records:
        words = f"timeline of the last {format_count(min(report.runs, GANTT_RUNS), 'run')}"
        parts.append(f"<div style='padding:4px 6px'>{chart.image_html(gantt_figure(report.records), words)}</div>")
    return both_forms("\n".join(f"[xec] {line}" for line in lines), _block(parts))


def gantt_figure(records: Sequence[Record]) -> Figure:
    """When each of the last runs waited and ran; failures are hatched and say so."""
    shown = records[-GANTT_RUNS:]
    start = min(record.began_at for record in shown)
    figure, (axes,) = chart.new_figure([15 * len(shown) + 50])
    end = max(record.began_at - start + record.waited_s + record.duration_s for record in shown)
    factor, unit = _time_unit(end)
    for row, record in enumerate(shown):
        begin = (record.began_at - start) * factor
        wait = record.waited_s * factor
        colour = chart.COLOURS[0] if record.ok else chart.COLOURS[1]
        axes.barh(row, wait, left=begin, height=0.5, color=palette.RULE, linewidth=0)
        axes.barh(
            row, max(record.duration_s * factor, end * factor / 400), left=begin + wait, height=0.62, color=colour,
            linewidth=0, hatch=None if record.ok else "////", edgecolor=palette.BACKGROUND,
        )  # fmt: skip
        word = _cut(plain_line(record.name), NAME) + ("" if record.ok else f" ({record.outcome})")
        late = begin > end * factor * 0.6
        axes.annotate(
            chart.plain(word), (begin if late else begin + wait + record.duration_s * factor, row),
            xytext=(-4 if late else 4, 0), textcoords="offset points", va="center", ha="right" if late else "left",
            fontsize=7.5, color=palette.FOREGROUND, annotation_clip=False,
        )  # fmt: skip
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_yticks([])
    axes.set_xlim(0, end * factor * 1.02)
    chart.label(axes, f"{unit} since the first of them; grey: waiting, hatched: failed")
    return figure


# -- parts --------------------------------------------------------------------------------------------


def _text_table(head: list[str], rows: list[list[str]]) -> list[str]:
    if not rows:
        return []
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    ]


def _html_table(head: list[str], rows: list[list[str]]) -> str:
    if not rows:
        return ""

    def cells(row: list[str], tag: str) -> str:
        return "".join(
            f"<{tag} style='{_CELL}{_FIGURE[tag] if column else _NAME}'>{escape(cell)}</{tag}>"
            for column, cell in enumerate(row)
        )

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    table = f"<table style='border-collapse:collapse;margin:0'><thead><tr>{cells(head, 'th')}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div style='overflow-x:auto'>{table}</div>"


def _line(text: str) -> str:
    return f"<div style='{_SMALL}'>{escape(text)}</div>"


def _block(parts: list[str]) -> str:
    return f"<div style='background:{palette.BACKGROUND};border:1px solid {palette.RULE};border-radius:4px;overflow:hidden'>{''.join(parts)}</div>"
