"""Marks of several hosts in one chart and in words."""

from display.test_hostsview import host, monitored_on, picture

from xec_magic.display.fleetrender import fleet_html, fleet_text
from xec_magic.display.hostmarks import mark_lines, shared_marks
from xec_magic.display.hostsview import hosts_bundle, hosts_figure
from xec_magic.display.usage import NAMED_MARKS
from xec_magic.events import Mark
from xec_magic.results import Results


def marked(name, *marks, start=0.0):
    made = host(name, start=start)
    made.timeline.marks += [Mark("", start + at, text) for at, text in marks]
    return made


def test_equal_texts_are_one_mark_with_who_said_it_and_when():
    timelines = [
        marked("web1", (1.0, "load"), (4.0, "done")).timeline,
        marked("web2", (0.5, "load"), start=2.0).timeline,
        marked("web3").timeline,
    ]
    marks = shared_marks(timelines)
    assert [(mark.text, mark.said) for mark in marks] == [("load", ((0, 1.0), (1, 2.5))), ("done", ((0, 4.0),))]
    assert mark_lines(marks, ["web1", "web2", "web3"]) == [
        "    1.0–2.5 s load (web1, web2)",
        "        4.0 s done (web1)",
    ]


def test_many_hosts_and_many_texts_are_counted():
    hosts = [marked(f"web{n}", (1.0, "same")) for n in range(5)]
    marks = shared_marks([each.timeline for each in hosts])
    assert mark_lines(marks, [each.title for each in hosts]) == ["        1.0 s same (web0, web1, web2 and 2 more)"]
    many = shared_marks([marked("web1", *((n, f"step {n}") for n in range(20))).timeline])
    lines = mark_lines(many, ["web1"])
    assert len(lines) == NAMED_MARKS + 1
    assert lines[-1] == f"… and {20 - NAMED_MARKS} more marks"


def test_the_record_of_a_monitored_fleet_has_the_marks_of_its_hosts_in_chart_and_text():
    first, second = monitored_on("web1", 0.5), monitored_on("web2", 1.0)
    first.timeline.marks.append(Mark("", 2.0, "step <b>one</b> of s3cret, $HOME"))
    second.timeline.marks.append(Mark("", 3.0, "step <b>one</b> of s3cret, $HOME"))
    results = Results([first, second])

    def mask(text):
        return text.replace("s3cret", "•••")

    lines = fleet_text(results, 1.5, mask=mask).splitlines()
    assert "[xec]     2.0–3.0 s step <b>one</b> of •••, $HOME (web1, web2)" in lines
    html = fleet_html(results, 1.5, mask=mask)
    assert "1 step &lt;b&gt;one&lt;/b&gt; of •••, $HOME (web1, web2)" in picture(html)
    assert "<b>one</b>" not in html
    assert "s3cret" not in html + picture(html)
    assert "step" not in fleet_text(results, None) + fleet_html(results, None)


def test_a_mark_has_the_colour_of_its_host_and_grey_where_that_has_none():
    hosts = [marked(f"web{n}", (n, f"at {n}"), start=0.0) for n in range(8)]
    figure = hosts_figure([(each.title, each.timeline) for each in hosts])
    for axes in figure.axes:
        drawn = [lines for lines in axes.collections if lines.get_segments()]
        assert sum(len(lines.get_segments()) for lines in drawn) == 8
        assert len({tuple(lines.get_color()[0]) for lines in drawn}) == 7


def test_what_went_over_a_bound_on_a_watched_host_is_in_the_chart_of_all():
    bundle = hosts_bundle([marked("web1", (2.0, "mem > 90%: 3 GiB")), marked("web2")])
    assert bundle["text/plain"].splitlines()[-1] == "[xec]         2.0 s mem > 90%: 3 GiB (web1)"
    assert "1 mem &gt; 90%: 3 GiB (web1)" in picture(bundle["text/html"])
