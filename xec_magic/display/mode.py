"""`Mode`: in what form things are shown, told by who asks."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Any, Final

from xec_magic.errors import OptionError

__all__ = ["Mode", "choose_mode", "mode_of", "request_allows_stdin"]


class Mode(StrEnum):
    """In what form runs are shown."""

    TEXT = "text"
    STATIC = "static"
    WIDGET = "widget"


_MODES: Final = {mode.value: mode for mode in Mode}


def choose_mode(shell: Any, allow_stdin: bool | None) -> Mode:
    """The form for the request that is being executed.

    Args:
        shell: The IPython shell, or None outside one.
        allow_stdin: Whether the request allows questions (`request_allows_stdin`); tools that execute
            notebooks forbid them. None when nobody knows.

    Raises:
        OptionError: XEC_UI is none of auto, widget, static, text.
    """
    wanted = os.environ.get("XEC_UI", "").strip().lower() or "auto"
    if wanted != "auto":
        mode = _MODES.get(wanted)
        if mode is None:
            raise OptionError(f"XEC_UI is {wanted!r}; it must be auto, widget, static or text")
        return mode
    if getattr(shell, "kernel", None) is None:
        return Mode.TEXT
    return Mode.STATIC if allow_stdin is False else Mode.WIDGET


def request_allows_stdin(shell: Any) -> bool | None:
    """Whether the request that is being executed allows questions; None when nobody knows."""
    allowed = getattr(getattr(shell, "kernel", None), "_allow_stdin", None)
    return allowed if isinstance(allowed, bool) else None


def mode_of(shell: Any) -> Mode:
    """The form for what this shell is executing.

    Raises:
        OptionError: XEC_UI is wrong.
    """
    return choose_mode(shell, request_allows_stdin(shell))
