"""The options of the cache: how their values are read, and the policy that they make together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from xec_magic.errors import OptionError
from xec_magic.options.files import absolute_path, nearest_there
from xec_magic.optionspec import IDENTIFIER, PATH, TEXT, Unit

if TYPE_CHECKING:
    from xec_magic.cachepolicy import CachePolicy, Condition
    from xec_magic.options.declared import DeclaredOptions

__all__ = [
    "CONDITION",
    "NAMES",
    "PATHS",
    "TTL",
    "cache_policy",
    "condition_of_python",
    "key_of_python",
    "policy_of_python",
]

_NEEDY: Final = ("cache_key", "cache_if", "cache_env", "cache_failures", "depends", "stale", "refresh", "persist")


def _listed(read: Callable[[Any], str]) -> Callable[[Any], tuple[str, ...]]:
    """Reads one value or several."""

    def read_all(value: Any) -> tuple[str, ...]:
        several = isinstance(value, Iterable) and not isinstance(value, (str, bytes, os.PathLike))
        return tuple(dict.fromkeys(read(each) for each in (value if several else [value])))

    return read_all


def _ttl(value: Any) -> float:
    from xec_magic.cachepolicy import parse_ttl  # here, as below: loading the extension need not wait for it

    return parse_ttl(value)


def _condition(value: Any) -> Condition:
    from xec_magic.cachepolicy import Condition

    return Condition(TEXT.read(value))


TTL: Final = Unit("duration", _ttl)
CONDITION: Final = Unit("expression", _condition)
PATHS: Final = Unit("paths", _listed(PATH.read))
NAMES: Final = Unit("names", _listed(IDENTIFIER.read))


def policy_of_python(value: Any) -> CachePolicy | float:
    """`cache=` takes a duration or a whole policy."""
    from xec_magic.cachepolicy import CachePolicy

    return value if isinstance(value, CachePolicy) else _ttl(value)


def condition_of_python(value: Any) -> Callable[..., object]:
    """`cache_if=` takes an expression or a function of the result."""
    if callable(value):
        return value  # type: ignore[no-any-return]
    condition: Condition = CONDITION.read(value)
    return condition


def key_of_python(value: Any) -> str | Callable[..., object]:
    """`cache_key=` takes a text or a function of the command."""
    return value if callable(value) else TEXT.read(value)  # type: ignore[no-any-return]


def cache_policy(options: DeclaredOptions, directory: str | None = None) -> CachePolicy | None:
    """The policy that the options make together; None without a cache. Looks at the files that it depends on.

    Args:
        options: All of them.
        directory: Where the command runs on this machine, and what it depends on is looked for; None for the kernel's own.

    Raises:
        OptionError: an option that means nothing without `--cache`; a file that is not there.
    """
    if options.cache is None and not options.sources:
        return None
    given = {name: getattr(options, name) for name in _NEEDY if name in options.sources}
    if options.cache is None:
        if given and "cache" not in options.sources:  # switched off by a call, the others may stay as they are
            name = next(iter(given))
            raise OptionError(f"{options.who(name)} does nothing without a cache; give --cache TTL as well")
        return None
    from xec_magic.cachepolicy import CachePolicy

    names: Mapping[str, str] = {
        "cache_key": "key", "cache_if": "when", "cache_env": "env", "cache_failures": "failures",
    }  # fmt: skip
    changes = {names.get(name, name): value for name, value in given.items() if value is not None}
    policy = options.cache if isinstance(options.cache, CachePolicy) else CachePolicy(options.cache)
    policy = policy.over(**changes)
    return policy.over(depends=[_file(path, directory, options.who("depends")) for path in policy.depends])


def _file(path: str, directory: str | None, where: str) -> str:
    full = absolute_path(os.path.join(directory or "", os.path.expanduser(path)), where)
    if not os.path.exists(full):
        raise OptionError(f"{where}: no such file or directory: {full}{nearest_there(full)}")
    return full
