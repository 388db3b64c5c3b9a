"""From a field to its value: evaluated, converted, formatted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from xec_magic.quoting.fields import Field
from xec_magic.quoting.inserting import Value
from xec_magic.quoting.values import Unfit, as_json, as_literal, as_text, as_words, check_text

if TYPE_CHECKING:
    from xec_magic.quoting import Evaluate
    from xec_magic.quoting.tstring import Interpolation

__all__ = ["evaluated", "interpolated"]

_CONVERSIONS: Final = ("raw", "r", "json")
_CONVERT: Final[dict[str, Callable[[Any], str]]] = {"r": repr, "a": ascii, "s": str}


def evaluated(field: Field, evaluate: Evaluate, family: str) -> str | Value:
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
    return Value(field, text if conversion else value, (text,))


def interpolated(item: Interpolation, line: int, family: str) -> str | Value:
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
        return Value(field, value, (check_text(format(value, item.format_spec)),))
    except Unfit as error:
        raise field.error(str(error)) from error
    except Exception as error:
        raise field.error(_reason(error)) from error


def _plain(field: Field, value: Any) -> Value:
    """A value without conversion or format.

    Raises:
        Unfit: it has no text.
    """
    words = as_words(value)
    if words is None:
        return Value(field, value, (check_text(as_text(value)),))
    return Value(field, value, tuple(check_text(as_text(word)) for word in words), many=True)


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
