"""`Answers`: what is answered to the questions of a server during one login, by whoever is there to be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Final

from xec_magic.command import Target

__all__ = ["TRIES", "Answers", "Ask"]

TRIES: Final = 3  # as many as ssh gives (NumberOfPasswordPrompts)

Ask = Callable[[str], Awaitable[str | None]]


class Answers:
    """Answers a server's questions. A password is kept for further connections; a code that is good for once is not.

    Args:
        target: Who asks.
        ask: Asks the user; gives None where nobody can be asked.
        kept: The passwords that were typed.
        asking: Held while the user is asked: one question at a time, and one for what several connections want.

    Attributes:
        given: A password was told.
        open: A question waits for its answer, or for its turn.
        pause: Called when the user is asked, and when he has answered: meanwhile no time limit counts.
    """

    def __init__(self, target: Target, ask: Ask, kept: MutableMapping[Target, str], asking: asyncio.Lock) -> None:
        self.given = False
        self.open = False
        self.pause: Callable[[bool], None] = lambda _: None
        self._target = target
        self._ask = ask
        self._kept = kept
        self._asking = asking
        self._tries = 0
        self._refused = False

    def begin(self) -> bool:
        """The server wants a further try; whether there is one. What was told before was wrong then."""
        if self._tries and self.given:
            self._kept.pop(self._target, None)
        if self._refused or self._tries >= TRIES:
            return False
        self._tries += 1
        return True

    async def answer(self, prompt: str) -> str | None:
        """The answer to one question; None for none."""
        is_password = "password" in prompt.lower()
        self.open = True
        self.pause(True)
        try:
            async with self._asking:
                told = self._kept.get(self._target) if is_password else None
                if told is None:
                    again = "That is not it. " if self._tries > 1 else ""
                    told = await self._ask(f"{again}{prompt.strip().rstrip(':').capitalize()} of {self._target}: ")
        finally:
            self.pause(False)
        self.open = False  # and not where it was broken off: so that it can be told
        if told is None:
            self._refused = True
        elif is_password:
            self.given = True
            self._kept[self._target] = told
        return told
