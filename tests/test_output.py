from __future__ import annotations

import errno
import pickle
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xec_magic.errors import OutputTooLarge
from xec_magic.output import OutputLog, Piece


def spooled(tmp_path, memory_bytes=10):
    return OutputLog(memory_bytes, lambda: open(tmp_path / "log", "w+b", buffering=0))


def test_pieces_come_back_in_arrival_order_with_their_stream():
    log = OutputLog()
    for stream, data in (("stdout", b"a"), ("stdout", b"b\n"), ("stderr", b"oops\n"), ("stdout", b"c\n")):
        log.append(stream, data)
    assert list(log.pieces()) == [Piece("stdout", b"ab\n"), Piece("stderr", b"oops\n"), Piece("stdout", b"c\n")]
    assert log.stream("stdout") == b"ab\nc\n"
    assert log.stream("stderr") == b"oops\n"
    assert log.stream() == b"ab\noops\nc\n"
    assert (log.size(), log.size("stdout"), log.size("stderr"), log.line_count) == (10, 5, 5, 3)


def test_beyond_its_memory_it_goes_on_in_the_file(tmp_path):
    log = spooled(tmp_path)
    log.append("stdout", b"0123456789")
    assert log.path is None
    log.append("stderr", b"x")
    assert log.path == str(tmp_path / "log")
    assert (tmp_path / "log").read_bytes() == b"0123456789x"
    assert log.stream("stderr") == b"x"


def test_a_disk_that_refuses_keeps_what_was_there_and_says_so(tmp_path):
    def refuse():
        raise OSError(errno.ENOSPC, "No space left on device")

    log = OutputLog(4, refuse)
    assert log.append("stdout", b"abcd")
    assert not log.append("stdout", b"e")
    assert not log.append("stdout", b"f")
    assert log.stream() == b"abcd"
    assert log.lost_bytes == 2
    assert log.failure.errno == errno.ENOSPC
    assert log.path is None


def test_a_really_full_disk_keeps_what_fitted(tmp_path):
    # /dev/full accepts no byte, as a full disk does.
    log = OutputLog(4, lambda: open("/dev/full", "r+b", buffering=0))
    log.append("stdout", b"abcd")
    assert not log.append("stdout", b"efgh")
    assert log.stream() == b"abcd"


@settings(max_examples=60, deadline=None)
@given(
    pieces=st.lists(
        st.tuples(
            st.sampled_from(["stdout", "stderr"]),
            st.binary(min_size=1, max_size=30).map(lambda b: b.replace(b"x", b"\n")),
        )
    ),
    first=st.integers(0, 40),
    count=st.integers(0, 40),
)
def test_any_range_of_lines_is_found(tmp_path_factory, pieces, first, count):
    log = OutputLog(20, lambda: open(tmp_path_factory.mktemp("spool") / "log", "w+b", buffering=0))
    for stream, data in pieces:
        log.append(stream, data)
    whole = b"".join(data for _, data in pieces)
    lines = whole.split(b"\n")
    lines = [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    assert log.line_count == len(lines)
    assert b"".join(piece.data for piece in log.lines(first, count)) == b"".join(lines[first : first + count])


def test_lines_are_found_far_into_a_large_log(tmp_path):
    log = spooled(tmp_path, 1000)
    for number in range(200_000):
        log.append("stderr" if number % 7 == 0 else "stdout", b"line %d\n" % number)
    for number in (0, 1, 777, 65_536, 199_999):
        assert b"".join(piece.data for piece in log.lines(number, 1)) == b"line %d\n" % number
    assert log.lines(200_000, 5) == []
    assert log.offset_of_line(10**9) == log.size()


@pytest.mark.parametrize("every", [3, 80, 9_000, 70_000, 10**9])
def test_lines_of_large_pieces_are_counted_whether_newlines_are_rare_or_not(every):
    piece = bytes(10 if at % every == 0 else 120 for at in range(1, 300_001))
    log = OutputLog()
    for _ in range(2):
        log.append("stdout", piece)
    lines = (piece * 2).split(b"\n")
    lines = [line + b"\n" for line in lines[:-1]] + [line for line in lines[-1:] if line]
    assert log.line_count == len(lines)
    assert b"".join(found.data for found in log.lines(2, 1)) == b"".join(lines[2:3])


def test_search_counts_all_and_returns_the_first(tmp_path):
    log = spooled(tmp_path, 1000)
    for number in range(100_000):
        log.append("stdout", b"line %d\n" % number)
    found, total = log.search(re.compile(rb"^line 777\d\d$"), limit=3)
    assert total == 100
    assert [(match.line, match.text) for match in found] == [
        (77700, "line 77700"),
        (77701, "line 77701"),
        (77702, "line 77702"),
    ]
    assert log.search(re.compile(rb"99999"), limit=3)[0][0].line == 99_999
    assert log.search(re.compile(rb"nothing like it"), limit=3) == ([], 0)


def test_search_sees_a_last_line_without_newline_and_a_line_of_megabytes():
    log = OutputLog()
    log.append("stdout", b"x" * 3_000_000 + b"needle\nlast needle")
    assert log.search(re.compile(rb"needle"), limit=10)[1] >= 2


def test_a_removed_log_says_so_instead_of_looking_empty(tmp_path):
    log = spooled(tmp_path)
    log.append("stdout", b"0123456789abc")
    log.close()
    with pytest.raises(OutputTooLarge, match="removed to make room"):
        log.stream()


def test_it_pickles_with_its_content(tmp_path):
    log = spooled(tmp_path)
    log.append("stdout", b"0123456789abc")
    log.append("stderr", b"d")
    assert list(pickle.loads(pickle.dumps(log)).pieces()) == list(log.pieces())


def test_a_restored_log_tells_streams_and_lines_whoever_asks_first():
    log = OutputLog()
    for number in range(3000):
        log.append("stdout", b"%d out %s\n" % (number, b"x" * 60))
        log.append("stderr", b"%d err\n" % number)
    index, content = log.index(), log.read(0, log.size())
    asks = [
        lambda one: list(one.pieces()),
        lambda one: one.lines(4001, 5),
        lambda one: one.stream("stderr"),
        lambda one: one.offset_of_line(5999),
        lambda one: one.search(re.compile(rb"^299\d err$"), 3, 5000),
        lambda one: (one.line_count, one.size("stdout"), one.size("stderr"), one.path, one.lost_bytes),
        lambda one: one.index(),
    ]
    for ask in asks:
        assert ask(OutputLog.restore(index, content)) == ask(log)
    together = OutputLog.restore(index, content)
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda ask: ask(together), asks)) == [ask(log) for ask in asks]


def test_an_index_that_does_not_belong_to_its_output_is_refused_before_anybody_reads():
    log = OutputLog()
    log.append("stdout", b"two\nlines\n")
    index, content = log.index(), log.read(0, log.size())
    for wrong, bytes_ in ((index[:-1], content), (index[:20], content), (b"", content), (index, content[:-1])):
        with pytest.raises(ValueError, match="cut off|of output where"):
            OutputLog.restore(wrong, bytes_)
