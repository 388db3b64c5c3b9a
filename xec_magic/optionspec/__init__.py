"""An option is declared once; parser, help, keywords, configuration and the documentation's table follow from it.

A dataclass declares its options as fields made by `option` and `flag`. `OptionSet` of that class then reads lines, keywords and
configuration *sparsely*: it gives only the values that were set, so that layers of them can be laid over each other.
"""

from __future__ import annotations

from xec_magic.optionspec.declare import Completes, Option, flag, option
from xec_magic.optionspec.optionset import OptionSet, ParsedLine, Trait
from xec_magic.optionspec.values import (
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
    Unit,
    choice,
)
from xec_magic.optionspec.words import Word, nearest, next_word, what_there_is

__all__ = [
    "CODES",
    "COUNT",
    "DURATION",
    "EXPRESSION",
    "IDENTIFIER",
    "PAIRS",
    "PATH",
    "RATE",
    "REGEX",
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
    "what_there_is",
]
