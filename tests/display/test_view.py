import gc
import os
import subprocess
import sys
import threading
import weakref
from dataclasses import replace
from types import SimpleNamespace

import pytest
from display.runs import make_result, note

from xec_magic.command import Command
from xec_magic.display import cellvalue, live, view, widget
from xec_magic.display.cellvalue import display_result, mark_shown
from xec_magic.display.mime import WIDGET_MIME
from xec_magic.display.mode import Mode, choose_mode, request_allows_stdin
from xec_magic.display.view import View
from xec_magic.errors import OptionError, XecError
from xec_magic.events import (
    Cause,
    LeftBehind,
    Note,
    Output,
    PartStarted,
    ProcessInfo,
    Queued,
    Retrying,
    Sample,
    Started,
    Stopping,
)
from xec_magic.output import OutputLog
from xec_magic.plan import Batch, MonitorPolicy, Plan
from xec_magic.timeline import Timeline


class Handle:
    """A run whose loop is the test: timers fire when told."""

    def __init__(self, background=False, label=""):
        self.run_id = "r1"
        self.plan = Plan(Command("make s3cret"), label=label)
        self.background = background
        self.state = "running"
        self.log = OutputLog()
        self.stops = []
        self.listeners = []
        self.timers = []
        self.timeline = None

    def request_stop(self, now=False):
        self.stops.append(now)

    def call_later(self, delay_s, callback):
        self.timers.append((delay_s, callback))
        return SimpleNamespace(cancel=lambda: None)

    def subscribe(self, listener):
        self.listeners.append(listener)

    def emit(self, event):
        for listener in self.listeners:
            listener(event)

    def write(self, data, stream="stdout"):
        self.log.append(stream, data)
        self.emit(Output("r1", 0.0, stream, data))

    def fire(self):
        timers, self.timers = self.timers, []
        for _, callback in timers:
            callback()
        return len(timers)


@pytest.fixture
def shown(monkeypatch):
    """What was displayed and updated: (mime types, bundle, kind)."""
    outputs = []

    class Display:
        def __init__(self):
            self.display_id = str(len(outputs))

        def update(self, bundle, raw):
            outputs.append(("update", bundle))

    def display(bundle, raw, display_id=None):
        outputs.append(("display", bundle))
        return Display() if display_id else None

    monkeypatch.setattr(view, "display", display)
    monkeypatch.setattr(cellvalue, "display", display)
    return outputs


@pytest.fixture
def sent(monkeypatch):
    """Messages that widgets sent: content and buffers."""
    messages = []
    monkeypatch.setattr(
        widget.RunWidget, "send", lambda self, content, buffers=None: messages.append((content, buffers or []))
    )
    return messages


def make_view(handle, mode, **options):
    return View(handle, mode, mask=lambda text: text.replace("s3cret", "***"), **options)


# -- the form -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shell", "allow", "mode"),
    [
        (None, None, Mode.TEXT),
        (SimpleNamespace(), True, Mode.TEXT),
        (SimpleNamespace(kernel=object()), False, Mode.STATIC),
        (SimpleNamespace(kernel=object()), True, Mode.WIDGET),
        (SimpleNamespace(kernel=object()), None, Mode.WIDGET),
    ],
)
def test_auto_looks_at_who_asks(monkeypatch, shell, allow, mode):
    monkeypatch.delenv("XEC_UI", raising=False)
    assert choose_mode(shell, allow) is mode
    monkeypatch.setenv("XEC_UI", "auto")
    assert choose_mode(shell, allow) is mode


def test_the_variable_decides(monkeypatch):
    for mode in Mode:
        monkeypatch.setenv("XEC_UI", mode.value.upper())
        assert choose_mode(None, None) is mode
    monkeypatch.setenv("XEC_UI", "html")
    with pytest.raises(OptionError, match="XEC_UI is 'html'; it must be auto, widget, static or text"):
        choose_mode(None, None)


def test_a_shell_without_kernel_knows_no_stdin():
    assert request_allows_stdin(None) is None
    assert request_allows_stdin(SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=False))) is False


def test_loading_the_view_imports_no_widgets():
    code = "import sys, xec_magic.display.view; print([m for m in ('anywidget', 'ipywidgets') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    assert done.stdout.strip() == "[]"


# -- short and static -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [Mode.STATIC, Mode.WIDGET])
def test_a_run_that_ends_before_it_is_opened_shows_one_display(shown, mode):
    make_view(Handle(), mode).close(make_result(b"hi\n"))
    assert [kind for kind, _ in shown] == ["display"]
    assert set(shown[0][1]) == {"text/plain", "text/html"}


def test_static_is_deterministic_and_widget_mode_is_not(shown):
    make_view(Handle(), Mode.STATIC).close(make_result(b"hi\n"))
    make_view(Handle(), Mode.WIDGET).close(make_result(b"hi\n"))
    assert shown[0][1]["text/plain"] == "hi"
    assert shown[1][1]["text/plain"] == "hi\n[xec] ok, 500 ms"


def test_static_in_the_foreground_shows_nothing_before_the_end(shown):
    one = make_view(Handle(), Mode.STATIC)
    one.open()
    one.pump()
    assert shown == []


def test_static_in_the_background_says_that_it_runs_and_is_replaced(shown):
    one = make_view(Handle(background=True), Mode.STATIC)
    one.open()
    assert shown[0][1]["text/plain"] == "[xec] started, run r1: make ***"
    one.close(make_result(b"hi\n"))
    assert [kind for kind, _ in shown] == ["display", "update"]
    assert shown[1][1]["text/plain"] == "hi"


def test_a_background_run_that_ends_before_its_view_opens_is_shown_once(shown):
    one = make_view(Handle(background=True), Mode.WIDGET)
    one.close(make_result(b"hi\n"))
    assert shown == []  # the loop thread has no cell to show it in
    one.open()
    assert [kind for kind, _ in shown] == ["display"]


def test_quiet_shows_nothing(shown, capsys):
    for mode in Mode:
        one = make_view(Handle(), mode, quiet=True)
        one.open()
        one.pump()
        one.close(make_result(b"x\n", code=3))
    assert shown == []
    assert capsys.readouterr() == ("", "")


def test_show_shows_the_command_masked(shown):
    make_view(Handle(), Mode.STATIC, show=True).close(make_result(b"hi\n", script="make s3cret"))
    assert shown[0][1]["text/plain"] == "$ make ***\nhi"
    assert "make ***" in shown[0][1]["text/html"]


def test_show_shows_the_command_of_a_background_run_on_a_terminal(capsys):
    make_view(Handle(background=True), Mode.TEXT, show=True).open()
    assert capsys.readouterr().out == "$ make ***\n[xec] started, run r1: make ***\n"


# -- text -------------------------------------------------------------------------------------------


def test_text_streams_both_streams(capsys):
    handle = Handle()
    one = make_view(handle, Mode.TEXT)
    handle.log.append("stdout", b"one\ntw")
    one.pump()
    assert capsys.readouterr() == ("one\ntw", "")
    handle.log.append("stdout", b"o\n")
    handle.log.append("stderr", "é".encode()[:1])
    one.pump()
    handle.log.append("stderr", "é".encode()[1:] + b"\x1b]0;ti")
    one.pump()
    handle.log.append("stderr", b"tle\x07!\n")
    one.close(make_result(b"x\n"))
    assert capsys.readouterr() == ("o\n", "é!\n")


def test_text_ends_the_line_and_says_what_matters(capsys):
    handle = Handle()
    handle.log.append("stdout", b"no newline s3cret")
    make_view(handle, Mode.TEXT).close(make_result(b"x\n", code=3))
    assert capsys.readouterr().out == "no newline ***\n[xec] exit code 3, 500 ms\n"


def test_text_says_before_an_error_what_that_does_not_tell_and_none_of_it_acts_on_a_terminal(capsys):
    one = make_view(Handle(), Mode.TEXT)
    one.error_follows = True
    left = LeftBehind("r1", 0.3, (ProcessInfo(77, "s\u202eleep"),))
    one.close(make_result(code=3, more=[left, note("full: \x1b[2J\u202edisk")]))
    assert capsys.readouterr().out == "[xec] still running: s\ufffdleep (pid 77)\n[xec] full: \ufffddisk\n"


def test_text_begins_again_with_a_further_attempt(capsys):
    handle = Handle()
    one = make_view(handle, Mode.TEXT)
    handle.log.append("stdout", b"first try, long\n")
    one.pump()
    handle.log = OutputLog()
    handle.log.append("stdout", b"second\n")
    one.pump()
    assert capsys.readouterr().out == "first try, long\nsecond\n"


# -- live -------------------------------------------------------------------------------------------


def test_the_widget_opens_with_what_is_there_and_is_replaced_at_the_end(shown, sent):
    handle = Handle()
    handle.log.append("stdout", b"early s3cret\n")
    one = make_view(handle, Mode.WIDGET)
    one.open()
    one.open()
    ((kind, bundle),) = shown
    assert kind == "display"
    assert set(bundle) == {WIDGET_MIME, "text/plain", "text/html"}
    assert bundle["text/plain"] == "[xec] started, run r1: make ***"
    assert sent[0][1][0] == b"early ***\n"
    handle.write(b"late\n")
    assert handle.fire() == 1
    assert sent[1][1][0] == b"late\n"
    assert sent[1][0]["first"] == 1
    one.close(make_result(b"early s3cret\nlate\n"))
    assert shown[1][0] == "update"
    assert set(shown[1][1]) == {"text/plain", "text/html"}
    assert one._live.widget.state == "done"
    assert one._live.widget.end["words"] == "ok"


def test_nothing_that_the_live_view_quotes_turns_the_direction_of_its_text(shown, sent):
    handle = Handle(label="evil\u202eelif\x1b[2J")
    handle.plan = replace(handle.plan, command=Command("echo \u202eolleh\necho two"))
    opened = View(handle, Mode.WIDGET, mask=str, show=True)
    opened.open()
    handle.emit(Note("r1", 0.0, "left: \u202eexe\x1b]0;x\x07"))
    page = opened._live.widget
    assert (page.head["title"], page.head["script"], page.note) == (
        "evil\ufffdelif", "echo \ufffdolleh\necho two", "left: \ufffdexe",
    )  # fmt: skip
    opened.close(make_result(more=[note("\u202eexe")]))
    assert page.end["facts"][-1] == "\ufffdexe"


def test_a_flood_of_events_makes_few_messages(shown, sent):
    handle = Handle()
    make_view(handle, Mode.WIDGET).open()
    for i in range(10_000):
        handle.write(b"%d\n" % i)
    assert len(handle.timers) == 1
    assert handle.timers[0][0] >= 0.02
    handle.fire()
    assert len(sent) == 1
    assert sent[0][0]["first"] + sent[0][0]["n"] == 10_000


def test_a_snapshot_follows_within_a_second(shown, sent):
    handle = Handle()
    one = make_view(handle, Mode.WIDGET)
    one.open()
    handle.write(b"once\n")
    handle.fire()
    assert one._live.widget.snap == {}
    assert [delay for delay, _ in handle.timers] == [live.SNAPSHOT_S]
    handle.fire()
    assert one._live.widget.snap["data"] == b"once\n"
    assert handle.timers == []  # a silent run costs nothing


def test_the_last_lines_are_there_when_it_ends(shown, sent):
    handle = Handle()
    one = make_view(handle, Mode.WIDGET)
    one.open()
    handle.write(b"last words")
    one.close(make_result(b"last words"))
    assert sent[-1][1] == [b"", b"last words"]
    assert one._live.widget.snap["partial"] == b"last words"
    handle.fire()  # a timer that was under way
    handle.write(b"afterwards\n")
    assert sent[-1][1] == [b"", b"last words"]


def test_a_further_attempt_begins_a_new_epoch(shown, sent):
    handle = Handle()
    make_view(handle, Mode.WIDGET).open()
    handle.write(b"a\n")
    handle.fire()
    handle.log = OutputLog()
    handle.emit(Retrying("r1", 1.0, 1, "exit code 75", 2.0))
    handle.write(b"b\n")
    handle.fire()
    assert [(content["epoch"], content["first"]) for content, _ in sent] == [(1, 0), (2, 0)]


@pytest.mark.parametrize(
    ("event", "state", "words"),
    [
        (Stopping("r1", 0.0, Cause.TIMEOUT, "INT"), "stopping", "timeout: sent INT"),
        (Queued("r1", 0.0), "queued", "waits for others to end"),
        (Retrying("r1", 0.0, 1, "exit code 75", 2.0), "running", "exit code 75; next attempt in 2 s"),
        (Started("r1", 0.0, 0.0, 7, attempt=2), "running", "attempt 2"),
        (Note("r1", 0.0, "s3cret disk full"), "running", "*** disk full"),
    ],
)
def test_changes_are_told(shown, sent, event, state, words):
    handle = Handle()
    one = make_view(handle, Mode.WIDGET)
    one.open()
    handle.emit(event)
    assert (one._live.widget.state, one._live.widget.note) == (state, words)


def test_the_command_of_a_batch_that_runs_is_told_not_more_often_than_lines_are_sent(shown, sent):
    handle = Handle()
    handle.plan = Plan(Command("a\nb"), batch=Batch(("a",) * 5000))
    one = make_view(handle, Mode.WIDGET)
    one.open()
    notes = []
    one._live.widget.observe(lambda change: notes.append(change["new"]), "note")
    for number in range(1, 5001):
        handle.emit(PartStarted("r1", 0.0, number))
    assert notes == []
    handle.fire()
    assert notes == ["command 5000 of 5000"]
    handle.emit(Stopping("r1", 0.0, Cause.INTERRUPT, "INT"))
    handle.emit(PartStarted("r1", 0.0, 5000))
    handle.fire()
    assert notes[-1] == "interrupt: sent INT"


def test_stop_asks_once_and_kills_the_second_time(shown, sent):
    handle = Handle()
    one = make_view(handle, Mode.WIDGET)
    one.open()
    page = one._live.widget
    page._on_request(page, {"op": "stop"}, [])
    assert (handle.stops, page.heard, page.state) == ([False], 1, "stopping")
    page._on_request(page, {"op": "kill"}, [])
    assert (handle.stops, page.heard) == ([False, True], 2)


def test_old_widgets_are_closed(shown, sent):
    widget._ended.clear()
    views = []
    for _ in range(widget.OPEN_WIDGETS + 3):
        one = make_view(Handle(), Mode.WIDGET)
        one.open()
        one.close(make_result(b"x\n"))
        views.append(one)
    assert [one._live.closed for one in views] == [True] * 3 + [False] * widget.OPEN_WIDGETS


def test_an_ended_run_can_be_looked_at_again(shown, sent):
    handle = Handle()
    handle.log.append("stdout", b"hi\n")
    one = make_view(handle, Mode.WIDGET)
    one.close(make_result(b"hi\n"))
    one.reopen()
    assert WIDGET_MIME in shown[-1][1]
    assert one._live.widget.state == "done"
    assert one._live.widget.blocking is False
    assert one._live.widget.snap["data"] == b"hi\n"


def test_a_live_run_that_is_shown_twice_is_replaced_twice(shown, sent):
    handle = Handle(background=True)
    one = make_view(handle, Mode.WIDGET)
    one.open()
    one.reopen()
    one.close(make_result(b"x\n"))
    assert [kind for kind, _ in shown] == ["display", "display", "update", "update"]


# -- values of cells --------------------------------------------------------------------------------


def test_a_result_is_shown_once_a_cell(shown, monkeypatch):
    shell = SimpleNamespace(execution_count=5, kernel=SimpleNamespace(_allow_stdin=True))
    monkeypatch.setattr(cellvalue, "get_ipython", lambda: shell)
    result = make_result(b"hi\n")
    mark_shown(result)
    display_result(result)
    assert shown == []
    shell.execution_count = 6
    display_result(result)
    assert shown[0][1]["text/plain"] == "hi\n[xec] ok, 500 ms"


def test_shown_results_are_not_kept_alive():
    result = make_result(b"x\n")
    mark_shown(result)
    ref = weakref.ref(result)
    del result
    gc.collect()
    assert ref() is None


# -- charts -------------------------------------------------------------------------------------------


def monitored(background=False):
    handle = Handle(background)
    handle.plan = replace(handle.plan, monitor=MonitorPolicy())
    handle.timeline = Timeline(0.0)
    return handle


def use(handle, at):
    event = Sample("r1", at, at / 2, 100)
    handle.timeline.add(event)
    handle.emit(event)


def test_a_chart_gets_two_messages_a_second_at_most_and_the_first_has_all(shown, sent):
    handle = monitored()
    handle.timeline.add(Sample("r1", 0.1, 0.0, 5))
    opened = make_view(handle, Mode.WIDGET)
    opened.open()
    for n in range(2, 12):
        use(handle, n / 10)
    assert [delay for delay, _ in handle.timers] == [live.CHART_S]
    handle.fire()
    content = [message for message, _ in sent if message["t"] == "use"]
    assert [message.get("whole", False) for message in content] == [True, False]
    assert (content[1]["first"], content[1]["next"]) == (1, 11)
    use(handle, 1.3)
    assert len(handle.timers) == 1


def test_a_page_that_is_loaded_again_asks_for_the_whole_chart(shown, sent):
    handle = monitored()
    opened = make_view(handle, Mode.WIDGET)
    opened.open()
    use(handle, 0.5)
    handle.fire()
    sent.clear()
    opened._live.widget._answer({"op": "use", "id": 3})
    (message, buffers), *_ = sent
    assert (message["id"], message["next"], message["problem"]) == (3, 1, "")
    assert len(buffers[0]) == 28


def test_a_run_that_nobody_watches_has_no_chart(shown, sent):
    opened = make_view(Handle(), Mode.WIDGET)
    opened.open()
    assert opened._live.widget.head["chart"] is False
    assert not [message for message, _ in sent if message["t"] == "use"]


def test_the_chart_of_a_background_run_is_drawn_beside_the_loop(shown, sent, monkeypatch):
    threads = []
    real = view.render.render_html
    monkeypatch.setattr(
        view.render, "render_html", lambda *a, **k: threads.append(threading.current_thread().name) or real(*a, **k)
    )
    handle = monitored(background=True)
    opened = make_view(handle, Mode.WIDGET)
    opened.open()
    use(handle, 0.5)
    result = replace(make_result(b"x"), timeline=handle.timeline)
    opened.close(result)
    opened.close(result)  # as `%xec_runs wait` does: it returns when the record is there
    assert threads == ["xec-chart"]
    assert "<img src='data:image/svg" in shown[-1][1]["text/html"]


def test_the_header_knows_what_a_command_usually_takes(shown, sent):
    opened = View(Handle(), Mode.WIDGET, mask=str, usual_s=40.0)
    opened.open()
    assert opened._live.widget.head["usual"] == 40.0


# -- a kept result ------------------------------------------------------------------------------------


def test_a_kept_result_that_is_looked_at_again_has_a_button_that_runs_it_behind_in_its_place(shown, sent):
    handle, again = Handle(), Handle()
    handle.write(b"old\n")
    handle.rerun = lambda: again
    again.add_done_callback = lambda callback: again.__dict__.update(end=callback)
    kept = make_result(b"old\n").replayed("r1", handle.plan, 200.0)
    one = make_view(handle, Mode.WIDGET)
    one.close(kept)
    one.reopen()
    page = one._live.widget
    assert (page.state, page.cached) == ("done", "cached 3 min ago")
    page._on_request(page, {"op": "refresh"}, [])
    assert (page.state, page.cached) == ("running", "")
    again.write(b"new\n")
    again.fire()
    again.end(make_result(b"new\n"))
    assert (page.state, page.cached) == ("done", "")
    assert bytes(page.snap["data"]) == b"new\n"
    page._on_request(page, {"op": "refresh"}, [])
    assert page.state == "done", "what was run is not run again by a second press"


def test_a_refresh_that_cannot_be_is_said_in_the_page(shown, sent):
    def closed():
        raise XecError("the executor is closed")

    handle = Handle()
    handle.rerun = closed
    one = make_view(handle, Mode.WIDGET)
    one.close(make_result(b"old\n").replayed("r1", handle.plan, 200.0))
    one.reopen()
    page = one._live.widget
    page._on_request(page, {"op": "refresh"}, [])
    assert (page.state, page.note) == ("done", "the executor is closed")
