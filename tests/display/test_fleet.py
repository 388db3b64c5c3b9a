"""A fleet on the page and in a terminal: what is sent while it runs, and the record that it leaves; without a browser."""

from __future__ import annotations

import json
import time
from array import array
from dataclasses import replace
from types import SimpleNamespace

import pytest
from display.runs import make_result

from xec_magic.command import Target
from xec_magic.display import fleetlive, fleetview
from xec_magic.display.fleetlines import FleetLines
from xec_magic.display.fleetrender import fleet_html, fleet_text, folded
from xec_magic.display.fleetuse import FleetUse
from xec_magic.display.fleetview import FleetView
from xec_magic.display.mode import Mode
from xec_magic.display.table import render_results_html
from xec_magic.events import Cause, Mark, Sample
from xec_magic.output import OutputLog
from xec_magic.results import Results
from xec_magic.timeline import Timeline

HOSTILE = b"\x1b]0;evil\x07<script>alert(1)</script>\x1b]8;;http://x\x07click\x1b]8;;\x07\x00 \x1b[2J<b>\n"


def target(name):
    return Target("ssh", name, "10.0.0.1", "", 22)


def result(name, *pieces, **options):
    return make_result(*pieces, target=target(name), script="app status", **options)


def fresh(name, why="the canary web01 failed"):
    return make_result(
        target=target(name), script="app status", code=None, cause=Cause.SPAWN, detail=f"not started: {why}"
    )


def sample(count=10):
    rows = [result(f"web{n:02}", f"app 2 on web{n:02}\nsecond\n".encode()) for n in range(1, count - 2)]
    rows.append(result(f"web{count - 2:02}", f"app 1 on web{count - 2:02}\nsecond\n".encode(), code=3))
    rows += [fresh(f"web{n:02}") for n in (count - 1, count)]
    return Results(rows)


def test_hosts_whose_results_were_kept_are_named():
    rows = [result("web01", b"x\n"), *(replace(result(f"web0{n}", b"x\n"), cached=90.0) for n in (2, 3))]
    assert fleet_text(Results(rows)).splitlines()[-1] == "[xec] web[02-03]: cached"
    assert fleet_text(Results(rows), 0.1).splitlines()[-1] == "[xec] web[02-03]: cached 1 min ago"
    assert "<div>web[02-03]: cached</div>" in fleet_html(Results(rows))


def test_what_single_targets_have_to_say_besides_their_outputs_is_told_once_for_equal_ones():
    note = "the connection is gone: what runs on {} may go on"
    rows = [
        replace(result(name, b"x\n"), notes=(note.format(name),) if name != "web03" else (), attempts=tries)
        for name, tries in (("web01", ()), ("web02", (result("web02"),) * 2), ("web03", (result("web02"),) * 2))
    ]
    rows.append(replace(result("db1", b"x\n"), notes=("not cached: s3cret is one of db1",)))
    text = fleet_text(Results(rows), mask=lambda words: words.replace("s3cret", "***"))
    said = [
        "[xec] web[01-02]: the connection is gone: what runs on {host} may go on",
        "[xec] web[02-03]: attempt 3",
        "[xec] db1: not cached: *** is one of db1",
    ]
    assert text.splitlines()[-3:] == said
    page = fleet_html(Results(rows))
    assert all(f"<div>{line.removeprefix('[xec] ')}</div>" in page for line in said[:2])
    many = [replace(result(f"web{n}", b"x\n"), notes=(f"note {n}",)) for n in range(10)]
    assert fleet_text(Results(many)).splitlines()[-1] == "[xec] 5 more remarks: see notes of each result"


class Fleet:
    """A fleet that does what the test says."""

    title = "app status s3cret"
    script = "app status s3cret"
    waiting_for_answer = False
    watched = False

    def __init__(self, count=3):
        self.names = [f"web{n:02}" for n in range(1, count + 1)]
        self.runs = [None] * count
        self.ended = []
        self.results = {}
        self.begun_at = time.monotonic()
        self.stops = []

    def write(self, number, data, stream="stdout"):
        if self.runs[number] is None:
            self.runs[number] = SimpleNamespace(state="running", log=OutputLog())
        self.runs[number].log.append(stream, data)

    def end(self, number, **options):
        self.results[number] = result(self.names[number], **options)
        self.ended.append(number)

    def result_of(self, number):
        return self.results[number]

    def request_stop(self, now=False):
        self.stops.append(now)


def timeline(*cores, started_at=100.0):
    made = Timeline(started_at)
    for at, value in enumerate(cores, 1):
        made.add(Sample("r", started_at + at, value, 1000))
    return made


@pytest.fixture
def shown(monkeypatch):
    outputs = []

    class Display:
        def update(self, bundle, raw):
            outputs.append(bundle)

    def display(bundle, raw, display_id=None):
        outputs.append(bundle)
        return Display()

    monkeypatch.setattr(fleetview, "display", display)
    return outputs


@pytest.fixture
def sent(monkeypatch):
    messages = []
    monkeypatch.setattr(fleetlive.FleetWidget, "send", lambda _self, content, buffers=None: messages.append(content))
    return messages


def mask(text):
    return text.replace("s3cret", "***")


# -- the record ------------------------------------------------------------------------------------------


def test_the_record_has_groups_their_difference_and_who_failed_or_never_began():
    assert fleet_text(sample()).splitlines() == [
        "[xec] web[01-07] (7): ok",
        "app 2 on {host}",
        "second",
        "[xec] web08: exit code 3",
        "--- 7 × ok",
        "+++ web08",
        "@@ -1,2 +1,2 @@",
        "-app 2 on {host}",
        "+app 1 on {host}",
        " second",
        "[xec] {host} stands for each host's own name",
        "[xec] 10 targets: 7 ok, 1 failed, 2 not started",
        "[xec] failed: web08",
        "[xec] not started: web[09-10] (the canary web01 failed)",
    ]
    assert fleet_text(Results([result("web01", b"a\n")])).splitlines() == [
        "[xec] web01: ok",
        "a",
        "[xec] all 1 target ok",
    ]


def test_a_name_stands_as_it_is_where_it_is_the_only_one():
    lines = fleet_text(Results([result("web01", b"app 3 on web01: broken\n", code=3), fresh("web02")])).splitlines()
    assert lines[:3] == [
        "[xec] web01: exit code 3",
        "app 3 on web01: broken",
        "[xec] 2 targets: 0 ok, 1 failed, 1 not started",
    ]
    two = Results([result("web01", b"4\nsame\n"), result("web02", b"5\nsame\n")])
    assert fleet_text(two).splitlines()[4:6] == ["--- web01", "+++ web02"]
    assert "{host}" not in fleet_text(two) + fleet_html(two)
    assert fleet_html(sample()).count("{host} stands for each host&#x27;s own name") == 1


def test_those_that_failed_are_not_said_to_be_ok():
    failed = sample().failed
    assert fleet_text(failed).splitlines()[-2:] == ["[xec] 1 target: 0 ok, 1 failed", "[xec] failed: web08"]
    assert "<b style='color:#b3261e'>1 target: 0 ok, 1 failed</b>" in fleet_html(failed)
    assert "<b style='color:#b3261e'>1 of 1 failed</b>" in render_results_html(failed)


def test_an_output_that_has_nothing_in_common_with_the_largest_groups_is_shown_as_it_is():
    usual = [result(f"web{n:02}", b"".join(b"step %d\n" % k for k in range(20))) for n in range(1, 4)]
    text = fleet_text(Results([*usual, result("web04", b"waiting for a lock\n", code=1)])).splitlines()
    assert text[text.index("[xec] web04: exit code 1") :] == [
        "[xec] web04: exit code 1",
        "waiting for a lock",
        "[xec] 4 targets: 3 ok, 1 failed",
        "[xec] failed: web04",
    ]
    text = fleet_text(Results([*usual, result("web04", b"step 0\nwaiting for a lock\n", code=1)])).splitlines()
    assert "-step 1" in text


def test_nothing_volatile_is_in_a_static_record():
    assert fleet_text(sample()) == fleet_text(sample())
    assert fleet_html(sample()) == fleet_html(sample())
    assert " ms" not in fleet_html(sample())
    assert "1.5 s" in fleet_text(sample(), 1.5)


def test_where_each_differs_there_is_a_table_instead_of_groups():
    results = Results([result(f"web{n:02}", f"{n * 7} requests\n".encode()) for n in range(1, 31)])
    text = fleet_text(results)
    assert text.splitlines()[0].split() == ["target", "state", "exit", "last", "line"]
    assert "web30   ok     0     210 requests" in text
    assert "<details open>" in fleet_html(results)


def test_of_many_groups_the_rest_is_named():
    rows = [result(f"web{n:03}", b"same\n") for n in range(1, 101)]
    rows += [result(f"db{n}", f"other {n}\n".encode()) for n in range(20)]
    assert "[xec] 13 more groups: db[7-19]" in fleet_text(Results(rows))
    assert "13 more groups" in fleet_html(Results(rows))


def test_output_is_data_in_the_record():
    rows = [result("web01", HOSTILE), result("web02", HOSTILE, code=1), result("web03", b"x\n" * 5000)]
    markup = fleet_html(Results(rows), title="<i>echo</i>")
    for bad in ("<script", "<i>", "\x1b", "\x00", "http://x", "evil", "<b>\n"):
        assert bad not in markup, bad
    assert "&lt;script&gt;alert(1)" in markup
    text = fleet_text(Results(rows))
    assert "\x1b" not in text
    assert "\x00" not in text
    assert len(text) < 10_000
    assert "more lines" in text


def test_secrets_are_masked_in_the_record():
    rows = Results([result("web01", b"x\n"), fresh("web02", "s3cret is wrong")])
    assert "s3cret" not in fleet_text(rows, mask=mask) + fleet_html(rows, mask=mask, title="s3cret")


def test_the_record_of_hundreds_stays_small_and_names_the_bad_ones():
    rows = [result(f"web{n:03}", b"x" * 60 + b"\n" + b"line\n" * 50) for n in range(1, 501)]
    rows[6] = result("web007", b"bad\n", code=1)
    bundle = {"text/plain": fleet_text(Results(rows), 1.0), "text/html": fleet_html(Results(rows), 1.0)}
    assert len(json.dumps(bundle)) < 60_000
    assert "web[001-006,008-500] (499): ok" in bundle["text/plain"]
    assert "failed: web007" in bundle["text/html"]


def test_a_long_list_of_targets_is_cut():
    names = [f"host-{chr(97 + n % 26)}{n}x" for n in range(200)]
    assert len(folded(names)) <= 160
    assert folded(names).endswith(", …")


# -- in a terminal ------------------------------------------------------------------------------------------


def test_a_terminal_gets_whole_lines_with_names_then_the_summary(capsys):
    fleet = Fleet(2)
    view = FleetView(fleet, Mode.TEXT, mask=mask, show=True)
    fleet.write(0, b"one\npart")
    view.pump()
    assert capsys.readouterr().out == "$ app status ***\n[web01] one\n"
    fleet.write(0, b"ial s3cret")
    fleet.write(1, HOSTILE, "stderr")
    fleet.end(0)
    fleet.end(1, code=3)
    view.pump()
    out = capsys.readouterr().out
    assert "[web01] partial ***\n" in out
    assert "[web02] <script>" in out
    assert "[web02] [xec] exit code 3\n" in out
    assert "\x1b]" not in out
    assert "\x1b[2J" not in out
    view.close(Results([fleet.results[0], fleet.results[1]]))
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "[xec] failed: web02"
    assert said[-2].startswith("[xec] 2 targets: 1 ok, 1 failed, ")


def test_quiet_and_static_say_nothing_while_it_runs(shown, capsys):
    fleet = Fleet(1)
    fleet.write(0, b"x\n")
    quiet = FleetView(fleet, Mode.WIDGET, mask=mask, quiet=True)
    quiet.pump()
    quiet.close(Results([result("web01", b"x\n")]))
    static = FleetView(fleet, Mode.STATIC, mask=mask)
    static.pump()
    assert shown == []
    static.close(Results([result("web01", b"x\n")]))
    assert shown[0]["text/plain"] == "[xec] web01: ok\nx\n[xec] all 1 target ok"
    assert capsys.readouterr().out == ""


# -- lines -----------------------------------------------------------------------------------------------------


def test_lines_come_once_whole_and_characters_are_not_cut():
    fleet, lines = Fleet(2), FleetLines()
    fleet.write(0, "aé\nb".encode()[:2])
    assert lines.take(fleet.runs, set()) == []
    fleet.write(0, "aé\nb".encode()[2:])
    fleet.write(1, b"err", "stderr")
    assert [tuple(line) for line in lines.take(fleet.runs, {1})] == [(0, "stdout", "aé"), (1, "stderr", "err")]
    assert [tuple(line) for line in lines.take(fleet.runs, {0, 1})] == [(0, "stdout", "b")]
    assert lines.take(fleet.runs, {0, 1}) == []


def test_a_target_that_floods_does_not_hide_the_others_and_a_retry_begins_anew():
    fleet, lines = Fleet(2), FleetLines()
    fleet.write(0, b"flood\n" * 100_000)
    fleet.write(1, b"quiet\n")
    taken = lines.take(fleet.runs, set())
    assert len(taken) < 12_000
    assert taken[-1].text == "quiet"
    fleet.runs[1].log = OutputLog()
    fleet.write(1, b"again\n")
    assert [line.text for line in lines.take(fleet.runs, set()) if line.number == 1] == ["again"]


# -- in a page ---------------------------------------------------------------------------------------------------


def opened(fleet, sent):
    live = fleetlive.FleetLive(fleet, FleetLines(), mask, show=True)
    sent.clear()
    return live


def test_a_page_gets_only_what_has_changed(sent):
    fleet = Fleet(3)
    live = opened(fleet, sent)
    assert live.widget.head["title"] == "app status ***"
    fleet.write(1, HOSTILE)
    live.pump()
    (message,) = sent
    assert [row[:2] for row in message["rows"]] == [(1, 1)]
    assert message["rows"][0][3].startswith("<script>alert(1)</script>click␀")
    assert [line[0] for line in message["lines"]] == [1]
    live.pump()
    assert len(sent) == 1
    fleet.end(1, code=3)
    live.pump()
    assert sent[-1]["rows"][0][:2] == (1, 3)
    assert sent[-1]["rows"][0][3].startswith("exit code 3 · <script>")


def test_messages_are_bounded_and_say_what_was_left_out(sent):
    fleet = Fleet(1)
    live = opened(fleet, sent)
    fleet.write(0, b"x" * 3000 + b"\n" + b"line\n" * 1000)
    live.pump()
    (message,) = sent
    assert len(message["lines"]) == fleetlive.LINES
    assert message["skipped"] == 1001 - fleetlive.LINES
    assert len(json.dumps(message)) < 20_000


def test_a_page_that_is_loaded_again_finds_all_in_the_snapshot(sent, monkeypatch):
    fleet = Fleet(2)
    live = opened(fleet, sent)
    fleet.write(0, b"hello\n")
    live._snapped_at = -fleetlive.SNAPSHOT_S
    live.pump()
    assert [row[1] for row in live.widget.snap["rows"]] == [1, 0]
    assert live.widget.snap["lines"] == [[0, "hello", False]]


def test_stop_asks_once_and_kills_the_second_time(sent):
    fleet = Fleet(1)
    page = opened(fleet, sent).widget
    page._on_request(page, {"op": "stop"}, [])
    assert (fleet.stops, page.heard, page.state) == ([False], 1, "stopping")
    page._on_request(page, {"op": "kill"}, [])
    assert (fleet.stops, page.heard) == ([False, True], 2)


def test_the_end_replaces_the_widget_by_a_record(shown, sent):
    fleet = Fleet(2)
    view = FleetView(fleet, Mode.WIDGET, mask=mask)
    fleet.write(0, b"x\n")
    view.pump()
    assert "application/vnd.jupyter.widget-view+json" in shown[0]
    fleet.end(0)
    results = Results([fleet.results[0], fresh("web02")])
    view.close(results)
    assert set(shown[1]) == {"text/plain", "text/html"}
    page = view._live.widget
    assert (page.state, page.end["ok"], page.end["words"]) == ("done", False, "2 targets: 1 ok, 1 not started")
    assert [row[1] for row in page.snap["rows"]] == [2, 4]


def test_a_page_says_that_the_kernel_waits_for_an_answer(sent):
    fleet = Fleet(1)
    live = opened(fleet, sent)
    fleet.waiting_for_answer = True
    live.pump()
    assert live.widget.note == "waits for your answer below"


# -- what a watched fleet uses ---------------------------------------------------------------------------


def rows_of(message):
    content, data = message
    values = array("f", data).tolist()
    found, at = {}, 0
    for host in content["hosts"]:
        count = host["bytes"] // 4
        found[host["number"]] = [values[i : i + 7] for i in range(at, at + count, 7)]
        at += count
    return found


def test_a_watched_fleets_page_gets_the_new_rows_of_each_target_in_one_message():
    runs = [
        SimpleNamespace(timeline=timeline(0.5, 1.0)),
        None,
        SimpleNamespace(timeline=timeline(2.0, started_at=103.0)),
    ]
    use = FleetUse(runs, lambda text: text.replace("s3cret", "***"))
    content, _ = first = use.take()
    assert [(host["number"], host["whole"], host["next"], host["later"]) for host in content["hosts"]] == [
        (0, True, 2, 0.0), (2, True, 1, 3.0)
    ]  # fmt: skip
    assert rows_of(first)[2][0][:3] == [1.0, 2.0, 1000.0]
    assert use.take() is None
    runs[0].timeline.add(Sample("r", 103.0, 4.0, 3000))
    runs[1] = SimpleNamespace(timeline=None)
    content, _ = more = use.take()
    assert [(host["number"], host["first"], host["next"]) for host in content["hosts"]] == [(0, 2, 3)]
    assert rows_of(more)[0] == [[3.0, 3.0, 3000.0, *[pytest.approx(float("nan"), nan_ok=True)] * 4]]
    assert {number: len(rows) for number, rows in rows_of(use.whole()).items()} == {0: 3, 2: 1}
    runs[0].timeline = timeline(7.0, started_at=110.0)  # a further attempt
    runs[0].timeline.marks.append(Mark("r", 110.5, "step s3cret"))
    (host,) = use.take()[0]["hosts"]
    assert host["marks"] == [(0.5, "step ***")]
    runs[0].timeline.marks.append(Mark("r", 111.5, "step 2"))
    assert use.take()[0]["hosts"][0]["marks"] == [(0.5, "step ***"), (1.5, "step 2")]
    assert (host["whole"], host["next"], host["later"]) == (True, 1, 10.0)


def test_the_chart_of_a_fleet_gets_two_messages_a_second_at_most_and_a_reloaded_page_all(shown, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(fleetlive.time, "monotonic", lambda: now[0])
    fleet = Fleet(2)
    fleet.watched = True
    fleet.write(0, b"a\n")
    fleet.runs[0].timeline = timeline(0.5)
    live = fleetlive.FleetLive(fleet, FleetLines(), str, show=False)
    sent = []
    monkeypatch.setattr(live.widget, "send", lambda content, buffers=(): sent.append((content, b"".join(buffers))))
    assert live.widget.head["chart"] is True
    for turn in range(20):
        now[0] += 0.1
        fleet.runs[0].timeline.add(Sample("r", 102.0 + turn, 1.0 + turn, 1000))
        live.pump()
    charts = [message for message in sent if message[0]["t"] == "uses"]
    assert 2 <= len(charts) <= 4
    assert all(len(data) < 3000 for _, data in charts)
    sent.clear()
    live.widget._on_request(None, {"op": "uses"}, [])
    assert len(rows_of(sent[0])[0]) > 15


def test_a_fleet_that_nobody_watches_has_no_chart(shown):
    live = fleetlive.FleetLive(Fleet(2), FleetLines(), str, show=False)
    assert live.widget.head["chart"] is False
    live.widget._on_request(None, {"op": "uses"}, [])
