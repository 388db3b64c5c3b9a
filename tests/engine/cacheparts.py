"""What the tests of the cache share."""

from xec_magic.cachepolicy import CachePolicy
from xec_magic.command import Command
from xec_magic.engine.clock import Clock
from xec_magic.plan import Plan


class Hands(Clock):
    """A clock whose hands the test moves."""

    def __init__(self):
        super().__init__()
        self.offset = self.wall_offset = 0.0

    def wall(self):
        return super().wall() + self.offset + self.wall_offset

    def steady(self):
        return super().steady() + self.offset

    def tick(self, seconds):
        self.offset += seconds


def plan(script, ttl=60, *, target=None, stdin=None, cwd=None, env=(), secret_env=(), more=None, **policy):
    """A plan with a cache."""
    command = Command(script, stdin=stdin, cwd=cwd, env=env, secret_env=secret_env)
    if target is not None:
        command = Command(script, target=target, stdin=stdin, env=env)
    return Plan(command, cache=CachePolicy(ttl, **policy), **(more or {}))
