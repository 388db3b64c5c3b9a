"""`%xec_cache`: what is kept of earlier runs; forget it, renew it, run something ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.display import display

from xec_magic.errors import OptionError
from xec_magic.magics.lines import asks_for_help, one_line_errors
from xec_magic.optionspec import nearest

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

    from xec_magic.engine.cache import ResultCache
    from xec_magic.engine.executor import Executor
    from xec_magic.magics.xec import CommandMagics

__all__ = ["VERBS", "CacheMagics"]

VERBS: Final = ("list", "stats", "forget", "clear", "warm", "renew")


@magics_class
class CacheMagics(Magics):
    """The magic that manages the cache of results.

    Args:
        shell: Where it is registered.
        commands: The magics that run commands.
    """

    def __init__(self, shell: InteractiveShell, commands: CommandMagics) -> None:
        super().__init__(shell)
        self._commands = commands

    @no_var_expand
    @line_magic
    def xec_cache(self, line: str) -> Any:
        """Show what is kept of earlier runs, or do something with it.

        ::

            %xec_cache                      list what is kept, newest last
            %xec_cache list PATTERN         the same for commands that match: * is any text, ? any character
            %xec_cache stats                hits, misses, time saved, sizes
            %xec_cache forget PATTERN       forget the results of commands that match, on disk for all kernels
            %xec_cache clear                forget everything
            %xec_cache warm [options] CMD   run a command ahead, in the background; options as for %xec, with --cache
            %xec_cache renew PATTERN|all    run commands of this kernel again, in the background, and keep the new results

        A pattern is compared with the whole text of a command, or with its first line: forget 'git *'.
        """
        verb, _, rest = line.strip().partition(" ")
        actions: dict[str, Callable[[str], Any]] = {
            "list": self._list, "stats": self._stats, "forget": self._forget, "clear": self._clear, "warm": self._warm,
            "renew": self._renew,
        }  # fmt: skip
        with one_line_errors():
            if asks_for_help(verb, CacheMagics.xec_cache):
                return None
            if verb and verb not in actions:
                hint = nearest(verb, actions) or f"there are {', '.join(actions)}"
                raise OptionError(f"%xec_cache cannot {verb!r}; {hint}")
            return actions[verb or "list"](rest.strip())

    def _list(self, pattern: str) -> None:
        from xec_magic.display.cachetable import entries_bundle
        from xec_magic.engine.cachelist import matcher

        executor = _executor()
        pattern = _unquoted(pattern)
        matches = matcher(pattern) if pattern else None
        entries = [entry for entry in executor.cache.entries() if matches is None or matches(entry)]
        self._show(entries_bundle(entries, pattern=pattern, volatile=self._volatile(), mask=executor.redactor.mask))

    def _stats(self, rest: str) -> None:
        from xec_magic.display.cachetable import stats_bundle

        _nothing_more("stats", rest)
        cache = _cache()
        where = str(cache.disk.directory or "")
        self._show(stats_bundle(cache.stats, cache.in_memory(), cache.disk.totals(), where, volatile=self._volatile()))

    def _forget(self, pattern: str) -> None:
        from xec_magic.engine.cachelist import matcher

        if not pattern:
            raise OptionError("write a pattern, such as %xec_cache forget 'git *'; %xec_cache clear forgets everything")
        pattern = _unquoted(pattern)
        count = _patiently(lambda: _cache().forget(matcher(pattern)))
        self._say(f"forgot {_results(count)}" if count else f"nothing that is kept matches {pattern!r}")

    def _clear(self, rest: str) -> None:
        _nothing_more("clear", rest)
        self._say(f"forgot {_results(_patiently(_cache().clear))}")

    def _warm(self, rest: str) -> None:
        from xec_magic.options import RunOptions

        options, command = RunOptions.from_line(rest)
        if not command.strip():
            raise OptionError("there is no command to run ahead; write %xec_cache warm --cache 1h CMD")
        if options.cache is None:
            raise OptionError("without --cache nothing is kept; write %xec_cache warm --cache 1h CMD")
        self._commands.run_line(f"--bg {rest}")

    def _renew(self, pattern: str) -> None:
        from xec_magic.engine.cachelist import matcher

        if not pattern:
            raise OptionError("write a pattern, such as %xec_cache renew 'git *', or all")
        pattern = _unquoted(pattern)
        matches = matcher("*" if pattern == "all" else pattern)
        executor = _executor()
        found = [shown.entry for shown in executor.cache.entries() if shown.entry is not None and matches(shown)]
        runs = [executor.refresh(entry.result.plan) for entry in found]
        ids = ", ".join(run.run_id for run in runs[:10]) + (", …" if len(runs) > 10 else "")
        if runs:
            self._say(
                f"{_results(len(runs))} renewed behind, run {ids}; %xec_runs wait {ids}"
                if self._volatile()
                else f"{_results(len(runs))} renewed behind"
            )
        else:
            self._say(f"this kernel holds nothing that matches {pattern!r}")

    # -- showing ----------------------------------------------------------------------------------

    def _volatile(self) -> bool:
        """Whether what changes from run to run may be shown."""
        from xec_magic.display.mode import Mode, mode_of

        return mode_of(self.shell) is not Mode.STATIC

    def _show(self, bundle: dict[str, str]) -> None:
        for complaint in _cache().complaints():
            self._say(complaint)
        display(bundle, raw=True)  # type: ignore[no-untyped-call]

    def _say(self, text: str) -> None:
        print(f"[xec] {text}")  # noqa: T201 - the answer to a magic


def _executor() -> Executor:
    from xec_magic import runtime

    return runtime.current().executor


def _cache() -> ResultCache:
    return _executor().cache


def _patiently(work: Callable[[], int]) -> int:
    try:
        return work()
    except TimeoutError:
        raise OptionError("the disk does not answer; what is on it is forgotten as soon as it does") from None
    except OSError as error:
        raise OptionError(str(error)) from None


def _nothing_more(verb: str, rest: str) -> None:
    if rest:
        raise OptionError(f"%xec_cache {verb} takes nothing more, but {rest!r} stands there")


def _unquoted(text: str) -> str:
    """A pattern without the quotes around it, which it does not need."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _results(count: int) -> str:
    return "1 result" if count == 1 else f"{count:,} results"
