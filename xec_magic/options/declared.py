"""`DeclaredOptions`: every option of a run, declared once; and who has set which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from xec_magic.defaults import FANOUT, MAX_OUTPUT_BYTES
from xec_magic.errors import OptionError
from xec_magic.options.cache import (
    CONDITION,
    NAMES,
    PATHS,
    TTL,
    condition_of_python,
    key_of_python,
    policy_of_python,
)
from xec_magic.options.input import SECRETS, STDIN, Variable, secrets_of_python, stdin_of_python
from xec_magic.options.where import SESSION, SHARE, TARGETS
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
    choice,
    flag,
    option,
)

if TYPE_CHECKING:  # what loads the extension need not wait for what plans are made of
    from xec_magic.cachepolicy import CachePolicy
    from xec_magic.command import FileInput, Target
    from xec_magic.fleetpolicy import Share

__all__ = ["THE_CALL", "THE_LINE", "DeclaredOptions"]

THE_LINE: Final = "the line"
THE_CALL: Final = "the call"

_FORMS: Final = ("text", "lines", "json", "jsonl", "csv", "table", "df", "bytes")


def _keep(value: Any) -> bool:
    if not isinstance(value, bool):
        raise OptionError(f"{value!r} is neither True nor False")
    return value


@dataclass(frozen=True)
class DeclaredOptions:
    """The options of one run; every field but `sources` is one.

    Attributes:
        sources: Option name to who set it: `the line`, `the call`, `%config`, a variable, a file. Options at their built-in
            default are not in it.
    """

    on: tuple[str | Target, ...] = option(
        "-H", "--on", unit=TARGETS, metavar="TARGETS", group="where", default=(), line_only=True, completes="target", joins=",",
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
        "--wave", unit=SHARE, metavar="N|N%", group="where", none=True, line_only=True,
        help="With several targets, take them in waves of N, or of N% of all, each after the end of the one before.",
    )  # fmt: skip
    max_fail: Share | None = option(  # noqa: RUF009 - a field; all its values are immutable
        "--max-fail", unit=SHARE, metavar="N|N%", group="where", none=True,
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
        "--session", unit=SESSION, metavar="NAME", group="where", default="", line_only=True, completes="session",
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
        "--stdin", unit=STDIN, metavar="NAME|@FILE", group="input", line_only=True,
        keyword=stdin_of_python, completes="variable-or-@file", secret=True,
        help="Let the command read a variable of the notebook (text or bytes), or a file. Default: nothing, at its end at once.",
    )  # fmt: skip
    secret: tuple[tuple[str, str | Variable], ...] = option(
        "--secret", unit=SECRETS, metavar="NAME", group="input", default=(), repeatable=True,
        line_only=True, keyword=secrets_of_python, completes="variable", secret=True,
        help="Hand a variable of the notebook over in the command's environment, and mask its value everywhere else.",
    )  # fmt: skip

    out: str | None = option(
        "-o", "--out", unit=IDENTIFIER, metavar="NAME", group="output", line_only=True, in_python=False,
        help="Keep the result in this variable.",
    )  # fmt: skip
    form: str | None = option(
        "--as", unit=choice(*_FORMS), metavar="|".join(_FORMS), group="output", line_only=True, in_python=False,
        help="Turn the output into this, for --out or to be shown. Default: the result itself.",
    )  # fmt: skip
    quiet: bool = flag("-q", "--quiet", group="output", help="Show nothing unless the command fails.")
    tee: str | None = option(
        "--tee", unit=PATH, metavar="FILE", group="output", line_only=True, completes="file",
        help="Write the output to this file as well.",
    )  # fmt: skip
    max_output: int | None = option(
        "--max-output", unit=SIZE, metavar="SIZE", group="output", default=MAX_OUTPUT_BYTES, none=True,
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

    def asks(self, name: str) -> bool:
        """The line or the call sets this option itself."""
        return self.sources.get(name) in {THE_LINE, THE_CALL}

    def asked_for(self, name: str, otherwise: Any) -> Any:
        """An option as the line or the call has it: the standing default for a path here means nothing on a host."""
        return getattr(self, name) if self.sources.get(name, THE_CALL) in {THE_LINE, THE_CALL} else otherwise

    def who(self, name: str) -> str:
        """How to begin a message about an option: as its source would call it."""
        source = self.sources.get(name, THE_CALL)
        if source == THE_CALL:
            return name
        return self.SPEC.by_name[name].long if source == THE_LINE else f"{source}: {name}"


DeclaredOptions.SPEC = OptionSet(DeclaredOptions)
