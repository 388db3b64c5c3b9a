"""Output as DataFrames in pieces."""

from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd
import pytest

import xec_magic as xec
from xec_magic.errors import OptionError, ParseError
from xec_magic.frames import to_frame, to_frames


def pieces(text, size=7):
    data = text.encode()
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize(
    "text",
    [
        "host,load\nweb1,0.5\nweb2,1.25\nweb3,2\n",
        "\ufeffhost\tload\r\nweb1\t1\r\n\r\nweb2\t2\r\n",
        "\n\nname;note\na;\"up; well\"\nb;\"two\nlines\"\nc;x",
        '{"a": 1, "b": "x"}\n\n{"a": 2, "b": "y"}\n{"a": 3, "b": null}\n',
    ],
)  # fmt: skip
@pytest.mark.parametrize("chunksize", [1, 2, 100])
def test_the_pieces_together_are_what_the_whole_is(text, chunksize):
    whole = to_frame(text)
    frames = list(to_frames(pieces(text), chunksize))
    assert all(len(frame) <= chunksize for frame in frames)
    together = pd.concat(frames)
    assert together.astype(str).equals(whole.astype(str)) or chunksize == 1
    assert list(together.index) == list(range(len(whole)))
    assert list(together.columns) == list(whole.columns)


def test_a_delimiter_that_cannot_be_told_is_asked_for():
    with pytest.raises(ParseError, match="can be read as CSV by comma and by semicolon"):
        next(to_frames([b"a,b;c\n1,2;3\n4,5;6\n"], 1))
    (frame,) = to_frames([b"a,b;c\n1,x;y\n4,z\n"], 9)  # only by comma have all rows as many fields
    assert list(frame.columns) == ["a", "b;c"]


def test_a_header_alone_gives_one_frame_without_rows():
    (frame,) = to_frames([b"a,b\n"], 10)
    assert (list(frame.columns), len(frame)) == (["a", "b"], 0)


@pytest.mark.parametrize(
    ("text", "words", "given"),
    [
        ("a,b\n1,2\n3\n", "line 3: 1 fields under a header of 2", 1),
        ("\na,b\n1,2\n1,2\n3,4,5\n", "line 5: 3 fields under a header of 2", 2),
        ('a,b\n1,2\n3,"open\n', "line 3: no CSV: a quote is opened and never closed", 1),
        ("a,a\n1,2\n", "two columns are called 'a'", 0),
        ("1,2\n3,4\n", "'1' is no heading", 0),
        ('{"a": 1}\n{"a": }\n', "line 2, column 7: no JSON lines", 1),
        ('{"a": 1}\n[1, 2]\n', "line 2: a list is no row", 1),
        ('{"a":\n 1}\n', "line 1, column", 0),
        ('[{"a": 1}]\n', "a JSON array is one value", 0),
        ("NAME   STATUS\nweb1   up\n", "neither CSV nor JSON lines", 0),
        ("", "the output is empty", 0),
        ("\n \n", "the output is empty", 0),
    ],
)
def test_what_does_not_parse_says_where_after_what_came_before(text, words, given):
    frames = []
    with pytest.raises(ParseError) as caught:
        for frame in to_frames(pieces(text), 1):
            frames.append(frame)  # noqa: PERF402 - it must be a loop
    assert words in str(caught.value)
    assert len(frames) == given


@pytest.mark.parametrize("chunksize", [0, -1, 2.5, "3", True])
def test_a_wrong_number_of_rows_is_refused_at_once(chunksize):
    with pytest.raises(OptionError, match="chunksize must be a whole number"):
        xec.run("echo a,b").df(chunksize=chunksize)


def test_columns_under_a_header_are_not_read_in_pieces():
    with pytest.raises(OptionError, match="leave chunksize out"):
        xec.run("df -P").df("table", chunksize=5)


def test_without_pandas_it_names_the_extra_at_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(OptionError, match=r"xec-magic\[frames\]"):
        to_frames([b"a,b\n"], 5)


def test_output_too_large_for_a_string_is_read_in_pieces_from_its_log_in_bounded_memory():
    program = f"""
import resource
import xec_magic as xec
import pandas
r = xec.run("echo n,text; seq -f '%.0f,{"x" * 700}' 1 100000")
assert r.log_path and r.log.size() > 64 * 2**20
next(xec.run("echo a,b; echo 1,2").df(chunksize=1000))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows, total = 0, 0
for frame in r.df(chunksize=1000):
    rows += len(frame); total += int(frame["n"].sum())
print(rows, total, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 48 * 1024)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert done.stdout.split() == ["100000", str(100000 * 100001 // 2), "True"], done.stdout + done.stderr


def test_json_lines_of_real_output_come_in_pieces():
    rows = [{"n": number, "name": f"host {number}"} for number in range(25)]
    r = xec.run("cat", stdin="\n".join(map(json.dumps, rows)))
    frames = list(r.df(chunksize=10))
    assert [len(frame) for frame in frames] == [10, 10, 5]
    assert pd.concat(frames).to_dict("records") == rows
