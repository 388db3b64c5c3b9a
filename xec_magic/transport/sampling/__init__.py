"""What a process tree or this machine uses, read where it is cheapest: `/proc` on Linux, psutil elsewhere.

Readers are called from a thread, never on the loop: a read of another process's files can wait for that process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from xec_magic.events import Sample
from xec_magic.transport.spawn import proctree

__all__ = ["Reader", "tree_reader"]


class Reader(Protocol):
    """Reads one sample at a time; one thread at a time calls it."""

    def read(self, run_id: str) -> Sample | None:
        """What is used now; None when there is nothing left to read."""

    def close(self) -> None:
        """Let go of open files."""


def tree_reader(
    pid: int, marker: bytes = b"", *, alone: bool = False, mine: Callable[[int], bool] | None = None
) -> Reader:
    """A reader for a process and its descendants, wherever they have strayed.

    Args:
        pid: The process; for a command its shell, which leads a session.
        marker: `XEC_RUN_ID=…` with a NUL, by which strays are known; empty for none.
        alone: Read the process by itself, without descendants.
        mine: Whether a descendant counts, asked once of each; None for all.
    """
    if proctree.HAS_PROC:
        from xec_magic.transport.sampling.procfs import TreeReader

        return TreeReader(pid, marker, alone=alone, mine=mine)
    from xec_magic.transport.sampling.portable import PortableReader

    return PortableReader(pid, alone=alone, mine=mine)
