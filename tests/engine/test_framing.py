"""Frames are taken out of streams wherever these are cut, and only those that must come now."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from xec_magic.command import Command
from xec_magic.engine.framing import Framing
from xec_magic.events import Output, PartExited, PartStarted
from xec_magic.plan import Batch, Plan
from xec_magic.redact import Redactor


def framing(count=3, redactor=None):
    made = Framing("r", Plan(Command("x"), batch=Batch(("x",) * count)), redactor or Redactor(), lambda: 1.0)
    return made, made._streams["stdout"]._prefix


def frame(prefix, number, code=0, clock=""):
    return prefix + f"{number}:{code}:{clock}\n".encode()


def fed(made, *pieces, stream="stdout"):
    found = [event for piece in pieces for event in made.feed(stream, piece)]
    return [*found, *made.flush(stream)]


def parts(events):
    """What each command printed."""
    found = {}
    for event in events:
        if isinstance(event, Output):
            found[event.part] = found.get(event.part, b"") + event.data
    return found


def told(events):
    return [
        (event.part, event.exit_code) if isinstance(event, PartExited) else event.part
        for event in events if not isinstance(event, Output)
    ]  # fmt: skip


def test_frames_tell_begins_and_ends_and_which_bytes_are_whose():
    made, p = framing()
    events = fed(made, frame(p, 1) + b"a\n" + frame(p, 2, 0) + b"b" + frame(p, 3, 7) + frame(p, 4, 1) + b"late")
    assert told(events) == [1, (1, 0), 2, (2, 7), 3, (3, 1)]
    assert parts(events) == {1: b"a\n", 2: b"b", 3: b"late"}


def test_both_streams_bring_each_frame_and_it_is_told_once():
    made, p = framing()
    first = fed(made, frame(p, 1) + frame(p, 2, 5))
    second = fed(made, frame(p, 1) + b"err" + frame(p, 2, 5) + frame(p, 3, 6), stream="stderr")
    assert told(first) == [1, (1, 5), 2]
    assert told(second) == [(2, 6), 3]
    assert parts(second) == {1: b"err"}


def test_behind_the_frame_that_stops_nothing_begins():
    made, p = framing()
    events = fed(made, frame(p, 1) + frame(p, 0, 3) + frame(p, 2, 0))
    assert told(events) == [1, (1, 3)]
    assert parts(events) == {1: frame(p, 2, 0)}


def test_a_frame_that_must_not_come_now_is_output():
    for number in (0, 2, 3):
        made, p = framing()
        events = fed(made, frame(p, number) + frame(p, 1))
        assert told(events) == [1]
        assert parts(events) == {None: frame(p, number)}
    made, p = framing()
    events = fed(made, frame(p, 1) + frame(p, 1) + frame(p, 3) + p + b"\n" + frame(p, 2))
    assert told(events) == [1, (1, 0), 2]
    assert parts(events) == {1: frame(p, 1) + frame(p, 3) + p + b"\n"}


def test_the_shells_clock_tells_the_time_and_else_the_arrival_does():
    made, p = framing()
    events = fed(made, frame(p, 1, 0, "10.25") + frame(p, 2, 0, "10,75") + frame(p, 3) + frame(p, 4, 0, "1.0"))
    assert [event.duration_s for event in events if isinstance(event, PartExited)] == [0.5, 0.0, 0.0]
    assert [event.at for event in events if isinstance(event, PartStarted)] == [1.0] * 3


OUTPUT = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(
        [
            b"\x1e",
            b"\x1e\x1e",
            b"\n",
            b"sec",
            b"secret",
            b"ret",
            b"PREFIX",
            b"PREFIX2:",
            b"PREFIX9:0:\n",
            b"PREFIX1:0:\n",
        ]
    ),
)


@given(
    st.lists(st.lists(OUTPUT, max_size=3), min_size=3, max_size=3),
    st.lists(st.integers(0, 400), max_size=12),
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_any_cutting_gives_the_same_and_loses_nothing(printed, cuts, masking):
    redactor = Redactor()
    if masking:
        redactor.register("S", "secret")
    made, p = framing(3, redactor)
    texts = [b"".join(pieces).replace(b"PREFIX", p) for pieces in printed]
    stream = b"".join(frame(p, number) + text for number, text in enumerate(texts, 1)) + frame(p, 4)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    events = fed(made, *(stream[a:b] for a, b in pairwise(places)))
    assert told(events) == [1, (1, 0), 2, (2, 0), 3, (3, 0)]
    whole = b"".join(event.data for event in events if isinstance(event, Output) and event.part)
    expected = b"".join(texts)
    assert whole == (expected.replace(b"secret", b"[secret S]") if masking else expected)
    if not masking:
        assert [parts(events).get(number, b"") for number in (1, 2, 3)] == texts
