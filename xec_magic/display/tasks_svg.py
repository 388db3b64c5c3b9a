"""Charts of tasks as SVG: the graph with states, and how the time went with the critical path. Pure.

They are pictures with colours and a background of their own, to be put into an `<img>`: a page's theme and a notebook that
nobody trusts leave them as they are. Written by hand: loading a chart library would take longer than most cells of tasks.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

from xec_magic.display import palette
from xec_magic.display.ansi import plain_line
from xec_magic.units import format_duration

if TYPE_CHECKING:
    from xec_magic.compose.tasks_result import TaskResult

__all__ = ["MARKS", "colour_of", "gantt_svg", "graph_svg", "image", "short_names"]

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
MOST_BARS: Final = 30
MOST_NAME: Final = 28  # characters of a name that are drawn
WIDTH: Final = 760
SMALLEST: Final = 0.75  # of its size: smaller letters cannot be read, and the block scrolls instead
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
    least = SMALLEST * int(svg.partition("width='")[2].partition("'")[0])
    style = "max-width:100%" + (f";min-width:{least:.0f}px" if least > WIDTH else "")
    return f"<img alt='{escape(plain_line(alt))}' style='{style}' src='data:image/svg+xml;base64,{data}'>"


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:.0f}' height='{height:.0f}' viewBox='0 0 {width:.0f} {height:.0f}' {_FONT} fill='{palette.FOREGROUND}'>"
        f"<rect width='100%' height='100%' fill='{palette.BACKGROUND}'/>{''.join(parts)}</svg>"
    )


def _text(x: float, y: float, text: str, colour: str = "", more: str = "") -> str:
    fill = f" fill='{colour}'" if colour else ""
    return f"<text x='{x:.0f}' y='{y:.0f}'{fill}{more}>{text}</text>"


_Node: TypeAlias = "str | tuple[str, str, int]"  # a task, or the place of an edge that passes a layer
_Box: TypeAlias = tuple[float, float, float]  # left, middle, width

# -- the graph --------------------------------------------------------------------------------------


def graph_svg(tasks: Sequence[TaskResult]) -> str:
    """Tasks as boxes, from left to right in the order of their dependencies; empty when there is nothing to draw, or too much."""
    if len(tasks) > MOST_NODES or not any(task.needs for task in tasks):
        return ""
    layers, ways = _layers(tasks)
    names = short_names(task.name for task in tasks)
    widths = [max(_width(names[node]) if isinstance(node, str) else 0.0 for node in layer) for layer in layers]
    height = max(len(layer) for layer in layers) * (_BOX + _GAP_Y) - _GAP_Y
    place: dict[_Node, _Box] = {}
    left = 10.0
    for width, layer in zip(widths, layers, strict=True):
        top = 10 + (height - len(layer) * (_BOX + _GAP_Y) + _GAP_Y) / 2
        for at, node in enumerate(layer):
            place[node] = left, top + at * (_BOX + _GAP_Y) + _BOX / 2, width
        left += width + _GAP_X
    edges = [_edge([place[node] for node in way]) for way in ways]
    parts = [
        f"<path fill='none' stroke='#8c959f' d='{''.join(line for line, _ in edges)}'/>",
        f"<path fill='#8c959f' d='{''.join(head for _, head in edges)}'/>",
    ]
    for task in tasks:
        x, middle, width = place[task.name]
        colour = colour_of(task.state)
        dash = " stroke-dasharray='4 3'" if task.state in {"pending", "skipped"} or task.group else ""
        parts.append(
            f"<rect x='{x:.0f}' y='{middle - _BOX / 2:.0f}' width='{width:.0f}' height='{_BOX}' rx='4' "
            f"fill='{_GROUNDS.get(task.state, '#ffffff')}' stroke='{colour}'{dash}/>"
        )
        parts.append(_text(x + 8, middle + 4, MARKS[task.state], colour))
        parts.append(_text(x + 8 + 2 * _LETTER, middle + 4, escape(names[task.name])))
    return _svg(left - _GAP_X + 10, height + 20, parts)


def _width(name: str) -> float:
    return len(name) * _LETTER + 3 * _LETTER + 10


def short_names(names: Iterable[str]) -> dict[str, str]:
    """For each name one that is short enough to be drawn: its begin, or, where several have that, the place at which they differ.

    Example:
        >>> list(short_names(["load_all_the_trips_of_the_city_1", "load_all_the_trips_of_the_city_2"]).values())
        ['load_al…trips_of_the_city_1', 'load_al…trips_of_the_city_2']
    """
    alike: dict[str, list[str]] = {}
    for name in names:
        plain = plain_line(name)
        alike.setdefault(plain if len(plain) <= MOST_NAME else plain[: MOST_NAME - 1] + "…", []).append(name)
    short = {}
    for begin, family in alike.items():
        plains = [plain_line(name) for name in family]
        letters = enumerate(zip(*plains, strict=False))
        same = next((at for at, each in letters if len(set(each)) > 1), min(map(len, plains)))
        for name, plain in zip(family, plains, strict=True):
            short[name] = begin if len(family) == 1 else _around(plain, same)
    return short


def _around(name: str, place: int) -> str:
    """Some letters of a long name's begin, and those around a place in it."""
    begin, room = MOST_NAME // 4, MOST_NAME - MOST_NAME // 4 - 2
    at = max(begin, min(place - room // 2, len(name) - room))
    rest = name[at : at + room]
    return name[:begin] + "…" + rest + ("…" if at + room < len(name) else "")


def _layers(tasks: Sequence[TaskResult]) -> tuple[list[list[_Node]], list[list[_Node]]]:
    """Each task one layer behind the last of what it needs, and the way of each edge.

    An edge that goes past a layer has a place of its own there, so that it runs through no box.
    """
    depth: dict[str, int] = {}
    for task in tasks:
        depth[task.name] = max((depth[need] + 1 for need in task.needs if need in depth), default=0)
    layers: list[list[_Node]] = [[] for _ in range(max(depth.values()) + 1)]
    before: dict[_Node, list[_Node]] = {}
    ways: list[list[_Node]] = []
    for task in tasks:
        layers[depth[task.name]].append(task.name)
        for need in task.needs:
            if need not in depth:
                continue
            passing: list[_Node] = [(need, task.name, at) for at in range(depth[need] + 1, depth[task.name])]
            for at, node in enumerate(passing, depth[need] + 1):
                layers[at].append(node)
            way: list[_Node] = [need, *passing, task.name]
            ways.append(way)
            for one, other in pairwise(way):
                before.setdefault(other, []).append(one)
    row: dict[_Node, float] = {}
    for layer in layers:
        layer.sort(key=lambda node: _mean([row[one] for one in before.get(node, ())]))  # a stable sort
        row |= {node: place - (len(layer) - 1) / 2 for place, node in enumerate(layer)}
    return layers, ways


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _edge(boxes: Sequence[_Box]) -> tuple[str, str]:
    """The line of an edge and its head, as data of paths."""
    line = ""
    x2 = y2 = 0.0
    for at, (start, end) in enumerate(pairwise(boxes)):
        last = at == len(boxes) - 2
        x1, y1, x2, y2 = start[0] + start[2], start[1], end[0] - (5 if last else 0), end[1]
        middle = (x1 + x2) / 2
        line += f"{'L' if at else 'M'}{x1:.0f} {y1:.0f}C{middle:.0f} {y1:.0f} {middle:.0f} {y2:.0f} {x2:.0f} {y2:.0f}"
    return line, f"M{x2:.0f} {y2 - 3:.0f}l6 3l-6 3z"


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
    path = set(critical) if len(critical) > 1 else set()
    shown = sorted(ran, key=lambda task: (task.state != "failed", task.name not in path, -task.duration_s))[:MOST_BARS]
    place = {task.name: at for at, task in enumerate(ran)}
    shown.sort(key=lambda task: (task.start_s or 0.0, place[task.name]))
    end = max(task.end_s or 0.0 for task in ran) or 1e-6
    names = short_names(task.name for task in tasks)  # of all, so that each has the name that it has in the list below
    left = max(len(names[task.name]) for task in shown) * _LETTER + 30
    scale = (WIDTH - left - 80) / end
    bottom = 10 + len(shown) * _ROW
    parts = []
    for tick in _ticks(end):
        x = left + tick * scale
        parts.append(f"<path d='M{x:.1f} 6 V{bottom + 4}' stroke='{palette.RULE}'/>")
        label = format_duration(tick) if tick else "0"
        parts.append(_text(x, bottom + 18, label, palette.MUTED, " text-anchor='middle' font-size='11'"))
    for at, task in enumerate(shown):
        parts += _bar(task, names[task.name], 10 + at * _ROW, left, scale, on_path=task.name in path)
    more = len(ran) - len(shown)
    said = ["dark: the critical path"] if path else []
    said += [f"{more:,} shorter ones are not drawn"] if more else []
    if said:
        parts.append(_text(left, bottom + 36, "; ".join(said), palette.MUTED, " font-size='11'"))
    return _svg(WIDTH, bottom + (44 if said else 26), parts)


def _bar(task: TaskResult, name: str, top: float, left: float, scale: float, *, on_path: bool) -> list[str]:
    assert task.start_s is not None
    bad = task.state in {"failed", "stopped"}
    fill = palette.BAD if bad else "#0a3f8f" if on_path else "#7ea6e8"
    x, width = left + task.start_s * scale, max(2.0, task.duration_s * scale)
    bold = "font-weight='bold'" if on_path else ""
    return [
        _text(10, top + 13, MARKS[task.state], colour_of(task.state)),
        _text(10 + 2 * _LETTER, top + 13, escape(name), more=f" {bold}"),
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
