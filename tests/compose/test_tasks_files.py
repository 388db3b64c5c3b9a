from __future__ import annotations

import os

import pytest

from xec_magic.compose import tasks_files
from xec_magic.compose.tasks_files import FileFault, changed, stamps_of


def named(path):
    return ((path.name, str(path)),)


def read_later(stamps):
    """As if the files had been read when they had not been changed for long."""
    return {path: (*one[:4], one[4] + 10**10, one[5]) for path, one in stamps.items()}


def test_the_content_counts_and_not_the_time(tmp_path):
    file = tmp_path / "a"
    file.write_text("one")
    before = stamps_of(named(file), {})
    os.utime(file, ns=(0, 5 * 10**17))
    assert changed(before, stamps_of(named(file), before), named(file)) == ""
    file.write_text("two")
    assert changed(before, stamps_of(named(file), before), named(file)) == "a has changed"


def test_a_file_of_the_same_size_and_times_is_not_read_again(tmp_path, monkeypatch):
    file = tmp_path / "a"
    file.write_text("one")
    known = read_later(stamps_of(named(file), {}))
    monkeypatch.setattr("builtins.open", lambda *_, **__: pytest.fail("it was read"))
    assert stamps_of(named(file), known) == known


def test_a_file_that_changed_just_before_it_was_read_is_read_again(tmp_path):
    file = tmp_path / "a"
    file.write_text("one")
    before = stamps_of(named(file), {})
    # The same size, and by a coarse clock the same times.
    file.write_text("two")
    status = os.stat(file)
    (stamp,) = before.values()
    faked = {str(file): (stamp[0], status.st_mtime_ns, status.st_ctime_ns, stamp[3], status.st_mtime_ns + 1, stamp[5])}
    assert changed(faked, stamps_of(named(file), faked), named(file)) == "a has changed"


def test_a_file_whose_time_was_set_back_just_before_it_was_read_is_read_again(tmp_path):
    file = tmp_path / "a"
    file.write_text("one")
    os.utime(file, ns=(0, 10**18))  # as `cp -p` does it; within the clock's step it could be another file again
    before = stamps_of(named(file), {})
    (stamp,) = before.values()
    faked = {str(file): (*stamp[:5], "of other content")}
    assert stamps_of(named(file), faked)[str(file)][5] == stamp[5]


def test_a_directory_stands_for_the_files_in_it(tmp_path):
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "d" / "a").write_text("a")
    (tmp_path / "d" / "sub" / "b").write_text("b")
    names = named(tmp_path / "d")
    before = stamps_of(names, {})
    (tmp_path / "d" / "sub" / "b").write_text("c")
    assert changed(before, stamps_of(names, before), names) == "d/sub/b has changed"
    (tmp_path / "d" / "sub" / "b").write_text("b")
    (tmp_path / "d" / "n").write_text("n")
    assert changed(before, stamps_of(names, before), names) == "d/n is new"
    (tmp_path / "d" / "n").unlink()
    (tmp_path / "d" / "a").unlink()
    assert changed(before, stamps_of(names, before), names) == "d/a is gone"


def test_what_cannot_be_read_says_so(tmp_path, monkeypatch):
    with pytest.raises(FileFault, match="depends on gone, which is not there"):
        stamps_of(named(tmp_path / "gone"), {})
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(FileFault, match="fifo, which is neither a file nor a directory"):
        stamps_of(named(tmp_path / "fifo"), {})
    for number in range(3):
        (tmp_path / f"f{number}").touch()
    monkeypatch.setattr(tasks_files, "MOST_FILES", 2)
    with pytest.raises(FileFault, match="more than 2 files"):
        stamps_of(named(tmp_path), {})


def test_reading_a_large_file_ends_when_it_is_stopped(tmp_path):
    file = tmp_path / "large"
    with file.open("wb") as opened:
        opened.truncate(10 * 2**30)  # 10 GB of holes
    asked = iter([False, False, True])
    with pytest.raises(FileFault, match="it was stopped"):
        stamps_of(named(file), {}, stopped=lambda: next(asked))
