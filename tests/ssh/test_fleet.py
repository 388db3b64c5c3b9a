"""A command on several targets over real OpenSSH servers: some that answer, one that is killed on the way, one that is stopped."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from pathlib import Path

import pytest
from helpers.ports import free_port
from helpers.waiting import until
from world import environ_has, public_key

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


@pytest.fixture
def sixty(world):
    """Sixty addresses: on 48 of them answers one of three servers, six refuse, six accept and never say a word."""
    port = free_port()
    addresses = [f"127.77.0.{number}" for number in range(1, 61)]
    dead, silent = addresses[2::10], addresses[6::10]
    good = [address for address in addresses if address not in dead + silent]
    made = [
        world.sshd(known=False, ListenAddress=good[first], also=good[first + 1 : first + 16], Port=port)
        for first in (0, 16, 32)
    ]
    listeners = [socket.create_server((address, port)) for address in silent]
    before = world.known_hosts.read_text()
    world.known_hosts.write_text(f"[127.77.0.*]:{port} {public_key(world.host_key)}\n")
    world.config.write_text(f"Host {' '.join(silent)}\n ConnectTimeout 1\n")

    def names(of):
        return [f"{world.user}@{address}:{port}" for address in of]

    yield names(addresses), names(good), names(dead), names(silent), made
    world.known_hosts.write_text(before)
    world.config.write_text("")
    for listener in listeners:
        listener.close()
    for server in made:
        server.stop()


def test_of_sixty_hosts_some_dead_some_silent_and_one_stuck_each_bad_one_is_named_and_every_other_is_fine(ex, sixty):
    on, good, dead, silent, servers = sixty
    results = ex.map("echo fine; exit 0", on)
    assert results.ok.targets == good
    assert {str(result) for result in results.ok} == {"fine"}
    said = {result.target: result.verdict() for result in results.failed}
    place = {name: name.partition("@")[2] for name in on}
    assert said == {name: f"{name}: cannot reach {place[name]}: connection refused" for name in dead} | {
        name: f"{name}: no answer from {place[name]} within 1 s (ConnectTimeout)" for name in silent
    }

    stuck = good[4]
    script = f'case "$SSH_CONNECTION" in *" {place[stuck].partition(":")[0]} "*) sleep 77 & sleep 77 ;; esac; echo fine'
    results = ex.map(script, on, timeout="3s")
    assert results.ok.targets == [name for name in good if name != stuck]
    (late,) = [result for result in results.failed if result.target == stuck]
    assert late.verdict() == "stopped at its time limit of 3 s"
    assert set(results.failed.targets) == {*dead, *silent, stuck}
    with pytest.raises(xec.SomeFailed, match="13 of 60 failed: ") as caught:
        results.check()
    assert len(str(caught.value).splitlines()) == 1

    assert until(lambda: not sleeping(servers)) is True
    assert until(lambda: not environ_has(f"XEC_RUN_ID={ex._engine.kernel_id}.")) is True
    rows = ex._engine.ssh_rows()
    assert sorted(row.host for row in rows) == sorted(good)
    assert {(row.state, row.busy) for row in rows} == {("open", 0)}
    assert ex.map("echo again", good)
    assert sum(row.reused for row in ex._engine.ssh_rows()) >= 2 * len(good)
