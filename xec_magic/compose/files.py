"""`Files`: copy, move, delete, make and write files, here or there, all in one round trip and each with a result."""

from __future__ import annotations

import os
import posixpath
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, overload

from xec_magic.command import decode_script
from xec_magic.compose.fileops import FUNCTIONS
from xec_magic.errors import OptionError
from xec_magic.plan import Batch
from xec_magic.results import Results, Shown
from xec_magic.units import format_size

__all__ = ["Files", "path_word", "quoted"]

LARGEST_BYTES: Final = 4 * 2**20  # of one `write`: the content is a part of the script
_MODE: Final = re.compile(r"[0-7]{3,4}|[ugoa]*[-+=][rwxXst]*(?:,[ugoa]*[-+=][rwxXst]*)*")
_GLOB: Final = re.compile(r"[*?\[]")

Path = str | bytes | os.PathLike[Any]


@dataclass(frozen=True, slots=True)
class _Operation:
    """A call of one of the shell functions, and what to call it."""

    label: str
    call: str


class Files:
    """Operations on files, to be done in order by `run`. Each method gives a new list with one more.

    Names are taken as they are: blanks, quotes, newlines, `*`, a `-` at the begin. Only `~` and `~/…` stand for the home
    directory there. A destination that ends with `/` is a directory to put something into; any other is the new name,
    and must not be a directory. What is replaced is replaced at once, and stays as it was where an operation fails.

    Example:
        >>> import tempfile, xec_magic as xec
        >>> with tempfile.TemporaryDirectory() as work:
        ...     todo = xec.files(cwd=work).mkdir("conf").write("conf/a", "port = 1\\n").copy("conf/a", "conf/b").delete("conf/a")
        ...     results = todo.run()
        ...     sorted(os.listdir(f"{work}/conf")), [result.plan.title for result in results]
        (['b'], ['mkdir conf', 'write conf/a', 'copy conf/a conf/b', 'delete conf/a'])
    """

    def __init__(self, run: Callable[[Batch, bool | None], Results], operations: tuple[_Operation, ...] = ()) -> None:
        self._run = run
        self._operations = operations

    def copy(self, source: Path, destination: Path) -> Files:
        """Copy a file, or a directory with all that is in it; times and modes too. A file in its place is replaced."""
        old, new = _text(source), _into(_text(destination), _text(source))
        return self._and("copy", f"{_short(old)} {_short(new)}", _word(old), *_places(new))

    def move(self, source: Path, destination: Path) -> Files:
        """Give something another name or place, also on another file system. A file in its place is replaced."""
        old, new = _text(source), _into(_text(destination), _text(source))
        return self._and("move", f"{_short(old)} {_short(new)}", _word(old), *_places(new), _word(_parent(old)))

    def delete(self, path: Path, *, force: bool = False) -> Files:
        """Delete a file, or a directory with all that is in it. What is not there is a failure.

        Args:
            path: What to delete; of a symbolic link the link.
            force: Needed for `/`, the home directory, the working directory, what holds one of them, the root of a
                mounted disk, and names with `*`, `?` or `[`, which are taken as they are.

        Raises:
            OptionError: the path needs `force`.
        """
        text = _text(path)
        if not force:
            _check_deletable(text)
        bare = text.rstrip("/") or "/"
        return self._and("delete", _short(text), _word(bare), "force" if force else "''")

    def mkdir(self, path: Path) -> Files:
        """Make a directory, and those above it; one that is there is fine."""
        text = _text(path)
        return self._and("mkdir", _short(text), _word(text))

    def write(self, path: Path, content: str | bytes, *, mode: int | str | None = None) -> Files:
        """Write a file, whole or not at all. One that is there keeps its owner and its mode.

        Args:
            path: The file; no symbolic link.
            content: Text, as UTF-8, or bytes; 4 MiB at most.
            mode: Its mode, as `0o600` or `"u=rw,go="`; None for the usual one.

        Raises:
            OptionError: too much content; no such mode.
        """
        if not isinstance(content, (str, bytes, bytearray)):
            raise OptionError(f"content is text or bytes, not {type(content).__name__}")
        data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else bytes(content)
        if len(data) > LARGEST_BYTES:
            raise OptionError(
                f"write takes {format_size(LARGEST_BYTES)} at most, and this has {format_size(len(data))}; give it to a "
                "command by stdin=, such as run('cat > file', stdin=data)"
            )
        text = _text(path)
        if text.endswith("/"):
            raise OptionError(f"{text} names a directory; give a file's name")
        rights = "''" if mode is None else _mode(mode)
        return self._and("write", _short(text), *_places(text), rights, str(len(data)), quoted(_format(data)))

    def chmod(self, mode: int | str, path: Path) -> Files:
        """Change the mode of a file or a directory, as `0o755` or `"u+x"`.

        Raises:
            OptionError: no such mode.
        """
        text, rights = _text(path), _mode(mode)
        return self._and("chmod", f"{rights} {_short(text)}", quoted(rights), _word(text))

    def _and(self, name: str, what: str, *words: str) -> Files:
        operation = _Operation(f"{name} {what}", " ".join(["xec_step", f"xec_{name}", *words]))
        return Files(self._run, (*self._operations, operation))

    @overload
    def run(
        self, *, keep_going: bool = False, check: bool | None = None, dry_run: Literal[False] = False
    ) -> Results: ...
    @overload
    def run(self, *, keep_going: bool = False, check: bool | None = None, dry_run: Literal[True]) -> Shown: ...
    def run(self, *, keep_going: bool = False, check: bool | None = None, dry_run: bool = False) -> Results | Shown:
        """Do all of it in one round trip, up to the first failure; gives a result for each operation.

        Args:
            keep_going: Go on after one that failed. Failures are then in the results, and raised with `check=True` only.
            check: Raise when one failed; None for what `keep_going` implies and the options say.
            dry_run: Do nothing; give the script that would be run.

        Raises:
            SomeFailed: an operation failed; its standard error says what is there now.
            OptionError: there is nothing to do.
        """
        if not self._operations:
            raise OptionError(
                "there is nothing to do; add .copy(…), .move(…), .delete(…), .mkdir(…), .write(…) or .chmod(…)"
            )
        if dry_run:
            calls = "\n".join(operation.call for operation in self._operations)
            return Shown(f"{FUNCTIONS.strip()}\n\n{calls}\n")
        batch = Batch(
            commands=tuple(operation.call for operation in self._operations),
            labels=tuple(operation.label for operation in self._operations),
            keep_going=keep_going,
            prelude=FUNCTIONS,
        )
        return self._run(batch, check)

    def __len__(self) -> int:
        return len(self._operations)

    def __repr__(self) -> str:
        return f"<Files {'; '.join(operation.label for operation in self._operations) or 'nothing to do'}>"


# -- names ----------------------------------------------------------------------------------------


def _text(path: Path) -> str:
    """A path as text; bytes that are no UTF-8 stand as lone surrogates.

    Raises:
        OptionError: it is none.
    """
    try:
        text = decode_script(os.fspath(path))
    except TypeError:
        raise OptionError(f"{path!r} is no path; give a text or a pathlib.Path") from None
    if not text:
        raise OptionError("the path is empty")
    if "\0" in text:
        raise OptionError(f"the path {text!r} holds a NUL character, which no file has in its name")
    return text


def path_word(path: Path) -> str:
    """A path as one word of a script, that no program takes for an option; `~/` is the home directory where it runs.

    Raises:
        OptionError: it is none.
    """
    return _word(_text(path))


def _into(destination: str, source: str) -> str:
    """The new name: below a destination that ends with `/` the source's own.

    Raises:
        OptionError: the source has no name of its own.
    """
    if not destination.endswith("/"):
        return destination
    name = posixpath.basename(source.rstrip("/"))
    if name in ("", ".", "..", "~"):
        raise OptionError(f"{source} has no name that it could have in {destination}; write the whole destination")
    return destination + name


def _parent(path: str) -> str:
    return posixpath.dirname(path.rstrip("/")) or ("/" if path.startswith("/") else ".")


def _places(path: str) -> tuple[str, str, str]:
    """A new name, its directory, and another name there for the time being, as words."""
    directory = _parent(path)
    return _word(path), _word(directory), _word(posixpath.join(directory, f".xec-{secrets.token_hex(8)}"))


def _word(path: str) -> str:
    """A path as one word of a script that no program takes for an option."""
    if path == "~" or path.startswith("~/"):
        return '"${HOME:?}"' + (quoted(path[1:]) if path[1:] else "")
    return quoted(path if path.startswith(("/", "./", "../")) or path in (".", "..") else f"./{path}")


def quoted(text: str) -> str:
    """A text as one word of a script."""
    return "'" + text.replace("'", "'\\''") + "'"


def _short(path: str) -> str:
    """A path for a title."""
    return path if re.fullmatch(r"[\w./@:+,~%=-]+", path) else repr(path)


def _check_deletable(path: str) -> None:
    bare = posixpath.normpath(path)
    last = posixpath.basename(path.rstrip("/"))
    if bare in ("/", "//") or (bare == "~" and path[0] == "~") or last in (".", "..", ""):
        raise OptionError(f"deleting {path} would take more than a name; write force=True if that is meant")
    if _GLOB.search(path):
        raise OptionError(
            f"{path} holds {_GLOB.findall(path)[0]}, and names are taken as they are: nothing is expanded; write force=True if "
            "that is its name"
        )


# -- values ---------------------------------------------------------------------------------------


def _mode(mode: int | str) -> str:
    if isinstance(mode, int) and not isinstance(mode, bool) and 0 <= mode <= 0o7777:
        if _lost_its_prefix(mode):
            raise OptionError(f"{mode} is the mode 0o{mode:o}; write 0o{mode}, or '{mode:04o}' if that is meant")
        return f"{mode:04o}"
    if isinstance(mode, str) and _MODE.fullmatch(mode) and not mode.startswith("-"):
        return mode
    raise OptionError(f"{mode!r} is no mode; write 0o644, '644', 'u+x' or 'u=rw,go=r'")


def _lost_its_prefix(mode: int) -> bool:
    """Whether a number has lost its `0o`: read as one it lets the owner in; as it stands it takes rights from the owner
    or gives others more than is ever wanted. 420 is not among them: it is 0o644, and 511 is 0o777.
    """
    digits = str(mode)
    if not set(digits) <= set("01234567") or not int(digits, 8) & 0o400:
        return False
    return not mode & 0o400 or 512 <= mode <= 777 or mode in (400, 440, 444, 500)


def _format(data: bytes) -> str:
    """The bytes as a format of printf(1): all of it prints as it is but `%`, the backslash, NUL and a `-` at the begin."""
    escaped = data.replace(b"\\", b"\\\\").replace(b"%", b"%%").replace(b"\0", b"\\000")
    return decode_script(b"\\055" + escaped[1:] if escaped.startswith(b"-") else escaped)
