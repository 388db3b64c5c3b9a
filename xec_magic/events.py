"""What happens to a run, in order. A result, a live view and a stored record are all folds over these."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple, TypeAlias

__all__ = [
    "Cached", "Cause", "Event", "Exited", "LeftBehind", "Mark", "Note", "Output", "PartCut", "PartExited", "PartStarted",
    "ProcessInfo",
    "ProcessSample", "Queued", "Retrying", "Sample", "Started", "Stopping", "Stream", "Usage",
]  # fmt: skip

Stream: TypeAlias = Literal["stdout", "stderr"]


class Cause(StrEnum):
    """Why a run ended, when it did not end by itself. The first cause counts; later ones do not replace it."""

    TIMEOUT = "timeout"
    CANCEL = "cancel"
    INTERRUPT = "interrupt"
    OUTPUT_LIMIT = "output limit"
    SPAWN = "could not start"
    LOST = "lost"
    SKIPPED = "skipped"


class Usage(NamedTuple):
    """What a command used, over its shell and all the children that the shell waited for.

    A value that could not be measured is None, never 0.

    Attributes:
        user_s: CPU seconds in user mode.
        system_s: CPU seconds in the kernel.
        peak_rss_bytes: Resident memory of the largest single process at its peak. None below the size of
            the small helper that starts the commands (about 10 MiB), where the two cannot be told apart.
        read_blocks: Blocks of 512 bytes read from storage.
        written_blocks: Blocks of 512 bytes written to storage.
        read_bytes: Bytes that came through calls such as read(2): files, also from the page cache, pipes, sockets.
        written_bytes: Bytes that went through calls such as write(2), to files, pipes, sockets.
        tree_peak_bytes: The most memory that all its processes held at once, daemons among them, with the part of the page
            cache that they filled, and without what others had brought into memory. Of monitored commands, where a control group can be made.

    Source: wait4(2), getrusage(2); for calls proc_pid_io(5), fields `rchar` and `wchar`.
    """

    user_s: float
    system_s: float
    peak_rss_bytes: int | None = None
    read_blocks: int | None = None
    written_blocks: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    tree_peak_bytes: int | None = None

    @property
    def cpu_s(self) -> float:
        """CPU seconds in all."""
        return self.user_s + self.system_s

    @property
    def storage_read_bytes(self) -> int | None:
        """Bytes read from storage; what the page cache answered is not among them."""
        return None if self.read_blocks is None else self.read_blocks * 512

    @property
    def storage_written_bytes(self) -> int | None:
        """Bytes that became due to be written to storage."""
        return None if self.written_blocks is None else self.written_blocks * 512


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """A process that still lived when its run had ended."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


@dataclass(frozen=True, slots=True)
class Queued:
    """The run waits for a free place.

    Attributes:
        at: Seconds of the monotonic clock, here and in all other events.
    """

    run_id: str
    at: float


@dataclass(frozen=True, slots=True)
class Started:
    """The process lives.

    Attributes:
        wall_time: Seconds since the epoch.
        attempt: 1 for the first start, more for retries.
    """

    run_id: str
    at: float
    wall_time: float
    pid: int | None
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Output:
    """Bytes that arrived on one stream; cut anywhere, also inside a character.

    Attributes:
        part: In a batch, the number of the command to which they belong, from 1; None before the first.
    """

    run_id: str
    at: float
    stream: Stream
    data: bytes
    part: int | None = None


@dataclass(frozen=True, slots=True)
class PartStarted:
    """A command of a batch begins; `part` is its number, from 1."""

    run_id: str
    at: float
    part: int


@dataclass(frozen=True, slots=True)
class PartExited:
    """A command of a batch has ended by itself, and its shell goes on.

    Attributes:
        duration_s: By the shell's clock where it has one, else between the arrivals of its begin and its end.
    """

    run_id: str
    at: float
    part: int
    exit_code: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class PartCut:
    """Of a command of a batch not all output was taken: the bound on that of the whole had been reached."""

    run_id: str
    at: float
    part: int


@dataclass(frozen=True, slots=True)
class Note:
    """Something the reader should know about the run itself, for example that its log's disk is full."""

    run_id: str
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A line of output, or a moment, that the chart of a monitored run is to show."""

    run_id: str
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Stopping:
    """The stop ladder has reached a rung; `signal` is its name: INT, TERM, KILL."""

    run_id: str
    at: float
    cause: Cause
    signal: str


@dataclass(frozen=True, slots=True)
class Retrying:
    """An attempt failed and another one follows after `delay_s`."""

    run_id: str
    at: float
    attempt: int
    reason: str
    delay_s: float


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """Processes of the run that outlive its shell and hold its streams."""

    run_id: str
    at: float
    processes: tuple[ProcessInfo, ...]


class ProcessSample(NamedTuple):
    """One living process in a sample; None for what could not be read.

    Attributes:
        cpu_s: CPU seconds since its start, with those of the children that it has waited for.
        rss_bytes: Resident memory.
        read_bytes: Through calls, with its waited-for children.
        written_bytes: The same, written.
    """

    pid: int
    parent: int
    name: str
    cpu_s: float
    rss_bytes: int
    read_bytes: int | None
    written_bytes: int | None
    threads: int


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process tree uses at one moment, summed; or a whole machine. None for what could not be read, never 0.

    Attributes:
        cpu_s: CPU seconds used until now, ended children included.
        rss_bytes: Resident memory now; of a tree the sum, in which a shared page counts for each process. Of a
            machine what is in use.
        read_bytes: Read until now through calls (`rchar`); of a machine, from storage.
        written_bytes: Written until now, likewise.
        storage_read_bytes: Read until now from storage.
        storage_written_bytes: Written until now to storage.
        processes: Living processes.
        threads: Their threads.
        gpu_bytes: Memory that they hold on graphics processors.
        received_bytes: Received over the network until now; machines only.
        sent_bytes: Sent over the network until now; machines only.
        load: Load average of a minute; machines only.
        parts: The processes one by one; of many the ones that use most.
    """

    run_id: str
    at: float
    cpu_s: float | None = None
    rss_bytes: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    storage_read_bytes: int | None = None
    storage_written_bytes: int | None = None
    processes: int | None = None
    threads: int | None = None
    gpu_bytes: int | None = None
    received_bytes: int | None = None
    sent_bytes: int | None = None
    load: float | None = None
    parts: tuple[ProcessSample, ...] = ()


@dataclass(frozen=True, slots=True)
class Cached:
    """Nothing was run: what follows is the replay of an earlier run.

    Attributes:
        age_s: How long ago that run ended.
    """

    run_id: str
    at: float
    age_s: float


@dataclass(frozen=True, slots=True)
class Exited:
    """The run is over.

    Attributes:
        exit_code: 0–255, or None when a signal ended it or it never started.
        signal: Number of the signal that ended it, or None.
        cause: Why we ended it, or None when it ended by itself.
        detail: Words to the cause, for example why it could not start.
        truncated: Output was dropped: a bound was reached, or its disk was full.
        kind: Name of the error that kept it from starting, as `AuthError`; empty for a general one.
    """

    run_id: str
    at: float
    exit_code: int | None
    signal: int | None
    cause: Cause | None = None
    detail: str = ""
    usage: Usage | None = None
    truncated: bool = False
    kind: str = ""


Event: TypeAlias = (
    Queued
    | Started
    | Output
    | PartStarted
    | PartCut
    | PartExited
    | Note
    | Mark
    | Sample
    | Stopping
    | Retrying
    | LeftBehind
    | Cached
    | Exited
)
