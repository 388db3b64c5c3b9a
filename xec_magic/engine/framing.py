"""`Framing`: takes the frames of a batch out of its streams, and tells which bytes belong to which command."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final, TypeAlias

from xec_magic.command import Command
from xec_magic.events import Output, PartExited, PartStarted, Stream
from xec_magic.plan import Plan
from xec_magic.redact import PartedRedactor, Redactor
from xec_magic.transport.framed import STOPPED, frame_pattern, framed_script
from xec_magic.transport.shells import family_of

__all__ = ["Framing"]

LONGEST_FRAME_BYTES: Final = 128  # mark, two numbers, a clock

_Found: TypeAlias = Output | PartStarted | PartExited


class Framing:
    """One attempt at a batch: its script, and what its streams say.

    Frames are taken out before secrets are masked, so neither can break the other, and a secret of which two commands
    print a half each is found.

    Args:
        run_id: For the events.
        plan: A plan with a batch.
        redactor: Masks secrets.
        now: The loop's clock.

    Attributes:
        command: What to start.
    """

    def __init__(self, run_id: str, plan: Plan, redactor: Redactor, now: Callable[[], float]) -> None:
        assert plan.batch is not None
        mark = secrets.token_hex(16)
        family = family_of(plan.command.shell)
        script = framed_script(plan.batch, family, strict=plan.command.strict, ok_codes=plan.ok_codes, mark=mark)
        self.command: Command = replace(plan.command, script=script, strict=False)
        self._run_id = run_id
        self._redactor = redactor
        self._now = now
        self._streams: dict[Stream, _Splitter] = {
            name: _Splitter(mark, len(plan.batch.commands)) for name in ("stdout", "stderr")
        }
        self._masked: dict[Stream, PartedRedactor] = {}
        self._told = 0  # the last command whose begin has been told
        self._ended = 0
        self._begun = (0.0, "")  # when the last frame came, and what the shell's clock said

    def feed(self, stream: Stream, data: bytes) -> Iterator[_Found]:
        """What these bytes mean, in order."""
        masked = self._masked_by(stream)
        for item in self._streams[stream].feed(data):
            if isinstance(item, _Frame):
                # Both streams bring each frame; the first one counts.
                if item.ends > self._ended or item.begins > self._told:
                    yield from self._frame(item)
            elif masked is None:
                yield Output(self._run_id, self._now(), stream, item[1], item[0] or None)
            else:
                yield from self._output(stream, masked.feed(*item))

    def flush(self, stream: Stream) -> Iterator[_Found]:
        """What was held back, at the end."""
        masked = self._masked_by(stream)
        for part, data in self._streams[stream].flush():
            yield from self._output(stream, [(part, data)] if masked is None else masked.feed(part, data))
        if masked is not None:
            yield from self._output(stream, masked.flush())
            del self._masked[stream]

    def _masked_by(self, stream: Stream) -> PartedRedactor | None:
        """What masks a stream; None as long as there are no secrets."""
        masked = self._masked.get(stream) or self._redactor.parted()
        if masked is not None:
            self._masked[stream] = masked
        return masked

    def _output(self, stream: Stream, pieces: Iterable[tuple[int, bytes]]) -> Iterator[Output]:
        for part, data in pieces:
            yield Output(self._run_id, self._now(), stream, data, part or None)

    def _frame(self, frame: _Frame) -> Iterator[PartStarted | PartExited]:
        now = self._now()
        if frame.ends > self._ended:
            self._ended = frame.ends
            yield PartExited(self._run_id, now, frame.ends, frame.code, _duration(self._begun, (now, frame.clock)))
        if frame.begins > self._told:
            self._told = frame.begins
            self._begun = (now, frame.clock)
            yield PartStarted(self._run_id, now, frame.begins)


def _duration(begun: tuple[float, str], ended: tuple[float, str]) -> float:
    try:
        by_clock = float(ended[1].replace(",", ".")) - float(begun[1].replace(",", "."))
    except ValueError:
        by_clock = -1.0
    return by_clock if by_clock >= 0 else max(0.0, ended[0] - begun[0])


class _Frame:
    """What stands between two commands: `ends` is 0 before the first, `begins` 0 behind the last."""

    __slots__ = ("begins", "clock", "code", "ends")

    def __init__(self, ends: int, code: int, begins: int, clock: str) -> None:
        self.ends, self.code, self.begins, self.clock = ends, code, begins, clock


class _Splitter:
    """One stream: bytes in, frames and (number of the command, bytes) out."""

    def __init__(self, mark: str, count: int) -> None:
        self._pattern = frame_pattern(mark)
        self._prefix = b"\x1e" + mark.encode() + b":"
        self._count = count
        self._part = 0
        self._over = False
        self._held = b""

    def feed(self, data: bytes) -> Iterator[_Frame | tuple[int, bytes]]:
        data = self._held + data
        position = 0
        for match in self._pattern.finditer(data):
            frame = self._read(int(match[1]), int(match[2]), match[3].decode())
            if frame is None:
                continue
            if match.start() > position:
                yield self._part, data[position : match.start()]
            position = match.end()
            yield frame
            if frame.begins:
                self._part = frame.begins
            else:
                self._over = True
        cut = self._cut(data, position)
        self._held = data[cut:]
        if cut > position:
            yield self._part, data[position:cut]

    def flush(self) -> Iterator[tuple[int, bytes]]:
        if self._held:
            yield self._part, self._held
            self._held = b""

    def _read(self, number: int, code: int, clock: str) -> _Frame | None:
        """The frame, if it is the one that must come now; else it is output."""
        if self._over or number not in (STOPPED, self._part + 1) or (number == STOPPED and not self._part):
            return None
        return _Frame(self._part, code, 0 if number == self._count + 1 else number, clock)

    def _cut(self, data: bytes, position: int) -> int:
        """Where a frame may begin whose end has not come; the end if there is none."""
        start = data.find(b"\x1e", max(position, len(data) - LONGEST_FRAME_BYTES))
        while start >= 0:
            rest = data[start:]
            if self._prefix.startswith(rest[: len(self._prefix)]) and b"\n" not in rest:
                return start
            start = data.find(b"\x1e", start + 1)
        return len(data)
