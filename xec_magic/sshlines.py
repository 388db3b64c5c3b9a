"""Lines of an SSH configuration, taken apart as OpenSSH does it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Final

__all__ = ["conditions_of", "keyword_of", "words_of"]

_LINE: Final = re.compile(r"([A-Za-z][A-Za-z0-9]*)\s*(?:=\s*|\s+|(?=\"))(.*)")
_ALONE: Final = ("all", "canonical", "final")  # conditions of `Match` without a value


def keyword_of(line: str) -> tuple[str, str] | None:
    """The keyword of a line and what stands behind it; None where that is nothing.

    Example:
        >>> keyword_of("HostName=10.0.0.7")
        ('HostName', '10.0.0.7')
    """
    found = _LINE.fullmatch(line)
    return (found[1], found[2]) if found else None


def words_of(text: str) -> list[str]:
    """The words behind a keyword, up to a comment.

    Raises:
        ValueError: a quote is opened and never closed.

    Example:
        >>> words_of('a"b c" d#e # don\\'t')
        ['ab c', 'd#e']
    """
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    for word in lexer:
        if word.startswith("#"):
            break  # what stands behind it need not have its quotes in pairs
        words.append(word)
    return words


def conditions_of(words: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """The conditions of `Match`, each with its value if it takes one, also where they are written `host=name`.

    Example:
        >>> list(conditions_of(["!host=web1", "exec", "true", "final"]))
        [('!host', 'web1'), ('exec', 'true'), ('final', None)]
    """
    rest = iter(words)
    for word in rest:
        kind, equals, value = word.partition("=")
        if kind.lower().lstrip("!") in _ALONE:
            yield kind, None
        else:
            yield kind, value if equals else next(rest, "")
