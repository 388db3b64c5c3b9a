from __future__ import annotations

import os
import tempfile

from xec_magic.engine.spool import SpoolDirectory, cache_root


def spooled(directory, name, size):
    log = directory.new_log(name, memory_bytes=10)
    log.append("stdout", b"x" * size)
    return log


def test_the_oldest_finished_logs_go_when_all_exceed_the_bound_and_one_that_grows_stays(tmp_path):
    directory = SpoolDirectory("k", lambda: tmp_path, bound_bytes=250)
    growing = spooled(directory, "1", 100)
    ended = [spooled(directory, str(number), 100) for number in (2, 3, 4)]
    directory.keep_within_bound({growing})
    assert [log.closed for log in (growing, *ended)] == [False, True, True, False]
    assert growing.append("stdout", b"more")
    directory.close()
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_log_that_spills_after_others_have_ended_counts(tmp_path):
    directory = SpoolDirectory("k", lambda: tmp_path, bound_bytes=150)
    late = directory.new_log("1", memory_bytes=10)
    first = spooled(directory, "2", 100)
    directory.keep_within_bound({late})
    late.append("stdout", b"x" * 100)
    directory.keep_within_bound(set())
    assert (late.closed, first.closed) == (True, False)
    directory.close()


def test_the_directory_of_a_kernel_that_is_gone_is_swept_and_that_of_a_living_one_is_not(tmp_path):
    gone = tmp_path / "spool" / "gone"
    gone.mkdir(parents=True)
    (gone / "lock").touch()
    (gone / "1.log").write_text("old")
    living = SpoolDirectory("living", lambda: tmp_path)
    living.path()
    SpoolDirectory("new", lambda: tmp_path).path()
    assert not gone.exists()
    assert (tmp_path / "spool" / "living").exists()
    living.close()


def test_a_home_that_is_no_absolute_path_is_not_used(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("HOME", "somewhere/else")
    for configured in ("", "cache"):
        monkeypatch.setenv("XDG_CACHE_HOME", configured)
        assert cache_root() == tmp_path / "tmp" / f"xec-magic-{os.getuid()}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tmp"]


def test_where_no_usual_directory_can_be_used_a_kernel_has_one_of_its_own_and_no_second(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc")
    (tmp_path / f"xec-magic-{os.getuid()}").symlink_to("/usr")
    assert cache_root() == cache_root()
