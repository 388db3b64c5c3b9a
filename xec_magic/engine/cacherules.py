"""What speaks against keeping a result, and against giving one."""

from __future__ import annotations

import os

from xec_magic.engine.cachekey import Key
from xec_magic.engine.stamps import Stamps
from xec_magic.outcome import Outcome
from xec_magic.output import STREAMS
from xec_magic.redact import Redactor
from xec_magic.result import Result
from xec_magic.units import format_size

__all__ = ["changed", "holds_secret", "objection"]


def objection(key: Key, result: Result, *, masked: bool) -> str:
    """Why a result is not to be kept, empty when nothing speaks against it; the policy's condition is not asked.

    Args:
        key: What it would be the result of.
        result: With the policy by which it would be kept.
        masked: A secret was found in its output.
    """
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
    if any(os.environ.get(name) != value for name, value in key.variables):  # it may have begun with the new ones
        return "a variable that it depends on has changed since it was asked for"
    size = result.log.size()
    from xec_magic.engine.memory import ENTRY_BYTES

    limit = ENTRY_BYTES
    if policy.persist:
        from xec_magic.engine.disk import DISK_ENTRY_BYTES

        limit = DISK_ENTRY_BYTES
    if size > limit:
        return f"{format_size(size)} of output are more than the cache takes for one command ({format_size(limit)})"
    return ""


def changed(key: Key, stamps: Stamps) -> str:
    """What is not as it was when a key was made; empty when all is. Looks at the disk."""
    if key.place is not None and os.path.realpath(key.place[0]) != key.place[1]:
        return "its directory has become another one while it ran"
    same = all(stamps.same(path, stamp) for path, stamp in key.stamps)
    return "" if same else "a file that it depends on has changed while it ran"


def holds_secret(result: Result, redactor: Redactor) -> bool:
    """The redactor knows a secret that stands in its output."""
    return any(redactor.finds_in(result.chunks(stream)) for stream in STREAMS)
