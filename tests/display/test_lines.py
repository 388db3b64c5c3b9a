import pytest
from display.runs import make_log

from xec_magic.display.lines import Line, excerpt, looks_bad, may_look_bad, read_lines


def test_lines_know_their_stream():
    log = make_log(b"one\n", ("stderr", b"two\n"), b"thr", ("stderr", b"ee\n"), b"four")
    assert read_lines(log.pieces()) == [Line("one", False), Line("two", True), Line("three", True), Line("four", False)]


def test_a_character_may_be_cut_by_the_other_stream():
    log = make_log("é".encode()[:1], ("stderr", b"x"), "é".encode()[1:], b"\xff\n")
    assert read_lines(log.pieces()) == [Line("xé\ufffd", True)]


def test_a_small_log_is_shown_whole():
    cut = excerpt(make_log(b"".join(b"%d\n" % i for i in range(1000))))
    assert (len(cut.head), len(cut.tail), cut.gap) == (200, 800, "")


def test_head_and_tail_of_a_large_log():
    cut = excerpt(make_log(b"".join(b"%d\n" % i for i in range(100_000))))
    assert [cut.head[0].text, cut.head[-1].text] == ["0", "199"]
    assert [cut.tail[0].text, cut.tail[-1].text] == ["99200", "99999"]
    assert cut.gap == "99,000 lines not shown"


def test_long_lines_count_in_bytes():
    cut = excerpt(make_log(b"".join(b"%04d" % i + b"x" * 996 + b"\n" for i in range(500))))
    assert sum(len(line.text) for line in (*cut.head, *cut.tail)) <= 64 * 1024
    shown = len(cut.head) + len(cut.tail)
    assert cut.gap == f"{500 - shown} lines not shown"
    assert all(len(line.text) == 1000 for line in (*cut.head, *cut.tail))


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_one_huge_line_shows_its_two_ends(end):
    cut = excerpt(make_log(b"BEGIN" + b"x" * 2**20 + b"END" + end))
    assert cut.head[0].text.startswith("BEGIN")
    assert cut.tail[-1].text.endswith("END")
    assert cut.gap == "960 KiB not shown"


@pytest.mark.parametrize(
    "text", ["ERROR: disk", "Traceback (most recent call last):", "make: *** [all] Error 1", "permission denied"]
)
def test_lines_that_speak_of_errors(text):
    assert looks_bad(text)


@pytest.mark.parametrize(
    "text", ["0 errors", "no failures", "12 passed, 0 failed", "errors: 0", "mirror terror-free", ""]
)
def test_lines_that_only_seem_to(text):
    assert not looks_bad(text)


@pytest.mark.parametrize(
    "text",
    ["plain\nERROR: disk\nplain", "a\npermission Denied", "the faıled one", "an ſegmentation fault", "0 errors\nfatal"],
)
def test_lines_that_speak_of_errors_are_found_among_others(text):
    assert may_look_bad(text)
    assert any(may_look_bad(line) for line in text.split("\n"))


def test_lines_without_such_words_need_no_second_look():
    assert not may_look_bad("plain\nmirror\nterror-free\nper mission denied")
