"""`Lazy`: commands that are noted down first and run later: in order, several at once, or against each other."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, TypeVar, Unpack, cast, overload

from xec_magic.callables import called
from xec_magic.compose.course import Course, several
from xec_magic.compose.steps import Next, Rule, Stage, Step
from xec_magic.compose.work import Work
from xec_magic.engine.run import Run
from xec_magic.errors import AllFailed, OptionError
from xec_magic.optionspec import nearest
from xec_magic.result import Result

if TYPE_CHECKING:
    from xec_magic.keywords import RunKeywords, Script

__all__ = ["Lazy", "OnFailure", "When"]

T = TypeVar("T")
U = TypeVar("U")

OnFailure = Literal["stop", "continue"]
When = Callable[[Mapping[str, Result]], object]

_RACE = Rule(None, good=Next.STOP, bad=Next.STOP, plan_first=True, why="another one was first")
_WAYS = ("run", "run_parallel", "race", "any", "all")
_LIMITED = ("run_parallel", "any", "all")
_IN_ORDER = ("run", "run_parallel")


class Lazy(Generic[T]):
    """Commands to be run later; `xec.lazy()` makes one.

    Nothing runs before one of `run`, `run_parallel`, `race`, `any`, `all` is called, or `start`, which gives a handle to be
    awaited. It can be run several times.

    Functions of yours (`when`, `map`, `filter`) are called one at a time in the thread that waits, or, behind `start`, in one of
    its own; `xec.run` works in them. When one raises, all that runs is stopped and the call raises `CallbackError`.

    The kernel's interrupt stops everything, and a second one kills it; nothing runs any more when the call ends.
    """

    def __init__(
        self,
        plan: Callable[[Any, Mapping[str, Any]], Run],
        check_options: Callable[[Mapping[str, Any]], object],
        steps: list[Step] | None = None,
        stages: tuple[Stage, ...] = (),
    ) -> None:
        self._plan = plan
        self._check_options = check_options
        self._steps: list[Step] = steps or []
        self._stages = stages

    # -- noting down ----------------------------------------------------------------------------------

    def add(
        self,
        command: Script | Callable[[Mapping[str, Result]], Script],
        *,
        name: str | None = None,
        when: When | None = None,
        **options: Unpack[RunKeywords],
    ) -> Lazy[T]:
        """Note a command down; gives the same object, so that calls can be chained.

        Args:
            command: A script as for `xec.run`; or a function that makes it of the results so far, by their names.
            name: What it is called in messages and results so far; its number by default, as `step 2`.
            when: Gets the results so far, by their names, just before the command would start; it runs if what `when` gives
                is true, and otherwise its result says that it was skipped.
            **options: The keywords of `xec.run`. With `check=False` a failure of it is none.

        Raises:
            OptionError: a wrong option, a name that is taken, a condition that is no function of one argument.

        Example:
            >>> import xec_magic as xec
            >>> steps = xec.lazy()
            >>> _ = steps.add("echo 1", name="one").add("echo two", when=lambda done: done["one"].text() == "2")
            >>> [r.outcome.value for r in steps.run()]
            ['ok', 'skipped']
        """
        number = len(self._steps) + 1
        name = f"step {number}" if name is None else name
        if not isinstance(name, str) or not name.strip():
            raise OptionError(f"name: {name!r} is no name; give a text")
        if any(step.name == name for step in self._steps):
            raise OptionError(f"name: there is a step {name!r} already; results are told apart by their names")
        if when is not None:
            _check_function(when, "when")
        if callable(command):
            _check_function(command, "a function that makes a command")
        elif not isinstance(command, (str, bytes)) and not hasattr(command, "interpolations"):
            raise OptionError(
                f"a command is text, bytes, a template string, or a function that gives one, not {type(command).__name__}"
            )
        self._check_options(options)
        self._steps.append(Step(name, command, when, cast("dict[str, Any]", options)))
        return self

    def map(self, function: Callable[[T], U]) -> Lazy[U]:
        """The same commands, each result turned into what a function gives for it, as soon as the command has ended.

        Called for every command that ran; not for skipped ones, and not for a failure that is raised instead.

        Example:
            >>> import xec_magic as xec
            >>> xec.lazy().add("seq 3").add("seq 4").map(lambda r: len(r.lines())).run()
            [3, 4]
        """
        _check_function(function, "map")
        return Lazy(self._plan, self._check_options, list(self._steps), (*self._stages, Stage("map", function)))

    def filter(self, function: Callable[[T], object]) -> Lazy[T]:
        """The same commands, without the results for which a function gives something false.

        To `race` and `any` such a result is as if it had not ended well.
        """
        _check_function(function, "filter")
        return Lazy(self._plan, self._check_options, list(self._steps), (*self._stages, Stage("filter", function)))

    # -- running --------------------------------------------------------------------------------------

    def run(self, *, on_failure: OnFailure = "stop") -> list[T]:
        """Run the commands one after the other; their results, in the order in which they were added.

        Args:
            on_failure: `stop`: a failure is raised, and the commands behind it are not started. `continue`: all are run, and
                the failures are among the results.

        Raises:
            CommandError: a command failed; `.results` of the error has one result for each command.
            CallbackError: a function of yours raised.
        """
        return self._in_order(self._course(), 1, on_failure)

    def run_parallel(self, limit: int = 5, *, on_failure: OnFailure = "stop") -> list[T]:
        """Run several commands at once; their results, in the order in which they were added.

        After a failure, with `on_failure="stop"`, no further one is started; those that run go on to their end, and then the
        failure is raised. `all` stops them instead.

        Args:
            limit: How many run at once.
            on_failure: As for `run`.

        Raises:
            OptionError: a limit below 1.

        Example:
            >>> import xec_magic as xec
            >>> steps = xec.lazy()
            >>> for number in range(3):
            ...     _ = steps.add(f"echo {number}")
            >>> [str(r) for r in steps.run_parallel(limit=2)]
            ['0', '1', '2']
        """
        return self._in_order(self._course(), _limit(limit), on_failure)

    def race(self) -> T:
        """Start all at once; the result of the first that ends, well or badly. The others are stopped, and gone.

        Raises:
            CommandError: the first that ended failed.
            OptionError: there is no command, or all were skipped.

        Example:
            >>> import xec_magic as xec
            >>> str(xec.lazy().add("sleep 60").add("echo fast").race())
            'fast'
        """
        return self._race(self._course())

    def any(self, *, limit: int | None = None) -> T:
        """Start all at once; the result of the first that ends well. The others are stopped, and gone.

        Args:
            limit: How many run at once; None for all.

        Raises:
            AllFailed: none ended well; the error names each.
            OptionError: there is no command, or all were skipped.

        Example:
            >>> import xec_magic as xec
            >>> str(xec.lazy().add("exit 1").add("echo good").any())
            'good'
        """
        return self._any(self._course(), None if limit is None else _limit(limit))

    def all(self, *, limit: int | None = None) -> list[T]:
        """Start all at once; their results when all have ended well. The first failure stops the others and is raised.

        Args:
            limit: How many run at once; None for all.

        Raises:
            CommandError: one failed; `.results` of the error has one result for each command.
        """
        return self._all(self._course(), None if limit is None else _limit(limit))

    @overload
    def start(
        self, how: Literal["race", "any"], *, limit: int | None = ..., on_failure: OnFailure | None = ...
    ) -> Work[T]: ...
    @overload
    def start(
        self,
        how: Literal["run", "run_parallel", "all"] = ...,
        *,
        limit: int | None = ...,
        on_failure: OnFailure | None = ...,
    ) -> Work[list[T]]: ...

    def start(self, how: str = "run", *, limit: int | None = None, on_failure: OnFailure | None = None) -> Work[Any]:
        """Do the same beside the caller; gives a handle at once: `await` it, or call its `result()` or `cancel()`.

        Args:
            how: `run`, `run_parallel`, `race`, `any` or `all`.
            limit: As for `run_parallel`, `any` and `all`; the others take none.
            on_failure: As for `run` and `run_parallel`; the others take none.

        Raises:
            OptionError: one that is not among these, or a value for what it does not take; nothing has run.

        Example:
            >>> import xec_magic as xec
            >>> work = xec.lazy().add("echo a").add("echo b").start("run_parallel")
            >>> [str(r) for r in work.result()]
            ['a', 'b']
        """
        course = self._course()
        if how not in _WAYS:
            hint = nearest(how, _WAYS) if isinstance(how, str) else ""
            raise OptionError(f"how: {how!r} is not among {', '.join(_WAYS)}" + (f"; {hint}" if hint else ""))
        if limit is not None:
            if how not in _LIMITED:
                raise OptionError(f"limit: {how} takes none, only {', '.join(_LIMITED)}")
            _limit(limit)
        if on_failure is not None and how not in _IN_ORDER:
            raise OptionError(f"on_failure: {how} takes none, only {', '.join(_IN_ORDER)}")
        on_end = _on_failure("stop" if on_failure is None else on_failure)
        if how in ("race", "any"):
            _check_not_empty(course, how)
        ways: dict[str, Callable[[], Any]] = {
            "run": lambda: self._in_order(course, 1, on_end),
            "run_parallel": lambda: self._in_order(course, limit or 5, on_end),
            "race": lambda: self._race(course),
            "any": lambda: self._any(course, limit),
            "all": lambda: self._all(course, limit),
        }
        return Work(ways[how], course.request_stop, f"lazy {how}")

    # -- ways -----------------------------------------------------------------------------------------

    def _course(self) -> Course:
        return Course(self._steps, self._stages, self._plan)

    def _in_order(self, course: Course, limit: int, on_failure: OnFailure) -> list[T]:
        goes_on = _on_failure(on_failure) == "continue"
        course.go(Rule(limit, bad=Next.GO_ON if goes_on else Next.START_NO_MORE, keeps_failures=goes_on))
        if course.decided_by is not None:
            raise course.failure_of(course.decided_by)
        return self._values(course)

    def _race(self, course: Course) -> T:
        _check_not_empty(course, "race")
        course.go(_RACE)
        first = course.decided_by
        if first is None:
            _nobody(course, "race")
        if first not in course.values:
            raise course.failure_of(first)
        return cast("T", course.values[first])

    def _any(self, course: Course, limit: int | None) -> T:
        _check_not_empty(course, "any")
        course.go(Rule(limit, good=Next.STOP, plan_first=True, why="another one ended well"))
        first = course.decided_by
        if first is None:
            _nobody(course, "any")
        return cast("T", course.values[first])

    def _all(self, course: Course, limit: int | None) -> list[T]:
        course.go(Rule(limit, bad=Next.STOP, plan_first=True, why="another one failed"))
        if course.decided_by is not None:
            raise course.failure_of(course.decided_by)
        return self._values(course)

    def _values(self, course: Course) -> list[T]:
        if not self._stages:
            return cast("list[T]", several(course.results))
        return [value for _, value in sorted(course.values.items(), key=lambda item: item[0])]

    def __len__(self) -> int:
        return len(self._steps)

    def __repr__(self) -> str:
        names = ", ".join(step.name for step in self._steps[:5]) + (", …" if len(self._steps) > 5 else "")
        stages = "".join(f".{stage.kind}(…)" for stage in self._stages)
        return f"<Lazy of {len(self._steps)}{': ' + names if names else ''}{stages}>"


def _check_not_empty(course: Course, how: str) -> None:
    if not course.steps:
        raise OptionError(f"{how} needs a command at least; call add first")


def _nobody(course: Course, how: str) -> NoReturn:
    """Raise what is to be said when no command has won."""
    told = []
    for number, result in course.ran():
        why = course.why_not.get(number) or result.verdict()
        told.append(f"{course.steps[number].name}: {why}: {result.plan.title}")
    if not told:
        raise OptionError(f"{how}: all commands were skipped by their conditions, so none could be first")
    error = AllFailed(
        "\n".join([f"none of {len(told):,} ended well" if len(told) > 1 else "it did not end well", *told])
    )
    error.results = several(course.results)
    raise error


def _limit(limit: object) -> int:
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise OptionError(f"limit must be a whole number, 1 at least, not {limit!r}")
    return limit


def _on_failure(on_failure: OnFailure) -> OnFailure:
    if on_failure not in ("stop", "continue"):
        raise OptionError(f"on_failure: {on_failure!r} is neither 'stop' nor 'continue'")
    return on_failure


def _check_function(function: object, what: str) -> None:
    if not callable(function):
        raise OptionError(f"{what}: {function!r} is no function")
    if inspect.iscoroutinefunction(function):
        raise OptionError(f"{what}: {called(function)} is asynchronous, and nobody awaits it; write it with def")
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        gets = "each result" if what in ("map", "filter") else "the results so far"
        raise OptionError(f"{what}: {called(function)} must take one argument, {gets}") from None
    except ValueError:
        pass  # a builtin that does not tell its arguments
