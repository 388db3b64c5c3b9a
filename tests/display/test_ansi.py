import json
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from display.runs import make_log

from xec_magic.display.ansi import PLAIN, Style, parse_line, plain_line, span_html, terminal_text, unfinished_escape
from xec_magic.display.printer import Printer

CASES = json.loads((Path(__file__).parent / "ansi_cases.json").read_text())  # tests/js/sgr.test.mjs reads them too


@pytest.mark.parametrize("case", CASES, ids=[repr(case["line"])[:40] for case in CASES])
def test_a_line_becomes_spans(case):
    spans, style = parse_line(case["line"])
    assert [[span.text, span.style] for span in spans] == [[text, Style(**look)] for text, look in case["spans"]]
    assert style == Style(**case["next"])


def test_a_style_goes_on_to_the_next_line():
    _, style = parse_line("\x1b[1;31mfirst")
    spans, _ = parse_line("second", style)
    assert spans[0].style == Style(fg=1, bold=True)


def test_plain_text_has_no_escapes_left():
    for case in CASES:
        assert "\x1b" not in plain_line(case["line"])
        assert not set(plain_line(case["line"])) & set(map(chr, [*range(9), *range(10, 32), *range(127, 160)]))


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))


@pytest.mark.parametrize("case", CASES, ids=[repr(case["line"])[:40] for case in CASES])
def test_html_has_our_own_tags_only(case):
    tags = Tags()
    tags.feed("".join(span_html(span) for span in parse_line(case["line"])[0]))
    for tag, attributes in tags.seen:
        assert tag in {"span", "b", "i", "u", "s"}
        assert set(attributes) <= {"style"}


def test_bombs_take_linear_time():
    begin = time.perf_counter()
    for bomb in (
        "\x1b[" + "1;" * 200_000,
        "\x1b]" * 100_000,
        "\x1b[31m" * 50_000,
        "\r" * 200_000,
        "\x1b[" * 100_000,
        "x\b" * 100_000,
    ):
        parse_line(bomb)
        terminal_text(bomb)
    assert time.perf_counter() - begin < 10


def test_a_terminal_gets_colours_and_nothing_else():
    text = "\x1b[31mred\x1b[0m\x1b]0;title\x07 \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\ \x1b[2J\x1b[3;4H\x1b[Kend\r\n\x00\u202e"
    assert terminal_text(text) == "\x1b[31mred\x1b[0m link \x1b[Kend\r\n\u2400\ufffd"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[>4;2mx", "x"),
        ("\x1b[?1mx", "x"),
        ("\x1b[1 mx", "x"),
        ("\x1b[?Kx", "x"),
        ("\x1b[8mx", "x"),
        ("\x1b[08;1mx", "\x1b[1mx"),
        ("\x1b[38;5;8mx", "\x1b[38;5;8mx"),
        ("\x1b[48;2;8;8;8;8mx", "\x1b[48;2;8;8;8mx"),
        ("\x1b[4:3;mx", "\x1b[4:3;mx"),
        ("\x1b[mx", "\x1b[mx"),
    ],
)
def test_a_terminal_gets_no_private_escapes_and_no_hidden_text(text, shown):
    assert terminal_text(text) == shown


def test_colours_end_with_the_output(capsys):
    printer = Printer(str)
    printer.print_new(make_log(b"\x1b[31mred\n"))
    printer.finish()
    assert capsys.readouterr().out == "\x1b[31mred\n\x1b[0m"
    printer = Printer(str)
    printer.print_new(make_log(b"plain\n"))
    printer.finish()
    assert capsys.readouterr().out == "plain\n"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("abc", "abc"),
        ("abc\x1b[3", "abc"),
        ("abc\x1b[31m", "abc\x1b[31m"),
        ("a\x1b]0;ti", "a"),
        ("a\x1b]0;ti\x1b", "a"),
        ("a\x1b", "a"),
    ],
)
def test_an_escape_without_its_end_is_held_back(text, kept):
    assert text[: unfinished_escape(text)] == kept


def test_an_endless_escape_is_not_held_back_for_ever():
    assert unfinished_escape("\x1b]0;" + "x" * 300) == 304


def test_plain_spans_are_bare_text():
    assert span_html(parse_line("a<b", PLAIN)[0][0]) == "a&lt;b"
