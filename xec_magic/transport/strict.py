"""A script made strict for its shell: it stops at the first failure, refuses unset variables, sees failures in pipes.

`set -e` and `set -u` do the first two. Pipes need more: plain `pipefail` calls `yes | head -1` a failure, because `yes`
dies of SIGPIPE, and an ERR trap that forgives it takes the wrong branch in conditions and displaces the user's own.
So every pipeline `A | B` becomes `{ A | B; __xec_pipe "${PIPESTATUS[@]}"; }`, in place: the function answers for the
pipeline wherever it stands, a statement, a condition, behind `!`, in a function or a substitution.

Plain shell rules hold for pipelines in the background (`$!` must stay the pipeline's), in backquotes, in
here-documents, and behind `coproc`, and for all of a script that sets `pipefail` or reads `PIPESTATUS` itself.
A script with pipes that the grammar does not understand gets `pipefail`: loud rather than silent.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from xec_magic.grammar import ancestors, grammar_bytes, parse, understood, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree_sitter import Node, Tree

__all__ = [
    "HELPER",
    "NotUnderstood",
    "StrictParts",
    "strict_options",
    "strict_parts",
    "strict_script",
    "without_heredocs",
]

_SIGPIPE: Final = 141  # 128 + 13: how bash and zsh report a member that SIGPIPE ended
_HEREDOCS_AT_MOST: Final = 100  # each costs one more parse

# The rightmost failure counts; SIGPIPE counts in the last member only.
HELPER: Final = (
    "__xec_pipe() { local __xec_code=0; "
    f'while [ "$#" -gt 1 ]; do case $1 in 0|{_SIGPIPE}) ;; *) __xec_code=$1 ;; esac; shift; done; '
    '[ "$1" = 0 ] || __xec_code=$1; return "$__xec_code"; }; '
)
_CLOSE: Final = {
    "bash": b'; __xec_pipe "${PIPESTATUS[@]}"; }',
    # Where a function's failure ends zsh it forgets the EXIT trap; a subshell's it does not.
    "zsh": b'; __xec_pipe "${pipestatus[@]}" || (exit $?); }',
}
_OWN_JUDGEMENT = re.compile(r"\bpipefail\b|\bPIPESTATUS\b|\bpipestatus\b", re.IGNORECASE)
# Words before a pipeline's first member that must stay outside of the braces.
_PREFIX = re.compile(rb"(?:!|time(?:[ \t]+-p)?(?:[ \t]+--)?)(?:[ \t]|\\\n)+")
_BLANK = re.compile(rb"(?:[ \t]|\\\n)*")
_ENDS_PIPELINE = re.compile(rb"\n|;|&&|\|\||\)|#|\Z")
_JOINING: Final = frozenset({"pipeline", "list", "redirected_statement", "negated_command"})
_BACKGROUND = re.compile(rb"&(?![&>])")
_MARK = re.compile(rb"\\?([\w.-]+)|'([^'\n]+)'|\"([^\"\\$`\n]+)\"")


class NotUnderstood(Exception):
    """The script cannot be rewritten with certainty."""


def strict_script(script: str, family: Literal["bash", "zsh", "sh"]) -> str:
    """The text to run in place of `script`; its lines keep their numbers.

    Args:
        script: Complete shell text.
        family: Whose text it is. `sh` has no status of pipes, so there only the last member counts.

    Example:
        >>> strict_script("echo hello", "sh")
        'set -eu; echo hello'
    """
    parts = strict_parts(script, family)
    options = strict_options(family) + ("set -o pipefail; " if parts.pipefail else "")
    return options + (HELPER if parts.helped else "") + parts.body


class StrictParts(NamedTuple):
    """What a script needs besides the options of every strict script.

    Attributes:
        body: The script, rewritten where it has pipes.
        helped: The body calls the function that `HELPER` defines.
        pipefail: The body needs the option `pipefail`.
    """

    body: str
    helped: bool = False
    pipefail: bool = False


def strict_options(family: Literal["bash", "zsh", "sh"]) -> str:
    """The options of every strict script of a shell."""
    # bash 3.2 of macOS and others before 4.4 lack inherit_errexit.
    return "set -eu; " + ("shopt -s inherit_errexit 2>/dev/null || :; " if family == "bash" else "")


def strict_parts(script: str, family: Literal["bash", "zsh", "sh"]) -> StrictParts:
    """`strict_script` in parts, for a shell that runs several scripts."""
    if family == "sh" or "|" not in script.replace("||", "") or _judges_itself(script):
        return StrictParts(script)
    try:
        rewritten = _rewritten(script, family)
    except NotUnderstood:
        return StrictParts(script, pipefail=True)
    return StrictParts(rewritten, helped=rewritten != script)


def _judges_itself(script: str) -> bool:
    """Whether the script speaks of its pipes' status outside of comments."""
    if not _OWN_JUDGEMENT.search(script):
        return False
    if "#" not in script:
        return True
    source = grammar_bytes(script)
    tree = parse(source)
    if not understood(tree):
        return True
    code = bytearray(source)
    for node in walk(tree):
        if node.type == "comment":
            code[node.start_byte : node.end_byte] = b" " * (node.end_byte - node.start_byte)
    return bool(_OWN_JUDGEMENT.search(code.decode("utf-8", "replace")))


def _rewritten(script: str, family: Literal["bash", "zsh"]) -> str:
    """The script with braces around its pipelines.

    Raises:
        NotUnderstood: it, or what would become of it, is not understood.
    """
    if family == "zsh" and "DEBUG" in script:
        raise NotUnderstood  # zsh forgets pipestatus in a DEBUG trap
    source, tree, spans = without_heredocs(grammar_bytes(script))
    heredocs = [start for start, _ in spans]
    close = _CLOSE[family]
    inserts: list[tuple[int, bytes]] = []
    for start, end in sorted(_pipelines(tree, source, heredocs)):
        inserts += [(start, b"{ "), (end, close)]
    # At one place, what closes an inner pipeline comes before what opens the next: ends before starts.
    inserts.sort(key=lambda insert: (insert[0], insert[1] != close))
    if not understood(parse(_with_inserts(source, inserts))):
        raise NotUnderstood
    original = script.encode("utf-8", "surrogateescape")
    return _with_inserts(original, inserts).decode("utf-8", "surrogateescape")


def _with_inserts(source: bytes, inserts: list[tuple[int, bytes]]) -> bytes:
    pieces, position = [], 0
    for place, text in inserts:
        pieces += [source[position:place], text]
        position = place
    return b"".join([*pieces, source[position:]])


def without_heredocs(source: bytes) -> tuple[bytes, Tree, list[tuple[int, int]]]:
    """The source with every here-document made a redirection from a file and its body blank, the tree of that, and
    from where to where each here-document went: its operator, the end of its mark.

    The grammar hangs what follows `<<EOF` on a line into odd places, and takes a command's next line for the body.
    Lengths stay, so places in this source are places in the script.

    Raises:
        NotUnderstood: the source has errors, or a here-document's extent is not certain.
    """
    spans: list[tuple[int, int]] = []
    for _ in range(_HEREDOCS_AT_MOST):
        tree = parse(source)
        heredoc = next((node for node in walk(tree) if node.type == "heredoc_redirect"), None)
        if heredoc is None:
            if not understood(tree):
                raise NotUnderstood
            return source, tree, spans
        source, span = _blanked(source, heredoc)
        spans.append(span)
    raise NotUnderstood


def _blanked(source: bytes, heredoc: Node) -> tuple[bytes, tuple[int, int]]:
    operator = next((child for child in heredoc.children if child.type in {"<<", "<<-"}), None)
    start_mark = next((child for child in heredoc.children if child.type == "heredoc_start"), None)
    match = _MARK.fullmatch((start_mark.text or b"") if start_mark is not None else b"")
    if operator is None or start_mark is None or match is None:
        raise NotUnderstood
    mark = match[match.lastindex or 1]
    line_end = source.find(b"\n", start_mark.end_byte)
    rest = source[start_mark.end_byte : line_end]
    # A quoted or escaped end of line would put the body elsewhere.
    if line_end < 0 or rest.endswith(b"\\") or rest.count(b'"') % 2 or rest.count(b"'") % 2:
        raise NotUnderstood
    begin = position = line_end + 1
    while True:
        end = source.find(b"\n", position)
        end = end if end >= 0 else len(source)
        line = source[position:end]
        if (line.lstrip(b"\t") if operator.type == "<<-" else line) == mark:
            break
        if end == len(source):
            raise NotUnderstood
        position = end + 1
    head = source[: operator.start_byte] + b"<".ljust(operator.end_byte - operator.start_byte)
    body = re.sub(rb"[^\n]", b" ", source[begin:end])
    return head + source[operator.end_byte : begin] + body + source[end:], (operator.start_byte, end)


def _pipelines(tree: Tree, source: bytes, heredocs: list[int]) -> set[tuple[int, int]]:
    """Where the pipelines begin and end that are to be braced.

    Raises:
        NotUnderstood: one of them has no certain end.
    """
    found = set()
    for node in walk(tree):
        if node.type not in _JOINING or (node.parent is not None and node.parent.type in _JOINING):
            continue
        pipelines = _joined_pipelines(node)
        around = [node, *ancestors(node)]
        if not pipelines or any(
            above.type == "command_substitution" and above.children[0].type == "`" for above in around
        ):
            continue
        if any(above.type == "subshell" and not _opens_subshell(source, above) for above in around):
            raise NotUnderstood
        substitutions = [above for above in around if above.type in {"command_substitution", "process_substitution"}]
        if any(above.start_byte <= heredoc < above.end_byte for above in substitutions for heredoc in heredocs):
            raise NotUnderstood  # bash 5.2 prints a substitution in order to run it, and loses a `;` near a here-document
        for first, end in pipelines:
            start = first
            while match := _PREFIX.match(source, start):
                start = match.end()
            following = _BLANK.match(source, end)
            assert following is not None
            if re.match(rb"coproc\s", source[start:]) or _BACKGROUND.match(source, following.end()):
                continue
            if not _ENDS_PIPELINE.match(source, following.end()):
                raise NotUnderstood
            found.add((start, end))
    return found


def _joined_pipelines(joined: Node) -> list[tuple[int, int]]:
    """The pipelines among commands joined by `|`, `&&`, `||`, `!` and redirections, from left to right.

    Only the order of the text is used. How the grammar nests them is often wrong: in `a | b && c > f` the redirection
    belongs to all of it, and in `a | b > f | c` the middle one is a pipeline of its own.
    """
    found: list[tuple[int, int]] = []
    start = end = None
    piped = False
    for node in [*_flat(joined), None]:
        if node is None or node.type in {"&&", "||"}:
            if piped and start is not None and end is not None:
                found.append((start, end))
            start, end, piped = None, None, False
        elif node.type in {"|", "|&"}:
            piped = True
        elif node.is_named and node.type != "comment":
            start = node.start_byte if start is None else start
            end = node.end_byte
    return found


def _flat(node: Node) -> Iterator[Node]:
    for child in node.children:
        if child.type in _JOINING:
            yield from _flat(child)
        else:
            yield child


def _opens_subshell(source: bytes, subshell: Node) -> bool:
    """Whether a `(` begins a command; in zsh one behind other text begins a group of patterns."""
    before = source[: subshell.start_byte].rstrip(b" \t")
    return (
        not before
        or before[-1:] in b"\n;&|(){!"
        or bool(re.search(rb"(?:^|[\s;&|(){}])(?:then|do|else|elif|if|while|until|!|time|in)\Z", before))
    )
