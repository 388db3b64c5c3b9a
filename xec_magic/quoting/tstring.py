"""What is asked of the template strings of Python 3.14, `string.templatelib`, which earlier versions do not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Interpolation", "TString"]


class Interpolation(Protocol):
    """`string.templatelib.Interpolation`."""

    @property
    def value(self) -> Any:
        """What the expression gave."""

    @property
    def expression(self) -> str:
        """Its text."""

    @property
    def conversion(self) -> Literal["r", "s", "a"] | None:
        """What stands behind `!`."""

    @property
    def format_spec(self) -> str:
        """What stands behind `:`."""


class TString(Protocol):
    """`string.templatelib.Template`."""

    @property
    def strings(self) -> Sequence[str]:
        """The texts around the interpolations, one more than of these."""

    @property
    def interpolations(self) -> Sequence[Interpolation]:
        """What stands in braces."""
