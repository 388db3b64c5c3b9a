"""Charts of tasks as SVG: the graph with states, and how the time went with the critical path. Pure.

They are pictures with colours and a background of their own, to be put into an `<img>`: a page's theme and a notebook that
nobody trusts leave them as they are. Written by hand: loading a chart library would take longer than most cells of tasks.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Final

from xec_magic.display import palette
from xec_magic.units import format_duration

if TYPE_CHECKING:
    from xec_magic.compose.tasks_result import TaskResult

__all__ = ["MARKS", "colour_of", "gantt_svg", "graph_svg", "image"]

MARKS: Final = {
    "pending": "○", "running": "●", "ok": "✓", "failed": "✗", "stopped": "■", "blocked": "⊘", "skipped": "–",
    "up to date": "=", "would run": "→",
}  # fmt: skip
# As letters on palette.BACKGROUND each has at least AA.
_COLOURS: Final = {
    "running": "#0b57d0", "ok": "#0b7a2c", "failed": palette.BAD, "stopped": palette.BAD, "blocked": "#7d5700",
    "would run": "#0b57d0", "up to date": "#006a75",
}  # fmt: skip
_GROUNDS: Final = {
    "running": "#dbe7fd",
    "failed": palette.MARKED,
    "stopped": palette.MARKED,
    "blocked": "#fdf3d8",
    "ok": "#dff3e4",
}

MOST_NODES: Final = 40  # a graph of more says nothing
MOST_BARS: Final = 40
MOST_NAME: Final = 28  # characters of a name that are drawn
WIDTH: Final = 760
_FONT: Final = "font-family='Menlo,Consolas,DejaVu Sans Mono,monospace' font-size='12'"
_LETTER: Final = 7.3  # width of a letter of that font
_ROW: Final = 20
_BOX: Final = 24
_GAP_X: Final = 46
_GAP_Y: Final = 12


def colour_of(state: str) -> str:
    """The colour of a state's letters."""
    return _COLOURS.get(state, palette.MUTED)


def image(svg: str, alt: str) -> str:
    """An `<img>` that holds a picture."""
    data = base64.b64encode(svg.encode()).decode()
    return f"<img alt='{escape(alt)}' style='max-width:100%' src='data:image/svg+xml;base64,{data}'>"


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:.0f}' height='{height:.0f}' viewBox='0 0 {width:.0f} {height:.0f}' {_FONT}>"
        f"<rect width='100%' height='100%' fill='{palette.BACKGROUND}'/>{''.join(parts)}</svg>"
    )


def _text(x: float, y: float, text: str, colour: str, more: str = "") -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' fill='{colour}'{more}>{text}</text>"


# -- the graph --------------------------------------------------------------------------------------


def graph_svg(tasks: Sequence[TaskResult]) -> str:
    """Tasks as boxes, from left to right in the order of their dependencies; empty when there is nothing to draw, or too much."""
    if len(tasks) > MOST_NODES or not any(task.needs for task in tasks):
        return ""
    layers = _layers(tasks)
    widths = [max(len(_short_name(name)) for name in layer) * _LETTER + 3 * _LETTER + 10 for layer in layers]
    height = max(len(layer) for layer in layers) * (_BOX + _GAP_Y) - _GAP_Y
    lefts = [10 + sum(widths[:at]) + at * _GAP_X for at in range(len(layers))]
    place: dict[str, tuple[float, float, float]] = {}  # left, middle, width
    for left, width, layer in zip(lefts, widths, layers, strict=True):
        top = 10 + (height - len(layer) * (_BOX + _GAP_Y) + _GAP_Y) / 2
        for at, name in enumerate(layer):
            place[name] = left, top + at * (_BOX + _GAP_Y) + _BOX / 2, width
    parts = [_edge(place[need], place[task.name]) for task in tasks for need in task.needs if need in place]
    for task in tasks:
        left, middle, width = place[task.name]
        colour = colour_of(task.state)
        dash = " stroke-dasharray='4 3'" if task.state in {"pending", "skipped"} or task.group else ""
        parts.append(
            f"<rect x='{left:.1f}' y='{middle - _BOX / 2:.1f}' width='{width:.1f}' height='{_BOX}' rx='4' "
            f"fill='{_GROUNDS.get(task.state, '#ffffff')}' stroke='{colour}'{dash}/>"
        )
        parts.append(_text(left + 8, middle + 4, MARKS[task.state], colour))
        parts.append(_text(left + 8 + 2 * _LETTER, middle + 4, escape(_short_name(task.name)), palette.FOREGROUND))
    return _svg(lefts[-1] + widths[-1] + 10, height + 20, parts)


def _short_name(name: str) -> str:
    return name if len(name) <= MOST_NAME else name[: MOST_NAME - 1] + "…"


def _layers(tasks: Sequence[TaskResult]) -> list[list[str]]:
    """Each task one layer behind the last of what it needs; within a layer near to what it needs."""
    depth: dict[str, int] = {}
    for task in tasks:
        depth[task.name] = max((depth[need] + 1 for need in task.needs if need in depth), default=0)
    layers: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for name, at in depth.items():
        layers[at].append(name)
    needs = {task.name: task.needs for task in tasks}
    row: dict[str, float] = {}
    for layer in layers:
        layer.sort(key=lambda name: _mean([row[need] for need in needs[name] if need in row]))  # a stable sort
        middle = (len(layer) - 1) / 2
        row |= {name: place - middle for place, name in enumerate(layer)}
    return layers


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _edge(start: tuple[float, float, float], end: tuple[float, float, float]) -> str:
    x1, y1, x2, y2 = start[0] + start[2], start[1], end[0] - 5, end[1]
    bend = max(16.0, (x2 - x1) / 2)
    return (
        f"<path d='M{x1:.1f} {y1:.1f} C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}' fill='none' stroke='#8c959f'/>"
        f"<path d='M{x2:.1f} {y2 - 3.5:.1f} l6 3.5 l-6 3.5 z' fill='#8c959f'/>"
    )


# -- the time -----------------------------------------------------------------------------------------


def gantt_svg(tasks: Sequence[TaskResult], critical: Sequence[str]) -> str:
    """A bar for each task that ran, the critical path dark; empty when fewer than two ran.

    Args:
        tasks: Those that ran have a start and an end, in seconds since the first one.
        critical: The names of the critical path.
    """
    ran = [task for task in tasks if task.start_s is not None and task.end_s is not None]
    if len(ran) < 2:
        return ""
    path = set(critical)
    shown = sorted(ran, key=lambda task: (task.state != "failed", task.name not in path, -task.duration_s))[:MOST_BARS]
    shown.sort(key=lambda task: task.start_s or 0.0)
    end = max(task.end_s or 0.0 for task in ran) or 1e-6
    left = max(len(_short_name(task.name)) for task in shown) * _LETTER + 30
    scale = (WIDTH - left - 80) / end
    bottom = 10 + len(shown) * _ROW
    parts = []
    for tick in _ticks(end):
        x = left + tick * scale
        parts.append(f"<path d='M{x:.1f} 6 V{bottom + 4}' stroke='{palette.RULE}'/>")
        label = format_duration(tick) if tick else "0"
        parts.append(_text(x, bottom + 18, label, palette.MUTED, " text-anchor='middle' font-size='11'"))
    for at, task in enumerate(shown):
        parts += _bar(task, 10 + at * _ROW, left, scale, on_path=task.name in path)
    more = len(ran) - len(shown)
    said = "dark: the critical path" + (f"; {more:,} shorter ones are not drawn" if more else "")
    parts.append(_text(left, bottom + 36, said, palette.MUTED, " font-size='11'"))
    return _svg(WIDTH, bottom + 44, parts)


def _bar(task: TaskResult, top: float, left: float, scale: float, *, on_path: bool) -> list[str]:
    assert task.start_s is not None
    bad = task.state in {"failed", "stopped"}
    fill = palette.BAD if bad else "#0a3f8f" if on_path else "#7ea6e8"
    x, width = left + task.start_s * scale, max(2.0, task.duration_s * scale)
    name = "font-weight='bold'" if on_path else ""
    return [
        _text(10, top + 13, MARKS[task.state], colour_of(task.state)),
        _text(10 + 2 * _LETTER, top + 13, escape(_short_name(task.name)), palette.FOREGROUND, f" {name}"),
        f"<rect x='{x:.1f}' y='{top + 3}' width='{width:.1f}' height='{_ROW - 7}' rx='2' fill='{fill}'/>",
        _text(x + width + 6, top + 13, format_duration(task.duration_s), palette.MUTED, " font-size='11'"),
    ]


def _ticks(end: float) -> list[float]:
    """Four to eight round numbers from 0 to below `end`.

    Example:
        >>> _ticks(10.0)
        [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    """
    rough = end / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    return [step * at for at in range(int(end / step + 1e-9) + 1)]
