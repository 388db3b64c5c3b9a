"""`Cleanup`: what is to be undone at the end, last in first out, whatever happens before."""

from __future__ import annotations

import asyncio
import inspect
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final, overload

from xec_magic.compose.files import quoted
from xec_magic.engine.run import Run
from xec_magic.errors import CleanupError, ConnectionLost, OptionError, TransportError, XecError, map_errors
from xec_magic.events import Cause
from xec_magic.options import RunOptions
from xec_magic.private import KernelDirectory

__all__ = ["Cleanup", "Deferred", "Unwinding", "innermost"]

LAST_GRACE_S: Final = 0.3  # a rung of the stop ladder for a command that is left no more time

_innermost: ContextVar[Cleanup | None] = ContextVar("xec_cleanup", default=None)


class Deferred:
    """Something that is to be done at the end; `cancel` takes it back.

    Attributes:
        what: What it is, in words.
    """

    def __init__(
        self, owner: Cleanup, what: str, act: Callable[[], object] | Run | Cleanup, *, quick: bool = False
    ) -> None:
        self.what = what
        self.act = act
        self.quick = quick  # it removes a file: done also where there is no time for anything else
        self.begun = False
        self._owner = owner

    def cancel(self) -> None:
        """Do not do it; nothing happens when it has been done already."""
        self._owner._forget(self)

    def __repr__(self) -> str:
        return f"<Deferred {self.what}>"


class Cleanup:
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
            return self._push(Deferred(self, run.plan.title, run))
        if not callable(what):
            raise OptionError(f"a {type(what).__name__} cannot be deferred; give a function, or a command's text")
        name = f"{getattr(what, '__qualname__', type(what).__name__).rpartition('.')[2]}()"
        if inspect.iscoroutinefunction(what) and not self._is_async:
            raise OptionError(f"{name} is asynchronous, and only `async with xec.cleanup()` can await it")
        return self._push(Deferred(self, name, partial(what, *args, **kwargs)))

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
        _check_suffix(suffix)
        if not isinstance(content, (str, bytes)):
            raise OptionError(f"content: a {type(content).__name__} is neither text nor bytes")
        data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
        if on is not None:
            return self._make_there(f'cat >"$d"{quoted("/file" + suffix)}', f"/file{suffix}", on, data)
        with map_errors(OSError, to=XecError, what="cannot make a temporary file"):
            fd, name = tempfile.mkstemp(suffix, "", self.directory.path())
            self._push(Deferred(self, f"remove {name}", partial(_remove_file, name), quick=True))
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
        _check_suffix(suffix)
        if on is not None:
            return self._make_there(":", "", on, b"", suffix)
        with map_errors(OSError, to=XecError, what="cannot make a temporary directory"):
            name = tempfile.mkdtemp(suffix, "", self.directory.path())
        self._push(Deferred(self, f"remove {name}", partial(_remove_tree, name), quick=True))
        return Path(name)

    def _make_there(self, fill: str, file: str, on: object, data: bytes, suffix: str = "") -> PurePosixPath:
        """Make a private directory on a host, with a file in it perhaps; its removal is noted before there is anything to remove."""
        name = quoted(f"xec-{secrets.token_hex(12)}{suffix}")
        place = f'd="${{TMPDIR:-/tmp}}"/{name}; '
        options = {"on": on, "shell": "sh", "strict": False, "cache": None}
        making = self._plan(
            f'umask 077; {place}mkdir "$d" && {fill} && printf %s "$d"',
            {**options, "stdin": data, "label": "make a temporary " + ("file" if file else "directory")},
        )
        target = making.plan.command.target
        removing = self._plan(
            f'{place}[ ! -d "$d" ] || rm -rf "$d"', {**options, "label": f"remove {name.strip(chr(39))} on {target}"}
        )
        undo = self._push(Deferred(self, removing.plan.title, removing))
        try:
            made = making.result()
        except TransportError as error:
            if not isinstance(error, ConnectionLost):
                undo.cancel()  # nothing is there
            raise
        undo.what = f"remove {made.stdout} on {target}"
        return PurePosixPath(made.stdout + file)

    def _push(self, entry: Deferred) -> Deferred:
        with self._lock:
            self._entries.append(entry)
            if self._parent is not None and self._in_parent is None:
                self._in_parent = self._parent._push(Deferred(self._parent, "a block", self))
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

    async def _unwind_async(self, way: Unwinding) -> None:
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
            await self._unwind_async(way)
        finally:
            self._exit()
        way.conclude(error)

    def __repr__(self) -> str:
        with self._lock:
            return f"<Cleanup of {len(self._entries)}>"


def innermost() -> Cleanup | None:
    """The clean-up of the innermost block that the caller is in."""
    return _innermost.get()


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
        if isinstance(entry.act, Cleanup):
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
            if isinstance(act, Cleanup):
                act.unwind(self)
            elif isinstance(act, Run):
                self._run(act)
            else:
                value = act()
                if isinstance(value, Run):
                    self._run(value)
                elif inspect.isawaitable(value):
                    if inspect.iscoroutine(value):
                        value.close()
                    raise TypeError("it is asynchronous, and only `async with xec.cleanup()` can await it")
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
            if isinstance(act, Cleanup):
                await act._unwind_async(self)
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
        try:
            # Where time is short, half of it: what follows shall have some, too.
            run.wait(None if self._deadline is None else max(0.0, (self._deadline - time.monotonic()) / 2))
        except TimeoutError:
            run.grace_s = min(run.grace_s, LAST_GRACE_S)
            run.request_stop(cause=Cause.CANCEL, detail="clean-up has no more time")
        run.result()

    def message(self) -> str:
        """What failed and what was left undone; empty when nothing was."""
        lines = [_line(what, error) for what, error in self._failures]
        if len(lines) == 1 and not self._left:
            return f"clean-up failed: {lines[0]}"
        if lines:
            lines.insert(0, f"{len(lines)} of {self._tried + len(self._left)} clean-ups failed")
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


def _refuse_cache(options: Mapping[str, Any]) -> None:
    """What is deferred has to happen, whatever an equal command has done before."""
    of_the_cache = {option.name for option in RunOptions.SPEC.options if option.group == "cache"}
    for name, value in options.items():
        if name in of_the_cache and value is not None:
            raise OptionError(f"{name}: what is deferred is always run, and never taken from the cache; leave it out")


def _check_suffix(suffix: object) -> None:
    if not isinstance(suffix, str) or "/" in suffix or "\0" in suffix:
        raise OptionError(f"suffix: {suffix!r} is no end of a file's name, such as '.json'")


def _remove_file(name: str) -> None:
    Path(name).unlink(missing_ok=True)  # its user may have done so


def _remove_tree(name: str) -> None:
    """Remove a directory, also one in which something has taken the permissions away."""
    try:
        shutil.rmtree(name)
    except FileNotFoundError:
        if os.path.lexists(name):  # somebody else removes in it, too
            shutil.rmtree(name)
    except PermissionError:
        os.chmod(name, 0o700)
        for here, directories, _ in os.walk(name):
            for directory in directories:
                path = os.path.join(here, directory)
                if not os.path.islink(path):
                    os.chmod(path, 0o700)
        shutil.rmtree(name)
