"""`%xec_targets`, and completion of what `--on` takes. What needs a server is in `ssh/`."""

from __future__ import annotations

import re

import pytest
from helpers.cells import said
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

from xec_magic.magics import targets
from xec_magic.options import Settings


@pytest.fixture
def shell(monkeypatch, tmp_path):
    from xec_magic import runtime

    InteractiveShell.clear_instance()
    made = InteractiveShell.instance()  # before there is another home: its history must outlive the test's
    monkeypatch.setenv("XEC_UI", "text")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host bastion\n  HostName 10.0.0.1\n")
    (tmp_path / "xec.toml").write_text(
        '[targets.db1]\nhost = "10.0.0.7"\nuser = "ops"\n[targets.gate]\nproxy_command = "x"\n[groups]\ndb = ["db1"]\n'
    )
    made.run_line_magic("load_ext", "xec_magic")
    monkeypatch.setattr(runtime.current(), "settings", Settings(tmp_path))
    yield made
    made.run_line_magic("unload_ext", "xec_magic")
    InteractiveShell.clear_instance()


def test_it_lists_aliases_targets_and_groups_with_their_files(shell):
    text, _ = said(shell, "%xec_targets")
    assert [line.split()[:2] for line in text.splitlines()] == [
        ["name", "what"], ["db1", "ops@10.0.0.7"], ["gate", "gate"], ["bastion", "SSH"], ["@db", "db1"],
    ]  # fmt: skip
    assert "~/xec.toml" in text


def test_a_group_of_many_does_not_make_the_lines_of_others_wide(shell, tmp_path):
    members = [f"{name}.example.org" for name in ("red", "green", "blue", "grey", "black", "white", "pink", "gold")]
    numbered = [f"web{number:02}" for number in range(1, 41)]
    (tmp_path / "xec.toml").write_text(f"[targets.db1]\n[groups]\nall = {members}\nweb = {numbered}\n")
    text, _ = said(shell, "%xec_targets")
    one, many, web = (
        next(line for line in text.splitlines() if line.startswith(name)) for name in ("db1 ", "@all ", "@web ")
    )
    assert len(one) < 80
    assert ",".join(members) in many
    assert web.split()[1] == "web[01-40]"


def test_on_a_page_a_long_group_is_wrapped_and_not_cut_off(shell, tmp_path, monkeypatch):
    members = [f"host-{name}.example.org" for name in "abcdefgh"]
    (tmp_path / "xec.toml").write_text(f"[targets.db1]\n[groups]\nall = {members}\n")
    shown = []
    monkeypatch.setattr(targets, "display", lambda data, raw: shown.append(data["text/html"]))
    shell.run_line_magic("xec_targets", "")
    assert f'white-space:pre-wrap;overflow-wrap:anywhere">{",".join(members)}</td>' in shown[0]


def test_on_a_page_a_host_that_does_not_answer_stands_out(shell, monkeypatch):
    shown = []
    monkeypatch.setattr(targets, "display", lambda data, raw: shown.append(data["text/html"]))
    shell.run_line_magic("xec_targets", "--ping bob@127.0.0.1:9,local")
    assert re.findall(r"<td [^>]*color:#b3261e[^>]*>([^<]*)", shown[0]) == ["failed"]


def test_it_says_what_a_set_stands_for(shell):
    text, _ = said(shell, "%xec_targets @db,web[1-2].lan!web1.lan")
    assert [line.split() for line in text.splitlines()[1:]] == [["db1", "ops@10.0.0.7"], ["web2.lan", "web2.lan"]]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("%xec_targets --pong db1", "did you mean --ping"),
        ("%xec_targets --ping", "--ping needs targets"),
        ("%xec_targets --accept db1", "--accept needs a fingerprint and a target"),
        ("%xec_targets --accept abc db1", "begins with SHA256:"),
        ("%xec_targets --trust nowhere.toml", "no such file"),
        ("%xec_targets db9", "did you mean db1"),
        ("%xec --on db9 true", "did you mean db1"),
        ("%xec --on 'web[1' true", "never closed"),
        ("%xec --on db1,bastion --bg true", "--bg: a command on 2 targets"),
        ("%xec --on db1,bastion --batch true", "--batch needs a cell"),
        ("%xec --on db1,bastion --as json true", "--as json turns one output into a value"),
        ("%xec --on db1,bastion --tee x true", "2 targets would write into one file"),
        ("%xec --on u@10.0.0.[1-65] --monitor true", "--monitor: at most 64 targets are watched at once, not 65"),
        ("%xec --on db1,bastion --wave 0 true", "wave must be at least 1 target"),
        ("%xec --on db1,bastion --wave 120% true", "100% are the most"),
        ("%xec --on db1,bastion --max-fail some true", "'some' is no number of targets; write 5, or 20%"),
        ("%xec --on db1,bastion --fanout 0 true", "fanout must lie between 1 and 1000"),
        ("%xec --on db1,bastion --yes true", "--yes answers what --confirm asks"),
        ("%xec --on db1,bastion --confirm true", "nobody can be asked here, so nothing has run; --yes"),
        ("%xec --canary 1 true", "--canary is for a command on several targets"),
        ("%xec --on gate true", "%xec_targets --trust"),
    ],
)
def test_a_wrong_line_is_refused_in_one_line(shell, line, reason):
    text, result = said(shell, line)
    assert type(result.error_in_exec).__name__ == "UsageError"
    assert reason in text
    assert len(text.splitlines()) == 1


def test_trusting_a_file_lets_it_set_what_needs_trust(shell):
    text, _ = said(shell, "%xec_targets --trust xec.toml")
    assert "is trusted as it is now" in text
    text, _ = said(shell, "%xec_targets gate")
    assert "gate" in text


def test_a_host_that_does_not_answer_is_named_by_ping(shell):
    text, result = said(shell, "%xec_targets --ping bob@127.0.0.1:9,local")
    assert result.success
    assert "cannot reach 127.0.0.1:9: connection refused" in text
    assert [line.split()[:2] for line in text.splitlines()[1:]] == [["bob@127.0.0.1:9", "failed"], ["local", "ok"]]


def test_names_are_completed_also_behind_a_comma(shell):
    def complete(line):
        with provisionalcompleter():
            return list(shell.Completer.completions(line, len(line)))

    assert [each.text for each in complete("%xec --on d")] == ["db1"]
    assert [each.text for each in complete("%xec -H db1,bas")] == ["bastion"]
    assert [each.text for each in complete("%xec_targets @")] == ["@db", "@all"]


def test_a_list_of_python_names_targets_on_a_line(shell):
    text, _ = said(shell, "hosts = ['db1', 'nope']\n%xec --on ${{hosts}} true")
    assert "there is no target 'nope'" in text
