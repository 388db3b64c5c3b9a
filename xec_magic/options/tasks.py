"""`TaskOptions` of one task, `TasksOptions` of the cell that holds them: those of a run that make sense for a task, and a few more."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from xec_magic.errors import OptionError
from xec_magic.options.cache import PATHS
from xec_magic.options.declared import THE_CALL, THE_LINE
from xec_magic.options.run import RunOptions
from xec_magic.options.settings import Settings
from xec_magic.optionspec import COUNT, OptionSet, Unit, flag, next_word, option
from xec_magic.paths import absolute

if TYPE_CHECKING:
    from xec_magic.plan import Plan

__all__ = ["RUN_OPTIONS", "TaskOptions", "TasksOptions"]

# Of the options of a run, those that a task has as well; a further one becomes an option of tasks by its name here.
RUN_OPTIONS: Final = frozenset({
    "on", "cwd", "env", "shell", "login", "worker", "timeout", "grace", "ok_codes", "strict", "wait", "retries", "retry_codes", "backoff",
    "read_only", "stdin", "secret", "tee", "max_output",
})  # fmt: skip
_OWN: Final = frozenset({"depends", "creates"})
_FOR_ALL: Final = frozenset({"jobs", "keep_going", "dry_run", "force", "resume", "out", "check", "quiet"})
_ONE_TASK_ONLY: Final = frozenset({"depends", "creates", "tee", "stdin"})
_LISTED: Final = "%%xec_tasks? lists them"
_OF_THE_WHOLE: Final = "it is said of all tasks together, on the line of the cell or in run()"
_INSTEAD: Final = {
    "session": "a session runs one command at a time, and tasks run side by side",
    "cache": "--depends and --creates say when a task need not run again",
    "batch": "each task has a script of its own",
    "condition": "leave out the tasks that are not to run, or name those that are",
    "out": "the line of the cell has it: %%xec_tasks --out r keeps the results of all tasks",
    "check": "name the exit codes that are no failure, --ok-codes 0,1",
    "quiet": "the line of the cell has it",
    "label": "a task is called by its name",
    "bg": "tasks run side by side as it is; --jobs says how many",
    "form": "keep the results, %%xec_tasks --out r, and ask r['NAME'].json(), .df(), …",
    "jobs": _OF_THE_WHOLE,
    "keep_going": _OF_THE_WHOLE,
    "dry_run": _OF_THE_WHOLE,
    "force": _OF_THE_WHOLE,
    "resume": _OF_THE_WHOLE,
}


def _read_jobs(value: Any) -> int:
    jobs: int = COUNT.read(value)
    if jobs < 1:
        raise OptionError("at least 1 task must run at a time; leave the option out for one a core")
    return jobs


_JOBS: Final = Unit("jobs", _read_jobs)


@dataclass(frozen=True)
class TaskOptions(RunOptions):
    """The options of one task: those of a run that make sense for it, and the files that it reads and makes.

    Example:
        >>> options = TaskOptions.of_task(TaskOptions.read_line("--timeout 5m --creates out.csv"))
        >>> options.timeout, options.creates
        (300.0, ('out.csv',))
    """

    depends: tuple[str, ...] = option(
        "--depends", unit=PATHS, metavar="FILE", group="files", default=(), repeatable=True, line_only=True, completes="file",
        help="What the task reads, a file or a directory: it runs again when the content has changed.",
    )  # fmt: skip
    creates: tuple[str, ...] = option(
        "--creates", unit=PATHS, metavar="FILE", group="files", default=(), repeatable=True, line_only=True, completes="file",
        help="What the task makes: it runs again when this is missing, and fails when it does not make it.",
    )  # fmt: skip

    def _cache_policy(self, directory: str | None) -> None:
        """None: files say when a task need not run, and `depends` is of those."""

    def refuse_idle(self) -> None:
        """Nothing: `of_task` has looked at what the task itself says, and what is said for all tasks may wait for some."""

    @classmethod
    def read_line(cls, line: str, expand: Callable[..., str] | None = None) -> Mapping[str, Any]:
        """The options behind a task's dependencies.

        Raises:
            OptionError: one is wrong, or makes no sense for a task.
        """
        parsed = cls.SPEC.parse_line(line, expand=expand)
        word = next_word(parsed.rest, 0)
        if word is not None and not parsed.rest[word.start :].startswith("#"):
            raise OptionError(f"{word.text!r} is no option; what a task needs stands before its options")
        return cls._fit(parsed.values, line=True)

    @classmethod
    def read_call(cls, keywords: Mapping[str, Any]) -> Mapping[str, Any]:
        """The options of a task in Python.

        Raises:
            OptionError: one is wrong, or makes no sense for a task.
        """
        return cls._fit(cls.SPEC.read_keywords(keywords), line=False)

    @classmethod
    def read_call_for_all(cls, keywords: Mapping[str, Any]) -> Mapping[str, Any]:
        """The options of all tasks in Python.

        Raises:
            OptionError: one is wrong, makes no sense for a task, or belongs to one task.
        """
        for name in sorted(_ONE_TASK_ONLY & keywords.keys()):
            raise OptionError(f"{name} belongs to one task; give it to add()")
        return cls.read_call(keywords)

    @classmethod
    def _fit(cls, values: Mapping[str, Any], *, line: bool) -> Mapping[str, Any]:
        for name in values:
            if name not in cls.names():
                instead = cls._instead(name)
                raise OptionError(
                    f"{cls.SPEC.by_name[name].long if line else name} is no option of {cls._what()}"
                    + (f"; {instead}" if instead else "")
                )
        return values

    @classmethod
    def names(cls) -> frozenset[str]:
        """The options that make sense here."""
        return RUN_OPTIONS | _OWN

    @classmethod
    def help_text(cls) -> str:
        """The options that make sense here, by group."""
        return cls.SPEC.help_text(cls.names())

    @classmethod
    def _what(cls) -> str:
        return "a task"

    @classmethod
    def _instead(cls, name: str) -> str:
        return _INSTEAD.get(name, "")

    @classmethod
    def of_task(
        cls,
        values: Mapping[str, Any],
        *,
        defaults: Mapping[str, Any] | None = None,
        settings: Settings | None = None,
        config: Mapping[str, Any] | None = None,
        line: bool = True,
    ) -> Self:
        """A task's options, laid over those for all tasks and over the standing defaults.

        Args:
            values: What the task itself sets.
            defaults: What is set for all tasks of the cell, or of the call.
            settings: Where standing defaults come from; None for the built-in ones.
            config: What `%config` sets.
            line: They were written on a line, not in a call.

        Raises:
            OptionError: a standing default is wrong.
        """
        who = THE_LINE if line else THE_CALL
        layers = list(settings.layers()) if settings is not None else []
        if config:
            layers.append(("%config", cls.SPEC.read_config(config, "%config")))
        merged: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for source, layer in [*layers, (who, defaults or {}), (who, values)]:
            for name, value in layer.items():
                if name in RUN_OPTIONS or name in _OWN:
                    # Variables add up, as they do for a run.
                    adds_up = name in {"env", "secret"}
                    merged[name] = tuple((dict(merged.get(name, ())) | dict(value)).items()) if adds_up else value
                    if name in RUN_OPTIONS:  # `depends` has a meaning of its own here: it needs no cache
                        sources[name] = source
        RunOptions.refuse_idle(cls(**merged, sources={name: who for name in values if name in RUN_OPTIONS}))
        return cls(**merged, sources=sources)

    @classmethod
    def refuse_idle_for_all(cls, given: Mapping[str, Any], plans: Iterable[Plan | None], *, line: bool) -> None:
        """Refuse what is said for all tasks and concerns none of them.

        Args:
            given: What the line of the cell, or the call that makes the tasks, sets.
            plans: Those of all tasks.
            line: It was written on a line, not in a call.

        Raises:
            OptionError: how to retry is said, and no task is tried again.
        """
        named = next((name for name in ("retry_codes", "backoff") if name in given), None)
        if named is not None and "retries" not in given and not any(plan and plan.retry.retries for plan in plans):
            names = (cls.SPEC.by_name[named].long, "--retries N") if line else (named, "retries=N")
            raise OptionError(f"{names[0]} belongs to {names[1]}, and no task is tried again")

    def paths(self, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
        """Files as they are written and as absolute paths: relative ones are relative to where the task runs.

        Raises:
            OptionError: that is not there any more.
        """
        if not names:
            return ()
        try:
            base = absolute(self.cwd or ".")
        except FileNotFoundError:
            raise OptionError("the kernel's own directory has been removed; name one with --cwd") from None
        return tuple((name, absolute(os.path.join(base, os.path.expanduser(name)))) for name in names)


@dataclass(frozen=True)
class TasksOptions(TaskOptions):
    """What stands on the line of `%%xec_tasks`: how the tasks are run, and options for each of them.

    Example:
        >>> values, names = TasksOptions.read_cell("-j 4 test --dry-run lint")
        >>> values, names
        ({'jobs': 4, 'dry_run': True}, ['test', 'lint'])
    """

    jobs: int | None = option(
        "-j", "--jobs", unit=_JOBS, metavar="N", group="tasks", line_only=True,
        help="So many tasks run at a time. Default: one a core.",
    )  # fmt: skip
    keep_going: bool = flag(
        "--no-keep-going", group="tasks", default=True,
        help="Start nothing new after a failure. Default: --keep-going, a failing task blocks only the tasks that need it.",
    )  # fmt: skip
    dry_run: bool = flag(
        "--dry-run", group="tasks", line_only=True, help="Show what would run, and why. Nothing is run or remembered."
    )
    force: bool = flag("--force", group="tasks", line_only=True, help="Run also what is up to date.")
    resume: bool = flag(
        "--resume", group="tasks", line_only=True,
        help="Go on where the last run stopped: what ended well there is not run again, also without --depends and --creates.",
    )  # fmt: skip

    SPEC: ClassVar[OptionSet]

    @classmethod
    def names(cls) -> frozenset[str]:
        """The options that make sense here."""
        return (RUN_OPTIONS | _FOR_ALL) - _ONE_TASK_ONLY

    @classmethod
    def help_text(cls) -> str:
        """The options that only the line of the cell has, by group; those of tasks are listed for tasks."""
        return cls.SPEC.help_text(_FOR_ALL)

    @classmethod
    def _what(cls) -> str:
        return "%%xec_tasks"

    @classmethod
    def _instead(cls, name: str) -> str:
        if name in _ONE_TASK_ONLY:
            return "it belongs to one task; write it behind that task's name and dependencies"
        return "" if name in _FOR_ALL else _INSTEAD.get(name, "")

    @classmethod
    def read_cell(cls, line: str, expand: Callable[..., str] | None = None) -> tuple[dict[str, Any], list[str]]:
        """What the line of the cell sets, and the tasks that it names; options may stand before and behind the names.

        Raises:
            OptionError: an option is wrong, given twice, or makes no sense here.
        """
        values: dict[str, Any] = {}
        names: list[str] = []
        while True:
            parsed = cls.SPEC.parse_line(line, expand=expand)
            for name, value in cls._fit(parsed.values, line=True).items():
                known = cls.SPEC.by_name[name]
                if name in values and not known.repeatable:
                    raise OptionError(f"{known.long} is given twice; write it once")
                values[name] = (*values[name], *value) if name in values else value
            word = next_word(parsed.rest, 0)
            if word is None:
                return values, names
            names.append(expand(word.text) if expand else word.text)
            line = parsed.rest[word.end :]


TasksOptions.SPEC = OptionSet(TasksOptions, unknown=_LISTED)
# Those of the cell are known to a task as well, so that it can say where they belong.
TaskOptions.SPEC = OptionSet(
    TaskOptions,
    also=[TasksOptions.SPEC.by_name[name] for name in ("jobs", "dry_run", "force", "resume")],
    unknown=_LISTED,
)
