"""`ResultCache`: results by the state that made them, in memory and on disk; answers in the caller's thread."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from xec_magic.engine.cachekey import Captured, Key
from xec_magic.engine.clock import Clock
from xec_magic.engine.stamps import Stamps
from xec_magic.outcome import Outcome
from xec_magic.plan import Plan
from xec_magic.redact import Redactor
from xec_magic.result import Result
from xec_magic.units import format_size

if TYPE_CHECKING:
    from xec_magic.engine.disk import DiskTier
    from xec_magic.engine.memory import Entry, MemoryTier
    from xec_magic.engine.secretsweep import SecretSweep

__all__ = ["CacheStats", "Hit", "ResultCache", "Shown", "matcher"]

RETRY_S: Final = 1.0  # between two refreshes of one stale result, at least: what fails must not be asked all the time


@dataclass(slots=True)
class CacheStats:
    """What the cache of this kernel has done so far.

    Attributes:
        hits: Runs that were answered with a kept result, `stale` ones included.
        shared: Runs that got the result of an equal one that was alive.
        misses: Runs with a cache that had to run their command.
        stores: Results that were kept.
        refused: Results that were not kept, because they were not complete, failed, or did not meet their condition.
        stale: Hits with a result beyond its time, while a new one was made behind.
        evictions: Results that had to go to make room.
        saved_s: Seconds that the commands behind hits and shared runs took when they ran.
    """

    hits: int = 0
    shared: int = 0
    misses: int = 0
    stores: int = 0
    refused: int = 0
    stale: int = 0
    evictions: int = 0
    saved_s: float = 0.0


class Hit(NamedTuple):
    """A kept result that may be used.

    Attributes:
        age_s: How old it is.
        refresh: The caller is the one to make a new one behind.
    """

    entry: Entry
    age_s: float
    refresh: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """An entry, as tables of entries show it; `size` is that of its output, `tier` is memory, disk, or both."""

    digest: int
    command: str
    target: str
    age_s: float
    left_s: float
    size: int
    hits: int
    tier: str
    entry: Entry | None = None


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
        self._lock = threading.Lock()
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
        entry = self._memory.get(key) if self._memory is not None else None
        if entry is not None and entry.on_disk and self._taken_back():
            entry = None
        if entry is None and policy.persist:
            entry = self.disk.load(key, plan)
            hit = self._usable(entry, plan) if entry is not None else None
            if hit is not None:
                self.memory.put(hit.entry)
            return hit
        return self._usable(entry, plan) if entry is not None else None

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
        ok = result.ok if plan.ok_codes == result.plan.ok_codes else result.exit_code in plan.ok_codes
        age = self.clock.age(entry.stored)
        fresh = entry.freshness(age, policy, ok)
        bound = plan.limits.max_output_bytes
        if not fresh or (bound is not None and result.log.size() > bound) or not self._may_show(entry):
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
        """Its output holds no secret; looked at again when there are new secrets."""
        generation = self._redactor.generation
        if entry.secrets != generation:
            if any(self._redactor.finds(chunk) for chunk in _overlapping(entry.result)):
                self._forget([entry])
                return False
            entry.secrets = generation
        return True

    # -- keeping --------------------------------------------------------------------------------------

    def objection(self, result: Result, *, masked: bool) -> str:
        """Why a result is not to be kept, empty when nothing speaks against it; the policy's condition is not asked."""
        policy = result.plan.cache
        assert policy is not None
        if result.outcome not in (Outcome.OK, Outcome.FAILED, Outcome.SIGNALLED):
            return result.outcome.value
        if masked:
            return "a secret was masked in its output"
        if result.truncated:
            return "its output is incomplete"
        if result.left_behind:
            return "it left processes behind that may still print"
        if not result.ok and not policy.failures_s:
            return "it failed"
        size = result.log.size()
        from xec_magic.engine.memory import ENTRY_BYTES

        limit = ENTRY_BYTES
        if policy.persist:
            from xec_magic.engine.disk import DISK_ENTRY_BYTES

            limit = DISK_ENTRY_BYTES
        if size > limit:
            return f"{format_size(size)} of output are more than the cache takes for one command ({format_size(limit)})"
        return ""

    def changed(self, key: Key) -> str:
        """What is not as it was when the key was made; empty when all is. Looks at the disk."""
        if key.place is not None and os.path.realpath(key.place[0]) != key.place[1]:
            return "its directory has become another one while it ran"
        same = all(self.stamps.same(path, stamp) for path, stamp in key.stamps)
        return "" if same else "a file that it depends on has changed while it ran"

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
        if not self._may_show(entry):  # something has become a secret while it ran
            return
        if policy.persist:
            self.disk.save(entry)
        if result.log.size() <= ENTRY_BYTES and result.log.path is None:
            self.memory.put(entry)
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
        found: dict[int, Shown] = {}
        for entry in self._memory.entries() if self._memory is not None else []:
            age = self.clock.age(entry.stored)
            found[entry.key.digest] = Shown(
                entry.key.digest, entry.result.command, entry.result.target, age, entry.ttl_s - age,
                entry.result.log.size(), entry.hits, "memory", entry,
            )  # fmt: skip
        for row in self.disk.rows():
            age = self.clock.age(row.stored)
            both = found.get(row.digest)
            if both is not None:
                found[row.digest] = replace(both, tier="memory, disk", hits=max(both.hits, row.hits))
            elif age < row.ttl_s + row.stale_s:
                found[row.digest] = Shown(
                    row.digest, row.script, row.target, age, row.ttl_s - age, row.size, row.hits, "disk"
                )
        return sorted(found.values(), key=lambda shown: -shown.age_s)

    def forget(self, matches: Callable[[Shown], bool]) -> int:
        """Forget entries, on disk for all kernels; how many there were.

        Raises:
            TimeoutError: the disk does not answer.
        """
        wanted = [shown for shown in self.entries() if matches(shown)]
        here = [shown.entry for shown in wanted if shown.entry is not None]
        if self._memory is not None:
            self._memory.drop(here)
        elsewhere = [shown.digest for shown in wanted if shown.entry is None]
        on_disk = elsewhere + [entry.key.digest for entry in here if entry.on_disk or entry.saving]
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
            TimeoutError: the disk does not answer.
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


def matcher(pattern: str) -> Callable[[Shown], bool]:
    """Whether a glob matches the text of an entry's command, as a whole, or its first line."""
    match = re.compile(fnmatch.translate(pattern)).match
    return lambda shown: bool(match(shown.command.strip()) or match(shown.command.strip().partition("\n")[0]))


def _overlapping(result: Result) -> Iterator[bytes]:
    """The output in chunks that a secret cannot hide between."""
    for stream in ("stdout", "stderr"):
        tail = b""
        for chunk in result.chunks(stream):
            yield tail + chunk
            tail = chunk[-4096:]
