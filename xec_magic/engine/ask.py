"""Questions that the loop has for the user, a passphrase or a password: asked in the thread that waits for a run, by getpass."""

from __future__ import annotations

import asyncio
import builtins
import getpass
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["Questions", "ask_by_getpass", "ask_yes"]

NO_ANSWER: Final = None


class Questions:
    """Takes questions on the loop's thread; who waits in the main thread asks them.

    Args:
        asker: Asks one, in the main thread; None for what nobody can be asked. It raises `KeyboardInterrupt` as the user wishes.
    """

    def __init__(self, asker: Callable[[str], str | None] | None = None) -> None:
        self._asker = asker or ask_by_getpass
        self._open: deque[tuple[str, asyncio.Future[str | None]]] = deque()
        self._waiting = 0

    async def ask(self, text: str) -> str | None:
        """The answer; None at once when nobody waits who could be asked. Cancelling takes the question back."""
        if not self._waiting:
            return NO_ANSWER
        future: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._open.append((text, future))
        return await future

    @contextmanager
    def attended(self) -> Iterator[None]:
        """While it is entered in the main thread, questions are answered: whoever enters calls `serve` now and then."""
        here = threading.current_thread() is threading.main_thread()
        self._waiting += here
        try:
            yield
        finally:
            self._waiting -= here
            if here and not self._waiting:
                while self._open:
                    self._answer(self._open.popleft()[1], NO_ANSWER)

    def serve(self) -> None:
        """Ask what is open; nothing outside of the main thread."""
        if not self._open or threading.current_thread() is not threading.main_thread():
            return
        text, future = self._open.popleft()
        if future.cancelled():
            return
        answer = NO_ANSWER
        try:
            answer = self._asker(text)
        finally:
            self._answer(future, answer)

    @staticmethod
    def _answer(future: asyncio.Future[str | None], answer: str | None) -> None:
        def settle() -> None:
            if not future.done():
                future.set_result(answer)

        try:
            future.get_loop().call_soon_threadsafe(settle)
        except RuntimeError:  # the loop is closed, and with it whoever asked
            pass


def ask_yes(text: str) -> bool | None:
    """Whether the user says yes, with an echo; None where there is neither a terminal nor a notebook that can ask.

    Raises:
        KeyboardInterrupt: the user's.
    """
    # A kernel replaces input by one that asks the page; where a page cannot be asked that one raises.
    in_kernel = getattr(builtins.input, "__module__", "builtins") != "builtins"
    if not in_kernel and not (sys.stdin is not None and sys.stdin.isatty()):
        return None
    try:
        return input(text).strip().lower() in {"y", "yes"}
    except (EOFError, OSError, RuntimeError):
        return None


def ask_by_getpass(text: str) -> str | None:
    """Ask without an echo; None where there is neither a terminal nor a notebook that can ask."""
    # A kernel replaces getpass by one that asks the page; where a page cannot be asked that one raises.
    in_kernel = getattr(getpass.getpass, "__module__", "getpass") != "getpass"
    if not in_kernel and not (sys.stdin is not None and sys.stdin.isatty()):
        return NO_ANSWER
    try:
        return getpass.getpass(text)
    except (EOFError, OSError, RuntimeError):
        return NO_ANSWER
