"""Several results as one value: chosen from, compared, checked; and the logs of commands that share one."""

from __future__ import annotations

import copy
import pickle

import pytest
from display.runs import make_result

from xec_magic.command import Target
from xec_magic.errors import CommandError, RunInterrupted, SomeFailed
from xec_magic.events import Cause
from xec_magic.output import OutputLog
from xec_magic.parts import PartLog
from xec_magic.results import Results, Shown


def host(name):
    return Target("fake", name)


def sample():
    return Results([
        make_result(b"a\n", script="one"),
        make_result(("stderr", b"bad\nworse\n"), code=3, script="two"),
        make_result(script="three", code=None, cause=Cause.SPAWN, detail="not started: command 2 failed"),
    ])  # fmt: skip


def fleet():
    return Results([
        make_result(f"{name} is up\n".encode(), target=host(name), script="status") for name in ("web1.example.com", "web2", "web1.example.com")
    ] + [make_result(b"web9 is down\n", code=1, target=host("web9"), script="status")])  # fmt: skip


def test_it_is_a_sequence_whose_slices_are_results():
    results = sample()
    assert len(results) == 3
    assert results[0].command == "one"
    assert results[-1].command == "three"
    assert isinstance(results[:2], Results)
    assert [result.command for result in results[1:]] == ["two", "three"]
    assert list(results) == [results[0], results[1], results[2]]
    with pytest.raises(IndexError):
        results[3]


def test_what_is_chosen_reads_as_it_is_meant_in_a_condition():
    results = sample()
    assert [len(chosen) for chosen in (results.ok, results.failed, results.not_started)] == [1, 1, 1]
    assert not results
    assert not results.ok  # not all of them are
    assert results.failed  # there are some
    assert results.not_started
    good = Results([make_result(b"a")] * 2)
    assert good
    assert good.ok
    assert not good.failed
    assert not good.not_started
    assert results[:1]
    assert not results[1:]


def test_targets_are_those_of_what_was_chosen_each_once():
    assert fleet().targets == ["web1.example.com", "web2", "web9"]
    assert fleet().failed.targets == ["web9"]


def test_equal_results_are_grouped_the_majority_first_and_their_own_names_do_not_count():
    groups = fleet().groups()
    assert [(len(group), group.output, group.targets) for group in groups] == [
        (3, "{host} is up\n", ["web1.example.com", "web2"]),
        (1, "{host} is down\n", ["web9"]),
    ]
    same_output = Results([make_result(b"a"), make_result(b"a", code=1), make_result(("stderr", b"a"))])
    assert [len(group) for group in same_output.groups()] == [1, 1, 1]


def test_what_was_not_tried_is_no_majority():
    never = [make_result(target=host(f"w{n}"), code=None, cause=Cause.SPAWN, detail="not started: x") for n in range(3)]
    groups = Results([*never, make_result(b"a", target=host("h"))]).groups()
    assert [group.targets for group in groups] == [["h"], ["w0", "w1", "w2"]]
    assert groups[1].majority == "a"


def test_an_address_is_the_own_name_too_and_huge_outputs_are_compared_byte_for_byte(monkeypatch):
    one, two = (Target("ssh", f"web{n}", f"10.0.0.{n}", "", 2200 + n) for n in (1, 2))
    dead = [
        make_result(target=target, code=None, cause=Cause.SPAWN, kind="ConnectError", detail=f"{target}: no answer from {target.host}:{target.port}")
        for target in (one, two)
    ]  # fmt: skip
    (group,) = Results(dead).groups()
    assert group.verdict == "{host}: no answer from {host}"
    assert not Results(dead).not_started
    monkeypatch.setattr("xec_magic.likeness.OWN_NAME_BYTES", 10)
    assert (
        len(
            Results([make_result(b"I am web1, here", target=one), make_result(b"I am web2, here", target=two)]).groups()
        )
        == 2
    )
    assert (
        len(Results([make_result(b"I am who I am", target=one), make_result(b"I am who I am", target=two)]).groups())
        == 1
    )


def test_a_name_inside_of_a_word_is_no_name_and_local_is_none():
    results = Results([make_result(b"web10 web1 web1-a /web1/ web1.\n", target=host("web1"))])
    assert results.groups()[0].output == "web10 {host} web1-a /{host}/ {host}.\n"
    assert Results([make_result(b"local\n")]).groups()[0].output == "local\n"


def test_the_others_are_compared_with_the_majority():
    lines = fleet().diff().splitlines()
    assert lines == [
        "--- web1.example.com, web2, web1.example.com (3 × ok)", "+++ web9 (exit code 1)", "@@ -1 +1 @@", "-{host} is up", "+{host} is down",
    ]  # fmt: skip
    assert Results([make_result(b"a")] * 3).diff() == ""
    only_codes = Results([make_result(b"up", target=host("h1")), make_result(b"up", code=1, target=host("h2"))])
    assert "the same output, but: exit code 1" in only_codes.diff()


def test_a_text_of_lines_is_shown_as_lines():
    pretty = pytest.importorskip("IPython.lib.pretty").pretty
    assert pretty(Shown("a\nb")) == "a\nb"


def test_a_frame_has_a_row_for_each_and_what_was_not_measured_is_absent():
    pd = pytest.importorskip("pandas")
    frame = sample().df()
    assert list(frame.columns) == [
        "target",
        "command",
        "outcome",
        "exit_code",
        "signal",
        "duration_s",
        "stdout",
        "stderr",
    ]
    assert list(frame["outcome"]) == ["ok", "failed", "not started"]
    assert list(frame["exit_code"].astype(object).where(frame["exit_code"].notna(), None)) == [0, 3, None]
    assert pd.isna(frame["duration_s"][2])
    assert list(frame["stdout"]) == ["a", "", ""]
    assert str(frame["exit_code"].dtype) == "Int64"


def test_check_names_in_one_line_what_failed_and_carries_all_results():
    results = sample()
    with pytest.raises(SomeFailed) as caught:
        results.check()
    first, *tail = str(caught.value).splitlines()
    assert first == "command 2 of 3: exit code 3: two; 1 not started"
    assert tail == ["bad", "worse"]
    assert caught.value.results is results
    assert caught.value.result is results[1]
    assert caught.value.exit_code == 3
    assert isinstance(caught.value, CommandError)
    assert results[:1].check()[0] is results[0]


def test_check_names_targets_where_there_are_several_and_not_more_than_three():
    bad = [make_result(code=1, target=host(f"web{number}")) for number in range(5)]
    with pytest.raises(
        SomeFailed,
        match=r"^5 of 6 failed: web0 \(exit code 1\), web1 \(exit code 1\), web2 \(exit code 1\) and 2 more$",
    ):
        Results([make_result(target=host("good")), *bad]).check()
    with pytest.raises(SomeFailed, match=r"^1,200 of 1,200 commands failed: .* and 1,197 more$"):
        Results([make_result(code=1) for _ in range(1200)]).check()
    with pytest.raises(SomeFailed, match=r"^2 of 2 commands failed: 1 \(exit code 7\), 2 \(exit code 8\)$"):
        Results([make_result(code=7), make_result(code=8)]).check()
    with pytest.raises(SomeFailed, match=r"^1 of 1 commands not started: no way$"):
        Results([make_result(code=None, cause=Cause.SPAWN, detail="not started: no way")]).check()


def test_an_interrupt_among_them_is_raised_as_one():
    results = Results([make_result(b"a"), make_result(code=None, signal=2, cause=Cause.INTERRUPT)])
    with pytest.raises(RunInterrupted) as caught:
        results.check()
    assert caught.value.results is results


def test_its_repr_tells_what_matters():
    assert repr(sample()) == "<Results 1 of 3 failed, 1 not started>"
    assert repr(sample()[:1]) == "<Results 1 ok>"


def test_results_and_their_error_travel():
    results = pickle.loads(pickle.dumps(sample()))
    assert [result.stdout for result in results] == ["a\n", "", ""]
    with pytest.raises(SomeFailed) as caught:
        results.check()
    for again in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):
        assert str(again) == str(caught.value)
        assert len(again.results) == 3


# -- the log of a part ----------------------------------------------------------------------------


def test_parts_of_a_log_read_as_logs_of_their_own():
    whole = OutputLog()
    first, second = PartLog(whole), PartLog(whole)
    mine, ours = OutputLog(), [first, second]
    for number, (stream, data) in enumerate(
        [
            ("stdout", b"a\nb"),
            ("stderr", b"err\n"),
            ("stdout", b"c\n"),
            ("stdout", b"d"),
            ("stderr", b"e\n"),
            ("stdout", b"f\ng"),
        ]
    ):
        ours[number // 2 % 2].take(stream, data)
        if number // 2 % 2 == 0:
            mine.append(stream, data)
    assert first.stream() == mine.stream()
    assert (first.stream("stdout"), first.stream("stderr")) == (mine.stream("stdout"), mine.stream("stderr"))
    assert (first.size(), first.line_count) == (mine.size(), mine.line_count)
    for start in range(mine.size() + 1):
        for end in range(start, mine.size() + 1):
            assert list(first.pieces(start, end)) == list(mine.pieces(start, end)), (start, end)
    assert first.lines(1, 2) == mine.lines(1, 2)
    assert whole.size() == first.size() + second.size()
    assert second.stream() == b"c\nd"


def test_a_part_says_so_when_the_whole_could_not_keep_it(tmp_path):
    def full():
        return open("/dev/full", "r+b", buffering=0)

    whole = OutputLog(memory_bytes=4, open_spool=full)
    part = PartLog(whole)
    assert part.take("stdout", b"abc")
    assert not part.take("stdout", b"defgh")
    assert (part.stream(), part.lost_bytes) == (b"abc", 5)
