"""The shell's grammar: text of bash, sh or zsh to a syntax tree, by tree-sitter-bash."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree_sitter import Language, Node, Tree

__all__ = ["ancestors", "grammar_bytes", "parse", "understood", "walk"]

_language: Language | None = None
_loading = threading.Lock()


def _load() -> Language:
    """The grammar, loaded on first use: importing it costs more than most scripts need."""
    global _language
    with _loading:
        if _language is None:
            import tree_sitter
            import tree_sitter_bash

            _language = tree_sitter.Language(tree_sitter_bash.language())
        return _language


def parse(source: bytes) -> Tree:
    """The syntax tree of a script; never fails, `understood` tells whether to believe it. Any thread may call it."""
    from tree_sitter import Parser

    # A parser has state and must not be shared between threads; making one takes microseconds.
    return Parser(_load()).parse(source)


def grammar_bytes(script: str) -> bytes:
    """The script's bytes for `parse`; a byte that is no UTF-8 stands as the letter `x`.

    The grammar reads UTF-8 and would see an error where a shell sees one more character of a word.
    Offsets into these bytes are offsets into the script's own (`command.encode_script`).
    """
    try:
        return script.encode()
    except UnicodeEncodeError:
        return "".join("x" if "\ud800" <= char <= "\udfff" else char for char in script).encode()


def understood(tree: Tree) -> bool:
    """Whether the grammar read all of the text, guessing nothing."""
    return not tree.root_node.has_error


def walk(tree: Tree) -> Iterator[Node]:
    """All nodes of a tree, each before its children, in order of the text."""
    cursor = tree.walk()
    while True:
        node = cursor.node
        assert node is not None
        yield node
        if cursor.goto_first_child():
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return


def ancestors(node: Node) -> Iterator[Node]:
    """The nodes around a node, innermost first."""
    parent = node.parent
    while parent is not None:
        yield parent
        parent = parent.parent
