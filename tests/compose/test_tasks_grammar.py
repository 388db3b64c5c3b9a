from __future__ import annotations

import pytest

from xec_magic.compose.tasks_grammar import TasksError, parse_tasks
from xec_magic.options.tasks import TaskOptions


def parse(text):
    return parse_tasks(text, TaskOptions.read_line)


def refusal(text):
    """Message, line, column of the refusal; the mark stands under that column."""
    with pytest.raises(TasksError) as caught:
        parse(text)
    head, source, mark = str(caught.value).split("\n")
    place, _, message = head.partition(": ")
    line, column = (int(word.split()[1]) for word in place.split(", "))
    assert text.split("\n")[line - 2] == source[4:]
    assert mark == "".join("\t" if char == "\t" else " " for char in source[: 3 + column]) + "^"
    return message, line, column


def test_a_cell_gives_its_tasks_in_order_with_needs_options_and_scripts():
    first, second, group = parse(
        "# what it is for\n\nfetch: --timeout 5m\n    git fetch\n\n    git log | head -3\n\n# next\nbuild: fetch  # why\n\tmake\n\tmake check\nall: build fetch build\n"
    )
    assert (first.name, dict(first.options), first.script) == (
        "fetch",
        {"timeout": 300.0},
        "git fetch\n\ngit log | head -3",
    )
    assert (list(second.needs), second.script) == (["fetch"], "make\nmake check")
    assert (list(group.needs), group.script) == (["build", "fetch"], "")


def test_only_the_common_indentation_is_taken_away_and_comments_and_blank_lines_stay():
    (task,) = parse("t:\n      if true\n      then\n          # deeper\n\n          echo x\n      fi\n    # end\n")
    assert task.script == "  if true\n  then\n      # deeper\n\n      echo x\n  fi\n# end"
    (task,) = parse("t:\n    one\n# in the first column\n    two\n# behind the body\n")
    assert task.script == "one\n# in the first column\ntwo"


def test_tabs_behind_the_bodys_indentation_are_the_scripts_own():
    (task,) = parse("t:\n  cat <<-X\n  \ttext\n  \tX\n")
    assert task.script == "cat <<-X\n\ttext\n\tX"


@pytest.mark.parametrize(
    ("text", "says", "line", "column"),
    [
        ("a:\n\tone\n        two\n", "indented with a space where the body begins with tabs", 4, 1),
        ("a:\n    one\n\ttwo\n", "indented with a tab where the body begins with spaces", 4, 1),
        ("a:\n  \tone\n", "indented with spaces and tabs", 3, 3),
        ("    echo\n", "an indented line belongs to the task above it, and there is none", 2, 5),
        ("echo hello\n", "a task begins with `name: dependencies`", 2, 1),
        ("a:\n  x\n  y\n:-)\n", "begins no task", 5, 1),
        ("a:b\n  x\n", "a blank must follow the colon", 2, 3),
        ("a b: c\n  x\n", "more than one name", 2, 1),
        ("--force:\n  x\n", "an option's name", 2, 1),
        ("-j: a\n  x\n", "an option's name", 2, 1),
        ("a: b,c\n  x\n", "separated by blanks, not by commas", 2, 4),
        ("a: b $c\n  x\n", "'$c' is no name of a task", 2, 6),
        ("a:\n  x\n\nb:\n  y\na: b\n  z\n", "already a task a, in line 2", 7, 1),
        ("a: b --timout 5\n  x\n", "did you mean --timeout?", 2, 6),
        ("a: b --retries 1 --timeout soon\n  x\n", "'soon' is no duration", 2, 28),
        ("a: b --timeout\n  x\n", "--timeout needs a value", 2, 6),
        ("a: --timeout 5 b\n  x\n", "what a task needs stands before its options", 2, 16),
        ("a: --bg\n  x\n", "--bg is no option of a task", 2, 4),
        ("a: --out r\n  x\n", "%%xec_tasks --out r", 2, 4),
        ("a: b --timeout 5\nb:\n  x\n", "has no script, so its options would do nothing", 2, 6),
    ],
)  # fmt: skip
def test_a_wrong_cell_is_refused_with_line_column_and_a_mark(text, says, line, column):
    message, *place = refusal(text)
    assert says in message
    assert place == [line, column]


def test_the_mark_stands_right_behind_a_tab_and_in_a_long_line():
    assert refusal("a:\tb --bg\n  x\n")[1:] == (2, 6)
    with pytest.raises(TasksError) as caught:
        parse(f"a: {'b ' * 500}--bg\n  x\n")
    _, source, mark = str(caught.value).split("\n")
    assert len(source) < 120
    assert source[mark.index("^") :].startswith("--bg")


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_a_cell_without_a_task_says_how_one_is_written(text):
    with pytest.raises(TasksError, match=r"there are no tasks; write `name: dependencies`"):
        parse(text)


def test_lines_that_end_with_a_carriage_return_are_read_as_others():
    (task,) = parse("t:\r\n  one\r\n  two\r\n")
    assert task.script == "one\ntwo"
