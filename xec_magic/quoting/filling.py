"""Shell text filled in: the place of each value is found, the value quoted for it, and the result read again."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, cast

from xec_magic.command import encode_script
from xec_magic.errors import TemplateError
from xec_magic.grammar import grammar_bytes, parse
from xec_magic.quoting.around import same_outside
from xec_magic.quoting.inserting import Value, insert
from xec_magic.quoting.places import place_of
from xec_magic.quoting.scan import quotes_at
from xec_magic.quoting.values import Unfit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tree_sitter import Tree

    from xec_magic.quoting.kinds import Family, Place

__all__ = ["filled_in"]

_Spans = list[tuple[int, int]]


def filled_in(parts: Sequence[str | Value], family: str) -> str:
    """The text with its values quoted for their places."""
    if not any(isinstance(part, Value) for part in parts):
        return "".join(cast("Sequence[str]", parts))
    if family not in {"bash", "sh", "zsh"}:
        raise TemplateError(f"{family!r} is no family of shells; there are bash, sh, zsh and other")
    shell = cast("Family", family)
    source, spans, values = _with_stand_ins(parts)
    tree = parse(source)
    filled: list[tuple[Place, str]] = []
    seen = quotes_at(source, [start for start, _ in spans], ansi=shell != "sh")
    for value, (start, end), quotes in zip(values, spans, seen, strict=True):
        try:
            place = place_of(tree, source, start, end, shell)
            place.check_quotes(quotes)
            filled.append((place, insert(value, place, shell)))
        except Unfit as error:
            raise value.field.error(str(error)) from error
    _check_result(tree, source, spans, values, filled)
    ready = (text for _, text in filled)
    return "".join(part if isinstance(part, str) else next(ready) for part in parts)


def _with_stand_ins(parts: Sequence[str | Value]) -> tuple[bytes, _Spans, list[Value]]:
    """The text with a plain word in place of each value: its bytes, where the words are, and the values."""
    plain = "".join(part for part in parts if isinstance(part, str))
    stem = next(stem for n in itertools.count() if (stem := f"xecvalue{n}q") not in plain)
    pieces: list[bytes] = []
    spans: _Spans = []
    values: list[Value] = []
    length = 0
    for part in parts:
        if isinstance(part, str):
            piece = grammar_bytes(part)
        else:
            piece = f"{stem}{len(values)}z".encode()
            spans.append((length, length + len(piece)))
            values.append(part)
        pieces.append(piece)
        length += len(piece)
    return b"".join(pieces), spans, values


def _check_result(
    tree: Tree, source: bytes, spans: _Spans, values: list[Value], filled: list[tuple[Place, str]]
) -> None:
    """Read the finished text again: what the user wrote must still mean what it meant.

    Raises:
        TemplateError: a value ends its here-document, or the text around a value is read differently.
    """
    result, new_spans = _replaced(source, spans, [encode_script(text) for _, text in filled])
    for value, (place, _), (start, end) in zip(values, filled, new_spans, strict=True):
        if place.heredoc is not None:
            body = slice(_moved(place.heredoc.start, spans, new_spans), _moved(place.heredoc.end, spans, new_spans))
            try:
                place.heredoc.check(result[body], result[body.start : start], result[start : end + 1])
            except Unfit as error:
                raise value.field.error(str(error)) from error
    checked = [_for_grammar(source[start:end], *pair) for (start, end), pair in zip(spans, filled, strict=True)]
    result, new_spans = _replaced(source, spans, checked)
    if not same_outside(tree, spans, parse(result), new_spans):
        raise values[0].field.error("cannot tell how to quote the values of this text; use !raw")


def _for_grammar(stand_in: bytes, place: Place, text: str) -> bytes:
    """What to show the grammar for a value, where it misreads what every shell reads well."""
    if place.heredoc is not None:
        return stand_in  # a body that begins with an escape; the lines of the body have been checked
    if place.kind == "double":
        return grammar_bytes(re.sub(r"\s", "_", text))  # a string of blanks alone
    return grammar_bytes(text) or b"''"  # no word at all, as in `for x in ; do`


def _replaced(source: bytes, spans: _Spans, texts: list[bytes]) -> tuple[bytes, _Spans]:
    """The source with a text in place of each span, and where the texts are then."""
    pieces: list[bytes] = []
    new_spans: _Spans = []
    position = length = 0
    for (start, end), text in zip(spans, texts, strict=True):
        pieces += [source[position:start], text]
        length += start - position + len(text)
        new_spans.append((length - len(text), length))
        position = end
    return b"".join([*pieces, source[position:]]), new_spans


def _moved(position: int, spans: _Spans, new_spans: _Spans) -> int:
    """Where a position of the text with stand-ins is in the finished text."""
    for (_, end), (_, new_end) in zip(reversed(spans), reversed(new_spans), strict=True):
        if end <= position:
            return position + new_end - end
    return position
