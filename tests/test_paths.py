from __future__ import annotations

from pathlib import Path

import pytest

import xec_magic as xec
from xec_magic.paths import absolute


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """A directory with a link to another place; what is above that is not what is above the link."""
    (tmp_path / "far" / "deep").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to("../far/deep")
    (tmp_path / "far" / "x").write_text("right\n")
    (tmp_path / "here" / "x").write_text("wrong\n")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def test_what_is_above_a_link_is_above_what_it_leads_to(beside):
    assert absolute("link/../x") == str(beside / "far" / "x")
    assert absolute("../here/./x") == str(beside / "here" / "x")
    assert absolute("link/x") == str(beside / "here" / "link" / "x"), "a link itself stays"


def test_a_file_is_read_and_written_where_its_name_says_for_every_program(beside):
    assert list(xec.chunks("link/../x")) == [["right"]]
    with xec.Executor() as ex:
        assert ex.run("cat", stdin=Path("link/../x")).text() == "right"
        ex.run("echo tee", tee="link/../tee")
        ex.start("echo pipe").pipe(Path("link/../pipe")).result()
        assert ex.run("pwd -P", cwd="link/..").text() == str(beside / "far")
    assert sorted(path.name for path in (beside / "far").iterdir()) == ["deep", "pipe", "tee", "x"]


def test_an_absolute_name_needs_no_working_directory(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert absolute("/usr/../etc") == "/etc"
    with pytest.raises(OSError, match="No such file"):
        absolute("x")
