"""A Python value as the text it stands for: one text, several words, a number, a literal."""

from __future__ import annotations

import json
import math
import os
import re
import types
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

__all__ = ["Unfit", "as_json", "as_literal", "as_number", "as_text", "as_words", "check_text"]

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"-?[0-9]+\.[0-9]+(?:e[+-]?[0-9]+)?|-?[0-9]+e[+-]?[0-9]+")
_INT64: Final = 2**63  # shells count in 64 bits and wrap silently


class Unfit(Exception):
    """The value cannot be given in this form; the text says why and what to write instead."""


def as_text(value: object) -> str:
    """The one text a value stands for.

    Raises:
        Unfit: it stands for none, or for several.
    """
    if isinstance(value, str):
        return str.__str__(value)  # an enum of strings prints its name, but its value is meant
    if isinstance(value, (bool, int, float)):
        return str(value)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "surrogateescape")
    if value is None:
        raise Unfit("is None")
    if isinstance(value, Mapping):
        raise Unfit("is a mapping; give one of its values, or its JSON text with !json")
    if as_words(value) is not None:
        raise Unfit("is a list, which stands for several words")
    if isinstance(value, AbstractSet):
        raise Unfit("is a set, which has no order; write sorted(…)")
    if isinstance(value, (type, types.ModuleType)) or callable(value):
        raise Unfit(f"is a {type(value).__name__}, not a value" + ("; call it?" if callable(value) else ""))
    if type(value).__str__ is object.__str__ and type(value).__repr__ is object.__repr__:
        raise Unfit(f"is a {type(value).__name__}, which has no text of its own")
    if hasattr(value, "__next__") or getattr(value, "ndim", False):
        raise Unfit(f"is a {type(value).__name__}; make a list or a text of it")
    try:
        text = str(value)
    except Exception as error:
        raise Unfit(f"has no text: {_reason(error)}") from error
    return text


def as_words(value: object) -> list[object] | None:
    """The elements of a list, tuple, range, or one-dimensional array or column; None for anything else."""
    if isinstance(value, (list, tuple, range)):
        return list(value)
    if getattr(value, "ndim", None) == 1 and hasattr(value, "tolist"):
        return list(value.tolist())
    return None


def as_number(value: object, text: str, *, floats: bool) -> str:
    """The text of a number, if shell arithmetic can read it.

    Args:
        value: What the expression gave; only a number may stand in arithmetic, where a text would be evaluated.
        text: Its text, formatted.
        floats: Whether the shell calculates with fractions.

    Raises:
        Unfit: it is no number, or not one the shell can hold.
    """
    number = hasattr(value, "__index__") or hasattr(value, "__float__")
    if isinstance(value, (str, bytes, bytearray, bool)) or not number:
        raise Unfit(f"is a {type(value).__name__}; in arithmetic only a number can stand, write int(…)")
    if _INTEGER.fullmatch(text):
        if not -_INT64 < int(text) < _INT64:
            raise Unfit("is beyond the shell's 64-bit numbers")
    elif not _FLOAT.fullmatch(text):
        raise Unfit(f"gives {text!r}, which is no number to the shell")
    elif not floats:
        raise Unfit("has a fraction; this shell calculates with whole numbers, write int(…) or round(…)")
    return text


def as_json(value: object) -> str:
    """The JSON text of a value, in ASCII.

    Raises:
        Unfit: JSON cannot hold it.
    """
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise Unfit(f"has no JSON form: {error}") from error


def as_literal(value: object) -> str:
    """The Python literal of a plain value.

    Raises:
        Unfit: `repr` of it, or of something in it, is no literal.
    """
    _check_literal(value, 0)
    return repr(value)


def _check_literal(value: Any, depth: int) -> None:
    if depth > 50:
        raise Unfit("is nested too deeply for a literal")
    if value is None or type(value) in (str, bytes, int, bool) or (type(value) is float and math.isfinite(value)):
        return
    if type(value) in (list, tuple) or (type(value) is set and value):
        for element in value:
            _check_literal(element, depth + 1)
    elif type(value) is dict:
        for key, element in value.items():
            _check_literal(key, depth + 1)
            _check_literal(element, depth + 1)
    else:
        raise Unfit(
            f"is or holds {value!r:.40}, which has no Python literal; make a str, int, float, list or dict of it"
        )


def check_text(text: str) -> str:
    """The text itself, if a script can carry it.

    Raises:
        Unfit: it holds a NUL, or a surrogate that stands for no byte.
    """
    if "\0" in text:
        raise Unfit("holds a NUL character, which no command can carry")
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise Unfit("holds a lone surrogate, which is no character") from error
    return text


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
