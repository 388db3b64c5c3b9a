"""`%%xec_tasks`: tasks that need each other, in one cell."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from IPython.core.magic import Magics, line_cell_magic, magics_class, needs_local_scope, no_var_expand

from xec_magic.errors import OptionError, TasksFailed, TasksInterrupted
from xec_magic.magics.lines import asks_for_help, one_line_errors
from xec_magic.magics.xec import OPEN_AFTER_S, TICK_S, check_out
from xec_magic.options import Variable
from xec_magic.options.tasks import TaskOptions, TasksOptions

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from xec_magic.compose.tasks_grammar import TaskText
    from xec_magic.compose.tasks_graph import Graph, Task
    from xec_magic.compose.tasks_result import TaskResults
    from xec_magic.engine.executor import Executor
    from xec_magic.magics.xec import CommandMagics
    from xec_magic.runtime import Runtime

__all__ = ["TasksMagics"]

_NO_CELL: Final = (
    "the tasks stand below: write %%xec_tasks, and `name: dependencies` and indented scripts on the next lines"
)


@magics_class
class TasksMagics(Magics):
    """The magic that runs tasks.

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
    def xec_tasks(self, line: str, cell: str | None = None, local_ns: Mapping[str, Any] | None = None) -> None:
        """Run tasks."""  # replaced below by the text that the options give
        from xec_magic import runtime

        with one_line_errors():
            if asks_for_help(line, TasksMagics.xec_tasks):
                return
            if cell is None:
                raise OptionError(_NO_CELL)
            assert self.shell is not None
            self._run(runtime.current(), line, cell, ChainMap({}, dict(local_ns or {}), self.shell.user_ns))

    def _run(self, now: Runtime, line: str, cell: str, namespace: Mapping[str, Any]) -> None:
        # Here and not above: what loads the extension need not wait for what runs tasks.
        from xec_magic.compose.tasks import default_jobs, preview_graph, run_graph
        from xec_magic.display.mode import mode_of
        from xec_magic.display.tasks_view import TasksView, show_results
        from xec_magic.quoting import expand_value, namespace_evaluator

        evaluate = namespace_evaluator(namespace)
        values, names = TasksOptions.read_cell(line, lambda text, joins="": expand_value(text, evaluate, joins))
        options = TasksOptions(**values)
        check_out(options.out)
        executor = now.executor
        tasks = self._graph(now, cell, namespace, values)
        TaskOptions.refuse_idle_for_all(values, (task.plan for task in tasks.tasks.values()), line=True)
        graph = tasks.part(names)
        jobs = default_jobs(options.jobs, executor)
        mode = mode_of(self.shell)
        mask = executor.redactor.mask
        if options.dry_run:
            results = preview_graph(graph, jobs=jobs, force=options.force, resume=options.resume)
            self._keep(options, results)
            show_results(results, mode, mask=mask)
            return
        run = run_graph(
            executor, graph, jobs=jobs, keep_going=options.keep_going, force=options.force, resume=options.resume
        )
        view = TasksView(run, mode, mask=mask, quiet=options.quiet)
        try:
            results = run.wait(on_tick=lambda: view.pump(opens_after_s=OPEN_AFTER_S), tick_s=TICK_S)
        except KeyboardInterrupt:  # they ended by themselves in the same moment
            self._keep(options, run.snapshot())
            view.close(run.snapshot())
            raise
        self._keep(options, results)
        view.close(results)
        error = results.error()
        if error is not None and (options.check or isinstance(error, TasksInterrupted)):
            # The record above shows how each of them ended.
            error.shown = not (options.quiet and isinstance(error, TasksFailed))
            raise error from None

    def _keep(self, options: TasksOptions, results: TaskResults) -> None:
        if options.out:
            assert self.shell is not None
            self.shell.user_ns[options.out] = results

    def _graph(self, now: Runtime, cell: str, namespace: Mapping[str, Any], defaults: Mapping[str, Any]) -> Graph:
        """The tasks of the cell, values filled in; an error has its place in the cell."""
        from xec_magic.compose.tasks_grammar import parse_tasks
        from xec_magic.compose.tasks_graph import Graph, GraphError
        from xec_magic.quoting import expand_value, namespace_evaluator

        evaluate = namespace_evaluator(namespace)
        texts = parse_tasks(
            cell, lambda line: TaskOptions.read_line(line, lambda text, joins="": expand_value(text, evaluate, joins))
        )
        tasks = [self._task(now, text, namespace, defaults) for text in texts]
        try:
            return Graph(tasks)
        except GraphError as error:
            known = {text.name: text for text in texts}
            raise known[error.task].error(str(error), error.need) from None

    def _task(self, now: Runtime, text: TaskText, namespace: Mapping[str, Any], defaults: Mapping[str, Any]) -> Task:
        from xec_magic.command import LOCAL
        from xec_magic.compose.tasks import task_of
        from xec_magic.quoting import expand, namespace_evaluator
        from xec_magic.transport.shells import family_of

        options = TaskOptions.of_task(
            text.options, defaults=defaults, settings=now.settings, config=self._defaults.changed()
        )
        _register_secrets(now.executor, options, namespace)
        try:
            target = now.settings.inventory().one(options.on) if options.on else LOCAL
            shell = options.shell or (("bash",) if target.kind == "ssh" else ())
            script = expand(text.script, namespace_evaluator(namespace), family=family_of(shell))
            return task_of(text.name, script, options, tuple(text.needs), namespace, target)
        except OptionError as error:
            raise text.relocated(error) from None


def _register_secrets(executor: Executor, options: TaskOptions, namespace: Mapping[str, Any]) -> None:
    """Before anything can go wrong and show them."""
    for name, value in options.secret:
        known = namespace.get(value.name) if isinstance(value, Variable) else value
        if isinstance(known, str) and known:
            executor.redactor.register(name, known)


TasksMagics.xec_tasks.__doc__ = f"""Run tasks that need each other: in order, side by side where they may.

::

    %%xec_tasks [options] [TASK…]
    NAME: NEEDED… [options of that task]
        SCRIPT

Runs the named tasks and all that they need; all tasks when none is named. A task's script is indented, by blanks or by tabs; a task
without one is a group. A failing task blocks the tasks that need it, and the cell fails at the end. `--out r` keeps the results by
name. In scripts and options `${{{{ expr }}}}` is a Python expression, its value quoted for the place where it stands.

A task with `--depends` or `--creates` runs only when something has changed; others always run.

{TasksOptions.help_text()}

Options of a task; those that are not about files may stand on the first line as well, for all tasks:

{TaskOptions.help_text()}
"""
