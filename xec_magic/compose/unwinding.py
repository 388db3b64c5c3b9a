"""`Unwinding`: a clean-up on its way; it does what was deferred, one thing after the other, and tells how that went."""

from __future__ import annotations

import asyncio
import inspect
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from xec_magic.callables import refuse_awaitable
from xec_magic.engine.run import Run
from xec_magic.errors import CleanupError, XecError
from xec_magic.events import Cause

__all__ = ["Block", "Deferred", "Unwinding"]

LAST_GRACE_S: Final = 0.3  # a rung of the stop ladder for a command that is left no more time


class Block(ABC):
    """Several things that are undone as one."""

    @abstractmethod
    def unwind(self, way: Unwinding) -> None:
        """Do what was deferred, and note in `way` what fails and who interrupts."""

    @abstractmethod
    async def unwind_async(self, way: Unwinding) -> None:
        """The same in a coroutine."""


class Deferred:
    """Something that is to be done at the end; `cancel` takes it back.

    Attributes:
        what: What it is, in words.
    """

    def __init__(
        self,
        forget: Callable[[Deferred], None],
        what: str,
        act: Callable[[], object] | Run | Block,
        *,
        quick: bool = False,
    ) -> None:
        self.what = what
        self.act = act
        self.quick = quick  # it removes a file: done also where there is no time for anything else
        self.begun = False
        self._forget = forget

    def cancel(self) -> None:
        """Do not do it; nothing happens when it has been done already."""
        self._forget(self)

    def __repr__(self) -> str:
        return f"<Deferred {self.what}>"


class Unwinding:
    """One clean-up on its way: what failed, what was left undone, who interrupted it.

    Args:
        within_s: After so many seconds only files are removed; None for no bound.
    """

    def __init__(self, within_s: float | None = None) -> None:
        self._deadline = None if within_s is None else time.monotonic() + within_s
        self._tried = 0
        self._failures: list[tuple[str, BaseException]] = []
        self._left: list[str] = []
        self._interrupts = 0
        self.interrupt: BaseException | None = None

    def interrupted(self, error: BaseException) -> None:
        """Somebody wants this to end."""
        self._interrupts += 1
        self.interrupt = self.interrupt or error

    def _begins(self, entry: Deferred) -> bool:
        """Whether there is time for it; noted down if there is none."""
        entry.begun = True
        if isinstance(entry.act, Block):
            return True
        late = self._deadline is not None and time.monotonic() >= self._deadline
        if not entry.quick and (late or self._interrupts >= 2):
            self._left.append(entry.what)
            return False
        self._tried += 1
        return True

    def do(self, entry: Deferred) -> None:
        """Do one thing; what it raises is noted, and an interrupt goes on."""
        act = entry.act
        try:
            if not self._begins(entry):
                return
            if isinstance(act, Block):
                act.unwind(self)
            elif isinstance(act, Run):
                self._run(act)
            else:
                value = act()
                if isinstance(value, Run):
                    self._run(value)
                else:
                    refuse_awaitable(value, "only `async with xec.cleanup()` can await it")
        except BaseException as error:
            self._failures.append((entry.what, error))
            if isinstance(error, KeyboardInterrupt):
                raise

    async def do_async(self, entry: Deferred) -> None:
        """The same in a coroutine: commands and asynchronous functions are awaited."""
        act = entry.act
        try:
            if not self._begins(entry):
                return
            if isinstance(act, Block):
                await act.unwind_async(self)
            elif isinstance(act, Run):
                await act
            else:
                value = act()
                if isinstance(value, Run) or inspect.isawaitable(value):
                    await value
        except BaseException as error:
            self._failures.append((entry.what, error))
            if isinstance(error, (KeyboardInterrupt, asyncio.CancelledError)):
                raise

    def _run(self, run: Run) -> None:
        # Where time is short, half of it: what follows shall have some, too.
        left_s = None if self._deadline is None else max(0.0, (self._deadline - time.monotonic()) / 2)
        begun = time.monotonic()
        try:
            run.wait(left_s)
        except TimeoutError:
            if left_s is None or time.monotonic() < begun + left_s:
                raise  # by a signal handler of the user's; the command is being stopped
            run.grace_s = min(run.grace_s, LAST_GRACE_S)
            run.request_stop(cause=Cause.CANCEL, detail="clean-up has no more time")
        run.result()

    def message(self) -> str:
        """What failed and what was left undone; empty when nothing was."""
        lines = [_line(what, error) for what, error in self._failures]
        if len(lines) == 1 and not self._left:
            return f"clean-up failed: {lines[0]}"
        if lines:
            lines.insert(0, f"{len(lines):,} of {self._tried + len(self._left):,} clean-ups failed")
        if self._left:
            why = "it was interrupted twice" if self._interrupts >= 2 else "there was no more time"
            lines.append(f"not cleaned up, since {why}: {', '.join(self._left)}")
        return "\n".join(lines)

    def conclude(self, error: BaseException | None) -> None:
        """Report how it went.

        Args:
            error: What the block raised, which goes on; it gets a note.

        Raises:
            CleanupError: something failed, and the block had raised nothing.
            KeyboardInterrupt: it was interrupted; or what else asked for its end.
        """
        said = self.message()
        if self.interrupt is not None:
            if said:
                self.interrupt.add_note(said)
            if error is not None:
                self.interrupt.add_note(f"the block had raised {_words(error)}")
            raise self.interrupt
        if said and error is not None:
            error.add_note(said)
        elif said:
            raise CleanupError(said, [each for _, each in self._failures]) from (
                self._failures[0][1] if self._failures else None
            )


def _line(what: str, error: BaseException) -> str:
    if isinstance(error, (KeyboardInterrupt, asyncio.CancelledError)):
        return f"{what} was interrupted"
    if isinstance(error, XecError):
        return str(error)
    return f"{what} raised {_words(error)}"


def _words(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0]
    return type(error).__name__ + (f": {text}" if text else "")
