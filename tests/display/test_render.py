import json
import re
from html.parser import HTMLParser

import pytest
from display.runs import make_result, note

from xec_magic.cachepolicy import CachePolicy
from xec_magic.command import Command, Target
from xec_magic.display import outputhtml, render
from xec_magic.display.render import closing_line, render_html, render_started_html, render_started_text, render_text
from xec_magic.events import Cause, LeftBehind, ProcessInfo
from xec_magic.plan import Plan

HOSTILE = (
    b"<script>alert(1)</script>\n<img src=x onerror=alert(1)>\n</pre></div><style>*{display:none}</style>\n"
    b"\x1b]8;;javascript:alert(1)\x1b\\click\x1b]8;;\x1b\\\n'\"onmouseover=alert(1) x='\n\x00\xff\xfe\x1b[31m&lt;b&gt;\n"
)


class Page(HTMLParser):
    """Elements with their attributes, and the text."""

    def __init__(self, html):
        super().__init__()
        self.tags = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


# -- text -----------------------------------------------------------------------------------------


def test_an_uneventful_run_is_its_output_alone_where_nothing_volatile_may_be_said():
    assert render_text(make_result(b"hi\n"), volatile=False) == "hi"
    assert render_text(make_result(b"hi\n")) == "hi\n[xec] ok, 500 ms"


def test_text_has_no_escapes():
    assert render_text(make_result(b"\x1b[31mred\x1b[0m\n1%\r2%\n"), volatile=False) == "red\n2%"


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (make_result(code=2), "[xec] exit code 2, no output"),
        (make_result(), "[xec] ok, no output"),
        (make_result(b"x\n", truncated=True), "[xec] ok, output is incomplete"),
        (make_result(b"x\n", code=None, signal=9), "[xec] ended by signal SIGKILL (often: out of memory)"),
        (make_result(b"x\n", code=None, signal=15, cause=Cause.CANCEL), "[xec] cancelled"),
        (
            make_result(b"x\n", more=[LeftBehind("r1", 0.3, (ProcessInfo(77, "sleep"),))]),
            "[xec] ok, still running: sleep",
        ),
        (make_result(b"x\n", more=[note("the disk is full")]), "[xec] ok, the disk is full"),
    ],
)
def test_what_matters_is_said_without_anything_volatile(result, words):
    assert render_text(result, volatile=False).splitlines()[-1] == words


def test_volatile_words_say_what_it_took():
    text = render_text(make_result(b"x\n", seconds=75.0, more=[LeftBehind("r1", 0.3, (ProcessInfo(77, "sleep"),))]))
    assert (
        text.splitlines()[-1] == "[xec] ok, still running: sleep (pid 77), 1 min 15 s, CPU 300 ms, peak memory 64.0 MiB"
    )


def test_a_kept_result_says_so_with_its_age_and_how_to_run_it_again():
    kept = make_result(b"hi\n", script="make all").replayed("r2", Plan(Command("make all")), 200.0)
    assert render_text(kept) == "hi\n[xec] ok, cached 3 min ago; --refresh runs it again"
    assert closing_line(kept) == "[xec] ok, cached 3 min ago; --refresh runs it again"
    assert Page(render_html(kept)).text.startswith("cached 3 min ago · make all")
    assert render_text(kept, volatile=False) == "hi\n[xec] ok, cached"
    assert "3 min" not in render_html(kept, volatile=False)


def test_a_kept_result_whose_time_is_over_says_that_a_new_one_is_made():
    plan = Plan(Command("make all"), cache=CachePolicy("1m", stale="1h"))
    stale, fresh = (make_result(b"hi\n", script="make all").replayed("r2", plan, age) for age in (200.0, 30.0))
    assert closing_line(stale) == "[xec] ok, cached 3 min ago; its time is over, and a new one is made behind"
    assert closing_line(fresh) == "[xec] ok, cached 30 s ago; --refresh runs it again"


def test_the_gap_is_said():
    text = render_text(make_result(b"".join(b"%d\n" % i for i in range(5000))), volatile=False)
    lines = text.splitlines()
    assert lines[199:202] == ["199", "[xec] … 4,000 lines not shown …", "4200"]
    assert lines[-1] == "4999"


def test_the_command_is_shown_on_demand():
    text = render_text(
        make_result(b"x\n", script="cd /tmp\nmake s3cret"),
        volatile=False,
        show=True,
        mask=lambda t: t.replace("s3cret", "***"),
    )
    assert text == "$ cd /tmp\n$ make ***\nx"


# -- HTML ---------------------------------------------------------------------------------------


def test_uneventful_html_is_small_and_quiet():
    html = render_html(make_result(b"hi\n"))
    assert len(html) < 700
    assert Page(html).text.split() == ["hi", "ok", "·", "500", "ms"]


def test_failure_is_said_in_words():
    text = Page(render_html(make_result(b"x\n", code=127))).text
    assert "failed" in text
    assert "exit code 127 (command not found)" in text
    assert "make all" in text


@pytest.mark.parametrize("volatile", [True, False])
def test_output_never_comes_alive(volatile):
    result = make_result(
        HOSTILE,
        ("stderr", HOSTILE),
        code=1,
        script=HOSTILE.decode("utf-8", "replace").replace("\0", ""),
        label="<b>x</b>",
    )
    page = Page(render_html(result, volatile, show=True))
    assert {tag for tag, _ in page.tags} <= {"div", "pre", "span", "b"}
    for _, attributes in page.tags:
        assert set(attributes) <= {"style", "title", "tabindex"}
    assert "<script>alert(1)</script>" in page.text
    assert "javascript:" not in re.sub(r"\]8;;javascript:alert\(1\)", "", page.text)


def test_styles_are_such_as_sanitisers_keep():
    html = render_html(make_result(HOSTILE * 50, ("stderr", HOSTILE), code=1))
    assert "<style" not in html.replace("&lt;style", "")
    assert "var(" not in html
    assert "light-dark(" not in html


def test_standard_error_has_a_bar_and_a_name():
    page = Page(render_html(make_result(b"out\n", ("stderr", b"err\n"), b"out\n")))
    blocks = [attributes for tag, attributes in page.tags if tag == "pre"]
    assert [block.get("title") for block in blocks] == [None, "stderr", None]
    assert "border-left" in blocks[1]["style"]


def test_without_volatile_two_runs_look_the_same(tmp_path):
    one = make_result(b"hi\n", more=[LeftBehind("r1", 0.3, (ProcessInfo(77, "sleep"),))])
    two = make_result(b"hi\n", more=[LeftBehind("r1", 0.4, (ProcessInfo(99, "sleep"),))], seconds=99.0)
    assert render_html(one, volatile=False) == render_html(two, volatile=False)
    assert render_text(one, volatile=False) == render_text(two, volatile=False)


@pytest.mark.parametrize(
    "data",
    [
        b"".join(b"\x1b[38;5;%dm%d\x1b[0m\x1b[1mx\x1b[0m\n" % (i % 256, i) for i in range(200_000)),
        b"x" * 2**21,
        b"\x1b[31ma\x1b[32mb" * 100_000,
        b"\n" * 1_000_000,
        b"<&>" * 700_000 + b"\n",
    ],
    ids=["colours", "one line", "one coloured line", "empty lines", "escapes"],
)
def test_a_saved_notebook_stays_small(data):
    result = make_result(data)
    html, text = render_html(result), render_text(result)
    assert len(json.dumps([html, text])) < 200_000
    assert "not shown" in Page(html).text
    assert "not shown" in text


@pytest.mark.parametrize("count", [1, 40, 150, 199])
def test_of_an_output_that_has_no_room_in_front_the_end_is_shown_all_the_same(count):
    lines = [f"line {n} " + "y" * (60_000 // count) for n in range(count)]
    html = render_html(make_result("\n".join(lines).encode() + b"\nthe last word\n"))
    text = re.sub("<[^>]*>", "", html)
    assert text.count("line 0 ") == 1
    assert "the last word\n" in text
    if count == 1:
        assert "… a part of a line not shown …" in text


def test_a_single_line_that_has_no_room_is_said_to_be_a_part():
    assert "… a part of a line not shown …" in render_html(make_result(b"z" * 30_000))


def test_all_of_a_long_command_can_be_read_above_its_output():
    html = render_html(make_result(b"x\n", script="echo " + "word " * 300), show=True)
    command = re.search("<pre[^>]*>(?=echo word)", html)[0]
    assert "pre-wrap" in command
    assert "overflow:auto" in command.partition("overflow:visible")[2]


def test_a_record_of_many_colours_has_fewer_lines_than_a_plain_one():
    # A page sanitises and lays out each tag, and stands still meanwhile.
    coloured = render_html(make_result(b"\x1b[31mline\x1b[0m of \x1b[1mmany\x1b[0m colours\n" * 5000), volatile=False)
    plain = render_html(make_result(b"line of many colours\n" * 5000), volatile=False)
    assert 300 < coloured.count("<span") < 600
    assert plain.count("line of many") == 1000


def test_lines_that_do_not_fit_are_counted():
    html = render_html(make_result(b"".join(b"\x1b[31m%d\x1b[0m\n" % i for i in range(3000))))
    text = Page(html).text
    shown = re.findall(r"^\d+$", text, re.MULTILINE)
    hidden = int(re.search(r"([\d,]+) lines not shown", text)[1].replace(",", ""))
    assert len(shown) + hidden == 3000
    assert shown[-1] == "2999"


def test_a_secret_is_masked_across_colours():
    html = render_html(make_result(b"s3\x1b[31mcret\x1b[0m here\n"), mask=lambda text: text.replace("s3cret", "***"))
    assert "*** here" in Page(html).text
    assert "cret" not in html


def test_a_session_is_named_in_the_header_and_before_the_run_has_ended():
    page = Page(render_html(make_result(b"x\n", session="etl")))
    assert "in session etl" in page.text
    assert (
        render_text(make_result(code=1, session="etl"), volatile=False)
        == "[xec] exit code 1, in session etl, no output"
    )
    plan = Plan(Command("true", session="etl"))
    assert render_started_text(plan, "r7") == "[xec] started in session etl, run r7: true"
    assert "session etl" in Page(render_started_html(plan, "r7")).text
    remote = make_result(b"x\n", session="etl", target=Target("fake", "db1"))
    assert "on db1, session etl" in Page(render_html(remote)).text


def test_another_target_is_named():
    page = Page(render_html(make_result(b"x\n", target=Target("fake", "db1"))))
    assert "on db1" in page.text


def test_the_started_form_names_the_run():
    plan = Plan(make_result(script="sleep <9>").plan.command)
    assert render_started_text(plan, "r7") == "[xec] started, run r7: sleep <9>"
    assert Page(render_started_html(plan, "r7")).text == "started, run r7: sleep <9>"


@pytest.mark.parametrize("end", [b"\n", b"", b"\n\n"])
@pytest.mark.parametrize(
    "lines",
    [
        [b"plain", b"a <b> & 'c'", b"", b"a\ttab"],
        [b"plain", b"\x1b[31mred", b"still red\x1b[0m"],
        [b"10%\r20%", b"plain"],
        [b"an error, one", b"0 errors"],
        ["a faıled ſegmentation fault".encode(), b"plain"],  # letters with a further case
        [b"a s3cret", b"plain"],
        [b"x" * 401, b"y" * 400],
        [b"&" * 100] * 45,  # less than there is room for, and more once it is escaped
        [b"0123456789" * 8] * 201,
        [b"0123456789" * 8] * 400,
        [b"0123456789" * 39] * 60,
        [b"\xff\x85\xc2\x85", b"plain"],
    ],
    ids=range(12),
)
def test_what_is_looked_at_as_one_reads_as_if_each_line_was_looked_at(monkeypatch, lines, end):
    pieces = [("stderr" if number % 7 == 3 else "stdout", line + b"\n") for number, line in enumerate(lines[:-1])]
    for mixed in (True, False):
        found = make_result(*(pieces if mixed else (data for _, data in pieces)), lines[-1] + end)
        words = {"mask": lambda text: text.replace("s3cret", "***")}
        at_once = render_html(found, **words), render_text(found, **words)
        with monkeypatch.context() as patch:
            patch.setattr(outputhtml, "_is_plain", lambda *_: False)
            patch.setattr(render, "has_controls", lambda _: True)
            assert at_once == (render_html(found, **words), render_text(found, **words))


def test_nothing_that_the_last_line_quotes_acts_on_a_terminal():
    text = render_text(make_result(b"x\n", more=[note("left: \x1b]0;x\x07\u202eexe")]))
    assert text.splitlines()[-1] == "[xec] ok, 500 ms, left: \ufffdexe"
