import re

from display.runs import make_log

from xec_magic.display.feed import BATCH_BYTES, PAGE_BYTES, Feed, page


def feed(log):
    return Feed(log, str)


def test_lines_are_sent_once_and_numbered():
    log = make_log(b"a\nb\n")
    one = feed(log)
    assert (one.take().first, one.take()) == (0, None)
    log.append("stdout", b"c\nd")
    batch = one.take()
    assert (batch.first, batch.count, batch.data, batch.partial) == (2, 1, b"c\n", b"d")
    log.append("stdout", b"e\n")
    batch = one.take()
    assert (batch.first, batch.count, batch.data, batch.partial) == (3, 1, b"de\n", b"")


def test_a_flood_leaps_on_a_border_of_lines():
    log = make_log()
    one = feed(log)
    expected = 0
    for start in range(0, 100_000, 20_000):
        log.append("stdout", b"".join(b"%d\n" % i for i in range(start, start + 20_000)))
        batch = one.take()
        assert len(batch.data) <= BATCH_BYTES
        assert batch.first > expected
        assert batch.data.startswith(b"%d\n" % batch.first)
        assert batch.first + batch.count == start + 20_000
        expected = batch.first + batch.count


def test_each_piece_keeps_its_stream():
    log = make_log(("stderr", b"e1\n"), b"o1\no2\n", ("stderr", b"e2"))
    batch = feed(log).take()
    assert (batch.data, batch.marks) == (b"e1\no1\no2\n", [0, 3, 6])
    assert (batch.partial, batch.partial_marks) == (b"e2", [0, 2])


def test_a_huge_line_shows_its_end_and_says_what_is_missing():
    log = make_log(b"first\n", b"x" * 2**20 + b"END\n")
    one = feed(log)
    batch = one.take()
    assert (batch.first, batch.count) == (1, 1)
    assert batch.data.endswith(b"xEND\n")
    assert batch.cut + len(batch.data) == 2**20 + 4


def test_a_progress_bar_without_newline_sends_its_end():
    log = make_log(b"".join(b"\rprogress %d" % i for i in range(10_000)))
    batch = feed(log).take()
    assert batch.count == 0
    assert len(batch.partial) <= 4096
    assert batch.partial.startswith(b"\rprogress ")
    assert batch.partial.endswith(b"progress 9999")


def test_a_snapshot_repeats_the_end():
    log = make_log(b"".join(b"%d\n" % i for i in range(50_000)), b"rest")
    one = feed(log)
    one.take()
    snap = one.snapshot()
    assert snap.data.endswith(b"49999\n")
    assert snap.partial == b"rest"
    assert snap.first + snap.count == 50_000


def test_secrets_are_masked_in_whatever_leaves():
    log = make_log(b"a s3cret b\n\xff s3c", ("stderr", b"s3cret\n"))
    one = Feed(log, lambda text: text.replace("s3cret", "***"))
    batch = one.take()
    assert b"s3cret" not in batch.data + batch.partial
    assert sum(batch.marks) == len(batch.data)
    assert b"s3cret" not in page(log, 0, 10, lambda text: text.replace("s3cret", "***")).data


def test_every_line_can_be_read_by_paging():
    log = make_log(b"".join(b"%d " % i + b"x" * (i % 700) + b"\n" for i in range(5000)))
    line, seen = 0, []
    while line < log.line_count:
        batch = page(log, line, 1000, str)
        assert batch.first == line
        assert 0 < len(batch.data) <= PAGE_BYTES
        seen += [int(number) for number in re.findall(rb"^(\d+) ", batch.data, re.MULTILINE)]
        line += batch.count
    assert seen == list(range(5000))


def test_a_page_of_a_huge_line_is_cut():
    log = make_log(b"x" * 2**20 + b"\nnext\n")
    batch = page(log, 0, 10, str)
    assert (batch.count, len(batch.data)) == (1, PAGE_BYTES)
    assert batch.cut == 2**20 + 1 - PAGE_BYTES
    assert page(log, 1, 10, str).data == b"next\n"


def test_pages_beyond_the_end_are_empty():
    assert page(make_log(b"a\n"), 5, 10, str).count == 0
    assert page(make_log(), 0, 10, str).data == b""


def test_a_spooled_log_is_read_the_same(tmp_path):
    log = make_log(memory_bytes=100, open_spool=lambda: (tmp_path / "log").open("w+b", buffering=0))
    log.append("stdout", b"".join(b"%d\n" % i for i in range(30_000)))
    assert feed(log).take().data.endswith(b"29999\n")
    assert page(log, 15_000, 1, str).data == b"15000\n"
    log.close()
