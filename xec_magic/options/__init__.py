"""The options of a run and of tasks, and the standing defaults that files, environment and `%config` give them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xec_magic.options.input import Variable
from xec_magic.options.run import RunOptions

if TYPE_CHECKING:
    from xec_magic.options.settings import Settings

__all__ = ["RunOptions", "Settings", "Variable"]


def __getattr__(name: str) -> Any:
    """`Settings` on first use: what loads the extension need not wait for what reads files."""
    if name != "Settings":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from xec_magic.options.settings import Settings

    globals()[name] = Settings
    return Settings
