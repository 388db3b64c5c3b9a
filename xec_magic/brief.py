"""`Brief`: how a notebook shows an error of this package."""

from __future__ import annotations

import dataclasses
import os
import re
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Brief", "own_frames"]

# Messages quote what commands and hosts say, and a terminal would obey it.
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def _harmless(line: str) -> str:
    """A line without colours, its control characters as signs that show them."""
    return _CONTROL.sub(
        lambda found: chr(0x2400 + ord(found[0])) if found[0] < " " else "\ufffd", _COLOUR.sub("", line)
    )


class Brief:
    """An error that a notebook shows in few lines: what happened and where in the user's own code, not our internals.

    Attributes:
        shown: Its output has just been shown, so that its first line is enough.
        results: Of all commands, where several were run together; empty otherwise.
    """

    shown = False
    results: Any = ()  # each kind of error says of what kind

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a full traceback."""
        assert isinstance(self, BaseException)
        name, (first, *more) = type(self).__name__, (str(self).splitlines() or [""])
        lines = [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in own_frames(self.__traceback__)]
        if len(lines) == 1:
            lines = []  # the cell itself: its place is where the error is shown
        said = [f"{name}: {first}", *([] if self.shown else more), *getattr(self, "__notes__", ())]
        return [*lines, *map(_harmless, said)]


def own_frames(trace: TracebackType | None) -> list[traceback.FrameSummary]:
    """The user's frames: neither this package's nor IPython's, nor those of what this package waits with."""
    others = (
        f"{os.sep}{name}{os.sep}" for name in ("IPython", "ipykernel", "asyncio", os.path.join("concurrent", "futures"))
    )
    hidden = (os.path.dirname(__file__) + os.sep, *others)
    made = ("<string>", dataclasses.__file__)  # what dataclasses makes for this package has no file
    return [
        frame for frame in traceback.extract_tb(trace)
        if frame.filename not in made and not any(part in frame.filename for part in hidden)
    ]  # fmt: skip
