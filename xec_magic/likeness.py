"""What counts as equal in what several hosts print: the same, but for each host's own name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from xec_magic.command import Target
from xec_magic.events import Stream
from xec_magic.output import STREAMS
from xec_magic.result import Result

__all__ = ["begin_of_output", "digest", "own_name"]

OWN_NAME_BYTES: Final = 4 * 2**20  # in larger outputs the host's own name is not looked for
SHOWN_BYTES: Final = 256 * 2**10  # of a group's output


def own_name(target: Target) -> Callable[[str], str]:
    """Replaces a target's own host name, also without its domain, and its address by `{host}`."""
    if target.kind == "local":
        return str
    host = target.name.rpartition("@")[2].partition(":")[0]
    own = {target.name, host, host.partition(".")[0], target.host, f"{target.host}:{target.port}"} - {"", ":0"}
    pattern = _pattern(tuple(sorted(own, key=len, reverse=True)))
    return lambda text: pattern.sub("{host}", text)


@lru_cache(maxsize=2048)
def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(r"(?<![\w-])(?:" + "|".join(map(re.escape, names)) + r")(?![\w-])")


def digest(result: Result, own: Callable[[str], str]) -> bytes:
    """Equal for outputs that are equal but for the hosts' own names; of huge ones byte for byte."""
    log, digests = result.log, {stream: hashlib.blake2b(digest_size=16) for stream in STREAMS}
    if log.size() <= OWN_NAME_BYTES:
        digests["stdout"].update(own(result.stdout).encode("utf-8", "surrogatepass"))
        digests["stderr"].update(own(result.stderr).encode("utf-8", "surrogatepass"))
    else:
        for stream, data in log.pieces():
            digests[stream].update(data)
    return b"".join(digest.digest() for digest in digests.values())


def begin_of_output(result: Result) -> str:
    """Standard output, then standard error; of large ones the begin."""
    parts: dict[Stream, list[bytes]] = {stream: [] for stream in STREAMS}
    for stream, data in result.log.pieces(0, min(result.log.size(), SHOWN_BYTES)):
        parts[stream].append(data)
    return "".join(b"".join(pieces).decode("utf-8", "replace") for pieces in parts.values())
