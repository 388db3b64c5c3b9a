"""What is made of the answers of a host's loop, without a host."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from xec_magic.timeline import Timeline
from xec_magic.transport.ssh.remote import Launch
from xec_magic.transport.ssh.sampler import HostSampler


class Host:
    """Answers with these times and ticks of its own."""

    def __init__(self, *answers):
        self.target = SimpleNamespace(name="web1")
        self.lingering = set()
        self.answers = iter(answers)

    async def run(self, make, launch):
        lines = make()
        lines.channel = self
        self.lines = lines
        lines.data_received(launch.mark + b":ok 100 4096\n", None)
        return lines, object()

    def give_back(self, lease, *, ran):
        assert ran

    def is_closing(self):
        return False

    def write(self, data):
        time_s, ticks = next(self.answers)
        self.lines.data_received(b"S %.2f 0 %d 10 0 0 0 0 1 1\n" % (time_s, ticks), None)

    def abort(self):
        pass


def samples(host, count):
    async def take():
        sampler = HostSampler(host, Launch("", [], b"mark"), "r1", asyncio.get_running_loop().time())
        found = [await sampler.sample() for _ in range(count)]
        sampler.close()
        return found

    return asyncio.run(take())


def test_two_answers_within_one_moment_of_the_hosts_clock_make_no_rate():
    host = Host((10.0, 0), (10.05, 1), (10.05, 2), (10.09, 4))
    first, second = samples(host, 2)
    assert (first.cpu_s, second.cpu_s) == (0.01, 0.04)
    timeline = Timeline(first.at)
    timeline.add(first)
    timeline.add(second)
    assert timeline.curves().cpu_cores[-1] < 3
