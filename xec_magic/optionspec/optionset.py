"""`OptionSet`: the options that a dataclass declares, and all that is derived from them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import MISSING, fields
from functools import cached_property
from typing import Any, Final, NamedTuple

from xec_magic.errors import OptionError
from xec_magic.optionspec.declare import Option
from xec_magic.optionspec.words import FIELD, Word, nearest, next_word

__all__ = ["OptionSet", "ParsedLine", "Trait"]

_HELP_INDENT: Final = 28  # column of the descriptions in `%%xec?`
_HELP_WIDTH: Final = 100


class ParsedLine(NamedTuple):
    """What a line sets, and what follows its options.

    Attributes:
        values: Option names to values; only what the line says.
        rest: The line behind the options, byte for byte.
    """

    values: Mapping[str, Any]
    rest: str


class Trait(NamedTuple):
    """One configurable value, as plain data: the magics make a traitlet of it."""

    name: str
    kind: str
    default: Any
    help: str


class OptionSet:
    """The options that a dataclass declares, and all that is derived from them.

    Args:
        owner: The dataclass.
        also: Options that another class declares and this one takes as well.
        unknown: What is said of an unknown option that is like none; empty for which there are.

    Example:
        >>> from dataclasses import dataclass
        >>> from xec_magic.optionspec import DURATION, option
        >>> @dataclass(frozen=True)
        ... class Naps:
        ...     nap: float | None = option("-n", "--nap", unit=DURATION, metavar="TIME", group="rest", help="Sleep this long.")
        >>> OptionSet(Naps).parse_line("-n 5m echo  'done'")
        ParsedLine(values={'nap': 300.0}, rest="echo  'done'")
    """

    def __init__(
        self,
        owner: type,
        also: Iterable[Option] = (),
        unknown: str = "a command that begins with a dash goes behind --",
    ) -> None:
        self.options: tuple[Option, ...] = (
            *(f.metadata["option"]._replace(name=f.name) for f in fields(owner) if "option" in f.metadata),
            *also,
        )
        self._advice = unknown or f"there are {', '.join(option.long for option in self.options)}"
        assert all(f.default is not MISSING for f in fields(owner) if "option" in f.metadata)

    def __iter__(self) -> Iterator[Option]:
        return iter(self.options)

    def __repr__(self) -> str:
        return f"<OptionSet {' '.join(option.long for option in self.options)}>"

    @cached_property
    def by_name(self) -> dict[str, Option]:
        """Options by their keyword."""
        return {option.name: option for option in self.options}

    @cached_property
    def by_flag(self) -> dict[str, Option]:
        """Options by each of their forms on the line, those that undo a switch included."""
        found = {flag: option for option in self.options for flag in option.flags}
        return found | {option.counter: option for option in self.options if option.counter}

    # -- lines

    def parse_line(self, line: str, *, cell: bool = False, expand: Callable[..., str] | None = None) -> ParsedLine:
        """What the options at the beginning of a line set, and the rest of the line.

        Options end at the first word that is none, or at `--`. Nothing is expanded but `${{…}}` in values.

        Args:
            line: Behind the name of the magic.
            cell: The line of a cell magic, which holds options only.
            expand: Fills `${{…}}` in a value; where the option takes lists, it is also given what joins one. Without it values stay as they are.

        Raises:
            OptionError: an unknown option, a missing or wrong value, an option given twice, a stray word in a cell's line.
        """
        texts: dict[str, list[tuple[str, str | bool]]] = {}
        at = 0
        while (word := next_word(line, at)) is not None:
            if line[word.start] != "-" or word.text == "-":
                break
            if word.text == "--":
                at = word.end
                word = next_word(line, at)
                break
            flag, option, value = self._split_flag(word)
            given: str | bool
            at = word.end
            if option.is_switch:
                if value is not None:
                    raise OptionError(f"{flag} takes no value; write {flag} alone")
                given = (not option.default) if flag in option.flags else bool(option.default)
            else:
                if value is None:
                    word = next_word(line, at)
                    if word is None or (
                        line[word.start] == "-" and word.text.partition("=")[0] in {"--", *self.by_flag}
                    ):
                        follows = (
                            f", which {word.text} is not; {flag}={word.text} takes it nevertheless" if word else ""
                        )
                        raise OptionError(f"{flag} needs a value, {option.metavar}{follows}")
                    value, at = word.text, word.end
                if not word.closed:
                    raise OptionError(f"{flag}: a quote is opened and never closed: {line[word.start :]}")
                given = value
                # A Python expression has the names themselves: a text put into it would be code.
                if expand is not None and FIELD in value and option.unit.kind != "expression":
                    given = expand(value, option.joins) if option.joins else expand(value)
            if option.name in texts and not option.repeatable:
                raise OptionError(f"{flag} is given twice; write {option.long} once")
            texts.setdefault(option.name, []).append((flag, given))
        rest = line[word.start :] if word is not None else ""
        if cell and rest.strip():
            raise OptionError(
                f"{_cut(rest)!r} is no option; the line of a cell holds options only, and the command goes on the lines below"
            )
        values = {}
        for name, given_texts in texts.items():
            flag, text = given_texts[-1]
            option = self.by_name[name]
            values[name] = option.read([text for _, text in given_texts] if option.repeatable else text, flag)
        return ParsedLine(values, rest)

    def _split_flag(self, word: Word) -> tuple[str, Option, str | None]:
        """The flag, its option, and the value that is glued to it: `--timeout=5`, `-t5`."""
        text = word.text
        if text.startswith("--"):
            flag, equals, value = text.partition("=")
            glued = value if equals else None
        else:
            flag, glued = text[:2], text[2:] or None
        option = self.by_flag.get(flag)
        if option is None:
            hint = nearest(flag, self.by_flag) if flag.startswith("--") else ""
            raise OptionError(
                f"there is no option {_cut(flag if glued is None or text.startswith('--') else text)}; "
                + (hint or self._advice)
            )
        return flag, option, glued

    # -- keywords and configuration

    def read_keywords(self, keywords: Mapping[str, Any]) -> dict[str, Any]:
        """The values of Python keywords.

        Raises:
            OptionError: an unknown keyword, or a value out of its unit.
        """
        values = {}
        for name, value in keywords.items():
            option = self.by_name.get(name)
            if option is None:
                hint = nearest(name, [option.name for option in self.options if option.in_python])
                flags = {flag.removeprefix("--").replace("-", "_") for flag in self.by_flag}
                if not hint and name in flags:
                    hint = f"it is {self.by_flag['--' + name.replace('_', '-')].name} in Python"
                raise OptionError(f"there is no option {name!r}" + (f"; {hint}" if hint else ""))
            if not option.in_python:
                raise OptionError(
                    f"{name}: only a line has {option.long}; in Python, work with what the function returns"
                )
            values[name] = option.read(value, name, python=True)
        return values

    def read_config(self, config: Mapping[str, Any], where: str, *, trusted: bool = True) -> dict[str, Any]:
        """The values that a configuration sets.

        Keys are keywords or long options, with `-` or `_`: `max_output`, `max-output`, `check = false`, `no-raise = true`.

        Args:
            config: Key to value; values as in Python or as on the line.
            where: File or other source, for messages.
            trusted: Whether options that need trust count.

        Raises:
            OptionError: an unknown key, one that only a line may set, one that needs trust, or a wrong value.
        """
        names = {option.name: (option, False) for option in self.options if option.flags}
        for flag, option in self.by_flag.items():
            if flag.startswith("--"):
                opposite = option.is_switch and (flag in option.flags) == bool(option.default)
                names.setdefault(flag[2:].replace("-", "_"), (option, opposite))
        values: dict[str, Any] = {}
        for key, value in config.items():
            found = names.get(key.replace("-", "_"))
            if found is None:
                hint = nearest(key, [option.name for option in self.options if option.flags and not option.line_only])
                raise OptionError(f"{where}: there is no option {key!r}" + (f"; {hint}" if hint else ""))
            option, opposite = found
            if option.line_only:
                raise OptionError(
                    f"{where}: {key} is no standing default; write {option.long} on the line that needs it"
                )
            if option.needs_trust and not trusted:
                raise OptionError(
                    f"{where}: {key} can make every command run other code, so a project's file may not set it; "
                    "put it in your own config.toml, or on the line"
                )
            if option.name in values:
                raise OptionError(f"{where}: {key} is set twice, by two of its names; keep one")
            read = option.read(value, f"{where}: {key}")
            values[option.name] = (not read) if opposite else read
        return values

    def read_environment(self, environ: Mapping[str, str]) -> dict[str, tuple[str, Any]]:
        """The values that `XEC_TIMEOUT` and its like set: option name to the variable's name and the value."""
        found = {}
        for variable, option in self._variables.items():
            text = environ.get(variable)
            if text is not None:
                found[option.name] = variable, option.read(text, variable)
        return found

    @cached_property
    def _variables(self) -> dict[str, Option]:
        return {environment_name(option): option for option in self.configurable()}

    def configurable(self) -> list[Option]:
        """The options that configuration may set."""
        return [option for option in self.options if option.flags and not option.line_only]

    def traits(self) -> list[Trait]:
        """The configurable options as plain data, for `%config`."""
        return [
            # A switch that is on says what it does when it is off: `--no-raise` is `check = False`.
            Trait(
                option.name,
                option.unit.kind,
                option.default,
                f"False: {option.help}" if option.default is True else option.help,
            )
            for option in self.configurable()
        ]

    # -- documentation

    def help_text(self, names: Container[str] | None = None) -> str:
        """The options by group, as `%%xec?` shows them: all, or those of these names."""
        lines: list[str] = []
        for group, all_options in self._groups():
            options = [option for option in all_options if names is None or option.name in names]
            if not options:
                continue
            lines += ["", f"{group}:"]
            for option in options:
                usage = "  " + ", ".join(option.flags) + (f" {option.metavar}" if option.metavar else "")
                text = textwrap.wrap(_full_help(option), _HELP_WIDTH - _HELP_INDENT, break_on_hyphens=False)
                if len(usage) < _HELP_INDENT - 1:
                    usage, text = usage.ljust(_HELP_INDENT) + text[0], text[1:]
                lines += [usage, *(" " * _HELP_INDENT + line for line in text)]
        return "\n".join(lines[1:])

    def markdown(self) -> str:
        """All options as one Markdown table a group, with their names in Python and in the environment."""
        lines: list[str] = []
        for group, options in self._groups():
            lines += ["", f"## {group}", "", "| option | what it does | Python | environment |", "|---|---|---|---|"]
            for option in options:
                variable = "" if option.line_only else f"`{environment_name(option)}`"
                lines.append(f"{_row(option)} {variable} |")
        return "\n".join(lines[1:])

    def table(self, names: Container[str]) -> str:
        """The options of these names as one Markdown table, with their names in Python."""
        rows = [_row(option) for option in self.options if option.name in names]
        return "\n".join(["| option | what it does | Python |", "|---|---|---|", *rows])

    def _groups(self) -> Iterator[tuple[str, list[Option]]]:
        on_lines = [option for option in self.options if option.flags]
        for group in dict.fromkeys(option.group for option in on_lines):
            yield group, [option for option in on_lines if option.group == group]


def environment_name(option: Option) -> str:
    """The variable that sets an option: `XEC_MAX_OUTPUT`."""
    return "XEC_" + option.name.upper()


def _row(option: Option) -> str:
    usage = ", ".join(f"`{flag}`" for flag in option.flags) + (f" `{option.metavar}`" if option.metavar else "")
    python = f"`{option.name}`" if option.in_python else ""
    python = f"`{option.name}=False`" if option.is_switch and option.default else python
    return f"| {_cell(usage)} | {_cell(_full_help(option))} | {_cell(python)} |"


def _full_help(option: Option) -> str:
    return option.help + (" May be repeated." if option.repeatable else "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _cut(text: str, width: int = 40) -> str:
    first = text.strip().partition("\n")[0]
    return first if len(first) <= width else first[: width - 1] + "…"
