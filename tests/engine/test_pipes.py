"""Runs joined by pipes."""

import pytest

import xec_magic as xec


@pytest.mark.parametrize("last", ["head -n 1", "head -n 1 | cat"])
def test_a_reader_that_has_enough_is_no_failure_of_any_member_before_it(last):
    chain = xec.start("yes") | "cat" | "cat" | last
    assert str(chain.result()) == "y"


def test_a_failure_in_the_middle_is_a_failure_of_the_chain():
    chain = xec.start("seq 3") | "cat; exit 4" | "cat"
    with pytest.raises(xec.NonZeroExit) as caught:
        chain.result()
    assert caught.value.exit_code == 4


def test_cancelling_the_last_member_cancels_those_before_it():
    chain = xec.start("sleep 60") | "cat" | "cat"
    chain.cancel()
    with pytest.raises(xec.Cancelled):
        chain.result(10)
    assert chain.upstream.wait(10).outcome is xec.Outcome.CANCELLED


def test_output_of_a_short_command_ends_with_its_standard_error():
    for _ in range(20):
        assert xec.run("echo out; echo err >&2").output == "out\nerr\n"


def test_no_member_of_a_chain_passes_its_output_through_this_process():
    first, second, third = xec.start("seq 5"), xec.start("cat"), xec.start("tail -n 1")
    assert str((first | second | third).result()) == "5"
    assert (first.log.size(), second.log.size()) == (0, 0)


def test_a_member_finds_its_marks_in_what_it_gives_to_the_next(tmp_path):
    with xec.Executor() as ex:
        first = ex.start("echo one; echo two", monitor=True, mark="^two")
        last = first | ex.start("tr a-z A-Z")
        assert last.result().stdout == "ONE\nTWO\n"
        assert [mark.text for mark in first.result().timeline.marks] == ["two"]
        filed = ex.start("echo one; echo two", monitor=True, mark="^two").pipe(tmp_path / "out")
        assert [mark.text for mark in filed.result().timeline.marks] == ["two"]
        assert (tmp_path / "out").read_text() == "one\ntwo\n"


def test_a_member_that_keeps_its_output_has_it_and_counts_it():
    with xec.Executor() as ex:
        first = ex.start("seq 3", keep=True)
        assert (first | ex.start("tail -n 1")).result().stdout == "3\n"
        assert first.result().stdout == "1\n2\n3\n"
        endless = ex.start("yes", keep=True, max_output=1000, check=False)
        endless.pipe("cat > /dev/null").result()
        assert endless.result().outcome == "output limit"
