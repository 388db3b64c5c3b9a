"""`Intake`: what a process prints, on its way to its run: framed, without secrets, counted, copied, looked at for marks."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from xec_magic.engine.framing import Framing
from xec_magic.engine.marks import MarkFinder
from xec_magic.engine.outfile import Tee
from xec_magic.engine.run import Run
from xec_magic.events import Mark, Note, Output, PartCut, PartExited, PartStarted, Stream
from xec_magic.output import STREAMS
from xec_magic.redact import Redactor, StreamRedactor

__all__ = ["Intake", "Way"]


class Intake:
    """Takes the output of a run, of one attempt after the other. On the loop's thread.

    Args:
        run: Gets what there is to keep.
        redactor: Masks its secrets.
        now: The loop's clock, in seconds.
        ring: Called when the bound on output is reached.

    Attributes:
        arrived: Bytes that came, of all attempts.
        over: The bound on output is reached.
        unkept: The log could not keep it all.
        command: What is to be started so that the output can be told apart.
    """

    def __init__(self, run: Run, redactor: Redactor, now: Callable[[], float], ring: Callable[[], None]) -> None:
        self._run = run
        self._plan = run.plan
        self._redactor = redactor
        self._now = now
        self._ring = ring
        self._printed = 0
        self._tee: Tee | None = None
        self._redact: dict[Stream, StreamRedactor] = {}
        self._framing: Framing | None = None
        self._marks: MarkFinder | None = None
        self._cut: set[int] = set()  # commands of a batch whose output is not complete
        self.command = run.plan.command
        self.arrived = 0
        self.over = False
        self.unkept = False

    def open_tee(self) -> str:
        """Begin the file that gets a copy, if there is to be one; why that cannot be, or nothing."""
        if self._plan.tee is None:
            return ""
        self._tee = Tee(self._plan.tee)
        return self._tee.open()

    def begin(self) -> None:
        """An attempt begins."""
        self._printed, self.over, self.unkept = 0, False, False
        self._redact.clear()
        self._cut.clear()
        marks = self._plan.monitor.marks if self._plan.monitor else ()
        self._marks = MarkFinder(marks, self._mark) if marks else None
        if self._plan.batch is not None:
            self._framing = Framing(self._run.run_id, self._plan, self._redactor, self._now)
            self.command = self._framing.command

    def take(self, stream: Stream, data: bytes) -> None:
        """The transport's sink: every byte of the run comes by here."""
        self.arrived += len(data)
        if self._framing is not None:
            self._sort(self._framing.feed(stream, data))
            return
        redactor = self._redact.get(stream)
        if redactor is None:
            redactor = self._redactor.stream()
            if redactor is not None:
                self._redact[stream] = redactor
        if redactor is not None:
            data = redactor.feed(data)
        self._deliver(stream, data)

    def end(self) -> None:
        """An attempt has ended: what had been held back goes on."""
        for stream, redactor in self._redact.items():
            self._deliver(stream, redactor.flush())
            self._run.masked |= redactor.masked > 0
        if self._marks is not None:
            self._marks.end()
        if self._framing is not None:
            for name in STREAMS:
                self._sort(self._framing.flush(name))

    def close(self) -> None:
        """The run is over."""
        if self._tee is not None:
            self._tee.close()

    def note(self, text: str) -> None:
        """Say what the reader should know about the run itself."""
        self._run.emit(Note(self._run.run_id, self._now(), text))

    def _mark(self, text: str) -> None:
        self._run.emit(Mark(self._run.run_id, self._now(), text))

    def _sort(self, found: Iterable[Output | PartStarted | PartExited]) -> None:
        """What a batch's streams say."""
        for event in found:
            if isinstance(event, Output):
                self._deliver(event.stream, event.data, event)
            else:
                self._run.emit(event)

    def _deliver(self, stream: Stream, data: bytes, event: Output | None = None) -> None:
        """Hand on what may be shown; of a batch's it is there as an event already."""
        if not data:
            return
        run, bound = self._run, self._plan.limits.max_output_bytes
        part = event.part if event is not None else None
        if run.counts(stream):
            if bound is not None and self._printed + len(data) > bound:
                data, event = data[: max(0, bound - self._printed)], None
                if not self.over:
                    self.over = True
                    self._ring()
                if part is not None and part not in self._cut:
                    self._cut.add(part)
                    run.emit(PartCut(run.run_id, self._now(), part))
                if not data:
                    return
            self._printed += len(data)
        if self._tee is not None:
            complaint = self._tee.write(data)
            if complaint:
                self.note(f"{complaint}; the command goes on")
        if self._marks is not None:
            self._marks.feed(stream, data)
        if event is None:
            event = Output(run.run_id, self._now(), stream, data, part)
        if not run.emit_output(event) and not self.unkept:
            self.unkept = True
            failure = run.log.failure
            reason = f": {failure.strerror}" if failure is not None else ""
            self.note(f"the log cannot grow{reason}; the command goes on, later output is not kept")


class Way:
    """What a process tells its run, until the run is over and nothing can come any more.

    From then on the two do not hold each other: thousands of short runs, each a circle of references, keep the garbage
    collector busier than the runs themselves.
    """

    __slots__ = ("intake",)

    def __init__(self, intake: Intake) -> None:
        self.intake: Intake | None = intake

    def output(self, stream: Stream, data: bytes) -> None:
        """The transport's sink."""
        if self.intake is not None:
            self.intake.take(stream, data)

    def note(self, text: str) -> None:
        """What the reader should know about the run itself."""
        if self.intake is not None:
            self.intake.note(text)
