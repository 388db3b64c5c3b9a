"""Steps from one node of the syntax tree to another; where the tree is not as it should be, the value is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xec_magic.grammar import ancestors
from xec_magic.quoting.values import Unfit

if TYPE_CHECKING:
    from tree_sitter import Node

__all__ = ["EXPRESSIONS", "UNKNOWN", "child", "in_heredoc", "known"]

EXPRESSIONS: Final = frozenset({
    "binary_expression", "unary_expression", "postfix_expression", "ternary_expression", "parenthesized_expression",
})  # fmt: skip
UNKNOWN: Final = "cannot tell how to quote a value here; put it into a variable first, or use !raw"


def known(node: Node | None) -> Node:
    """The node, which must be there."""
    if node is None:
        raise Unfit(UNKNOWN)
    return node


def child(node: Node, kind: str) -> Node:
    """The first child of a kind, which must be there."""
    return known(next((child for child in node.children if child.type == kind), None))


def in_heredoc(node: Node) -> bool:
    """It is somewhere in the body of a here-document."""
    return any(above.type == "heredoc_body" for above in ancestors(node))
