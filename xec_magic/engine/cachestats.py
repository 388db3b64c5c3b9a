"""`CacheStats`: what the cache of a kernel has done, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CacheStats"]


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
