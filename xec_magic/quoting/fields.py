"""Where `${{…}}` stands in a text, and what it says: expression, conversion, format."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Final

from xec_magic.errors import TemplateError

__all__ = ["OPEN", "Field", "spans", "split"]

OPEN: Final = "${{"
_CLOSE: Final = "}}"
_CONVERSION = re.compile(r"\s*!([A-Za-z_]\w*)(?::([^{}]*))?\s*")
_CLOSINGS_TRIED: Final = 100  # an expression holds few `}}`; without a bound one typing error reads the whole script


@dataclass(frozen=True, slots=True)
class Field:
    """One `${{…}}`.

    Attributes:
        source: The Python expression.
        conversion: `raw`, `r`, `json`; None when not given.
        spec: What to give to `format`; empty when not given.
        line: Its line, counted from 1.
        column: Its column, counted from 1, in characters.
    """

    source: str
    conversion: str | None
    spec: str
    line: int
    column: int

    def error(self, reason: str) -> TemplateError:
        """The error that says which expression cannot stand, where, and why."""
        source = self.source if len(self.source) <= 60 else self.source[:57] + "…"
        return TemplateError(f"line {self.line}: ${{{{{' '.join(source.split())}}}}}: {reason}")


def split(text: str) -> list[str | Field]:
    """The text's parts in order: plain text, with `$${{` turned into `${{`, and fields.

    Raises:
        TemplateError: a `${{` is empty, never closed, or holds no expression.
    """
    parts: list[str | Field] = []
    plain = ""
    position = 0
    while (start := text.find(OPEN, position)) >= 0:
        if start > position and text[start - 1] == "$":
            plain += text[position : start - 1] + OPEN
            position = start + len(OPEN)
            continue
        field, end = _read(text, start)
        plain += text[position:start]
        parts += [plain, field]
        plain, position = "", end
    parts.append(plain + text[position:])
    return parts


def spans(text: str) -> list[tuple[int, int]]:
    """From where to where the fields of a text go, `$${{` among them.

    Raises:
        TemplateError: as `split`.
    """
    found = []
    position = 0
    while (start := text.find(OPEN, position)) >= 0:
        escaped = start > position and text[start - 1] == "$"
        position = start + len(OPEN) if escaped else _read(text, start)[1]
        found.append((start - escaped, position))
    return found


def _read(text: str, start: int) -> tuple[Field, int]:
    """The field whose `${{` is at `start`, and where the text goes on."""
    line = text.count("\n", 0, start) + 1
    column = start - text.rfind("\n", 0, start)
    inner = start + len(OPEN)
    end = inner - 1
    first: str | None = None
    for _ in range(_CLOSINGS_TRIED):
        end = text.find(_CLOSE, end + 1)
        if end < 0:
            break
        body = text[inner:end]
        read = _parts(body)
        if read is not None:
            return Field(*read, line, column), end + len(_CLOSE)
        if first is None:
            first = body
    where = f"line {line}, column {column}"
    if first is None:
        raise TemplateError(f"{where}: ${{{{ is never closed by }}}}; $${{{{ stands for a plain ${{{{")
    if not first.strip():
        raise TemplateError(f"{where}: ${{{{}}}} is empty; write an expression in it, or $${{{{ for a plain ${{{{")
    shown = " ".join(first.split())
    shown = shown if len(shown) <= 60 else shown[:57] + "…"
    raise TemplateError(f"{where}: ${{{{{shown}}}}} is no Python expression")


def _parts(body: str) -> tuple[str, str | None, str] | None:
    """Expression, conversion and format of what stands between the braces; None if it cannot be read.

    The reading in which all of it is an expression wins, so the colons of slices, dicts and lambdas, and `!=`, stay
    what they are in Python.
    """
    if _is_expression(body):
        return body.strip(), None, ""
    for mark in re.finditer(r"[!:]", body):
        left, right = body[: mark.start()], body[mark.start() :]
        if not _is_expression(left):
            continue
        if mark[0] == ":":
            return None if "{" in right or "}" in right else (left.strip(), None, right[1:])
        if match := _CONVERSION.fullmatch(right):
            return left.strip(), match[1], match[2] or ""
    return None


def _is_expression(source: str) -> bool:
    source = source.strip()
    if not source:
        return False
    try:
        ast.parse(source, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
