"""`Results`: what came back from several runs, of a batch or of many targets; compared, chosen from, checked."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, overload

from xec_magic import formats
from xec_magic.errors import OptionError, ParseError, RunInterrupted, SomeFailed
from xec_magic.likeness import begin_of_output, digest, own_name
from xec_magic.outcome import Outcome
from xec_magic.result import Result
from xec_magic.verdict import tally

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["Group", "Results", "Shown"]

NAMED_AT_MOST: Final = 3  # in a message of one line
DIFF_LINES: Final = 2000  # of one output: difflib's time grows with their square


class Shown(str):
    """A text of several lines that a notebook shows as it is, not as a quoted string."""

    __slots__ = ()

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        printer.text(str(self))


@dataclass(frozen=True, slots=True)
class Group:
    """Results that are equal: in how they ended and in what they printed.

    Attributes:
        verdict: How they ended, in words; `{host}` where each has its own name, here and in the output.
        output: Standard output, then standard error; of large ones the first 256 KiB.
        results: The members.
        majority: The output of the largest group.
    """

    verdict: str
    output: str
    results: Results
    majority: str = field(repr=False)

    @property
    def targets(self) -> list[str]:
        """Where the members ran."""
        return self.results.targets

    @property
    def diff(self) -> Shown:
        """How the output differs from that of the largest group, as a unified diff; empty when it does not.

        Of each output the first 2,000 lines are compared.
        """
        return self.diff_from("the largest group", ", ".join(self.targets[:NAMED_AT_MOST]))

    def diff_from(self, largest: str, own: str, clean: Callable[[str], str] = str) -> Shown:
        """The same with other words in its first two lines.

        Args:
            largest: What to call the largest group.
            own: What to call this one.
            clean: Applied to each line before the lines are compared.
        """
        before, after = ([*map(clean, formats.to_lines(text)[:DIFF_LINES])] for text in (self.majority, self.output))
        return Shown("\n".join(difflib.unified_diff(before, after, largest, own, lineterm="")))

    def __len__(self) -> int:
        return len(self.results)


class Results(Sequence[Result]):
    """Results in the order in which they were asked for; an index gives one, a slice gives `Results`.

    It is true when all are ok. `ok` is true when all of those that it was chosen from are; `failed` and `not_started`
    are true when there are any, so `if results.failed:` reads as it is meant.

    Args:
        results: The members.
        whole: The run that they are parts of, in a batch.

    Example:
        >>> import xec_magic as xec
        >>> results = xec.batch(["echo a", "exit 3", "echo b"], check=False)
        >>> results
        <Results 1 of 3 failed, 1 not started>
        >>> str(results[0]), results.failed[0].exit_code, len(results.not_started)
        ('a', 3, 1)
    """

    def __init__(self, results: Iterable[Result], whole: Result | None = None) -> None:
        self._results = tuple(results)
        self._true = all(result.ok for result in self._results)
        self.whole = whole

    @overload
    def __getitem__(self, index: int) -> Result: ...
    @overload
    def __getitem__(self, index: slice) -> Results: ...
    def __getitem__(self, index: int | slice) -> Result | Results:
        if isinstance(index, slice):
            return Results(self._results[index], self.whole)
        return self._results[index]

    def __len__(self) -> int:
        return len(self._results)

    def __iter__(self) -> Iterator[Result]:
        return iter(self._results)

    def __bool__(self) -> bool:
        return self._true

    def __repr__(self) -> str:
        return f"<Results {tally(self)}>"

    # -- choosing -----------------------------------------------------------------------------

    def _chosen(self, wanted: Callable[[Result], bool]) -> Results:
        chosen = Results(filter(wanted, self._results), self.whole)
        chosen._true = bool(chosen._results)
        return chosen

    @property
    def ok(self) -> Results:
        """Those that ended well."""
        chosen = self._chosen(lambda result: result.ok)
        chosen._true = self._true
        return chosen

    @property
    def failed(self) -> Results:
        """Those that were tried, and ended badly; a host that cannot be reached is among them."""
        return self._chosen(lambda result: not result.ok and not result.never_tried)

    @property
    def not_started(self) -> Results:
        """Those that were not even tried; `detail` of each says why."""
        return self._chosen(lambda result: result.never_tried)

    @property
    def targets(self) -> list[str]:
        """Where they ran or should have run, each once."""
        return list(dict.fromkeys(result.target for result in self._results))

    def plot(self) -> Figure:
        """A matplotlib Figure of what monitored runs used, a panel a quantity and a line a run.

        Raises:
            OptionError: none was monitored, or all ended before the first sample.
        """
        # By name, as `Result.plot`: charts are the business of a floor above.
        figure: Figure = import_module("xec_magic.display.hostsview").results_figure(self)
        return figure

    # -- comparing ----------------------------------------------------------------------------

    def groups(self) -> list[Group]:
        """Equal results together, the largest group first; those that were not tried stand at the end.

        Example:
            >>> import xec_magic as xec
            >>> [(len(group), group.output) for group in xec.batch(["echo a", "echo b", "echo a"]).groups()]
            [(2, 'a\\n'), (1, 'b\\n')]
        """
        members: dict[tuple[str, bytes], list[Result]] = {}
        for result in self._results:
            own = own_name(result.plan.command.target)
            members.setdefault((own(result.verdict()), digest(result, own)), []).append(result)
        # sorted is stable, so of two equally large groups the one that came first is first
        ordered = sorted(members.items(), key=lambda item: (item[1][0].never_tried, -len(item[1])))
        texts = [own_name(first.plan.command.target)(begin_of_output(first)) for _, (first, *_) in ordered]
        return [
            Group(verdict, text, Results(results, self.whole), texts[0])
            for ((verdict, _), results), text in zip(ordered, texts, strict=True)
        ]

    def diff(self) -> Shown:
        """How every other group differs from the largest one, as a unified diff; empty when all are equal.

        Of each output the first 2,000 lines are compared.
        """
        groups = self.groups()
        if len(groups) < 2:
            return Shown()
        first, *others = groups
        pieces = []
        for other in others:
            text = other.diff_from(self._name(first), self._name(other))
            pieces.append(
                text or f"--- {self._name(first)}\n+++ {self._name(other)}\n  the same output, but: {_verdicts(other)}"
            )
        return Shown("\n".join(pieces))

    def _name(self, group: Group) -> str:
        names = self._names(group.results)
        return f"{names} ({_verdicts(group)})"

    def _names(self, results: Iterable[Result]) -> str:
        """Some members in words: by their targets, or by their numbers where there is one target only."""
        found = list(results)
        if len(self.targets) > 1:
            names = [result.target for result in found]
        else:
            places = {id(result): number for number, result in enumerate(self._results, 1)}
            names = [str(places.get(id(result), "?")) for result in found]
        more = len(names) - NAMED_AT_MOST
        return ", ".join(names[:NAMED_AT_MOST]) + (f" and {more:,} more" if more > 0 else "")

    # -- turning into other things -----------------------------------------------------------------

    def df(self, form: Literal["auto", "table"] | None = None) -> pd.DataFrame:
        """A DataFrame with a row for each: target, command, outcome, exit_code, signal, duration_s, stdout, stderr.

        With a form it is what they have printed instead: the rows of all that are ok, below each other, each with its `host` in
        the first column (`target` where the output has a column `host` of its own).

        Args:
            form: How each output is read, as by `Result.df`: `auto` or `table`.

        Raises:
            OptionError: pandas is not installed; the extra `frames` has it.
            ParseError: an output is not in that form; the message names whose.
        """
        if form is not None:
            return self._frames(form)
        try:
            import pandas as pd
        except ImportError as error:
            raise OptionError("pandas is not installed; pip install 'xec-magic[frames]'") from error

        def column(name: str, values: Iterable[Any], kind: str) -> None:
            columns[name] = pd.Series(list(values), dtype=kind)

        columns: dict[str, pd.Series[Any]] = {}
        column("target", (result.target for result in self), "object")
        column("command", (result.plan.label or result.command for result in self), "object")
        column("outcome", (result.outcome.value for result in self), "object")
        column("exit_code", (result.exit_code for result in self), "Int64")
        column("signal", (result.signal for result in self), "Int64")
        ran = [result.outcome is not Outcome.NOT_STARTED for result in self]
        column(
            "duration_s",
            (result.duration_s if began else None for result, began in zip(self, ran, strict=True)),
            "float64",
        )
        column("stdout", (result.text() for result in self), "object")
        column("stderr", (result.stderr.rstrip("\n") for result in self), "object")
        return pd.DataFrame(columns)

    def _frames(self, form: Literal["auto", "table"]) -> pd.DataFrame:
        found = []
        for result in self.ok:
            try:
                found.append((result.target, result.df(form)))
            except ParseError as error:
                raise ParseError(f"{result.target}: {error}", error.line_number, error.line) from error
        import pandas as pd

        name = "target" if any("host" in frame.columns for _, frame in found) else "host"
        for target, frame in found:
            frame.insert(0, name, target)
        return pd.concat([frame for _, frame in found], ignore_index=True) if found else pd.DataFrame({name: []})

    def check(self) -> Results:
        """The results themselves when all are ok.

        Raises:
            SomeFailed: some are not; the message names them, `results` holds all of them.
            RunInterrupted: the kernel's interrupt stopped one.
        """
        bad = [result for result in self._results if not result.ok]
        if not bad:
            return self
        interrupted = next((result for result in bad if result.outcome is Outcome.INTERRUPTED), None)
        if interrupted is not None:
            error = RunInterrupted(self._message(bad), interrupted)
            error.results = self
            raise error
        raise SomeFailed(self._message(bad), bad[0], self)

    def _message(self, bad: list[Result]) -> str:
        failed = [result for result in bad if not result.never_tried]
        fresh = len(bad) - len(failed)
        by_target = len(self.targets) > 1
        noun = "" if by_target else " commands"
        if not failed:
            return f"{fresh:,} of {len(self):,}{noun} not started: {bad[0].verdict().removeprefix('not started: ')}"
        if len(failed) == 1 and not by_target:
            message = f"command {self._names(failed)} of {len(self):,}: {failed[0].verdict()}: {failed[0].plan.title}"
        else:
            named = [f"{self._names([result])} ({result.verdict_there()})" for result in failed[:NAMED_AT_MOST]]
            more = len(failed) - len(named)
            message = f"{len(failed):,} of {len(self):,}{noun} failed: {', '.join(named)}" + (
                f" and {more:,} more" if more > 0 else ""
            )
        if fresh:
            message += f"; {fresh:,} not started"
        tail = failed[0].stderr_tail()
        return message + (f"\n{tail}" if tail else "")


def _verdicts(group: Group) -> str:
    return f"{len(group)} × {group.verdict}" if len(group) > 1 else group.results[0].verdict_there()
