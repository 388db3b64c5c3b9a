"""Several hosts side by side."""

import base64
import re
from dataclasses import dataclass, field

import pytest
from display.runs import make_result

from xec_magic.command import Target
from xec_magic.display.fleetrender import fleet_html, fleet_text, summary_lines
from xec_magic.display.hostsview import hosts_bundle, hosts_figure, hosts_lines
from xec_magic.display.table import render_results_html
from xec_magic.errors import OptionError
from xec_magic.events import Sample
from xec_magic.plan import MonitorPolicy
from xec_magic.results import Results
from xec_magic.timeline import Timeline


@dataclass
class Host:
    title: str
    timeline: Timeline = field(default_factory=lambda: Timeline(0.0, from_zero=False))
    failure: str = ""
    running: bool = True


def host(name, busy=0.5, count=12, start=0.0, **fields):
    made = Host(name, Timeline(start, from_zero=False))
    for n in range(count):
        known = {
            "cpu_s": n * busy,
            "rss_bytes": 2**30,
            "read_bytes": n * 1000,
            "written_bytes": 0,
            "load": busy,
        } | fields
        made.timeline.add(Sample("", start + n, **known))
    return made


def picture(html):
    (found,) = re.findall(r"<img src='data:image/svg\+xml;base64,([^']+)'", html)
    return base64.b64decode(found).decode()


def test_each_host_has_a_line_of_text_and_a_line_in_the_chart():
    bundle = hosts_bundle([host("web1"), host("database-2", 1.5)])
    first, second = bundle["text/plain"].splitlines()
    assert re.fullmatch(r"\[xec\] web1       +CPU .* peak 0.50 cores  memory .* peak 1.00 GiB  load 0.50", first)
    assert second.startswith("[xec] database-2  CPU ")
    text = picture(bundle["text/html"])
    for word in (
        "web1",
        "database-2",
        "CPU (cores)",
        "peak 1.50",
        "memory (GiB)",
        "storage, read and written",
        "seconds since the start",
    ):
        assert word in text
    assert "network" not in text  # of which nothing is known


def test_of_many_hosts_those_that_use_most_are_named_and_the_others_counted():
    text = picture(hosts_bundle([host(f"node{n:02}", n / 10) for n in range(40)])["text/html"])
    assert [name for name in re.findall(r"node\d\d", text) if name not in text.partition("<svg")[0]] == [
        f"node{n}" for n in range(34, 40)
    ]
    assert "34 more" in text


def test_hosts_share_one_scale_of_time():
    early, late = host("a", start=100.0), host("b", start=130.0)
    axes = hosts_figure([(each.title, each.timeline) for each in (early, late)]).axes[0]
    assert [max(line.get_xdata()) for line in axes.lines if len(line.get_xdata())] == [11.0, 41.0]


def test_what_went_wrong_is_said_and_secrets_in_it_are_masked():
    broken = Host("db9", failure="the connection to db9 was lost: hunter2\x1b[31m")
    lines = hosts_lines([broken, Host("new")], lambda text: text.replace("hunter2", "•••"))
    assert lines == ["db9  the connection to db9 was lost: •••", "new  no sample yet"]
    assert "<img" not in hosts_bundle([broken])["text/html"]


def test_where_nothing_may_change_only_names_are_said():
    bundle = hosts_bundle([host("web1"), host("web2")], volatile=False)
    assert bundle["text/plain"] == "[xec] web1\n[xec] web2"
    assert "<img" not in bundle["text/html"]


def test_names_of_hosts_are_data():
    html = hosts_bundle([host("<b>$x$</b>"), host("y")])["text/html"]
    assert "<b>" not in re.sub(r"<img[^>]*>", "", html)
    assert "&lt;b&gt;$x$" in picture(html)


def monitored_on(name, busy):
    from dataclasses import replace

    result = make_result(b"done\n")
    plan = replace(
        result.plan, monitor=MonitorPolicy(), command=replace(result.plan.command, target=Target("ssh", name, name))
    )
    return replace(result, plan=plan, timeline=replace(host(name, busy).timeline, from_zero=True))


def test_the_table_of_monitored_runs_has_their_chart_and_one_that_must_not_change_has_none():
    results = Results([monitored_on("web1", 0.5), monitored_on("web2", 1.0)])
    text = picture(render_results_html(results))
    assert all(word in text for word in ("web1", "web2", "CPU (cores)", "read and written"))
    assert "storage" not in text
    assert "<img" not in render_results_html(results, volatile=False)
    assert "<img" not in render_results_html(Results([make_result(b"x\n")]))
    assert len(results.plot().axes) == 3
    with pytest.raises(OptionError, match="monitor=True"):
        Results([make_result(b"x\n")]).plot()


def test_the_record_of_a_monitored_fleet_has_one_chart_and_a_line_for_each_that_used_most():
    results = Results([monitored_on(f"web{n:02}", n / 10) for n in range(20)])
    lines = fleet_text(results, 1.5).splitlines()
    used = [line for line in lines if " CPU " in line]
    assert len(used) == 12
    assert used[0].startswith("[xec] web19  CPU ")
    assert "[xec] and 8 more that used less" in lines
    assert any(line.startswith("[xec] web19") for line in summary_lines(results, 1.5))
    assert "14 more" in picture(fleet_html(results, 1.5))
    assert "CPU" not in fleet_text(results, None)
    assert "<img" not in fleet_html(results, None)
