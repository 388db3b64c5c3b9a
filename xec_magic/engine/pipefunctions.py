"""Python functions as members of a pipe."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Literal

from xec_magic.callables import called
from xec_magic.command import KERNEL, Command
from xec_magic.errors import OptionError
from xec_magic.plan import Plan, RetryPolicy
from xec_magic.transport.base import Function

__all__ = ["filtering", "function_of", "mapping", "plan_of_function"]


def function_of(call: Callable[[Iterator[Any]], Any], of: str) -> Function:
    """A function as a member of a pipe.

    Raises:
        OptionError: it is a coroutine function, or `of` is unknown.
    """
    name = called(call)
    if of not in ("lines", "chunks"):
        raise OptionError(f"of={of!r}: a function in a pipe gets 'lines' or 'chunks'")
    _refuse_asynchronous(call)
    kind: Literal["lines", "chunks"] = "chunks" if of == "chunks" else "lines"
    return Function(call, name, kind)


def mapping(call: Callable[[str], str | bytes]) -> Callable[[Iterator[str]], Iterable[str | bytes]]:
    """The function of a pipe that calls `call` for each line."""
    return _named(lambda lines: map(call, lines), call)


def filtering(call: Callable[[str], object]) -> Callable[[Iterator[str]], Iterable[str | bytes]]:
    """The function of a pipe that lets the lines through for which `call` gives something true."""
    return _named(lambda lines: filter(call, lines), call)


def _named(
    function: Callable[[Iterator[str]], Iterable[str | bytes]], call: Callable[[str], object]
) -> Callable[[Iterator[str]], Iterable[str | bytes]]:
    if not callable(call):
        raise OptionError(f"{call!r} is no function; it is called with each line")
    _refuse_asynchronous(call)  # a coroutine counts as true: `filter` would let every line through
    function.__name__ = called(call).removesuffix("()")
    return function


def _refuse_asynchronous(call: Callable[..., Any]) -> None:
    if inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call):
        raise OptionError(
            f"{called(call)} is asynchronous; a function in a pipe runs in a thread of its own, so write it with def"
        )


def plan_of_function(function: Function, like: Plan) -> Plan:
    """The plan of a function behind a run: under the same limits of time and output."""
    return replace(
        like, command=Command(function.name, KERNEL), retry=RetryPolicy(), ok_codes=frozenset({0}), tee=None, label="",
        cache=None,
    )  # fmt: skip
