"""The memory tier of the result cache: entries by key, the least recently used go first, bounded in bytes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from cachetools import Cache, TLRUCache

from xec_magic.cachepolicy import CachePolicy
from xec_magic.engine.brieflock import BriefLock
from xec_magic.engine.cachekey import Key
from xec_magic.engine.clock import Moment
from xec_magic.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ENTRY_BYTES", "MEMORY_BYTES", "Entry", "MemoryTier"]

MEMORY_BYTES: Final = 64 * 2**20
ENTRY_BYTES: Final = 8 * 2**20  # an output that a log keeps in memory; larger ones are in files
OVERHEAD_BYTES: Final = 2048  # of a result, its plan, its log and its place here, beside texts and output


@dataclass(slots=True, eq=False)
class Entry:
    """A result that is kept.

    Attributes:
        key: What it is the result of.
        result: As it was when the command ended.
        stored: When that was.
        ttl_s: How long it may be used, as was said when it was stored.
        stale_s: How long thereafter it may be used once more while a new one is made.
        on_disk: It is in the persistent tier as well.
        saving: It is on its way there.
        hits: How often it was used in this kernel.
        refresh_at: No refresh behind it is started before this moment of the steady clock.
        begun: Before this moment of the steady clock its command had not begun; of one that was found on disk it is not known.
        secrets: The redactor's generation for which its output is known to be free of secrets.
        size: Bytes that it holds in memory, about.
    """

    key: Key
    result: Result
    stored: Moment
    ttl_s: float
    stale_s: float
    on_disk: bool = False
    saving: bool = False
    hits: int = 0
    refresh_at: float = 0.0
    begun: float = -math.inf
    secrets: int = 0
    size: int = 0

    def __post_init__(self) -> None:
        self.size = self.result.log.size() + len(self.key.full) + len(self.result.command) + OVERHEAD_BYTES

    def freshness(self, age_s: float, policy: CachePolicy, ok: bool) -> str:
        """`fresh`, `stale`, or empty when it may not be used."""
        ttl_s = min(self.ttl_s, policy.ttl_s if ok else policy.failures_s)
        if age_s < ttl_s:
            return "fresh"
        return "stale" if ok and age_s < ttl_s + min(self.stale_s, policy.stale_s) else ""


class _Counted(TLRUCache):  # type: ignore[type-arg]  # generic only for type checkers
    """Counts what has to go to make room."""

    evictions = 0

    def popitem(self) -> tuple[int, Entry]:
        """The entry that was used longest ago."""
        self.evictions += 1
        return super().popitem()


class MemoryTier:
    """Entries by the digests of their keys. Any thread may use it.

    Args:
        limit_bytes: All entries together.
        steady: Seconds of a clock that nobody sets.
    """

    def __init__(self, steady: Callable[[], float], limit_bytes: int = MEMORY_BYTES) -> None:
        self._lock = BriefLock()  # cachetools is not thread-safe
        self._steady = steady
        self._limit_bytes = limit_bytes
        self._evictions = 0
        self._entries = self._new()

    def _new(self) -> _Counted:
        return _Counted(
            self._limit_bytes,
            ttu=lambda _, entry, now: now + entry.ttl_s + entry.stale_s,
            timer=self._steady,
            getsizeof=attrgetter("size"),
        )

    def get(self, key: Key) -> Entry | None:
        """The entry of a key; its age is the caller's to judge. One whose file was written to is forgotten."""
        with self._lock:
            # Not by `get`, which costs twice as much; and what is not there at all raises two errors to say so.
            if not Cache.__contains__(self._entries, key.digest):
                return None
            try:
                entry: Entry = self._entries[key.digest]
            except KeyError:  # it has expired
                return None
        if entry.result.log.changed:
            self.drop((entry,))
            return None
        return entry if entry.key is key or entry.key.full == key.full else None

    def put(self, entry: Entry) -> bool:
        """Keep an entry; False when it is too large."""
        with self._lock:
            try:
                self._entries[entry.key.digest] = entry
            except ValueError:
                return False
            except (KeyError, IndexError):  # an interrupt in the middle of an earlier change has left it in disorder
                self._evictions += self._entries.evictions
                self._entries = self._new()
                self._entries[entry.key.digest] = entry
            return True

    def drop(self, entries: Iterable[Entry]) -> int:
        """Forget entries, if they are still there; how many were."""
        dropped = 0
        with self._lock:
            for entry in entries:
                if self._entries.get(entry.key.digest) is entry:
                    with contextlib.suppress(KeyError):  # it has expired just now; it is gone all the same
                        del self._entries[entry.key.digest]
                    dropped += 1
        return dropped

    def drop_key(self, key: Key) -> None:
        """Forget what is kept under a key."""
        with self._lock, contextlib.suppress(KeyError):
            del self._entries[key.digest]

    def entries(self) -> list[Entry]:
        """All entries, oldest first."""
        with self._lock:
            # Not by `values`: to look at an entry so is to use it, and none would be the least recently used.
            return [Cache.__getitem__(self._entries, digest) for digest in self._entries]

    def clear(self) -> int:
        """Forget everything; how many entries that was."""
        with self._lock:
            count = len(self._entries)
            self._entries.clear()
            return count

    @property
    def size(self) -> int:
        """Bytes of all entries."""
        with self._lock:
            return int(self._entries.currsize)

    @property
    def evictions(self) -> int:
        """Entries that had to go to make room."""
        with self._lock:
            return self._evictions + self._entries.evictions

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def __repr__(self) -> str:
        return f"<MemoryTier {len(self)} entries, {self.size} bytes>"
