"""The lines that login shells are given."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from xec_magic.command import Command, Target
from xec_magic.transport.ssh.living import read_living
from xec_magic.transport.ssh.remote import Begun, Refused, launch, quote, read_begin

HOST = Target("ssh", "web1", "web1")
SHELLS = [["bash", "-c"], ["dash", "-c"], ["zsh", "-c"], ["fish", "-c"], ["busybox", "sh", "-c"]]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize(
    "text",
    ["it's", "back\\slash", "\\'", "'\\''", '$HOME `id` $(id) "" ; & | * ? ~ {a,b} # !x', "two\nlines", "é\udcff", ""],
)
def test_a_word_is_read_alike_by_every_login_shell(shell, text):
    assert shutil.which(shell[0]), "make test installs it"
    raw = text.encode("utf-8", "surrogateescape")
    done = subprocess.run([*shell, b"/usr/bin/printf %s " + quote(raw)], capture_output=True, check=True)
    assert done.stdout == raw


@pytest.mark.parametrize("has_bash", [None, True, False])
def test_a_secret_is_in_no_line_only_in_the_input(has_bash):
    made = launch(Command("echo", HOST, secret_env=(("TOKEN", "s3cr3t\nvalue"),)), "k.1.ssh", has_bash)
    assert b"s3cr3t" not in made.line
    assert made.head == b"xec\ns3cr3t\\0012value\n"


def test_no_mark_is_like_another_and_what_stands_behind_it_is_read():
    one, other = (launch(Command("true", HOST), "k.1.ssh", True) for _ in range(2))
    assert one.mark != other.mark
    assert read_begin(b":12:bash: S 1 12 12 " + b" ".join(b"%d" % n for n in range(7, 23))) == Begun(12, "22", True)
    assert read_begin(b":12:sh:") == Begun(12, "", False)
    assert read_begin(b"-cwd") == Refused("cwd")


def test_an_answer_that_is_not_whole_is_none():
    assert read_living(b"m 12 sleep\n", b"m") is None
    assert [(p.pid, p.name) for p in read_living(b"chatter\nm 12 a b\nm:end\n", b"m") or ()] == [(12, "a b")]
