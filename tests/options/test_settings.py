"""What `Settings` promises: standing defaults from the places that are documented, re-read when they change, never a crash."""

import itertools
import os
from pathlib import Path

import pytest

from xec_magic.errors import OptionError
from xec_magic.options import Settings


@pytest.fixture
def home(tmp_path):
    path = tmp_path / "home"
    (path / "repo" / "sub").mkdir(parents=True)
    (path / "repo" / ".git").mkdir()
    return path


def layers(start, home, **environ):
    return Settings(start, {"HOME": str(home)} | environ).layers()


def refused(start, home, **environ):
    with pytest.raises(OptionError) as caught:
        layers(start, home, **environ)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_nearest_project_file_up_to_the_repository_counts(home):
    (home / "xec.toml").write_text("grace = 1\n")
    (home / "repo" / "xec.toml").write_text("grace = 2\n")
    assert layers(home / "repo" / "sub", home) == [(str(home / "repo" / "xec.toml"), {"grace": 2.0})]
    (home / "repo" / "sub" / "xec.toml").write_text("grace = 3\n")
    assert layers(home / "repo" / "sub", home) == [(str(home / "repo" / "sub" / "xec.toml"), {"grace": 3.0})]


def test_nothing_above_the_repository_counts(home):
    (home / "xec.toml").write_text("grace = 1\n")
    assert layers(home / "repo" / "sub", home) == []
    assert layers(home, home) == [(str(home / "xec.toml"), {"grace": 1.0})]


def test_outside_home_and_repositories_only_the_start_directory_counts(tmp_path, home):
    (tmp_path / "xec.toml").write_text("grace = 1\n")
    (tmp_path / "work").mkdir()
    assert layers(tmp_path / "work", home) == []
    assert layers(tmp_path, home) == [(str(tmp_path / "xec.toml"), {"grace": 1.0})]


def test_pyproject_counts_by_its_table(home):
    path = home / "repo" / "pyproject.toml"
    path.write_text("[project]\nname = 'x'\n")
    assert layers(home / "repo", home) == []
    path.write_text("[tool.xec]\ngrace = 2\n")
    assert layers(home / "repo", home) == [(str(path), {"grace": 2.0})]
    path.write_text("[tool.xec]\ngrcae = 2\n")
    assert refused(home / "repo", home) == f"{path} [tool.xec]: there is no option 'grcae'; did you mean grace?"
    path.write_text("[tool")
    assert layers(home / "repo", home) == []


def test_two_project_files_in_one_directory_are_refused(home):
    (home / "repo" / "pyproject.toml").write_text("[tool.xec]\ngrace = 2\n")
    (home / "repo" / "xec.toml").write_text("")
    assert refused(home / "repo", home).endswith("keep one")


def test_the_users_file_stands_where_xdg_says(tmp_path, home):
    for base in (home / ".config", tmp_path / "xdg"):
        (base / "xec-magic").mkdir(parents=True)
        (base / "xec-magic" / "config.toml").write_text(f'cwd = "{base}"\n')
    assert layers(home, home)[0][1] == {"cwd": str(home / ".config")}
    assert layers(home, home, XDG_CONFIG_HOME=str(tmp_path / "xdg"))[0][1] == {"cwd": str(tmp_path / "xdg")}
    assert layers(home, home, XDG_CONFIG_HOME="relative")[0][1] == {"cwd": str(home / ".config")}


def test_a_file_is_read_again_when_it_has_changed(home):
    path = home / "xec.toml"
    settings = Settings(home, {"HOME": str(home)})
    path.write_text("grace = 1\n")
    first = settings.layers()[0][1]
    assert settings.layers()[0][1] is first
    path.write_text("grace = 2\n")
    os.utime(path, ns=(1, 1))
    assert settings.layers()[0][1] == {"grace": 2.0}
    path.unlink()
    assert settings.layers() == []


def test_the_layers_are_the_same_list_until_a_file_or_a_variable_changes(home):
    environ = {"HOME": str(home)}
    settings = Settings(home, environ)
    seen = [settings.layers(), settings.layers()]
    environ["XEC_GRACE"] = "1s"
    seen += [settings.layers(), settings.layers()]
    (home / "xec.toml").write_text("grace = 2\n")
    seen += [settings.layers(), settings.layers()]
    (home / "xec.toml").unlink()
    seen.append(settings.layers())
    kept = [each is before for before, each in itertools.pairwise(seen)]
    assert kept == [True, False, True, False, True, False]
    assert [len(each) for each in seen] == [0, 0, 1, 1, 2, 2, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grace = 1\ntimeout = = 2\n", ", line 2, column 11: no TOML: Invalid value"),
        ("grace = 'x", "no TOML"),
        ("grace = 'soon'\n", ": grace: 'soon' is no duration"),
        ("timeout = 0\n", ": timeout must be more than 0 seconds"),
        ("retries = 2\n", ": retries needs --read-only"),
        ("ok-codes = [256]\n", ": ok-codes: exit codes lie between 0 and 255"),
        ("out = 'x'\n", ": out is no standing default; write --out on the line"),
        (
            "shell = 'sh'\n",
            ": shell can make every command run other code, so a project's file may not set it; put it in your own config.toml",
        ),
        ("[env]\nBASH_ENV = 'x'\n", ": env can make every command run other code"),
        ("[stop]\ntimeout = 5\n", ": there is no option 'stop'"),
    ],
)
def test_a_wrong_file_is_named_with_line_or_key(home, text, message):
    path = home / "xec.toml"
    path.write_text(text)
    shown = refused(home, home)
    assert shown.startswith(str(path))
    assert message in shown


def test_the_users_own_file_may_name_the_shell(home):
    path = home / ".config" / "xec-magic" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text("shell = 'zsh -f'\nenv = {A = '1'}\n")
    assert layers(home, home) == [(str(path), {"shell": ("zsh", "-f"), "env": (("A", "1"),)})]


def test_a_relative_directory_in_a_file_is_relative_to_the_file(home):
    (home / "repo" / "xec.toml").write_text("cwd = 'sub'\n")
    assert layers(home / "repo" / "sub", home)[0][1] == {"cwd": str(home / "repo" / "sub")}


def test_a_file_that_is_no_utf8_is_named(home):
    (home / "xec.toml").write_bytes(b"label = '\xff'\n")
    assert "is no UTF-8 text" in refused(home, home)


def test_each_variable_is_a_source_of_its_own(home):
    assert layers(home, home, XEC_TIMEOUT="5m", XEC_LOGIN="1", XEC_UI="text") == [
        ("XEC_LOGIN", {"login": True}), ("XEC_TIMEOUT", {"timeout": 300.0}),
    ]  # fmt: skip
    assert refused(home, home, XEC_TIMEOUT="0").startswith("XEC_TIMEOUT: timeout must be more than 0")
    assert layers(home, home, XEC_RETRIES="2", XEC_RETRY_CODES="75")


def test_a_home_that_cannot_be_read_gives_no_defaults_and_no_error(home, monkeypatch):
    def denied(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "stat", denied)
    assert layers(home, home) == []


def test_no_home_and_no_directory_are_no_error(monkeypatch):
    def missing():
        raise RuntimeError("Could not determine home directory.")

    def gone():
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Path, "home", missing)
    monkeypatch.setattr(Path, "cwd", gone)
    assert Settings(environ={}).layers() == []
    assert repr(Settings(environ={})) == "<Settings none>"
