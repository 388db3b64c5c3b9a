"""`%xec_targets`: what `--on` can name; whether it answers; which host keys and files are trusted."""

from __future__ import annotations

import html
import os
from typing import TYPE_CHECKING, Any, Final

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.display import display

from xec_magic.display import palette
from xec_magic.display.mime import both_forms
from xec_magic.errors import OptionError, TransportError
from xec_magic.magics.lines import asks_for_help, one_line_errors
from xec_magic.optionspec import nearest, next_word
from xec_magic.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xec_magic.command import Target
    from xec_magic.magics.xec import CommandMagics
    from xec_magic.transport.ssh import SSHTransport

__all__ = ["TargetsMagics"]

WIDE: Final = 48  # letters that a column takes of each line; the members of a large group take more on theirs
_TABLE: Final = "border-collapse:collapse;font-size:90%"
# Each cell has colours of its own: a page's theme colours the rows of any table.
_CELL: Final = (
    "background:#f6f8fa;color:#24292f;padding:2px 10px;text-align:left;border-bottom:1px solid #d0d7de;white-space:pre"
)
_FLAGS: Final = ("--ping", "--trust", "--accept", "--help")


@magics_class
class TargetsMagics(Magics):
    """The magic that lists and checks targets."""

    def __init__(self, shell: Any, commands: CommandMagics) -> None:
        super().__init__(shell)
        self._commands = commands

    @no_var_expand
    @line_magic
    def xec_targets(self, line: str) -> Any:
        """List what `--on` can name, or check it.

        ::

            %xec_targets                              list aliases, targets and groups
            %xec_targets TARGETS                      what TARGETS, as of --on, stands for
            %xec_targets --ping TARGETS               connect to each and log in; says what is wrong
            %xec_targets --accept FINGERPRINT TARGET  take the host key of a host of which none is known
            %xec_targets --trust FILE                 let this xec.toml set what runs code or weakens trust
        """
        with one_line_errors(OSError):
            if asks_for_help(line, TargetsMagics.xec_targets):
                return None
            return self._do(_words(line))

    def _do(self, words: list[str]) -> None:
        flag, *rest = words or [""]
        match flag:
            case "--trust":
                self._trust(rest)
            case "--accept":
                self._accept(rest)
            case "--ping":
                self._ping(rest)
            case _ if flag.startswith("-"):
                hint = nearest(flag, _FLAGS) or f"there are {', '.join(_FLAGS)}"
                raise OptionError(f"there is no option {flag}; {hint}")
            case "":
                inventory = _settings().inventory()
                rows = [(known.name, known.what, _short(known.where)) for known in inventory.known()]
                _show(
                    ("name", "what", "from"),
                    rows,
                    "no alias, target or group is known; write user@host, or make an xec.toml",
                )
            case _:
                rows = [(str(target), _place(target), "") for target in _settings().inventory().targets(words)]
                _show(("name", "what", ""), rows, "none")

    def _trust(self, words: list[str]) -> None:
        if len(words) != 1:
            raise OptionError("--trust needs one file, such as %xec_targets --trust xec.toml")
        from xec_magic.inventory import Trust

        path = os.path.abspath(os.path.expanduser(words[0]))
        if not os.path.isfile(path):
            raise OptionError(f"--trust: no such file: {path}")
        digest = Trust().add(path)
        print(f"[xec] {path} is trusted as it is now (SHA-256 {digest[:16]}…); once changed it is not any more")  # noqa: T201

    def _accept(self, words: list[str]) -> None:
        if len(words) != 2:
            raise OptionError("--accept needs a fingerprint and a target: %xec_targets --accept SHA256:… TARGET")
        fingerprint, name = words
        if not fingerprint.startswith("SHA256:"):
            raise OptionError(f"--accept: {fingerprint!r} is no fingerprint; it begins with SHA256:")
        targets = _settings().inventory().targets(name)
        if len(targets) != 1:
            raise OptionError(f"--accept: {name} names {len(targets)} targets; a key belongs to one")

        async def accept(ssh: SSHTransport) -> str:
            return await ssh.accept(targets[0], fingerprint)

        added = _executor().ssh_call(accept)
        print(f"[xec] {targets[0]}: {'accepted ' + added if added else 'its key was known already'}")  # noqa: T201 - asked for

    def _ping(self, words: list[str]) -> None:
        if not words:
            raise OptionError("--ping needs targets, as --on takes them: %xec_targets --ping @all")
        targets = _settings().inventory().targets(words)

        async def ping(ssh: SSHTransport) -> list[float | TransportError]:
            return await ssh.ping([target for target in targets if target.kind == "ssh"])

        answers = iter(_executor().ssh_call(ping))
        rows = []
        for target in targets:
            answer = next(answers) if target.kind == "ssh" else 0.0
            said = str(answer) if isinstance(answer, TransportError) else f"logged in after {format_duration(answer)}"
            rows.append((str(target), "failed" if isinstance(answer, TransportError) else "ok", said))
        _show(("name", "state", "answer"), rows, "none")


def _words(line: str) -> list[str]:
    words, at = [], 0
    while (word := next_word(line, at)) is not None:
        if not word.closed:
            raise OptionError(f"a quote is opened and never closed: {line[word.start :]}")
        words.append(word.text)
        at = word.end
    return words


def _settings() -> Any:
    from xec_magic import runtime

    return runtime.current().settings


def _executor() -> Any:
    from xec_magic import runtime

    return runtime.current().executor


def _place(target: Target) -> str:
    if target.kind != "ssh":
        return "this machine"
    return (f"{target.user}@" if target.user else "") + target.host + (f":{target.port}" if target.port else "")


def _short(path: str) -> str:
    home = os.path.expanduser("~")
    return "~" + path[len(home) :] if path.startswith(home + os.sep) else path


def _cell(name: str, text: str) -> str:
    wrapped = "-wrap;overflow-wrap:anywhere" if len(text) > WIDE else ""
    bad = f";color:{palette.BAD};font-weight:600" if (name, text) == ("state", "failed") else ""
    return f'<td style="{_CELL}{wrapped}{bad}">{html.escape(text)}</td>'


def _show(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], nothing: str) -> None:
    if not rows:
        display({"text/plain": f"[xec] {nothing}"}, raw=True)  # type: ignore[no-untyped-call]
        return
    table = [head, *rows]
    widths = [min(WIDE, max(len(row[column]) for row in table)) for column in range(len(head) - 1)]
    text = "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in table
    )
    cells = "".join(f'<th style="{_CELL}">{html.escape(cell)}</th>' for cell in head)
    body = "".join("<tr>" + "".join(map(_cell, head, row)) + "</tr>" for row in rows)
    page = f'<table style="{_TABLE}"><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>'
    display(both_forms(text, page), raw=True)  # type: ignore[no-untyped-call]
