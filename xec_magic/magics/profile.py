"""`%xec_profile`: run commands repeatedly and compare them; report on the session."""

from __future__ import annotations

import time
from collections import ChainMap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from IPython.core.magic import Magics, line_cell_magic, magics_class, needs_local_scope, no_var_expand
from IPython.display import display

from xec_magic.errors import OptionError, ProfileFailed, RunInterrupted
from xec_magic.magics.lines import asks_for_help, one_line_errors
from xec_magic.options.profile import ProfileOptions, split_variants

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from xec_magic.magics.xec import CommandMagics
    from xec_magic.profiles.comparison import Profile

__all__ = ["ProfileMagics"]

PROGRESS_S: Final = 0.5


@magics_class
class ProfileMagics(Magics):
    """The magic that measures commands.

    Args:
        shell: Where it is registered.
        commands: The magics that run commands; they know the standing defaults.
    """

    def __init__(self, shell: InteractiveShell, commands: CommandMagics) -> None:
        super().__init__(shell)
        self._defaults = commands.defaults

    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def xec_profile(self, line: str, cell: str | None = None, local_ns: Mapping[str, Any] | None = None) -> Any:
        """Measure a command."""  # replaced below by the text that the options give
        if asks_for_help(line, ProfileMagics.xec_profile):
            return None
        assert self.shell is not None
        with one_line_errors():
            return self._run(line, cell, ChainMap({}, dict(local_ns or {}), self.shell.user_ns))

    def _run(self, line: str, cell: str | None, namespace: Mapping[str, Any]) -> Any:
        from xec_magic import runtime
        from xec_magic.profiles.measure import measure
        from xec_magic.profiling import course_of, targets_of
        from xec_magic.quoting import expand, expand_value, namespace_evaluator
        from xec_magic.transport.shells import family_of

        now = runtime.current()
        evaluate = namespace_evaluator(namespace)
        options, rest = ProfileOptions.from_line(
            line, cell=cell is not None, settings=now.settings, config=self._defaults.changed(),
            expand=lambda text, joins="": expand_value(text, evaluate, joins),
        )  # fmt: skip
        if options.report:
            if rest.strip() or cell is not None:
                raise OptionError("--report runs nothing; write the command on a line of its own")
            return now.profiler.report()

        def fill(text: str) -> str:
            return expand(text, evaluate, family=family_of(options.run.shell))

        texts = [("", rest)] if cell is None else split_variants(cell)
        if not texts or not texts[0][1].strip():
            raise OptionError("there is no command; write %xec_profile CMD, or %%xec_profile with commands below")
        targets = targets_of(options)
        variants = options.variants(texts, fill, namespace, targets)
        course = course_of(options, fill, targets, namespace)
        progress = _Progress(self.shell)
        try:
            profile = measure(now.executor, variants, course, wait=now.wait, step=progress.say)
        except (ProfileFailed, RunInterrupted) as error:
            self._keep(options, getattr(error, "profile", None))
            raise
        finally:
            progress.end()
        self._keep(options, profile)
        if options.run.out:
            if cell is None:
                return profile
            display(profile)  # type: ignore[no-untyped-call]
            return None
        return profile

    def _keep(self, options: ProfileOptions, profile: Profile | None) -> None:
        assert self.shell is not None
        if options.run.out and profile is not None:
            self.shell.user_ns[options.run.out] = profile


class _Progress:
    """One line that says which run comes next; gone when all are done. Nothing where output must not change."""

    def __init__(self, shell: InteractiveShell | None) -> None:
        from xec_magic.display.mode import Mode, mode_of

        self._shows = mode_of(shell) is Mode.WIDGET
        self._handle: Any = None
        self._next_at = time.monotonic() + PROGRESS_S

    def say(self, text: str) -> None:
        if not self._shows or time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + PROGRESS_S
        bundle = {"text/plain": f"[xec] {text}"}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(bundle, raw=True)

    def end(self) -> None:
        if self._handle is not None:
            self._handle.update({"text/plain": ""}, raw=True)


ProfileMagics.xec_profile.__doc__ = f"""Measure what commands cost, by running them repeatedly, in turns.

::

    %xec_profile [options] [--] COMMAND
    %%xec_profile [options]
    COMMANDS
    --- NAME
    OTHER COMMANDS

Variants in a cell are separated by lines `---`, which may name the one that follows. It gives a `Profile`: `.df()`,
`.to_markdown()`, `.to_json()`; `--out p` keeps it in `p`.

{ProfileOptions.SPEC.help_text()}
"""
