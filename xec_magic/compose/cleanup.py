"""`Cleanup`: what is to be undone at the end, last in first out, whatever happens before."""

from __future__ import annotations

import asyncio
import inspect
import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, overload

from xec_magic.callables import called
from xec_magic.compose.temporary import There, check_suffix, directory_there, file_there, remove_file, remove_tree
from xec_magic.compose.unwinding import Block, Deferred, Unwinding
from xec_magic.engine.run import Run
from xec_magic.errors import ConnectionLost, OptionError, TransportError, XecError, map_errors
from xec_magic.options import RunOptions
from xec_magic.private import KernelDirectory

__all__ = ["Cleanup", "innermost"]

_innermost: ContextVar[Cleanup | None] = ContextVar("xec_cleanup", default=None)


class Cleanup(Block):
    """What is to be undone at the end; `xec.cleanup()` makes one, for `with` and `async with`.

    At the end of the block everything is done that was deferred, the last first, also when the block raised or was interrupted.
    What fails does not keep the rest from being done; all failures are reported, in a `CleanupError`, or as notes to the
    exception of the block, which goes on. An interrupt during clean-up ends what is being done and goes on with the next; after
    a second one only files are removed, and what was not done is named. When the kernel ends, open blocks are ended, too.

    Any thread may use it.
    """

    def __init__(
        self,
        plan: Callable[[Any, Mapping[str, Any]], Run],
        directory: KernelDirectory,
        parent: Cleanup | None = None,
    ) -> None:
        self._plan = plan
        self.directory = directory
        self._parent = parent
        self._in_parent: Deferred | None = None
        self._entries: list[Deferred] = []
        self._lock = threading.RLock()
        self._owner = os.getpid()
        self._is_async = False
        self._entered = False
        self._before: Cleanup | None = None

    # -- noting down ----------------------------------------------------------------------------------

    def defer(self, what: Any, *args: Any, **kwargs: Any) -> Deferred:
        """Do this at the end: call a function with these arguments, or run a command with these options.

        Args:
            what: A function, or a command as for `xec.run`. A function may be asynchronous in an `async with` block.
            *args: For the function.
            **kwargs: For the function, or the keywords of `xec.run`.

        Returns:
            A handle; its `cancel` takes it back.

        Raises:
            OptionError: `what` is neither, or a wrong option; a command is given a cache.

        Example:
            >>> import xec_magic as xec
            >>> with xec.cleanup() as stack:
            ...     _ = stack.defer(print, "second")
            ...     _ = stack.defer(print, "first")
            first
            second
        """
        if isinstance(what, (str, bytes)) or hasattr(what, "interpolations"):
            if args:
                raise OptionError("a command takes no further arguments; its options are keywords")
            _refuse_cache(kwargs)
            run = self._plan(what, {**kwargs, "cache": None})  # a kept result would be given, and nothing undone
            return self._push(Deferred(self._forget, run.plan.title, run))
        if not callable(what):
            raise OptionError(f"a {type(what).__name__} cannot be deferred; give a function, or a command's text")
        name = called(what)
        if inspect.iscoroutinefunction(what) and not self._is_async:
            raise OptionError(f"{name} is asynchronous, and only `async with xec.cleanup()` can await it")
        return self._push(Deferred(self._forget, name, partial(what, *args, **kwargs)))

    @overload
    def temp_file(self, *, suffix: str = ..., content: str | bytes = ..., on: None = ...) -> Path: ...
    @overload
    def temp_file(self, *, suffix: str = ..., content: str | bytes = ..., on: object) -> PurePosixPath: ...
    def temp_file(self, *, suffix: str = "", content: str | bytes = b"", on: object = None) -> Path | PurePosixPath:
        """A new file of mode 0600 with a name that nobody can guess; removed at the end.

        Args:
            suffix: End of its name, such as `.json`.
            content: What it holds; text as UTF-8.
            on: Make it on this host, by a command there; the path is then one of that host.

        Raises:
            OptionError: the suffix is no part of a name; an unknown host.
            XecError: it cannot be made, its disk is full, or the host cannot be reached.

        Example:
            >>> import xec_magic as xec
            >>> with xec.cleanup() as stack:
            ...     path = stack.temp_file(suffix=".txt", content="hello")
            ...     str(xec.run(xec.template("cat ${{path}}", path=path)))
            'hello'
            >>> path.exists()
            False
        """
        check_suffix(suffix)
        if not isinstance(content, (str, bytes)):
            raise OptionError(f"content: a {type(content).__name__} is neither text nor bytes")
        data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
        if on is not None:
            return self._make_there(file_there(on, suffix, data))
        with map_errors(OSError, to=XecError, what="cannot make a temporary file"):
            fd, name = tempfile.mkstemp(suffix, "", self.directory.path())
            self._push(Deferred(self._forget, f"remove {name}", partial(remove_file, name), quick=True))
            with open(fd, "wb") as file:
                file.write(data)
        return Path(name)

    @overload
    def temp_dir(self, *, suffix: str = ..., on: None = ...) -> Path: ...
    @overload
    def temp_dir(self, *, suffix: str = ..., on: object) -> PurePosixPath: ...
    def temp_dir(self, *, suffix: str = "", on: object = None) -> Path | PurePosixPath:
        """A new directory of mode 0700 with a name that nobody can guess; removed at the end, with all that is in it.

        Args:
            suffix: End of its name.
            on: Make it on this host, by a command there; the path is then one of that host.

        Raises:
            OptionError: the suffix is no part of a name; an unknown host.
            XecError: it cannot be made, or the host cannot be reached.
        """
        check_suffix(suffix)
        if on is not None:
            return self._make_there(directory_there(on, suffix))
        with map_errors(OSError, to=XecError, what="cannot make a temporary directory"):
            name = tempfile.mkdtemp(suffix, "", self.directory.path())
        self._push(Deferred(self._forget, f"remove {name}", partial(remove_tree, name), quick=True))
        return Path(name)

    def _make_there(self, there: There) -> PurePosixPath:
        """Make it on a host; its removal is noted before there is anything to remove."""
        making = self._plan(there.make, {**there.options, "stdin": there.content, "label": there.label})
        target = making.plan.command.target
        removing = self._plan(there.remove, {**there.options, "label": f"remove {there.name} on {target}"})
        undo = self._push(Deferred(self._forget, removing.plan.title, removing))
        try:
            made = making.result()
        except TransportError as error:
            if not isinstance(error, ConnectionLost):
                undo.cancel()  # nothing is there
            raise
        undo.what = f"remove {made.stdout} on {target}"
        return PurePosixPath(made.stdout + there.file)

    def _push(self, entry: Deferred) -> Deferred:
        with self._lock:
            self._entries.append(entry)
            if self._parent is not None and self._in_parent is None:
                self._in_parent = self._parent._push(Deferred(self._parent._forget, "a block", self))
        return entry

    def _forget(self, entry: Deferred) -> None:
        with self._lock:
            if entry in self._entries:
                self._entries.remove(entry)

    def _last(self) -> Deferred | None:
        """What is to be done next."""
        with self._lock:
            while self._entries and self._entries[-1].begun:
                self._entries.pop()
            return self._entries[-1] if self._entries else None

    # -- the end --------------------------------------------------------------------------------------

    def close(self) -> None:
        """Do now what was deferred, the last first; what a `with` block does at its end.

        Raises:
            CleanupError: something failed; all the rest has been done.
        """
        way = Unwinding()
        self.unwind(way)
        way.conclude(None)

    def unwind(self, way: Unwinding) -> None:
        """Do what was deferred, and note in `way` what fails and who interrupts."""
        if os.getpid() != self._owner:
            return  # a forked copy: nothing of this is its own
        while True:
            try:
                entry = self._last()
                if entry is None:
                    break
                way.do(entry)
            except KeyboardInterrupt as error:
                way.interrupted(error)
        self._leave_parent()

    async def unwind_async(self, way: Unwinding) -> None:
        """The same in a coroutine."""
        if os.getpid() != self._owner:
            return
        while True:
            try:
                entry = self._last()
                if entry is None:
                    break
                await way.do_async(entry)
            except (KeyboardInterrupt, asyncio.CancelledError) as error:
                way.interrupted(error)
        self._leave_parent()

    def _leave_parent(self) -> None:
        if self._in_parent is not None:
            self._in_parent.cancel()
            self._in_parent = None

    def _enter(self) -> Cleanup:
        if self._entered:
            raise XecError("this clean-up is in use by a block already; make another one with xec.cleanup()")
        self._entered = True
        self._before = _innermost.get()
        _innermost.set(self)
        return self

    def _exit(self) -> None:
        _innermost.set(self._before)
        self._entered = self._is_async = False

    def __enter__(self) -> Cleanup:
        return self._enter()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        way = Unwinding()
        try:
            self.unwind(way)
        finally:
            self._exit()
        way.conclude(error)

    async def __aenter__(self) -> Cleanup:
        self._is_async = True
        return self._enter()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        way = Unwinding()
        try:
            await self.unwind_async(way)
        finally:
            self._exit()
        way.conclude(error)

    def __repr__(self) -> str:
        with self._lock:
            return f"<Cleanup of {len(self._entries)}>"


def innermost() -> Cleanup | None:
    """The clean-up of the innermost block that the caller is in."""
    return _innermost.get()


def _refuse_cache(options: Mapping[str, Any]) -> None:
    """What is deferred has to happen, whatever an equal command has done before."""
    of_the_cache = {option.name for option in RunOptions.SPEC.options if option.group == "cache"}
    for name, value in options.items():
        if name in of_the_cache and value is not None:
            raise OptionError(f"{name}: what is deferred is always run, and never taken from the cache; leave it out")
