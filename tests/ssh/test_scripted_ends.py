"""Ends of commands that come in an order in which no real server tells them when it is asked to."""

from __future__ import annotations

import asyncio
import subprocess

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
