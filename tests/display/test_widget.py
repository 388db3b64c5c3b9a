import time

import pytest
from display.runs import make_log

from xec_magic.display.widget import RunWidget
from xec_magic.errors import OutputTooLarge


@pytest.fixture
def page(monkeypatch):
    """A widget over a log; its replies are collected."""
    replies = []
    monkeypatch.setattr(RunWidget, "send", lambda self, content, buffers=None: replies.append((content, buffers)))
    log = make_log(b"".join(b"line %d s3cret\n" % i for i in range(20_000)))
    widget = RunWidget(lambda: log, lambda now: None, lambda text: text.replace("s3cret", "***"))
    widget.source, widget.replies = log, replies
    return widget


def ask(page, **content):
    page._on_request(page, {"id": 7, **content}, [])
    deadline = time.monotonic() + 10
    while not page.replies and time.monotonic() < deadline:
        time.sleep(0.005)
    return page.replies.pop()


def test_a_page_of_lines(page):
    content, buffers = ask(page, op="page", first=12_345, count=2)
    assert (content["t"], content["id"], content["first"], content["n"], content["total"]) == (
        "reply",
        7,
        12_345,
        2,
        20_000,
    )
    assert buffers[0] == b"line 12345 ***\nline 12346 ***\n"


def test_a_search(page):
    content, _ = ask(page, op="find", text="line 1999", regex=False)
    assert content["total"] == 11
    assert content["lines"] == [1999, *range(19_990, 20_000)]


def test_copying_everything(page):
    content, buffers = ask(page, op="copy")
    assert content["problem"] == ""
    assert buffers[0].startswith(b"line 0 ***\n")
    assert b"s3cret" not in buffers[0]


@pytest.mark.parametrize("request_", [{"op": "page", "first": "0; rm", "count": None}, {"op": "find"}, {"op": "page"}])
def test_nonsense_is_answered(page, request_):
    content, _ = ask(page, **request_)
    assert content["problem"] == "not understood"


@pytest.mark.parametrize("content", [{}, {"op": "eval"}, "stop", None, ["stop"]])
def test_what_is_no_request_does_nothing(page, content):
    page._on_request(page, content, [])
    assert page.replies == []


def test_a_log_that_was_removed_is_said(page, monkeypatch):
    def gone(*_):
        raise ValueError("I/O operation on closed file")

    monkeypatch.setattr(page.source, "read", gone)
    content, _ = ask(page, op="copy")
    assert content["problem"] == "the log of this run is gone"


@pytest.mark.parametrize("request_", [{"op": "copy"}, {"op": "find", "text": "x", "regex": False}])
def test_a_log_that_made_room_is_answered_with_the_reason(page, monkeypatch, request_):
    def removed(*_):
        raise OutputTooLarge("the log f has been removed to make room for newer ones")

    for name in ("read", "pieces"):
        monkeypatch.setattr(page.source, name, removed)
    content, _ = ask(page, **request_)
    assert "removed to make room" in content["problem"]
