import base64
import re
import xml.etree.ElementTree as ET

from profiles.test_measure import made

from xec_magic.command import Command
from xec_magic.display.profileview import gantt_figure, profile_bundle, report_bundle
from xec_magic.plan import Plan
from xec_magic.profiles.comparison import Profile, Variant
from xec_magic.profiles.session import Record, Report


def words(html):
    pictures = re.findall(r"data:image/svg\+xml;base64,([^']+)'", html)
    return [" ".join(ET.fromstring(base64.b64decode(picture)).itertext()) for picture in pictures]


def record(name="make", began_at=100.0, ok=True, seconds=1.0):
    return Record("1", name, "local", began_at, 0.5, seconds, "ok" if ok else "failed", ok, 0.1, None, None)


def test_a_profile_has_a_table_a_distribution_and_its_warnings():
    bundle = profile_bundle(made([1.0, 1.1, 1.0, 9.0], [2.0, 2.1, 2.0, 2.2], startup=0.01))
    assert "ratio (95 %)" in bundle["text/plain"]
    assert "page cache warm" in bundle["text/plain"]
    assert "far from the others" in bundle["text/html"]
    (picture,) = words(bundle["text/html"])
    assert "time of a run (s), on local" in picture
    assert "v1" in picture


def test_a_scan_has_a_plot_of_how_it_grows():
    bundle = profile_bundle(made([1.0] * 3, [2.0] * 3, [4.0] * 3, values=("1", "2", "4")))
    assert "time grows as n to the power of 1.00" in bundle["text/plain"]
    pictures = words(bundle["text/html"])
    assert len(pictures) == 2
    assert "power 1.00" in pictures[1]


def test_where_nothing_may_change_only_names_and_counts_are_said():
    assert profile_bundle(made([1.0, 2.0]), volatile=False)["text/plain"] == "[xec] 2 runs: v0"
    assert "img" not in profile_bundle(made([1.0, 2.0]), volatile=False)["text/html"]
    assert report_bundle(Report((record(),), 1), volatile=False)["text/plain"] == "[xec] 1 run, 0 failures"


def test_commands_are_data():
    variant = Variant("<script>alert(1)</script>\x1b[31m", Plan(Command("x")))
    p = Profile(((variant, made([1.0]).variants[0][1]),), {}, "warm")
    html = profile_bundle(p)["text/html"]
    assert "<script" not in html
    assert "\x1b" not in html
    assert "<script" not in report_bundle(Report((record("<script>"),), 1))["text/html"]


def test_a_profile_without_a_measured_run_can_be_shown():
    assert "page cache" in profile_bundle(made([]))["text/plain"]


def test_a_session_is_a_timeline_with_failures_named():
    bundle = report_bundle(Report((record(), record("load", 101.0, ok=False)), 2))
    (picture,) = words(bundle["text/html"])
    assert "load (failed)" in picture
    assert "grey: waiting, hatched: failed" in picture
    assert "1 failed" in bundle["text/plain"]


def test_a_long_session_shows_its_last_runs():
    figure = gantt_figure([record(f"c{n}", 100.0 + n) for n in range(300)])
    assert figure.get_figheight() < 8


def test_a_long_command_takes_lines_and_its_figures_do_not_and_a_picture_says_that_it_is_cut():
    long = "sort -n " + "x" * 80
    base = made([1.0, 2.0], [2.0, 4.0], values=("1", "2"))
    variants = tuple((Variant(long, each.plan, each.param, each.value), runs) for each, runs in base.variants)
    html = profile_bundle(Profile(variants, {}, "warm"))["text/html"]
    cells = re.findall(r"<td style='([^']*)'>([^<]*)</td>", html)
    assert [text for style, text in cells if "white-space:normal" in style] == [f"{long} [n=1]", f"{long} [n=2]"]
    assert all("…" in picture for picture in words(html))
    (picture,) = words(report_bundle(Report((record(long),), 1))["text/html"])
    assert f"{long[:45]}…" in picture
