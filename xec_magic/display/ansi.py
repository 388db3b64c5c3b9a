"""Terminal output as data: colours become styles, progress bars overwrite, every other escape does nothing.

The page does the same in `static/src/sgr.js`; `tests/display/ansi_cases.json` holds both to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from html import escape
from itertools import groupby
from typing import Final, NamedTuple, TypeAlias

from xec_magic.display import palette

__all__ = [
    "PLAIN",
    "Span",
    "Style",
    "has_controls",
    "parse_line",
    "plain_line",
    "plain_text",
    "span_html",
    "terminal_text",
    "unfinished_escape",
]

Colour: TypeAlias = int | str | None  # 0-255, "#rrggbb", or the default

MAX_PARAMETERS: Final = 64  # of one escape; real ones have at most a dozen

# An escape that is not finished matches none of the first three and is shown as the character it is.
_TOKEN: Final = re.compile(
    r"\x1b\[([0-?]*)[ -/]*([@-~])"  # CSI
    r"|\x1b[]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC (titles, links, clipboard), DCS, SOS, PM, APC
    r"|\x1b[ -/]*[0-OQ-WYZ\\`-~]"  # two-character escapes and charset switches
    # control characters, also those that turn the direction of text and so can show another line; a tab is text
    r"|([\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069])"
)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # each token begins with one
_CONTROL_IN_LINES: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_TERMINAL_CSI: Final = re.compile(r"\x1b\[([0-9;:]*)([mK])")
_OVERWRITES: Final = re.compile(r"[\r\x08]|\x1b\[[0-?]*K")


@dataclass(frozen=True, slots=True)
class Style:
    """How a piece of text looks."""

    fg: Colour = None
    bg: Colour = None
    bold: bool = False
    dim: bool = False
    italic: bool = False
    underline: bool = False
    strike: bool = False
    inverse: bool = False


PLAIN: Final = Style()


class Span(NamedTuple):
    """Text of one style."""

    text: str
    style: Style


def has_controls(text: str) -> bool:
    """One of the lines of a text is more than what it shows."""
    return _CONTROL_IN_LINES.search(text) is not None


def parse_line(line: str, style: Style = PLAIN) -> tuple[list[Span], Style]:
    """The visible spans of one line (without its newline), and the style that the next line begins with.

    `\\r`, backspace and "erase in line" act within the line, as progress bars need it. Characters that would
    do something are shown as pictures: NUL as ␀.
    """
    if not _CONTROL.search(line):
        return ([Span(line, style)] if line else []), style
    if _OVERWRITES.search(line):
        return _parse_overwriting(line, style)
    runs: list[tuple[list[str], Style]] = []  # joined at the end: adding to a string again and again is quadratic

    def add(text: str) -> None:
        if runs and runs[-1][1] == style:
            runs[-1][0].append(text)
        elif text:
            runs.append(([text], style))

    at = 0
    for match in _TOKEN.finditer(line):
        add(line[at : match.start()])
        at = match.end()
        if match[2] == "m":
            style = _sgr(match[1], style)
        elif match[3]:
            add(_picture(match[3]))
    add(line[at:])
    return [Span("".join(parts), look) for parts, look in runs], style


def _parse_overwriting(line: str, style: Style) -> tuple[list[Span], Style]:
    cells: list[tuple[str, Style]] = []
    column = 0

    def put(text: str) -> None:
        nonlocal column
        cells.extend([(" ", PLAIN)] * (column - len(cells)))
        cells[column : column + len(text)] = [(char, style) for char in text]
        column += len(text)

    at = 0
    for match in _TOKEN.finditer(line):
        put(line[at : match.start()])
        at = match.end()
        if match[2] == "m":
            style = _sgr(match[1], style)
        elif match[2] == "K":
            match match[1]:
                case "" | "0":
                    del cells[column:]
                case "1":
                    cells[: column + 1] = [(" ", PLAIN)] * min(column + 1, len(cells))
                case "2":
                    cells.clear()
        elif match[3] == "\r":
            column = 0
        elif match[3] == "\b":
            column = max(0, column - 1)
        elif match[3]:
            put(_picture(match[3]))
    put(line[at:])
    return [Span("".join(c for c, _ in group), look) for look, group in groupby(cells, key=lambda cell: cell[1])], style


def _picture(control: str) -> str:
    """What stands for a control character: nothing for BEL and shifts, else its Unicode picture."""
    code = ord(control)
    if code in (0x07, 0x0E, 0x0F):
        return ""
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else "\ufffd"


def _sgr(parameters: str, style: Style) -> Style:
    if re.search("[<=>?]", parameters):
        return style  # private sequences such as CSI > 4 m set no colour
    codes = [
        [int(part[:6]) if part else 0 for part in code.split(":")]
        for code in parameters.split(";", MAX_PARAMETERS)[:MAX_PARAMETERS]
    ]
    at = 0
    while at < len(codes):
        code, *more = codes[at]
        at += 1
        if code in (38, 48):
            if more:  # ISO 8613-6: 38:5:n, 38:2:r:g:b or 38:2:space:r:g:b
                if more[0] == 2 and len(more) > 4:
                    more = [2, *more[2:]]
            else:
                length = {5: 2, 2: 4}.get(codes[at][0], 1) if at < len(codes) else 0
                more = [part[0] for part in codes[at : at + length]]
                at += length
            colour = _colour(more)
            if colour is not None:
                style = replace(style, fg=colour) if code == 38 else replace(style, bg=colour)
        else:
            style = _simple(code, more, style)
    return style


def _colour(values: list[int]) -> Colour:
    if len(values) >= 2 and values[0] == 5 and values[1] < 256:
        return values[1]
    if len(values) >= 4 and values[0] == 2 and max(values[1:4]) < 256:
        return palette.hex_of((values[1], values[2], values[3]))
    return None


def _simple(code: int, more: list[int], style: Style) -> Style:
    match code:
        case 0:
            return PLAIN
        case 1:
            return replace(style, bold=True)
        case 2:
            return replace(style, dim=True)
        case 3:
            return replace(style, italic=True)
        case 4:
            return replace(style, underline=more[:1] != [0])
        case 7:
            return replace(style, inverse=True)
        case 9:
            return replace(style, strike=True)
        case 21:
            return replace(style, underline=True)
        case 22:
            return replace(style, bold=False, dim=False)
        case 23:
            return replace(style, italic=False)
        case 24:
            return replace(style, underline=False)
        case 27:
            return replace(style, inverse=False)
        case 29:
            return replace(style, strike=False)
        case 39:
            return replace(style, fg=None)
        case 49:
            return replace(style, bg=None)
        case _ if 30 <= code <= 37:
            return replace(style, fg=code - 30)
        case _ if 40 <= code <= 47:
            return replace(style, bg=code - 40)
        case _ if 90 <= code <= 97:
            return replace(style, fg=code - 82)
        case _ if 100 <= code <= 107:
            return replace(style, bg=code - 92)
        case _:
            return style  # blink, conceal and fonts: hidden or blinking output serves no reader


# -- forms ------------------------------------------------------------------------------------


def plain_line(line: str) -> str:
    """One line as it is read: overwritten text gone, escapes gone, control characters as pictures."""
    return "".join(span.text for span in parse_line(line)[0])


def plain_text(text: str) -> str:
    """Words of our own, which quote commands, labels and processes: each line of them as it is read."""
    return text if not has_controls(text) else "\n".join(plain_line(line) for line in text.split("\n"))


def span_html(span: Span, ground: str = palette.BACKGROUND) -> str:
    """One span as HTML: escaped text in tags and inline colours that survive sanitising."""
    text = escape(span.text, quote=False)
    style = span.style
    if style == PLAIN:
        return text
    css = _css(style, ground)
    for tag, wanted in (("s", style.strike), ("u", style.underline), ("i", style.italic), ("b", style.bold)):
        if wanted:
            text = f"<{tag}>{text}</{tag}>"
    return f"<span style='{css}'>{text}</span>" if css else text


def _css(style: Style, ground: str) -> str:
    fg, bg = (style.bg, style.fg) if style.inverse else (style.fg, style.bg)
    page = palette.rgb_of(ground)
    # Inverse text with a default colour takes the other default.
    back = _rgb(bg, palette.GROUNDS) or (palette.rgb_of(palette.FOREGROUND) if style.inverse else None)
    letters = _rgb(fg, palette.LETTERS) or (page if style.inverse else palette.rgb_of(palette.FOREGROUND))
    if style.dim:
        letters = palette.mix(letters, back or page, 0.35)
    css = []
    if back is not None or fg is not None or style.dim:
        css.append("color:" + palette.hex_of(palette.readable(letters, back or page)))
    if back is not None:
        css.append("background:" + palette.hex_of(back))
    return ";".join(css)


def _rgb(colour: Colour, table: tuple[str, ...]) -> palette.Rgb | None:
    if colour is None:
        return None
    return palette.rgb_of(colour) if isinstance(colour, str) else palette.indexed(colour, table)


def terminal_text(text: str) -> str:
    """Text that a terminal may get: colours, tabs, `\\r`, backspace and "erase in line" stay; nothing else acts.

    A title, a link, a clipboard write or a cursor move in a command's output must not reach the user's terminal.
    """
    if "\x1b" not in text and not _TOKEN.search(text):
        return text

    def keep(match: re.Match[str]) -> str:
        if match[2]:
            kept = _TERMINAL_CSI.fullmatch(match[0])
            if kept is None:
                return ""
            return match[0] if kept[2] == "K" else _without_conceal(kept[1])
        if match[3]:
            return match[3] if match[3] in "\r\b\n\x07" else _picture(match[3])
        return ""

    return _TOKEN.sub(keep, text)


def _without_conceal(parameters: str) -> str:
    """The escape that sets these colours and styles, without those that hide text; nothing if none are left."""
    codes = parameters.split(";")
    kept = []
    at = 0
    while at < len(codes):
        length = 1
        if codes[at].lstrip("0") in {"38", "48", "58"} and at + 1 < len(codes):  # a colour's numbers are no codes
            length += {"5": 2, "2": 4}.get(codes[at + 1].lstrip("0"), 1)
        if codes[at].partition(":")[0].lstrip("0") != "8":
            kept += codes[at : at + length]
        at += length
    return f"\x1b[{';'.join(kept)}m" if kept else ""


def unfinished_escape(text: str) -> int:
    """Where an escape begins whose end is not there yet; the length of the text when there is none.

    One of more than 256 characters counts as text: it may have no end.
    """
    at = text.rfind("\x1b", max(0, len(text) - 256))
    # The terminator of a string, ESC \\, may be cut in two; then the string began before.
    start = text.rfind("\x1b", max(0, len(text) - 256), at) if at > 0 and text[at:] == "\x1b" else -1
    for begin in (start, at):
        if begin >= 0:
            match = _TOKEN.match(text, begin)
            if match is None or match[3]:
                return begin
    return len(text)
