"""`OutputStream`: the output of a run as something to loop over, as it arrives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from xec_magic.engine.awaiting import listening
from xec_magic.engine.waiting import next_async
from xec_magic.events import Cause, Stream
from xec_magic.output import Piece

if TYPE_CHECKING:
    from xec_magic.engine.run import Run

T = TypeVar("T")

__all__ = ["OutputStream"]


class OutputStream(Generic[T]):
    """Output of a run for one `for` or one `async for`; at its end a failed run raises, as `Run.result` does."""

    def __init__(self, run: Run, stream: Stream | None, splitter: Callable[[], Any], flatten: bool = False) -> None:
        self._run = run
        self._stream = stream
        self._splitter = splitter
        self._flatten = flatten

    def __iter__(self) -> Iterator[T]:
        return iter(self._single(self._items()))

    def _single(self, items: Iterable[Any]) -> Iterable[Any]:
        """Batches one item after the other, where items are asked for."""
        # A generator that handed out line by line would cost more than reading them.
        return chain.from_iterable(items) if self._flatten else items

    def _items(self) -> Iterator[Any]:
        """What the splitter makes of the output: chunks, or batches of lines."""
        backlog, channel = self._run.attach(self._stream)
        splitter = self._splitter()
        whole = False
        try:
            pieces: Iterable[Piece] | None = backlog
            while pieces is not None:
                for _, data in pieces:
                    yield from splitter.feed(data)
                pieces = channel.take()
            yield from splitter.end()
            whole = True
        except KeyboardInterrupt:
            channel.discard()
            self._run.request_stop(cause=Cause.INTERRUPT)
            whole = True
            self._run.wait().check()
            raise
        finally:
            if not whole:
                channel.discard()
                self._run.cancel()
        self._run.result()

    async def __aiter__(self) -> AsyncIterator[T]:
        with listening() as interrupts:
            backlog, channel = self._run.attach(self._stream)
            splitter = self._splitter()
            whole = False
            try:
                pieces: Iterable[Piece] | None = backlog
                while pieces is not None:
                    for _, data in pieces:
                        for item in self._single(splitter.feed(data)):
                            yield item
                    pieces = await next_async(self._run, channel, interrupts)
                for item in self._single(splitter.end()):
                    yield item
                whole = True
            finally:
                if not whole:
                    channel.discard()
                    self._run.cancel()
        await self._run
