"""What a host is told to run to say the digests of its files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from xec_magic.transport.ssh.remote import LINE_LIMIT_BYTES, Launch, fresh_mark

__all__ = ["digest_lines", "read_digests"]

_DIGEST: Final = r"""
x_sum() {
  if command -v sha256sum >/dev/null 2>&1; then sha256sum
  elif command -v shasum >/dev/null 2>&1; then shasum -a 256
  elif command -v openssl >/dev/null 2>&1; then openssl dgst -sha256 -r
  fi
}
for x_f do
  x_d=
  [ ! -f "$x_f" ] || x_d=$(x_sum <"$x_f" 2>/dev/null)
  echo "$x_m:${x_d%%[!0-9a-f]*}"
done
"""


def digest_lines(paths: Sequence[bytes]) -> Iterator[tuple[Launch, int]]:
    """The lines that print the SHA-256 of these files, in order, and of how many files each. Relative paths lie in the home directory."""
    at = 0
    while at < len(paths):
        count, size = 0, 0
        while at + count < len(paths) and (not count or size < LINE_LIMIT_BYTES // 4):
            size += len(paths[at + count]) + 3
            count += 1
        mark = fresh_mark()
        given = [path if path.startswith(b"/") else b"./" + path for path in paths[at : at + count]]
        yield Launch(f"x_m={mark}" + _DIGEST, given, mark.encode()), count
        at += count


def read_digests(output: bytes, mark: bytes, count: int) -> list[str]:
    """What such a line has printed; an empty text for each digest that could not be had."""
    lines = [line.rpartition(mark + b":")[2] for line in output.splitlines() if mark + b":" in line]
    found = [line.decode("ascii", "replace") if len(line) == 64 else "" for line in lines]  # 64 digits are SHA-256
    return found if len(found) == count else [""] * count
