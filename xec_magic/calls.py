"""`Calls`: one call of Python, its keywords laid over defaults, made into a plan and run: `run`, `cached`, `start`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack, cast

from xec_magic import runtime
from xec_magic.command import LOCAL, Target
from xec_magic.compose.workers import start_text, with_start_text
from xec_magic.engine import executor as engine
from xec_magic.engine.asks import Ask, Asks, holds, name_of
from xec_magic.engine.run import Run
from xec_magic.errors import OptionError, RunInterrupted
from xec_magic.inventory import Inventory
from xec_magic.keywords import RunKeywords, Script, over, read_keep
from xec_magic.options import RunOptions, Settings
from xec_magic.plan import Plan
from xec_magic.result import Result
from xec_magic.transport.shells import family_of

if TYPE_CHECKING:
    from xec_magic.cachepolicy import CachePolicy

__all__ = ["Calls", "text_of", "with_rc"]


class Calls:
    """Calls that run a script, with an executor and defaults of their own.

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
        if ask is not None:
            if ask.captured is None:
                return self._run(self._executor(), ask.plan, ask.check, ask.keep)
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
            result = executor.run_here(plan, keep)
        except RunInterrupted as error:
            now.last = error.result
            raise
        if result is None:
            result = now.wait(executor.plan_run(plan, check=False, keep=keep))
        else:
            now.last = result
        return result.check() if check and not result.ok else result

    def cached(
        self, key: str, script: Script, ttl: float | str | CachePolicy = 60.0, **options: Unpack[RunKeywords]
    ) -> Result:
        """The result of a script that is kept under a name of its own; runs it when there is none, or it is too old.

        The same as `run(script, cache=ttl, cache_key=key)`.

        Args:
            key: The name; what the script and its surroundings are does not count beside it.
            script: As for `run`.
            ttl: Seconds, or a text such as `"5m"`; `"inf"` for as long as there is room. A `CachePolicy` as well.
            **options: As for `run`, without `cache` and `cache_key`: these are `ttl` and `key`.

        Raises:
            CommandError: as for `run`; a failure is not kept.
            OptionError: no key or no time, or one of them twice; nothing has run.

        Example:
            >>> import xec_magic as xec
            >>> first = xec.cached("stamp", "date +%s%N")
            >>> xec.cached("stamp", "date +%s%N").stdout == first.stdout
            True
        """
        for argument, value, option in (("key", key, "cache_key"), ("ttl", ttl, "cache")):
            if value is None:  # as an option it says "not given", and nothing would be kept, or under no name
                raise OptionError(f"cached: {argument} is None; without one, use run")
            if option in options:
                raise OptionError(f"cached: {argument} and {option} both say the same; keep {argument}")
        options["cache"], options["cache_key"] = ttl, key
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

    def _planned(self, script: Script, options: Mapping[str, Any]) -> Run:
        plan, check, keep = self._plan(script, cast("RunKeywords", options))
        return self._executor().plan_run(plan, check=check, keep=keep)

    def _plan(self, script: Script, options: RunKeywords) -> tuple[Plan, bool, bool | None]:
        merged = over(self._defaults, options)
        read = self._options(merged)
        target = self._target(read, merged)
        plan = with_rc(read.plan(text_of(script, read.shell, target), target=target), merged)
        return plan, read.check, read_keep(merged.get("keep"))

    def _options(self, keywords: RunKeywords) -> RunOptions:
        known = {name: value for name, value in keywords.items() if name not in ("target", "keep", "rc")}
        return RunOptions.from_keywords(known, settings=self._settings())

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
        return f"<{type(self).__name__} with {', '.join(shown) or 'no defaults'}>"


def with_rc(plan: Plan, keywords: RunKeywords) -> Plan:
    """A plan with the start-up text that the keywords name."""
    rc = start_text(keywords.get("rc"), here=plan.command.target.kind != "ssh")
    return replace(plan, command=with_start_text(plan.command, rc)) if rc else plan


def text_of(script: Script, shell: tuple[str, ...], target: Target = LOCAL) -> str | bytes:
    """A script with the values of a template string quoted for the shell that reads it.

    Raises:
        OptionError: it is no script, or has a value that cannot be quoted.
    """
    if isinstance(script, (str, bytes)):
        return script
    if hasattr(script, "strings") and hasattr(script, "interpolations"):
        from xec_magic.quoting import expand_tstring

        # What shell a host has is not known before it is asked; what is quoted for bash is read alike by sh.
        return expand_tstring(cast("Any", script), family_of(shell if target.kind == "local" else shell or ("bash",)))
    raise OptionError(f"a script is text, bytes or a template string, not {type(script).__name__}")
