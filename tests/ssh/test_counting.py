"""What commands of sessions on hosts have used, told by the session's shell itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from world import until

import xec_magic as xec
from xec_magic.transport.ssh.kept import counting
from xec_magic.transport.ssh.kept.counting import Counted, use_between

SPIN = "/usr/bin/python3 -c 'import time\nend = time.process_time() + 0.25\nwhile time.process_time() < end: pass'"
OWN_BYTES = 20_000  # the shell reads its orders and writes them down


@pytest.fixture(scope="module")
def spin(world):
    """A quarter of a second, and five million bytes written."""
    return f"{SPIN}; head -c 5000000 {world.zeros} > /dev/null"


@pytest.fixture(scope="module")
def ex():
    with xec.Executor(check=False) as made:
        yield made


@pytest.mark.parametrize("shell", ["bash", "dash", "zsh"])
def test_a_watched_command_of_a_session_there_has_its_own_totals(ex, server, spin, shell):
    s = ex.using(on=server.spec, session=f"counted-{shell}", shell=shell, monitor=True, rate=20)
    # Nothing that a command leaves behind in its shell may matter.
    s.run("set -eu; IFS=:; echo() { print no; }; " + spin)
    r = s.run(spin)
    assert (r.notes, r.stdout) == ((), "")
    assert 0.25 <= r.usage.cpu_s < 0.6
    assert 5_000_000 <= r.usage.written_bytes < 5_000_000 + OWN_BYTES
    assert r.usage.storage_read_bytes is not None
    assert r.usage.peak_rss_bytes is None
    # The curves begin with the command, and not with the first look at it.
    assert r.timeline.samples[-1].cpu_s == pytest.approx(r.usage.cpu_s)
    assert not {"__xec_o", "__xec_t", "__xec_c", "__xec_k", "__xec_v"} & {
        line.partition("=")[0] for line in s.run("set").lines()
    }


def test_a_command_that_fails_there_has_its_totals_and_one_that_a_copy_of_the_shell_goes_on_after_has_none(
    ex, server, spin
):
    in_bash = ex.run(f"{spin}; false", on=server.spec, session="failing", monitor=True)
    assert in_bash.exit_code == 1
    assert in_bash.usage.cpu_s >= 0.25
    in_sh = ex.run(f"{spin}; false", on=server.spec, session="failing-sh", shell="dash", monitor=True)
    assert (in_sh.exit_code, in_sh.usage) == (1, None)
    assert ex.run(spin, on=server.spec, session="failing-sh", shell="dash", monitor=True).usage.cpu_s >= 0.25


def test_curves_of_a_command_of_a_session_there_begin_with_it_and_not_with_the_first_look(ex, server, world):
    run = ex.using(on=server.spec, session="early", monitor=True, rate=20).start(
        f"head -c 5000000 {world.zeros} > /dev/null; until [ -e ~/seen ]; do sleep 0.05; done"
    )
    assert until(lambda: run.timeline and len(run.timeline) >= 3)
    ex.run("touch ~/seen", on=server.spec)
    run.result()
    assert run.timeline.samples[1].written_bytes >= 5_000_000


def test_what_a_copy_of_the_shell_has_used_says_nothing_of_the_command():
    before, after = (Counted(pid, ticks, 0, None, alone=True) for pid, ticks in ((7, 0), (8, 1)))
    assert use_between(before, after) is None
    assert use_between(before, replace(after, pid=7)).cpu_s == 0.01


def test_a_shell_that_does_not_say_what_was_used_does_not_hold_up_its_command(ex, server, monkeypatch):
    s = ex.using(on=server.spec, session="mute", monitor=True)
    with monkeypatch.context() as patch:
        patch.setattr(counting, "PROC", "/nowhere")
        assert (s.run("x=kept; echo on").stdout, s.run("echo on").usage) == ("on\n", None)
    monkeypatch.setattr(counting, "_TEXT", ":")
    r = s.run("echo $x", timeout=20)
    assert (r.stdout, r.usage, r.outcome, r.notes) == ("kept\n", None, "ok", ())
    ends = s.run("echo on; exit 3", timeout=20)
    assert (ends.stdout, ends.exit_code, ends.usage) == ("on\n", 3, None)


def test_runs_of_a_profile_in_a_session_there_have_their_columns(ex, server, spin):
    profile = xec.profile("spin", spin, on=server.spec, session="profiled", runs=2, warmup=0)
    assert profile.df()["user_s"].notna().all()
    assert (profile.df()["written_bytes"] >= 5_000_000).all()
