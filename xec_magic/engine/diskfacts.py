"""A kept result as the row of a database: all that is neither text nor output in one short record, and its proof."""

from __future__ import annotations

import hashlib
import math
import struct
from datetime import UTC, datetime
from typing import Final, NamedTuple

from xec_magic.engine.cachekey import Key
from xec_magic.engine.clock import Moment
from xec_magic.engine.memory import Entry
from xec_magic.events import Usage
from xec_magic.outcome import Outcome
from xec_magic.output import OutputLog
from xec_magic.plan import Plan
from xec_magic.result import Result

__all__ = ["Facts", "is_newer", "pack", "proof", "restored", "unpack"]

# A record and not JSON: it is read at each hit, in a tenth of the time. What is absent is NaN, or -1.
_RECORD: Final = struct.Struct("<4d 2h 4d 7q 16s 40s")


class Facts(NamedTuple):
    """What a record says.

    Attributes:
        size: Bytes of output.
        file_digest: Of the output, where that is a file.
    """

    wall: float
    steady: float
    ttl_s: float
    stale_s: float
    exit_code: int
    signal: int
    started: float
    duration_s: float
    user_s: float
    system_s: float
    rss: int
    read_blocks: int
    written_blocks: int
    read_bytes: int
    written_bytes: int
    tree_peak: int
    size: int
    file_digest: bytes
    boot: bytes

    @property
    def stored(self) -> Moment:
        """When it was kept."""
        return Moment(self.wall, self.steady, _text_of(self.boot))


def pack(entry: Entry, file_digest: bytes) -> bytes:
    """The record of an entry."""
    result = entry.result
    user_s, system_s, *counts = result.usage or Usage(math.nan, math.nan)
    return _RECORD.pack(
        entry.stored.wall, entry.stored.steady, entry.ttl_s, entry.stale_s,
        _or_minus(result.exit_code), _or_minus(result.signal),
        result.started_at.timestamp() if result.started_at else math.nan, result.duration_s,
        user_s, system_s, *map(_or_minus, counts), result.log.size(), file_digest, entry.stored.boot.encode(),
    )  # fmt: skip


def unpack(record: bytes) -> Facts:
    """What a record says.

    Raises:
        struct.error: it is none.
    """
    return Facts._make(_RECORD.unpack(record))


def is_newer(record: bytes, entry: Entry) -> bool:
    """The result of a record was kept later than that of an entry, as far as a clock tells that nobody sets."""
    try:
        stored = unpack(record).stored
    except (struct.error, ValueError, TypeError):  # damaged, so there is nothing to lose
        return False
    return stored.boot == entry.stored.boot and stored.steady > entry.stored.steady


def restored(record: bytes, key: Key, plan: Plan, log: OutputLog) -> Entry:
    """The entry that a record and its output make, its result for a plan.

    Raises:
        struct.error: it is none.
    """
    # Into names, and not by way of `Facts`: it is done at each hit.
    (
        wall, steady, ttl_s, stale_s, exit_code, signal, started, duration_s, user_s, system_s,
        rss, read_blocks, written_blocks, read, written, tree_peak, _, _, boot,
    ) = _RECORD.unpack(record)  # fmt: skip
    usage = None
    if not math.isnan(user_s):
        usage = Usage(
            user_s, system_s, None if rss < 0 else rss,
            None if read_blocks < 0 else read_blocks, None if written_blocks < 0 else written_blocks,
            None if read < 0 else read, None if written < 0 else written, None if tree_peak < 0 else tree_peak,
        )  # fmt: skip
    outcome = Outcome.OK if exit_code in plan.ok_codes else Outcome.FAILED
    result = Result.restore(
        run_id="", plan=plan, outcome=outcome if signal < 0 else Outcome.SIGNALLED,
        exit_code=None if exit_code < 0 else exit_code, signal=None if signal < 0 else signal,
        started_at=None if math.isnan(started) else datetime.fromtimestamp(started, UTC), duration_s=duration_s, usage=usage,
        truncated=False, left_behind=(), attempts=(), notes=(), log=log, detail="", cached=None,
    )  # fmt: skip
    return Entry(key, result, Moment(wall, steady, _text_of(boot)), ttl_s, stale_s, on_disk=True)


def proof(record: bytes, index: bytes, full: bytes, output: bytes | None) -> bytes:
    """What tells that a row is as it was written. The lengths of its parts are in the record, in `index` and in the database."""
    return hashlib.blake2b(b"".join((record, index, full, output or b"")), digest_size=16).digest()


def _or_minus(value: int | None) -> int:
    return -1 if value is None else value


def _text_of(boot: bytes) -> str:
    return boot.rstrip(b"\0").decode()
