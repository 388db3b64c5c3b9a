"""The colours of terminal output on a light page, and the arithmetic that keeps every pair readable."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, TypeAlias

__all__ = [
    "BACKGROUND",
    "BAD",
    "FOREGROUND",
    "MARKED",
    "MUTED",
    "RULE",
    "Rgb",
    "contrast",
    "hex_of",
    "indexed",
    "readable",
]

Rgb: TypeAlias = tuple[int, int, int]

AA: Final = 4.5  # WCAG 2.2, 1.4.3: the ratio of normal text to its background
BACKGROUND: Final = "#f6f8fa"
FOREGROUND: Final = "#24292f"
MUTED: Final = "#57606a"
MARKED: Final = "#ffebe9"  # behind a line that looks like an error
RULE: Final = "#d0d7de"
BAD: Final = "#b3261e"

# 0-7 and their bright forms; as letters on BACKGROUND and on MARKED each has at least AA.
LETTERS: Final = (
    "#24292f", "#c5221f", "#0b7a2c", "#7d5700", "#0b57d0", "#8e24aa", "#006a75", "#57606a",
    "#57606a", "#b3140f", "#116329", "#6b4a00", "#0a4bb3", "#7a1d94", "#00565f", "#1f2328",
)  # fmt: skip
# As backgrounds, where the letters on them are made to fit.
GROUNDS: Final = (
    "#24292f", "#c5221f", "#0b7a2c", "#d4a72c", "#0b57d0", "#8e24aa", "#1b7c83", "#d0d7de",
    "#57606a", "#ff8182", "#4ac26b", "#eac54f", "#54aeff", "#c297ff", "#6fd6df", "#ffffff",
)  # fmt: skip
_CUBE: Final = (0, 95, 135, 175, 215, 255)  # xterm's steps of the 6x6x6 cube


def rgb_of(text: str) -> Rgb:
    """Three numbers from `#rrggbb`."""
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def hex_of(colour: Rgb) -> str:
    """`#rrggbb` from three numbers."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def indexed(number: int, table: tuple[str, ...]) -> Rgb:
    """Colour 0-255 of the xterm palette, the first 16 from `table`."""
    if number < 16:
        return rgb_of(table[number])
    if number < 232:
        number -= 16
        return _CUBE[number // 36], _CUBE[number // 6 % 6], _CUBE[number % 6]
    grey = 8 + 10 * (number - 232)
    return grey, grey, grey


def contrast(one: Rgb, other: Rgb) -> float:
    """The ratio of two colours, 1 to 21. Source: WCAG 2.2, "contrast ratio"."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: Rgb) -> float:
    red, green, blue = (
        (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4) for c in (x / 255 for x in colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def mix(one: Rgb, other: Rgb, share: float) -> Rgb:
    """`one` moved towards `other` by `share` of the way."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


@lru_cache(maxsize=4096)
def readable(letters: Rgb, ground: Rgb) -> Rgb:
    """`letters`, moved towards black or white as little as gives them AA on `ground`."""
    black, white = (0, 0, 0), (255, 255, 255)
    end = black if contrast(black, ground) > contrast(white, ground) else white
    for tenths in range(11):
        moved = mix(letters, end, tenths / 10)
        if contrast(moved, ground) >= AA:
            return moved
    return end
