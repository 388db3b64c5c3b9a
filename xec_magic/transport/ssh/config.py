"""The SSH configuration's lines, read as OpenSSH reads them; what the settings mean is asyncssh's business."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any, Final, NoReturn

from asyncssh import connection
from asyncssh.config import SSHClientConfig

__all__ = ["read_as_openssh_does", "words_of"]

_LINE = re.compile(r"([A-Za-z][A-Za-z0-9]*)\s*(?:=\s*|\s+|(?=\"))(.*)")
_WHOLE: Final = ("proxycommand", "remotecommand", "localcommand")  # the rest of the line, whatever is in it
_ALONE: Final = ("all", "canonical", "final")  # conditions of `Match` without a value


def words_of(text: str) -> list[str]:
    """The words behind a keyword, up to a comment.

    Raises:
        ValueError: a quote is opened and never closed.

    Example:
        >>> words_of('a"b c" d#e # don\\'t')
        ['ab c', 'd#e']
    """
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    for word in lexer:
        if word.startswith("#"):
            break  # what stands behind it need not have its quotes in pairs
        words.append(word)
    return words


class _ClientConfig(SSHClientConfig):
    """asyncssh takes a word of `Match` apart at its `=`, expands no `%h` in `exec`, and refuses a comment behind a value."""

    def parse(self, path: Path) -> None:
        self._path, self._line_no, self._matching = path, 0, True
        self._tokens = {"%": "%"}
        with open(path, errors="surrogateescape") as file:
            for line in file:
                self._line_no += 1
                text = line.strip()
                if text and not text.startswith("#"):
                    self._read(text)
        super().parse(Path(os.devnull))  # it expands what the settings hold

    def _read(self, text: str) -> None:
        found = _LINE.fullmatch(text)
        if found is None:
            self._fail(f"this has no value: {text}")
        name = found[1].lower()
        if name not in self._handlers or not (self._matching or name in ("host", "match")):
            return
        option, handler = self._handlers[name]
        try:
            words = [found[2]] if name in _WHOLE else words_of(found[2])
        except ValueError as error:
            self._fail(str(error).lower())
        if not words:
            self._fail(f"{option} has no value")
        if name == "match":
            words = self._conditions(words)
        handler(self, option, words)
        if words:
            self._fail(f"{option}: there is more behind the value: {' '.join(words)}")

    def _conditions(self, words: list[str]) -> list[str]:
        """The words of `Match`, `host=name` taken apart and the command of `exec` with its `%h`."""
        made: list[str] = []
        rest = iter(words)
        for word in rest:
            kind, equals, value = word.partition("=")
            made.append(kind)
            kind = kind.lower().lstrip("!")
            if kind not in _ALONE:
                value = value if equals else next(rest, "")
                made.append(self._with_tokens(value) if kind == "exec" else value)
        return made

    def _with_tokens(self, command: str) -> str:
        self._set_tokens()  # those that the lines before this one have set

        def token(found: re.Match[str]) -> str:
            if found[1] not in self._tokens:
                self._fail(f"Match exec: there is no {found[0]}")
            return self._tokens[found[1]]

        return re.sub(r"%(.)", token, command)

    def _fail(self, words: str) -> NoReturn:
        self._error(words)


def read_as_openssh_does() -> None:
    """Have asyncssh read configurations so. It has no place to say that, so its own reader is replaced."""
    reader: Any = connection
    reader.SSHClientConfig = _ClientConfig
