from __future__ import annotations

import uuid

import pytest
from contract import ShellContract

from xec_magic.command import Command, Target
from xec_magic.transport.ssh import SSHTransport

pytestmark = pytest.mark.anyio

KERNEL_ID = uuid.uuid4().hex[:12]  # tests may run beside one another


def target_of(server, user="", **settings):
    return Target(
        "ssh", server.spec, server.address, user or server.world.user, server.port, tuple(sorted(settings.items()))
    )


class TestSSH(ShellContract):
    @pytest.fixture
    async def transport(self, server):
        self.target = target_of(server)
        self.UNSTARTABLE = Command("true", self.target, shell=("/no/such/shell",))
        made = SSHTransport(KERNEL_ID)
        yield made
        await made.close(within_s=4)

    def command(self, script):
        return Command(script, self.target, strict=False)
