"""The options of `%xec_copy`, and how its line is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from xec_magic.errors import OptionError
from xec_magic.options.run import RunOptions
from xec_magic.optionspec import OptionSet, flag, next_word

__all__ = ["CopyOptions", "read_words"]

RUN_OPTIONS: Final = ("check", "out", "quiet")  # of those of a run the ones that make sense here


@dataclass(frozen=True)
class CopyOptions:
    """What `%xec_copy` takes besides its places."""

    checksum: bool = flag(
        "--checksum", group="copy", line_only=True,
        help="Compare SHA-256 digests of both sides before a file gets its name. Files that are there already are compared, too.",
    )  # fmt: skip
    force: bool = flag("--force", group="copy", line_only=True, help="Copy also what seems to be there already.")

    check: bool = True
    out: str | None = None
    quiet: bool = False

    SPEC: ClassVar[OptionSet]


CopyOptions.SPEC = OptionSet(
    CopyOptions,
    also=[RunOptions.SPEC.by_name[name] for name in RUN_OPTIONS],
    unknown="a file that begins with a dash goes behind --",
)


def read_words(
    spec: OptionSet, line: str, expand: Callable[..., str] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """What a line sets and the words between its options, which may stand before and behind them; `${{…}}` is left in words.

    Args:
        spec: The options.
        line: Behind the name of the magic.
        expand: Fills `${{…}}` in values of options.

    Raises:
        OptionError: an option is wrong or given twice; a quote is not closed.

    Example:
        >>> read_words(CopyOptions.SPEC, "--force 'a b' web1:/x --checksum")
        ({'force': True, 'checksum': True}, ['a b', 'web1:/x'])
    """
    values: dict[str, Any] = {}
    words: list[str] = []
    plain = False
    while True:
        if not plain:
            parsed = spec.parse_line(line, expand=expand)
            for name, value in parsed.values.items():
                if name in values:
                    raise OptionError(f"{spec.by_name[name].long} is given twice; write it once")
                values[name] = value
            before = line[: len(line) - len(parsed.rest)].split()
            plain = bool(before) and before[-1] == "--"  # the rest are names, also those that begin with a dash
            line = parsed.rest
        word = next_word(line, 0)
        if word is None:
            return values, words
        if not word.closed:
            raise OptionError(f"a quote is opened and never closed: {line[word.start :]}")
        words.append(word.text)
        line = line[word.end :]
