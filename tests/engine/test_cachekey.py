"""What keys promise: another state is another key, the same state the same one, and no two states share an encoding."""

import os
import sys
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xec_magic.cachepolicy import CachePolicy
from xec_magic.command import Command, FileInput, Target
from xec_magic.engine.cachekey import Captured, encode
from xec_magic.engine.stamps import Stamps
from xec_magic.errors import OptionError
from xec_magic.plan import Plan, StopPolicy

ENVIRON = {"PATH": "/usr/bin", "HOME": "/home/me", "STAGE": "test"}


def key(script="make", *, policy=None, environ=None, stop=None, stamps=None, **command):
    plan = Plan(Command(script, **command), cache=policy or CachePolicy(60), stop=stop or StopPolicy())
    return Captured(plan, stamps or Stamps(), environ or ENVIRON).key()


BASE = {
    "script": ("make", "make all"),
    "target": (Target(), Target("fake", "db1")),
    "shell": ((), ("sh",)),
    "strict": (True, False),
    "login": (False, True),
    "cwd": ("/", "/usr"),
    "env": ((("A", "1"),), (("A", "2"),)),
    "stdin": (b"one", b"two"),
    "rc": ("", "export STAGE=night"),
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4).map(tuple),
    max_leaves=8,
)


@pytest.mark.parametrize("name", BASE)
def test_each_part_of_a_command_makes_another_key(name):
    one, two = BASE[name]
    assert key(**{name: one}).full != key(**{name: two}).full
    assert key(**{name: one}).full == key(**{name: one}).full


def test_every_field_of_a_command_is_in_the_key_or_left_out_on_purpose():
    assert {each.name for each in fields(Command)} - set(BASE) <= {"secret_env", "session", "worker", "reset"}


def test_the_order_of_variables_counts_and_their_borders_too():
    assert key(env=(("A", "1"), ("B", "2"))).full != key(env=(("B", "2"), ("A", "1"))).full
    assert key(env=(("A", "1B"),)).full != key(env=(("A1", "B"),)).full


@pytest.mark.parametrize("kind", [str, str.encode])
@pytest.mark.parametrize("border", ["", "s", "s:", "s1:", "y", "y:", "y1:"])
def test_no_value_can_look_like_the_border_between_two(kind, border):
    one, other = ("a", f"b{border}c"), (f"a{border}b", "c")
    assert encode(tuple(map(kind, one))) != encode(tuple(map(kind, other)))


def test_the_kernels_directory_and_path_count_for_commands_of_this_machine(tmp_path, monkeypatch):
    before = key().full
    assert key(environ=ENVIRON | {"PATH": "/opt/bin"}).full != before
    assert key(environ=ENVIRON | {"HOME": "/elsewhere"}).full == before
    monkeypatch.chdir(tmp_path)
    assert key().full != before
    far = {"target": Target("fake", "db1")}
    there = key(**far).full
    monkeypatch.chdir("/")
    assert key(**far, environ=ENVIRON | {"PATH": "/opt/bin"}).full == there


def test_named_variables_count_also_when_they_are_not_set():
    policy = CachePolicy(60, env=["STAGE", "REGION"])
    one = key(policy=policy).full
    assert key(policy=policy, environ=ENVIRON | {"STAGE": "prod"}).full != one
    assert key(policy=policy, environ=ENVIRON | {"REGION": ""}).full != one


def test_waiting_for_children_is_part_of_what_is_asked():
    assert key(stop=StopPolicy(wait=True)).full != key().full
    assert key(stop=StopPolicy(timeout_s=5)).full == key().full


def test_a_fixed_name_stands_for_all_but_the_target_and_the_files(tmp_path):
    policy = CachePolicy(60, key="disks")
    assert key("df", policy=policy).full == key("df -h", policy=policy, cwd="/", env=(("A", "1"),)).full
    assert key(policy=policy).full != key(policy=policy, target=Target("fake", "db1")).full
    assert key(policy=policy).full != key(policy=CachePolicy(60, key="other")).full
    path = tmp_path / "data"
    path.write_text("one")
    named = CachePolicy(60, key="disks", depends=str(path))
    one = key(policy=named).full
    path.write_text("two")
    assert key(policy=named).full != one


def test_a_key_function_sees_the_command_and_its_answer_is_the_key():
    policy = CachePolicy(60, key=lambda command: (command.script.split()[0], 1))
    assert key("make all", policy=policy).full == key("make clean", policy=policy).full
    assert key("make all", policy=policy).full != key("cmake all", policy=policy).full


def test_a_key_function_that_raises_or_gives_no_key_is_refused_before_anything_runs():
    def broken(command):
        raise ZeroDivisionError("division by zero")

    with pytest.raises(
        OptionError, match=r"cache key: broken\(\) raised ZeroDivisionError: division by zero; nothing has run"
    ):
        key(policy=CachePolicy(60, key=broken))
    with pytest.raises(OptionError, match=r"cache key: <lambda>\(\) raised SystemExit: 3; nothing has run"):
        key(policy=CachePolicy(60, key=lambda command: sys.exit(3)))
    with pytest.raises(OptionError, match="a list cannot be part of a key"):
        key(policy=CachePolicy(60, key=lambda command: [1]))


def test_input_from_a_file_counts_by_its_content(tmp_path):
    path = tmp_path / "input"
    path.write_text("one")
    one = key(stdin=FileInput(str(path)))
    path.write_text("two")
    two = key(stdin=FileInput(str(path)))
    assert one.full != two.full
    assert [name for name, _ in one.stamps] == [str(path)]


def test_input_from_a_file_of_another_machine_is_refused():
    with pytest.raises(OptionError, match="is in no key"):
        key(stdin=FileInput("/etc/hosts"), target=Target("fake", "db1"))


def test_input_that_is_no_file_is_refused_by_its_name(tmp_path):
    with pytest.raises(OptionError, match="^stdin: /dev/null is neither a file nor a directory"):
        key(stdin=FileInput("/dev/null"))
    with pytest.raises(OptionError, match="^stdin: no such file or directory: /no/such/file"):
        key(stdin=FileInput("/no/such/file"))
    with pytest.raises(OptionError, match="^depends: /dev/null is neither a file nor a directory"):
        key(policy=CachePolicy(60, depends="/dev/null"))


def test_a_file_that_is_missing_is_refused(tmp_path):
    with pytest.raises(OptionError, match="depends: no such file or directory"):
        key(policy=CachePolicy(60, depends=str(tmp_path / "missing")))


def test_a_directory_that_is_gone_is_said(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(OptionError, match="directory has been removed"):
        key()
    os.chdir("/")


def test_a_link_that_is_set_to_another_directory_is_another_directory(tmp_path):
    for name in ("w1", "w2"):
        (tmp_path / name).mkdir()
    link = tmp_path / "L"
    link.symlink_to("w1")
    (tmp_path / "above").symlink_to(tmp_path)
    captured = Captured(
        Plan(Command("make", cwd=str(tmp_path / "above" / "L")), cache=CachePolicy(60)), Stamps(), ENVIRON
    )
    first = captured.key()
    assert captured.key() is first
    link.unlink()
    link.symlink_to("w2")
    second = captured.key()
    assert second.full != first.full
    (tmp_path / "w2").rmdir()
    (tmp_path / "w3").mkdir()  # which may well have the number of the one that was removed
    link.unlink()
    link.symlink_to("w3")
    assert captured.key().full not in (first.full, second.full)
    link.unlink()
    assert captured.key().full not in (first.full, second.full)
    link.symlink_to("w1")
    assert captured.key().full == first.full
    plain = key(cwd=str(tmp_path / "w1"))
    assert (plain.place, first.place) == (None, (str(tmp_path / "above" / "L"), str(tmp_path / "w1")))


def test_scripts_that_are_no_utf_8_have_keys_of_their_own():
    assert key("echo \udcff").full != key("echo \udcfe").full


@given(VALUES, VALUES)
def test_no_two_values_share_an_encoding(one, two):
    same = repr(one) == repr(two)
    assert (encode(one) == encode(two)) == same


def test_the_same_digest_is_not_enough(monkeypatch):
    one, two = key("one"), key("two")
    assert one.digest != two.digest
    assert -(2**63) <= one.digest < 2**63, "it is the number of a row in SQLite as well"
    assert replace(two, digest=one.digest).full != one.full
