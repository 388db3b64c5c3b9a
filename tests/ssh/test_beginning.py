"""From when a command on a host counts."""

from __future__ import annotations

import asyncio
import os
import subprocess
from dataclasses import replace

import pytest
from helpers.waiting import until
from test_shell_ahead import the_one

import xec_magic as xec
from xec_magic.command import Command
from xec_magic.transport.ssh import process as module
from xec_magic.transport.ssh.beginning import begun_at
from xec_magic.transport.ssh.process import SSHProcess
from xec_magic.transport.ssh.remote import launch, read_begin
from xec_magic.transport.ssh.waiting import WaitingShell
from xec_magic.transport.ssh.wire import round_trip_s


@pytest.mark.parametrize(
    ("told_at", "round_trip_s", "login_s", "at"),
    [
        (10.5, 0.0, 0.0, 10.0),
        (10.5, 0.25, 0.0, 10.25),
        (10.125, 0.25, 0.0, 10.125),
        (10.5, 0.0, 0.03, 10.0),
        (12.0, 0.25, 1.01, 11.25),
        (10.5, 0.25, 1.01, 10.25),
    ],
    ids=[
        "late", "late on a long way", "sooner than the way allows", "a quick login", "a slow login",
        "a login that has taken longer than there was",
    ],
)  # fmt: skip
def test_it_has_begun_when_the_word_of_it_could_have_been_here(told_at, round_trip_s, login_s, at):
    assert begun_at(10.0, told_at, round_trip_s, login_s) == pytest.approx(at)


def test_a_word_that_is_read_late_makes_no_command_shorter_than_it_was(server, monkeypatch):
    # The clock that counts here is the host's: less than it has slept it cannot have taken.
    receive = SSHProcess.data_received

    def late(self, data, datatype):
        asyncio.get_running_loop().call_later(0.3, receive, self, data, datatype)

    with xec.Executor() as ex:
        ex.run("true", on=server.spec)
        monkeypatch.setattr(SSHProcess, "data_received", late)
        assert ex.run("sleep 0.5", on=server.spec).duration_s >= 0.5


def test_a_host_tells_how_long_the_login_has_taken():
    started = launch(Command("true"), "none", has_bash=False)
    line = f"sleep 0.2; {os.fsdecode(started.line)}"
    told = subprocess.run(["/bin/sh", "-c", line], capture_output=True, check=True).stdout
    begun = read_begin(told.removeprefix(started.mark).removesuffix(b"\n"))
    assert begun.login_s >= 0.19  # in hundredths, the first of which may have been begun
    assert read_begin(b":12:sh::").login_s == 0.0


def test_the_age_of_a_shell_that_waited_is_no_login(world, monkeypatch):
    server, told = world.sshd(), []  # one of its own: the shells that wait there are counted

    def begun(*args):
        told.append(args[3])
        return begun_at(*args)

    monkeypatch.setattr(module, "begun_at", begun)
    monkeypatch.setattr(module, "read_begin", lambda line: replace(read_begin(line), login_s=9.0))
    with xec.Executor() as ex:
        for _ in range(2):
            ex.run("true", on=server.spec)
        the_one(server)
        ex.run("true", on=server.spec)
        assert (told[0], told[-1]) == (9.0, 0.0)
        give, given = WaitingShell.give, []
        monkeypatch.setattr(WaitingShell, "give", lambda *args: (given.append(args[1]), give(*args)))
        assert until(lambda: ex.run("true", on=server.spec, worker=True).ok and given)
        assert told[-1] == 0.0
    server.stop()


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="Linux tells it")
def test_the_shortest_way_to_a_host_and_back_is_known(server):
    with xec.Executor() as ex:
        ex.run("true", on=server.spec)
        (host,) = ex._engine.transports.ssh._hosts.values()
        (connection,) = host.links.connections.values()
        assert 0 < round_trip_s(connection.asyncssh) < connection.handshake_s
        ex.close()
        assert until(lambda: round_trip_s(connection.asyncssh) == 0.0)
