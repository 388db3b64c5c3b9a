from __future__ import annotations

import pickle

import pytest

from xec_magic.command import LOCAL, Target
from xec_magic.errors import OptionError
from xec_magic.inventory import Inventory, TargetFile, sshconfig
from xec_magic.options import Settings

TOML = """
timeout = "5m"
[targets.db1]
host = "10.0.0.7"
user = "ops"
port = 2222
[targets.web1]
[targets.web2]
key = "keys/web"
[groups]
db = ["db1"]
front = "web[1-2]"
everything = ["@db", "@front"]
circle = ["@circle2"]
circle2 = ["@circle"]
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / "project").mkdir()
    return tmp_path


@pytest.fixture
def project(home):
    file = home / "project" / "xec.toml"
    file.write_text(TOML)
    return file


@pytest.fixture
def inventory(project):
    return Settings(project.parent).inventory()


def test_a_target_of_a_file_has_what_the_file_says(inventory, project):
    assert inventory.targets("db1") == [Target("ssh", "db1", "10.0.0.7", "ops", 2222)]
    assert inventory.targets("web2")[0].settings == (("key", str(project.parent / "keys" / "web")),)


def test_options_of_a_file_stand_beside_its_targets(project):
    assert dict(Settings(project.parent).layers())[str(project)] == {"timeout": 300.0}


def test_groups_hold_sets_and_groups(inventory):
    assert [target.name for target in inventory.targets("@everything!web1")] == ["db1", "web2"]
    assert [target.name for target in inventory.targets("@all")] == ["db1", "web1", "web2"]


def test_a_host_that_a_list_names_twice_is_there_twice_and_in_a_text_once(inventory):
    assert [target.name for target in inventory.targets(["db1", "db1"])] == ["db1", "db1"]
    assert [target.name for target in inventory.targets("db1,db1,@db")] == ["db1"]


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("bob@web9:22", Target("ssh", "bob@web9:22", "web9", "bob", 22)),
        ("10.1.2.3", Target("ssh", "10.1.2.3", "10.1.2.3")),
        ("web.example.org", Target("ssh", "web.example.org", "web.example.org")),
        ("[::1]:2222", Target("ssh", "[::1]:2222", "::1", "", 2222)),
        ("fe80::1", Target("ssh", "fe80::1", "fe80::1")),
        ("bob@db1", Target("ssh", "bob@db1", "10.0.0.7", "bob", 2222)),
        ("local", LOCAL),
    ],
)
def test_a_place_is_a_target(inventory, name, target):
    assert inventory.targets(name) == [target]
    assert pickle.loads(pickle.dumps(target)) == target
    assert hash(target)


def test_aliases_and_patterns_of_the_ssh_configuration_are_known(home, inventory):
    (home / ".ssh" / "more").write_text("Host included\n")
    (home / ".ssh" / "config").write_text("Include more\nHost bastion gate?\n  HostName 10.9.9.9\nHost *\n  User x\n")
    assert [t.host for t in inventory.targets("bastion,gate7,included")] == ["bastion", "gate7", "included"]
    assert {"bastion", "included", "@db"} <= set(inventory.names())
    with pytest.raises(OptionError, match="there is no target 'gatexx'"):
        inventory.targets("gatexx")


@pytest.mark.parametrize(
    "line",
    [
        "Host lone1 # don't",
        'Host="lone1"',
        "Match host lone1",
        "Match originalhost=lone9,lone1",
        "Match user=x host lone? # it's",
    ],
)
def test_a_name_is_known_by_any_line_that_is_meant_for_it(home, inventory, line):
    (home / ".ssh" / "config").write_text(f"{line}\n  HostName 10.9.9.9\n")
    assert inventory.target("lone1").host == "lone1"
    with pytest.raises(OptionError, match="there is no target 'other'"):
        inventory.target("other")


@pytest.mark.parametrize(
    "line", ["Host *", "Match all", "Match exec lone1", "Match !host lone1", "Host !lone1", "Match host *"]
)
def test_a_line_that_is_meant_for_every_host_or_for_another_makes_no_name_known(home, inventory, line):
    (home / ".ssh" / "config").write_text(f"{line}\n  User x\n")
    with pytest.raises(OptionError, match="there is no target 'lone1'"):
        inventory.target("lone1")


def test_what_the_ssh_configuration_includes_is_read_once_and_again_when_it_has_changed(home, monkeypatch):
    (home / ".ssh" / "config").write_text("Include parts/*.conf\nHost bastion\n")
    (home / ".ssh" / "parts").mkdir()
    (home / ".ssh" / "parts" / "one.conf").write_text("Host first\n")
    reads = []
    read = sshconfig._text
    monkeypatch.setattr(sshconfig, "_text", lambda path: reads.append(path) or read(path))
    assert {"bastion", "first"} <= set(sshconfig.read_aliases().names)
    reads.clear()
    assert {"bastion", "first"} <= set(sshconfig.read_aliases().names)
    assert reads == []
    (home / ".ssh" / "parts" / "one.conf").write_text("Host first second\n")
    assert "second" in sshconfig.read_aliases().names
    (home / ".ssh" / "parts" / "two.conf").write_text("Host third\n")
    assert "third" in sshconfig.read_aliases().names
    (home / ".ssh" / "parts" / "one.conf").unlink()
    assert not {"first", "second"} & set(sshconfig.read_aliases().names)


def test_an_unknown_name_is_refused_with_the_nearest(inventory):
    with pytest.raises(OptionError, match="there is no target 'webb1'; did you mean web1"):
        inventory.targets("webb1")
    with pytest.raises(OptionError, match="there is no group @fron; did you mean @front"):
        inventory.targets("@fron")
    with pytest.raises(OptionError, match="user@host"):
        inventory.targets("zzzzzzzz")


def test_groups_in_a_circle_are_refused(inventory):
    with pytest.raises(OptionError, match="circle: @circle → @circle2 → @circle"):
        inventory.targets("@circle")


def test_what_names_nothing_is_refused(inventory):
    with pytest.raises(OptionError, match="^db1!db1 names no target"):
        inventory.targets("db1!db1")
    with pytest.raises(OptionError, match="None names no target; write a text"):
        inventory.targets(None)
    with pytest.raises(OptionError, match="3 is no target; give a name"):
        inventory.targets([3])


@pytest.mark.parametrize("text", ["ann:hunter2@db.example.org", "ssh://ann:hunter2@db.example.org", "ssh://ann@db:22"])
def test_a_password_before_the_host_is_refused_and_not_shown(inventory, text):
    with pytest.raises(OptionError, match="a user alone, without ssh:// and without a password") as caught:
        inventory.targets(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[targets.x]\nhots = 'a'", "no setting 'hots'; did you mean host"),
        ("[targets.x]\nport = 'a'", "port must be a number"),
        ("[targets.x]\nport = true", "port must be a number"),
        ("[targets.x]\nport = 70000", "no port 70000"),
        ("[targets.x]\nauth = 'token'", "auth is keys or password"),
        ("[targets.'a b']\n", "a target's name is letters"),
        ("targets = 3", "targets must be a table"),
        ("[groups]\nx = 3", "a group is a list"),
    ],
)
def test_a_wrong_file_names_file_and_key(project, text, reason):
    project.write_text(text)
    with pytest.raises(OptionError, match=reason) as caught:
        Settings(project.parent).inventory()
    assert str(project) in str(caught.value)


@pytest.mark.parametrize(
    "setting", ["proxy_command = 'evil'", "accept_new = true", "known_hosts = 'mine'", "auth = 'password'"]
)
def test_what_runs_code_or_weakens_trust_needs_a_trusted_file(project, setting, monkeypatch):
    from xec_magic.inventory import Trust

    project.write_text(f"[targets.x]\nhost = 'h.example'\n{setting}\n")
    with pytest.raises(OptionError, match="%xec_targets --trust"):
        Settings(project.parent).inventory().targets("x")
    Trust().add(str(project))
    assert Settings(project.parent).inventory().targets("x")[0].settings
    project.write_text(f"[targets.x]\nhost = 'other.example'\n{setting}\n")
    with pytest.raises(OptionError, match="--trust"):
        Settings(project.parent).inventory().targets("x")


def test_the_users_own_file_needs_no_trust(tmp_path):
    file = TargetFile(str(tmp_path / "config.toml"), {"targets": {"x": {"accept_new": True}}}, own=True)
    assert Inventory([file]).targets("x")[0].settings == (("accept_new", "true"),)
