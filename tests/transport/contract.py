"""What every transport promises, as tests. A transport's own test class inherits them."""

from __future__ import annotations

import asyncio
import signal

import pytest

from xec_magic.command import Command
from xec_magic.errors import SpawnError
from xec_magic.transport.base import Process, StartRequest
from xec_magic.transport.terminate import living, stop


class Started:
    """A process of the transport under test, and what it has printed."""

    def __init__(self) -> None:
        self.output: list[tuple[str, bytes]] = []
        self.changed = asyncio.Event()
        self.process: Process

    def of(self, stream: str) -> bytes:
        return b"".join(data for name, data in self.output if name == stream)

    async def until(self, condition, within_s: float = 10.0) -> None:
        async with asyncio.timeout(within_s):
            while not condition():
                self.changed.clear()
                try:
                    await asyncio.wait_for(self.changed.wait(), 0.05)
                except TimeoutError:
                    pass

    async def ended(self) -> None:
        await self.until(lambda: self.process.exit is not None and not self.process.streams_open)


class TransportContract:
    """Subclasses give `transport()` and the commands of their world."""

    SAY_HELLO: str
    EXIT_3: str
    BOTH_STREAMS: str  # "out" on stdout, "err" on stderr
    SLEEP: str  # for a minute
    IGNORE_SIGNALS: str  # says "ready", then sleeps for a minute, deaf to INT and TERM
    LEAVE_CHILD: str  # exits 0 at once; a child holds the streams for a minute
    UNSTARTABLE: Command

    async def start(self, transport, script: str | Command) -> Started:
        started = Started()
        command = script if isinstance(script, Command) else self.command(script)
        request = StartRequest(
            command, "1", lambda stream, data: started.output.append((stream, data)), started.changed.set
        )
        started.process = await transport.start(request)
        return started

    def command(self, script: str) -> Command:
        return Command(script, strict=False)

    async def test_output_and_exit_code_arrive(self, transport):
        started = await self.start(transport, self.SAY_HELLO)
        await started.ended()
        assert started.of("stdout") == b"hello\n"
        assert (started.process.exit.exit_code, started.process.exit.signal) == (0, None)

    async def test_an_exit_code_is_reported_as_it_is(self, transport):
        started = await self.start(transport, self.EXIT_3)
        await started.ended()
        assert started.process.exit.exit_code == 3

    async def test_the_streams_are_told_apart(self, transport):
        started = await self.start(transport, self.BOTH_STREAMS)
        await started.ended()
        assert (started.of("stdout"), started.of("stderr")) == (b"out\n", b"err\n")

    async def test_a_signal_ends_it_and_is_named(self, transport):
        started = await self.start(transport, self.SLEEP)
        started.process.send_signal(signal.SIGTERM)
        await started.until(lambda: started.process.exit is not None)
        assert started.process.exit.signal == signal.SIGTERM

    async def test_what_ignores_int_and_term_is_killed_and_nothing_is_left(self, transport):
        started = await self.start(transport, self.IGNORE_SIGNALS)
        await started.until(lambda: started.of("stdout") == b"ready\n")
        rungs: list[str] = []
        left = await stop(started.process, 0.1, asyncio.Event(), rungs.append)
        assert rungs == ["INT", "TERM", "KILL"]
        assert left == []
        assert await living(started.process) == []
        assert started.process.exit.signal == signal.SIGKILL
        started.process.close()

    async def test_hurry_goes_to_kill_at_once(self, transport):
        started = await self.start(transport, self.IGNORE_SIGNALS)
        await started.until(lambda: started.of("stdout") == b"ready\n")
        hurry = asyncio.Event()
        rungs: list[str] = []

        def rung(name: str) -> None:
            rungs.append(name)
            hurry.set()

        await stop(started.process, 60, hurry, rung)
        assert rungs == ["INT", "KILL"]
        started.process.close()

    async def test_a_child_that_holds_the_streams_is_seen_and_can_be_ended(self, transport):
        started = await self.start(transport, self.LEAVE_CHILD)
        await started.until(lambda: started.process.exit is not None)
        assert started.process.exit.exit_code == 0
        assert started.process.streams_open
        assert len(await living(started.process)) == 1
        assert await stop(started.process, 0.2, asyncio.Event(), lambda _: None) == []
        started.process.close()
        assert not started.process.streams_open

    async def test_what_cannot_start_says_why(self, transport):
        with pytest.raises(SpawnError, match=r"\w+"):
            await self.start(transport, self.UNSTARTABLE)

    async def test_its_repr_shows_state_in_one_line(self, transport):
        assert "\n" not in repr(transport)


class ShellContract(TransportContract):
    """The same of a transport that runs shell scripts."""

    SAY_HELLO = "echo hello"
    EXIT_3 = "exit 3"
    BOTH_STREAMS = "echo out; echo err >&2"
    SLEEP = "exec sleep 60"
    IGNORE_SIGNALS = "trap '' INT TERM; echo ready; while :; do sleep 0.1; done"
    LEAVE_CHILD = "sleep 60 & exit 0"
