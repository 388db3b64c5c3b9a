"""`ResultCache`: results by the state that made them, in memory and on disk; answers in the caller's thread."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from xec_magic.command import encode_script
from xec_magic.engine.brieflock import BriefLock
from xec_magic.engine.cachekey import Captured, Key
from xec_magic.engine.cachelist import Shown, shown
from xec_magic.engine.cacherules import holds_secret
from xec_magic.engine.cachestats import CacheStats
from xec_magic.engine.clock import Clock
from xec_magic.engine.stamps import Stamps
from xec_magic.plan import Plan
from xec_magic.redact import Redactor
from xec_magic.result import Result

if TYPE_CHECKING:
    from xec_magic.engine.disk import DiskTier
    from xec_magic.engine.memory import Entry, MemoryTier
    from xec_magic.engine.secretsweep import SecretSweep

__all__ = ["Hit", "ResultCache"]

RETRY_S: Final = 1.0  # between two refreshes of one stale result, at least: what fails must not be asked all the time


class Hit(NamedTuple):
    """A kept result that may be used.

    Attributes:
        age_s: How old it is.
        refresh: The caller is the one to make a new one behind.
    """

    entry: Entry
    age_s: float
    refresh: bool


class ResultCache:
    """The results that one executor keeps. Any thread may use it.

    Args:
        redactor: Output in which it knows a secret is neither kept nor given.
        clock: Tells the age of entries.
        disk: Makes the persistent tier, on first use.
        memory: Makes the memory tier, on first use.
    """

    def __init__(
        self,
        redactor: Redactor,
        clock: Clock | None = None,
        disk: Callable[[], DiskTier] | None = None,
        memory: Callable[[], MemoryTier] | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.stamps = Stamps(self.clock.wall)
        self._redactor = redactor
        self._make_disk, self._make_memory = disk, memory
        self._memory: MemoryTier | None = None
        self._disk: DiskTier | None = None
        self._epoch = b""
        self._lock = BriefLock()
        self._stats = CacheStats()
        self._sweep: SecretSweep | None = None
        self._secrets = 0  # the redactor's generation of which the disk has heard

    # -- tiers, on first use: what they need is slow to import --------------------------------------

    @property
    def memory(self) -> MemoryTier:
        """The memory tier."""
        if self._memory is None:
            from xec_magic.engine.memory import MemoryTier

            with self._lock:
                self._memory = self._memory or (self._make_memory or (lambda: MemoryTier(self.clock.steady)))()
        return self._memory

    @property
    def disk(self) -> DiskTier:
        """The persistent tier."""
        if self._disk is None:
            from xec_magic.engine.disk import DiskTier

            with self._lock:
                self._disk = self._disk or (self._make_disk or DiskTier)()
        return self._disk

    # -- asking -------------------------------------------------------------------------------------

    def captured(self, plan: Plan) -> Captured:
        """What a plan's keys are made of.

        Raises:
            OptionError: the kernel's directory is gone.
        """
        return Captured(plan, self.stamps)

    def key(self, captured: Captured, plan: Plan) -> Key:
        """The key of a plan at this moment; see `Captured.key`."""
        assert plan.cache is not None
        return captured.key(self.disk if plan.cache.persist else None)

    def find(self, key: Key, plan: Plan) -> Hit | None:
        """A result that may be used for a plan; counted as a hit. A miss is counted when the command has to run."""
        policy = plan.cache
        assert policy is not None
        if policy.refresh:
            return None
        entry = None if self._memory is None else self._memory.get(key)
        if entry is not None and not (entry.on_disk and self._taken_back()):
            hit = self._usable(entry, plan)
            if hit is not None or entry.on_disk:
                return hit
        if not policy.persist:
            return None
        entry = self.disk.saving(key)
        if entry is not None:
            return self._usable(entry, plan)
        entry = self.disk.load(key, plan)
        hit = None if entry is None else self._usable(entry, plan)
        if hit is not None:
            self.memory.put(hit.entry)
        return hit

    def peek(self, key: Key, plan: Plan, asked_at: float) -> Hit | None:
        """The same from memory alone, for a run that begins: an equal one may have ended since it asked.

        Args:
            key: The run's.
            plan: The run's.
            asked_at: When it asked, by the steady clock; a refresh takes nothing that had begun before.
        """
        entry = self._memory.get(key) if self._memory is not None else None
        if entry is None or (plan.cache is not None and plan.cache.refresh and entry.begun < asked_at):
            return None
        return self._usable(entry, plan)

    def _usable(self, entry: Entry, plan: Plan) -> Hit | None:
        policy, result = plan.cache, entry.result
        assert policy is not None
        alike = plan is result.plan or plan.ok_codes == result.plan.ok_codes
        ok = result.ok if alike else result.exit_code in plan.ok_codes
        age = self.clock.age(entry.stored)
        fresh = entry.freshness(age, policy, ok)
        bound = plan.limits.max_output_bytes
        if not fresh or (bound is not None and result.log.size() > bound):
            return None
        if entry.secrets != self._redactor.generation and not self._may_show(entry):
            return None
        refresh = False
        with self._lock:
            entry.hits += 1
            self._stats.hits += 1
            self._stats.saved_s += result.duration_s
            if fresh == "stale":
                self._stats.stale += 1
                now = self.clock.steady()
                refresh = now >= entry.refresh_at
                if refresh:
                    entry.refresh_at = now + max(RETRY_S, min(policy.ttl_s, result.duration_s))
        if entry.on_disk:
            self.disk.used(entry.key.digest)
        elif policy.persist and not entry.saving:  # kept so far for this kernel only
            self.disk.save(entry)
        return Hit(entry, age, refresh)

    def _taken_back(self) -> bool:
        """Another kernel has forgotten or renewed something on disk since: what is in memory may be no more."""
        epoch = self.disk.epoch()
        if epoch != self._epoch:
            self.memory.drop([each for each in self.memory.entries() if each.on_disk])
            self._epoch = epoch
            return True
        return False

    def _may_show(self, entry: Entry) -> bool:
        """Neither its output nor its key holds a secret; looked at again when there are new secrets."""
        generation = self._redactor.generation
        if entry.secrets != generation:
            if holds_secret(entry.result, self._redactor) or self._redactor.finds(entry.key.full):
                self._forget([entry])
                return False
            entry.secrets = generation
        return True

    # -- keeping --------------------------------------------------------------------------------------

    @property
    def secrets(self) -> int:
        """Changes when there are new secrets."""
        return self._redactor.generation

    def new_secrets(self) -> None:
        """If there are any, remove what is on disk and holds one, behind. From memory nobody gets it, see `_may_show`."""
        if self._secrets == self._redactor.generation:
            return
        self._secrets = self._redactor.generation
        disk = self.disk
        if not (disk.directory or disk.exists()):
            return
        from xec_magic.engine.secretsweep import SecretSweep

        with self._lock:
            self._sweep = self._sweep or SecretSweep(self._redactor, disk)
        self._sweep.begin()

    def store(self, key: Key, result: Result, *, begun: float, secrets: int) -> None:
        """Keep a result against which there is no objection.

        Args:
            key: What it is the result of.
            result: With the policy by which it is kept.
            begun: It had not begun before this moment of the steady clock.
            secrets: `secrets` when it began: those were masked.
        """
        from xec_magic.engine.memory import ENTRY_BYTES, Entry

        policy = result.plan.cache
        assert policy is not None
        # Notes, earlier attempts and what was watched are of that run; who gets its result has had none of them.
        result = replace(result, notes=(), attempts=(), timeline=None)
        entry = Entry(
            key, result, self.clock.now(), policy.ttl_s if result.ok else policy.failures_s,
            policy.stale_s if result.ok else 0.0, secrets=secrets, begun=begun,
        )  # fmt: skip
        # Its output was masked, its key and its command were not; and something may have become a secret while it ran.
        named = encode_script(result.command)  # no part of a key that is a name of the user's
        if self._redactor.finds(key.full) or self._redactor.finds(named) or not self._may_show(entry):
            return
        newer = None if self._memory is None else self._memory.get(key)
        if newer is not None and newer.begun > begun:  # a refresh that was asked for meanwhile has been faster
            return
        if policy.persist:
            self.disk.save(entry)
        if result.log.size() <= ENTRY_BYTES and result.log.path is None:
            self.memory.put(entry)
        else:
            self.memory.drop_key(key)  # what is older is not to be found before it
        with self._lock:
            self._stats.stores += 1

    def count(self, *, misses: int = 0, refused: int = 0, shared: int = 0, saved_s: float = 0.0) -> None:
        """Note what has happened to runs with a cache."""
        with self._lock:
            self._stats.misses += misses
            self._stats.refused += refused
            self._stats.shared += shared
            self._stats.saved_s += saved_s

    # -- managing -------------------------------------------------------------------------------------

    @property
    def stats(self) -> CacheStats:
        """What has happened so far."""
        evictions = self._memory.evictions if self._memory is not None else 0
        evictions += self._disk.evictions if self._disk is not None else 0
        with self._lock:
            return replace(self._stats, evictions=evictions)

    def in_memory(self) -> tuple[int, int]:
        """Entries in memory, and their bytes."""
        return (0, 0) if self._memory is None else (len(self._memory), self._memory.size)

    def complaints(self) -> list[str]:
        """What is wrong with the disk, each thing once."""
        said = []
        while self._disk is not None and self._disk.complaints:
            said.append(self._disk.complaints.popleft())
        return said

    def entries(self) -> list[Shown]:
        """What is kept in memory and on disk and may still be used, oldest first."""
        if self._disk is not None:
            with contextlib.suppress(TimeoutError):  # a slow disk: the table is a little behind
                self._disk.flush(1.0)
            self._taken_back()
        in_memory = self._memory.entries() if self._memory is not None else []
        return shown(in_memory, self.disk.rows(), self.clock)

    def forget(self, matches: Callable[[Shown], bool]) -> int:
        """Forget entries, on disk for all kernels; how many there were.

        Raises:
            TimeoutError: the disk does not answer.
            OSError: it takes no change; what was in memory is forgotten, and what is on it stays.
        """
        wanted = [one for one in self.entries() if matches(one)]
        here = [one.entry for one in wanted if one.entry is not None]
        if self._memory is not None:
            self._memory.drop(here)
        # Of an equal command another kernel may have kept a result on disk, and this one its own in memory.
        on_disk = [one.digest for one in wanted if one.entry is None or "disk" in one.tier or one.entry.saving]
        removed = self.disk.forget(on_disk) if on_disk else set()
        return len(removed | {entry.key.digest for entry in here})

    def _forget(self, entries: list[Entry]) -> None:
        if self._memory is not None:
            self._memory.drop(entries)
        digests = [entry.key.digest for entry in entries if entry.on_disk or entry.saving]
        if digests:
            self.disk.forget_later(digests)

    def clear(self) -> int:
        """Forget everything, on disk for all kernels; how many entries there were.

        Raises:
            TimeoutError, OSError: as for `forget`.
        """
        here = set()
        if self._memory is not None:
            here = {entry.key.digest for entry in self._memory.entries()}
            self._memory.clear()
        return len(self.disk.clear() | here)

    def close(self) -> None:
        """Write down what waits for the disk, within a bound."""
        if self._disk is not None:
            self._disk.close()

    def __repr__(self) -> str:
        stats = self.stats
        return f"<ResultCache {stats.hits} hits, {stats.misses} misses, {stats.stores} stores>"
