"""Whether a finished text is read, around its values, as it was around their stand-ins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xec_magic.grammar import understood, walk

if TYPE_CHECKING:
    from tree_sitter import Tree

__all__ = ["same_outside"]


def same_outside(before: Tree, spans: list[tuple[int, int]], after: Tree, new_spans: list[tuple[int, int]]) -> bool:
    """Whether everything around the values is read as it was around their stand-ins."""
    return understood(after) and _outside(before, spans) <= _outside(after, new_spans)


def _outside(tree: Tree, spans: list[tuple[int, int]]) -> set[tuple[str, int, int, int]]:
    """The nodes that touch no span, each with its distance from the span before it."""
    found = set()
    index = 0
    for node in walk(tree):
        start, end = node.start_byte, node.end_byte
        if start == end or node.type in {"string_content", "heredoc_content", "heredoc_body"}:
            continue  # how the grammar cuts plain text into pieces means nothing
        while index < len(spans) and spans[index][1] <= start:
            index += 1
        if index < len(spans) and spans[index][0] < end:
            continue
        base = spans[index - 1][1] if index else 0
        found.add((node.type, index, start - base, end - base))
    return found
