"""`Plan`: a command and every policy that governs its run; complete, so that no later code looks up a default."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from xec_magic.cachepolicy import CachePolicy
from xec_magic.command import Command, encode_script
from xec_magic.defaults import MAX_OUTPUT_BYTES
from xec_magic.errors import OptionError
from xec_magic.units import format_count

__all__ = ["Batch", "Limits", "MonitorPolicy", "Plan", "RetryPolicy", "StopPolicy"]


@dataclass(frozen=True, slots=True)
class StopPolicy:
    """When and how a run is ended.

    Attributes:
        timeout_s: End it after this many seconds; None for no limit.
        grace_s: Seconds between two rungs of the stop ladder INT, TERM, KILL.
        wait: Wait for children that outlive the shell and hold its streams.
    """

    timeout_s: float | None = None
    grace_s: float = 3.0
    wait: bool = False

    def __post_init__(self) -> None:
        if self.timeout_s is not None and not 0 < self.timeout_s < math.inf:
            raise OptionError(f"timeout must be more than 0 seconds, not {self.timeout_s:g}; leave it out for no limit")
        if not 0 <= self.grace_s <= 3600:
            raise OptionError(f"grace must lie between 0 and 3600 seconds, not {self.grace_s:g}")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Whether a failed run is tried again.

    Retrying a command that changes things can do them twice, so `retries` needs a reason: the command only
    reads, or the exit codes after which a further try is safe are named.

    Attributes:
        retries: Further attempts after the first.
        codes: Exit codes that are retried; empty for every failure (with `read_only`).
        backoff_s: Wait before the first retry; doubled for each further one, with jitter.
        read_only: The command changes nothing.
    """

    retries: int = 0
    codes: frozenset[int] = frozenset()
    backoff_s: float = 1.0
    read_only: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.retries <= 1000:
            raise OptionError(f"retries must lie between 0 and 1000, not {self.retries}")
        if not 0 <= self.backoff_s <= 3600:
            raise OptionError(f"backoff must lie between 0 and 3600 seconds, not {self.backoff_s:g}")
        _check_codes("retry-codes", self.codes)
        if self.retries and not (self.read_only or self.codes):
            raise OptionError(
                "retries needs --read-only (the command changes nothing) or --retry-codes (the exit codes after "
                "which a further try is safe): a command that changes things could do them twice"
            )


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may leave in the kernel.

    Attributes:
        max_output_bytes: The command is stopped when it has printed more; None for no limit.
        memory_bytes: Output kept in memory; the rest goes to a spool file.
        keep: Keep the output for the result. Without it only consumers see it, and nothing is counted.
    """

    max_output_bytes: int | None = MAX_OUTPUT_BYTES
    memory_bytes: int = 8 * 2**20
    keep: bool = True

    def __post_init__(self) -> None:
        if self.max_output_bytes is not None and self.max_output_bytes < 1:
            raise OptionError(
                f"max-output must be at least 1 byte, not {self.max_output_bytes}; write none for no limit"
            )


@dataclass(frozen=True, slots=True)
class MonitorPolicy:
    """How a run is watched.

    Attributes:
        rate_hz: Samples a second.
        marks: Regular expressions; a line of output in which one matches is marked in the chart.
    """

    rate_hz: float = 4.0
    marks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0.2 <= self.rate_hz <= 20:
            raise OptionError(
                f"rate must lie between 0.2 and 20 samples a second, not {self.rate_hz:g}; for a slow watch of hours "
                "0.2 is one in five seconds"
            )
        for mark in self.marks:
            try:
                re.compile(mark)
            except re.error as error:
                raise OptionError(f"mark: {mark!r} is no regular expression: {error}") from None


@dataclass(frozen=True, slots=True)
class Batch:
    """Several commands that are one run, each with a result of its own.

    Attributes:
        commands: Their scripts, in order.
        labels: What to call each; empty for their first lines.
        keep_going: Go on after one that failed.
        isolated: Fork the shell for each, so that nothing of one reaches the next.
        prelude: Shell text that is read before the first of them and belongs to no result.
    """

    commands: tuple[str, ...]
    labels: tuple[str, ...] = ()
    keep_going: bool = False
    isolated: bool = False
    prelude: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run, fully decided.

    Attributes:
        command: What runs where.
        stop: When and how it is ended.
        retry: Whether a failure is tried again.
        limits: What it may leave in the kernel.
        ok_codes: Exit codes that count as success.
        tee: File that gets every byte of output as well; None for none.
        label: What the user calls this run; empty for the script's first line.
        monitor: How it is watched; None for not at all.
        batch: The commands, where the run is several of them; `command.script` then holds their texts for readers.
        cache: How its result is kept, so that an equal command need not run; None to run it always.
    """

    command: Command
    stop: StopPolicy = field(default_factory=StopPolicy)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    limits: Limits = field(default_factory=Limits)
    ok_codes: frozenset[int] = frozenset({0})
    tee: str | None = None
    label: str = ""
    monitor: MonitorPolicy | None = None
    batch: Batch | None = None
    cache: CachePolicy | None = None

    def __post_init__(self) -> None:
        if not self.ok_codes:
            raise OptionError("ok-codes must name at least one exit code, for example 0,1")
        _check_codes("ok-codes", self.ok_codes)
        if self.cache is not None:
            self._check_cacheable()
        try:
            encode_script(self.command.script)
        except UnicodeEncodeError as error:
            raise OptionError(
                f"the script holds a lone surrogate at character {error.start}, which is no text; remove it"
            ) from None
        if "\0" in self.command.script:
            line = self.command.script[: self.command.script.index("\0")].count("\n") + 1
            raise OptionError(f"line {line} of the script holds a NUL character, which no shell can read; remove it")

    def _check_cacheable(self) -> None:
        if self.command.secret_env:
            raise OptionError("cache: what a command makes of a secret is never kept; leave out --cache or --secret")
        if not self.limits.keep:
            raise OptionError("cache: without its output there is nothing to keep; leave out cache or keep=False")
        if self.batch is not None:
            raise OptionError("cache: a batch is not kept; leave out --cache, or run its commands one by one")
        if self.cache and self.cache.depends and self.command.target.kind != "local":
            raise OptionError(
                f"depends: files of {self.command.target} cannot be watched, only those of this machine; leave it out"
            )
        if self.command.session:
            raise OptionError("cache: a session's state is in no key; leave out --cache or --session")

    @property
    def title(self) -> str:
        """What to call this run in a line."""
        if self.batch is not None and not self.label:
            first = self.batch.labels[0] if self.batch.labels else self.command.title()
            noun = "operation" if self.batch.labels else "command"
            return f"{format_count(len(self.batch.commands), noun)}: {first}"
        return self.label or self.command.title()


def _check_codes(name: str, codes: frozenset[int]) -> None:
    wrong = sorted(code for code in codes if not 0 <= code <= 255)
    if wrong:
        raise OptionError(f"{name}: exit codes lie between 0 and 255, not {wrong[0]}")
