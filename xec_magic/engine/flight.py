"""`Flights`: equal runs that are alive at once share one execution; its result is kept when it lands."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from xec_magic.callables import refuse_awaitable
from xec_magic.engine import cacherules
from xec_magic.engine.cache import ResultCache
from xec_magic.engine.run import Run
from xec_magic.events import Cause, Event, Exited, Note
from xec_magic.result import Result

if TYPE_CHECKING:
    from xec_magic.cachepolicy import CachePolicy

__all__ = ["Flights"]

SHARED: Final = "got the result of an equal run that was alive"
_ITS_OWN: Final = (Cause.CANCEL, Cause.INTERRUPT)  # ends that somebody wished for this run and not for its followers

_Name: TypeAlias = tuple[object, ...]


class Surroundings(Protocol):
    """What flights need of their executor."""

    cache: ResultCache

    def aside(self, work: Callable[[], str]) -> asyncio.Future[str]:
        """Do something in a thread of its own."""

    def follow_on(self, run: Run) -> None:
        """Begin a run that had waited for another one."""

    def finished(self, run: Run) -> None:
        """A run is about to have its result."""


@dataclass(eq=False)
class _Flight:
    """One execution and those who wait for it.

    Attributes:
        leader: The run that executes.
        begun: Before this moment of the steady clock it has not begun.
        secrets: How many secrets there were then; these are masked in its output.
        followers: They get its result.
        later: They wait for its end and then execute anew: what it found may be older than their question.
    """

    leader: Run
    begun: float
    secrets: int
    followers: list[Run] = field(default_factory=list)
    later: list[Run] = field(default_factory=list)

    def relay(self, event: Event) -> None:
        """Show followers what the leader does, in its own log."""
        for run in self.followers:
            run.see(replace(event, run_id=run.run_id), self.leader.log)


class Flights:
    """The executions that others may join. All of it happens on the loop's thread.

    Args:
        executor: Begins runs, and has the cache.
    """

    def __init__(self, executor: Surroundings) -> None:
        self._executor = executor
        self._flights: dict[_Name, _Flight] = {}

    def board(self, run: Run) -> bool:
        """Whether a run that begins needs no process: it is answered, or follows an equal one. Else it leads from now on."""
        if run.stop_cause is not None or run.key is None:
            return False
        cache, name = self._executor.cache, _name(run)
        flight = self._flights.get(name)
        if flight is not None:
            if run.plan.cache is not None and run.plan.cache.refresh and flight.begun < run.asked_at:
                self._wait(run, flight)
            else:
                self._follow(run, flight)
            return True
        hit = cache.peek(run.key, run.plan, run.asked_at)
        if hit is not None:
            run.replay(hit.entry.result, hit.age_s)
            self._executor.finished(run)
            return True
        cache.count(misses=1)
        self._flights[name] = flight = _Flight(run, cache.clock.steady(), cache.secrets)
        run.subscribe(flight.relay)
        for complaint in cache.complaints():
            run.emit(Note(run.run_id, _now(), complaint))
        return False

    def _follow(self, run: Run, flight: _Flight) -> None:
        self._queue(run, flight, flight.followers)
        run.see(None, flight.leader.log)

    def _wait(self, run: Run, flight: _Flight) -> None:
        """Equal refreshes are not executed side by side: however many are asked for, each waits for one at most."""
        self._queue(run, flight, flight.later)

    def _queue(self, run: Run, flight: _Flight, queue: list[Run]) -> None:
        queue.append(run)
        flight.leader.has_followers()
        run.state = "waiting for an equal run"
        run.wake = lambda: self._leave(run, queue)

    def _leave(self, run: Run, queue: list[Run]) -> None:
        """One that waits is stopped: the execution goes on for the others."""
        if run in queue and run.stop_cause is not None:
            queue.remove(run)
            run.emit(Exited(run.run_id, _now(), None, None, run.stop_cause, run.stop_detail))
            self._executor.finished(run)
            run.finish()

    async def land(self, run: Run) -> None:
        """A run is over, and `Exited` is told: keep its result, give it to its followers, or let one of them lead."""
        if run.key is None:
            return
        name = _name(run)
        flight = self._flights.get(name)
        if flight is None or flight.leader is not run:
            return
        result = run.snapshot()
        if run.stop_cause not in _ITS_OWN:
            try:
                await self._keep(flight, result)
            except Exception:  # a fault of ours must not leave followers waiting
                logging.getLogger("xec_magic").exception("the result of run %s could not be kept", run.run_id)
            result = run.snapshot()
        del self._flights[name]
        followers, later = flight.followers.copy(), flight.later.copy()
        flight.followers.clear()
        flight.later.clear()
        for each in (*followers, *later):
            each.wake = lambda: None
        if run.stop_cause in _ITS_OWN and not result.ok:
            for follower in (*followers, *later):
                self._executor.follow_on(follower)
            return
        self._executor.cache.count(shared=len(followers), saved_s=len(followers) * result.duration_s)
        for follower in followers:
            follower.share(result, SHARED)
        for follower in followers:
            self._executor.finished(follower)
        for each in later:
            self._executor.follow_on(each)

    async def _keep(self, flight: _Flight, result: Result) -> None:
        run, cache = flight.leader, self._executor.cache
        policy = _policy_of(run, *flight.followers)
        assert run.key is not None
        result = replace(result, plan=replace(run.plan, cache=policy))
        objection = cacherules.objection(run.key, result, masked=run.masked)
        if not objection and (run.key.stamps or run.key.place or (policy.when is not None and result.ok)):
            objection = await self._asked_aside(run, result, policy)
        if not objection:
            policy = _policy_of(run, *flight.followers)  # others may have come meanwhile
            cache.store(
                run.key,
                replace(result, plan=replace(run.plan, cache=policy)),
                begun=flight.begun,
                secrets=flight.secrets,
            )
            return
        cache.count(refused=1)
        if result.ok and objection != _UNMET:  # that a failure is not kept goes without saying
            run.emit(Note(run.run_id, _now(), f"not cached: {objection}"))

    async def _asked_aside(self, run: Run, result: Result, policy: CachePolicy) -> str:
        """What files and the user's condition say. In a thread: both may take their time, or never come back."""
        key, cache = run.key, self._executor.cache
        assert key is not None

        def ask() -> str:
            objection = cacherules.changed(key, cache.stamps)
            if objection:
                return objection
            if policy.when is None or not result.ok:
                return ""
            try:
                met = policy.when(result)
                refuse_awaitable(met, "nobody awaits it; write it with def")
                return "" if met else _UNMET
            except BaseException as error:  # noqa: BLE001 - the user's own function, which may also want to leave
                return f"its condition raised {type(error).__name__}: {error}"

        changed = asyncio.Event()
        run.wake = changed.set
        answer = self._executor.aside(ask)
        answer.add_done_callback(lambda _: changed.set())
        while not answer.done():
            if run.stop_cause is not None:
                answer.cancel()  # whatever it says is not heard any more
                return "its condition had not answered when the run was stopped"
            await changed.wait()
            changed.clear()
        return answer.result()


def _policy_of(leader: Run, *followers: Run) -> CachePolicy:
    """As the leader wants its result kept, and where others want more of it, as they do: each asks for it with its own bounds."""
    policy = leader.plan.cache
    assert policy is not None
    others = [run.plan.cache for run in followers if run.plan.cache is not None and run.plan.cache != policy]
    if not others:
        return policy
    return policy.over(
        ttl=max(policy.ttl_s, *(each.ttl_s for each in others)),
        stale=max(policy.stale_s, *(each.stale_s for each in others)),
        failures=max(policy.failures_s, *(each.failures_s for each in others)),
        persist=policy.persist or any(each.persist for each in others),
    )


_UNMET: Final = "its condition is not met"


def _name(run: Run) -> _Name:
    """What equal runs have in common: the state that the command sees, and the policies by which it is ended."""
    plan = run.plan
    assert run.key is not None
    assert plan.cache is not None
    refresh = plan.cache.refresh
    return run.key.digest, run.key.full, refresh, plan.stop.timeout_s, plan.limits.max_output_bytes, plan.retry


def _now() -> float:
    return asyncio.get_running_loop().time()
