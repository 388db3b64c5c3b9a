"""What the HTML of all views is made of: blocks, bold words, and text made safe."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Final

from xec_magic.display import palette
from xec_magic.display.ansi import plain_text

__all__ = ["ERR", "PRE", "RULE", "SMALL", "WRAP", "Mask", "safe_html", "strong_html"]

Mask = Callable[[str], str]

PRE: Final = (
    f"margin:0;padding:0 10px;border:0;background:{palette.BACKGROUND};color:{palette.FOREGROUND};"
    "font-family:Menlo,Consolas,DejaVu Sans Mono,monospace;font-size:12px;line-height:1.45;white-space:pre;overflow:visible"
)
ERR: Final = PRE.replace(
    "padding:0 10px;border:0", f"padding:0 10px 0 7px;border:0;border-left:3px solid {palette.BAD}"
)
WRAP: Final = "white-space:pre-wrap;overflow-wrap:anywhere"
SMALL: Final = f"padding:2px 10px;color:{palette.MUTED};background:{palette.BACKGROUND};font-size:12px;line-height:1.6"
RULE: Final = f"1px solid {palette.RULE}"


def strong_html(markup: str, colour: str) -> str:
    """Bold, in a colour."""
    return f"<b style='color:{colour}'>{markup}</b>"


def safe_html(text: str) -> str:
    """Text of the run itself (command, notes) for HTML: control characters as pictures, escaped."""
    return escape(plain_text(text))
