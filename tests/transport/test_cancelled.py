"""Waits that are cancelled in the very moment in which what they wait for comes: they are cancelled."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from xec_magic.command import Target
from xec_magic.engine.buffer import Channel
from xec_magic.output import Piece
from xec_magic.transport.ssh import SSHTransport
from xec_magic.transport.ssh.remote import Launch
from xec_magic.transport.ssh.sampler import HostSampler
from xec_magic.transport.terminate import stop


async def cancelled_with(waiting, happens):
    """Cancel a task in the turn of the loop in which `happens` ends its wait."""
    task = asyncio.ensure_future(waiting)
    for _ in range(3):
        await asyncio.sleep(0)
    happens()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_reader_is_cancelled_together_with_output():
    async def go():
        channel = Channel(lambda: None, lambda: None)
        waiting, loop = channel.take_async(), asyncio.get_running_loop()
        task = asyncio.ensure_future(waiting)
        await asyncio.sleep(0)
        channel.put(Piece("stdout", b"x"))  # its word is the next turn's, and so is the cancellation
        loop.call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await channel.take_async() == [("stdout", b"x")]

    asyncio.run(go())


def test_a_stop_is_cancelled_together_with_hurry():
    async def go():
        process = SimpleNamespace(send_signal=lambda number: None, alive=lambda: ["one"], exit=None)
        hurry = asyncio.Event()
        await cancelled_with(stop(process, 60, hurry, lambda name: None), hurry.set)

    asyncio.run(go())


def test_a_look_at_a_host_is_cancelled_together_with_its_answer():
    async def go():
        sampler = HostSampler(SimpleNamespace(target="web1"), Launch("", [], b"mark"), "r1", 0.0)
        answer = asyncio.get_running_loop().create_future()
        await cancelled_with(sampler._within(answer), lambda: answer.set_result("line"))

    asyncio.run(go())


def test_who_waits_for_a_channel_is_cancelled_together_with_it_and_it_is_given_back(monkeypatch):
    async def go():
        host = SSHTransport("0123456789cf").host(Target("ssh", "web1"))
        back, unused, future = [], [], asyncio.get_running_loop().create_future()
        lease = SimpleNamespace(unused=lambda: unused.append(1))
        monkeypatch.setattr(host, "give_back", back.append)
        future.add_done_callback(lambda _: asyncio.get_running_loop().call_soon(later))

        def later():
            asyncio.get_running_loop().call_soon(task.cancel)

        task = asyncio.ensure_future(host._granted(1, future, 60))
        for _ in range(3):
            await asyncio.sleep(0)
        future.set_result(lease)
        try:
            got = await task
        except asyncio.CancelledError:
            got = None
        # Either it has got it, or it has been given back: never both.
        assert (got is None) == (back == [lease]) == (unused == [1])

    asyncio.run(go())
