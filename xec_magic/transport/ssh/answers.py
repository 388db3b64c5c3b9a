"""`Answers`: what is answered to the questions of a server during one login, by whoever is there to be asked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Final

from xec_magic.command import Target
from xec_magic.transport.ssh.quoted import quoted

__all__ = ["TRIES", "Answers", "Ask"]

TRIES: Final = 3  # as many as ssh gives (NumberOfPasswordPrompts)
_ONCE: Final = re.compile(r"\b(one[- ]?time|otp)\b", re.IGNORECASE)
_NEW: Final = re.compile(r"\bnew\b", re.IGNORECASE)  # in the place of one that has expired

Ask = Callable[[str], Awaitable[str | None]]


class Answers:
    """Answers a server's questions. A password is kept for further connections; what is good for once is not, and a new password is always asked for.

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
        may_keep = "password" in prompt.lower() and not _ONCE.search(prompt)
        is_known = may_keep and not _NEW.search(prompt)
        self.open = True
        self.pause(True)
        try:
            async with self._asking:
                told = self._kept.get(self._target) if is_known else None
                if told is None:
                    again = "That is not it. " if self._tries > 1 else ""
                    told = await self._ask(
                        f"{again}{quoted(prompt.strip().rstrip(':')).capitalize()} of {self._target}: "
                    )
        finally:
            self.pause(False)
        self.open = False  # and not where it was broken off: so that it can be told
        if told is None:
            self._refused = True
        elif may_keep:
            self.given = True
            self._kept[self._target] = told
        return told
