"""The keywords of the Python functions: their types, and what calls and defaults come to together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from xec_magic.cachepolicy import CachePolicy
from xec_magic.command import FileInput, Target
from xec_magic.errors import OptionError

if TYPE_CHECKING:
    from xec_magic.cachepolicy import CacheKey
    from xec_magic.command import Command
    from xec_magic.result import Result

__all__ = ["On", "RunKeywords", "Script", "TaskKeywords", "TemplateString", "over", "read_keep", "read_switch"]


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


def over(defaults: RunKeywords, options: RunKeywords) -> RunKeywords:
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


def read_switch(name: str, value: object) -> bool:
    """A switch that is no option of a run.

    Raises:
        OptionError: it is neither True nor False.
    """
    if isinstance(value, bool):
        return value
    raise OptionError(f"{name}: {value!r} is neither True nor False")


def read_keep(value: object) -> bool | None:
    """`keep`, for which None stands for itself.

    Raises:
        OptionError: it is none of True, False and None.
    """
    if value is None or isinstance(value, bool):
        return value
    raise OptionError(f"keep: {value!r} is none of True, False and None")
