"""The Python functions: `run`, `start`, `using`, and an `Executor` of one's own. What the magics do, without IPython."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, Unpack, cast

from xec_magic import runtime
from xec_magic.cachepolicy import CachePolicy
from xec_magic.command import FileInput, Target
from xec_magic.compose.cleanup import Cleanup, Deferred, innermost
from xec_magic.compose.lazy import Lazy
from xec_magic.engine import executor as engine
from xec_magic.engine.asks import Ask, Asks, name_of
from xec_magic.engine.run import Run
from xec_magic.errors import OptionError
from xec_magic.options import RunOptions, Settings
from xec_magic.plan import Plan
from xec_magic.private import KernelDirectory, temp_root
from xec_magic.quoting import expand_tstring
from xec_magic.result import Result
from xec_magic.transport.shells import family_of

if TYPE_CHECKING:
    from xec_magic.cachepolicy import CacheKey
    from xec_magic.command import Command

__all__ = [
    "Commands",
    "Executor",
    "RunKeywords",
    "Script",
    "TemplateString",
    "cached",
    "cleanup",
    "defer",
    "lazy",
    "run",
    "start",
    "temp_dir",
    "temp_file",
    "using",
]


class TemplateString(Protocol):
    """A template string of Python 3.14, `t"cat {path}"`; its values are quoted for the place they stand in."""

    @property
    def strings(self) -> tuple[str, ...]:
        """The plain parts."""

    @property
    def interpolations(self) -> tuple[Any, ...]:
        """The values between them."""


Script = str | bytes | TemplateString


class RunKeywords(TypedDict, total=False):
    """What `run`, `start` and `using` take; `docs/options.md` describes each."""

    target: Target
    cwd: str | os.PathLike[str] | None
    env: Mapping[str, str]
    shell: str | Iterable[str]
    login: bool
    timeout: float | str | None
    grace: float | str
    check: bool
    ok_codes: Iterable[int] | int | str
    strict: bool
    wait: bool
    retries: int
    retry_codes: Iterable[int] | int | str
    backoff: float | str
    stdin: str | bytes | os.PathLike[str] | FileInput | None
    secret: Mapping[str, str]
    tee: str | os.PathLike[str] | None
    max_output: float | str | None
    label: str
    read_only: bool
    keep: bool | None
    cache: float | str | CachePolicy | None
    cache_key: str | Callable[[Command], CacheKey]
    cache_if: str | Callable[[Result], object]
    cache_env: str | Iterable[str]
    cache_failures: float | str
    depends: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
    stale: float | str
    refresh: bool
    persist: bool


class Commands:
    """`run` and `start` with an executor and defaults of their own.

    Args:
        executor: Gives the executor, at each call.
        settings: Standing defaults from files and the environment; None for the built-in ones.
        defaults: Keywords for every call, under those of the call itself.
    """

    def __init__(
        self,
        executor: Callable[[], engine.Executor],
        settings: Callable[[], Settings | None] = lambda: None,
        defaults: RunKeywords | None = None,
    ) -> None:
        self._executor = executor
        self._settings = settings
        self._defaults: RunKeywords = defaults or {}
        self._asks = Asks(self._stamps)

    def _stamps(self) -> object:
        settings = self._settings()
        return None if settings is None else settings.stamps()

    def run(self, script: Script, **options: Unpack[RunKeywords]) -> Result:
        """Run a script and wait for it; gives its result.

        A plain string is run as it is: nothing in it is expanded. Values go in by `template`, or by a template string.

        Raises:
            CommandError: it ended badly: `NonZeroExit`, `Signalled`, `TimedOut`, `Cancelled`, `OutputLimit`. Not with
                `check=False`.
            SpawnError: it could not be started.
            OptionError: an option is wrong; nothing has run.
            RunInterrupted: the kernel's interrupt stopped it.

        Example:
            >>> import xec_magic as xec
            >>> r = xec.run("echo out; echo err >&2")
            >>> r.stdout, r.stderr, r.exit_code
            ('out\\n', 'err\\n', 0)
        """
        name = name_of(script, options) if "cache" in options or "cache" in self._defaults else None
        ask = self._asks.recall(name) if name is not None else None
        if ask is not None:
            kept = self._executor().hit(ask.captured, ask.plan)
            if kept is not None:
                runtime.current().last = kept
                return kept.check() if ask.check and not kept.ok else kept
        plan, check, keep = self._plan(script, options)
        executor = self._executor()
        if name is not None and plan.cache is not None and plan.tee is None:
            ask = Ask(plan, check, executor.cache.captured(plan), self._asks.surroundings())
            self._asks.remember(name, ask)
        result = runtime.current().wait(executor.start(plan, check=False, keep=keep))
        return result.check() if check else result

    def cached(self, key: str, script: Script, ttl: float | str = 60.0, **options: Unpack[RunKeywords]) -> Result:
        """The result of a script that is kept under a name of its own; runs it when there is none, or it is too old.

        The same as `run(script, cache=ttl, cache_key=key)`.

        Args:
            key: The name; what the script and its surroundings are does not count beside it.
            script: As for `run`.
            ttl: Seconds, or a text such as `"5m"`; `"inf"` for as long as the kernel lives.
            **options: As for `run`.

        Raises:
            CommandError: as for `run`; a failure is not kept.

        Example:
            >>> import xec_magic as xec
            >>> first = xec.cached("stamp", "date +%s%N")
            >>> xec.cached("stamp", "date +%s%N").stdout == first.stdout
            True
        """
        options.setdefault("cache", ttl)
        options.setdefault("cache_key", key)
        return self.run(script, **options)

    def start(self, script: Script, **options: Unpack[RunKeywords]) -> Run:
        """Start a script and give its handle at once: await it, read from it, pipe it, cancel it.

        Raises:
            OptionError: an option is wrong; nothing has run.

        Example:
            >>> import xec_magic as xec
            >>> sum(int(line) for line in xec.start("seq 10").lines())
            55
        """
        plan, check, keep = self._plan(script, options)
        executor = self._executor()
        run = executor.plan_run(plan, check=check, keep=keep)
        if not executor.answer(run):
            executor.begin_later(run)
        return run

    def using(self, **options: Unpack[RunKeywords]) -> Commands:
        """The same functions with other defaults.

        Raises:
            OptionError: an option is wrong.

        Example:
            >>> import xec_magic as xec
            >>> slow = xec.using(timeout="5m", check=False)
            >>> slow.run("exit 3").exit_code
            3
        """
        defaults = _over(self._defaults, options)
        self._options(defaults)  # refuse a wrong default here, not at its first use
        return Commands(self._executor, self._settings, defaults)

    def lazy(self) -> Lazy[Result]:
        """Commands that are noted down now and run later: in order, several at once, or against each other.

        Example:
            >>> import xec_magic as xec
            >>> steps = xec.lazy().add("echo 1").add("echo 2", timeout="5s")
            >>> [str(result) for result in steps.run()]
            ['1', '2']
        """
        return Lazy(self._planned, lambda options: self._options(_over(self._defaults, cast("RunKeywords", options))))

    def cleanup(self) -> Cleanup:
        """What is to be undone at the end of a block, last in first out, for `with` and `async with`.

        Example:
            >>> import xec_magic as xec
            >>> with xec.cleanup() as stack:
            ...     folder = stack.temp_dir()
            ...     _ = stack.defer("echo done >&2")
            >>> folder.exists()
            False
        """
        registry = _registry()
        return Cleanup(self._planned, registry.directory, registry)

    def _planned(self, script: Script, options: Mapping[str, Any]) -> Run:
        plan, check, keep = self._plan(script, cast("RunKeywords", options))
        return self._executor().plan_run(plan, check=check, keep=keep)

    def _options(self, keywords: RunKeywords) -> RunOptions:
        known = {name: value for name, value in keywords.items() if name not in ("target", "keep")}
        return RunOptions.from_keywords(known, settings=self._settings())

    def _plan(self, script: Script, options: RunKeywords) -> tuple[Plan, bool, bool | None]:
        merged = _over(self._defaults, options)
        read = self._options(merged)
        plan = read.plan(_text_of(script, read.shell))
        target = merged.get("target")
        if target is not None:
            plan = replace(plan, command=replace(plan.command, target=target))
        return plan, read.check, _keep(merged.get("keep"))

    def __repr__(self) -> str:
        shown = [f"{name}={'…' if name == 'secret' else repr(value)}" for name, value in self._defaults.items()]
        return f"<Commands with {', '.join(shown) or 'no defaults'}>"


class Executor(Commands):
    """An executor of its own, beside the kernel's; closing it ends all its runs.

    Args:
        max_running: Local processes at once; more runs are queued in order.
        **options: Defaults for its `run` and `start`.

    Example:
        >>> import xec_magic as xec
        >>> with xec.Executor(max_running=2, timeout="1m") as ex:
        ...     str(ex.run("echo mine"))
        'mine'
    """

    def __init__(self, max_running: int = engine.MAX_RUNNING, **options: Unpack[RunKeywords]) -> None:
        super().__init__(lambda: self._engine, lambda: None, options)
        self._options(options)  # a wrong default is refused before there is a thread to end
        self._engine = engine.Executor(max_running)

    def close(self) -> None:
        """End all its runs by the stop ladder, and let go of everything. A second call does nothing."""
        self._engine.close()

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Executor:
        return self

    async def __aexit__(self, *exc: object) -> None:
        import asyncio

        await asyncio.to_thread(self.close)

    def __repr__(self) -> str:
        return repr(self._engine)


def _over(defaults: RunKeywords, options: RunKeywords) -> RunKeywords:
    """Keywords over defaults; variables and secrets add up, unless a call sets them back with None."""
    merged: RunKeywords = {**defaults, **options}
    if merged.get("env"):
        merged["env"] = dict(merged["env"])  # what the caller does with it later is another call's business
    if defaults.get("env") and isinstance(options.get("env"), Mapping):
        merged["env"] = {**defaults["env"], **options["env"]}
    if defaults.get("secret") and isinstance(options.get("secret"), Mapping):
        merged["secret"] = {**defaults["secret"], **options["secret"]}
    return merged


def _keep(value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise OptionError(f"keep: {value!r} is none of True, False and None")


def _text_of(script: Script, shell: tuple[str, ...]) -> str | bytes:
    if isinstance(script, (str, bytes)):
        return script
    if hasattr(script, "strings") and hasattr(script, "interpolations"):
        return expand_tstring(cast("Any", script), family_of(shell))
    raise OptionError(f"a script is text, bytes or a template string, not {type(script).__name__}")


# The functions of the package itself: they use the executor of the kernel.
_kernel = Commands(lambda: runtime.current().executor, lambda: runtime.current().settings)
run = _kernel.run
start = _kernel.start
using = _kernel.using
cached = _kernel.cached
lazy = _kernel.lazy
cleanup = _kernel.cleanup


def _registry() -> Cleanup:
    """What is to be cleaned up at the kernel's end."""

    def make(now: runtime.Runtime) -> Cleanup:
        # Not `_kernel`: at the end this very executor has to run what was deferred.
        commands = Commands(lambda: now.executor, lambda: now.settings)
        return Cleanup(commands._planned, KernelDirectory(temp_root, now.executor.kernel_id))

    return runtime.current().registry(make)


def defer(what: Any, *args: Any, **kwargs: Any) -> Deferred:
    """Do this at the end of the innermost `with xec.cleanup()` block, or else at the kernel's end; see `Cleanup.defer`.

    Example:
        >>> import xec_magic as xec
        >>> undo = xec.defer("rm -f /tmp/lock-of-mine")
        >>> undo.cancel()
    """
    return (innermost() or _registry()).defer(what, *args, **kwargs)


def temp_file(*, suffix: str = "", content: str | bytes = b"") -> Path:
    """A new private file, removed at the end of the innermost `with xec.cleanup()` block, or else at the kernel's end.

    See `Cleanup.temp_file`.

    Example:
        >>> import xec_magic as xec
        >>> path = xec.temp_file(suffix=".csv", content="a,b")
        >>> path.read_text()
        'a,b'
    """
    return (innermost() or _registry()).temp_file(suffix=suffix, content=content)


def temp_dir(*, suffix: str = "") -> Path:
    """A new private directory, removed at the end of the innermost `with xec.cleanup()` block, or else at the kernel's end.

    See `Cleanup.temp_dir`.
    """
    return (innermost() or _registry()).temp_dir(suffix=suffix)
