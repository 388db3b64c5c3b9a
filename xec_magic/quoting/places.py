"""What kind of place a value stands in: bare word, inside quotes, here-document, arithmetic, …

A place is known by the chain of syntax nodes from the value outwards. Only chains listed here are places; every other
one is refused, so a construct nobody thought of is an error and not a guess.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from xec_magic.grammar import ancestors, understood, walk
from xec_magic.quoting.values import Unfit

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

    from xec_magic.quoting.scan import Quotes

__all__ = ["Family", "Heredoc", "Place", "place_of", "same_outside"]

Family = Literal["bash", "sh", "zsh"]
Kind = Literal["word", "double", "single", "ansi", "heredoc", "verbatim", "default", "number", "comment"]

_EXPRESSIONS: Final = frozenset({
    "binary_expression", "unary_expression", "postfix_expression", "ternary_expression", "parenthesized_expression",
})  # fmt: skip
_NUMBER_TESTS: Final = frozenset({b"-eq", b"-ne", b"-lt", b"-le", b"-gt", b"-ge"})
_DEFAULTS: Final = frozenset({b":-", b"-", b":=", b"=", b":+", b"+", b":?", b"?"})
_NOT_IN_SH: Final = {
    "array": "an array", "process_substitution": "a process substitution", "herestring_redirect": "a here-string",
    "ansi_c_string": "$'…'", "c_style_for_statement": "a for ((…))",
}  # fmt: skip
_QUOTES: Final[dict[Kind, frozenset[Quotes]]] = {
    "word": frozenset({"code", "param"}),
    "number": frozenset({"code", "param", "quoted param", "arithmetic"}),
    "default": frozenset({"quoted param"}),
    "double": frozenset({"double"}),
    "single": frozenset({"single"}),
    "ansi": frozenset({"ansi"}),
    "heredoc": frozenset({"heredoc"}),
    "verbatim": frozenset({"heredoc"}),
    "comment": frozenset({"comment"}),
}
_UNKNOWN: Final = "cannot tell how to quote a value here; put it into a variable first, or use !raw"
_ZSH_GLUED: Final = "stands right behind a $…, which zsh would read on into it; put it into quotes of its own"
_ENDS_WORD: Final = frozenset({b"", b" ", b"\t", b"\n", b";", b")", b"(", b"&", b"|"})
_MARK = re.compile(rb"\\?([A-Za-z_][A-Za-z0-9_.-]*)|'([A-Za-z_][A-Za-z0-9_.-]*)'|\"([A-Za-z_][A-Za-z0-9_.-]*)\"")
# In zsh a `$name` reads on into a subscript or a :modifier, in here-documents as well. A change of quotes ends it.
_ZSH_WORD_READS_ON = re.compile(rb"\$[^\s'\"]*[\[:][^\s'\"]*\Z")
_ZSH_HEREDOC_READS_ON = re.compile(rb"\$(?:[^\s'\"/]*|[^\s'\"]*:\S*)\Z")
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
_PLAIN_PATTERN = re.compile(rb"[A-Za-z0-9_*?.,:/@%+=^|-]*\$?")


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A here-document: its end mark and its body's extent in the text, in bytes.

    Attributes:
        mark: The end mark, without quotes.
        tabs: Leading tabs are stripped (`<<-`).
        start: Where the body's first line begins.
        end: Where the end mark's line begins.
        family: Whose shell reads it.
    """

    mark: bytes
    tabs: bool
    start: int
    end: int
    family: Family

    def check(self, body: bytes, before: bytes, value: bytes) -> None:
        """Refuse a value that the finished body cannot carry.

        Args:
            body: The body, all values filled in.
            before: What stands before the value in it.
            value: The value as it stands there, and the byte behind.

        Raises:
            Unfit: the body would end early, or lose something.
        """
        mark = self.mark.decode()
        # A backslash at a line's end joins lines, and bash looks for the mark in the joined ones.
        for line in [*body.split(b"\n"), *body.replace(b"\\\n", b"").split(b"\n")]:
            text = line.lstrip(b"\t") if self.tabs else line
            if text == self.mark:
                raise Unfit(f"makes a line that is the here-document's end mark, {mark}; use another mark")
            same = next(
                (n for n, pair in enumerate(zip(text, self.mark, strict=False)) if pair[0] != pair[1]), len(self.mark)
            )
            if self.family == "sh" and 0 < same < len(text) and text[same] >= 0x80:  # seen in dash 0.5.12
                raise Unfit(
                    f"makes a line that begins like the end mark {mark}, where dash loses a byte; use another mark"
                )
        if self.tabs and (
            b"\n\t" in value or (value.startswith(b"\t") and not before.rpartition(b"\n")[2].strip(b"\t"))
        ):
            raise Unfit("has a line that begins with a tab, which <<- would strip; use <<")


@dataclass(frozen=True, slots=True)
class Place:
    """Where one value stands.

    Attributes:
        kind: How a text is quoted there.
        words: Several words may stand there.
        none: No word at all may stand there.
        plain: A number needs no quotes there; in arithmetic, no parentheses.
        flat: Neither a backslash nor a newline survives there.
        heredoc: The here-document whose body it stands in, if any.
    """

    kind: Kind
    words: bool = False
    none: bool = False
    plain: bool = False
    flat: bool = False
    heredoc: Heredoc | None = None

    def check_quotes(self, quotes: Quotes | None) -> None:
        """Compare with what the characters alone tell.

        Raises:
            Unfit: they tell otherwise.
        """
        if quotes not in ({"heredoc"} if self.flat else _QUOTES[self.kind]):
            raise Unfit(_UNKNOWN)


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
        if _in_heredoc(node):
            raise Unfit("stands in a here-document inside a here-document")
        place = Place(kind, heredoc=_heredoc(node, source, family))
    elif kind == "comment":
        if any(above.type in {"heredoc_body", "command_substitution"} for above in ancestors(node)):
            raise Unfit(_UNKNOWN)
        place = Place(kind)
    elif kind == "number":
        place = _operand(node, source, start, end)
    else:
        place, node = _role(kind, node, source, start, end, family)
    _check_surroundings(node, family)
    if _read_again(leaf, source, start, family):
        place = replace(place, words=False, none=False)
    return replace(place, flat=True) if place.heredoc is None and _in_heredoc(node) else place


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
        leaf = _known(parent)
    match leaf.type:
        case "string":
            return "double", leaf
        case "raw_string":
            return "single", leaf
        case "ansi_c_string":
            return "ansi", leaf
        case "heredoc_body" | "heredoc_content":
            body = leaf if leaf.type == "heredoc_body" else _known(parent)
            mark = _child(_known(body.parent), "heredoc_start")
            if re.search(rb"['\"\\]", mark.text or b""):
                return "verbatim", body
            if family == "zsh" and _ZSH_HEREDOC_READS_ON.search(source, source.rfind(b"\n", 0, start) + 1, start):
                raise Unfit(_ZSH_GLUED)
            return "heredoc", body
        case "comment":
            return "comment", leaf
        case "extglob_pattern" | "regex":
            if _known(parent).type not in {"case_item", "binary_expression"}:
                raise Unfit("can stand in ${…} only as the word behind :-, :=, :+ or :?")
            if not _PLAIN_PATTERN.fullmatch(leaf.text or b""):
                raise Unfit(_UNKNOWN)
            return "word", leaf
        case "variable_name" | "word" | "number" if _in_arithmetic(leaf):
            return "number", leaf
        case "variable_name" if _known(parent).type == "simple_expansion":
            raise Unfit("stands right behind a variable's name; write ${name} with braces")
        case "variable_name":
            raise Unfit("cannot stand for a variable's name")
        case "word":
            return "word", leaf
    raise Unfit(_UNKNOWN)


def _known(node: Node | None) -> Node:
    if node is None:
        raise Unfit(_UNKNOWN)
    return node


def _child(node: Node, kind: str) -> Node:
    return _known(next((child for child in node.children if child.type == kind), None))


def _in_arithmetic(node: Node) -> bool:
    """Whether a name or word is an operand of `$((…))`, `((…))`, `for ((…))`."""
    for above in ancestors(node):
        if above.type in {"arithmetic_expansion", "c_style_for_statement"}:
            return True
        if above.type == "compound_statement":
            return above.children[0].type == "(("
        if above.type not in _EXPRESSIONS and above.type != "variable_assignment":
            return False
    return False


def _operand(node: Node, source: bytes, start: int, end: int) -> Place:
    glued = re.search(rb"[\w#.$\\]\Z", source[:start]) or re.match(rb"[\w#.\[(]", source[end : end + 1])
    if glued or (node.start_byte, node.end_byte) != (start, end):
        raise Unfit("is glued to other text in arithmetic")
    return Place("number")


def _role(kind: Kind, node: Node, source: bytes, start: int, end: int, family: Family) -> tuple[Place, Node]:
    """The place of a value in a word, and the node that stands for it: what the word is for decides."""
    alone = (node.start_byte, node.end_byte) == (start, end) and source[end : end + 1] in _ENDS_WORD
    word, parent = _whole_word(node, source, start, family)
    separate = alone and word == node and source[start - 1 : start] in _ENDS_WORD
    match parent.type:
        case "command":
            if _known(parent.child_by_field_name("name")).text == b"let":
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
                _refuse_declared_number(_known(_known(parent.parent).parent))
            return Place(kind, words=separate, none=separate, plain=separate), word
        case "variable_assignment":
            if parent.child_by_field_name("value") != word:
                raise Unfit("cannot stand for a variable's name")
            _refuse_declared_number(_known(parent.parent))
            return Place(kind), word
        case "declaration_command":
            if not re.match(rb"[\"']?[A-Za-z_]\w*\+?=", source[word.start_byte : start]):
                raise Unfit("cannot stand for a variable's name")
            _refuse_declared_number(parent)
            return Place(kind), word
        case "file_redirect" | "herestring_redirect" | "case_statement" | "case_item" | "heredoc_redirect":
            return Place(kind), word
        case "binary_expression" | "unary_expression" | "test_command" | "parenthesized_expression":
            return _test(Place(kind), word, family)
        case "subscript" if alone or source[end : end + 1] == b"]":
            if kind != "word" or (word.start_byte, word.end_byte) != (start, end):
                raise Unfit("cannot stand in an array's [key]")
            around = _known(parent.parent)
            return Place("number", plain=True), around if around.type == "expansion" else word
        case "expansion" if kind == "word":
            return _default(word, parent, family)
    raise Unfit(_UNKNOWN)


def _whole_word(node: Node, source: bytes, start: int, family: Family) -> tuple[Node, Node]:
    """The word a piece of text belongs to, and the node above."""
    parent = _known(node.parent)
    while parent.type == "concatenation":
        if family == "zsh" and _ZSH_WORD_READS_ON.search(source, parent.start_byte, start):
            raise Unfit(_ZSH_GLUED)
        node, parent = parent, _known(parent.parent)
    return node, parent


def _refuse_declared_number(node: Node) -> None:
    """Refuse a value in a declaration with an attribute that makes the shell evaluate it: number, array, reference."""
    if node.type == "declaration_command" and any(
        _EVALUATES.match(child.text or b"") for child in node.children[1:] if child.type != "variable_assignment"
    ):
        raise Unfit(
            "cannot stand in a declaration of numbers, arrays or references, which evaluates it; declare and assign apart"
        )


def _read_again(leaf: Node, source: bytes, start: int, family: Family) -> bool:
    """Refuse a value that a builtin would read a second time, as shell text or as a variable's name with a subscript.

    Returns:
        Whether it is an option's argument, so that a second word would be such a name.
    """
    option = False
    for above in ancestors(leaf):
        if above.type != "command":
            continue
        words = [_known(above.child_by_field_name("name")), *above.children_by_field_name("argument")]
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


def _test(place: Place, word: Node, family: Family) -> tuple[Place, Node]:
    """The place of an operand of `[[ … ]]` or `[ … ]`, and the whole test."""
    parent = _known(word.parent)
    operator: bytes | None = None
    if parent.type in {"binary_expression", "unary_expression"}:
        operator = _known(parent.child_by_field_name("operator")).text
    test = parent
    while test.type in _EXPRESSIONS:
        test = _known(test.parent)
    if test.type != "test_command":
        raise Unfit(_UNKNOWN)
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
    around = _known(expansion.parent)
    if around.type == "string":
        if family == "zsh":
            raise Unfit('cannot stand in "${…}" of zsh; put it into a variable first')
        node, place = around, Place("default")
    parent = _known(node.parent)
    while parent.type == "concatenation":
        node, parent = parent, _known(parent.parent)
    if parent.type not in {"command", "variable_assignment", "file_redirect", "for_statement", "array"} or _in_heredoc(
        node
    ):
        raise Unfit(_UNKNOWN)
    _refuse_declared_number(_known(parent.parent))
    return place, node


def _in_heredoc(node: Node) -> bool:
    return any(above.type == "heredoc_body" for above in ancestors(node))


def _check_surroundings(node: Node, family: Family) -> None:
    """Refuse a place inside a construct that reads its text twice, or that the shell does not have."""
    for above in [node, *ancestors(node)]:
        opener = above.children[0].type if above.children else ""
        if above.type == "command_substitution" and opener == "`":
            raise Unfit("stands in `…`; write $(…)")
        if above.type == "arithmetic_expansion" and opener == "$[":
            raise Unfit("stands in $[…]; write $((…))")
        if above.type == "expansion" and above != node:
            raise Unfit(_UNKNOWN)
        if family == "sh":
            missing = _NOT_IN_SH.get(above.type) or {"[[": "[[ ]]", "((": "((…))"}.get(opener)
            if missing is not None:
                raise Unfit(f"stands in {missing}, which sh does not have")


def _heredoc(body: Node, source: bytes, family: Family) -> Heredoc:
    """The here-document a body belongs to, checked line by line: a body read too long or too short is refused."""
    redirect = _known(body.parent)
    start_mark, end_mark = _child(redirect, "heredoc_start"), _child(redirect, "heredoc_end")
    match = _MARK.fullmatch(start_mark.text or b"")
    if match is None:
        raise Unfit("stands in a here-document whose end mark is no plain word")
    mark = match[match.lastindex or 1]
    tabs = any(child.type == "<<-" for child in redirect.children)
    start = source.find(b"\n", start_mark.end_byte) + 1
    end = source.rfind(b"\n", 0, end_mark.start_byte) + 1
    rest = source[start_mark.end_byte : max(start, start_mark.end_byte)]
    if not 0 < start <= end or (body.start_byte > start and source[start : body.start_byte].strip()):
        raise Unfit(_UNKNOWN)
    if b"\\\n" in rest or b"<<" in rest or rest.count(b'"') % 2 or rest.count(b"'") % 2:
        raise Unfit(_UNKNOWN)
    lines = source[start:end].split(b"\n")[:-1]
    line_end = source.find(b"\n", end)
    last = source[end : line_end if line_end >= 0 else len(source)]
    if any(line.lstrip(b"\t") == mark for line in lines) or (last.lstrip(b"\t") if tabs else last) != mark:
        raise Unfit(_UNKNOWN)
    return Heredoc(mark, tabs, start, end, family)
