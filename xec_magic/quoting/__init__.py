"""Python values in shell text: `${{ expr }}`, quoted for the place it stands in.

What arrives at the command is the value, byte for byte, or `TemplateError` is raised before anything runs.
The places and their rules are in `places`, a second opinion on quotes in `scan`, the syntax of a field in `fields`, the text of a value in `values`.
"""

from __future__ import annotations

import builtins
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, cast

from xec_magic.command import encode_script, targets_of
from xec_magic.errors import TemplateError
from xec_magic.grammar import grammar_bytes, parse
from xec_magic.quoting.fields import OPEN, Field, split
from xec_magic.quoting.places import Family, Place, place_of, same_outside
from xec_magic.quoting.scan import quotes_at
from xec_magic.quoting.values import Unfit, as_json, as_literal, as_number, as_text, as_words, check_text

if TYPE_CHECKING:
    from tree_sitter import Tree

__all__ = ["Evaluate", "expand", "expand_tstring", "expand_value", "namespace_evaluator", "template"]

Evaluate = Callable[[str], Any]
_Spans = list[tuple[int, int]]

_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_HARMLESS = re.compile(r"[\w .,:/@%+=-]*", re.ASCII)
_CONVERSIONS: Final = ("raw", "r", "json")
_CONVERT: Final[dict[str, Callable[[Any], str]]] = {"r": repr, "a": ascii, "s": str}


class _Interpolation(Protocol):
    """`string.templatelib.Interpolation` of Python 3.14."""

    @property
    def value(self) -> Any: ...
    @property
    def expression(self) -> str: ...
    @property
    def conversion(self) -> Literal["r", "s", "a"] | None: ...
    @property
    def format_spec(self) -> str: ...


class _TString(Protocol):
    """`string.templatelib.Template` of Python 3.14."""

    @property
    def strings(self) -> Sequence[str]: ...
    @property
    def interpolations(self) -> Sequence[_Interpolation]: ...


@dataclass(frozen=True, slots=True)
class _Value:
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


def expand(text: str, evaluate: Evaluate, *, family: str = "bash") -> str:
    """The text with every `${{ expr }}` filled in, quoted for its place; `$${{` becomes `${{`.

    Args:
        text: A script or a line of one.
        evaluate: Gives the value of an expression, e.g. `namespace_evaluator(globals())`.
        family: Whose syntax the text has: `bash`, `sh`, `zsh`, or `other`, where only `!raw`, `!r` (a Python
            literal) and `!json` are allowed.

    Raises:
        TemplateError: an expression fails, or its value cannot stand where it is; nothing has run.

    Example:
        >>> print(expand('cat ${{f}} "${{f}}"', {"f": "my $file"}.__getitem__))
        cat 'my $file' "my \\$file"
    """
    if OPEN not in text:
        return text
    parts = [part if isinstance(part, str) else _evaluated(part, evaluate, family) for part in split(text)]
    return _filled(parts, family)


def expand_value(text: str, evaluate: Evaluate, joins: str = "") -> str:
    """An option's value with every `${{ expr }}` filled in, unquoted: it is one argument whatever it holds.

    A list is joined by `joins`; where that is empty a list is refused. Where targets are named so, results stand for theirs.

    Raises:
        TemplateError: an expression fails, or its value is no text.

    Example:
        >>> expand_value("/srv/${{name}}.log", {"name": "a b"}.__getitem__)
        '/srv/a b.log'
    """
    if OPEN not in text:
        return text

    def value_of(source: str) -> Any:
        return targets_of(evaluate(source)) if joins else evaluate(source)

    result = ""
    for part in split(text):
        piece = part if isinstance(part, str) else _evaluated(part, value_of, "bash")
        if isinstance(piece, _Value):
            if piece.many and joins:
                piece = joins.join(piece.words)
            elif piece.many:
                raise piece.field.error("is a list, but stands for one argument; write ' '.join(…)")
            else:
                piece = piece.words[0]
        result += piece
    return result


def namespace_evaluator(namespace: Mapping[str, Any]) -> Evaluate:
    """A function that gives the value of a Python expression in a namespace, such as a notebook's."""

    def evaluate(source: str) -> Any:
        # A copy: what the expression assigns must not reach the notebook, and comprehensions need the names global.
        scope = {**namespace, "__builtins__": builtins}
        return eval(source, scope)  # noqa: S307 - the user's own expression in the user's own notebook

    return evaluate


def template(text: str, /, **values: Any) -> str:
    """Shell text for bash with `${{ expr }}` filled in from the keyword arguments, quoted for its place.

    Raises:
        TemplateError: see `expand`.

    Example:
        >>> print(template("cat ${{f}}", f="my file"))
        cat 'my file'
    """
    return expand(text, namespace_evaluator(values))


def expand_tstring(tstring: _TString, family: str = "bash") -> str:
    """Shell text from a template string of Python 3.14, its values quoted for their place: `t"cat {path}"`.

    Conversions and format specs work as in an f-string; their result is quoted.

    Raises:
        TemplateError: a value cannot stand where it is; nothing has run.
    """
    parts: list[str | _Value] = []
    line = 1
    for plain, item in itertools.zip_longest(tstring.strings, tstring.interpolations):
        parts.append(plain)
        line += plain.count("\n")
        if item is not None:
            parts.append(_interpolated(item, line, family))
    return _filled(parts, family)


def _evaluated(field: Field, evaluate: Evaluate, family: str) -> str | _Value:
    """The value of a field; a text when it goes in as it is."""
    conversion = field.conversion
    if conversion not in (None, *_CONVERSIONS):
        raise field.error(f"there is no !{conversion}; there are !raw, !r and !json")
    if family == "other" and conversion is None:
        raise field.error(
            "only shell text is quoted by place; write !r for a Python literal, !json for JSON, or !raw for the text as it is"
        )
    try:
        value = evaluate(field.source)
        if conversion is None and not field.spec:
            return _plain(field, value)
        if conversion == "json":
            text = format(as_json(value), field.spec)
        elif conversion == "r":
            text = format(as_literal(value) if family == "other" else repr(value), field.spec)
        else:
            text = format(value, field.spec) if field.spec else as_text(value)
        text = check_text(text)
    except Unfit as error:
        raise field.error(str(error)) from error
    except Exception as error:
        raise field.error(_reason(error)) from error
    if conversion == "raw" or family == "other":
        return text
    return _Value(field, text if conversion else value, (text,))


def _interpolated(item: _Interpolation, line: int, family: str) -> str | _Value:
    """The value of a part of a t-string; a text when it goes in as it is."""
    field = Field(item.expression, item.conversion, item.format_spec, line, 0)
    if family == "other" and item.conversion != "r":
        raise field.error("only shell text is quoted by place; write !r for a Python literal")
    try:
        if family == "other":
            return check_text(format(as_literal(item.value), item.format_spec))
        if item.conversion is None and not item.format_spec:
            return _plain(field, item.value)
        value = _CONVERT[item.conversion](item.value) if item.conversion else item.value
        return _Value(field, value, (check_text(format(value, item.format_spec)),))
    except Unfit as error:
        raise field.error(str(error)) from error
    except Exception as error:
        raise field.error(_reason(error)) from error


def _plain(field: Field, value: Any) -> _Value:
    """A value without conversion or format.

    Raises:
        Unfit: it has no text.
    """
    words = as_words(value)
    if words is None:
        return _Value(field, value, (check_text(as_text(value)),))
    return _Value(field, value, tuple(check_text(as_text(word)) for word in words), many=True)


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _filled(parts: Sequence[str | _Value], family: str) -> str:
    """The text with its values quoted for their places."""
    if not any(isinstance(part, _Value) for part in parts):
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
            filled.append((place, _insert(value, place, shell)))
        except Unfit as error:
            raise value.field.error(str(error)) from error
    _check_result(tree, source, spans, values, filled)
    ready = (text for _, text in filled)
    return "".join(part if isinstance(part, str) else next(ready) for part in parts)


def _with_stand_ins(parts: Sequence[str | _Value]) -> tuple[bytes, _Spans, list[_Value]]:
    """The text with a plain word in place of each value: its bytes, where the words are, and the values."""
    plain = "".join(part for part in parts if isinstance(part, str))
    stem = next(stem for n in itertools.count() if (stem := f"xecvalue{n}q") not in plain)
    pieces: list[bytes] = []
    spans: _Spans = []
    values: list[_Value] = []
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


def _insert(value: _Value, place: Place, family: Family) -> str:
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


def _check_result(
    tree: Tree, source: bytes, spans: _Spans, values: list[_Value], filled: list[tuple[Place, str]]
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
