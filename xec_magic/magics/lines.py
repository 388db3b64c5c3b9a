"""What all magics do alike with their line: help when it is asked for, and errors in one line that shows no secret."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from IPython.core.error import UsageError

from xec_magic.errors import OptionError

__all__ = ["asks_for_help", "one_line_errors"]

_HELP: Final = ("--help", "-h", "-?")


def asks_for_help(line: str, magic: Callable[..., Any]) -> bool:
    """Whether a line asks what its magic does; the answer is printed."""
    if line.strip() not in _HELP:
        return False
    print(inspect.getdoc(magic))  # noqa: T201 - asked for
    return True


@contextmanager
def one_line_errors(*more: type[Exception]) -> Iterator[None]:
    """Let errors of the user's show as one line, without a traceback.

    Args:
        more: Further errors that a line can cause.

    Raises:
        UsageError: in the place of each of them.
    """
    from xec_magic import runtime

    expected: tuple[type[Exception], ...] = (OptionError, *more)
    try:
        yield
    except expected as error:
        from xec_magic.display.ansi import plain_text

        # It quotes what stands on the line, and values: a terminal would obey them.
        raise UsageError(plain_text(runtime.current().executor.redactor.mask(str(error)))) from None
