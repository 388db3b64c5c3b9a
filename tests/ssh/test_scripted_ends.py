"""Ends of commands that come in an order in which no real server tells them when it is asked to."""

from __future__ import annotations

import asyncio
import subprocess

import asyncssh
import pytest
from asyncssh.packet import UInt32
from helpers.waiting import until
from scripted import serving

import xec_magic as xec


async def cut_short(process):
    """Run the line; where that is asked for, say its exit code and cut the connection before the streams have ended."""
    line = await asyncio.create_subprocess_exec(
        "sh", "-c", process.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await line.communicate()
    process.stdout.write(out)
    process.stderr.write(err)
    if "CUT" not in process.command:
        process.exit(line.returncode)
        return
    process.channel._send_request(b"exit-status", UInt32(line.returncode))
    await asyncio.sleep(0.1)  # until it has been sent
    process.channel.get_connection().abort()


def test_a_connection_that_dies_between_the_exit_code_and_the_end_of_the_streams_is_lost(world):
    with serving(world, process_factory=cut_short, encoding=None) as host, xec.Executor(grace=0.2) as ex:
        with pytest.raises(
            xec.ConnectionLost, match="exit code 3 had been reported, its output may be incomplete"
        ) as lost:
            ex.run("echo CUT; exit 3", on=host)
        assert lost.value.result.stdout == "CUT\n"
        assert str(ex.run("echo again", on=host)) == "again"
        assert until(lambda: all(row.busy == 0 for row in ex._engine.ssh_rows()))


# -- words of a server -----------------------------------------------------------------------------------

RUDE = "one line\r\nand \x1b[31mmore\x1b]0;title\x07 " + "x" * 3000


class RudeAtLogin(asyncssh.SSHServer):
    """Ends each connection when the login begins."""

    def connection_made(self, conn):
        self.connection = conn

    def begin_auth(self, _):
        self.connection.disconnect(asyncssh.DISC_PROTOCOL_ERROR, RUDE)
        return True


class RudeToTunnels(asyncssh.SSHServer):
    """Opens no channel to anywhere else."""

    def connection_requested(self, *_):
        raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, RUDE)


async def rude(process):
    """Print what the line prints, and end the connection."""
    line = await asyncio.create_subprocess_shell(process.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = await line.communicate()
    process.stdout.write(out)
    process.stderr.write(err)
    await asyncio.sleep(0.1)
    process.channel.get_connection()._send_disconnect(asyncssh.DISC_PROTOCOL_ERROR, RUDE, "")


def rude_login(process):
    """Print something and end, as a login that runs nothing."""
    process.stdout.write(RUDE.encode())
    process.exit(1)


@pytest.mark.parametrize(
    ("options", "script", "says"),
    [
        ({"server_factory": RudeAtLogin}, "true", "cannot agree: one line and "),
        ({"process_factory": rude, "encoding": None}, "true", "was lost: one line and "),
        ({"process_factory": rude_login, "encoding": None}, "true", "it said: and "),
        ({"process_factory": rude_login, "encoding": None}, "session", "it said: one line"),
        ({"server_factory": RudeToTunnels}, "through", "cannot reach .*: one line and "),
    ],
    ids=["login", "command", "login shell", "session", "jump host"],
)
def test_what_a_server_says_is_one_line_of_an_error_and_does_nothing_there(world, config, options, script, says):
    with serving(world, **options) as host, xec.Executor(grace=0.2) as ex:
        config(f"Host behind\n HostName 127.0.0.1\n Port 9\n ProxyJump {host}\n")
        on = "behind" if script == "through" else host
        with pytest.raises(xec.TransportError, match=says) as caught:
            ex.run(script, on=on, timeout=20, **({"session": "s"} if script == "session" else {}))
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 1000
