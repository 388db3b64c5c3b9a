"""The chart of a monitored run: as a figure, an image for the notebook, and lines of text."""

import base64
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from display.runs import make_result

from xec_magic.display import chart, palette, render
from xec_magic.display.palette import contrast, rgb_of
from xec_magic.display.usage import figure_of, sparkline, thinned, usage_html, usage_lines
from xec_magic.events import Mark, Sample
from xec_magic.plan import MonitorPolicy
from xec_magic.timeline import Timeline


def timeline(count=20, marks=(), **fields):
    made = Timeline(0.0)
    for n in range(1, count + 1):
        known = {"cpu_s": n / 4, "rss_bytes": n * 2**20, "read_bytes": n * 1000, "written_bytes": 0} | fields
        made.add(Sample("r1", n / 4, **known))
    made.marks += [Mark("r1", at, text) for at, text in marks]
    return made


def svg(html):
    found = re.search(r"<img src='data:image/svg\+xml;base64,([^']+)'", html)
    return base64.b64decode(found[1]).decode()


def monitored(*pieces, samples=8, **options):
    result = make_result(*pieces, **options)
    return replace(result, timeline=timeline(samples), plan=replace(result.plan, monitor=MonitorPolicy()))


def test_the_chart_is_an_image_that_survives_an_untrusted_notebook():
    html = usage_html(timeline(marks=[(2.0, "step <b>two</b>")]), "make all", "local")
    picture = svg(html)
    root = ET.fromstring(picture)
    assert root.tag.endswith("svg")
    assert "<script" not in picture
    words = " ".join(root.itertext())
    for word in (
        "CPU (cores)",
        "memory (MiB)",
        "peak 20.0 MiB",
        "seconds since the start, on local",
        "make all",
        "step <b>two</b>",
    ):
        assert word in words
    assert "<b>" not in html
    assert re.search(r"alt='use of make all on local: CPU ", html)


def test_the_same_samples_give_the_same_picture_and_a_small_one():
    assert usage_html(timeline(), "x", "local") == usage_html(timeline(), "x", "local")
    assert len(usage_html(timeline(1200), "x", "local")) < 45_000


def test_a_panel_of_which_nothing_is_known_is_left_out():
    words = " ".join(
        ET.fromstring(svg(usage_html(timeline(read_bytes=None, written_bytes=None), "x", "local"))).itertext()
    )
    assert "read" not in words
    assert "memory" in words


def test_any_letters_can_stand_in_a_name():
    assert "数据 🚀" in " ".join(ET.fromstring(svg(usage_html(timeline(), "数据 🚀", "local"))).itertext())


def test_dollars_in_a_name_are_no_formula():
    assert "echo $HOME $(ls)" in " ".join(
        ET.fromstring(svg(usage_html(timeline(), "echo $HOME $(ls)", "local"))).itertext()
    )


def test_the_colours_can_be_told_apart_on_the_charts_ground():
    ground = rgb_of(palette.BACKGROUND)
    for colour in chart.COLOURS:
        assert contrast(rgb_of(colour), ground) >= 3  # WCAG 2.2, 1.4.11
    assert contrast(rgb_of(palette.FOREGROUND), ground) >= 4.5


def test_secrets_are_masked_in_names_and_marks():
    html = usage_html(timeline(marks=[(1.0, "s3cret!")]), "s3cret", "local", lambda text: text.replace("s3cret", "***"))
    assert "s3cret" not in html + svg(html)
    assert "***!" in svg(html)


def test_a_long_curve_is_thinned_and_keeps_its_peak_and_its_gaps():
    made = timeline(1000)
    made.samples[500] = Sample("r1", made.samples[500].at, made.samples[500].cpu_s, 2**40, 1, 1)
    curves = thinned(made.curves(), 100)
    assert len(curves.time_s) == 100
    assert max(curves.rss_bytes) == 2**40
    gap = made.curves()._replace(rss_bytes=[math.nan] * 1000)
    assert all(map(math.isnan, thinned(gap, 100).rss_bytes))


def test_a_sparkline_is_a_bar_a_moment_and_a_blank_where_nothing_is_known():
    assert sparkline([1, 2, 3, 4], [0.0, math.nan, 2.0, 4.0], 4) == "▁ ▄█"
    assert sparkline([], [], 4) == ""
    assert len(sparkline(list(range(1, 1000)), [1.0] * 999)) == 40


def test_lines_of_text_say_peaks_means_and_marks_without_escapes():
    lines = usage_lines(timeline(marks=[(1.0, "\x1b[31mred\x1b[0m")]))
    assert "peak 1.00, mean 1.00 cores" in lines[0]
    assert "peak 20.0 MiB" in lines[1]
    assert lines[-1] == "   1.0 s red"


def test_many_marks_are_counted():
    lines = usage_lines(timeline(marks=[(n / 10, f"m{n}") for n in range(30)]))
    assert lines[-1] == "… and 22 more marks"
    figure_of(timeline(marks=[(n / 10, f"m{n}") for n in range(30)]), "x", "local")


def test_a_title_that_is_wider_than_the_chart_is_cut_where_that_is_seen():
    def title(name):
        figure = figure_of(timeline(), name, "local")
        figure.canvas.draw()
        box = figure._suptitle.get_window_extent()
        assert box.x1 <= figure.bbox.x1
        return figure._suptitle.get_text()

    assert title("x" * 64) == "x" * 64
    assert title("W" * 65) == "W" * 63 + "…"


def test_the_record_of_a_monitored_run_has_the_chart_and_one_that_must_not_change_has_none():
    result = monitored(b"hi\n")
    assert "<img src='data:image/svg+xml" in render.render_html(result)
    assert "[xec] CPU " in render.render_text(result)
    for text in (render.render_html(result, volatile=False), render.render_text(result, volatile=False)):
        assert "img" not in text
        assert "CPU" not in text


def test_the_words_below_say_what_each_figure_counts():
    said = " ".join(render.facts(monitored(b"hi\n")))
    assert "peak memory 64.0 MiB (largest process)" in said
    assert "ended before the first sample" in " ".join(render.facts(monitored(samples=0)))


def test_the_peak_of_the_tree_says_what_it_is():
    sampled = monitored(b"hi\n")
    sampled.timeline.add(Sample("r1", 9.0, 9.0, 80 * 2**20, processes=3))
    assert "all processes at least 80.0 MiB (sampled)" in render.facts(sampled)
    counted = replace(sampled, usage=sampled.usage._replace(tree_peak_bytes=96 * 2**20))
    said = render.facts(counted)
    assert "all processes 96.0 MiB of their own (control group, with page cache)" in said
    assert "sampled" not in " ".join(said)


def test_a_figure_shows_itself_in_a_notebook_without_pyplot():
    figure = monitored(b"x").plot()
    assert figure._repr_html_().startswith("<img src='data:image/svg+xml")
    assert figure.axes[0].get_title(loc="left") == "CPU (cores)"


@pytest.mark.parametrize("count", [1, 2])
def test_a_chart_of_hardly_any_samples_can_be_drawn(count):
    assert svg(usage_html(timeline(count), "x", "local"))
