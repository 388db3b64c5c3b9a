"""The user's functions: what they are called in messages, and what none of them may give."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

__all__ = ["called", "refuse_awaitable"]


def called(function: Callable[..., Any]) -> str:
    """What a function is called in messages: its name, not its address.

    Example:
        >>> called(print), called(partial(print, end=""))
        ('print()', 'print()')
    """
    while isinstance(function, partial):
        function = function.func
    return f"{getattr(function, '__name__', type(function).__name__)}()"


def refuse_awaitable(value: object, way_out: str) -> None:
    """Let nothing pass that a function written with `async def` has given: it would count as done, or as true.

    Args:
        value: What a function has given; a coroutine is closed, so that Python does not warn of it later.
        way_out: How the message ends.

    Raises:
        TypeError: it is to be awaited.
    """
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()
        raise TypeError(f"it is asynchronous, and {way_out}")
