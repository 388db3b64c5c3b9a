"""`quoted`: what a server says, as it may stand in an error: one line, not a long one, without what a terminal would obey."""

from __future__ import annotations

from typing import Final

__all__ = ["quoted"]

MOST: Final = 300  # characters


def quoted(text: object) -> str:
    """A server's words in one line, without the stop at the end.

    Example:
        >>> quoted("Too many\\n logins.\\x1b[31m\\n")
        'Too many logins.?[31m'
    """
    line = " ".join(str(text).split())
    cut = line if len(line) <= MOST else f"{line[:MOST]}…"
    return "".join(char if char.isprintable() else "?" for char in cut).rstrip(".")
