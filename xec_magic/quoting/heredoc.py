"""`Heredoc`: a here-document, and what its body cannot carry."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xec_magic.quoting.nodes import UNKNOWN, child, known
from xec_magic.quoting.values import Unfit

if TYPE_CHECKING:
    from tree_sitter import Node

    from xec_magic.quoting.kinds import Family

__all__ = ["Heredoc", "heredoc_of"]

_MARK = re.compile(rb"\\?([A-Za-z_][A-Za-z0-9_.-]*)|'([A-Za-z_][A-Za-z0-9_.-]*)'|\"([A-Za-z_][A-Za-z0-9_.-]*)\"")


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A here-document: its end mark and its body's extent in the text, in bytes.

    Attributes:
        mark: The end mark, without quotes.
        tabs: Leading tabs are stripped (`<<-`).
        start: Where the body's first line begins.
        end: Where the end mark's line begins.
        family: Whose shell reads it.
    """

    mark: bytes
    tabs: bool
    start: int
    end: int
    family: Family

    def check(self, body: bytes, before: bytes, value: bytes) -> None:
        """Refuse a value that the finished body cannot carry.

        Args:
            body: The body, all values filled in.
            before: What stands before the value in it.
            value: The value as it stands there, and the byte behind.

        Raises:
            Unfit: the body would end early, or lose something.
        """
        mark = self.mark.decode()
        # A backslash at a line's end joins lines, and bash looks for the mark in the joined ones.
        for line in [*body.split(b"\n"), *body.replace(b"\\\n", b"").split(b"\n")]:
            text = line.lstrip(b"\t") if self.tabs else line
            if text == self.mark:
                raise Unfit(f"makes a line that is the here-document's end mark, {mark}; use another mark")
            same = next(
                (n for n, pair in enumerate(zip(text, self.mark, strict=False)) if pair[0] != pair[1]), len(self.mark)
            )
            if self.family == "sh" and 0 < same < len(text) and text[same] >= 0x80:  # seen in dash 0.5.12
                raise Unfit(
                    f"makes a line that begins like the end mark {mark}, where dash loses a byte; use another mark"
                )
        if self.tabs and (
            b"\n\t" in value or (value.startswith(b"\t") and not before.rpartition(b"\n")[2].strip(b"\t"))
        ):
            raise Unfit("has a line that begins with a tab, which <<- would strip; use <<")


def heredoc_of(body: Node, source: bytes, family: Family) -> Heredoc:
    """The here-document a body belongs to, checked line by line: a body read too long or too short is refused."""
    redirect = known(body.parent)
    start_mark, end_mark = child(redirect, "heredoc_start"), child(redirect, "heredoc_end")
    match = _MARK.fullmatch(start_mark.text or b"")
    if match is None:
        raise Unfit("stands in a here-document whose end mark is no plain word")
    mark = match[match.lastindex or 1]
    tabs = any(child.type == "<<-" for child in redirect.children)
    start = source.find(b"\n", start_mark.end_byte) + 1
    end = source.rfind(b"\n", 0, end_mark.start_byte) + 1
    rest = source[start_mark.end_byte : max(start, start_mark.end_byte)]
    if not 0 < start <= end or (body.start_byte > start and source[start : body.start_byte].strip()):
        raise Unfit(UNKNOWN)
    if b"\\\n" in rest or b"<<" in rest or rest.count(b'"') % 2 or rest.count(b"'") % 2:
        raise Unfit(UNKNOWN)
    lines = source[start:end].split(b"\n")[:-1]
    line_end = source.find(b"\n", end)
    last = source[end : line_end if line_end >= 0 else len(source)]
    if any(line.lstrip(b"\t") == mark for line in lines) or (last.lstrip(b"\t") if tabs else last) != mark:
        raise Unfit(UNKNOWN)
    return Heredoc(mark, tabs, start, end, family)
