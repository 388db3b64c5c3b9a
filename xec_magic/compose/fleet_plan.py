"""`FleetPlan`: one command on many targets, decided before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from xec_magic.command import Target
from xec_magic.errors import OptionError
from xec_magic.fleetpolicy import FleetPolicy
from xec_magic.options import RunOptions
from xec_magic.plan import Limits, Plan

__all__ = ["FleetPlan", "plan_fleet"]

MEMORY_BYTES: Final = 256 * 2**20  # of output that all targets together may keep in memory; the rest is in files
LEAST_MEMORY: Final = 64 * 2**10
MOST_WATCHED: Final = 64  # twelve hundred samples of one take some 2 MiB
FLEET_RATE_HZ: Final = 1.0  # of each of many


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """A command on many targets, fully decided; a plain value.

    Attributes:
        plans: One a target, in order.
        policy: How they are taken.
    """

    plans: tuple[Plan, ...]
    policy: FleetPolicy

    @property
    def names(self) -> list[str]:
        """The targets, in order; one that was asked for twice is there twice."""
        return [plan.command.target.name for plan in self.plans]

    @property
    def title(self) -> str:
        """What to call it in a line."""
        return self.plans[0].title


def plan_fleet(
    options: RunOptions, script: str | bytes, targets: Sequence[Target], namespace: Mapping[str, Any] | None = None
) -> FleetPlan:
    """The plan to run a script on all these targets. It runs nothing.

    Raises:
        OptionError: an option is wrong, or makes no sense for several targets.
    """
    if options.tee:
        raise OptionError(
            f"{options.who('tee')}: {len(targets)} targets would write into one file; keep the results, they have the outputs"
        )
    if options.monitor and len(targets) > MOST_WATCHED:
        raise OptionError(
            f"{options.who('monitor')}: at most {MOST_WATCHED} targets are watched at once, not {len(targets)}; leave it out"
        )
    one = options.for_each_target()
    memory = max(LEAST_MEMORY, min(Limits().memory_bytes, MEMORY_BYTES // len(targets)))
    planned: dict[str, Plan] = {}
    plans = []
    for target in targets:
        known = planned.get(target.kind)
        if known is None:  # of a plan nothing else depends on where it runs
            known = planned[target.kind] = _watched_less_often(options, one.plan(script, namespace, target))
        limits = replace(known.limits, memory_bytes=memory)
        plans.append(replace(known, command=replace(known.command, target=target), limits=limits))
    return FleetPlan(tuple(plans), options.fleet_policy())


def _watched_less_often(options: RunOptions, plan: Plan) -> Plan:
    """Of many targets a sample a second each is enough, unless the line or the call says otherwise."""
    if plan.monitor is None or options.asks("rate"):
        return plan
    return replace(plan, monitor=replace(plan.monitor, rate_hz=min(plan.monitor.rate_hz, FLEET_RATE_HZ)))
