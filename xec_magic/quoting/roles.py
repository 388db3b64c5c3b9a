"""What the word that a value stands in is for: an argument, a pattern, an operand, a default, …"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from xec_magic.quoting.kinds import Family, Kind, Place
from xec_magic.quoting.nodes import EXPRESSIONS, UNKNOWN, in_heredoc, known
from xec_magic.quoting.rereading import refuse_declared_number
from xec_magic.quoting.values import Unfit
from xec_magic.quoting.zsh import refuse_glued_in_word

if TYPE_CHECKING:
    from tree_sitter import Node

__all__ = ["operand", "role"]

_NUMBER_TESTS: Final = frozenset({b"-eq", b"-ne", b"-lt", b"-le", b"-gt", b"-ge"})
_DEFAULTS: Final = frozenset({b":-", b"-", b":=", b"=", b":+", b"+", b":?", b"?"})
_ENDS_WORD: Final = frozenset({b"", b" ", b"\t", b"\n", b";", b")", b"(", b"&", b"|"})


def operand(node: Node, source: bytes, start: int, end: int) -> Place:
    """The place of an operand of arithmetic."""
    glued = re.search(rb"[\w#.$\\]\Z", source[:start]) or re.match(rb"[\w#.\[(]", source[end : end + 1])
    if glued or (node.start_byte, node.end_byte) != (start, end):
        raise Unfit("is glued to other text in arithmetic")
    return Place("number")


def role(kind: Kind, node: Node, source: bytes, start: int, end: int, family: Family) -> tuple[Place, Node]:
    """The place of a value in a word, and the node that stands for it: what the word is for decides."""
    alone = (node.start_byte, node.end_byte) == (start, end) and source[end : end + 1] in _ENDS_WORD
    word, parent = _whole_word(node, source, start, family)
    separate = alone and word == node and source[start - 1 : start] in _ENDS_WORD
    match parent.type:
        case "command":
            if known(parent.child_by_field_name("name")).text == b"let":
                if not separate:
                    raise Unfit("cannot stand in the words of let; use $((…))")
                return Place("number"), word
            return Place(kind, words=separate, none=separate, plain=separate), word
        case "command_name":
            return Place(kind, words=separate or (alone and start == 0)), word
        case "for_statement" | "array":
            if parent.type == "array" and (word.text or b"").lstrip().startswith(b"["):
                raise Unfit("cannot stand beside an array's [key]; assign that element apart")
            if parent.type == "array":
                refuse_declared_number(known(known(parent.parent).parent))
            return Place(kind, words=separate, none=separate, plain=separate), word
        case "variable_assignment":
            if parent.child_by_field_name("value") != word:
                raise Unfit("cannot stand for a variable's name")
            refuse_declared_number(known(parent.parent))
            return Place(kind), word
        case "declaration_command":
            if not re.match(rb"[\"']?[A-Za-z_]\w*\+?=", source[word.start_byte : start]):
                raise Unfit("cannot stand for a variable's name")
            refuse_declared_number(parent)
            return Place(kind), word
        case "file_redirect" | "herestring_redirect" | "case_statement" | "case_item" | "heredoc_redirect":
            return Place(kind), word
        case "binary_expression" | "unary_expression" | "test_command" | "parenthesized_expression":
            return _test(Place(kind), word, family)
        case "subscript" if alone or source[end : end + 1] == b"]":
            if kind != "word" or (word.start_byte, word.end_byte) != (start, end):
                raise Unfit("cannot stand in an array's [key]")
            around = known(parent.parent)
            return Place("number", plain=True), around if around.type == "expansion" else word
        case "expansion" if kind == "word":
            return _default(word, parent, family)
    raise Unfit(UNKNOWN)


def _whole_word(node: Node, source: bytes, start: int, family: Family) -> tuple[Node, Node]:
    """The word a piece of text belongs to, and the node above."""
    parent = known(node.parent)
    while parent.type == "concatenation":
        if family == "zsh":
            refuse_glued_in_word(source, parent.start_byte, start)
        node, parent = parent, known(parent.parent)
    return node, parent


def _test(place: Place, word: Node, family: Family) -> tuple[Place, Node]:
    """The place of an operand of `[[ … ]]` or `[ … ]`, and the whole test."""
    parent = known(word.parent)
    operator: bytes | None = None
    if parent.type in {"binary_expression", "unary_expression"}:
        operator = known(parent.child_by_field_name("operator")).text
    test = parent
    while test.type in EXPRESSIONS:
        test = known(test.parent)
    if test.type != "test_command":
        raise Unfit(UNKNOWN)
    if operator in {b"-v", b"-R"}:
        raise Unfit("cannot stand for a variable's name")
    if test.children[0].type == "[[" and operator in _NUMBER_TESTS:
        # [[ evaluates both sides as arithmetic, quoted or not: a[$(command)] would run the command.
        if place.kind != "word" or word.type != "word":
            raise Unfit(f"is compared by {operator.decode()}; only a number without quotes can stand there")
        return Place("number", plain=True), test
    if operator == b"=~" and family == "zsh":
        raise Unfit("cannot stand in a regular expression of zsh, where quotes do not make it plain; use == instead")
    return place, test


def _default(word: Node, expansion: Node, family: Family) -> tuple[Place, Node]:
    """The place of the word in `${name:-word}`, and the outer word that the expansion belongs to."""
    operators = [child.text for child in expansion.children_by_field_name("operator")]
    if len(operators) != 1 or operators[0] not in _DEFAULTS or expansion.children[-2] != word:
        raise Unfit("can stand in ${…} only as the word behind :-, :=, :+ or :?")
    node, place = expansion, Place("word")
    around = known(expansion.parent)
    if around.type == "string":
        if family == "zsh":
            raise Unfit('cannot stand in "${…}" of zsh; put it into a variable first')
        node, place = around, Place("default")
    parent = known(node.parent)
    while parent.type == "concatenation":
        node, parent = parent, known(parent.parent)
    if parent.type not in {"command", "variable_assignment", "file_redirect", "for_statement", "array"} or in_heredoc(
        node
    ):
        raise Unfit(UNKNOWN)
    refuse_declared_number(known(parent.parent))
    return place, node
