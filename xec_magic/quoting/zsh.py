"""What zsh reads on behind a `$name`: into a subscript or a :modifier, in here-documents as well. A change of quotes ends it."""

from __future__ import annotations

import re

from xec_magic.quoting.values import Unfit

__all__ = ["refuse_glued_in_heredoc", "refuse_glued_in_word"]

_WORD_READS_ON = re.compile(rb"\$[^\s'\"]*[\[:][^\s'\"]*\Z")
_HEREDOC_READS_ON = re.compile(rb"\$(?:[^\s'\"/]*|[^\s'\"]*:\S*)\Z")
_GLUED = "stands right behind a $…, which zsh would read on into it; put it into quotes of its own"


def refuse_glued_in_word(source: bytes, word: int, start: int) -> None:
    """Refuse a value at `start` that stands behind such a name in the word that begins at `word`."""
    if _WORD_READS_ON.search(source, word, start):
        raise Unfit(_GLUED)


def refuse_glued_in_heredoc(source: bytes, start: int) -> None:
    """Refuse a value at `start` that stands behind such a name in a line of a here-document."""
    if _HEREDOC_READS_ON.search(source, source.rfind(b"\n", 0, start) + 1, start):
        raise Unfit(_GLUED)
