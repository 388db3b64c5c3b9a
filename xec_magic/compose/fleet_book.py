"""The book of a fleet: who may begin, when somebody is to be asked, when no more begin. It decides, and does no I/O.

Whoever keeps it tells it what has happened, then calls `step` and does what that returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from xec_magic.fleetpolicy import FleetPolicy

__all__ = ["Action", "Ask", "Begin", "Finish", "FleetBook", "cut_waves"]


@dataclass(frozen=True, slots=True)
class Begin:
    """Run the command on this target, and tell the book by `ended`."""

    number: int


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask whether this wave may begin, and tell the book by `allow` or `halt`."""

    wave: int


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing runs, and nothing more will."""


Action: TypeAlias = Begin | Ask | Finish


def cut_waves(count: int, policy: FleetPolicy) -> list[range]:
    """The waves in which so many targets are taken, by their numbers.

    Example:
        >>> from xec_magic.fleetpolicy import Share
        >>> cut_waves(10, FleetPolicy(canary=1, wave=Share(50, percent=True)))
        [range(0, 1), range(1, 6), range(6, 10)]
    """
    size = policy.wave.of(count, least=1) if policy.wave is not None else max(1, count)
    first = min(policy.canary, count)
    waves = [range(first)] if first else []
    return waves + [range(at, min(at + size, count)) for at in range(first, count, size)]


class FleetBook:
    """What has begun and ended, and what follows from it.

    Args:
        names: The targets, in order.
        policy: How to take them.

    Attributes:
        waves: The targets' numbers, wave by wave.
        running: Those that run.
        ok: So many ended well.
        failed: Those that did not, in the order of their ends.
        halted: Why no further one begins; empty while they do.
    """

    def __init__(self, names: Sequence[str], policy: FleetPolicy) -> None:
        self.names = names
        self.policy = policy
        self.waves = cut_waves(len(names), policy)
        self.running: set[int] = set()
        self.ok = 0
        self.failed: list[int] = []
        self.halted = ""
        self._wave = 0
        self._next = 0
        self._allowed = 0 if policy.confirm else len(self.waves)  # waves that may begin
        self._asked = False
        self._finished = False

    @property
    def wave(self) -> int:
        """The number of the wave that is on its way, from 0."""
        return self._wave

    def ended(self, number: int, *, ok: bool) -> None:
        """A target has ended."""
        self.running.discard(number)
        if ok:
            self.ok += 1
            return
        self.failed.append(number)
        bound = self.policy.max_fail
        if number < self.policy.canary:
            self.halt(f"the canary {self.names[number]} failed")
        elif bound is not None and len(self.failed) > bound.of(len(self.names)):
            self.halt(f"{len(self.failed):,} failed, and --max-fail is {bound}")

    def allow(self) -> None:
        """The wave that was asked for may begin."""
        self._allowed += 1
        self._asked = False

    def halt(self, why: str) -> None:
        """No further target begins; the first reason counts."""
        self.halted = self.halted or why

    def step(self) -> list[Action]:
        """What is to be done now."""
        actions: list[Action] = []
        while not self.halted and self._next < len(self.names) and len(self.running) < self.policy.fanout:
            if self._next >= self.waves[self._wave].stop:
                if self.running:
                    break
                self._wave += 1
            elif self._allowed <= self._wave:
                if not self._asked:
                    self._asked = True
                    actions.append(Ask(self._wave))
                break
            else:
                self.running.add(self._next)
                actions.append(Begin(self._next))
                self._next += 1
        if not self.running and not self._finished and (self.halted or self._next >= len(self.names)):
            self._finished = True
            actions.append(Finish())
        return actions
