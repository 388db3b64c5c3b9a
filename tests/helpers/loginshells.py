"""Shells that a server takes for login shells, added to the machine's own list for as long as tests need them."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

SHELLS = Path("/etc/shells")
MARK = "# added by the tests of xec-magic"  # what is behind `#` is nothing to who reads the list


class LoginShells:
    """What is added stays until nobody needs the list any more, also where several processes run tests at once.

    Args:
        path: The list.
    """

    def __init__(self, path: Path = SHELLS) -> None:
        self._path = path
        self._users = os.open(f"/tmp/xec-test{str(path).replace('/', '-')}", os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._users, fcntl.LOCK_SH)

    def add(self, shell: str) -> None:
        """Let a shell be one; a reader never finds the list in part."""
        if shell not in self._path.read_text().splitlines():
            with self._path.open("a") as file:
                file.write(f"{shell} {MARK}\n")

    def close(self) -> None:
        """Take out what any test has added, unless others still use it."""
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            kept = [line for line in self._path.read_text().splitlines() if not line.endswith(MARK)]
            new = self._path.with_name(f"{self._path.name}.xec-test")
            new.write_text("".join(f"{line}\n" for line in kept))
            new.chmod(self._path.stat().st_mode & 0o777)
            new.replace(self._path)
        os.close(self._users)
