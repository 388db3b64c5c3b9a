"""`Place`: what kind of place a value stands in, and so how it is quoted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from xec_magic.quoting.nodes import UNKNOWN
from xec_magic.quoting.values import Unfit

if TYPE_CHECKING:
    from xec_magic.quoting.heredoc import Heredoc
    from xec_magic.quoting.scan import Quotes

__all__ = ["Family", "Kind", "Place"]

Family = Literal["bash", "sh", "zsh"]
Kind = Literal["word", "double", "single", "ansi", "heredoc", "verbatim", "default", "number", "comment"]

_QUOTES: Final[dict[Kind, frozenset[Quotes]]] = {
    "word": frozenset({"code", "param"}),
    "number": frozenset({"code", "param", "quoted param", "arithmetic"}),
    "default": frozenset({"quoted param"}),
    "double": frozenset({"double"}),
    "single": frozenset({"single"}),
    "ansi": frozenset({"ansi"}),
    "heredoc": frozenset({"heredoc"}),
    "verbatim": frozenset({"heredoc"}),
    "comment": frozenset({"comment"}),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where one value stands.

    Attributes:
        kind: How a text is quoted there.
        words: Several words may stand there.
        none: No word at all may stand there.
        plain: A number needs no quotes there; in arithmetic, no parentheses.
        flat: Neither a backslash nor a newline survives there.
        heredoc: The here-document whose body it stands in, if any.
    """

    kind: Kind
    words: bool = False
    none: bool = False
    plain: bool = False
    flat: bool = False
    heredoc: Heredoc | None = None

    def check_quotes(self, quotes: Quotes | None) -> None:
        """Compare with what the characters alone tell.

        Raises:
            Unfit: they tell otherwise.
        """
        if quotes not in ({"heredoc"} if self.flat else _QUOTES[self.kind]):
            raise Unfit(UNKNOWN)
