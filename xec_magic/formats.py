"""Command output as values: lines, JSON, CSV, columns under a header, a DataFrame. Pure functions of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["to_csv", "to_frame", "to_json", "to_jsonl", "to_lines", "to_table"]


def to_lines(text: str) -> list[str]:
    """Lines without their newlines. Only a newline ends a line: not `\\r`, form feed or U+2028."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return lines


def to_json(text: str) -> Any:
    raise NotImplementedError


def to_jsonl(text: str) -> list[Any]:
    raise NotImplementedError


def to_csv(text: str, delimiter: str = ",") -> list[dict[str, str]]:
    raise NotImplementedError


def to_table(text: str) -> list[dict[str, str]]:
    raise NotImplementedError


def to_frame(text: str) -> pd.DataFrame:
    raise NotImplementedError
