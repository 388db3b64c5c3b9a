"""The directory that holds large outputs: private, bounded, removed at exit, orphans swept at start."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from xec_magic.output import OutputLog
from xec_magic.private import KernelDirectory

__all__ = ["SpoolDirectory", "cache_root"]

BOUND_BYTES: Final = 5 * 2**30


def cache_root(holding: str = "") -> Path:
    """The user's cache directory for this package; a private one in the temporary directory if home is read-only.

    Args:
        holding: A file in it; where it is there, the directory may be read-only.

    Source: XDG Base Directory Specification, `XDG_CACHE_HOME`.
    """
    configured = os.environ.get("XDG_CACHE_HOME")
    candidates = []
    if configured and os.path.isabs(configured):
        candidates.append(Path(configured) / "xec-magic")
    else:
        with contextlib.suppress(RuntimeError):  # no home at all
            home = Path.home()
            if home.is_absolute():  # or it would be another one after each `os.chdir`
                candidates.append(home / ".cache" / "xec-magic")
    candidates.append(Path(tempfile.gettempdir()) / f"xec-magic-{os.getuid()}")
    for path in candidates:
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.stat().st_uid != os.getuid() or path.is_symlink():
                continue
            if os.access(path, os.W_OK | os.X_OK) or (holding and (path / holding).is_file()):
                return path
        except OSError:
            continue
    return _last_resort()


@functools.cache
def _last_resort() -> Path:
    """One for this kernel: what it keeps there it also finds."""
    return Path(tempfile.mkdtemp(prefix="xec-magic-"))


class SpoolDirectory:
    """Files for the outputs of one kernel.

    Made on first use. A lock on it says that its kernel lives; directories without a holder are swept.
    When the finished logs together exceed the bound, the oldest are removed; their results then say so.

    Args:
        root: Gives the directory to make it in.
    """

    def __init__(self, kernel_id: str, root: Callable[[], Path] = cache_root, bound_bytes: int = BOUND_BYTES) -> None:
        self._directory = KernelDirectory(lambda: root() / "spool", kernel_id)
        self._bound_bytes = bound_bytes
        # Oldest first; without a lock, which the handler of a signal could break into.
        self._logs: dict[OutputLog, None] = {}

    def path(self) -> Path:
        """The directory, mode 0700; made now if it is not there."""
        return self._directory.path()

    def new_log(self, run_id: str, memory_bytes: int) -> OutputLog:
        """A log that overflows into a file here."""
        log = OutputLog(memory_bytes, partial(self._open, run_id))
        self._logs[log] = None
        return log

    def _open(self, run_id: str) -> BinaryIO:
        for suffix in ("", *(f"-{attempt}" for attempt in range(2, 2000))):
            path = self.path() / f"{run_id}{suffix}.log"
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileExistsError:
                continue  # an earlier attempt of this run
            os.close(fd)
            return open(path, "r+b", buffering=0)
        raise FileExistsError(f"too many logs for run {run_id}")

    def keep_within_bound(self, live: Collection[OutputLog]) -> None:
        """Remove the oldest logs while all together exceed the bound; not those of runs that still print. On the loop's thread.

        Args:
            live: The logs that may still grow.
        """
        in_files = []
        for log in list(self._logs):
            if log.closed or not (
                log.path is not None or log in live
            ):  # one that has ended in memory will never be in a file
                del self._logs[log]
            elif log.path is not None:
                in_files.append(log)
        ended = [log for log in in_files if log not in live]
        total = sum(log.size() for log in in_files)
        while total > self._bound_bytes and len(ended) > 1:
            oldest = ended.pop(0)
            total -= oldest.size()
            self._remove(oldest)

    def _remove(self, log: OutputLog) -> None:
        path = log.path
        log.close()
        if path is not None:
            with contextlib.suppress(OSError):
                os.unlink(path)

    def close(self) -> None:
        """Remove everything; logs that are still referred to say so when they are read."""
        for log in list(self._logs):
            log.close()
        self._directory.close()

    def __repr__(self) -> str:
        return f"<SpoolDirectory {self._directory.made or 'not used'}, {len(self._logs)} logs>"
