"""The table of several results, in text and in HTML."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from display.runs import make_result

from xec_magic.command import Target
from xec_magic.display.table import render_results_html, render_results_text
from xec_magic.events import Cause
from xec_magic.results import Results


def sample():
    return Results([
        make_result(b"a\nb\n", script="seq"),
        make_result(("stderr", b"no such <b>file</b>\n"), code=2, script="cat <x>"),
        make_result(script="echo late", code=None, cause=Cause.SPAWN, detail="not started: command 2 failed"),
    ])  # fmt: skip


class Tags(HTMLParser):
    """The tags of a text, and its text; complains of what is not closed."""

    def __init__(self, text):
        super().__init__()
        self.seen, self.open, self.text = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def count(self, tag):
        return sum(name == tag for name, _ in self.seen)


def test_a_state_of_two_words_takes_one_line():
    cell = re.search(r"<td style='([^']*)'><b[^>]*>not started</b>", render_results_html(sample()))
    assert "white-space:nowrap" in cell[1]


def test_the_text_has_a_row_for_each_then_what_they_printed_then_the_count():
    assert render_results_text(sample(), volatile=False).splitlines() == [
        "#  command    state        exit  last line",
        "1  seq        ok           0     b",
        "2  cat <x>    failed       2     no such <b>file</b>",
        "3  echo late  not started        not started: command 2 failed",
        "[xec] 1: seq",
        "a",
        "b",
        "[xec] 1 of 3 failed, 1 not started",
    ]
    assert "500 ms" in render_results_text(sample())
    assert "a\nb" not in render_results_text(sample(), outputs=False)


def test_nothing_in_a_static_table_changes_from_run_to_run():
    slow = Results([make_result(b"a\n", seconds=9.0)])
    quick = Results([make_result(b"a\n", seconds=0.1)])
    for render in (render_results_text, render_results_html):
        assert render(slow, False) == render(quick, False)
        assert render(slow) != render(quick)


def test_targets_have_a_column_where_there_are_several_and_equal_commands_none():
    results = Results([make_result(b"up\n", target=Target("fake", name), script="uptime") for name in ("web1", "web2")])
    assert render_results_text(results, volatile=False).splitlines()[:2] == [
        "target  state  exit  last line", "web1    ok     0     up",
    ]  # fmt: skip


def test_html_is_a_table_whose_outputs_unfold_without_a_script():
    tags = Tags(render_results_html(sample(), volatile=False))
    assert tags.count("tr") == 4
    assert tags.count("details") == tags.count("summary") == 1  # one line needs no unfolding
    assert {attrs.get("scope") for tag, attrs in tags.seen if tag == "th"} == {"col", "row"}
    assert not any(tag == "script" or any(name.startswith("on") for name in attrs) for tag, attrs in tags.seen)


def test_output_and_commands_are_data():
    html = render_results_html(sample())
    assert "<b>file" not in html
    assert "&lt;b&gt;file" in html
    assert "cat &lt;x&gt;" in html
    escapes = Results([make_result(b"\x1b[31mred\x1b[0m \x1b]0;title\x07x\n\0\n")])
    assert "\x1b" not in render_results_html(escapes) + render_results_text(escapes)


def test_every_cell_has_colours_of_its_own_for_any_theme():
    tags = Tags(render_results_html(sample()))
    for tag, attrs in tags.seen:
        if tag in ("td", "th"):
            assert "background:#" in attrs["style"], attrs
            assert re.search(r"(?<![\w-])color:#", attrs["style"]), attrs


def test_secrets_are_masked_everywhere():
    def mask(text):
        return text.replace("hunter2", "[secret]")

    results = Results(
        [make_result(b"hunter2\nhunter2\n", script="echo hunter2"), make_result(b"hunter2\n", code=1, label="hunter2")]
    )
    for render in (render_results_text, render_results_html):
        text = render(results, mask=mask)
        assert "hunter2" not in text
        assert "[secret]" in text


def test_five_hundred_rows_stay_small_and_all_there():
    results = Results(
        [make_result(b"line of output\n" * 5000, target=Target("fake", f"web{n:03}")) for n in range(500)]
    )
    html = render_results_html(results)
    assert Tags(html).count("tr") == 501
    assert len(html) < 1_000_000


@pytest.mark.parametrize(("render", "most"), [(render_results_text, 200), (render_results_html, 1000)])
def test_of_too_many_rows_the_bad_ones_stay_and_the_rest_is_counted(render, most):
    results = Results([make_result(b"x\n", code=int(n in (700, 5000)), script=f"cmd{n}") for n in range(10_000)])
    text = render(results)
    assert "cmd700" in text
    assert "cmd5000" in text
    assert "cmd9999" in text
    assert "cmd600" not in text.replace("cmd6000", "") or most == 1000
    assert re.search(r"[\d,]+ more, [\d,]+ of them ok", text)
    assert "2 of 10,000 failed" in text
    assert len(re.findall(r"cmd\d+", text)) <= most + 2


def test_below_a_long_table_the_numbers_of_those_that_failed_are_named():
    rows = [make_result(code=int(n in (84, 250)), script=f"cmd{n}") for n in range(1, 501)]
    assert render_results_text(Results(rows), volatile=False).endswith("[xec] 2 of 500 failed (84, 250)")
    assert "2 of 500 failed (84, 250)" in render_results_html(Results(rows))
    stopped = [*rows[:84], *(make_result(script=f"cmd{n}", code=None, cause=Cause.SPAWN) for n in range(416))]
    assert render_results_text(Results(stopped)).endswith("[xec] 1 of 500 failed (84), 416 not started")
    many = Results([make_result(code=int(n > 4), script=f"cmd{n}") for n in range(1, 501)])
    assert render_results_text(many, volatile=False).endswith(
        "496 of 500 failed (5, " + ", ".join(map(str, range(6, 25))) + ", …)"
    )
    assert render_results_text(Results(rows[80:90]), volatile=False).endswith("[xec] 1 of 10 failed")


def test_a_long_line_and_a_long_command_are_cut():
    results = Results([make_result(b"x" * 5000, script="y" * 500)])
    assert max(map(len, render_results_text(results).splitlines())) < 220


def test_what_is_known_of_the_run_itself_stands_below():
    whole = make_result(b"", code=None, cause=Cause.TIMEOUT)
    text = render_results_text(Results(sample(), whole), volatile=False)
    assert text.splitlines()[-1].startswith("[xec] 1 of 3 failed, 1 not started, stopped at its time limit")
