"""`SecretSweep`: takes off the disk what was kept before it was known to be a secret."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from xec_magic.engine.brieflock import BriefLock
from xec_magic.redact import Redactor

__all__ = ["SecretSweep"]


class Kept(Protocol):
    """What the sweep needs of the disk."""

    def flush(self, within_s: float = 10.0) -> None:
        """Wait until what was to be kept is on disk."""

    def contents(self) -> Iterator[tuple[int, Iterator[bytes]]]:
        """What each entry holds, in pieces."""

    def forget_set_aside(
        self, half: Callable[[Iterator[bytes]], bool], whole: Callable[[Iterator[bytes]], bool]
    ) -> None:
        """Remove the damaged databases that hold something, and such outputs without a row."""

    def forget_later(self, digests: Iterable[int], *, erase: bool = False) -> None:
        """Remove entries, without waiting for it."""


class SecretSweep:
    """Looks through all that is kept, in a thread of its own, whenever there are new secrets.

    Args:
        redactor: Knows them.
        disk: What is kept.
    """

    def __init__(self, redactor: Redactor, disk: Kept) -> None:
        self._redactor = redactor
        self._disk = disk
        self._lock = BriefLock()
        self._busy = False
        self._clean = 0  # the redactor's generation for which all has been looked through

    def begin(self) -> None:
        """Look through what is kept, unless that is being done already. Does not wait."""
        with self._lock:
            if self._busy or self._clean == self._redactor.generation:
                return
            self._busy = True
        try:
            threading.Thread(target=self._sweep, name="xec-cache-secrets", daemon=True).start()
        except RuntimeError:  # no further thread is allowed: the next secret tries again
            self._busy = False

    def _sweep(self) -> None:
        while True:
            with self._lock:
                generation = self._redactor.generation
                if self._clean == generation:
                    self._busy = False
                    return
            with contextlib.suppress(TimeoutError):  # of a slow disk at least what is there already
                self._disk.flush()
            found = [digest for digest, pieces in self._disk.contents() if self._redactor.finds_in(pieces)]
            # Also where no entry holds one: of what was replaced, or had to go, the text is in the database's log for a while.
            self._disk.forget_later(found, erase=True)
            self._disk.forget_set_aside(self._redactor.finds_half, self._redactor.finds_in)
            self._clean = generation
