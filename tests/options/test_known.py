"""What `KnownLines` promises: a line that was read before means the same as if it was read anew."""

import pytest

from xec_magic.errors import OptionError
from xec_magic.options import Settings, known
from xec_magic.options.known import KnownLines

NOTHING_SET = {}


@pytest.fixture
def lines(tmp_path):
    environ = {"HOME": str(tmp_path)}
    found = KnownLines(Settings(tmp_path, environ))
    found.environ, found.file = environ, tmp_path / "xec.toml"
    return found


def read(lines, line, *, cell=True, config=NOTHING_SET, expand=lambda text, *_: text):
    return lines.read(line, cell=cell, config=config, expand=expand)


def test_a_line_is_read_once(lines):
    first = read(lines, "-t 5m --label x")
    assert first[0].timeout == 300.0
    assert read(lines, "-t 5m --label x")[0] is first[0]
    assert read(lines, "-t 6m --label x")[0].timeout == 360.0


def test_a_line_magic_keeps_its_command(lines):
    assert read(lines, "-t 5 ls -l", cell=False)[1] == "ls -l"
    assert read(lines, "-t 5 ls -l", cell=False)[1] == "ls -l"
    with pytest.raises(OptionError, match="is no option"):
        read(lines, "-t 5 ls -l")


def test_a_standing_default_that_changes_is_seen(lines):
    assert read(lines, "")[0].grace == 3.0
    lines.environ["XEC_GRACE"] = "1s"
    assert read(lines, "")[0].grace == 1.0
    lines.file.write_text("timeout = 9\n")
    assert read(lines, "")[0].timeout == 9.0
    assert read(lines, "", config={"timeout": 8.0})[0].timeout == 8.0
    lines.file.unlink()
    assert read(lines, "")[0].timeout is None


def test_what_is_filled_into_a_line_is_asked_for_each_time(lines):
    values = iter(["one", "two"])
    labels = [read(lines, "--label ${{name}}", expand=lambda *_: next(values))[0].label for _ in range(2)]
    assert labels == ["one", "two"]


def test_a_wrong_line_or_default_is_refused_each_time(lines):
    for _ in range(2):
        with pytest.raises(OptionError, match="needs a value"):
            read(lines, "-t")
    read(lines, "")
    lines.file.write_text("timeout = 0\n")
    for _ in range(2):
        with pytest.raises(OptionError, match="timeout must be more than 0"):
            read(lines, "")


def test_lines_are_forgotten_before_they_are_too_many(lines, monkeypatch):
    monkeypatch.setattr(known, "KNOWN", 3)
    for number in range(10):
        read(lines, f"--label {number}")
    read(lines, "--label " + "x" * known.LARGEST)
    assert len(lines._known) <= 3
