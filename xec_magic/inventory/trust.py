"""Which project files the user trusts: their digests, kept in a file of his own."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["Trust"]


class Trust:
    """Remembers what the user has said he trusts. A file that has changed since is not trusted any more.

    Args:
        environ: The environment, for where the list is kept.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ

    @property
    def path(self) -> Path:
        """The list: `xec-magic/trusted.json` in `$XDG_CONFIG_HOME` or `~/.config`."""
        base = self._environ.get("XDG_CONFIG_HOME", "")
        root = Path(base) if os.path.isabs(base) else Path(self._environ.get("HOME") or Path.home()) / ".config"
        return root / "xec-magic" / "trusted.json"

    def has(self, file: str) -> bool:
        """The file is as it was when it was trusted."""
        return self._read().get(os.path.realpath(file)) == digest(file)

    def add(self, file: str) -> str:
        """Trust a file as it is now; gives its digest.

        Raises:
            OSError: it cannot be read, or the list cannot be written.
        """
        own = self._read()
        own[os.path.realpath(file)] = found = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        fresh.write_text(json.dumps(own, indent=1, sort_keys=True), "utf-8")
        fresh.chmod(0o600)
        fresh.replace(self.path)
        return found

    def _read(self) -> dict[str, str]:
        try:
            found = json.loads(self.path.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def digest(file: str) -> str:
    """SHA-256 of a file's bytes; empty when it cannot be read."""
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:
        return ""
