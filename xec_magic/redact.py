"""Registered secrets, and what takes them out of texts and byte streams before anybody sees them."""

from __future__ import annotations

import base64
import json
import re
import shlex
import urllib.parse
from collections.abc import Iterable, Iterator
from typing import Final

from xec_magic.errors import OptionError

__all__ = ["PartedRedactor", "Redactor", "StreamRedactor"]

_SHORTEST: Final = 4  # characters; shorter ones stand in ordinary output by chance, and masking them would spoil it
_SEARCH_BYTES: Final = 64 * 1024  # at least so much is looked through at once
_BEGIN_BYTES: Final = 2048  # within so many there is one border of a database's pages at most


class Redactor:
    """The secrets of one kernel. Any thread may use it.

    Masked are the exact value and its usual disguises: quoted for a shell, escaped in JSON, in a URL, and in base64.
    A value that was changed otherwise (cut, reversed, hashed) is not found.

    Example:
        >>> redactor = Redactor()
        >>> redactor.register("TOKEN", "s3cret/word")
        >>> redactor.mask("curl -H 'X: s3cret/word' https://h/?t=s3cret%2Fword")
        "curl -H 'X: [secret TOKEN]' https://h/?t=[secret TOKEN]"
    """

    def __init__(self) -> None:
        self._masks: dict[bytes, bytes] = {}  # only ever more of them
        self._names: set[str] = set()
        self._finder: _Finder | None = None

    def register(self, name: str, value: str) -> None:
        """Hide `value` from now on behind `[secret name]`.

        Raises:
            OptionError: the value is too short to be told from ordinary output, or holds a NUL.
        """
        if len(value) < _SHORTEST:
            raise OptionError(
                f"the secret {name} is shorter than {_SHORTEST} characters; it would be found in ordinary output"
            )
        if "\0" in value:
            raise OptionError(f"the secret {name} holds a NUL character, which no variable of an environment can carry")
        try:
            forms = _forms(value)
        except UnicodeEncodeError as error:
            raise OptionError(f"the secret {name} holds a lone surrogate, which is no character") from error
        mask = f"[secret {name}]".encode("utf-8", "backslashreplace")
        for form in forms:
            self._masks.setdefault(form, mask)
        self._names.add(name)
        known: dict[bytes, bytes] = {}
        # Another thread, or a handler of a signal in this one, may register another secret.
        while len(known) < len(self._masks):
            known = self._masks.copy()
            self._finder = _Finder(known)

    def mask(self, text: str) -> str:
        """The text with every secret in it replaced by its name in brackets."""
        finder = self._finder
        if finder is None:
            return text
        return finder.mask(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    @property
    def knows_none(self) -> bool:
        """There is nothing to mask."""
        return self._finder is None

    def finds(self, data: bytes) -> bool:
        """There is a secret in these bytes."""
        finder = self._finder
        return finder is not None and finder.finds(data)

    def finds_in(self, pieces: Iterable[bytes]) -> bool:
        """The same in what pieces make together, wherever they end."""
        finder = self._finder
        return finder is not None and finder.finds_in(pieces)

    def finds_half(self, pieces: Iterable[bytes]) -> bool:
        """The same, also where something else stands within it once, as between two pages of a database."""
        finder = self._finder
        return finder is not None and finder.finds_half(pieces)

    def stream(self) -> StreamRedactor | None:
        """What masks one stream, with the secrets of this moment; None when there are none, so nothing needs to be done."""
        finder = self._finder
        return None if finder is None else StreamRedactor(finder)

    def parted(self) -> PartedRedactor | None:
        """The same for a stream whose bytes belong to numbered parts."""
        finder = self._finder
        return None if finder is None else PartedRedactor(finder)

    @property
    def generation(self) -> int:
        """Grows whenever there is more to hide."""
        return len(self._masks)

    def __repr__(self) -> str:
        names = sorted(self._names)
        return f"<Redactor: {len(names)} secrets{''.join(f' {name}' for name in names)}>"


class StreamRedactor:
    """Masks secrets in a stream of bytes, wherever it is cut. For one thread at a time.

    Held back is only what may still become a secret: never more than the longest one less a byte.
    """

    def __init__(self, finder: _Finder) -> None:
        self._finder = finder
        self._held = b""
        self.masked = 0  # secrets found so far

    def feed(self, data: bytes) -> bytes:
        """What can be shown after these bytes; may be empty, or end with bytes of earlier calls."""
        data = self._held + data
        keep = self._finder.undecided(data)
        self._held = data[keep:]
        return self._mask(data[:keep])

    def flush(self) -> bytes:
        """What was held back, at the end of the stream."""
        data, self._held = self._held, b""
        return self._mask(data)

    def _mask(self, data: bytes) -> bytes:
        masked, count = self._finder.mask_all(data)
        self.masked += count
        return masked

    def __repr__(self) -> str:
        return f"<StreamRedactor: {len(self._held)} bytes held back>"


class PartedRedactor:
    """Masks secrets in a stream that consists of numbered parts. One that lies across parts is masked in the first.

    It holds back as little as `StreamRedactor`.
    """

    def __init__(self, finder: _Finder) -> None:
        self._finder = finder
        self._held: list[tuple[int, bytes]] = []

    def feed(self, part: int, data: bytes) -> list[tuple[int, bytes]]:
        """What can be shown after these bytes, each with its part."""
        self._held.append((part, data))
        return self._take(self._finder.undecided(b"".join(piece for _, piece in self._held)))

    def flush(self) -> list[tuple[int, bytes]]:
        """What was held back, at the end of the stream."""
        return self._take(sum(len(piece) for _, piece in self._held))

    def _take(self, count: int) -> list[tuple[int, bytes]]:
        """The first `count` bytes, masked."""
        held, self._held = self._held, []
        data = b"".join(piece for _, piece in held)
        hits = iter([*self._finder.hits(data[:count]), (count, count, b"")])
        start, end, mask = next(hits)
        taken: list[tuple[int, bytes]] = []
        position = 0
        for part, piece in held:
            stop = position + len(piece)
            while position < min(stop, count):
                if position < start:
                    taken.append((part, data[position : min(start, stop)]))
                    position = min(start, stop)
                elif position == start and mask:
                    taken.append((part, mask))
                    mask = b""
                elif position < end:
                    position = min(end, stop)
                if position >= end:
                    start, end, mask = next(hits, (count, count, b""))
            if stop > max(position, count):
                self._held.append((part, data[max(position, count) : stop]))
            position = stop
        return taken

    def __repr__(self) -> str:
        return f"<PartedRedactor: {sum(len(piece) for _, piece in self._held)} bytes held back>"


class _Finder:
    """The compiled search for a set of secrets; immutable."""

    def __init__(self, masks: dict[bytes, bytes]) -> None:
        self._masks = masks
        longest_first = sorted(masks, key=len, reverse=True)
        self._whole = re.compile(b"|".join(re.escape(form) for form in longest_first))
        self._longest = len(longest_first[0])
        self._forms = longest_first
        self._starts = frozenset(form[:1] for form in longest_first)

    def mask(self, data: bytes) -> bytes:
        """The bytes with every secret replaced, the leftmost first and of those the longest."""
        return self.mask_all(data)[0]

    def mask_all(self, data: bytes) -> tuple[bytes, int]:
        """The same, and how many there were."""
        return self._whole.subn(lambda match: self._masks[match[0]], data)

    def finds(self, data: bytes) -> bool:
        """There is one at all; told many times as fast as where they are."""
        return any(form in data for form in self._forms)

    def finds_in(self, pieces: Iterable[bytes]) -> bool:
        """The same in what pieces make together."""
        return any(map(self.finds, _overlapping(pieces, self._longest)))

    def finds_half(self, pieces: Iterable[bytes]) -> bool:
        """One of the halves of one is there, of a long one's begin. What breaks into it once leaves one of them whole."""
        begins = [form[:_BEGIN_BYTES] for form in self._forms]
        halves = [half for each in begins for half in (each[: len(each) // 2], each[len(each) // 2 :])]
        return any(half in data for data in _overlapping(pieces, _BEGIN_BYTES) for half in halves)

    def hits(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """Where secrets begin and end, and what stands there instead."""
        return [(match.start(), match.end(), self._masks[match[0]]) for match in self._whole.finditer(data)]

    def undecided(self, data: bytes) -> int:
        """Where the bytes begin that later ones may turn into a secret, or into a longer one."""
        position = 0
        tail = max(0, len(data) - self._longest + 1)
        while True:
            match = self._whole.search(data, position)
            stop = match.start() if match is not None else len(data)
            # Before the match nothing is a whole secret; the leftmost beginning that reaches the end decides. At the
            # match itself a longer secret may still be on its way, and it would win.
            for start in range(max(position, tail), min(stop + 1, len(data))):
                if data[start : start + 1] in self._starts and self._may_grow(data, start):
                    return start
            if match is None:
                return len(data)
            position = match.end()

    def _may_grow(self, data: bytes, start: int) -> bool:
        rest = len(data) - start
        return any(len(form) > rest and form.startswith(data[start:]) for form in self._forms)


def _overlapping(pieces: Iterable[bytes], length: int) -> Iterator[bytes]:
    """The same in larger pieces, each behind the end of what came before: nothing of a length lies between two of them."""
    least = max(_SEARCH_BYTES, 4 * length)
    tail, held, size = b"", list[bytes](), 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if (
            size >= least
        ):  # where two streams take turns, pieces are small, and each would be looked at with all of the end before it
            seen = tail + b"".join(held)
            yield seen
            tail, held, size = seen[-length:], [], 0
    yield tail + b"".join(held)


def _forms(value: str) -> set[bytes]:
    """The value as it may stand in output: itself and its disguises, in bytes."""
    raw = value.encode("utf-8", "surrogateescape")
    text = raw.decode("utf-8", "replace")
    encoded = [base64.b64encode(raw), base64.urlsafe_b64encode(raw), base64.b64encode(raw + b"\n")]
    shell = [_inside(shlex.quote(value), value), value.replace("'", "'\\''"), re.sub(r'([\\$`"])', r"\\\1", value)]
    forms = {
        raw,
        value.encode("utf-8", "surrogatepass"),  # as `Redactor.mask` meets it in text
        *(form.encode("utf-8", "surrogateescape") for form in shell),
        json.dumps(text)[1:-1].encode(),
        json.dumps(text, ensure_ascii=False)[1:-1].encode(),
        urllib.parse.quote(raw).encode(),
        urllib.parse.quote(raw, safe="").encode(),
        urllib.parse.quote_plus(raw).encode(),
        *encoded,
        *(form.rstrip(b"=") for form in encoded),
    }
    return {form for form in forms if len(form) >= _SHORTEST}


def _inside(quoted: str, value: str) -> str:
    """The text between the quotes that `shlex.quote` put around a value, if it did."""
    return value if quoted == value else quoted[1:-1]
