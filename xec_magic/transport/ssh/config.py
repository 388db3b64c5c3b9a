"""The SSH configuration's lines, read as OpenSSH reads them; what the settings mean is asyncssh's business."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NoReturn

from asyncssh import connection
from asyncssh.config import SSHClientConfig

from xec_magic.sshlines import conditions_of, keyword_of, words_of

__all__ = ["may_run_programs", "read_as_openssh_does"]

KEPT_LINES: Final = 4096  # taken apart already
_WHOLE: Final = ("proxycommand", "remotecommand", "localcommand")  # the rest of the line, whatever is in it


class _ClientConfig(SSHClientConfig):
    """asyncssh takes a word of `Match` apart at its `=`, expands no `%h` in `exec`, and refuses a comment behind a value."""

    def parse(self, path: Path) -> None:
        self._path, self._matching = path, True
        self._tokens = {"%": "%"}
        for self._line_no, text in _lines(str(path)):
            self._read(text)
        super().parse(Path(os.devnull))  # it expands what the settings hold

    def _read(self, text: str) -> None:
        found = _keyword(text)
        if found is None:
            self._fail(f"this has no value: {text}")
        name, rest = found[0].lower(), found[1]
        if name not in self._handlers or not (self._matching or name in ("host", "match")):
            return
        option, handler = self._handlers[name]
        try:
            words = [rest] if name in _WHOLE else [*_words(rest)]
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
        for kind, value in conditions_of(words):
            made.append(kind)
            if value is not None:
                made.append(self._with_tokens(value) if kind.lower().lstrip("!") == "exec" else value)
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


_keyword = lru_cache(KEPT_LINES)(keyword_of)
_read: dict[str, tuple[tuple[int, int, int], list[tuple[int, str]]]] = {}


@lru_cache(KEPT_LINES)
def _words(text: str) -> tuple[str, ...]:
    return tuple(words_of(text))


def _lines(path: str) -> list[tuple[int, str]]:
    """A file's lines that say something, with their numbers. A fleet asks for the same file hundreds of times: it is read again when it has changed."""
    status = os.stat(path)
    stamp = status.st_ino, status.st_size, status.st_mtime_ns
    known = _read.get(path)
    if known is None or known[0] != stamp or not stat.S_ISREG(status.st_mode):
        with open(path, errors="surrogateescape") as file:
            texts = [(number, line.strip()) for number, line in enumerate(file, 1)]
        known = _read[path] = stamp, [(number, text) for number, text in texts if text and not text.startswith("#")]
    return known[1]


def may_run_programs(files: Sequence[str]) -> bool:
    """Whether to read these files may start a program, by `Match exec`, or read more files than these."""
    with contextlib.suppress(OSError):
        for path in files:
            for _, text in _lines(path):
                begin = text[:7].lower()
                if begin == "include" or (begin.startswith("match") and "exec" in text.lower()):
                    return True
        return False
    return True


def read_as_openssh_does() -> None:
    """Have asyncssh read configurations so. It has no place to say that, so its own reader is replaced."""
    reader: Any = connection
    reader.SSHClientConfig = _ClientConfig
