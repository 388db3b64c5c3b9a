"""A command on several targets over real OpenSSH servers: some that answer, one that is killed on the way, one that is stopped."""

from __future__ import annotations

import contextlib
import signal
import threading
from pathlib import Path

import pytest
from helpers.waiting import until

import xec_magic as xec


@pytest.fixture(scope="module")
def servers(world):
    made = [world.sshd() for _ in range(3)]
    yield made
    for server in made:
        server.stop()


@pytest.fixture
def ex():
    with xec.Executor(check=False, grace="0.5s") as made:
        yield made


def sleeping(servers):
    """The `sleep`s that run below these servers."""
    found = []
    for server in servers:
        for pid in server.sessions():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep\0"):
                    found.append(pid)
    return found


def test_it_runs_on_all_and_a_host_that_is_listed_twice_runs_it_twice(ex, servers):
    on = [server.spec for server in servers]
    results = ex.map('echo "$0 here"; exit 0', [*on, on[0]])
    assert results
    assert [result.target for result in results] == [*on, on[0]]
    assert [len(group) for group in results.groups()] == [4]


def test_a_lost_connection_a_closed_port_and_an_unknown_key_do_not_touch_the_others(ex, world, servers):
    unknown = world.sshd(known=False, HostKey=world.dir / "host_ed25519")
    doomed = world.sshd()
    closed = f"{world.user}@127.0.0.1:9"
    on = [servers[0].spec, doomed.spec, unknown.spec, closed, servers[1].spec]

    def kill():
        until(lambda: sleeping([doomed]))
        doomed.stop()

    killer = threading.Thread(target=kill)
    killer.start()
    results = ex.map(f'case "$SSH_CONNECTION" in *" {doomed.port}") sleep 60 ;; esac; echo fine', on)
    killer.join()
    unknown.stop()
    assert results.ok.targets == [servers[0].spec, servers[1].spec]
    assert results.failed.targets == [doomed.spec, unknown.spec, closed]
    said = [result.verdict() for result in results]
    assert "lost" in said[1]
    assert "is unknown" in said[2]
    assert "connection refused" in said[3]
    assert ex.map("echo again", [servers[0].spec, servers[1].spec])


def test_an_interrupt_ends_the_processes_on_all_hosts(ex, servers):
    on = [server.spec for server in servers]
    tell = threading.Thread(
        target=lambda: (
            until(lambda: len(sleeping(servers)) == 6),
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT),
        )
    )
    tell.start()
    with pytest.raises(xec.RunInterrupted, match="3 of 3 had not finished"):
        ex.map("sleep 77 & sleep 77", on)
    tell.join()
    assert until(lambda: not sleeping(servers)) is True
