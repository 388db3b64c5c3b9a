"""The line that has a host watched, and what is read of its answers: each one a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from xec_magic.events import ProcessSample, Sample
from xec_magic.transport.ssh.remote import Begun, Launch, fresh_mark
from xec_magic.transport.ssh.watchloop import MACHINE, PROGRAM, TREE

__all__ = ["Answer", "Units", "machine_line", "read_answer_line", "read_head", "tree_line"]

PROC: Final = "/proc"
PARTS: Final = 6  # processes of a sample that are sent one by one: a sample is to stay below 600 bytes
SCAN_S: Final = 10  # between two looks for processes that no parent leads to: one reads a file of each process there
SECTOR_BYTES: Final = 512  # of `diskstats`, whatever the device has
_MISSING: Final = {
    "proc": "{} has no /proc to read it from",
    "awk": "{} has no awk to read it with",
}


@dataclass(frozen=True, slots=True)
class Units:
    """In what a host counts."""

    ticks_a_s: float
    page_bytes: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A line of the loop.

    Attributes:
        sample: What is used; its `at` is in seconds since the host's start.
        cost_s: CPU seconds that the loop has taken on the host until now.
        cores: How many the host has; None where nothing was said of the machine.
        memory_bytes: How much it has, likewise.
    """

    sample: Sample
    cost_s: float
    cores: int | None = None
    memory_bytes: int | None = None


def tree_line(begun: Begun, run_mark: str, proc: str = "", *, weighed: bool = False) -> Launch:
    """The line that watches a command's processes.

    Args:
        begun: The command's shell.
        run_mark: Value of its `XEC_RUN_ID`.
        proc: Where the host's processes can be read, if not in the usual place.
        weighed: The shell's number is that of a parent that waits for the command, and does not count.
    """
    return _line(TREE, proc, str(begun.pid), begun.born, run_mark, weighed=weighed)


def machine_line(proc: str = "") -> Launch:
    """The line that watches the whole host."""
    return _line(MACHINE, proc)


def _line(
    program: str, proc: str, root: str = "", born: str = "", run_mark: str = "", *, weighed: bool = False
) -> Launch:
    mark = fresh_mark()
    arguments = (
        mark,
        proc or PROC,
        _shorter(program),
        root,
        born,
        run_mark,
        str(PARTS),
        str(SCAN_S),
        "1" if weighed else "",
    )
    return Launch(PROGRAM, [each.encode() for each in arguments], mark.encode())


def _shorter(program: str) -> str:
    """Without indentation and remarks."""
    lines = (line.strip() for line in program.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("#"))


def read_head(text: str, host: str) -> Units | str:
    """What stands behind the mark: in what the host counts, or why nothing can be read there."""
    words = text.split()
    if words[:1] == ["ok"] and len(words) == 3:
        return Units(float(words[1]), int(words[2]))
    return _MISSING.get(text, "{} cannot be watched: " + text[:100]).format(host)


def read_answer_line(line: str, units: Units, run_id: str) -> Answer | None:
    """One line of the loop; None when nothing is left to be read.

    Raises:
        ValueError: it is no such line.
    """
    head, *parts = line.split("\t")
    kind, *words = head.split()
    if kind == "E":
        return None
    if kind == "S" and len(words) == 10:
        at, cost, cpu, pages, *counts = words
        read, written, storage_read, storage_written, processes, threads = map(_count, counts)
        sample = Sample(
            run_id, float(at), float(cpu) / units.ticks_a_s, _times(_count(pages), units.page_bytes), read, written,
            storage_read, storage_written, processes, threads, parts=tuple(_part(part, units) for part in parts),
        )  # fmt: skip
        return Answer(sample, float(cost) / units.ticks_a_s)
    if kind == "M" and len(words) == 11:
        at, cost, busy, used, *counts, load, cores, total = words
        read, written, received, sent = map(_count, counts)
        sample = Sample(
            run_id, float(at), None if busy == "-" else float(busy) / units.ticks_a_s, _times(_count(used), 1024),
            _times(read, SECTOR_BYTES), _times(written, SECTOR_BYTES), received_bytes=received, sent_bytes=sent,
            load=None if load == "-" else float(load),
        )  # fmt: skip
        return Answer(sample, float(cost) / units.ticks_a_s, _count(cores) or None, _times(_count(total), 1024))
    raise ValueError(f"unexpected line {line[:80]!r}")


def _part(text: str, units: Units) -> ProcessSample:
    pid, parent, cpu, pages, read, written, threads, name = text.split(" ", 7)
    return ProcessSample(
        int(pid), int(parent), name, float(cpu) / units.ticks_a_s, int(pages) * units.page_bytes, _count(read),
        _count(written), int(threads),
    )  # fmt: skip


def _count(word: str) -> int | None:
    return None if word == "-" else int(word)


def _times(value: int | None, factor: int) -> int | None:
    return None if value is None else value * factor
