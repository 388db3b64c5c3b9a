"""`for_each`: something done to many files, several at once, so that small ones do not wait for each other's round trips."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from xec_magic.copied import Trouble
from xec_magic.engine.tree import Item
from xec_magic.errors import FileError

__all__ = ["FILES_AT_ONCE", "for_each"]

FILES_AT_ONCE: Final = 32
_FATAL: Final = ("lost", "full")  # what would happen to each further file as well


async def for_each(
    act: Callable[[Item], Coroutine[Any, Any, None]], items: Iterable[Item], where: Callable[[Item], str],
    failed: Callable[[Trouble], None],
) -> None:  # fmt: skip
    """Do this to all of them, several at once. What fails is noted, and does not keep the rest from being done.

    Cancelling is safe: when it returns nothing is under way any more.

    Args:
        act: What to do to each.
        items: All of them.
        where: What to call one whose error does not say.
        failed: Told of each failure.

    Raises:
        FileError: what would happen to the rest as well.
    """
    rest = iter(items)
    problem: FileError | None = None

    async def worker() -> None:
        nonlocal problem
        for item in rest:
            if problem is not None:
                return
            try:
                await act(item)
            except FileError as error:
                error.where = error.where or where(item)
                if error.why in _FATAL:
                    problem = problem or error
                    return
                failed(Trouble(error.where, str(error)))

    workers = [asyncio.ensure_future(worker()) for _ in range(FILES_AT_ONCE)]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    if problem is not None:
        raise problem
