"""A batch: many commands, one run of the engine, a result for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from xec_magic.command import LOCAL, Target
from xec_magic.compose.lines import CommandText
from xec_magic.errors import CommandError, OptionError, RunInterrupted, TemplateError
from xec_magic.options import RunOptions
from xec_magic.outcome import Outcome
from xec_magic.plan import Batch, Plan
from xec_magic.quoting import Evaluate, expand
from xec_magic.result import Result
from xec_magic.results import Results
from xec_magic.transport.shells import family_of

__all__ = ["check_results", "fill_in", "plan_batch", "results_of", "with_results"]


def plan_batch(
    options: RunOptions, batch: Batch, namespace: Mapping[str, Any] | None = None, target: Target = LOCAL
) -> Plan:
    """The plan to run a batch by these options. It runs nothing.

    Args:
        options: Those of the whole: its time limit, its directory, its bound on output.
        batch: The commands, values already filled in.
        namespace: Where `--stdin NAME` and `--secret NAME` find their variables.
        target: Where to run it. On a host it is bash unless another shell is named: the text depends on it.

    Raises:
        OptionError: there is no command; options that a batch cannot follow.
    """
    if not batch.commands:
        raise OptionError("there is no command in the batch")
    for number, command in enumerate(batch.commands, 1):
        if "\0" in command:
            raise OptionError(
                f"command {number} of the batch holds a NUL character, which no shell can read; remove it"
            )
    if options.retries:
        raise OptionError(
            "--retries would run again what has already ended well in the batch; retry in the command itself, or run it by itself"
        )
    if options.session:
        raise OptionError(
            "--session: a batch has a shell of its own, which ends with it; leave one of the two out (the cells of a session "
            "share its shell already)"
        )
    if family_of(options.shell) == "other":
        raise OptionError(f"a batch needs a shell (bash, sh, dash, zsh); {options.shell[0]} is none that it knows")
    between = "\n---\n" if any("\n" in command for command in batch.commands) else "\n"
    plan = options.plan(between.join(batch.commands), namespace, target)
    if target.kind == "ssh" and not plan.command.shell:
        plan = replace(plan, command=replace(plan.command, shell=("bash",)))  # noqa: S604 - a field, no process
    return replace(plan, batch=batch)


def fill_in(commands: Sequence[CommandText], evaluate: Evaluate, family: str) -> tuple[str, ...]:
    """The commands of a cell with every `${{…}}` filled in, each by itself: no value can end its command.

    Raises:
        TemplateError: a value cannot be had, or cannot stand where it is.
    """
    filled = []
    for command in commands:
        try:
            filled.append(expand(command.text, evaluate, family=family))
        except TemplateError as error:
            raise TemplateError(f"in the command at line {command.line}, its {error}") from None
    return tuple(filled)


def results_of(whole: Result) -> Results:
    """One result for each command of a batch."""
    return Results(whole.parts, whole)


def check_results(results: Results) -> Results:
    """The results when all are ok.

    Raises:
        SomeFailed: some are not.
        CommandError: all are, and the whole was stopped nevertheless: by its time limit, or its limit on output.
        SpawnError: the shell of a batch could not be started at all.
    """
    whole = results.whole
    if whole is not None and whole.outcome is Outcome.NOT_STARTED:
        whole.check()
    results.check()
    try:
        if whole is not None:
            whole.check()
    except CommandError as error:
        error.results = results
        raise
    return results


def with_results(error: RunInterrupted) -> RunInterrupted:
    """An interrupt of a batch: `result` is that of the whole, `results` are those of its commands."""
    error.results = results_of(error.result)
    return error
