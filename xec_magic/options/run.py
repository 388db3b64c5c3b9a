"""`RunOptions`: what a line, a call and the configuration say about a run; turned into a `Plan`, which is complete."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from xec_magic.cachepolicy import CachePolicy
from xec_magic.command import LOCAL, Command, FileInput, Target, decode_script, targets_of
from xec_magic.errors import OptionError
from xec_magic.fleetpolicy import FANOUT, FleetPolicy, Share, read_share
from xec_magic.inventory.nodeset import split_items
from xec_magic.options.cache import (
    CONDITION,
    NAMES,
    PATHS,
    TTL,
    cache_policy,
    condition_of_python,
    key_of_python,
    policy_of_python,
)
from xec_magic.optionspec import (
    CODES,
    COUNT,
    DURATION,
    EXPRESSION,
    IDENTIFIER,
    PAIRS,
    PATH,
    RATE,
    REGEX,
    SIZE,
    SWITCH,
    TEXT,
    WORDS,
    OptionSet,
    Unit,
    choice,
    flag,
    nearest,
    option,
)
from xec_magic.plan import DEFAULT_MAX_OUTPUT_BYTES, Limits, MonitorPolicy, Plan, RetryPolicy, StopPolicy

if TYPE_CHECKING:
    from xec_magic.options.settings import Settings

__all__ = ["RunOptions", "Variable"]

FORMS: Final = ("text", "lines", "json", "jsonl", "csv", "table", "df", "bytes")
_SHELLS: Final = ("bash", "sh", "dash", "zsh", "ksh", "fish", "python3")

# These are for a command on several targets.
FLEET_OPTIONS: Final = ("fanout", "canary", "wave", "max_fail", "confirm", "yes")

# Options that do nothing without another: that one, how it is written on a line and in a call, and who needs it.
_OWNERS: Final[dict[str, tuple[str, str, tuple[str, ...]]]] = {
    "monitor": ("--monitor", "monitor=True", ("rate", "mark")),
    "retries": ("--retries N", "retries=N", ("retry_codes", "backoff")),
}

THE_LINE: Final = "the line"
THE_CALL: Final = "the call"


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the notebook whose value is wanted; `RunOptions.plan` looks it up."""

    name: str


def _stdin_of_line(value: Any) -> Variable | FileInput:
    text = TEXT.read(value)
    if text.startswith("@"):
        if text == "@":
            raise OptionError("there is no file behind the @; write @FILE")
        return FileInput(text[1:])
    if not text.isidentifier():
        raise OptionError(f"{text!r} is neither a variable's name nor a file; write NAME, or @FILE for a file")
    return Variable(text)


def _stdin_of_python(value: Any) -> bytes | FileInput:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, os.PathLike):
        return FileInput(os.fsdecode(value))
    if isinstance(value, FileInput):
        return value
    raise OptionError(
        f"a {type(value).__name__} cannot be given to a command; make it text or bytes, such as '\\n'.join(lines) or "
        "frame.to_csv(), or give a pathlib.Path"
    )


def _secrets_of_line(value: Any) -> tuple[tuple[str, Variable], ...]:
    return tuple((name, Variable(name)) for name in dict.fromkeys(map(IDENTIFIER.read, value)))


def _secrets_of_python(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping):
        raise OptionError("give a dict of names and values, such as {'TOKEN': token}")
    pairs: tuple[tuple[str, str], ...] = PAIRS.read(value)
    for name, text in pairs:
        _check_secret(name, text)
    return pairs


def _check_secret(name: str, value: Any) -> str:
    # The value stands in no message, whatever is wrong with it.
    if not isinstance(value, str):
        raise OptionError(f"{name} must be text, not {type(value).__name__}")
    if not value:
        raise OptionError(f"{name} is empty")
    if "\0" in value:
        raise OptionError(f"{name} holds a NUL character, which no variable can")
    return value


def _session_name(value: Any) -> str:
    name: str = TEXT.read(value)
    if not re.fullmatch(r"[A-Za-z0-9_][\w.-]{0,63}", name, re.ASCII):
        raise OptionError(f"{name!r} is no name for a session; letters, digits and . _ - make one, 64 at most")
    return name


def _targets(value: Any) -> tuple[str | Target, ...]:
    items = [value] if isinstance(value, (str, Target)) else targets_of(value)
    if not isinstance(items, Iterable) or isinstance(items, (bytes, Mapping)):
        raise OptionError(f"a {type(value).__name__} names no targets; give a text such as 'web1,web2', or a list")
    found = tuple(items)
    for item in found:
        if not isinstance(item, (str, Target)):
            raise OptionError(f"{item!r} is no target; give a name")
        if isinstance(item, str):
            split_items(item)  # its brackets match
    if not any(found):
        raise OptionError("it names no target; leave the option out for this machine")
    return found


_TARGETS: Final = Unit("targets", _targets)
_SHARE: Final = Unit("share of the targets", read_share)
_STDIN: Final = Unit("stdin", _stdin_of_line)
_SESSION: Final = Unit("session name", _session_name)
_SECRETS: Final = Unit("secret", _secrets_of_line)


def _keep(value: Any) -> bool:
    if not isinstance(value, bool):
        raise OptionError(f"{value!r} is neither True nor False")
    return value


@dataclass(frozen=True)
class RunOptions:
    """The options of one run, each declared once; every field but `sources` is one.

    Attributes:
        sources: Option name to who set it: `the line`, `the call`, `%config`, a variable, a file. Options at their built-in
            default are not in it.

    Example:
        >>> options, command = RunOptions.from_line("-t 5m --env LANG=C ls -l")
        >>> options.timeout, options.env, command
        (300.0, (('LANG', 'C'),), 'ls -l')
    """

    on: tuple[str | Target, ...] = option(
        "-H", "--on", unit=_TARGETS, metavar="TARGETS", group="where", default=(), line_only=True, completes="target", joins=",",
        help="Run there: an alias of ~/.ssh/config, user@host:port, a target or @group of xec.toml, a set web[01-20]!web07. "
        "Default: this machine.",
    )  # fmt: skip
    fanout: int = option(
        "--fanout", unit=COUNT, metavar="N", group="where", default=FANOUT,
        help="With several targets, run on so many at once. Default: 100.",
    )  # fmt: skip
    canary: int = option(
        "--canary", unit=COUNT, metavar="N", group="where", default=0, line_only=True,
        help="With several targets, run on the first N alone; on the others only when all of these are ok.",
    )  # fmt: skip
    wave: Share | None = option(  # noqa: RUF009 - a field; all its values are immutable
        "--wave", unit=_SHARE, metavar="N|N%", group="where", none=True, line_only=True,
        help="With several targets, take them in waves of N, or of N% of all, each after the end of the one before.",
    )  # fmt: skip
    max_fail: Share | None = option(  # noqa: RUF009 - a field; all its values are immutable
        "--max-fail", unit=_SHARE, metavar="N|N%", group="where", none=True,
        help="With several targets, begin no further one when more than N, or N% of all, have failed. Default: no bound.",
    )  # fmt: skip
    cwd: str | None = option(
        "--cwd", unit=PATH, metavar="DIR", group="where", completes="directory",
        help="Run in this directory. Default: the kernel's own.",
    )  # fmt: skip
    env: tuple[tuple[str, str], ...] = option(
        "--env", unit=PAIRS, metavar="K=V", group="where", default=(), repeatable=True, needs_trust=True,
        help="Add a variable to the command's environment.",
    )  # fmt: skip
    shell: tuple[str, ...] = option(
        "--shell", unit=WORDS, metavar="CMD", group="where", default=(), needs_trust=True,
        help='Run the script by this interpreter: sh, "zsh -f", python3. Default: bash if there, else sh.',
    )  # fmt: skip
    login: bool = flag("--login", group="where", help="Start the shell as a login shell, which reads its profile.")
    worker: bool = flag(
        "--worker", group="where", help="Run in a shell that was started ahead; the result is the same, sooner."
    )
    session: str = option(
        "--session", unit=_SESSION, metavar="NAME", group="where", default="", line_only=True, completes="session",
        help="Run in the shell of this name, which keeps its directory, variables and functions for the next command.",
    )  # fmt: skip
    reset: bool = flag(
        "--reset",
        group="where",
        line_only=True,
        help="With --session: end that shell first, with what runs in it, and begin with a new one.",
    )

    timeout: float | None = option(
        "-t", "--timeout", unit=DURATION, metavar="TIME", group="stop", none=True,
        help="End the command after this long (90s, 5m). Default: no limit.",
    )  # fmt: skip
    grace: float = option(
        "--grace", unit=DURATION, metavar="TIME", group="stop", default=3.0,
        help="When stopping, wait this long between INT, TERM and KILL. Default: 3s.",
    )  # fmt: skip
    check: bool = flag("--no-raise", group="stop", default=True, help="A command that fails gives a result, no error.")
    ok_codes: frozenset[int] = option(
        "--ok-codes", unit=CODES, metavar="0,1", group="stop", default=frozenset({0}),
        help="Exit codes that count as success. Default: 0.",
    )  # fmt: skip
    strict: bool = flag(
        "--no-strict", group="stop", default=True,
        help="Go on after a failing command and let unset variables be empty, as a plain shell does.",
    )  # fmt: skip
    wait: bool = flag("--wait", group="stop", help="Wait for children that outlive the shell and hold its output.")
    retries: int = option(
        "--retries", unit=COUNT, metavar="N", group="stop", default=0,
        help="Try again this often after a failure; needs --retry-codes or --read-only. Default: 0.",
    )  # fmt: skip
    retry_codes: frozenset[int] = option(
        "--retry-codes", unit=CODES, metavar="75,255", group="stop", default=frozenset(),
        help="Exit codes after which a further try is safe.",
    )  # fmt: skip
    backoff: float = option(
        "--backoff", unit=DURATION, metavar="TIME", group="stop", default=1.0,
        help="Wait this long before the first retry, and twice as long before each further one. Default: 1s.",
    )  # fmt: skip

    stdin: Variable | FileInput | bytes | None = option(  # noqa: RUF009 - a field; all its values are immutable
        "--stdin", unit=_STDIN, metavar="NAME|@FILE", group="input", line_only=True,
        keyword=_stdin_of_python, completes="variable-or-@file", secret=True,
        help="Let the command read a variable of the notebook (text or bytes), or a file. Default: nothing, at its end at once.",
    )  # fmt: skip
    secret: tuple[tuple[str, str | Variable], ...] = option(
        "--secret", unit=_SECRETS, metavar="NAME", group="input", default=(), repeatable=True,
        line_only=True, keyword=_secrets_of_python, completes="variable", secret=True,
        help="Hand a variable of the notebook over in the command's environment, and mask its value everywhere else.",
    )  # fmt: skip

    out: str | None = option(
        "-o", "--out", unit=IDENTIFIER, metavar="NAME", group="output", line_only=True, in_python=False,
        help="Keep the result in this variable.",
    )  # fmt: skip
    form: str | None = option(
        "--as", unit=choice(*FORMS), metavar="|".join(FORMS), group="output", line_only=True, in_python=False,
        help="Turn the output into this, for --out or to be shown. Default: the result itself.",
    )  # fmt: skip
    quiet: bool = flag("-q", "--quiet", group="output", help="Show nothing unless the command fails.")
    tee: str | None = option(
        "--tee", unit=PATH, metavar="FILE", group="output", line_only=True, completes="file",
        help="Write the output to this file as well.",
    )  # fmt: skip
    max_output: int | None = option(
        "--max-output", unit=SIZE, metavar="SIZE", group="output", default=DEFAULT_MAX_OUTPUT_BYTES, none=True,
        help="Stop the command when it has printed more than this (20MB, 1.5GiB, none). Default: 1GiB.",
    )  # fmt: skip
    label: str = option(
        "--label", unit=TEXT, metavar="TEXT", group="output", default="", line_only=True,
        help="Call the run this in what is shown. Default: its first line.",
    )  # fmt: skip

    condition: str | None = option(
        "--if", unit=EXPRESSION, metavar="EXPR", group="several", line_only=True, in_python=False,
        help="Run only if this Python expression of the notebook is true; otherwise the cell says that it was skipped.",
    )  # fmt: skip
    batch: bool = flag(
        "--batch", group="several", line_only=True, in_python=False,
        help="Take the cell for many commands, one a line or between lines of ---, and give a result for each. They share one shell.",
    )  # fmt: skip
    isolated: bool = flag(
        "--isolated", group="several", line_only=True, in_python=False,
        help="Fork the shell for each command of a batch, so that nothing of one reaches the next.",
    )  # fmt: skip
    keep_going: bool = flag(
        "--keep-going", group="several", line_only=True, in_python=False,
        help="Go on with the batch after a command that failed.",
    )  # fmt: skip

    cache: CachePolicy | float | None = option(  # noqa: RUF009 - a field; all its values are immutable
        "--cache", unit=TTL, metavar="TTL", group="cache", none=True, line_only=True, keyword=policy_of_python,
        help="Keep the result for so long (90s, 5m, inf), and give it instead of running an equal command again.",
    )  # fmt: skip
    cache_key: str | Callable[..., object] | None = option(  # noqa: RUF009 - a field; all its values are immutable
        "--cache-key", unit=TEXT, metavar="KEY", group="cache", line_only=True, keyword=key_of_python,
        help="File the result under this name, whatever the command and its surroundings are; targets have one each.",
    )  # fmt: skip
    cache_if: Callable[..., object] | None = option(  # noqa: RUF009 - a field; all its values are immutable
        "--cache-if", unit=CONDITION, metavar="EXPR", group="cache", line_only=True, keyword=condition_of_python,
        help="""Keep the result only if this Python expression over it holds, such as '"ready" in stdout'.""",
    )  # fmt: skip
    depends: tuple[str, ...] = option(
        "--depends", unit=PATHS, metavar="FILE", group="cache", default=(), repeatable=True, line_only=True, completes="file",
        help="Run again when this file, or anything in this directory, has changed; relative to where the command runs.",
    )  # fmt: skip
    cache_env: tuple[str, ...] = option(
        "--cache-env", unit=NAMES, metavar="NAME", group="cache", default=(), repeatable=True, line_only=True,
        help="Run again when this variable of the kernel's environment has another value. PATH and --env always count.",
    )  # fmt: skip
    stale: float = option(
        "--stale", unit=DURATION, metavar="TTL", group="cache", default=0.0, line_only=True,
        help="For so long after its time give the old result at once, and make a new one behind.",
    )  # fmt: skip
    cache_failures: float = option(
        "--cache-failures", unit=DURATION, metavar="TTL", group="cache", default=0.0, line_only=True,
        help="Keep a failure for so long, so that what is down is not asked all the time. Default: not at all.",
    )  # fmt: skip
    refresh: bool = flag(
        "--refresh", group="cache", line_only=True, help="Run it whatever is kept, and keep the new result."
    )
    persist: bool = flag(
        "--persist", group="cache", line_only=True, help="Keep the result on disk as well, for later kernels."
    )

    monitor: bool = flag(
        "--monitor", group="watch", help="Show what the command and its processes use while they run, and keep the chart."
    )  # fmt: skip
    rate: float = option(
        "--rate", unit=RATE, metavar="HZ", group="watch", default=4.0,
        help="With --monitor, take this many samples a second, 0.2 to 20. Default: 4.",
    )  # fmt: skip
    mark: tuple[str, ...] = option(
        "--mark", unit=REGEX, metavar="REGEX", group="watch", default=(), repeatable=True, line_only=True,
        help="With --monitor, mark lines of output in which this matches in the chart.",
    )  # fmt: skip
    bg: bool = flag(
        "--bg", group="watch", line_only=True, in_python=False, help="Give the notebook back at once and let it run."
    )

    show: bool = flag(
        "--show", group="safety", line_only=True, in_python=False, help="Show the command with its values filled in, secrets masked, above its output."
    )  # fmt: skip
    confirm: bool = flag(
        "--confirm", group="safety", line_only=True, help="With --on, ask before it runs, and before each further wave."
    )  # fmt: skip
    yes: bool = flag(
        "--yes", group="safety", line_only=True, help="Answer the questions of --confirm with yes, where nobody can be asked."
    )  # fmt: skip
    read_only: bool = flag(
        "--read-only", group="safety", help="The command changes nothing, so a retry after any failure is safe."
    )

    keep: bool = option(
        unit=SWITCH, keyword=_keep, metavar="BOOL", group="output", default=True,
        help="Keep the output for the result; without it only those who read along see it.",
    )  # fmt: skip

    sources: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    SPEC: ClassVar[OptionSet]

    # -- making -----------------------------------------------------------------------------------

    @classmethod
    def from_line(
        cls,
        line: str,
        *,
        cell: bool = False,
        settings: Settings | None = None,
        config: Mapping[str, Any] | None = None,
        expand: Callable[..., str] | None = None,
    ) -> tuple[Self, str]:
        """The options at the beginning of a line, laid over the standing defaults; and the rest of the line, byte for byte.

        Args:
            line: Behind the name of the magic.
            cell: It is the line of a cell magic, which holds options only.
            settings: Where standing defaults come from; None for the built-in ones.
            config: What `%config` sets; only what differs from the built-in defaults.
            expand: Fills `${{…}}` in the values of options, for some given what joins a list.

        Raises:
            OptionError: the line or a standing default is wrong.
        """
        parsed = cls.SPEC.parse_line(line, cell=cell, expand=expand)
        return cls._over(settings, config, parsed.values, THE_LINE), parsed.rest

    @classmethod
    def from_keywords(
        cls, keywords: Mapping[str, Any], *, settings: Settings | None = None, config: Mapping[str, Any] | None = None
    ) -> Self:
        """The options of a call in Python, laid over the standing defaults.

        Args:
            keywords: Option names to values; texts and Python values alike, as `timeout="5m"` or `timeout=300`.
            settings: As for `from_line`.
            config: As for `from_line`.

        Raises:
            OptionError: an unknown keyword, or a keyword or standing default with a wrong value.
        """
        return cls._over(settings, config, cls.SPEC.read_keywords(keywords), THE_CALL)

    @classmethod
    def from_values(
        cls, values: Mapping[str, Any], *, settings: Settings | None, config: Mapping[str, Any] | None, who: str
    ) -> Self:
        """The options of values that have been read already, laid over the standing defaults.

        Args:
            values: Option names to values.
            settings: As for `from_line`.
            config: As for `from_line`.
            who: Where the values come from, for messages.
        """
        return cls._over(settings, config, values, who)

    @classmethod
    def _over(
        cls, settings: Settings | None, config: Mapping[str, Any] | None, values: Mapping[str, Any], who: str
    ) -> Self:
        merged: dict[str, Any] = {}
        sources: dict[str, str] = {}
        layers = settings.layers() if settings is not None else []
        if config:
            layers = [*layers, ("%config", cls.SPEC.read_config(config, "%config"))]
        for source, layer in [*layers, (who, values)]:
            for name, value in layer.items():
                # Variables add up: a line that sets one more must not lose those set for all.
                merged[name] = tuple((dict(merged.get(name, ())) | dict(value)).items()) if name == "env" else value
                sources[name] = f"{sources[name]}, {source}" if name == "env" and name in sources else source
        return cls(**merged, sources=sources)

    # -- planning ---------------------------------------------------------------------------------

    def variables(self) -> list[str]:
        """The notebook's variables that `plan` will look up."""
        wanted = [self.stdin, *(value for _, value in self.secret)]
        return [value.name for value in wanted if isinstance(value, Variable)]

    def plan_for(self, command: Command) -> Plan:
        """The plan to run a command by these options' policies; of the outside it looks at the directory of `tee` only.

        Raises:
            OptionError: a value out of range; a retry that could do things twice.
        """
        policy = MonitorPolicy(
            self.rate, self.mark
        )  # made in any case: a wrong value is refused also where it is not used
        self.refuse_idle()
        return Plan(
            command,
            stop=StopPolicy(timeout_s=self.timeout, grace_s=self.grace, wait=self.wait),
            retry=RetryPolicy(
                retries=self.retries, codes=self.retry_codes, backoff_s=self.backoff, read_only=self.read_only
            ),
            limits=Limits(max_output_bytes=self.max_output, keep=self.keep),
            ok_codes=self.ok_codes,
            tee=self._tee_path(),
            label=self.label,
            monitor=policy if self.monitor else None,
            cache=self._cache_policy(command.cwd if command.target.kind == "local" else None),
        )

    # -- several targets --------------------------------------------------------------------------

    def fleet_policy(self) -> FleetPolicy:
        """How several targets are taken.

        Raises:
            OptionError: a number is out of range, or `yes` answers no question.
        """
        if self.yes and not self.confirm:
            raise OptionError(f"{self._who('yes')} answers what --confirm asks, which is not given")
        return FleetPolicy(self.fanout, self.canary, self.wave, self.max_fail, self.confirm)

    def fleet_options(self) -> list[str]:
        """The options for several targets that the line or the call has set."""
        return [name for name in FLEET_OPTIONS if self.sources.get(name) in {THE_LINE, THE_CALL}]

    def for_each_target(self) -> Self:
        """The same without what is for several targets."""
        plain = {name: self.SPEC.by_name[name].default for name in FLEET_OPTIONS}
        return replace(self, **plain, sources={k: v for k, v in self.sources.items() if k not in FLEET_OPTIONS})

    def refuse_idle(self) -> None:
        """Refuse what the line or the call sets to no effect; standing defaults may wait, and what was switched off may stay.

        Raises:
            OptionError: an option without the one that it belongs to.
        """
        asked = {name for name, source in self.sources.items() if source in (THE_LINE, THE_CALL)}
        for owner, (on_line, in_call, names) in _OWNERS.items():
            if getattr(self, owner) or owner in asked:
                continue
            for name in names:
                if name in asked:
                    what = on_line if self.sources[name] == THE_LINE else in_call
                    raise OptionError(f"{self._who(name)} belongs to {what}, which is not given")

    def plan(self, script: str | bytes, namespace: Mapping[str, Any] | None = None, target: Target = LOCAL) -> Plan:
        """The complete plan to run a script by these options. Looks at directories and files, and runs nothing.

        Args:
            script: Values already filled in.
            namespace: Where `--stdin NAME` and `--secret NAME` find their variables.
            target: Where to run it. What is on a host is looked at there, when it runs.

        Raises:
            OptionError: a directory, file, interpreter or variable that is not there; a value out of range.
        """
        self._refuse_for_one()
        secret = tuple((name, self._secret(name, value, namespace or {})) for name, value in self.secret)
        both = sorted({name for name, _ in self.env} & {name for name, _ in secret})
        if both:
            raise OptionError(f"{both[0]} is given by env and as a secret; keep one")
        here = target.kind != "ssh"
        command = Command(
            script=decode_script(script),
            target=target,
            shell=self._found_shell() if here else self._asked_for("shell", ()),
            strict=self.strict,
            login=self.login,
            cwd=self._directory() if here else self._asked_for("cwd", None),
            env=self.env,
            secret_env=secret,
            stdin=self._input(namespace or {}, here=here),
            worker=self._wants_worker(here=here),
            session=self.session,
            reset=self.reset,
        )
        return self.plan_for(command)

    def _refuse_for_one(self) -> None:
        """Refuse what is for several targets; as standing defaults they may wait for some."""
        for name in self.fleet_options():
            raise OptionError(
                f"{self._who(name)} is for a command on several targets: %%xec --on …, or xec.map(…, on=[…])"
            )

    def _asked_for(self, name: str, otherwise: Any) -> Any:
        """An option as the line or the call has it: the standing default for a path here means nothing on a host."""
        return getattr(self, name) if self.sources.get(name, THE_CALL) in (THE_LINE, THE_CALL) else otherwise

    def _cache_policy(self, directory: str | None) -> CachePolicy | None:
        return cache_policy(self, directory)

    def _who(self, name: str) -> str:
        """How to begin a message about an option: as its source would call it."""
        source = self.sources.get(name, THE_CALL)
        if source == THE_CALL:
            return name
        return self.SPEC.by_name[name].long if source == THE_LINE else f"{source}: {name}"

    def _directory(self) -> str | None:
        if self.cwd is None:
            return None
        path = absolute_path(self.cwd, self._who("cwd"))
        if not os.path.exists(path):
            hint = nearest(os.path.basename(path), names_in(os.path.dirname(path)))
            raise OptionError(f"{self._who('cwd')}: no such directory: {path}" + (f"; {hint}" if hint else ""))
        if not os.path.isdir(path):
            raise OptionError(f"{self._who('cwd')}: {path} is no directory")
        if not os.access(path, os.X_OK):
            raise OptionError(f"{self._who('cwd')}: no permission to enter {path}")
        return path

    def _found_shell(self) -> tuple[str, ...]:
        if self.shell and shutil.which(os.path.expanduser(self.shell[0])) is None:
            there = [name for name in _SHELLS if shutil.which(name)]
            hint = nearest(self.shell[0], there) or f"there are {', '.join(there)}"
            raise OptionError(f"{self._who('shell')}: there is no command {self.shell[0]!r} here; {hint}")
        if self.login and self.shell:
            from xec_magic.transport.shells import family_of  # here: loading the extension need not wait for it

            if family_of(self.shell) == "other":
                raise OptionError(f"{self._who('login')}: {self.shell[0]} is no shell that has a profile; leave it out")
        return (os.path.expanduser(self.shell[0]), *self.shell[1:]) if self.shell else ()

    def _wants_worker(self, *, here: bool) -> bool:
        """Whether it runs in a shell that was started ahead; what contradicts that, or a session, is refused here."""
        if self.reset and not self.session:
            raise OptionError(f"{self._who('reset')}: there is no session to reset; name it with --session NAME")
        if not self.worker and not self.session:
            return False
        from xec_magic.transport.shells import default_shell, is_warmable

        asked = self.sources.get("worker") in {THE_LINE, THE_CALL}  # a standing default concerns those that can
        if self.session and self.worker and asked:
            raise OptionError("worker keeps nothing and session keeps everything; leave one of them out")
        shell = (self.shell if here else self._asked_for("shell", ())) or (default_shell() if here else ("bash",))
        if is_warmable(shell):
            return not self.session
        if self.session or asked:
            who = self._who("session" if self.session else "worker")
            raise OptionError(f"{who}: {shell[0]} cannot be kept ready; bash, dash, sh and zsh can")
        return False

    def _input(self, namespace: Mapping[str, Any], *, here: bool) -> bytes | FileInput | None:
        given = self.stdin
        if isinstance(given, Variable):
            try:
                given = _stdin_of_python(_look_up(given, namespace))
            except OptionError as error:
                raise OptionError(f"{self._who('stdin')}: {error}") from None
        if not isinstance(given, FileInput) or not here:
            return given
        path = absolute_path(given.path, self._who("stdin"))
        if not os.path.exists(path):
            hint = nearest(os.path.basename(path), names_in(os.path.dirname(path)))
            raise OptionError(f"{self._who('stdin')}: no such file: {path}" + (f"; {hint}" if hint else ""))
        if os.path.isdir(path):
            raise OptionError(f"{self._who('stdin')}: {path} is a directory")
        if not os.access(path, os.R_OK):
            raise OptionError(f"{self._who('stdin')}: no permission to read {path}")
        return FileInput(path)

    def _secret(self, name: str, value: str | Variable, namespace: Mapping[str, Any]) -> str:
        if not isinstance(value, Variable):
            return value
        try:
            return _check_secret(name, _look_up(value, namespace))
        except OptionError as error:
            raise OptionError(f"{self._who('secret')}: {error}") from None

    def _tee_path(self) -> str | None:
        if self.tee is None:
            return None
        path = absolute_path(self.tee, self._who("tee"))
        if os.path.isdir(path):
            raise OptionError(f"{self._who('tee')}: {path} is a directory; give a file in it")
        if not os.path.isdir(os.path.dirname(path)):
            raise OptionError(f"{self._who('tee')}: no such directory: {os.path.dirname(path)}")
        return path


RunOptions.SPEC = OptionSet(RunOptions)


def _look_up(variable: Variable, namespace: Mapping[str, Any]) -> Any:
    try:
        return namespace[variable.name]
    except KeyError:
        hint = nearest(variable.name, [name for name in namespace if not name.startswith("_")])
        raise OptionError(
            f"there is no variable {variable.name!r} in the notebook" + (f"; {hint}" if hint else "")
        ) from None


def absolute_path(path: str, where: str) -> str:
    """A path as the kernel sees it, `~` and its directory filled in; `where` begins the message of a refusal."""
    try:
        return os.path.abspath(os.path.expanduser(path))
    except OSError as error:  # the kernel's own directory was removed
        raise OptionError(
            f"{where}: {path} has no absolute name, since the kernel's directory is gone: {error.strerror}"
        ) from error


def names_in(directory: str) -> list[str]:
    """What is in a directory, for hints; nothing where that cannot be known."""
    try:
        return os.listdir(directory)
    except OSError:
        return []
