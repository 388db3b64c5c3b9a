"""What has been used since a moment, of something that had used something before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from xec_magic.events import Sample
from xec_magic.transport.sampling import Reader

__all__ = ["SinceReader", "less"]

_COUNTED = ("cpu_s", "read_bytes", "written_bytes", "storage_read_bytes", "storage_written_bytes")


def less(sample: Sample, before: Sample) -> Sample:
    """A sample whose counters count from an earlier one on."""
    counts: dict[str, Any] = {}
    for name in _COUNTED:
        now, then = getattr(sample, name), getattr(before, name)
        counts[name] = None if now is None or then is None else now - then
    return replace(sample, **counts)


class SinceReader:
    """Reads what a reader reads, with its counters counted from now: a session's shell has run other commands before."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._before = reader.read("")

    def read(self, run_id: str) -> Sample | None:
        """What is used now, and has been used since the beginning."""
        sample = self._reader.read(run_id)
        if sample is None or self._before is None:
            return None
        return less(sample, self._before)

    def close(self) -> None:
        """Let go of open files."""
        self._reader.close()
