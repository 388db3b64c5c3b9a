"""Bytes that arrive in pieces, cut into what a reader asks for: lines, batches of lines, blocks of one size."""

from __future__ import annotations

import codecs
from typing import Final, Literal

from xec_magic.errors import ParseError
from xec_magic.units import format_size

__all__ = ["Blocks", "Chunks", "Decoding", "LineBatches", "Lines"]

Decoding = Literal["strict", "replace", "surrogateescape"]

BATCH_BYTES: Final = 64 * 2**20  # of one line, and about of one batch of lines: what a kernel can hold without harm
LINE_BYTES: Final = 56  # what a line of Python takes besides its characters


class Chunks:
    """Bytes as they came."""

    def feed(self, data: bytes) -> list[bytes]:
        """What can be given to the consumer."""
        return [data]

    def end(self) -> list[bytes]:
        """The rest."""
        return []


class Lines:
    """Bytes to batches of lines; a line or a character may be cut anywhere.

    Args:
        errors: What becomes of bytes that are no UTF-8. `surrogateescape` loses nothing: encoded again in the same way, the
            bytes are those that came.
    """

    def __init__(self, errors: Decoding = "replace") -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")(errors).decode
        self._rest: list[str] = []

    def feed(self, data: bytes) -> list[list[str]]:
        """The lines that are complete now, as one batch or none."""
        lines = self._decode(data).split("\n")
        if len(lines) == 1:
            self._rest += lines
            return []
        if self._rest:
            lines[0] = "".join([*self._rest, lines[0]])
        self._rest = [lines.pop()]
        return [lines]

    def end(self) -> list[list[str]]:
        """A last line without its newline."""
        rest = "".join(self._rest) + self._decode(b"", True)
        return [[rest]] if rest else []


class LineBatches:
    """Bytes to batches of a fixed number of lines; only the last has fewer, and one that holds 64 MiB already.

    Args:
        count: Lines a batch.
        name: What is read, for messages.
        errors: What becomes of bytes that are no UTF-8; `strict` refuses them.

    Raises:
        ParseError: bytes that are no UTF-8, or a line of more than 64 MiB; from `feed` and `end`.

    Example:
        >>> cut = LineBatches(2, "f")
        >>> cut.feed(b"a\\nb\\nc"), cut.end()
        ([['a', 'b']], [['c']])
    """

    def __init__(self, count: int, name: str, errors: Decoding = "strict") -> None:
        self._count = count
        self._name = name
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors)
        self._rest: list[str] = []  # parts of a line that has not ended
        self._rest_size = 0
        self._batch: list[str] = []
        self._batch_size = 0
        self._given = 0

    def feed(self, data: bytes) -> list[list[str]]:
        """The batches that are complete now."""
        lines = self._text(data).split("\n")
        tail = lines.pop()
        if lines:
            if self._rest:
                lines[0] = "".join([*self._rest, lines[0]])
            self._rest, self._rest_size = [], 0
        if tail:
            self._rest.append(tail)
            self._rest_size += len(tail)
            if self._rest_size > BATCH_BYTES:
                number = self._given + len(self._batch) + len(lines) + 1
                raise ParseError(
                    f"{self._name}, line {number:,}: longer than {format_size(BATCH_BYTES)}; read blocks with size= instead",
                    number,
                )
        self._batch += lines
        self._batch_size += len(data) + LINE_BYTES * len(lines)
        return self._complete(everything=self._batch_size > BATCH_BYTES)

    def _complete(self, *, everything: bool) -> list[list[str]]:
        count, batch = self._count, self._batch
        last = len(batch) if everything else len(batch) - len(batch) % count
        if not last:
            return []
        found = [batch[at : min(at + count, last)] for at in range(0, last, count)]
        self._batch, self._batch_size = batch[last:], 0
        self._given += last
        return found

    def end(self) -> list[list[str]]:
        """The last batch, and a last line without its newline."""
        rest = "".join(self._rest) + self._text(b"", final=True)
        if rest:
            self._batch.append(rest)
        return self._complete(everything=True)

    def _text(self, data: bytes, *, final: bool = False) -> str:
        try:
            return self._decoder.decode(data, final)
        except UnicodeDecodeError as error:
            number = self._given + len(self._batch) + error.object.count(b"\n", 0, error.start) + 1
            raise ParseError(
                f"{self._name}, line {number:,}: byte 0x{error.object[error.start]:02x} is no UTF-8; errors='replace' goes "
                "on, size= gives bytes",
                number,
            ) from error


class Blocks:
    """Bytes to blocks of one size; only the last is smaller.

    Example:
        >>> cut = Blocks(4)
        >>> cut.feed(b"abcdefg"), cut.end()
        ([b'abcd'], [b'efg'])
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._parts: list[bytes] = []
        self._held = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The blocks that are complete now."""
        self._parts.append(data)
        self._held += len(data)
        if self._held < self._size:
            return []
        whole = b"".join(self._parts)
        last = self._held - self._held % self._size
        self._parts, self._held = [whole[last:]], self._held - last
        return [whole[at : at + self._size] for at in range(0, last, self._size)]

    def end(self) -> list[bytes]:
        """The rest."""
        rest = b"".join(self._parts)
        return [rest] if rest else []
