"""The Python functions: `run`, `start`, `using`, and an `Executor` of one's own. What the magics do, without IPython."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Protocol, TypedDict, Unpack, cast, overload

from xec_magic import runtime
from xec_magic.cachepolicy import CachePolicy
from xec_magic.command import LOCAL, FileInput, Target, decode_script
from xec_magic.compose.batch import check_results, plan_batch, results_of, with_results
from xec_magic.compose.chunks import Batches, FileThere, cut
from xec_magic.compose.chunks import chunks as chunks_here
from xec_magic.compose.cleanup import Cleanup, Deferred, innermost
from xec_magic.compose.files import Files, path_word
from xec_magic.compose.lazy import Lazy
from xec_magic.compose.tasks import Tasks
from xec_magic.compose.workers import Workers, start_text, with_start_text
from xec_magic.engine import executor as engine
from xec_magic.engine.ask import ask_yes
from xec_magic.engine.asks import Ask, Asks, holds, name_of
from xec_magic.engine.run import Run
from xec_magic.errors import OptionError, RunInterrupted
from xec_magic.inventory import Inventory
from xec_magic.options import RunOptions, Settings
from xec_magic.plan import Batch, Plan
from xec_magic.private import KernelDirectory, temp_root
from xec_magic.quoting import expand_tstring
from xec_magic.result import Result
from xec_magic.results import Results
from xec_magic.splitting import Decoding
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
    "batch",
    "cached",
    "chunks",
    "cleanup",
    "defer",
    "files",
    "lazy",
    "map",
    "run",
    "start",
    "tasks",
    "temp_dir",
    "temp_file",
    "using",
    "workers",
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
On = str | Target | Iterable[str | Target]
_OF_A_FILE: Final = ("on", "target", "cwd", "timeout", "grace")  # defaults that say something of reading one


class RunKeywords(TypedDict, total=False):
    """What `run`, `start` and `using` take; `docs/options.md` describes each."""

    target: Target
    on: str | Target | Iterable[str | Target]
    fanout: int
    canary: int
    wave: int | str | None
    max_fail: int | str | None
    confirm: bool
    yes: bool
    cwd: str | os.PathLike[str] | None
    env: Mapping[str, str]
    shell: str | Iterable[str]
    login: bool
    worker: bool
    session: str
    reset: bool
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
    monitor: bool
    rate: float | str
    mark: str | Iterable[str]
    read_only: bool
    keep: bool | None
    rc: str | os.PathLike[str] | None
    cache: float | str | CachePolicy | None
    cache_key: str | Callable[[Command], CacheKey]
    cache_if: str | Callable[[Result], object]
    cache_env: str | Iterable[str]
    cache_failures: float | str
    depends: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
    stale: float | str
    refresh: bool
    persist: bool


class TaskKeywords(RunKeywords, total=False):
    """What `Tasks.add` takes besides: files that the task reads, and files that it makes."""

    depends: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
    creates: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


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
        name = name_of(script, options)  # to plan again would be most of what a short call takes
        ask = self._asks.recall(name) if name is not None else None
        if ask is not None and ask.captured is None:
            return self._run(self._executor(), ask.plan, ask.check, ask.keep)
        if ask is not None and ask.captured is not None:
            kept = self._executor().hit(ask.captured, ask.plan)
            if kept is not None:
                runtime.current().last = kept
                return kept.check() if ask.check and not kept.ok else kept
        plan, check, keep = self._plan(script, options)
        executor = self._executor()
        if name is not None and plan.cache is not None and plan.tee is None:
            ask = Ask(plan, check, executor.cache.captured(plan), self._asks.surroundings())
            self._asks.remember(name, ask)
        elif name is not None and holds(plan):
            self._asks.remember(name, Ask(plan, check, None, self._asks.surroundings(), keep))
        return self._run(executor, plan, check, keep)

    @staticmethod
    def _run(executor: engine.Executor, plan: Plan, check: bool, keep: bool | None) -> Result:
        now = runtime.current()
        try:
            result = executor.run_here(plan, keep) if plan.command.session else None
        except RunInterrupted as error:
            now.last = error.result
            raise
        if result is None:
            result = now.wait(executor.plan_run(plan, check=False, keep=keep))
        else:
            now.last = result
        return result.check() if check and not result.ok else result

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

    def batch(
        self,
        commands: Iterable[Script],
        *,
        keep_going: bool = False,
        isolated: bool = False,
        **options: Unpack[RunKeywords],
    ) -> Results:
        """Run many commands in one shell, one after the other, and wait; gives a result for each.

        They share directory, variables and functions, as if joined by `&&`: the first one that fails is the last one
        that runs. `exit` and `exec` end the batch too. Options are those of the whole.

        Args:
            commands: Scripts, each of any number of lines.
            keep_going: Go on after one that failed. Failures are then in the results, and raised with `check=True` only.
            isolated: Fork the shell for each, so that nothing of one reaches the next.
            **options: As for `run`.

        Raises:
            SomeFailed: a command failed; `.results` has all results. Not with `check=False`.
            SpawnError: the shell could not be started.
            OptionError: an option is wrong; nothing has run.
            RunInterrupted: the kernel's interrupt stopped it; `.results` has all results.

        Example:
            >>> import xec_magic as xec
            >>> results = xec.batch(["cd /", "pwd", "cd /nowhere", "pwd"], keep_going=True)
            >>> [str(result) for result in results], results.failed[0].exit_code
            (['', '/', '', '/'], 1)
        """
        if isinstance(commands, (str, bytes)) or hasattr(commands, "interpolations"):
            raise OptionError("batch takes a list of commands; write [text] for one, or text.splitlines()")
        merged = _over(self._defaults, options)
        read = self._options(merged)
        texts = tuple(decode_script(_text_of(command, read.shell)) for command in commands)
        batch = Batch(texts, keep_going=_switch("keep_going", keep_going), isolated=_switch("isolated", isolated))
        return self._run_batch(read, batch, merged)

    def map(
        self,
        script: Script,
        targets: str | Target | Iterable[str | Target] | None = None,
        **options: Unpack[RunKeywords],
    ) -> Results:
        """Run a script on many targets at once and wait; gives a result for each, in their order.

        A failure on one does not stop the others; `max_fail` says how many are too many. What was begun is carried to its end.

        Args:
            script: As for `run`.
            targets: What `--on` takes: names, sets such as `web[01-20]`, `@groups`, a list of them, in which a name may stand twice.
                The same as `on`.
            **options: As for `run`, and `fanout`, `canary`, `wave`, `max_fail`, `confirm`, `yes`.

        Raises:
            SomeFailed: it failed somewhere; `.results` has all results. Not with `check=False`.
            OptionError: an option or a target is wrong; nothing has run.
            RunInterrupted: the kernel's interrupt stopped all; `.results` has all results.

        Example:
            >>> import xec_magic as xec
            >>> with xec.demo.fleet(3):
            ...     results = xec.map("app version", "@web")
            >>> results, results[2].target, str(results[2])
            (<Results 3 ok>, 'web03', '2.4.0')
        """
        if targets is not None:
            if "on" in options:
                raise OptionError("targets and on both say where to run; keep one")
            options["on"] = targets
        merged = _over(self._defaults, options)
        read = self._options(merged)
        return self._run_fleet(read, script, merged)

    def _run_fleet(self, read: RunOptions, script: Script, merged: RunKeywords) -> Results:
        from xec_magic.compose.fleet import FleetRun, plan_fleet

        found = self._targets(read, merged)
        if _keep(merged.get("keep")) is False:
            read = replace(read, keep=False)
        plan = plan_fleet(read, _text_of(script, read.shell, found[0]), found)
        plan = replace(plan, plans=tuple(_with_rc(each, merged) for each in plan.plans))
        run = FleetRun(self._executor(), plan, None if read.yes else ask_yes).begin()
        results = run.wait()
        error = run.interrupted(results)
        if error is not None:
            raise error
        return results.check() if read.check else results

    def _targets(self, read: RunOptions, keywords: RunKeywords) -> list[Target]:
        target = keywords.get("target")
        if read.on:
            if target is not None:
                raise OptionError("on and target both say where to run; keep one")
            settings = self._settings()
            return (settings.inventory() if settings is not None else Inventory()).targets(read.on)
        if target is None:
            raise OptionError('map needs targets: xec.map(script, ["web1", "web2"]), or on=')
        return [target]

    def files(self, **options: Unpack[RunKeywords]) -> Files:
        """Operations on files, collected and then done in one round trip: `files().copy(a, b).delete(c).run()`.

        Args:
            **options: As for `run`: where, `cwd`, time limit.

        Raises:
            OptionError: an option is wrong.
        """
        merged = _over(self._defaults, options)
        read = self._options(merged)

        def run(batch: Batch, check: bool | None) -> Results:
            asked = read if check is None else replace(read, check=check, sources={**read.sources, "check": "the call"})
            # Nothing in it needs more than sh, which takes large texts better than bash.
            return self._run_batch(replace(asked, strict=False, shell=asked.shell or ("sh",)), batch, merged)

        return Files(run)

    @overload
    def chunks(
        self,
        source: str | os.PathLike[str] | Run,
        *,
        lines: int | None = ...,
        errors: Decoding = ...,
        on: On | None = ...,
    ) -> Batches[list[str]]: ...
    @overload
    def chunks(
        self, source: str | os.PathLike[str] | Run, *, size: float | str, on: On | None = ...
    ) -> Batches[bytes]: ...
    def chunks(
        self,
        source: str | os.PathLike[str] | Run,
        *,
        lines: int | None = None,
        size: float | str | None = None,
        errors: Decoding = "strict",
        on: On | None = None,
    ) -> Batches[Any]:
        """A large file in one pass: an iterator over lists of lines, or with `size` over blocks of bytes.

        Nothing is read before the loop begins, and no more than a batch and 1 MiB is held. A run in the place of the file gives its
        output: `xec.chunks(xec.start("zcat big.gz"))`. A file on a host is read by a command there; each loop begins anew.

        Args:
            source: A file, or a run.
            lines: Lines a batch, without their newlines; 1,000 by default. The last has fewer, and one that holds 64 MiB already.
            size: Bytes a block instead, as 65536 or `"1MiB"`; the last is smaller.
            errors: What becomes of bytes that are no UTF-8: `strict` raises `ParseError` with the line's number, `replace` puts a
                mark there, `surrogateescape` keeps them.
            on: The host that the file is on; by default this machine, or what `using` says.

        Raises:
            OptionError: there is no such file, it is a directory or may not be read; a wrong number, an unknown host.
            ParseError: in the loop: bytes that are no UTF-8, or a line of more than 64 MiB.
            XecError: in the loop: the file cannot be read.
            TransportError: in the loop: the host cannot be reached, or the connection was lost.

        Example:
            >>> import xec_magic as xec
            >>> path = xec.temp_file(content="".join(f"{n}\\n" for n in range(2500)))
            >>> [len(batch) for batch in xec.chunks(path)]
            [1000, 1000, 500]
            >>> sum(len(block) for block in xec.chunks(path, size="4KiB"))
            11390
        """
        if isinstance(source, Run):
            if on is not None:
                raise OptionError("on: the run says itself where it runs; leave one of the two out")
            return cut(source, source.plan.title, lines, size, errors)
        options = cast("RunKeywords", {name: value for name, value in self._defaults.items() if name in _OF_A_FILE})
        if on is not None:
            options["on"] = on
        target = self._target(self._options(options), options)
        if target.kind == "local":
            return chunks_here(source, lines=lines, size=size, errors=errors)  # type: ignore[call-overload, no-any-return]
        options |= {"keep": False, "shell": "sh", "max_output": None, "label": f"read {os.fspath(source)}"}
        start = Commands(self._executor, self._settings).start
        file = FileThere(lambda script: start(script, **options), path_word(source), f"{target}:{os.fspath(source)}")
        return cut(file, file.name, lines, size, errors)

    def _run_batch(self, read: RunOptions, batch: Batch, merged: RunKeywords) -> Results:
        plan = _with_rc(plan_batch(read, batch, target=self._target(read, merged)), merged)
        run = self._executor().start(plan, check=False, keep=_keep(merged.get("keep")))
        try:
            results = results_of(runtime.current().wait(run))
        except RunInterrupted as error:
            raise with_results(error) from None
        # Who asked to go on has asked for the failures as well, unless the call says otherwise.
        check = read.check and (not batch.keep_going or "check" in read.sources)
        return check_results(results) if check else results

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

    def workers(self, size: int = 4, **options: Unpack[RunKeywords]) -> Workers:
        """Shells that are kept ready for a block of code, each command in one of its own; see `docs/workers.md`.

        Args:
            size: So many are kept ready, from 1 to 64.
            **options: As for `run`. Of them `rc` is a start-up text, or the `pathlib.Path` of its file: bash runs it once, and what
                it has set is there in every command.

        Raises:
            OptionError: an option is wrong.
            XecError: at the begin of the block: the start-up text ended its shell.

        Example:
            >>> import xec_magic as xec
            >>> with xec.workers(size=2, rc="greet() { echo hello $1; }") as w:
            ...     [str(w.run(f"greet {name}")) for name in ("ann", "bob")]
            ['hello ann', 'hello bob']
        """
        defaults: RunKeywords = {"worker": True, **options}
        commands = self.using(**defaults)
        return Workers(
            commands.run, commands.start, lambda: (self._executor(), commands._plan("", {})[0].command), size
        )

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

    def tasks(self, **options: Unpack[RunKeywords]) -> Tasks:
        """Tasks that need each other, none yet: `add` them, then `run` them. The keywords hold for all of them.

        Raises:
            OptionError: an option is wrong, or makes no sense for a task.

        Example:
            >>> import xec_magic as xec
            >>> tasks = xec.tasks(timeout="1m").add("load", "echo 1 2 3").add("report", "echo done", needs=["load"])
            >>> tasks.run().states
            {'load': 'ok', 'report': 'ok'}
        """
        return Tasks(self._executor, self._settings, _over(self._defaults, options), _text_of)

    def _options(self, keywords: RunKeywords) -> RunOptions:
        known = {name: value for name, value in keywords.items() if name not in ("target", "keep", "rc")}
        return RunOptions.from_keywords(known, settings=self._settings())

    def _plan(self, script: Script, options: RunKeywords) -> tuple[Plan, bool, bool | None]:
        merged = _over(self._defaults, options)
        read = self._options(merged)
        target = self._target(read, merged)
        plan = _with_rc(read.plan(_text_of(script, read.shell, target), target=target), merged)
        return plan, read.check, _keep(merged.get("keep"))

    def _target(self, read: RunOptions, keywords: RunKeywords) -> Target:
        """Where to run: by `on`, by `target`, or here."""
        target = keywords.get("target")
        if not read.on:
            return target or LOCAL
        if target is not None:
            raise OptionError("on and target both say where to run; keep one")
        settings = self._settings()
        return (settings.inventory() if settings is not None else Inventory()).one(read.on)

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
    if options.get("session") and "worker" not in options:
        merged.pop("worker", None)  # a session for once, where the default is a worker
    return merged


def _with_rc(plan: Plan, keywords: RunKeywords) -> Plan:
    rc = start_text(keywords.get("rc"), here=plan.command.target.kind != "ssh")
    return replace(plan, command=with_start_text(plan.command, rc)) if rc else plan


def _switch(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise OptionError(f"{name}: {value!r} is neither True nor False")


def _keep(value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise OptionError(f"keep: {value!r} is none of True, False and None")


def _text_of(script: Script, shell: tuple[str, ...], target: Target = LOCAL) -> str | bytes:
    if isinstance(script, (str, bytes)):
        return script
    if hasattr(script, "strings") and hasattr(script, "interpolations"):
        # What shell a host has is not known before it is asked; what is quoted for bash is read alike by sh.
        return expand_tstring(cast("Any", script), family_of(shell if target.kind == "local" else shell or ("bash",)))
    raise OptionError(f"a script is text, bytes or a template string, not {type(script).__name__}")


# The functions of the package itself: they use the executor of the kernel.
_kernel = Commands(lambda: runtime.current().executor, lambda: runtime.current().settings)
run = _kernel.run
map = _kernel.map  # noqa: A001 - its name in the package, where no builtin is meant
batch = _kernel.batch
files = _kernel.files
start = _kernel.start
using = _kernel.using
tasks = _kernel.tasks
workers = _kernel.workers
cached = _kernel.cached
chunks = _kernel.chunks
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


@overload
def temp_file(*, suffix: str = ..., content: str | bytes = ..., on: None = ...) -> Path: ...
@overload
def temp_file(*, suffix: str = ..., content: str | bytes = ..., on: On) -> PurePosixPath: ...
def temp_file(*, suffix: str = "", content: str | bytes = b"", on: On | None = None) -> Path | PurePosixPath:
    """A new private file, removed at the end of the innermost `with xec.cleanup()` block, or else at the kernel's end.

    See `Cleanup.temp_file`.

    Example:
        >>> import xec_magic as xec
        >>> path = xec.temp_file(suffix=".csv", content="a,b")
        >>> path.read_text()
        'a,b'
    """
    stack = innermost() or _registry()
    return (
        stack.temp_file(suffix=suffix, content=content)
        if on is None
        else stack.temp_file(suffix=suffix, content=content, on=on)
    )


@overload
def temp_dir(*, suffix: str = ..., on: None = ...) -> Path: ...
@overload
def temp_dir(*, suffix: str = ..., on: On) -> PurePosixPath: ...
def temp_dir(*, suffix: str = "", on: On | None = None) -> Path | PurePosixPath:
    """A new private directory, removed at the end of the innermost `with xec.cleanup()` block, or else at the kernel's end.

    See `Cleanup.temp_dir`.
    """
    stack = innermost() or _registry()
    return stack.temp_dir(suffix=suffix) if on is None else stack.temp_dir(suffix=suffix, on=on)
