"""A cell's text to commands: where each ends, and when that is refused."""

from __future__ import annotations

import pytest

from xec_magic.compose.batch import fill_in
from xec_magic.compose.lines import split_commands
from xec_magic.errors import OptionError, TemplateError


def texts(cell):
    return [command.text for command in split_commands(cell)]


@pytest.mark.parametrize(
    ("cell", "commands"),
    [
        ("a\nb\n", ["a", "b"]),
        ("a; b && c\nd | e\n", ["a; b && c", "d | e"]),
        ("\n  \n# a comment\na # why\n\n  # more\nb", ["a # why", "b"]),
        ("a \\\n  b\nc", ["a \\\n  b", "c"]),
        ("a |\n  b\nc &&\n  d\ne", ["a |\n  b", "c &&\n  d", "e"]),
        ("echo 'a\n\nb'\nc", ["echo 'a\n\nb'", "c"]),
        ('echo "a\n# no comment\nb"\nc', ['echo "a\n# no comment\nb"', "c"]),
        ("for i in 1 2; do\n  a\n\n  # inside\n  b\ndone\nc", ["for i in 1 2; do\n  a\n\n  # inside\n  b\ndone", "c"]),
        ("f() {\n  a\n}\nf", ["f() {\n  a\n}", "f"]),
        ("if a; then\nb\nfi; c\nd", ["if a; then\nb\nfi; c", "d"]),
        ("x=$(\n  a\n)\nb", ["x=$(\n  a\n)", "b"]),
        ("cat <<EOF\na\n\n# b\n---\nEOF\nc", ["cat <<EOF\na\n\n# b\n---\nEOF", "c"]),
        ("cat <<-'A' <<B | tr a b\n\tx\n\tA\ny\nB\nc", ["cat <<-'A' <<B | tr a b\n\tx\n\tA\ny\nB", "c"]),
        ("a &\nwait", ["a &", "wait"]),
        ("echo \\---\n", ["echo \\---"]),
        # between lines of ---
        ("a\nb\n---\nc\n", ["a\nb", "c"]),
        ("---\n\na\n\n  ---  \n---\n# only a comment\n---\nb\n---\n", ["a", "b"]),
        ("cat <<EOF\n---\nEOF\n---\nb", ["cat <<EOF\n---\nEOF", "b"]),
        ("echo 'x\n---\ny'\n---\nb", ["echo 'x\n---\ny'", "b"]),
        ("a \\\n---\nb", ["a \\\n---", "b"]),
        ("a )\n---\nb", ["a )", "b"]),  # which the shell refuses, and only that command
        ("a\r\n---\r\nb", ["a\r", "b"]),
        # values
        ("echo ${{f('''\n---\n''')}}\nb", ["echo ${{f('''\n---\n''')}}", "b"]),
        ("echo ${{x}} '${{y}}' $${{z\nb", ["echo ${{x}} '${{y}}' $${{z", "b"]),
        ("a ${{x['a\\n']}} |\nb\nc", ["a ${{x['a\\n']}} |\nb", "c"]),
    ],
)
def test_a_command_ends_where_a_shell_would_end_it(cell, commands):
    assert texts(cell) == commands


def test_a_command_knows_its_line_in_the_cell():
    assert [command.line for command in split_commands("a\n\nb ${{(1,\n2)}}\nc\n")] == [1, 3, 5]
    assert [command.line for command in split_commands("\na\nb\n---\n\nc\n")] == [2, 6]


@pytest.mark.parametrize("cell", ["", "\n \n", "---", "---\n\n---\n", "# nothing\n---\n# but comments"])
def test_a_cell_without_a_command_is_refused(cell):
    with pytest.raises(OptionError, match="there is no command in the batch; write one a line"):
        split_commands(cell)


@pytest.mark.parametrize(
    ("cell", "line"),
    [("a\necho 'b\nc", 2), ('echo "a\nb', 1), ("a\nif b; then\nc\n", 2), ("a\nb\nc )\nd", 3), ("a\ncat <<EOF\nb\n", 2)],
)
def test_a_line_that_is_not_understood_is_refused_with_its_number_and_what_to_do(cell, line):
    with pytest.raises(OptionError, match=rf"line {line} is not understood.*write --- alone on a line between"):
        split_commands(cell)


@pytest.mark.parametrize("cell", ["echo 'a\n---\nb\n", 'a\n---\necho "b\n---\nc', "cat <<EOF\n---\nb\n"])
def test_a_separator_that_may_stand_in_an_open_quote_is_refused(cell):
    with pytest.raises(OptionError, match="is not understood, and the --- behind it may be part of its quote"):
        split_commands(cell)


def test_no_value_can_end_its_command():
    values = {"x": "a\n---\nb'; echo no\n# c"}
    commands = fill_in(split_commands("echo ${{x}}\n---\nb"), values.__getitem__, "bash")
    assert len(commands) == 2
    with pytest.raises(TemplateError, match=r"^in the command at line 3, its line 1: \$\{\{y\}\}"):
        fill_in(split_commands("a\n---\nb ${{y}}"), values.__getitem__, "bash")
