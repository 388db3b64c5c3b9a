"""Where the shell, or one of its builtins, reads a text a second time: as shell text, as arithmetic, as a variable's name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from xec_magic.grammar import ancestors
from xec_magic.quoting.nodes import known
from xec_magic.quoting.values import Unfit

if TYPE_CHECKING:
    from tree_sitter import Node

    from xec_magic.quoting.kinds import Family

__all__ = ["refuse_declared_number", "refuse_read_again"]

# Options of `declare` with one of these letters, in quotes or not, or unknown until it runs.
_EVALUATES = re.compile(rb"[\"'\\]*(?:[-+][\w\"'\\]*[inEFaA]|[-+]?[$`])")
_PRECOMMANDS: Final = frozenset({b"builtin", b"command", b"noglob", b"nocorrect"})
_NAMES: Final = frozenset({b"read", b"mapfile", b"readarray", b"getopts"})
# Options of `read` and `mapfile` whose argument is no name.
_OPTION: Final = {
    "bash": re.compile(rb"-[ers]*[dinNptu]"),
    "sh": re.compile(rb"-r*p"),
    "zsh": re.compile(rb"-[rs]*[du]"),
    "mapfile": re.compile(rb"-t*[dnOsuc]"),
}


def refuse_declared_number(node: Node) -> None:
    """Refuse a value in a declaration with an attribute that makes the shell evaluate it: number, array, reference."""
    if node.type == "declaration_command" and any(
        _EVALUATES.match(child.text or b"") for child in node.children[1:] if child.type != "variable_assignment"
    ):
        raise Unfit(
            "cannot stand in a declaration of numbers, arrays or references, which evaluates it; declare and assign apart"
        )


def refuse_read_again(leaf: Node, source: bytes, start: int, family: Family) -> bool:
    """Refuse a value that a builtin would read a second time, as shell text or as a variable's name with a subscript.

    Returns:
        Whether it is an option's argument, so that a second word would be such a name.
    """
    option = False
    for above in ancestors(leaf):
        if above.type != "command":
            continue
        words = [known(above.child_by_field_name("name")), *above.children_by_field_name("argument")]
        at = next((n for n, word in enumerate(words) if word.start_byte <= start < word.end_byte), None)
        if at is None:
            continue
        texts = [re.sub(rb"[\"'\\]", b"", source[word.start_byte : word.end_byte]) for word in words]
        first = 0
        while first < at and (texts[first] in _PRECOMMANDS or (first and texts[first].startswith(b"-"))):
            first += 1
        if first == at:
            continue
        name, given = texts[first], texts[first + 1 : at]
        if name == b"eval" or (name == b"trap" and all(text.startswith(b"-") for text in given)):
            raise Unfit(f"stands in {name.decode()}, where its text would be read a second time, as shell text")
        head = re.sub(rb"[\"'\\]", b"", source[words[at].start_byte : start])
        if name in _NAMES:
            pattern = _OPTION[family if name == b"read" else "mapfile"] if name != b"getopts" else None
            if pattern is not None and (
                pattern.fullmatch(head) or (not head and given and pattern.fullmatch(given[-1]))
            ):
                option = True
                continue
            named = name != b"getopts" or len(given) < 2
        else:
            last = given[-1] if given else b""
            named = (name == b"printf" and (last == b"-v" or head.startswith(b"-v"))) or (
                name == b"test" and last in {b"-v", b"-R"}
            )
        if named:
            raise Unfit(
                f"cannot stand for a variable's name in {name.decode()}: the text would be read a second time, and evaluated"
            )
    return option
