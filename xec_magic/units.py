"""Durations and sizes: `"90s"`, `"1.5GiB"` to numbers and back."""

from __future__ import annotations

import math
import re
from typing import Final

from xec_magic.errors import OptionError

__all__ = ["format_age", "format_count", "format_duration", "format_size", "parse_duration", "parse_size"]

_SECONDS: Final = {
    "ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0,
}  # fmt: skip
_BYTES: Final = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def parse_duration(value: float | str) -> float:
    """Seconds from a number of seconds or a text such as `"90"`, `"90s"`, `"1h30m"`, `"250ms"`.

    Raises:
        OptionError: not a duration, negative, or not finite.

    Example:
        >>> parse_duration("1h30m"), parse_duration("250ms"), parse_duration(90)
        (5400.0, 0.25, 90.0)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise OptionError(f"{value!r} is no duration; write a number of seconds, or 90s, 5m, 1h30m")
    if isinstance(value, (int, float)):
        seconds = float(value)
    else:
        text = value.strip().lower()
        parts = _PART.findall(text)
        if _NUMBER.fullmatch(text):
            seconds = float(text)
        elif (
            parts
            and "".join(n + u for n, u in parts) == re.sub(r"\s", "", text)
            and all(u in _SECONDS for _, u in parts)
        ):
            seconds = sum(float(n) * _SECONDS[u] for n, u in parts)
        else:
            raise OptionError(f"{value!r} is no duration; write 90, 90s, 5m, 1h30m or 250ms")
    if not math.isfinite(seconds) or seconds < 0:
        raise OptionError(f"{value!r} is no duration; it must be zero or more, and finite")
    return seconds


def parse_size(value: float | str) -> int:
    """Bytes from a number or a text such as `"64k"`, `"1.5GiB"` (1024s) or `"20MB"` (1000s).

    Raises:
        OptionError: not a size, negative, or not finite.

    Example:
        >>> parse_size("1.5GiB"), parse_size("20MB"), parse_size(512)
        (1610612736, 20000000, 512)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise OptionError(f"{value!r} is no size; write a number of bytes, or 64k, 20MB, 1.5GiB")
    if isinstance(value, (int, float)):
        size = float(value)
    else:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", value.strip().lower())
        if match is None or match[2] not in _BYTES:
            raise OptionError(f"{value!r} is no size; write a number of bytes, or 64k, 20MB, 1.5GiB")
        size = float(match[1]) * _BYTES[match[2]]
    if not math.isfinite(size) or size < 0:
        raise OptionError(f"{value!r} is no size; it must be zero or more, and finite")
    return int(size)


def format_duration(seconds: float) -> str:
    """A short text for a duration in seconds: three significant digits at most.

    Example:
        >>> [format_duration(x) for x in (0.0000579, 0.25, 3.14159, 75, 4000, 200000)]
        ['57.9 µs', '250 ms', '3.14 s', '1 min 15 s', '1 h 6 min', '2 d 7 h']
    """
    if 0 < seconds < 0.0009995:
        return f"{seconds * 1e6:.3g} µs"
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 59.95:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    for size, name, below, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {name}" + (f" {rest} {small}" if rest else "")
    return f"{seconds:.3g} s"  # unreachable: 59.95 and more rounds to a minute


def format_age(seconds: float) -> str:
    """A duration in its largest unit, as one says how old something is.

    Example:
        >>> [format_age(x) for x in (0.2, 42.7, 200, 7300, 200000)]
        ['0 s', '42 s', '3 min', '2 h', '2 d']
    """
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def format_size(size: float) -> str:
    """A short text for a number of bytes, in 1024s.

    Example:
        >>> [format_size(x) for x in (0, 900, 2048, 1.5 * 2**30)]
        ['0 B', '900 B', '2.00 KiB', '1.50 GiB']
    """
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            digits = 0 if unit == "B" or value >= 100 else 1 if value >= 10 else 2
            return f"{value:.{digits}f} {unit}"
        value /= 1024
    return f"{value:.2f} TiB"


def format_count(count: int, noun: str) -> str:
    """`count` with thousands marks, and the noun in its number: `1 line`, `12,000 lines`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
