"""How a value is read from text, from Python and from a configuration file: `Unit` and the units."""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from xec_magic.errors import OptionError
from xec_magic.optionspec.words import nearest
from xec_magic.units import parse_duration, parse_size

__all__ = [
    "CODES", "COUNT", "DURATION", "EXPRESSION", "IDENTIFIER", "PAIRS", "PATH", "RATE", "REGEX", "SIZE", "SWITCH", "TEXT",
    "WORDS", "Unit", "choice",
]  # fmt: skip


class Unit(NamedTuple):
    """How a value is read from text, from Python and from a configuration file.

    Attributes:
        kind: Name of the unit, for traits and documentation.
        read: The value from a text or a Python value, itself included; raises `OptionError` with a reason and no name.
        choices: All texts allowed; empty for no such list.
    """

    kind: str
    read: Callable[[Any], Any]
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


def _read_rate(value: Any) -> float:
    try:
        rate = float(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else math.nan
    except ValueError:
        rate = math.nan
    if not math.isfinite(rate):
        raise OptionError(f"{value!r} is no number of samples a second; write 4, or 0.5 for one in two seconds")
    return rate


def _read_regex(value: Any) -> tuple[str, ...]:
    """One regular expression or several, as texts."""
    patterns = [value] if isinstance(value, str) else value
    if not isinstance(patterns, Iterable):
        raise OptionError(f"{value!r} is no regular expression; write a text")
    found = []
    for pattern in patterns:
        text = _read_text(pattern)
        try:
            re.compile(text)
        except re.error as error:
            raise OptionError(f"{text!r} is no regular expression: {error}") from None
        found.append(text)
    return tuple(found)


def _read_identifier(value: Any) -> str:
    import keyword

    name = _read_text(value)
    if not name.isidentifier():
        raise OptionError(f"{name!r} is no Python name; write letters, digits and _, such as result")
    if keyword.iskeyword(name):
        raise OptionError(f"{name!r} is a word of Python's own; write another name, such as {name}_")
    return name


_SWITCH: Final = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


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


def _read_expression(value: Any) -> str:
    text = _read_text(value).strip()
    if "${{" in text:
        raise OptionError("it is Python already, so write the name itself, without ${{ }}")
    try:
        compile(text, "<option>", "eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        reason = (error.msg if isinstance(error, SyntaxError) else str(error)) or type(error).__name__
        raise OptionError(f"{text!r} is no Python expression: {reason}") from None
    return text


EXPRESSION: Final = Unit("expression", _read_expression)
TEXT: Final = Unit("text", _read_text)
PATH: Final = Unit("path", _read_path)
COUNT: Final = Unit("count", _read_count)
IDENTIFIER: Final = Unit("identifier", _read_identifier)
SWITCH: Final = Unit("switch", _read_switch)
RATE: Final = Unit("rate", _read_rate)
REGEX: Final = Unit("regex", _read_regex)
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
