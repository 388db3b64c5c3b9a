"""Static charts by matplotlib: one look for all, as a Figure, and as an SVG that a saved notebook keeps.

A chart brings its own light background, so it reads the same in a dark page, in an untrusted notebook and on a web site.
matplotlib is imported on first use, and pyplot never: figures made here belong to nobody's current figure.
"""

from __future__ import annotations

import base64
import io
import math
import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from xec_magic.display import palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from xec_magic.result import Result

__all__ = ["COLOURS", "axes_style", "image_html", "new_figure", "plain", "result_figure", "svg_uri"]

# Okabe and Ito's colours, told apart by colour-blind readers; darkened to 3:1 on the background where needed.
COLOURS: Final = ("#0072b2", "#d55e00", "#008060", "#a8528b", "#8a6d00", "#3d8fc4", "#57606a")
WIDTH_PX: Final = 480  # at 400 pixels its letters still have ten
_DPI: Final = 96
_LETTERS_PT: Final = 8.5


def new_figure(
    heights_px: Sequence[float], *, width_px: float = WIDTH_PX, share_x: bool = True
) -> tuple[Figure, list[Axes]]:
    """A figure with panels of these heights one above the other."""
    from matplotlib.figure import Figure

    class Chart(Figure):
        """A figure that a notebook shows by itself, without pyplot."""

        def _repr_html_(self) -> str:
            return image_html(self, "chart")

    figure = Chart(figsize=(width_px / _DPI, sum(heights_px) / _DPI), dpi=_DPI, facecolor=palette.BACKGROUND)
    figure.set_layout_engine("constrained", h_pad=2 / 72, w_pad=4 / 72, hspace=0.02)
    panels = figure.subplots(len(heights_px), 1, sharex=share_x, squeeze=False, height_ratios=list(heights_px))
    axes = [row[0] for row in panels]
    for one in axes:
        axes_style(one)
    return figure, axes


def axes_style(axes: Axes) -> None:
    """Quiet axes: two spines, a light grid, small letters of enough contrast."""
    axes.set_facecolor(palette.BACKGROUND)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(palette.MUTED)
        spine.set_linewidth(0.7)
    axes.grid(visible=True, color=palette.RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=palette.FOREGROUND, labelsize=_LETTERS_PT, length=3, width=0.7)


def title(axes: Axes, left: str, right: str = "") -> None:
    """What a panel shows, with its unit; and at the right a figure to remember."""
    axes.set_title(left, loc="left", fontsize=_LETTERS_PT + 0.5, color=palette.FOREGROUND, fontweight="bold", pad=3)
    if right:
        axes.set_title(right, loc="right", fontsize=_LETTERS_PT, color=palette.FOREGROUND, pad=3)


def label(axes: Axes, text: str) -> None:
    """What the horizontal axis counts."""
    axes.set_xlabel(text, loc="left", fontsize=_LETTERS_PT, color=palette.FOREGROUND, linespacing=1.35, ma="left")


def plain(text: str) -> str:
    """A text of somebody else's, of which matplotlib is not to make a formula."""
    return text.replace("$", r"\$")


def svg_uri(figure: Figure) -> str:
    """The figure as a `data:` URI; the same figure gives the same text."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    # Letters stay letters: a third of the size, and the reader's own font.
    look: dict[Any, Any] = {
        "svg.fonttype": "none", "svg.hashsalt": "xec", "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial"],
    }  # fmt: skip
    with mpl.rc_context(look), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a letter that its font lacks: the reader's own may have it
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(_shorter(buffer.getvalue().decode()).encode()).decode(
        "ascii"
    )


def _shorter(svg: str) -> str:
    """The same picture in half the text: no preamble, no indentation, tenths of a point."""
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<\?xml.*?\?>|<!DOCTYPE[^>]*>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d\.\d)\d+", r"\1", tag[0]), svg)  # words between tags stay
    return re.sub(r">\s+<", "><", re.sub(r"[ \t]*\n[ \t]*", "\n", svg)).strip()


def image_html(figure: Figure, description: str) -> str:
    """The figure as an image for a notebook: the only form of an SVG that survives in an untrusted one."""
    from html import escape

    width = round(figure.get_figwidth() * _DPI)
    return (
        f"<img src='{svg_uri(figure)}' alt='{escape(description, quote=True)}' width='{width}' "
        f"style='max-width:100%;height:auto;background:{palette.BACKGROUND}'>"
    )


def result_figure(result: Result) -> Figure:
    """The chart of a monitored run; `Result.plot` is its public name."""
    from xec_magic.display.usage import figure_of
    from xec_magic.errors import OptionError

    if result.timeline is None:
        raise OptionError("there is nothing to plot: the run was not monitored; run it with monitor=True or --monitor")
    if not result.timeline.samples:
        raise OptionError(
            "there is nothing to plot: the run ended before the first sample; result.usage has its totals"
        )
    return figure_of(result.timeline, result.plan.title, result.target)


def scaled(values: Sequence[float]) -> tuple[float, str]:
    """The divisor and the unit in which sizes are best read: 1048576 and MiB."""
    most = max((value for value in values if not math.isnan(value)), default=0.0)
    for divisor, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if most >= divisor:
            return float(divisor), unit
    return 1.0, "B"


def finite(values: Sequence[float]) -> list[Any]:
    """Those that were measured."""
    return [value for value in values if not math.isnan(value)]
