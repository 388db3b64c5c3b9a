"""`%xec_copy`: files to hosts, from hosts, and from host to host."""

from __future__ import annotations

import os
import re
from collections import ChainMap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_magic, magics_class, needs_local_scope, no_var_expand

from xec_magic.command import targets_of
from xec_magic.compose.place import PLACE
from xec_magic.errors import CopyInterrupted, OptionError
from xec_magic.magics.lines import asks_for_help, one_line_errors
from xec_magic.options.copy import CopyOptions, read_words

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from xec_magic.copied import CopyResult
    from xec_magic.magics.xec import CommandMagics
    from xec_magic.quoting import Evaluate

__all__ = ["CopyMagics"]


@magics_class
class CopyMagics(Magics):
    """The magic that copies files.

    Args:
        shell: Where it is registered.
        commands: The magics that run commands.
    """

    def __init__(self, shell: InteractiveShell, commands: CommandMagics) -> None:  # noqa: ARG002 - all magics are made so
        super().__init__(shell)

    @no_var_expand
    @needs_local_scope
    @line_magic
    def xec_copy(self, line: str, local_ns: Mapping[str, Any] | None = None) -> Any:
        """Copy files."""  # replaced below by the text that the options give
        with one_line_errors():
            if asks_for_help(line, CopyMagics.xec_copy):
                return None
            assert self.shell is not None
            return self._run(line, ChainMap({}, dict(local_ns or {}), self.shell.user_ns))

    def _run(self, line: str, namespace: Mapping[str, Any]) -> CopyResult:
        from xec_magic import runtime
        from xec_magic.display.copyview import CopyView
        from xec_magic.display.mode import mode_of
        from xec_magic.magics.xec import TICK_S, check_out
        from xec_magic.quoting import namespace_evaluator
        from xec_magic.transfers import begin_copy

        values, words = read_words(CopyOptions.SPEC, line)
        options = CopyOptions(**values)
        check_out(options.out)
        if len(words) < 2:
            raise OptionError("write what to copy and where to: %xec_copy app.toml web1:/etc/app.toml")
        evaluate = namespace_evaluator(namespace)
        sources = [place for word in words[:-1] for place in filled(word, evaluate, is_source=True)]
        destinations = filled(words[-1], evaluate, is_source=False)
        if len(destinations) != 1:
            raise OptionError(f"{words[-1]} is {len(destinations)} destinations; a copy has one")
        mode = mode_of(self.shell)
        view = CopyView(mode, mask=runtime.current().executor.redactor.mask, quiet=options.quiet)
        copy = begin_copy(sources, destinations[0], checksum=options.checksum, force=options.force)
        try:
            result = copy.wait(lambda: view.pump(copy.snapshot), TICK_S)
        except CopyInterrupted as interrupt:
            self._keep(options, interrupt.result)
            view.close(interrupt.result)
            raise
        self._keep(options, result)
        view.close(result)
        return result.check() if options.check else result

    def _keep(self, options: CopyOptions, result: Any) -> None:
        if options.out:
            assert self.shell is not None
            self.shell.user_ns[options.out] = result


def filled(word: str, evaluate: Evaluate, *, is_source: bool) -> list[Any]:
    """The places that a word of the line stands for, its `${{…}}` filled in.

    A value that is the whole word says what the word says, a path of `pathlib` is taken as it is, and a list stands for several.
    Within a word a value is a part of a name: of hosts before the colon, where a list may stand, or of a path, where `*` is no
    pattern.

    Raises:
        TemplateError: a value cannot be had, or is no text.
    """
    from xec_magic.quoting import expand_value
    from xec_magic.quoting.fields import spans

    fields = spans(word)
    if not fields:
        return [expand_value(word, evaluate)]
    first = fields[0][1]
    if fields[0][0] == 0 and word[first : first + 1] in {"", ":"}:
        value, text = _value_of(word[:first], evaluate)
        if first == len(word):
            return value if isinstance(value, list) else [value if isinstance(value, os.PathLike) else text]
        if isinstance(value, list):  # a list of hosts: also where it holds one
            return [(value, _path_of(word[first + 1 :], evaluate, is_source=is_source))]
    host, colon, path = _split_at_colon(word, fields)
    if colon:
        return [f"{expand_value(host, evaluate, ',')}:{_path_of(path, evaluate, is_source=is_source)}"]
    made = _path_of(word, evaluate, is_source=is_source)
    return [made if made.startswith(("/", "~/")) else f"./{made}"]  # a colon in a value makes no host of it


def _value_of(field: str, evaluate: Evaluate) -> tuple[Any, str]:
    """What an expression gives, and the text that it stands for; empty for a list."""
    from xec_magic.quoting import expand_value

    seen: list[Any] = []

    def watch(source: str) -> Any:
        seen.append(targets_of(evaluate(source)))
        return "" if isinstance(seen[-1], (list, os.PathLike)) else seen[-1]

    text = expand_value(field, watch)
    return seen[-1], text


def _split_at_colon(word: str, fields: list[tuple[int, int]]) -> tuple[str, str, str]:
    """The word at the colon behind its hosts, if it has one outside of its fields, and before any `/`."""
    plain = "".join("x" if any(begin <= at < end for begin, end in fields) else char for at, char in enumerate(word))
    found = PLACE.fullmatch(plain)
    return (word[: found.end(1)], ":", word[found.end(1) + 1 :]) if found else (word, "", "")


def _path_of(path: str, evaluate: Evaluate, *, is_source: bool) -> str:
    """A path with its fields filled in; what a value holds is no pattern."""
    from xec_magic.quoting import expand_value
    from xec_magic.quoting.fields import spans

    made, at = "", 0
    for begin, end in spans(path):
        value = expand_value(path[begin:end], evaluate)
        made += path[at:begin] + (re.sub(r"([*?\[])", r"[\1]", value) if is_source else value)
        at = end
    return made + path[at:]


CopyMagics.xec_copy.__doc__ = f"""Copy files and directories to hosts, from hosts, or from one host to another.

::

    %xec_copy [options] SOURCE… DESTINATION [options]
    %xec_copy app.toml @web:/etc/app.toml        to several hosts: each gets all of it
    %xec_copy @web:/var/log/app.log logs/        from several hosts: a folder for each
    %xec_copy db1:/dump/*.sql db2:/dump/         from host to host, by way of this machine

A place is a path of this machine, or HOST:PATH with hosts as `--on` takes them. A source may hold `*`, `?` and `[…]`. A destination
that ends with `/` is a directory to put something into, and is made; any other is the new name. Modes and times are kept; a file
appears under its name when it is complete; what is there already is not copied again, and a large file that was cut off is gone on
with. The line gives a `CopyResult`. `${{{{ expr }}}}` is a Python expression.

{CopyOptions.SPEC.help_text()}
"""
