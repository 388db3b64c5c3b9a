"""The options of `%xec_profile`: its own, and those of a run that make sense for many runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from xec_magic.command import LOCAL, Target
from xec_magic.errors import OptionError
from xec_magic.options.declared import THE_CALL, THE_LINE
from xec_magic.options.run import RunOptions
from xec_magic.options.settings import Settings
from xec_magic.optionspec import COUNT, TEXT, OptionSet, Unit, flag, option

if TYPE_CHECKING:
    from xec_magic.profiles.comparison import Variant

__all__ = ["ProfileOptions", "split_variants"]

# Of the options of a run those that say how it runs; what is shown and kept is the profile's own business.
RUN_OPTIONS: Final = (
    "on", "session", "reset", "cwd", "env", "shell", "login", "timeout", "grace", "check", "ok_codes", "strict", "wait", "stdin", "secret",
    "out", "max_output",
)  # fmt: skip
MOST_VALUES: Final = 100
_SEPARATOR = re.compile(r"^---[ \t]*(.*?)[ \t]*$", re.MULTILINE)


def _read_param(value: Any) -> tuple[str, tuple[str, ...]]:
    if isinstance(value, Mapping):
        if len(value) != 1:
            raise OptionError("give one name with its values, such as {'n': [1, 2, 4]}")
        ((name, given),) = value.items()
        values = given.split(",") if isinstance(given, str) else [str(one) for one in given]
    elif isinstance(value, str):
        name, equals, text = value.partition("=")
        if not equals:
            raise OptionError(f"there is no = in {value!r}; write a name, = and the values, such as n=1,2,4,8")
        values = text.split(",")
    else:
        raise OptionError(f"{value!r} gives no values; write a text such as n=1,2,4,8")
    values = [one.strip() for one in values if one.strip()]
    if not name.isidentifier():
        raise OptionError(f"{name!r} is no name of a variable; write letters, digits and _, such as n=1,2,4,8")
    if not values:
        raise OptionError(f"{name} has no values; write them behind the =, such as {name}=1,2,4,8")
    if len(values) > MOST_VALUES:
        raise OptionError(f"{name} has {len(values)} values; at most {MOST_VALUES} can be compared")
    double = [one for one in values if values.count(one) > 1]
    if double:
        raise OptionError(f"{name} has the value {double[0]} twice; write it once")
    return name, tuple(values)


def _read_texts(value: Any) -> tuple[str, ...]:
    return tuple(TEXT.read(one) for one in ([value] if isinstance(value, str) else value))


PARAM: Final = Unit("param", _read_param)
TEXTS: Final = Unit("texts", _read_texts)


@dataclass(frozen=True)
class ProfileOptions:
    """What `%xec_profile` takes; `run` holds the options of the runs."""

    runs: int = option(
        "-n", "--runs", unit=COUNT, metavar="N", group="profile", default=10, help="Measure this many runs. Default: 10."
    )  # fmt: skip
    warmup: int = option(
        "--warmup", unit=COUNT, metavar="N", group="profile", default=1,
        help="Run this often before, unmeasured, so that caches are warm. Default: 1.",
    )  # fmt: skip
    prepare: str | None = option(
        "--prepare", unit=TEXT, metavar="CMD", group="profile", help="Run this before each run, unmeasured."
    )  # fmt: skip
    cleanup: str | None = option(
        "--cleanup", unit=TEXT, metavar="CMD", group="profile", help="Run this once at the end, also after a failure."
    )  # fmt: skip
    vs: tuple[str, ...] = option(
        "--vs", unit=TEXTS, metavar="CMD", group="profile", default=(), repeatable=True,
        help="Compare with this command; the two take turns.",
    )  # fmt: skip
    param: tuple[str, tuple[str, ...]] | None = option(
        "--param", unit=PARAM, metavar="n=1,2,4", group="profile",
        help="Run with each of these values in the variable $n, and show how the time grows.",
    )  # fmt: skip
    report: bool = flag("--report", group="profile", help="Run nothing: show what all runs of this kernel took.")

    run: RunOptions = RunOptions()  # noqa: RUF009 - immutable

    SPEC: ClassVar[OptionSet]

    @classmethod
    def from_line(
        cls, line: str, *, cell: bool, settings: Settings | None, config: Mapping[str, Any] | None,
        expand: Callable[..., str] | None = None,
    ) -> tuple[ProfileOptions, str]:  # fmt: skip
        """The options at the beginning of a line, over the standing defaults of runs; and the rest of the line.

        Raises:
            OptionError: the line or a standing default is wrong.
        """
        parsed = cls.SPEC.parse_line(line, cell=cell, expand=expand)
        return cls._made(parsed.values, settings, config, THE_LINE), parsed.rest

    @classmethod
    def from_keywords(cls, keywords: Mapping[str, Any], *, settings: Settings | None = None) -> ProfileOptions:
        """The same for a call in Python."""
        return cls._made(cls.SPEC.read_keywords(keywords), settings, None, THE_CALL)

    @classmethod
    def _made(
        cls, values: Mapping[str, Any], settings: Settings | None, config: Mapping[str, Any] | None, who: str
    ) -> ProfileOptions:
        of_run = {name: value for name, value in values.items() if name in RUN_OPTIONS}
        own = {name: value for name, value in values.items() if name not in of_run}
        # What a profile runs is neither shown nor watched nor tried again, whatever the standing defaults say.
        standing = RunOptions.from_values(of_run, settings=settings, config=config, who=who)
        run = replace(standing, quiet=False, monitor=False, retries=0, max_output=standing.max_output)
        return cls(**own, run=run)

    def variants(
        self, texts: Sequence[tuple[str, str]], fill: Callable[[str], str], namespace: Mapping[str, Any] | None = None,
        targets: Sequence[Target] = (LOCAL,),
    ) -> list[Variant]:  # fmt: skip
        """What is to be compared: each text, each `--vs`, with each value of `--param`, on each target.

        Args:
            texts: Names and scripts; an empty name stands for the script's first line.
            fill: Puts values into `${{…}}`.
            namespace: Where `--stdin` and `--secret` find their variables.
            targets: Where to run; of several each variant's name begins with the host's.

        Raises:
            OptionError: something is not there, or two have one name.
        """
        from xec_magic.profiles.comparison import Variant  # here: loading the extension need not wait for it

        made = []
        pairs = [(target, *each) for each in [*texts, *(("", text) for text in self.vs)] for target in targets]
        for target, name, text in pairs:
            plan = self.run.plan(fill(text), namespace, target)
            title = (f"{target.name}: " if len(targets) > 1 else "") + (name or plan.command.title())
            if self.param is None:
                made.append(Variant(title, plan))
                continue
            param, values = self.param
            for value in values:
                command = replace(plan.command, env=(*plan.command.env, (param, value)))
                made.append(Variant(title, replace(plan, command=command), param, value))
        seen: set[str] = set()
        for variant in made:
            if variant.title in seen:
                raise OptionError(
                    f"two variants are called {variant.title!r}; write a name behind the dashes, as in --- fast"
                )
            seen.add(variant.title)
        return made


ProfileOptions.SPEC = OptionSet(ProfileOptions, also=[RunOptions.SPEC.by_name[name] for name in RUN_OPTIONS])


def split_variants(cell: str) -> list[tuple[str, str]]:
    """The variants of a cell, separated by lines `---`, which may name the one that follows: name and script each.

    Raises:
        OptionError: nothing stands between two of them.

    Example:
        >>> split_variants("--- a\\nsort f\\n--- b\\nsort -u f\\n")
        [('a', 'sort f\\n'), ('b', 'sort -u f\\n')]
    """
    parts = _SEPARATOR.split(cell)
    found = [("", parts[0]), *zip(parts[1::2], parts[2::2], strict=True)]
    if not found[0][1].strip():
        found = found[1:]
    found = [(name, script.removeprefix("\n")) for name, script in found]
    for name, script in found:
        if not script.strip():
            raise OptionError(f"there is no command below --- {name}".rstrip() + "; each --- begins a variant")
    return found
