"""Every pair of colours that we choose is readable: WCAG AA, 4.5 to 1. The page's own palette: tests/js."""

import itertools

import pytest

from xec_magic.display import palette
from xec_magic.display.ansi import Span, Style, span_html


def ratio(one, other):
    return palette.contrast(palette.rgb_of(one), palette.rgb_of(other))


def test_the_ratio_is_that_of_the_standard():
    assert palette.contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert ratio("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("ground", [palette.BACKGROUND, palette.MARKED])
@pytest.mark.parametrize("letters", [*palette.LETTERS, palette.FOREGROUND, palette.MUTED, palette.BAD])
def test_letters_are_readable(letters, ground):
    assert ratio(letters, ground) >= palette.AA


def test_all_256_are_made_readable_on_all_grounds():
    for ground in palette.GROUNDS:
        for number in range(256):
            moved = palette.readable(palette.indexed(number, palette.LETTERS), palette.rgb_of(ground))
            assert palette.contrast(moved, palette.rgb_of(ground)) >= palette.AA


def test_the_markup_of_any_style_is_readable():
    values = (None, 0, 7, 9, 15, 120, 255, "#808080", "#ffff00")
    for fg, bg, dim, inverse in itertools.product(values, values, (False, True), (False, True)):
        html = span_html(Span("x", Style(fg=fg, bg=bg, dim=dim, inverse=inverse)))
        css = dict(part.split(":") for part in html.split("'")[1].split(";")) if "'" in html else {}
        assert ratio(css.get("color", palette.FOREGROUND), css.get("background", palette.BACKGROUND)) >= palette.AA
