"""Bytes that arrive in pieces, cut into lines, batches and blocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xec_magic import splitting
from xec_magic.errors import ParseError
from xec_magic.splitting import Blocks, LineBatches, Lines


def fed(cut, pieces):
    found = [item for piece in pieces for item in cut.feed(piece)]
    return found + cut.end()


def cuts(data, places):
    ends = sorted({min(place, len(data)) for place in places} | {len(data)})
    return [data[a:b] for a, b in zip([0, *ends], ends, strict=False) if a < b]


TEXTS = st.text(alphabet=st.sampled_from("ab\nö\r\u2028")).map(str.encode)


@given(TEXTS, st.lists(st.integers(0, 40)), st.integers(1, 4))
def test_any_cutting_gives_the_same_lines_batches_and_blocks(data, places, count):
    pieces = cuts(data, places)
    lines = data.decode().split("\n")
    lines = lines[:-1] if lines[-1] == "" else lines
    assert [line for batch in fed(Lines(), pieces) for line in batch] == lines
    assert fed(LineBatches(count, "f"), pieces) == [lines[at : at + count] for at in range(0, len(lines), count)]
    assert fed(Blocks(count), pieces) == [data[at : at + count] for at in range(0, len(data), count)]


@given(st.binary(max_size=40), st.lists(st.integers(0, 40)))
def test_with_surrogates_no_byte_is_lost(data, places):
    lines = [line for batch in fed(Lines("surrogateescape"), cuts(data, places)) for line in batch]
    text = "\n".join(lines).encode("utf-8", "surrogateescape")
    assert text == data or text + b"\n" == data


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_bytes_that_are_no_text_are_refused_with_the_number_of_their_line(size):
    data = b"good\nalso\n\xc3\xb6 \xff bad\n"
    with pytest.raises(ParseError, match=r"f, line 3: byte 0xff is no UTF-8; errors='replace' goes on") as caught:
        fed(LineBatches(1, "f"), [data[at : at + size] for at in range(0, len(data), size)])
    assert caught.value.line_number == 3
    assert fed(LineBatches(9, "f", "replace"), [data]) == [["good", "also", "ö \ufffd bad"]]
    with pytest.raises(ParseError, match="line 2: byte 0xc3"):
        fed(LineBatches(1, "f"), [b"cut\n\xc3"])


def test_a_line_without_end_is_refused_instead_of_held(monkeypatch):
    monkeypatch.setattr(splitting, "BATCH_BYTES", 1000)
    with pytest.raises(ParseError, match="f, line 2: longer than"):
        fed(LineBatches(5, "f"), [b"a\n", *[b"x" * 100] * 20])


def test_a_batch_of_long_lines_is_given_before_it_has_its_number(monkeypatch):
    monkeypatch.setattr(splitting, "BATCH_BYTES", 1000)
    batches = fed(LineBatches(100, "f"), [b"x" * 400 + b"\n"] * 10)
    assert sum(len(batch) for batch in batches) == 10
    assert max(len(batch) for batch in batches) <= 3
