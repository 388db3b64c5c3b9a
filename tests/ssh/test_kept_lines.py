"""The programs that keep a session on a host end with all that they have started, whatever ends first. They are run here, by /bin/sh."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from helpers.waiting import until
from world import environ_has

from xec_magic.transport.ssh.kept.lines import keeper_line, streams_line


def begin(launch):
    program = subprocess.Popen(
        launch.line, shell=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    program.stdin.write(launch.head)
    program.stdin.flush()
    assert program.stdout.readline().startswith(launch.mark.strip())
    return program


def naming(directory):
    """The processes with this directory in their arguments."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(directory) in (entry / "cmdline").read_bytes():
                found.add(int(entry.name))
        except OSError:  # it has just ended
            pass
    return found


@pytest.fixture
def ended():
    """Programs that are ended with their groups, whatever the test has found."""
    programs = []
    yield programs
    for program in programs:
        try:
            os.killpg(program.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        program.stdin.close()
        program.stdout.close()
        program.wait()


@pytest.mark.parametrize("by", ["the end of the channel", "a signal and the end of the channel"])
def test_streams_end_with_their_relays_also_where_the_keeper_was_faster(by, ended, tmp_path):
    program = begin(streams_line(str(tmp_path), 1))
    ended.append(program)
    assert until(lambda: len(naming(tmp_path)) >= 3)  # itself, and a relay of each stream
    for file in ("out", "err"):
        (tmp_path / "1" / file).unlink()
    (tmp_path / "1").rmdir()
    if by != "the end of the channel":
        os.kill(program.pid, signal.SIGHUP)
        os.kill(program.pid, signal.SIGTERM)
    program.stdin.close()
    assert until(lambda: not naming(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE])
def test_a_keeper_that_gets_a_signal_lets_its_shell_end_and_leaves_no_directory(number, ended, tmp_path):
    place = tmp_path / "kept"
    mark = f"{tmp_path.name}.{os.getpid()}.s1"
    program = begin(keeper_line(str(place), mark, None, [b"sleep", b"60"], {}, {"rc": b"x=1"}))
    ended.append(program)
    assert until(lambda: environ_has(f"XEC_RUN_ID={mark}.0."))
    assert (place / "rc").read_bytes() == b"x=1"
    os.kill(program.pid, number)
    for pid in environ_has(f"XEC_RUN_ID={mark}.0."):
        os.kill(pid, signal.SIGKILL)
    program.stdin.close()
    assert until(lambda: not naming(place))
    assert not place.exists()
