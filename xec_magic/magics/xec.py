"""`%xec` and `%%xec`: run a command, show it, keep it."""

from __future__ import annotations

import time
import warnings
from collections import ChainMap
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from IPython.core.magic import Magics, line_cell_magic, magics_class, needs_local_scope, no_var_expand
from IPython.display import display
from traitlets import Any as AnyTrait
from traitlets import TraitError, observe, validate
from traitlets.config import Configurable

from xec_magic.errors import OptionError, ParseError, RunInterrupted, XecError
from xec_magic.magics.lines import asks_for_help, one_line_errors
from xec_magic.options import RunOptions, Variable

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from xec_magic.command import Target
    from xec_magic.display.mode import Mode
    from xec_magic.display.view import View
    from xec_magic.engine.run import Run
    from xec_magic.result import Result
    from xec_magic.results import Results
    from xec_magic.runtime import Runtime

__all__ = ["OPEN_AFTER_S", "TICK_S", "CommandMagics", "XecMagics", "check_out"]

OPEN_AFTER_S: Final = 0.2  # a shorter run shows one static display and no widget
TICK_S: Final = 0.05
_TAKEN: Final = {"get_ipython", "In", "Out", "exit", "quit", "open"}
HISTORY_VIEWS: Final = 200

_TRAITS: Final = {trait.name: trait for trait in RunOptions.SPEC.traits()}

_FORMS: Final[dict[str, Callable[[Any], Any]]] = {
    "text": lambda result: result.text(),
    "lines": lambda result: result.lines(),
    "json": lambda result: result.json(),
    "jsonl": lambda result: result.jsonl(),
    "csv": lambda result: result.csv(),
    "table": lambda result: result.df("table"),
    "df": lambda result: result.df(),
    "bytes": lambda result: result.stdout_bytes,
}

# `%config` shows and sets class traits, so each standing default becomes one.
_Configured: Any = type(
    "_Configured",
    (Configurable,),
    {name: AnyTrait(trait.default, help=trait.help).tag(config=True) for name, trait in _TRAITS.items()},
)


class XecMagics(_Configured):  # type: ignore[misc]  # its base is made of the declared options
    """The standing defaults of the options: `%config XecMagics` lists and sets them, and so does `ipython_config.py`."""

    _known: dict[str, Any] | None = None

    @validate(*_TRAITS)
    def _check(self, proposal: Any) -> Any:
        try:
            return RunOptions.SPEC.read_config({proposal.trait.name: proposal.value}, "%config")[proposal.trait.name]
        except OptionError as error:
            raise TraitError(str(error)) from error

    @observe(*_TRAITS)
    def _forget(self, _: Any) -> None:
        self._known = None

    def changed(self) -> dict[str, Any]:
        """What has been set to something else than the built-in default."""
        if self._known is None:  # to look at all of them is a third of what reading a line takes
            values = {name: getattr(self, name) for name in _TRAITS}
            self._known = {name: value for name, value in values.items() if value != _TRAITS[name].default}
        return self._known


@magics_class
class CommandMagics(Magics):
    """The magics that run commands.

    Attributes:
        defaults: The standing defaults.
        views: The views of runs, by run id; the oldest go.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        try:
            self.defaults = XecMagics(parent=shell)
        except TraitError as error:  # a wrong value in ipython_config.py must not cost the magics
            warnings.warn(f"{error}; it does not count, and neither does the rest of XecMagics", stacklevel=2)
            self.defaults = XecMagics()
        self.views: dict[str, View] = {}

    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def xec(self, line: str, cell: str | None = None, local_ns: Mapping[str, Any] | None = None) -> Any:
        """Run a command."""  # replaced below by the text that the options give
        with one_line_errors():
            if asks_for_help(line, CommandMagics.xec):
                return None
            own = self._namespace()
            # A cell is given the notebook's own names; to copy them takes as long as there are many.
            namespace = ChainMap({}, own) if local_ns is own else ChainMap({}, dict(local_ns or {}), own)
            return self._run(line, cell, namespace)

    def run_line(self, line: str) -> Any:
        """What `%xec` does with a line, for other magics; wrong ones raise `OptionError`."""
        return self._run(line, None, self._namespace())

    def _run(self, line: str, cell: str | None, namespace: Mapping[str, Any]) -> Any:
        # Here and not above: what loads the extension need not wait for what runs commands.
        from xec_magic import runtime
        from xec_magic.display.mode import mode_of
        from xec_magic.display.view import View
        from xec_magic.magics.batch import check_batch_options, plan_of_cell
        from xec_magic.magics.fleet import run_fleet, targets_of
        from xec_magic.options.condition import holds
        from xec_magic.quoting import expand, expand_value, namespace_evaluator
        from xec_magic.transport.shells import family_of

        evaluate = namespace_evaluator(namespace)
        now = runtime.current()
        options, rest = now.lines.read(
            line,
            cell=cell is not None,
            config=self.defaults.changed(),
            expand=lambda text, joins="": expand_value(text, evaluate, joins),
        )
        # The last newline is IPython's: with it the cell would not be the command that the line form, or Python, has kept.
        # But behind a backslash a shell takes it away, and the backslash with it.
        text = rest if cell is None else cell if cell.endswith("\\\n") else cell.removesuffix("\n")
        if not text.strip():
            raise OptionError("there is no command; write %xec CMD, or %%xec with the command on the lines below")
        _check_together(options)
        check_batch_options(options, is_cell=cell is not None)
        redactor = now.executor.redactor
        mode = mode_of(self.shell)
        if options.condition is not None and not holds(options.condition, evaluate, namespace):
            return self._skip(now, text, options, mode, is_cell=cell is not None)
        for name, value in options.secret:  # before anything can go wrong and show them
            known = namespace.get(value.name) if isinstance(value, Variable) else value
            if isinstance(known, str) and known:
                redactor.register(name, known)
        several = targets_of(now, options)
        if several:
            shell = options.shell or ("bash",)
            return run_fleet(
                now, options, several, expand(text, evaluate, family=family_of(shell)), namespace, mode,
                lambda value: self._namespace().update({options.out: value} if options.out else {}),
                opens_after_s=OPEN_AFTER_S, tick_s=TICK_S, is_cell=cell is not None,
            )  # fmt: skip
        target = _one_target(now, options)
        if options.batch:
            plan = plan_of_cell(options, text, evaluate, namespace, target)
        else:
            shell = options.shell or (("bash",) if target.kind == "ssh" else ())
            plan = options.plan(expand(text, evaluate, family=family_of(shell)), namespace, target)
        run = now.executor.start(plan, check=options.check, background=options.bg)
        usual_s = now.profiler.usual_s(
            plan.command
        )  # only now: what the command need not wait for comes behind its start
        view = View(run, mode, mask=redactor.mask, quiet=options.quiet, show=options.show, usual_s=usual_s)
        self._remember(view)
        if options.bg:
            return self._in_background(run, view, options)
        return self._in_foreground(now, run, view, options, is_cell=cell is not None)

    def _skip(self, now: Runtime, text: str, options: RunOptions, mode: Mode, *, is_cell: bool) -> Any:
        """Say that the condition of `--if` does not hold; the variable of `--out` gets what says so, too."""
        from xec_magic.command import Command
        from xec_magic.display.view import View
        from xec_magic.plan import Plan

        # Of the command nothing is looked at: what a condition guards may well be what is missing.
        run = now.executor.skip(Plan(Command(text), label=options.label), f"{options.condition} is false")
        result = run.wait()
        view = View(run, mode, mask=now.executor.redactor.mask, quiet=options.quiet)
        self._remember(view)
        view.close(result)
        now.last = result
        if options.out:
            self._namespace()[options.out] = run if options.bg else result
        return None if is_cell or options.bg else result

    def _namespace(self) -> dict[str, Any]:
        assert self.shell is not None
        namespace: dict[str, Any] = self.shell.user_ns
        return namespace

    def _remember(self, view: View) -> None:
        self.views[view.handle.run_id] = view
        while len(self.views) > HISTORY_VIEWS:
            del self.views[next(iter(self.views))]

    def _in_background(self, run: Run, view: View, options: RunOptions) -> None:
        view.open()
        run.add_done_callback(view.close)
        if options.out:
            self._namespace()[options.out] = run

    def _in_foreground(self, now: Runtime, run: Run, view: View, options: RunOptions, *, is_cell: bool) -> Any:
        from xec_magic.events import Cause

        run.button_cause = Cause.INTERRUPT  # a Stop button while the cell waits stands for the kernel's interrupt
        # What is turned into a value is shown as that value: no live text, no record beside it unless it takes long.
        only_value = options.form is not None and options.out is None
        opens_at = time.monotonic() + OPEN_AFTER_S
        opened = False

        def tick() -> None:
            nonlocal opened
            if not opened and time.monotonic() >= opens_at:
                opened = True
                view.open()
            if not only_value:
                view.pump()

        error: BaseException | None
        try:
            result = now.wait(run, on_tick=tick, tick_s=TICK_S)
        except RunInterrupted as interrupt:
            result, error = interrupt.result, interrupt
        except KeyboardInterrupt as interrupt:  # it ended by itself in the same moment
            result, error = run.snapshot(), interrupt
        else:
            error = result.error()
        kept: Result | Results = result
        if options.batch:
            from xec_magic.magics.batch import verdict

            kept, failure = verdict(result)
            if isinstance(error, RunInterrupted):
                error.results = kept
            else:
                error = error if isinstance(error, KeyboardInterrupt) else failure
        if not options.check and isinstance(error, Exception):
            error = None
        if options.out:
            self._namespace()[options.out] = kept
        if error is not None:
            _close(view, result, error, quiet=options.quiet)
            raise error from None
        if options.form is None:
            _close(view, result, None, quiet=options.quiet)
            return None if is_cell else result
        return self._value(
            kept, result, view, options, is_cell=is_cell, record=not only_value or (opened and view.mode == "widget")
        )

    def _value(
        self, kept: Result | Results, result: Result, view: View, options: RunOptions, *, is_cell: bool, record: bool
    ) -> Any:
        try:
            value = _FORMS[options.form or "text"](kept)
        except XecError as error:
            _close(view, result, error, quiet=options.quiet)
            raise error from None
        if record:
            _close(view, result, None, quiet=options.quiet)
        if options.out:
            self._namespace()[options.out] = value
            return None
        if is_cell:
            display(value)  # type: ignore[no-untyped-call]
            return None
        return value


def _one_target(now: Runtime, options: RunOptions) -> Target:
    from xec_magic.command import LOCAL

    if not options.on:
        return LOCAL
    return now.settings.inventory().one(options.on)


def _close(view: View, result: Result, error: BaseException | None, *, quiet: bool) -> None:
    view.error_follows = error is not None
    view.close(result)
    if isinstance(error, (XecError, RunInterrupted)) and not isinstance(error, ParseError):
        error.shown = not quiet


def _check_together(options: RunOptions) -> None:
    if options.bg and options.form:
        raise OptionError(
            "--bg gives the run itself, so --as has nothing to turn yet; call r.result() and its .json(), .df(), …"
        )
    if options.quiet and options.show:
        raise OptionError("--quiet shows nothing and --show shows the command; write one of them")
    check_out(options.out)
    if options.form in ("df", "table") and find_spec("pandas") is None:
        raise OptionError(f"--as {options.form} needs pandas, which is not installed; pip install 'xec-magic[frames]'")


def check_out(name: str | None) -> None:
    """Refuse the names that IPython keeps for itself."""
    if name is not None and (name in _TAKEN or name.startswith("_")):
        raise OptionError(f"--out {name}: IPython itself uses that name; write another one")


CommandMagics.xec.__doc__ = f"""Run a command, or a cell of them; show what it prints, keep it, raise if it fails.

::

    %xec [options] [--] COMMAND
    %%xec [options]
    COMMANDS

The line form returns the result, the cell form shows it; `--out r` keeps it in `r`. In the command, `${{{{ expr }}}}` is a
Python expression whose value is quoted for the place where it stands. Values of options: 90, 90s, 5m; 64k, 1.5GiB.

{RunOptions.SPEC.help_text()}
"""
