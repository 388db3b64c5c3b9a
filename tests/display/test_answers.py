from display.runs import make_log

from xec_magic.display.answers import copy_text, find


def test_plain_text_is_found_in_both_streams():
    log = make_log(b"alpha\nbeta\n", ("stderr", b"Alphabet\n"))
    assert find(log, "alpha", regex=False) == ([0, 2], 2, "")
    assert find(log, "Alpha", regex=False) == ([2], 1, "")  # a capital letter makes case count
    assert find(log, "a.p", regex=False).total == 0
    assert find(log, "^a.p", regex=True).lines == [0, 2]


def test_colours_inside_a_word_do_not_hide_it():
    log = make_log(b"\x1b[1mfai\x1b[31mled\x1b[0m: x\n")
    assert find(log, "failed:", regex=False).lines == [0]


def test_a_wrong_pattern_is_explained():
    assert "not a regular expression" in find(make_log(b"a\n"), "a(", regex=True).problem


def test_all_matches_are_counted_and_some_listed():
    found = find(make_log(b"x\n" * 20_000), "x", regex=False)
    assert (len(found.lines), found.total) == (5000, 20_000)


def test_nothing_finds_nothing():
    assert find(make_log(b"a\n"), "", regex=False).total == 0
    assert find(make_log(), "a", regex=False).total == 0


def test_copied_text_has_no_escapes():
    assert copy_text(make_log(b"\x1b[31mred\x1b[0m\n10%\r99%\nend")) == ("red\n99%\nend\n", "")


def test_too_much_is_not_copied_but_named(tmp_path):
    log = make_log(memory_bytes=10, open_spool=lambda: (tmp_path / "log").open("w+b", buffering=0))
    log.append("stdout", b"x" * (6 * 2**20))
    text, problem = copy_text(log)
    assert text == ""
    assert "6.00 MiB" in problem
    assert str(tmp_path / "log") in problem
    log.close()
