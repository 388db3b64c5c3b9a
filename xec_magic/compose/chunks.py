"""A large file, or the output of a run, in batches of lines or in blocks; one pass, bounded memory."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import aclosing, closing, contextmanager
from typing import Any, Final, Generic, TypeVar, cast

from xec_magic.engine.run import Run
from xec_magic.errors import CommandError, OptionError, XecError, map_errors
from xec_magic.optionspec import nearest
from xec_magic.paths import absolute
from xec_magic.splitting import Blocks, Decoding, LineBatches
from xec_magic.units import format_size, parse_size

T = TypeVar("T")

__all__ = ["Batches", "FileThere", "cut", "readable"]

READ_BYTES: Final = 2**20
DEFAULT_LINES: Final = 1000
_SAID: Final = {81: "no such file", 82: "it is a directory; give a file in it", 83: "no permission to read it"}
LARGEST_BLOCK: Final = 2**30  # more in one piece is no piece


class FileThere:
    """A file on a host, read by a command that says by its exit code why it cannot.

    Args:
        start: Starts a command there.
        path: The file, as one word of a script.
        name: What to call it.
    """

    def __init__(self, start: Callable[[str], Run], path: str, name: str) -> None:
        self._start = start
        self._path = path
        self.name = name

    def begin(self) -> Run:
        """Begin to read it."""
        checks = f'f={self._path}; [ -e "$f" ] || exit 81; [ ! -d "$f" ] || exit 82; [ -r "$f" ] || exit 83; '
        return self._start(checks + 'exec cat "$f"')

    def worded(self, error: CommandError) -> XecError:
        """What was wrong: of what the command says as an error nothing is kept."""
        said = _SAID.get(error.exit_code or 0)
        return XecError(f"{self.name}: {said}") if said else error


class Batches(Generic[T]):
    """Something large in pieces, for one `for` or one `async for`; each loop begins anew with a file, and goes on with a run.

    Leaving the loop early closes the file, or stops the run.

    Args:
        source: A file's path, a run, or a file on a host.
        splitter: Makes what cuts it in pieces.
        what: What the pieces are.
        name: What to call the source.
    """

    def __init__(self, source: str | Run | FileThere, splitter: Callable[[], Any], what: str, name: str) -> None:
        self._source = source
        self._splitter = splitter
        self._what = what
        self._name = name

    def _begin(self) -> str | Run:
        source = self._source
        return source.begin() if isinstance(source, FileThere) else source

    def __iter__(self) -> Iterator[T]:
        cut = self._splitter()
        with closing(_bytes_of(self._begin())) as source, self._worded():
            for data in source:
                yield from cut.feed(data)
        yield from cut.end()

    async def __aiter__(self) -> AsyncIterator[T]:
        cut = self._splitter()
        async with aclosing(_bytes_of_async(self._begin())) as source:
            with self._worded():
                async for data in source:
                    for item in cut.feed(data):
                        yield item
        for item in cut.end():
            yield item

    @contextmanager
    def _worded(self) -> Iterator[None]:
        try:
            yield
        except CommandError as error:
            if isinstance(self._source, FileThere):
                raise self._source.worded(error) from None
            raise

    def __repr__(self) -> str:
        return f"<Batches of {self._what}: {self._name}>"


def cut(
    source: str | Run | FileThere, name: str, lines: int | None, size: float | str | None, errors: Decoding
) -> Batches[Any]:
    """A source in batches of lines or blocks.

    Raises:
        OptionError: a wrong number.
    """
    if lines is not None and size is not None:
        raise OptionError("lines and size: give one of them")
    if errors not in ("strict", "replace", "surrogateescape"):
        raise OptionError(f"errors: {errors!r} is not among strict, replace, surrogateescape")
    if size is not None:
        count = parse_size(size)
        if not 1 <= count <= LARGEST_BLOCK:
            raise OptionError(f"size must lie between 1 byte and {format_size(LARGEST_BLOCK)}, not {count:,}")
        return Batches(source, lambda: Blocks(count), format_size(count), name)
    number = DEFAULT_LINES if lines is None else lines
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise OptionError(f"lines must be a whole number, 1 at least, not {number!r}")
    return Batches(source, lambda: LineBatches(number, name, errors), f"{number:,} lines", name)


def readable(source: object) -> str:
    """The absolute path of a file that can be read, as far as can be told before.

    Raises:
        OptionError: it cannot.
    """
    if not isinstance(source, (str, os.PathLike)) or not os.fspath(source):
        raise OptionError(f"{source!r} is neither a file's path nor a run")
    with map_errors(ValueError, OSError, to=OptionError, what=f"{source!r} is no path"):
        path = absolute(os.fsdecode(cast("str", source)))
        there = os.path.exists(path)
    if not there:
        folder, name = os.path.split(path)
        names = os.listdir(folder) if os.path.isdir(folder) and os.access(folder, os.R_OK) else []
        hint = nearest(name, names)
        raise OptionError(f"no such file: {path}" + (f"; {hint}" if hint else ""))
    if stat.S_ISDIR(os.stat(path).st_mode):
        raise OptionError(f"{path} is a directory; give a file in it")
    if stat.S_ISFIFO(os.stat(path).st_mode):
        raise OptionError(f"{path} is a FIFO, which may never end; read it by a run: xec.chunks(xec.start('cat …'))")
    if not os.access(path, os.R_OK):
        raise OptionError(f"no permission to read {path}")
    return path


def _bytes_of(source: str | Run) -> Generator[bytes]:
    if isinstance(source, Run):
        yield from source.chunks()
        return
    fd = _open(source)
    try:
        while data := _read(fd, source):
            yield data
    finally:
        os.close(fd)


async def _bytes_of_async(source: str | Run) -> AsyncGenerator[bytes]:
    if isinstance(source, Run):
        async with aclosing(cast("AsyncGenerator[bytes]", aiter(source.chunks()))) as pieces:
            async for data in pieces:
                yield data
        return
    loop = asyncio.get_running_loop()
    fd = _open(source)
    reading: asyncio.Future[bytes] | None = None
    try:
        while True:
            reading = loop.run_in_executor(None, _read, fd, source)
            data = await asyncio.shield(reading)
            if not data:
                break
            yield data
    finally:
        if reading is None or reading.done():
            os.close(fd)
        else:  # cancelled while a thread reads from it
            reading.add_done_callback(lambda _: os.close(fd))


def _open(name: str) -> int:
    with map_errors(OSError, to=XecError, what=f"cannot read {name}"):
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC)


def _read(fd: int, name: str) -> bytes:
    with map_errors(OSError, to=XecError, what=f"cannot read {name}"):
        return os.read(fd, READ_BYTES)
