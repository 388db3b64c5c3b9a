from __future__ import annotations

import base64
import re
from xml.etree import ElementTree as ET

import pytest
from display.runs import make_result

from xec_magic.compose.tasks_result import TaskResult, TaskResults, TaskState, critical_path
from xec_magic.display import palette, tasks_svg
from xec_magic.display.tasks_render import tasks_html, tasks_text
from xec_magic.display.tasks_svg import MARKS, colour_of, gantt_svg, graph_svg

S = TaskState


def task(name, state=S.OK, needs="", reason="", span=None, printed=None):
    start, end = span or (None, None)
    shown = None if printed is None else make_result(printed.encode(), code=0 if state is S.OK else 3)
    return TaskResult(name, state, tuple(needs.split()), reason, shown, start, end)


def results(*tasks, **how):
    return TaskResults(tasks, **{"jobs": 2, "duration_s": 4.0, **how})


PIPELINE = (
    task("fetch", span=(0.0, 1.0), printed="got it\n"),
    task("lint", needs="fetch", span=(1.0, 1.5)),
    task("build", needs="fetch", span=(1.0, 4.0)),
    task("test", S.FAILED, "build", "exit code 3", span=(4.0, 4.5), printed="oh <b>no</b>\n"),
    task("ship", S.BLOCKED, "test lint", "test failed"),
)


def svg_of(html):
    found = re.search(r"src='data:image/svg\+xml;base64,([^']+)'", html)
    return base64.b64decode(found[1]).decode() if found else ""


def test_text_has_a_line_a_task_with_a_bar_in_its_time_and_the_end_of_what_failed():
    text = tasks_text(results(*PIPELINE)).splitlines()
    assert text[0] == (
        "[xec] 5 tasks: 1 failed, 1 blocked, 3 ok; 4 s with 2 jobs; critical path fetch → build → test, 4.5 s"
    )
    assert text[1].split()[:4] == ["✓", "fetch", "ok", "1"]
    bars = [(line.index("█"), line.count("█")) for line in text[1:5]]
    assert bars == [(bars[0][0], 7), (bars[0][0] + 7, 4), (bars[0][0] + 7, 21), (bars[0][0] + 28, 4)]
    assert text[5].split() == ["⊘", "ship", "blocked", "test", "failed"]
    assert text[-2:] == ["── test: the last of its output", "oh <b>no</b>"]


def test_static_text_and_html_hold_no_time_and_the_graph_instead_of_the_chart():
    text, html = tasks_text(results(*PIPELINE), volatile=False), tasks_html(results(*PIPELINE), volatile=False)
    assert not re.search(r"\d m?s\b|█", text)
    assert not re.search(r">[^<]*\d m?s\b", html)
    assert "graph of the tasks" in html
    slower = [
        TaskResult(t.name, t.state, t.needs, t.reason, t.result, t.start_s and t.start_s * 3, t.end_s and t.end_s * 7)
        for t in PIPELINE
    ]
    assert tasks_html(results(*slower, duration_s=30.0), volatile=False) == html
    assert tasks_text(results(*slower, duration_s=30.0), volatile=False) == text


def test_html_opens_what_failed_and_folds_the_rest():
    html = tasks_html(results(*PIPELINE))
    assert html.count("<details") == 2
    assert html.count("<details open") == 1
    assert "oh &lt;b&gt;no&lt;/b&gt;" in html.partition("<details open")[2]
    assert "Gantt chart of 5 tasks; critical path: fetch, build, test" in html


def test_the_chart_of_the_time_has_a_bar_a_task_and_the_critical_path_dark():
    svg = ET.fromstring(gantt_svg(PIPELINE, ["fetch", "build", "test"]))
    bars = [rect for rect in svg.iter("{http://www.w3.org/2000/svg}rect") if rect.get("rx") == "2"]
    assert [bar.get("fill") for bar in bars] == ["#0a3f8f", "#7ea6e8", "#0a3f8f", palette.BAD]
    starts, widths = ([float(bar.get(key)) for bar in bars] for key in ("x", "width"))
    assert starts[1] == starts[2]
    assert starts[0] < starts[1] < starts[3]
    assert widths[2] == pytest.approx(3 * widths[0], rel=0.01)
    assert gantt_svg(PIPELINE[:1], []) == ""


def test_below_the_time_there_is_room_for_words_only_where_there_are_any():
    heights = [float(ET.fromstring(gantt_svg(PIPELINE[:3], path)).get("height")) for path in ([], ["fetch", "build"])]
    assert heights[0] == heights[1] - 18


def test_long_names_that_begin_alike_can_be_told_apart():
    names = [f"extract_the_daily_trips_of_region_number_{n}_from_the_warehouse_as_parquet" for n in range(12)]
    many = [task(name, needs=names[n - 1] if n else "", span=(n, n + 0.5)) for n, name in enumerate(names)]
    shown = tasks_svg.short_names([*names, "lint"])
    assert shown["lint"] == "lint"
    assert len(set(shown.values())) == 13
    assert max(map(len, shown.values())) <= tasks_svg.MOST_NAME
    assert all(f"number_{n}_" in shown[name] for n, name in enumerate(names))
    for drawn in (gantt_svg(many, []), graph_svg(many), tasks_html(results(*many)), tasks_text(results(*many))):
        assert all(name in drawn for name in list(shown.values())[:12])
    alone = gantt_svg([many[0], task("lint", span=(0, 1)), task(names[2], S.BLOCKED)], [])
    assert tasks_svg.short_names([names[0], names[2]])[names[0]] in alone


def test_a_wide_graph_is_not_shrunk_until_nobody_can_read_it():
    chain = [task(f"t{n}", S.WOULD_RUN, f"t{n - 1}" if n else "") for n in range(40)]
    html = tasks_html(results(*chain))
    drawn = int(re.search(r"<svg [^>]*? width='(\d+)'", svg_of(html))[1])
    assert int(re.search(r"min-width:(\d+)px", html)[1]) >= 0.7 * drawn
    assert "min-width" not in tasks_html(results(*PIPELINE))


def test_the_output_of_a_failed_task_opens_at_its_end():
    shown = tasks_html(
        results(task("a", S.FAILED, "", "exit code 3", (0.0, 1.0), "line\n" * 100), task("b", span=(0, 1)))
    )
    assert "flex-direction:column-reverse" in shown.partition("<details open")[2].partition("<pre")[0]


def test_the_last_task_does_not_stand_on_the_border():
    assert "padding-bottom:3px'>" in tasks_html(results(*PIPELINE[:2])).partition(">")[0] + ">"


def test_the_graph_has_a_box_a_task_each_to_the_right_of_what_it_needs():
    svg = ET.fromstring(graph_svg(PIPELINE))
    boxes = [rect for rect in svg.iter("{http://www.w3.org/2000/svg}rect") if rect.get("rx") == "4"]
    left = {task.name: float(box.get("x")) for task, box in zip(PIPELINE, boxes, strict=True)}
    assert left["fetch"] < left["lint"] == left["build"] < left["test"] < left["ship"]
    assert graph_svg([task("a"), task("b")]) == ""
    assert graph_svg([task("a"), *(task(f"t{n}", needs="a") for n in range(60))]) == ""


def test_while_they_run_the_page_says_how_long_and_how_to_stop():
    running = results(task("a", S.RUNNING, span=(1.0, None)), task("b", S.PENDING, "a"), duration_s=3.0)
    html = tasks_html(running, now_s=3.0)
    assert "2.0 s" in html
    assert "interrupt the kernel to stop all of them" in html
    assert "graph of the tasks: a running; b pending" in html
    assert "Gantt" not in html


@pytest.mark.parametrize("live", [False, True])
def test_a_thousand_tasks_stay_readable_with_the_failures_first(live):
    many = [task(f"t{n}", S.FAILED if n in (500, 999) else S.OK, reason="exit code 1" if n in (500, 999) else "", span=(n, n + 0.5), printed="x" * 2000 + "\n") for n in range(1000)]  # fmt: skip
    now = {"now_s": 1000.0} if live else {}
    html = tasks_html(results(*many), **now)
    assert len(html) < 100_000
    assert html.index("t500") < html.index(">ok")
    assert "… and 990 ok" in html
    text = tasks_text(results(*many)).splitlines()
    assert [line.split()[1] for line in text[1:3]] == ["t500", "t999"]
    assert len(text) < 120


def test_nothing_in_a_name_a_reason_or_an_output_comes_alive():
    evil = "<img src=x onerror=alert(1)>'\"&\x1b[2J\0"
    shown = results(task(evil, S.FAILED, "", evil, (0.0, 1.0), evil + "\n"), task("b", S.BLOCKED, evil, evil), task("c", span=(0.0, 2.0)), notes=(evil,))  # fmt: skip
    for volatile in (True, False):
        html = tasks_html(shown, volatile)
        assert "<img src=x" not in html
        assert not re.search(r"[\x00-\x08\x0b-\x1f]", html)
        ET.fromstring(svg_of(html))  # it is well-formed, so nothing broke out of its text
        assert "\x1b" not in tasks_text(shown, volatile)
    short = task("\0<&'>", S.FAILED, "c", span=(1.0, 3.0))
    ET.fromstring(graph_svg([task("c", span=(0.0, 1.0)), short]))
    ET.fromstring(gantt_svg([task("c", span=(0.0, 1.0)), short], []))


def test_secrets_are_masked_in_all_that_is_shown():
    def mask(text):
        return text.replace("hunter2", "[secret]")

    shown = results(task("a", S.FAILED, "", "hunter2 is wrong", (0.0, 1.0), "hunter2\n"), notes=("hunter2",))
    assert "hunter2" not in tasks_html(shown, mask=mask) + tasks_text(shown, mask=mask)


def test_every_state_has_a_mark_and_letters_that_can_be_read():
    for state in S:
        assert MARKS[state]
        for ground in (palette.BACKGROUND, tasks_svg._GROUNDS.get(state, "#ffffff")):
            assert palette.contrast(palette.rgb_of(colour_of(state)), palette.rgb_of(ground)) >= palette.AA, (
                state,
                ground,
            )


def test_the_critical_path_is_the_longest_chain_by_time():
    assert critical_path(PIPELINE) == ["fetch", "build", "test"]
    assert critical_path([task("a", S.UP_TO_DATE), task("b", S.BLOCKED, "a")]) == []
    # What did not run costs nothing, and is not on it.
    assert critical_path([task("a", S.UP_TO_DATE), task("b", needs="a", span=(0.0, 1.0))]) == ["b"]


@pytest.mark.parametrize(("end", "ticks"), [(10.0, 6), (0.05, 6), (1.0, 6), (86400.0, 5), (3.3e-5, 4), (7.0, 4)])
def test_the_axis_has_some_round_numbers(end, ticks):
    made = tasks_svg._ticks(end)
    assert len(made) == ticks
    assert made[0] == 0
    assert made[-1] <= end * 1.001
