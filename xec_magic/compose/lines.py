"""A cell's text to the commands of a batch: one a line, or what stands between lines of `---`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from xec_magic.errors import OptionError
from xec_magic.grammar import grammar_bytes, parse, understood
from xec_magic.quoting.fields import spans
from xec_magic.transport.strict import NotUnderstood, without_heredocs

if TYPE_CHECKING:
    from tree_sitter import Tree

__all__ = ["CommandText", "split_commands"]

SEPARATOR: Final = "---"


class CommandText(NamedTuple):
    """A command of a cell, and the number of its first line, from 1."""

    text: str
    line: int


def split_commands(cell: str) -> list[CommandText]:
    """The commands of a cell, `${{…}}` in them still to be filled in.

    Where a line is `---`, each command is what stands between such lines. Elsewhere each line is one, with the lines
    that it goes on in: a quote, a here-document, a bracket, a loop, a line that ends with `\\\\`, `|` or `&&`. Empty
    lines and comments between commands are left out.

    Raises:
        OptionError: there is no command; where one ends is not certain.
        TemplateError: a `${{` has no end.

    Example:
        >>> [command.text for command in split_commands("echo a\\n# a comment\\nfor i in 1 2; do\\n  echo $i\\ndone\\n")]
        ['echo a', 'for i in 1 2; do\\n  echo $i\\ndone']
        >>> [command.text for command in split_commands("cd /tmp\\npwd\\n---\\nls")]
        ['cd /tmp\\npwd', 'ls']
    """
    shadow = _shadow(cell)
    lines, shadows = _cut_like(cell, shadow), shadow.split("\n")
    source = grammar_bytes(shadow)
    joined: set[int] | None
    try:
        _, tree, heredocs = without_heredocs(source)
        joined = _joined_lines(tree, source, heredocs)
    except NotUnderstood:
        joined = None
    separators = [row for row, text in enumerate(shadows) if text.strip() == SEPARATOR and row not in (joined or ())]
    if separators:
        commands = list(_between(lines, separators))
        if joined is None:
            _check_blocks(commands)
    elif joined is None:
        raise OptionError(
            f"line {_bad_line(source)} is not understood, so where its command ends is not certain; write {SEPARATOR} "
            "alone on a line between the commands"
        )
    else:
        commands = list(_by_lines(lines, joined))
    commands = [command for command in commands if _has_substance(command.text)]
    if not commands:
        raise OptionError("there is no command in the batch; write one a line")
    return commands


def _shadow(cell: str) -> str:
    """The cell with every `${{…}}` a plain word of the same length, on one line."""
    pieces, position = [], 0
    for start, end in spans(cell):
        pieces += [cell[position:start], "x" * (end - start)]
        position = end
    return "".join([*pieces, cell[position:]])


def _cut_like(cell: str, shadow: str) -> list[str]:
    """The cell's text in pieces that are as long as the lines of its shadow."""
    lines, position = [], 0
    for line in shadow.split("\n"):
        lines.append(cell[position : position + len(line)])
        position += len(line) + 1
    return lines


def _joined_lines(tree: Tree, source: bytes, heredocs: list[tuple[int, int]]) -> set[int]:
    """The lines, from 0, that go on with the one before."""
    joined: set[int] = set()
    for node in tree.root_node.named_children:
        joined.update(range(node.start_point.row + 1, node.end_point.row + (node.end_point.column > 0)))
    for start, end in heredocs:
        row = source.count(b"\n", 0, start)
        joined.update(range(row + 1, row + 1 + source.count(b"\n", start, end)))
    rows = source.split(b"\n")
    joined.update(row for row in range(1, len(rows)) if rows[row - 1].endswith(b"\\"))
    return joined


def _by_lines(lines: list[str], joined: set[int]) -> Iterator[CommandText]:
    first = 0
    for row in range(1, len(lines) + 1):
        if row == len(lines) or row not in joined:
            yield CommandText("\n".join(lines[first:row]), _number(lines, first))
            first = row


def _between(lines: list[str], separators: list[int]) -> Iterator[CommandText]:
    first = 0
    for row in [*separators, len(lines)]:
        begin, end = first, row
        while begin < end and not lines[begin].strip():
            begin += 1
        while begin < end and not lines[end - 1].strip():
            end -= 1
        yield CommandText("\n".join(lines[begin:end]), _number(lines, begin))
        first = row + 1


def _number(lines: list[str], index: int) -> int:
    """The number in the cell of a piece's first line: a `${{…}}` before it may have several."""
    return 1 + index + sum(line.count("\n") for line in lines[:index] if "\n" in line)


def _has_substance(text: str) -> bool:
    return any(line.strip() and not line.lstrip().startswith("#") for line in text.split("\n"))


def _bad_line(source: bytes) -> int:
    """Where what is not understood begins; 1 where the grammar finds nothing wrong."""
    bad = next((node for node in parse(source).root_node.children if node.has_error), None)
    return 1 if bad is None else int(bad.start_point.row) + 1


def _check_blocks(commands: list[CommandText]) -> None:
    """Refuse a block with a quote or a here-document that may have swallowed the `---` behind it."""
    for command in commands[:-1]:
        text = _shadow(command.text)
        if understood(parse(grammar_bytes(text))):
            continue
        if "<<" in text or text.count("'") % 2 or text.count('"') % 2 or text.count("`") % 2:
            raise OptionError(
                f"the command at line {command.line} is not understood, and the {SEPARATOR} behind it may be part of its "
                "quote or here-document; close that, or call xec.batch with a list"
            )
