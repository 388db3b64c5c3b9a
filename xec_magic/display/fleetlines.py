"""The outputs of many runs as one stream of whole lines, each with the number of its target."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from xec_magic.events import Stream
    from xec_magic.output import OutputLog

__all__ = ["FleetLines", "HasLog", "LabelledLine"]

PARTIAL_CHARACTERS: Final = 4096  # a longer line without an end is shown in pieces
READ_BYTES: Final = 64 * 1024  # of one target at a time, so that one that floods does not hide the others


class HasLog(Protocol):
    """A run, as far as its output goes."""

    @property
    def log(self) -> OutputLog:
        """What it has printed so far; another one after a retry."""


class LabelledLine(NamedTuple):
    """A line of one target, without its end."""

    number: int
    stream: Stream
    text: str


class _Tap:
    """How far one target's output has been read."""

    def __init__(self, log: OutputLog) -> None:
        self.log = log
        self.offset = 0
        self._decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")}
        self._held = {"stdout": "", "stderr": ""}

    def take(self, number: int, *, final: bool) -> list[LabelledLine]:
        size = self.log.size()
        if not final:
            size = min(size, self.offset + READ_BYTES)
        found: list[LabelledLine] = []
        for stream, data in self.log.pieces(self.offset, size):
            *lines, rest = (self._held[stream] + self._decoders[stream].decode(data)).split("\n")
            if len(rest) > PARTIAL_CHARACTERS:
                lines, rest = [*lines, rest], ""
            self._held[stream] = rest
            found += [LabelledLine(number, stream, line) for line in lines]
        self.offset = size
        if final:
            streams: tuple[Stream, Stream] = ("stdout", "stderr")
            for stream in streams:
                rest = self._held[stream] + self._decoders[stream].decode(b"", final=True)
                self._held[stream] = ""
                found += [LabelledLine(number, stream, rest)] if rest else []
        return found


class FleetLines:
    """Reads what many runs print, each line once, in the order in which it is found."""

    def __init__(self) -> None:
        self._taps: dict[int, _Tap] = {}

    def take(self, runs: Sequence[HasLog | None], ended: set[int]) -> list[LabelledLine]:
        """The lines that have come since the last time; of targets that have ended also what has no line end.

        Args:
            runs: One a target; None for one that has not begun.
            ended: The numbers of those that have ended.
        """
        found: list[LabelledLine] = []
        for number, run in enumerate(runs):
            if run is None:
                continue
            log = run.log
            tap = self._taps.get(number)
            if tap is None or tap.log is not log:  # a further attempt has a log of its own
                if not log.size():
                    continue
                tap = self._taps[number] = _Tap(log)
            if tap.offset < log.size() or number in ended:
                found += tap.take(number, final=number in ended)
        return found
