"""`CachePolicy`: whether a result is kept, under which key and for how long; `Condition`: the expression of `--cache-if`."""

from __future__ import annotations

import ast
import builtins
import math
import os
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from xec_magic.errors import OptionError
from xec_magic.optionspec import nearest
from xec_magic.units import parse_duration

if TYPE_CHECKING:
    from xec_magic.command import Command
    from xec_magic.result import Result

__all__ = ["RESULT_FIELDS", "CacheKey", "CachePolicy", "Condition", "parse_ttl"]

# What `--cache-if` can ask: `result` is the whole, the others are what it has.
RESULT_FIELDS: Final = (
    "ok", "exit_code", "signal", "outcome", "stdout", "stderr", "output", "stdout_bytes", "stderr_bytes", "duration_s",
    "started_at", "target", "command", "usage", "attempts", "notes", "text", "lines", "json", "jsonl", "csv", "table",
    "df", "grep", "result",
)  # fmt: skip

CacheKey: TypeAlias = "str | bytes | int | float | bool | tuple[CacheKey, ...] | None"
"""What a key function may give: texts, bytes, numbers, None, and tuples of these."""


def parse_ttl(value: float | str) -> float:
    """Seconds that a result may be kept; `inf` is for ever.

    Raises:
        OptionError: no duration, or not more than zero.

    Example:
        >>> parse_ttl("5m"), parse_ttl("inf")
        (300.0, inf)
    """
    if value is True or value is False:
        raise OptionError(f"{value} is no duration; write how long a result may be kept, such as 60, '5m' or 'inf'")
    if value == math.inf or (isinstance(value, str) and value.strip().lower() in ("inf", "infinity", "forever")):
        return math.inf
    seconds = parse_duration(value)
    if seconds == 0:
        raise OptionError("a result that is kept for 0 seconds is never used; leave the option out")
    return seconds


class Condition:
    """A Python expression over the fields of a result, compiled when it is made.

    Args:
        source: The expression. It may name the fields of `Result`, `result` itself, and Python's builtins.

    Raises:
        OptionError: no expression, or a name that is none of these.

    Example:
        >>> import xec_magic as xec
        >>> ready = Condition("ok and 'ready' in stdout")
        >>> ready(xec.run("echo ready")), ready(xec.run("echo not yet"))
        (True, False)
    """

    __slots__ = ("_code", "_names", "source")

    def __init__(self, source: str) -> None:
        self.source = source.strip()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)
                tree = ast.parse(self.source, "<cache-if>", "eval")
                self._code = compile(tree, "<cache-if>", "eval")
        except SyntaxError as error:
            where = f" at character {error.offset}" if error.offset else " at its end"
            raise OptionError(f"{self.source!r} is no Python expression: {error.msg}{where}") from None
        except (ValueError, RecursionError, MemoryError) as error:
            raise OptionError(f"{self.source[:80]!r} is no Python expression: {error}") from None
        self._names = self._names_of(tree)

    @staticmethod
    def _names_of(tree: ast.AST) -> frozenset[str]:
        """The fields that the expression reads; the others need not be made."""
        nodes = list(ast.walk(tree))
        read = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        bound = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
        bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
        for name in sorted(read - bound - {*RESULT_FIELDS, *dir(builtins)}):
            hint = nearest(name, RESULT_FIELDS) or f"a result has {', '.join(RESULT_FIELDS[:9])}, …"
            raise OptionError(f"a result has no {name!r}; {hint}")
        return frozenset(read & {*RESULT_FIELDS})

    def __call__(self, result: Result) -> bool:
        """Whether it holds for a result; raises what the expression raises."""
        # As globals: comprehensions and lambdas in the expression do not see the locals of eval.
        names = {name: result if name == "result" else getattr(result, name) for name in self._names}
        return bool(eval(self._code, {"__builtins__": builtins, **names}))  # noqa: S307 - the user's own expression

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Condition) and other.source == self.source

    def __hash__(self) -> int:
        return hash((Condition, self.source))

    def __reduce__(self) -> tuple[Any, ...]:
        return Condition, (self.source,)

    def __repr__(self) -> str:
        return f"<Condition {self.source}>"


@dataclass(frozen=True, slots=True, init=False)
class CachePolicy:
    """How the result of a command is kept, so that an equal one need not run.

    Two commands are equal when script, interpreter and its flags, target, directory, added variables, `PATH`, standard
    input, the variables named by `env` and the contents of `depends` are. Kept are complete results that ended well.

    Args:
        ttl: How long a result may be used, as `90`, `"5m"` or `"inf"`.
        key: A fixed name that stands for the script and its surroundings, or a function that makes one from the `Command`.
            Target and `depends` count beside it.
        when: Asked with the `Result` of a clean run: whether to keep it. It runs in a thread of its own.
        depends: Files and directories whose change makes a result void. Files count by content, directories by the
            names, sizes and times of all that is in them.
        env: Names of the kernel's variables that the command's answer depends on.
        stale: For so long after `ttl` the old result is used once more, while a new one is made behind.
        failures: How long a failure is kept; by default not at all.
        persist: Keep it on disk as well, for later kernels.
        refresh: Run the command, whatever is kept, and keep its result instead.

    Attributes:
        ttl_s: Seconds; `stale_s` and `failures_s` likewise.

    Raises:
        OptionError: a value out of range.

    Example:
        >>> CachePolicy("5m", stale="1h").ttl_s
        300.0
    """

    ttl_s: float
    key: str | Callable[[Command], CacheKey] | None
    when: Callable[[Result], object] | None
    depends: tuple[str, ...]
    env: tuple[str, ...]
    stale_s: float
    failures_s: float
    persist: bool
    refresh: bool

    def __init__(
        self,
        ttl: float | str,
        *,
        key: str | Callable[[Command], CacheKey] | None = None,
        when: Callable[[Result], object] | None = None,
        depends: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
        env: str | Iterable[str] = (),
        stale: float | str = 0,
        failures: float | str = 0,
        persist: bool = False,
        refresh: bool = False,
    ) -> None:
        if key is not None and not isinstance(key, str) and not callable(key):
            raise OptionError(f"cache key: a {type(key).__name__} is neither a text nor a function of the command")
        if isinstance(key, str) and not key:
            raise OptionError("cache key: the text is empty; leave it out for the key of script and surroundings")
        if when is not None and not callable(when):
            raise OptionError(f"cache when: a {type(when).__name__} is no function of the result")
        paths = tuple(
            map(_path, [depends] if isinstance(depends, (str, os.PathLike)) else _several("depends", depends))
        )
        names = (env,) if isinstance(env, str) else tuple(_several("env", env))
        for name in names:
            if not isinstance(name, str) or not name or "=" in name or "\0" in name:
                raise OptionError(f"cache env: {name!r} is no name of a variable")
        values = {
            "ttl_s": _named("cache", ttl, parse_ttl),
            "key": key,
            "when": when,
            "depends": paths,
            "env": names,
            "stale_s": _named("stale", stale, parse_duration),
            "failures_s": _named("cache failures", failures, parse_duration),
            "persist": bool(persist),
            "refresh": bool(refresh),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def over(self, **changes: Any) -> CachePolicy:
        """The same policy with some arguments changed."""
        arguments = {
            "ttl": self.ttl_s, "key": self.key, "when": self.when, "depends": self.depends, "env": self.env,
            "stale": self.stale_s, "failures": self.failures_s, "persist": self.persist, "refresh": self.refresh,
        }  # fmt: skip
        return CachePolicy(**(arguments | changes))

    @property
    def longest_s(self) -> float:
        """How long a result is of any use."""
        return max(self.ttl_s + self.stale_s, self.failures_s)


def _several(name: str, value: object) -> list[Any]:
    if not isinstance(value, Iterable):
        raise OptionError(f"cache {name}: {value!r} is neither a text nor several")
    return list(value)


def _path(value: Any) -> str:
    try:
        path = os.fsdecode(value)
    except TypeError:
        raise OptionError(f"cache depends: {value!r} is no path") from None
    if not path:  # joined to the directory it would be that
        raise OptionError("cache depends: the path is empty")
    return path


def _named(name: str, value: float | str, read: Callable[[float | str], float]) -> float:
    try:
        return read(value)
    except OptionError as error:
        raise OptionError(f"{name}: {error}") from None
