"""The text of a `%%xec_tasks` cell: tasks with their dependencies, options and scripts; every error has its line and column.

::

    name: dependencies [options]
        script, indented

Lines count as in the cell, whose first line is the magic's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from xec_magic.errors import OptionError
from xec_magic.optionspec import Word, next_word

__all__ = ["Place", "TaskText", "TasksError", "parse_tasks", "valid_name"]

_NAME: Final = re.compile(r"\w(?:[\w.-]*\w)?")
_HEADER: Final = re.compile(r"([^\s:#][^:]*?)[ \t]*:(?:[ \t]+|$)")
_INDENT: Final = re.compile(r"[ \t]*")
_PLACE: Final = re.compile(r"line (\d+)(?:, column (\d+))?(?::| of the script) ?")
_SHOWN: Final = 100  # characters of a line that a message shows


class TasksError(OptionError):
    """A cell of tasks is wrong; nothing has run. The message ends with the line and a mark under the place."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a cell, both counted from 1."""

    line: int
    column: int

    def error(self, message: str, source: str) -> TasksError:
        """An error there, the line shown with a mark; `source` is that line's text."""
        if len(source) <= _SHOWN:
            cut, at = source, self.column - 1
        else:  # a long line: a piece around the place
            start = max(0, self.column - 1 - _SHOWN // 2)
            cut, at = ("…" if start else "") + source[start : start + _SHOWN], self.column - 1 - start + bool(start)
        # A tab before the mark keeps both in step, however wide it is shown.
        blank = "".join("\t" if char == "\t" else " " for char in cut[:at])
        return TasksError(f"line {self.line}, column {self.column}: {message}\n    {cut}\n    {blank}^")


@dataclass(frozen=True, slots=True)
class TaskText:
    """One task as it stands in the cell.

    Attributes:
        name: Its name.
        needs: The names of its dependencies, with where each stands.
        options: What its header sets, by option name.
        script: Its body without the common indentation; empty for a group.
        header: The header's own text and place.
        body: The line of the body's first line.
        indent: Columns that were taken from each line of the body.
    """

    name: str
    needs: Mapping[str, Place]
    options: Mapping[str, Any]
    script: str
    header: str
    place: Place
    body: int
    indent: int
    lines: tuple[str, ...]

    def error(self, message: str, need: str = "") -> TasksError:
        """An error that concerns this task, or one of its dependencies."""
        return self.needs.get(need, self.place).error(message, self.header)

    def relocated(self, error: OptionError) -> TasksError:
        """An error about the script, its lines counted from 1, as one about the cell."""
        message = str(error)
        found = _PLACE.match(message)
        if found is None:
            flag = re.match(r"(--[\w-]+):", message)
            at = self.header.find(flag[1]) if flag else -1
            return Place(self.place.line, max(0, at) + 1).error(f"task {self.name}: {message}", self.header)
        line = int(found[1])
        source = self.lines[line - 1] if line <= len(self.lines) else ""
        column = (
            int(found[2]) + self.indent if found[2] else _field_at(source, message[found.end() :]) or self.indent + 1
        )
        return Place(self.body + line - 1, column).error(message[found.end() :], source)


ReadOptions = Callable[[str], Mapping[str, Any]]


def valid_name(name: str) -> str:
    """Why this cannot be the name of a task; empty when it can.

    Example:
        >>> valid_name("build.wheel"), valid_name("--force")
        ('', "'--force' is an option's name: on the line of the cell it would be taken for that option")
    """
    if name.startswith("-"):
        return f"{name!r} is an option's name: on the line of the cell it would be taken for that option"
    if " " in name or "\t" in name:
        return f"{name!r} is more than one name; write a header for each task"
    if not _NAME.fullmatch(name):
        return f"{name!r} is no name of a task; write letters, digits, _, and between them - and ."
    return ""


def parse_tasks(text: str, read_options: ReadOptions, *, first_line: int = 2) -> list[TaskText]:
    """The tasks of a cell, in their order. Whether they fit together is for `Graph` to say.

    Args:
        text: The cell below the magic's line.
        read_options: Reads the options of a header; its `OptionError` gets a place.
        first_line: The number of the text's first line.

    Raises:
        TasksError: the text is wrong, or there is no task in it.

    Example:
        >>> build, test = parse_tasks("build:\\n    make\\n\\ntest: build\\n    make test\\n", lambda line: {})
        >>> build.script, test.script, list(test.needs), test.place
        ('make', 'make test', ['build'], Place(line=5, column=1))
    """
    lines = text.replace("\r\n", "\n").split("\n")
    tasks: list[TaskText] = []
    known: dict[str, Place] = {}
    at = 0
    while at < len(lines):
        line = lines[at]
        number = at + first_line
        if not line.strip() or line.startswith("#"):
            at += 1
            continue
        if line[0] in " \t":
            _refuse_stray(line, number, tasks)
        end = _body_end(lines, at + 1)
        task = _task(line, number, lines[at + 1 : end], read_options)
        if task.name in known:
            raise task.error(f"there is already a task {task.name}, in line {known[task.name].line}; names must differ")
        known[task.name] = task.place
        tasks.append(task)
        at = end
    if not tasks:
        raise TasksError(
            "there are no tasks; write `name: dependencies` on a line and, indented below it, what is to be done"
        )
    return tasks


def _refuse_stray(line: str, number: int, tasks: list[TaskText]) -> NoReturn:
    column = len(_INDENT.match(line)[0]) + 1  # type: ignore[index]  # it matches always
    assert not tasks  # below a task it belongs to its body
    raise Place(number, column).error(
        "an indented line belongs to the task above it, and there is none; begin with `name: dependencies`", line
    )


def _body_end(lines: list[str], start: int) -> int:
    """Behind the last line of the body that begins at `start`: blank lines and comments at its end are not of it."""
    end = start
    for at in range(start, len(lines)):
        line = lines[at]
        if line.strip() and line[0] in " \t":
            end = at + 1
        elif line.strip() and not line.startswith("#"):
            break
    return end


def _task(header: str, number: int, body: list[str], read_options: ReadOptions) -> TaskText:
    found = _HEADER.match(header)
    if found is None:
        raise _no_header(header, number)
    name = found[1]
    reason = valid_name(name)
    if reason:
        raise Place(number, 1).error(reason, header)
    needs: dict[str, Place] = {}
    at = found.end()
    word = next_word(header, at)
    while word is not None and header[word.start] not in "-#":
        needs.setdefault(_need(word, header, number), Place(number, word.start + 1))
        at = word.end
        word = next_word(header, at)
    options = _options(header, number, word, read_options)
    script, indent = _dedented(body, number + 1)
    if options and not script:
        assert word is not None
        raise Place(number, word.start + 1).error(
            f"{name} has no script, so its options would do nothing; write one below it, indented", header
        )
    return TaskText(name, needs, options, script, header, Place(number, 1), number + 1, indent, tuple(body))


def _no_header(header: str, number: int) -> TasksError:
    glued = re.match(r"([\w.-]+):(?=\S)", header)
    if glued:
        return Place(number, glued.end() + 1).error("a blank must follow the colon", header)
    if header[0] == "-" or _NAME.match(header):
        advice = "a task begins with `name: dependencies`, and the lines of its script are indented"
    else:
        advice = "this begins no task; write `name: dependencies`, and indent the lines of its script"
    return Place(number, 1).error(advice, header)


def _need(word: Word, header: str, number: int) -> str:
    reason = valid_name(word.text)
    if reason:
        if "," in word.text:
            reason = "dependencies are separated by blanks, not by commas"
        raise Place(number, word.start + 1).error(reason, header)
    return word.text


def _options(header: str, number: int, word: Word | None, read: ReadOptions) -> Mapping[str, Any]:
    if word is None or header[word.start] == "#":
        return {}
    line, start = header[word.start :], word.start
    try:
        return read(line)
    except OptionError as error:
        message = str(error)
        # A `${{…}}` in a value tells its line there, which is none of the cell's.
        told = _PLACE.sub("", message, count=1) if _PLACE.match(message) else message
        raise Place(number, start + 1 + _fault_at(line, message, read)).error(told, header) from None


def _fault_at(line: str, message: str, read: ReadOptions) -> int:
    """Where in a line of options the fault stands: the last word of the shortest beginning that has the same fault."""
    at = before = 0
    while (word := next_word(line, at)) is not None:
        at = word.end
        try:
            read(line[:at])
        except OptionError as error:
            if str(error) == message:
                # A value is wrong by itself, an option that makes no sense is wrong with any value.
                return before if " is no option of " in message and line[word.start] != "-" else word.start
        before = word.start
    return 0


def _dedented(body: list[str], first: int) -> tuple[str, int]:
    """A body without its common indentation, and how many columns that is.

    Raises:
        TasksError: some lines are indented by spaces and others by tabs.
    """
    indents = [(at, _INDENT.match(line)[0]) for at, line in enumerate(body) if line.strip() and line[0] in " \t"]  # type: ignore[index]
    if not indents:
        return "", 0
    opening = indents[0][1]
    kind = opening[0]
    width = min(len(indent) for _, indent in indents)
    for at, indent in indents:
        # Behind the first line's depth anything may come: `<<-` needs tabs there.
        other = next((column for column, char in enumerate(indent[: len(opening)]) if char != kind), None)
        if other is not None:
            mine, theirs = ("a tab", "spaces") if kind == " " else ("a space", "tabs")
            raise (
                Place(first + at, other + 1).error(
                    f"this line is indented with {mine} where the body begins with {theirs}; use one of them", body[at]
                )
                if at
                else Place(first, other + 1).error(
                    "this line is indented with spaces and tabs; use one of them", body[0]
                )
            )
    # A comment in the first column stays where it is.
    return "\n".join(line[width:] if line[:1] in {" ", "\t"} else line for line in body), width


def _field_at(source: str, message: str) -> int:
    """The column of the `${{…}}` that a message begins with; 0 when it is not found."""
    field = re.match(r"\$\{\{.*?\}\}", message)
    return source.find(field[0]) + 1 if field else 0
