"""Declaring an option, as a field of a dataclass: `option`, `flag`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import field
from typing import Any, Literal, NamedTuple

from xec_magic.errors import OptionError
from xec_magic.optionspec.values import SWITCH, Unit

__all__ = ["Completes", "Option", "flag", "option"]

Completes = Literal["", "directory", "file", "target", "variable", "variable-or-@file", "session"]


class Option(NamedTuple):
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
        joins: What a list in `${{…}}` is joined by; empty where a list cannot stand.
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
    joins: str = ""

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
    joins: str = "",
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
        joins: What a list in `${{…}}` is joined by.
        secret: The value stands in no `repr`.
    """
    spec = Option(
        "",
        flags,
        unit,
        default,
        help,
        group,
        metavar,
        repeatable,
        none,
        line_only,
        needs_trust,
        keyword,
        in_python,
        completes,
        joins,
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
