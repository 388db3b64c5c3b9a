"""An option is declared once; parser, help, keywords, configuration and the documentation's table follow from it.

A dataclass declares its options as fields made by `option` and `flag`. `OptionSet` of that class then reads lines, keywords and
configuration *sparsely*: it gives only the values that were set, so that layers of them can be laid over each other.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import os
import re
import shlex
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from itertools import islice
from typing import Any, Final, Literal

from xec_magic.errors import OptionError
from xec_magic.units import parse_duration, parse_size

__all__ = [
    "CODES",
    "COUNT",
    "DURATION",
    "IDENTIFIER",
    "PAIRS",
    "PATH",
    "SIZE",
    "SWITCH",
    "TEXT",
    "WORDS",
    "Completes",
    "Option",
    "OptionSet",
    "ParsedLine",
    "Trait",
    "Unit",
    "Word",
    "choice",
    "flag",
    "nearest",
    "next_word",
    "option",
]

Completes = Literal["", "directory", "file", "variable", "variable-or-@file"]

_BLANK: Final = " \t\r\n"
_FIELD: Final = "${{"
_TRIES: Final = 100  # closings and marks tried in one `${{`; more are a typing error, which must not cost seconds
_HELP_INDENT: Final = 28  # column of the descriptions in `%%xec?`
_HELP_WIDTH: Final = 100


# -- units: how a value is read -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unit:
    """How a value is read from text, from Python and from a configuration file.

    Attributes:
        kind: Name of the unit, for traits and documentation.
        read: The value from a text or a Python value, itself included; raises `OptionError` with a reason and no name.
        choices: All texts allowed; empty for no such list.
    """

    kind: str
    read: Callable[[Any], Any] = field(repr=False)
    choices: tuple[str, ...] = ()


def _read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise OptionError(f"{value!r} is no text")
    if "\0" in value:
        raise OptionError("the text holds a NUL character, which nothing accepts; remove it")
    return value


def _read_path(value: Any) -> str:
    try:
        path = os.fspath(value)
    except TypeError:
        raise OptionError(f"{value!r} is no path; give a text or a pathlib.Path") from None
    path = os.fsdecode(path)
    if not path:
        raise OptionError("the path is empty")
    return _read_text(path)


def _read_count(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,9}\s*", value, re.ASCII):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise OptionError(f"{value!r} is no count; write a whole number, zero or more")


def _read_identifier(value: Any) -> str:
    import keyword

    name = _read_text(value)
    if not name.isidentifier():
        raise OptionError(f"{name!r} is no Python name; write letters, digits and _, such as result")
    if keyword.iskeyword(name):
        raise OptionError(f"{name!r} is a word of Python's own; write another name, such as {name}_")
    return name


_SWITCH: Final = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def _read_switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _SWITCH:
        return _SWITCH[value.strip().lower()]
    raise OptionError(f"{value!r} is neither true nor false")


def _read_codes(value: Any) -> frozenset[int]:
    if isinstance(value, str):
        items: Iterable[Any] = [part.strip() for part in value.split(",") if part.strip()]
    elif isinstance(value, Iterable) and not isinstance(value, (bytes, Mapping)):
        items = value
    else:
        items = [value]
    codes = set()
    for item in items:
        try:
            codes.add(_read_count(item))
        except OptionError:
            raise OptionError(f"{item!r} is no exit code; write numbers between 0 and 255, such as 0,1") from None
    return frozenset(codes)


def _read_words(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        try:
            words: Sequence[Any] = shlex.split(value)
        except ValueError as error:
            raise OptionError(f"{value!r} cannot be split into words: {str(error).lower()}") from None
    elif isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        words = value
    else:
        raise OptionError(f"{value!r} is no command; write a text such as 'zsh -f', or a list of words")
    if not words or words[0] == "":
        raise OptionError("the command is empty; leave the option out for the default")
    return tuple(_read_text(word) for word in words)


def _read_pairs(value: Any) -> tuple[tuple[str, str], ...]:
    """Names with values, of a mapping or its pairs, a text `A=1 B='x y'`, or a list of `A=1`; the last of a name counts."""
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError as error:
            raise OptionError(f"the text cannot be split into K=V: {str(error).lower()}") from None
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, Sequence) and all(isinstance(item, str) for item in value):
        if not all("=" in item for item in value):
            raise OptionError("there is no = in it; write a name, = and the value, such as LANG=C")
        items = [tuple(item.split("=", 1)) for item in value]
    elif isinstance(value, Sequence) and all(isinstance(item, tuple) and len(item) == 2 for item in value):
        items = list(value)
    else:
        # Not shown: what stands here may be a token.
        raise OptionError(f"a {type(value).__name__} gives no names with values; give a dict of texts")
    pairs = {}
    for name, text in items:
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise OptionError(f"{name!r} is no name of a variable; it must hold a character, and neither = nor NUL")
        if not isinstance(text, str):
            raise OptionError(f"the value of {name} must be text, not {type(text).__name__}; str() makes it one")
        if "\0" in text:
            raise OptionError(f"the value of {name} holds a NUL character, which no variable can; remove it")
        pairs[name] = text
    return tuple(pairs.items())


TEXT: Final = Unit("text", _read_text)
PATH: Final = Unit("path", _read_path)
COUNT: Final = Unit("count", _read_count)
IDENTIFIER: Final = Unit("identifier", _read_identifier)
SWITCH: Final = Unit("switch", _read_switch)
CODES: Final = Unit("codes", _read_codes)
WORDS: Final = Unit("words", _read_words)
PAIRS: Final = Unit("pairs", _read_pairs)
DURATION: Final = Unit("duration", parse_duration)
SIZE: Final = Unit("size", parse_size)


def choice(*names: str) -> Unit:
    """The unit of an option that takes one of a few words."""

    def read(value: Any) -> str:
        if value not in names:
            hint = nearest(str(value), names)
            raise OptionError(f"{value!r} is not among {', '.join(names)}" + (f"; {hint}" if hint else ""))
        return str(value)

    return Unit("choice", read, names)


# -- declaring ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Option:
    """One declared option.

    Attributes:
        name: Keyword in Python, key in configuration files, name of the trait.
        flags: What the line calls it, the long form last; empty when no line has it.
        unit: How its value is read.
        default: Its value when nobody sets it.
        help: One or two sentences; the first is the short form.
        group: Heading under which help lists it.
        metavar: What its value is called in help; empty for a switch.
        repeatable: May stand several times on a line; the unit gets the list of texts.
        none: The word `none`, and None in Python, mean "no limit".
        line_only: Makes no sense as a standing default, so no configuration may set it.
        needs_trust: A project's file may set it only when trusted.
        keyword: How a Python value is read when that differs from a text; None when it does not.
        in_python: Whether functions take it as a keyword.
        completes: What its value is completed from.
    """

    name: str
    flags: tuple[str, ...]
    unit: Unit
    default: Any
    help: str
    group: str
    metavar: str = ""
    repeatable: bool = False
    none: bool = False
    line_only: bool = False
    needs_trust: bool = False
    keyword: Callable[[Any], Any] | None = None
    in_python: bool = True
    completes: Completes = ""

    @property
    def is_switch(self) -> bool:
        """It stands alone on a line, without a value."""
        return not self.metavar

    @property
    def long(self) -> str:
        """Its long form, as `--timeout`; the keyword when no line has it."""
        return self.flags[-1] if self.flags else self.name

    @property
    def counter(self) -> str:
        """The long form that undoes a switch set by configuration; empty when there is none."""
        if not self.is_switch or self.line_only or not self.flags:
            return ""
        return "--" + self.long[5:] if self.long.startswith("--no-") else "--no-" + self.long[2:]

    @property
    def brief(self) -> str:
        """The first sentence of its help."""
        return re.split(r"(?<=\.)\s", self.help, maxsplit=1)[0].rstrip(".")

    def read(self, value: Any, where: str, *, python: bool = False) -> Any:
        """Its value from a text or a Python value; `where` begins the message of a refusal."""
        # None is what a configuration is set back to, and how a call undoes one.
        if self.none and (value is None or (isinstance(value, str) and value.strip().lower() == "none")):
            return None
        if value is None and self.default in {None, (), ""}:
            return self.default
        try:
            return (self.keyword if python and self.keyword else self.unit.read)(value)
        except OptionError as error:
            raise OptionError(f"{where}: {error}") from None


def option(
    *flags: str,
    unit: Unit,
    help: str,  # noqa: A002 - what argparse calls it, too
    group: str,
    metavar: str,
    default: Any = None,
    repeatable: bool = False,
    none: bool = False,
    line_only: bool = False,
    needs_trust: bool = False,
    keyword: Callable[[Any], Any] | None = None,
    in_python: bool = True,
    completes: Completes = "",
    secret: bool = False,
) -> Any:
    """A dataclass field that is an option with a value; the arguments are `Option`'s.

    Args:
        *flags: As on the line, the long form last; none for an option of the Python functions alone.
        unit: How its value is read.
        help: One or two sentences.
        group: Heading in help.
        metavar: What the value is called in help.
        default: Its value when nobody sets it.
        repeatable: May stand several times on a line.
        none: `none` means no limit.
        line_only: No configuration may set it.
        needs_trust: A project's file may set it only when trusted.
        keyword: How a Python value is read when that differs from a text.
        in_python: Whether functions take it as a keyword.
        completes: What its value is completed from.
        secret: The value stands in no `repr`.
    """
    spec = Option(
        "", flags, unit, default, help, group, metavar, repeatable, none, line_only, needs_trust, keyword, in_python, completes
    )
    return field(default=default, repr=not secret, metadata={"option": spec})


def flag(
    *flags: str,
    help: str,  # noqa: A002 - what argparse calls it, too
    group: str,
    default: bool = False,
    line_only: bool = False,
    in_python: bool = True,
) -> Any:
    """A dataclass field that is a switch; on the line it turns `default` into its opposite."""
    spec = Option("", flags, SWITCH, default, help, group, line_only=line_only, in_python=in_python)
    return field(default=default, metadata={"option": spec})


# -- words ----------------------------------------------------------------------------------------


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint that names what was probably meant; empty when nothing is near.

    Example:
        >>> nearest("--timout", ["--timeout", "--tee", "--env"])
        'did you mean --timeout?'
    """

    def plain(text: str) -> str:
        return text.lower().replace("_", "-").strip("-")

    scores = {known: difflib.SequenceMatcher(None, plain(known), plain(name)).ratio() for known in names}
    best = max(scores.values(), default=0.0)
    close = [known for known, score in scores.items() if score >= max(0.6, best - 0.05)]
    return f"did you mean {' or '.join(close[:3])}?" if close else ""


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a line.

    Attributes:
        text: Without its quotes.
        start: Where it begins in the line.
        end: Where the line goes on behind it.
        closed: Every quote in it is closed.
    """

    text: str
    start: int
    end: int
    closed: bool = True


def next_word(line: str, start: int) -> Word | None:
    """The next word of a line from `start`; None at its end.

    Quotes and backslashes mean what they mean to a POSIX shell. `${{…}}` stays as it is, blanks and quotes included; it ends
    at the first `}}` at which a Python expression is complete, and at the line's end if there is none.

    Example:
        >>> next_word('''--cwd "${{ d['a b'] }}/x y" ls''', 5).text
        "${{ d['a b'] }}/x y"
    """
    at = start
    while at < len(line) and line[at] in _BLANK:
        at += 1
    if at == len(line):
        return None
    begin, text, quote = at, "", ""
    while at < len(line):
        char = line[at]
        if quote != "'" and char == "\\" and at + 1 < len(line):
            follower = line[at + 1]
            text += follower if not quote or follower in '"\\$`' else char + follower
            at += 2
        elif line.startswith("$" + _FIELD, at):
            text += "$" + _FIELD
            at += 4
        elif line.startswith(_FIELD, at):
            end = _field_end(line, at)
            if end is None:
                return Word(text + line[at:], begin, len(line))
            text += line[at:end]
            at = end
        elif char == quote:
            quote = ""
            at += 1
        elif not quote and char in "'\"":
            quote = char
            at += 1
        elif not quote and char in _BLANK:
            break
        else:
            text += char
            at += 1
    return Word(text, begin, at, closed=not quote)


def _field_end(line: str, start: int) -> int | None:
    """Where the `${{` at `start` is closed; None if nowhere."""
    inner = start + len(_FIELD)
    end = inner - 1
    for _ in range(_TRIES):
        end = line.find("}}", end + 1)
        if end < 0:
            break
        body = line[inner:end]
        # `x!raw` and `x:.2f`: the expression ends before a conversion or a format.
        marks = islice(re.finditer(r"[!:]", body), _TRIES)
        if _is_expression(body) or any(_is_expression(body[: mark.start()]) for mark in marks):
            return end + 2
    return None


def _is_expression(source: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(source.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


# -- the set --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ParsedLine:
    """What a line sets, and what follows its options.

    Attributes:
        values: Option names to values; only what the line says.
        rest: The line behind the options, byte for byte.
    """

    values: Mapping[str, Any]
    rest: str


@dataclass(frozen=True, slots=True)
class Trait:
    """One configurable value, as plain data: the magics make a traitlet of it."""

    name: str
    kind: str
    default: Any
    help: str


class OptionSet:
    """The options that a dataclass declares, and all that is derived from them.

    Args:
        owner: The dataclass.

    Example:
        >>> @dataclass(frozen=True)
        ... class Naps:
        ...     nap: float | None = option("-n", "--nap", unit=DURATION, metavar="TIME", group="rest", help="Sleep this long.")
        >>> OptionSet(Naps).parse_line("-n 5m echo  'done'")
        ParsedLine(values={'nap': 300.0}, rest="echo  'done'")
    """

    def __init__(self, owner: type) -> None:
        self.options: tuple[Option, ...] = tuple(
            dataclasses.replace(f.metadata["option"], name=f.name) for f in fields(owner) if "option" in f.metadata
        )
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

    def parse_line(self, line: str, *, cell: bool = False, expand: Callable[[str], str] | None = None) -> ParsedLine:
        """What the options at the beginning of a line set, and the rest of the line.

        Options end at the first word that is none, or at `--`. Nothing is expanded but `${{…}}` in values.

        Args:
            line: Behind the name of the magic.
            cell: The line of a cell magic, which holds options only.
            expand: Fills `${{…}}` in a value; without it values stay as they are.

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
            at = word.end
            if option.is_switch:
                if value is not None:
                    raise OptionError(f"{flag} takes no value; write {flag} alone")
                given: str | bool = (not option.default) if flag in option.flags else bool(option.default)
            else:
                if value is None:
                    word = next_word(line, at)
                    if word is None or (line[word.start] == "-" and word.text.partition("=")[0] in {"--", *self.by_flag}):
                        follows = f", which {word.text} is not; {flag}={word.text} takes it nevertheless" if word else ""
                        raise OptionError(f"{flag} needs a value, {option.metavar}{follows}")
                    value, at = word.text, word.end
                if not word.closed:
                    raise OptionError(f"{flag}: a quote is opened and never closed: {line[word.start :]}")
                given = expand(value) if expand is not None and _FIELD in value else value
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
                + (hint or "a command that begins with a dash goes behind --")
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
                raise OptionError(f"{name}: only a line has {option.long}; in Python, work with what the function returns")
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
                raise OptionError(f"{where}: {key} is no standing default; write {option.long} on the line that needs it")
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
        return [Trait(option.name, option.unit.kind, option.default, option.help) for option in self.configurable()]

    # -- documentation

    def help_text(self) -> str:
        """All options by group, as `%%xec?` shows them."""
        lines: list[str] = []
        for group, options in self._groups():
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
                usage = ", ".join(f"`{flag}`" for flag in option.flags) + (f" `{option.metavar}`" if option.metavar else "")
                python = f"`{option.name}`" if option.in_python else ""
                python = f"`{option.name}=False`" if option.is_switch and option.default else python
                variable = "" if option.line_only else f"`{environment_name(option)}`"
                lines.append(f"| {_cell(usage)} | {_cell(_full_help(option))} | {_cell(python)} | {variable} |")
        return "\n".join(lines[1:])

    def _groups(self) -> Iterator[tuple[str, list[Option]]]:
        on_lines = [option for option in self.options if option.flags]
        for group in dict.fromkeys(option.group for option in on_lines):
            yield group, [option for option in on_lines if option.group == group]


def environment_name(option: Option) -> str:
    """The variable that sets an option: `XEC_MAX_OUTPUT`."""
    return "XEC_" + option.name.upper()


def _full_help(option: Option) -> str:
    return option.help + (" May be repeated." if option.repeatable else "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _cut(text: str, width: int = 40) -> str:
    first = text.strip().partition("\n")[0]
    return first if len(first) <= width else first[: width - 1] + "…"
