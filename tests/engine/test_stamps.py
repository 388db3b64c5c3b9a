"""What `Stamps` promises: a digest of what files hold, read again only when something has changed."""

import os
import time

import pytest
from helpers.interrupts import interrupt_when

from xec_magic.engine.stamps import Stamps
from xec_magic.errors import OptionError

LATER = 100.0  # by then a file that was just written is no longer young


@pytest.fixture
def stamps():
    return Stamps(wall=lambda: time.time() + LATER)


def test_equal_contents_have_one_digest_whatever_their_times(stamps, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("same")
    two.write_text("same")
    os.utime(two, (1, 1))
    assert stamps.digest(str(one))[1] == stamps.digest(str(two))[1]
    two.write_text("some")
    assert stamps.digest(str(one))[1] != stamps.digest(str(two))[1]


def test_a_file_is_read_once_as_long_as_its_stamp_is_the_same(stamps, tmp_path):
    path = tmp_path / "data"
    path.write_bytes(b"x" * 5000)
    for _ in range(10):
        stamps.digest(str(path))
    assert stamps.read_bytes == 5000


def test_a_change_that_keeps_size_and_modification_time_is_seen(stamps, tmp_path):
    path = tmp_path / "data"
    path.write_text("aaaa")
    os.utime(path, (1000, 1000))
    before = stamps.digest(str(path))[1]
    path.write_text("bbbb")
    os.utime(path, (1000, 1000))
    assert stamps.digest(str(path))[1] != before


def test_a_file_that_has_just_changed_is_read_each_time(tmp_path):
    stamps = Stamps(wall=time.time)  # the file is young: it could change again within one tick of its time stamp
    path = tmp_path / "data"
    path.write_bytes(b"x" * 100)
    stamps.digest(str(path))
    stamps.digest(str(path))
    assert stamps.read_bytes == 200


def test_a_large_file_is_read_once_a_machine_when_somebody_keeps_the_book(tmp_path):
    class Book(dict):
        def known(self, path, stamp):
            return self.get((path, stamp))

        def note(self, path, stamp, digest):
            self[path, stamp] = digest

    path, book = tmp_path / "data", Book()
    path.write_bytes(b"x" * 100)
    first, second = (Stamps(wall=lambda: time.time() + LATER) for _ in range(2))
    assert first.digest(str(path), book) == second.digest(str(path), book)
    assert (first.read_bytes, second.read_bytes) == (100, 0)


def test_ten_gigabytes_are_not_read_again_and_a_first_reading_hears_an_interrupt(stamps, tmp_path):
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(10 * 2**30)  # sparse: it takes no room, and as long to read
    with pytest.raises(KeyboardInterrupt), interrupt_when(lambda: stamps.read_bytes):
        stamps.digest(str(path))
    assert 0 <= stamps.read_bytes < 10 * 2**30
    # As if it had been read to its end: from now on only its stamp is looked at.
    read = stamps.read_bytes
    stamps._known[str(path)] = stamps.stamp(str(path)), b"digest"
    assert stamps.digest(str(path))[1] == b"digest"
    assert stamps.read_bytes == read


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: (tree / "sub" / "new").write_text(""),
        lambda tree: (tree / "sub" / "file").write_text("other"),
        lambda tree: (tree / "sub" / "file").unlink(),
        lambda tree: (tree / "sub" / "file").rename(tree / "file"),
        lambda tree: (tree / "link").unlink() or (tree / "link").symlink_to("elsewhere"),
        lambda tree: (tree / "empty").mkdir(),
    ],
    ids=["added", "changed", "removed", "moved", "another link", "empty directory"],
)
def test_a_directory_changes_with_anything_in_it(stamps, tmp_path, change):
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "file").write_text("text")
    (tree / "link").symlink_to("sub")
    before = stamps.digest(str(tree))
    assert stamps.digest(str(tree)) == before
    change(tree)
    assert stamps.digest(str(tree)) != before
    assert not stamps.same(str(tree), before[0])


def test_what_is_not_there_or_holds_nothing_is_refused_in_one_line(stamps, tmp_path):
    with pytest.raises(OptionError, match="no such file or directory"):
        stamps.digest(str(tmp_path / "missing"))
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OptionError, match="neither a file nor a directory"):
        stamps.digest(str(tmp_path / "fifo"))
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(OptionError, match="no such file"):
        stamps.digest(str(tmp_path / "dangling"))


def test_a_file_that_changes_while_it_is_read_is_not_the_same_afterwards(stamps, tmp_path, monkeypatch):
    path = tmp_path / "growing"
    path.write_bytes(b"x" * 10)
    real = stamps._read

    def read_while_it_grows(name, what):
        digest = real(name, what)
        with path.open("ab") as file:
            file.write(b"more")
        return digest

    monkeypatch.setattr(stamps, "_read", read_while_it_grows)
    stamp, _ = stamps.digest(str(path))
    assert not stamps.same(str(path), stamp)
    assert str(path) not in stamps._known
