"""What commands on hosts have used in all."""

from __future__ import annotations

import os
import shutil

import pytest
from helpers.waiting import until

import xec_magic as xec
from xec_magic.events import Usage
from xec_magic.transport.ssh.weighing import Scale, read_usage

MIB = 2**20
BUSY = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass\nprint(time.process_time())"


@pytest.fixture(scope="module")
def ex():
    with xec.Executor() as made:
        yield made


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Where programs are, without perl."""
    directory = tmp_path_factory.mktemp("bare", numbered=False)
    for name in ("bash", "sh", "python3", "head", "cat", "sleep", "awk", "grep", "getconf", "printf"):
        (directory / name).symlink_to(shutil.which(name, path="/usr/bin:/bin"))
    for parent in (directory, *directory.parents):
        if parent.stat().st_mode & 0o5 != 0o5:
            parent.chmod(0o755)  # whoever logs in is to find them
    return {"PATH": str(directory)}


def test_processor_time_bytes_and_the_peak_of_a_watched_command_are_exact(ex, on, world):
    script = f"python3 -c '{BUSY.format(0.5)}'; head -c 50000000 {world.zeros} | cat > /dev/null"
    r = ex.run(script, on=on, monitor=True)
    truth = float(r.stdout)
    assert truth * 0.98 <= r.usage.cpu_s <= truth + 0.3  # the pipe's own work comes on top
    assert 100e6 <= r.usage.written_bytes <= 102e6
    assert 100e6 <= r.usage.read_bytes <= 102e6
    assert r.timeline.samples[-1].cpu_s >= r.usage.cpu_s
    assert "perl" not in {part.name for sample in r.timeline.samples for part in sample.parts}
    assert all(sample.processes for sample in r.timeline.samples if sample.rss_bytes is not None)
    r = ex.run("python3 -c 'x = bytearray(100 << 20)'", on=on, monitor=True)
    assert 100 * MIB <= r.usage.peak_rss_bytes <= 125 * MIB
    assert (
        ex.run("true", on=on, monitor=True).usage.peak_rss_bytes is None
    )  # smaller than what watches it: absent, not 0


def test_without_perl_sh_knows_the_time_and_the_bytes_and_no_peak(ex, on, bare, world):
    script = f"python3 -c '{BUSY.format(0.5)}'; head -c 50000000 {world.zeros} > /dev/null"
    r = ex.run(script, on=on, monitor=True, env=bare)
    assert float(r.stdout) - 0.04 <= r.usage.cpu_s <= float(r.stdout) + 0.3
    assert 50e6 <= r.usage.written_bytes <= 51e6
    assert r.usage.peak_rss_bytes is None
    r = ex.run("echo one; printf two >&2; exit 7", on=on, monitor=True, env=bare, check=False)
    assert (r.exit_code, r.stdout, r.stderr) == (7, "one\n", "two")
    killed = ex.run("kill -KILL $$", on=on, monitor=True, env=bare, check=False)
    assert (killed.exit_code, killed.stderr) == (137, "")


def test_what_a_watched_command_says_and_how_it_ends_is_as_ever(ex, on):
    r = ex.run("echo one; printf two >&2; exit 137", on=on, monitor=True, check=False)
    assert (r.exit_code, r.signal, r.stdout, r.stderr) == (137, None, "one\n", "two")
    r = ex.run("kill -TERM $$; sleep 9", on=on, monitor=True, check=False)
    assert (r.exit_code, r.signal) == (None, 15)
    r = ex.run("cat; echo $A; exec 2> /dev/null", on=on, monitor=True, stdin=b"in\n", env={"A": "it's"})
    assert r.stdout == "in\nit's\n"
    assert r.usage is not None
    r = ex.run("import os, sys; sys.exit(os.getpid() == os.getpgrp())", on=on, monitor=True, shell="python3")
    assert r.usage.read_bytes > 0
    r = ex.run("printf xec- >&2; kill -KILL 0", on=on, monitor=True, check=False)
    assert (r.signal, r.stderr, r.usage) == (9, "xec-", None)  # its parent was killed with it
    long = ex.run(f": {'x' * 200_000}; echo long", on=on, monitor=True)
    assert (long.stdout, long.usage is not None) == ("long\n", True)


def test_a_watched_command_that_is_stopped_leaves_nothing(ex, on):
    mark = f"88.{os.getpid()}25"  # other processes run the same test
    r = ex.run(f"sleep {mark} & sleep {mark}", on=on, monitor=True, timeout=0.3, check=False)
    assert r.outcome == "timed out"
    assert until(lambda: not any(mark.encode() in _line(entry) for entry in os.listdir("/proc") if entry.isdigit()))


def _line(entry):
    try:
        with open(f"/proc/{entry}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def test_who_does_not_ask_gets_no_process_more_and_no_figures(ex, on):
    r = ex.run("cat /proc/$PPID/comm", on=on)
    assert r.stdout.startswith("sshd")
    assert r.usage is None


def test_a_host_without_proc_runs_the_command_as_ever(ex, on, monkeypatch):
    monkeypatch.setattr("xec_magic.transport.ssh.weighing.PROC", "/nowhere")
    r = ex.run("cat /proc/$PPID/comm", on=on, monitor=True)
    assert r.stdout.startswith("sshd")
    assert r.usage is None


# -- the stream that has the figures -------------------------------------------------------------------


def test_the_figures_are_found_wherever_the_stream_is_cut():
    whole = b"before xec-xec-ab12= 1 0.5 4096 1 2 3 4\nlate"
    for cut in range(len(whole)):
        scale = Scale(b"xec-ab12")
        assert scale.feed(whole[:cut]) + scale.feed(whole[cut:]) + scale.rest() == b"before xec-late"
        assert scale.usage == Usage(1.0, 0.5, 4096, 1, 2, 3, 4)


def test_what_only_begins_like_the_mark_is_the_commands_own():
    scale = Scale(b"xec-ab12")
    assert scale.feed(b"see xec-a") == b"see "
    assert scale.feed(b"c") == b"xec-ac"
    assert scale.feed(b"xec-ab12") == b""
    assert scale.rest() == b"xec-ab12"
    assert scale.usage is None


def test_figures_that_nobody_understands_are_absent():
    assert read_usage(b" 1 2") is None
    assert read_usage(b" a b - - - - -") is None
    assert read_usage(b" 100t 50t - - - - -") == Usage(1.0, 0.5)
