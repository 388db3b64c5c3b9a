"""What kind of place a value stands in: bare word, inside quotes, here-document, arithmetic, …

A place is known by the chain of syntax nodes from the value outwards. Only chains listed here are places; every other
one is refused, so a construct nobody thought of is an error and not a guess.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from xec_magic.grammar import ancestors, understood, walk
from xec_magic.quoting.heredoc import heredoc_of
from xec_magic.quoting.kinds import Family, Kind, Place
from xec_magic.quoting.nodes import EXPRESSIONS, UNKNOWN, child, in_heredoc, known
from xec_magic.quoting.rereading import refuse_read_again
from xec_magic.quoting.roles import operand, role
from xec_magic.quoting.values import Unfit
from xec_magic.quoting.zsh import refuse_glued_in_heredoc

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

__all__ = ["place_of"]

_NOT_IN_SH: Final = {
    "array": "an array", "process_substitution": "a process substitution", "herestring_redirect": "a here-string",
    "ansi_c_string": "$'…'", "c_style_for_statement": "a for ((…))",
}  # fmt: skip
_PLAIN_PATTERN = re.compile(rb"[A-Za-z0-9_*?.,:/@%+=^|-]*\$?")


def place_of(tree: Tree, source: bytes, start: int, end: int, family: Family) -> Place:
    """The place of the stand-in word at `source[start:end]`.

    Raises:
        Unfit: no value can stand there, or the place cannot be told.
    """
    leaf = tree.root_node.descendant_for_byte_range(start, end)
    if leaf is None or not understood(tree):
        raise Unfit(f"cannot tell how to quote it: {_not_understood(tree)}; use !raw, or put it into a variable apart")
    kind, node = _innermost(leaf, source, start, family)
    if kind in {"word", "double", "heredoc"} and _backslashes_before(source, start) % 2:
        raise Unfit("stands right behind a backslash, which would change it")
    if kind in {"heredoc", "verbatim"}:
        if in_heredoc(node):
            raise Unfit("stands in a here-document inside a here-document")
        place = Place(kind, heredoc=heredoc_of(node, source, family))
    elif kind == "comment":
        if any(above.type in {"heredoc_body", "command_substitution"} for above in ancestors(node)):
            raise Unfit(UNKNOWN)
        place = Place(kind)
    elif kind == "number":
        place = operand(node, source, start, end)
    else:
        place, node = role(kind, node, source, start, end, family)
    _check_surroundings(node, family)
    if refuse_read_again(leaf, source, start, family):
        place = replace(place, words=False, none=False)
    return replace(place, flat=True) if place.heredoc is None and in_heredoc(node) else place


def _not_understood(tree: Tree) -> str:
    for node in walk(tree):
        if node.is_error or node.is_missing:
            return f"line {node.start_point.row + 1} of the text is not understood"
    return "the text is not understood"


def _backslashes_before(source: bytes, start: int) -> int:
    head = source[:start]
    return len(head) - len(head.rstrip(b"\\"))


def _innermost(leaf: Node, source: bytes, start: int, family: Family) -> tuple[Kind, Node]:
    """The kind of quotes around the value, and the node that stands for the quoted whole."""
    parent = leaf.parent
    if leaf.type == "string_content":
        leaf = known(parent)
    match leaf.type:
        case "string":
            return "double", leaf
        case "raw_string":
            return "single", leaf
        case "ansi_c_string":
            return "ansi", leaf
        case "heredoc_body" | "heredoc_content":
            body = leaf if leaf.type == "heredoc_body" else known(parent)
            mark = child(known(body.parent), "heredoc_start")
            if re.search(rb"['\"\\]", mark.text or b""):
                return "verbatim", body
            if family == "zsh":
                refuse_glued_in_heredoc(source, start)
            return "heredoc", body
        case "comment":
            return "comment", leaf
        case "extglob_pattern" | "regex":
            if known(parent).type not in {"case_item", "binary_expression"}:
                raise Unfit("can stand in ${…} only as the word behind :-, :=, :+ or :?")
            if not _PLAIN_PATTERN.fullmatch(leaf.text or b""):
                raise Unfit(UNKNOWN)
            return "word", leaf
        case "variable_name" | "word" | "number" if _in_arithmetic(leaf):
            return "number", leaf
        case "variable_name" if known(parent).type == "simple_expansion":
            raise Unfit("stands right behind a variable's name; write ${name} with braces")
        case "variable_name":
            raise Unfit("cannot stand for a variable's name")
        case "word":
            return "word", leaf
    raise Unfit(UNKNOWN)


def _in_arithmetic(node: Node) -> bool:
    """Whether a name or word is an operand of `$((…))`, `((…))`, `for ((…))`."""
    for above in ancestors(node):
        if above.type in {"arithmetic_expansion", "c_style_for_statement"}:
            return True
        if above.type == "compound_statement":
            return above.children[0].type == "(("
        if above.type not in EXPRESSIONS and above.type != "variable_assignment":
            return False
    return False


def _check_surroundings(node: Node, family: Family) -> None:
    """Refuse a place inside a construct that reads its text twice, or that the shell does not have."""
    for above in [node, *ancestors(node)]:
        opener = above.children[0].type if above.children else ""
        if above.type == "command_substitution" and opener == "`":
            raise Unfit("stands in `…`; write $(…)")
        if above.type == "arithmetic_expansion" and opener == "$[":
            raise Unfit("stands in $[…]; write $((…))")
        if above.type == "expansion" and above != node:
            raise Unfit(UNKNOWN)
        if family == "sh":
            missing = _NOT_IN_SH.get(above.type) or {"[[": "[[ ]]", "((": "((…))"}.get(opener)
            if missing is not None:
                raise Unfit(f"stands in {missing}, which sh does not have")
