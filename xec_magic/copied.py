"""What a copy has done: `CopyResult`, with a `Copied` for each host."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, overload

from xec_magic.errors import CopyError, OptionError
from xec_magic.units import format_count, format_duration, format_size

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Copied", "CopyResult", "CopyState", "Trouble", "base_name", "path_text"]

NAMED_AT_MOST: Final = 3  # in a message of one line

CopyState: TypeAlias = Literal["waiting", "looking", "copying", "checking", "copied", "failed", "interrupted"]


def path_text(path: bytes) -> str:
    r"""A path for people: what is no text, or would do something to a terminal or a page, stands as an escape.

    Example:
        >>> path_text(b"caf\xc3\xa9"), path_text(b"\xff\n\x1b[2J")
        ('café', '\\xff\\n\\x1b[2J')
    """
    text = path.decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that was not copied, and why."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied from or to one host.

    Attributes:
        target: The host.
        state: How it stands; `copied`, `failed` or `interrupted` in the end.
        files: Files that were carried over.
        files_total: Files to be carried over, as far as they are known.
        size_bytes: Bytes that were carried over.
        total_bytes: Bytes to be carried over.
        same: Files that were there already: of the same size, time and mode.
        resumed_bytes: Bytes of an earlier, interrupted copy that were gone on from.
        failures: What could not be copied.
        left_out: What no copy can carry: FIFOs, sockets, devices.
        error: Why nothing more could be done; empty when the copy went to its end.
        kept: What is kept of files that are not complete, for the next call to go on with.
        duration_s: From its begin to its end.
    """

    target: str
    state: CopyState
    files: int = 0
    files_total: int = 0
    size_bytes: int = 0
    total_bytes: int = 0
    same: int = 0
    resumed_bytes: int = 0
    failures: tuple[Trouble, ...] = ()
    left_out: tuple[Trouble, ...] = ()
    error: str = ""
    kept: tuple[Trouble, ...] = ()
    duration_s: float = 0.0

    @property
    def ok(self) -> bool:
        """All of it has arrived."""
        return self.state == "copied" and not self.failures

    @property
    def rate(self) -> float | None:
        """Bytes a second; None where nothing was carried."""
        return self.size_bytes / self.duration_s if self.size_bytes and self.duration_s else None

    def words(self) -> str:
        """What is wrong, or what was done, in one line without the target."""
        if self.state == "interrupted" and not self.failures:
            return "interrupted" + (f"; {self.kept[0]}" if self.kept else "")
        if self.error or self.failures:
            named = "; ".join(map(str, self.failures[:NAMED_AT_MOST]))
            more = len(self.failures) - NAMED_AT_MOST
            named += f" and {more:,} more" if more > 0 else ""
            kept = f"; {self.kept[0]}" if self.kept else ""
            return "; ".join(filter(None, [self.error, named])) + kept
        done = format_count(self.files, "file")
        return f"{done}, {format_size(self.size_bytes)}" + (f", {self.same:,} there already" if self.same else "")


class CopyResult(Sequence[Copied]):
    """What was copied, a `Copied` for each host; true when all has arrived.

    Attributes:
        source: What was to be copied.
        destination: Where to.
        interrupted: The kernel's interrupt stopped it.
    """

    def __init__(self, source: str, destination: str, parts: Iterable[Copied], duration_s: float = 0.0) -> None:
        self.source = source
        self.destination = destination
        self.duration_s = duration_s
        self._parts = tuple(parts)

    @overload
    def __getitem__(self, index: int) -> Copied: ...
    @overload
    def __getitem__(self, index: slice) -> CopyResult: ...
    def __getitem__(self, index: int | slice) -> Copied | CopyResult:
        return self._chosen(self._parts[index]) if isinstance(index, slice) else self._parts[index]

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[Copied]:
        return iter(self._parts)

    def __bool__(self) -> bool:
        return self.ok

    def _chosen(self, parts: Iterable[Copied]) -> CopyResult:
        return CopyResult(self.source, self.destination, parts, self.duration_s)

    @property
    def ok(self) -> bool:
        """All has arrived, everywhere."""
        return all(part.ok for part in self._parts)

    @property
    def interrupted(self) -> bool:
        """The kernel's interrupt stopped it."""
        return any(part.state == "interrupted" for part in self._parts)

    @property
    def failed(self) -> CopyResult:
        """The hosts with which something went wrong; `failed.targets` can be given to a copy, or to `on=`."""
        return self._chosen(part for part in self._parts if not part.ok)

    @property
    def targets(self) -> list[str]:
        """The hosts."""
        return [part.target for part in self._parts]

    @property
    def files(self) -> int:
        """Files that were carried over, by all hosts."""
        return sum(part.files for part in self._parts)

    @property
    def size_bytes(self) -> int:
        """Bytes that were carried over, by all hosts."""
        return sum(part.size_bytes for part in self._parts)

    @property
    def same(self) -> int:
        """Files that were there already."""
        return sum(part.same for part in self._parts)

    @property
    def errors(self) -> dict[str, str]:
        """What is wrong, by host."""
        return {part.target: part.words() for part in self._parts if not part.ok}

    def message(self) -> str:
        """What went wrong, in one line."""
        bad = list(self.failed)
        if len(self) == 1:
            part = bad[0]
            told = part.words()
            return told if told.startswith(f"{part.target}: ") else f"{part.target}: {told}"
        named = [
            part.words() if part.words().startswith(f"{part.target}: ") else f"{part.target} ({part.words()})"
            for part in bad
        ]
        more = len(bad) - NAMED_AT_MOST
        return f"{len(bad):,} of {len(self):,} hosts failed: {', '.join(named[:NAMED_AT_MOST])}" + (
            f" and {more:,} more" if more > 0 else ""
        )

    def check(self) -> CopyResult:
        """The result itself when all has arrived.

        Raises:
            CopyError: not all has arrived; the message names what and why.
        """
        if self.ok:
            return self
        raise CopyError(self.message(), self)

    def df(self) -> pd.DataFrame:
        """A DataFrame with a row for each host: target, state, files, same, size_bytes, resumed_bytes, duration_s, error.

        Raises:
            OptionError: pandas is not installed; the extra `frames` has it.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise OptionError("pandas is not installed; pip install 'xec-magic[frames]'") from error
        names = ("target", "state", "files", "same", "size_bytes", "resumed_bytes", "duration_s")
        columns: dict[str, list[Any]] = {name: [getattr(part, name) for part in self] for name in names}
        return pd.DataFrame({**columns, "error": ["" if part.ok else part.words() for part in self]})

    def __repr__(self) -> str:
        if not self.ok:
            return f"<CopyResult {len(self.failed):,} of {len(self):,} failed>"
        parts = [format_count(self.files, "file"), format_size(self.size_bytes)]
        parts += [f"{self.same:,} there already"] if self.same else []
        parts += [f"{len(self)} hosts"] if len(self) > 1 else []
        return f"<CopyResult {', '.join(parts)} in {format_duration(self.duration_s)}>"


def base_name(path: bytes) -> bytes:
    """The last name of a path, also of one that ends with `/`."""
    return posixpath.basename(path.rstrip(b"/"))
