from __future__ import annotations

import pytest
from contract import TransportContract

from xec_magic.command import Command
from xec_magic.errors import SpawnError
from xec_magic.transport.fake import Exit, FakeHost, Ignore, Refuse, Say, Wait, transport_of

pytestmark = pytest.mark.anyio


class TestFake(TransportContract):
    SAY_HELLO = "hello"
    EXIT_3 = "exit3"
    BOTH_STREAMS = "both"
    SLEEP = "sleep"
    IGNORE_SIGNALS = "deaf"
    LEAVE_CHILD = "daemon"
    UNSTARTABLE = Command("refused")

    @pytest.fixture
    async def transport(self):
        host = FakeHost("db1")
        host.on("hello", Say("hello\n"))
        host.on("exit3", Exit(3))
        host.on("both", Say("out\n"), Say("err\n", "stderr"), Exit(0))
        host.on("sleep", Wait(60))
        host.on("deaf", Ignore(), Say("ready\n"), Wait(60))
        host.on("daemon", Exit(0, left_behind="daemon"))
        host.on("refused", Refuse("no room"))
        return host

    def command(self, script):
        return Command(script)


def test_a_host_that_nobody_made_is_refused_with_the_way_to_make_it():
    with pytest.raises(SpawnError, match=r"FakeHost\('nobody'\)"):
        transport_of(FakeHost("x").target.__class__("fake", "nobody"))
