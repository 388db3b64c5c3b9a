"""The text that gives a value in its place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xec_magic.quoting.values import Unfit, as_number

if TYPE_CHECKING:
    from xec_magic.quoting.fields import Field
    from xec_magic.quoting.kinds import Family, Place

__all__ = ["Value", "insert"]

_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_HARMLESS = re.compile(r"[\w .,:/@%+=-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Value:
    """A value on its way into the text.

    Attributes:
        field: Where it comes from; words its errors.
        value: What the expression gave; decides whether it may stand in arithmetic.
        words: Its texts: one, or for a list any number.
        many: It is a list.
    """

    field: Field
    value: Any
    words: tuple[str, ...]
    many: bool = False


def insert(value: Value, place: Place, family: Family) -> str:
    """The text that gives the value in its place.

    Raises:
        Unfit: it cannot stand there.
    """
    if place.kind == "number":
        if value.many:
            raise Unfit("is a list, but stands in arithmetic")
        number = as_number(value.value, value.words[0], floats=family == "zsh")
        # Parentheses, because `1 -${{n}}` would become `1 --3`.
        return f"({number})" if number.startswith("-") and not place.plain else number
    if place.flat and any("\n" in word or "\\" in word for word in value.words):
        raise Unfit("has a newline or a backslash, which would not survive in a command inside a here-document")
    if not value.many:
        return _quoted(value.words[0], place, family)
    if not place.words:
        hint = "write ' '.join(…), or put it apart as words of its own"
        raise Unfit(f"is a list, but stands where one text is wanted; {hint}")
    if not value.words and not place.none:
        raise Unfit("is an empty list, but stands for the command's name")
    return " ".join(_quoted(word, place, family) for word in value.words)


def _quoted(text: str, place: Place, family: Family) -> str:
    """The text, quoted for its place; a comment raises Unfit for what could leave it."""
    match place.kind:
        case "word":
            return text if place.plain and _NUMBER.fullmatch(text) else _single(text)
        case "double":
            # zsh reads `$name` on into what follows: subscripts and :modifiers. A change of quotes ends it.
            return f'"{_single(text)}"' if family == "zsh" else re.sub(r'([\\$`"])', r"\\\1", text)
        case "single":
            return text.replace("'", "'\\''")
        case "ansi":
            return f"'{_single(text)}$'"
        case "heredoc":
            return re.sub(r"([\\$`])", r"\\\1", text)
        case "default":
            return re.sub(r'([\\$`"}])', r"\\\1", text)
        case "comment" if not _HARMLESS.fullmatch(text):
            raise Unfit("stands in a comment, where only letters, digits, blanks and .,:/@%+=-_ are let through")
    return text


def _single(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
