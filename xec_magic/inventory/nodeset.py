"""Node sets: many names in few characters, `web[01-20,25]`, `@db,web3`, `@all!db2`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from typing import Final

from xec_magic.errors import OptionError

__all__ = ["MOST_NAMES", "expand", "fold", "resolve", "split_items"]

MOST_NAMES: Final = 10_000  # more is a typing mistake
_RANGE = re.compile(r"(\d+)(?:-(\d+))?(?:/(\d+))?")
_NUMBERED = re.compile(r"([A-Za-z][^\[\]:@]*?|)(\d+)([^\d\[\]:@]*)")
_IS_ADDRESS = re.compile(r"[0-9a-fA-F:.%]*:[0-9a-fA-F:.%]*[\w.]*")


def split_items(text: str) -> list[tuple[str, str]]:
    """The items of a node set with the sign before each: empty to add, `!` to take away.

    Example:
        >>> split_items("@all!db[1,2],web1")
        [('', '@all'), ('!', 'db[1,2]'), ('', 'web1')]
    """
    items: list[tuple[str, str]] = []
    sign, item, depth = "", "", 0
    for char in text:
        if char == "[":
            depth += 1
        elif char == "]":
            depth -= 1
        if depth < 0 or depth > 1:
            raise OptionError(f"the brackets of {text!r} do not match")
        if depth == 0 and (char in ",!" or char.isspace()):
            items.append((sign, item))
            sign, item = ("!" if char == "!" else ""), ""
        else:
            item += char
    if depth:
        raise OptionError(f"a bracket of {text!r} is opened and never closed")
    items.append((sign, item))
    if any(sign and not item for sign, item in items):
        raise OptionError(f"there is no name behind a ! of {text!r}")
    return [(sign, item) for sign, item in items if item]


def expand(item: str) -> list[str]:
    """All names of one item: `web[01-03]` is web01, web02, web03; leading zeros stay. An address in brackets is left alone.

    Raises:
        OptionError: a bracket that holds no numbers, or too many names.

    Example:
        >>> expand("web[09-11,20]"), expand("r[1-2]n[1-2]"), expand("[::1]:22")
        (['web09', 'web10', 'web11', 'web20'], ['r1n1', 'r1n2', 'r2n1', 'r2n2'], ['[::1]:22'])
    """
    parts: list[list[str]] = []
    for text in re.split(r"(\[[^]]*\])", item):
        if not text.startswith("[") or _IS_ADDRESS.fullmatch(text[1:-1]):
            parts.append([text])
            continue
        names: list[str] = []
        for piece in text[1:-1].split(","):
            match = _RANGE.fullmatch(piece.strip())
            if match is None:
                raise OptionError(
                    f"{item!r}: {piece!r} is neither a number nor a range; write {item.split('[', maxsplit=1)[0]}[1-3,7]"
                )
            first, last, step = match[1], match[2] or match[1], int(match[3] or 1)
            if int(last) < int(first) or step < 1:
                raise OptionError(f"{item!r}: the range {piece} goes backwards; write the smaller number first")
            if (int(last) - int(first)) // step >= MOST_NAMES:
                raise OptionError(f"{item!r} names more than {MOST_NAMES:,} hosts")
            width = len(first) if first.startswith("0") else 0
            names += [str(number).zfill(width) for number in range(int(first), int(last) + 1, step)]
        parts.append(names)
    count = 1
    for names in parts:
        count *= len(names)
    if count > MOST_NAMES:
        raise OptionError(f"{item!r} names {count:,} hosts; {MOST_NAMES:,} are the most")
    return ["".join(chosen) for chosen in itertools.product(*parts)]


def fold(names: Iterable[str]) -> str:
    """A node set that names these, each once: the opposite of `expand`, for a reader.

    Example:
        >>> fold(["web01", "web02", "web03", "web07", "db9", "db10", "local"])
        'web[01-03,07],db[9-10],local'
    """
    found = dict.fromkeys(names)
    cut = {name: match for name in found if (match := _NUMBERED.fullmatch(name))}
    padded = {(m[1], m[3], len(m[2])) for m in cut.values() if m[2].startswith("0") and len(m[2]) > 1}
    items: dict[tuple[str, str, int], list[str]] = {}
    for name in found:
        match = cut.get(name)
        if match is None:
            items[name, "", -1] = []
            continue
        width = len(match[2]) if (match[1], match[3], len(match[2])) in padded else 0
        items.setdefault((match[1], match[3], width), []).append(match[2])
    return ",".join(before + _ranges(numbers) + behind for (before, behind, _), numbers in items.items())


def _ranges(numbers: list[str]) -> str:
    """Numbers as they stand in brackets; a single one stands without."""
    if len(numbers) < 2:
        return "".join(numbers)
    spans: list[list[str]] = []
    for number in sorted(numbers, key=int):
        if spans and int(number) == int(spans[-1][-1]) + 1:
            spans[-1][1:] = [number]
        else:
            spans.append([number])
    return "[" + ",".join("-".join(span) for span in spans) + "]"


def resolve(text: str, group: Callable[[str], Iterable[str]]) -> list[str]:
    """The names of a node set, each once, in order. A `!` takes away from all before it; one at the begin, from `@all`.

    Args:
        text: As `@db,web3` or `@all!db2`.
        group: Gives the names of a group; raises `OptionError` for one that is not there.

    Example:
        >>> resolve("@db,web3!db2", lambda name: ["db1", "db2"])
        ['db1', 'web3']
    """
    items = split_items(text)
    if items and items[0][0] == "!":
        items.insert(0, ("", "@all"))
    found: dict[str, None] = {}
    for sign, item in items:
        names = group(item[1:]) if item.startswith("@") else expand(item)
        for name in names:
            if sign:
                found.pop(name, None)
            else:
                found[name] = None
    return list(found)
