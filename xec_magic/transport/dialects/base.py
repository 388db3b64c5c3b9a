"""`Dialect`: what every shell of a session must be told, and `Order`: a command for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

__all__ = ["READS_TEXTS", "Dialect", "Order", "Slots", "Start", "filled", "one_line", "quoted"]

# `.` where a command can stand, and no operand: `find . -name x`, `du -s . | sort`.
READS_TEXTS = re.compile(
    r"\b(?:eval|source)\b"
    r"|(?:^|[;&|(){!`]|\b(?:then|do|else|if|elif|while|until|time|command|builtin)[ \t]"
    r"""|=(?:'[^']*'|"[^"]*"|[^\s='"])*[ \t])[ \t]*\\?\.\s""",
    re.ASCII | re.MULTILINE,
)

_SLOT = re.compile(r"@([a-z]+)@")
_EXIT = re.compile(r"\b(?:exit|logout)\b", re.ASCII)
_TRAP_EXIT = re.compile(r"\btrap\b.*(?:\bEXIT\b|\b0\b|\bexit\b)", re.ASCII | re.DOTALL)
_TRAP_LIST = re.compile(r"\btrap\b[ \t]*(?:-p\b[^;|&)\n]*)?(?:$|[;|&)`<>}\n])", re.ASCII)
_OWN_WORDS = re.compile(r"\bfunction\s+(?:exit|trap)\b|\b(?:exit|trap)\s*\(\s*\)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Order:
    """A command for a session's shell.

    Attributes:
        script: The text to run, made strict already where that was asked for.
        strict: It was; the shell's own options come back afterwards.
        env: Variables for this command only.
        cwd: Go there for this command; None to stay.
        fed: Its input is something else than `/dev/null`.
    """

    script: bytes
    strict: bool = False
    env: tuple[tuple[str, str], ...] = ()
    cwd: str | None = None
    fed: bool = False

    def may_exit(self) -> bool:
        """The script may call `exit`, by the look of it."""
        return b"exit" in self.script and bool(_EXIT.search(self._text()))

    def may_trap_exit(self) -> bool:
        """The script may set a trap on its end, by the look of it."""
        return b"trap" in self.script and bool(_TRAP_EXIT.search(self._text()))

    def may_list_traps(self) -> bool:
        """The script may ask which traps there are, by the look of it."""
        return b"trap" in self.script and bool(_TRAP_LIST.search(self._text()))

    def reads_texts(self) -> bool:
        """The script lets the shell read texts of its own (`eval`, `source`), by the look of it."""
        return bool(READS_TEXTS.search(self._text()))

    def defines_own_words(self) -> bool:
        """It makes functions of `exit` or `trap`, so that ours must not stand in their place."""
        return (b"exit" in self.script or b"trap" in self.script) and bool(_OWN_WORDS.search(self._text()))

    def _text(self) -> str:
        return self.script.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Start:
    """How the shell is started: its arguments, and variables that it forgets again."""

    argv: tuple[bytes, ...]
    env: Mapping[bytes, bytes]


class Slots(Protocol):
    """What a dialect needs of `Names`."""

    def path(self, slot: str) -> str:
        """The slot's name, for the shell. It needs no quoting."""

    def write(self, slot: str, data: bytes) -> None:
        """Put a file with these bytes into a slot."""


class Dialect(Protocol):
    """How one shell is spoken to.

    It uses these slots: `feed` (orders), `ctl` (frames), `in`, `out`, `err` (the command's streams), and files of its own.
    """

    @property
    def name(self) -> str:
        """The shell's name."""

    @property
    def control_fd(self) -> int:
        """The descriptor on which it answers. Inside a command it is closed."""

    def start(self, shell: tuple[str, ...], names: Slots, *, login: bool, rc: str, here: bool = True) -> Start:
        """How to start it, on this machine or elsewhere; writes the files that it reads."""

    def plain(self, order: Order) -> bytes | None:
        """What `order` gives, for a command that needs no files: the same each time. None for others."""

    def order(self, order: Order, names: Slots) -> bytes:
        """What to write to it so that it runs a command."""

    def ping(self, number: int, names: Slots) -> bytes:
        """What to write to it so that it answers `y NUMBER`, and then as to any order."""


def filled(text: str, names: Slots) -> bytes:
    """A text with the names of slots in the places of `@SLOT@`."""
    return _SLOT.sub(lambda slot: names.path(slot[1]), text).encode("utf-8", "surrogateescape")


def one_line(text: str) -> str:
    """A text without its line ends: a shell's own text stands on line 1, so that a script's first line is line 1 as well."""
    return " ".join(text.splitlines()).strip()


def quoted(text: str | bytes) -> bytes:
    """One word of a shell's line."""
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    return b"'" + raw.replace(b"'", b"'\\''") + b"'"
