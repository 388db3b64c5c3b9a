"""`KnownLines`: the options of lines that were read before: most cells have one of a few lines, as a rule an empty one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from xec_magic.options.run import RunOptions
from xec_magic.options.settings import Layer, Settings
from xec_magic.optionspec.words import FIELD

__all__ = ["KnownLines"]

KNOWN: Final = 64  # lines; then all are forgotten, and the next ones are read again
LARGEST: Final = 256  # characters; the line of a cell is seldom longer, and that of a line magic holds the command


class _Known(NamedTuple):
    """The options of a line, and what they were laid over."""

    options: RunOptions
    rest: str
    layers: list[Layer]
    config: Mapping[str, Any]


class KnownLines:
    """Reads lines as `RunOptions.from_line` does, each of them once as long as the standing defaults stay as they are.

    Args:
        settings: Where standing defaults come from.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[tuple[str, bool], _Known] = {}

    def read(
        self, line: str, *, cell: bool, config: Mapping[str, Any], expand: Callable[..., str]
    ) -> tuple[RunOptions, str]:
        """The options of a line, and the rest of it.

        Args:
            line: As for `RunOptions.from_line`.
            cell: As for it.
            config: As for it; the same object as long as nothing in it has changed.
            expand: As for it.

        Raises:
            OptionError: the line or a standing default is wrong.
        """
        name, layers = (line, cell), self._settings.layers()
        known = self._known.get(name)
        if known is not None and known.layers is layers and known.config is config:
            return known.options, known.rest
        options, rest = RunOptions.from_line(line, cell=cell, settings=self._settings, config=config, expand=expand)
        if FIELD not in line and len(line) <= LARGEST:  # a Python expression may have another value the next time
            if len(self._known) >= KNOWN:
                self._known.clear()
            self._known[name] = _Known(options, rest, layers, config)
        return options, rest
