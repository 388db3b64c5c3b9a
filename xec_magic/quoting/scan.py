"""A second opinion on where quotes begin and end, from the characters alone.

The grammar knows what a place is for, but accepts some texts that no shell reads so, such as a quote that never ends
behind `=~`. A value goes in only where both agree on the quotes around it. In doubt this one gives up.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Quotes", "quotes_at"]

Quotes = Literal[
    "code", "double", "single", "ansi", "heredoc", "comment", "param", "quoted param", "arithmetic", "backquotes"
]

_HEREDOC = re.compile(rb"<<(-?)[ \t]*((?:'[^'\n]*'|\"[^\"\n]*\"|\\[^\n]|[^\s'\"\\;&|<>()])+)")
_PLAIN = re.compile(rb"[\w./:,=%+@~^-]+")  # nothing in any quotes
_BEFORE_COMMENT: Final = b" \t\n;&|()"


def quotes_at(source: bytes, places: Sequence[int], *, ansi: bool) -> list[Quotes | None]:
    """What quotes stand around each of `places`; None from where on that is not certain.

    Args:
        source: Shell text.
        places: Offsets into it, ascending.
        ansi: The shell has `$'…'`.
    """
    scan = _Scan(source, places, ansi=ansi)
    try:
        scan.run()
    except _Unsure:
        pass  # what was found before stays true: shells read from left to right
    return [*scan.found, *[None] * (len(places) - len(scan.found))]


class _Unsure(Exception):
    """The quotes cannot be told for certain from here on."""


class _Scan:
    """One reading of a text, from left to right.

    Attributes:
        found: The quotes around the places passed so far.
        stack: What is open, innermost last.
        heredocs: Here-documents whose bodies begin behind this line: end mark, and whether tabs are stripped.
        position: How far it has read.
    """

    def __init__(self, source: bytes, places: Sequence[int], *, ansi: bool) -> None:
        self.source = source
        self.places = places
        self.ansi = ansi
        self.found: list[Quotes] = []
        self.stack: list[Quotes] = ["code"]
        self.heredocs: list[tuple[bytes, bool]] = []
        self.position = 0

    def run(self) -> None:
        """Read on until all places are found.

        Raises:
            _Unsure: shells differ about what comes next, or it never ends.
        """
        while len(self.found) < len(self.places):
            if self.position >= len(self.source):
                raise _Unsure
            plain = _PLAIN.match(self.source, self.position)
            if plain is not None:
                self._advance(plain.end(), self.stack[-1])
            else:
                self._step()

    def _advance(self, position: int, quotes: Quotes) -> None:
        """Go on to a position; the places up to it are in these quotes."""
        while len(self.found) < len(self.places) and self.places[len(self.found)] < position:
            self.found.append(quotes)
        self.position = position

    def _find(self, what: bytes, start: int) -> int:
        found = self.source.find(what, start)
        if found < 0:
            raise _Unsure
        return found

    def _step(self) -> None:
        source, here, top = self.source, self.position, self.stack[-1]
        char, two = source[here : here + 1], source[here : here + 2]
        if char == b"\\":
            self._advance(here + 2, top)
        elif char == b"$" and two[1:] in {b"(", b"{", b"'", b"["}:
            self._dollar()
        elif char == b"$" and re.match(rb"[$#?!@*-]", two[1:]):
            self._advance(here + 2, top)  # a parameter of one character, even where it looks like a quote or a comment
        elif char == b'"':
            self._quote(top)
        elif char == b"'" and top != "double":
            if top in {"quoted param", "arithmetic"}:
                raise _Unsure  # shells differ
            self._advance(self._find(b"'", here + 1) + 1, "single")
        elif char == b"`":
            self._advance(here + 1, top)
            if "backquotes" in self.stack:
                self._pop("backquotes")
            else:
                self.stack.append("backquotes")
        elif char == b"\n" and self.heredocs:
            self._bodies()
        elif top in {"param", "quoted param"} and char == b"}":
            self._advance(here + 1, top)
            self.stack.pop()
        elif top == "arithmetic":
            self._arithmetic(two)
        elif top in {"code", "backquotes"}:
            self._code(char, two)
        else:
            self._advance(here + 1, top)

    def _pop(self, wanted: Quotes) -> None:
        if self.stack.pop() != wanted:
            raise _Unsure

    def _quote(self, top: Quotes) -> None:
        if top == "quoted param":
            raise _Unsure  # shells differ
        self._advance(self.position + 1, top)
        if top == "double":
            self.stack.pop()
        else:
            self.stack.append("double")

    def _dollar(self) -> None:
        here, top = self.position, self.stack[-1]
        rest = self.source[here : here + 3]
        if rest[1:2] == b"'":
            if top in {"double", "quoted param"}:
                self._advance(here + 1, top)
                return
            match = re.compile(rb"\$'(?:[^'\\]|\\.)*'", re.DOTALL).match(self.source, here)
            if match is None or (not self.ansi and b"\\" in match[0]):
                raise _Unsure
            self._advance(match.end(), "ansi" if self.ansi else "single")
        elif rest[1:2] == b"[":
            raise _Unsure  # arithmetic in bash and zsh, text in sh
        elif rest == b"$((":
            self._advance(here + 3, top)
            self.stack.append("arithmetic")
        elif rest[1:2] == b"(":
            self._advance(here + 2, top)
            self.stack.append("code")
        else:
            self._advance(here + 2, top)
            self.stack.append("quoted param" if top in {"double", "quoted param"} else "param")

    def _arithmetic(self, two: bytes) -> None:
        here = self.position
        if two == b"))":
            self._advance(here + 2, "arithmetic")
            self.stack.pop()
        elif two[:1] == b"(":
            depth_end = self._find(b")", here)
            inside = self.source[here + 1 : depth_end]
            if re.search(rb"[(\"'$`\\]", inside):
                raise _Unsure
            self._advance(depth_end + 1, "arithmetic")
        elif two[:1] == b")":
            raise _Unsure  # a subshell in a substitution after all
        else:
            self._advance(here + 1, "arithmetic")

    def _code(self, char: bytes, two: bytes) -> None:
        source, here, top = self.source, self.position, self.stack[-1]
        if char == b"#" and (
            here == 0 or source[here - 1] in _BEFORE_COMMENT or (top == "backquotes" and source[here - 1] == 96)
        ):
            end = source.find(b"\n", here)
            self._advance(end if end >= 0 else len(source), "comment")
        elif two == b"((":
            self._advance(here + 2, top)
            self.stack.append("arithmetic")
        elif char == b"(":
            self._advance(here + 1, top)
            self.stack.append("code")
        elif char == b")":
            # One without a `(` ends a pattern of case. In a substitution it looks like its end; then the rest is
            # read as the wrong kind, and refused.
            self._advance(here + 1, top)
            if len(self.stack) > 1 and top == "code":
                self.stack.pop()
        elif two == b"<<" and source[here : here + 3] != b"<<<":
            match = _HEREDOC.match(source, here)
            if match is None:
                raise _Unsure
            self.heredocs.append((re.sub(rb"['\"\\]", b"", match[2]), match[1] == b"-"))
            self._advance(match.end(), top)
        else:
            self._advance(here + (3 if two == b"<<" else 1), top)

    def _bodies(self) -> None:
        """Read over the here-documents that begin behind this line's end."""
        if self.stack[-1] != "code":
            raise _Unsure
        self._advance(self.position + 1, "code")
        for mark, tabs in self.heredocs:
            while True:
                if self.position >= len(self.source):
                    raise _Unsure
                end = self.source.find(b"\n", self.position)
                end = end if end >= 0 else len(self.source)
                line = self.source[self.position : end]
                self._advance(min(end + 1, len(self.source)), "heredoc")
                if (line.lstrip(b"\t") if tabs else line) == mark:
                    break
        self.heredocs.clear()
