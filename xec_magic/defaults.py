"""Built-in defaults that an option and a policy both name; here, so that to declare the one does not take the other."""

from __future__ import annotations

from typing import Final

__all__ = ["FANOUT", "MAX_OUTPUT_BYTES"]

FANOUT: Final = 100  # connections that are made at once: more is hardly faster, and every one costs a descriptor
MAX_OUTPUT_BYTES: Final = 2**30  # 1 GiB: more than a person reads, less than a disk holds
