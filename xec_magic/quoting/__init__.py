"""Python values in shell text: `${{ expr }}`, quoted for the place it stands in.

What arrives at the command is the value, byte for byte, or `TemplateError` is raised before anything runs.
The syntax of a field is in `fields`, the text of a value in `values`, `evaluating` leads from one to the other. `filling` puts values into a text: `places` finds where each one stands, `inserting` quotes it
for that, `scan` has a second opinion on quotes.
"""

from __future__ import annotations

import builtins
import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from xec_magic.command import targets_of
from xec_magic.optionspec.words import FIELD as OPEN

if TYPE_CHECKING:
    from xec_magic.quoting.inserting import Value
    from xec_magic.quoting.tstring import TString

__all__ = ["Evaluate", "expand", "expand_tstring", "expand_value", "namespace_evaluator", "template"]

Evaluate = Callable[[str], Any]


def expand(text: str, evaluate: Evaluate, *, family: str = "bash") -> str:
    """The text with every `${{ expr }}` filled in, quoted for its place; `$${{` becomes `${{`.

    Args:
        text: A script or a line of one.
        evaluate: Gives the value of an expression, e.g. `namespace_evaluator(globals())`.
        family: Whose syntax the text has: `bash`, `sh`, `zsh`, or `other`, where only `!raw`, `!r` (a Python
            literal) and `!json` are allowed.

    Raises:
        TemplateError: an expression fails, or its value cannot stand where it is; nothing has run.

    Example:
        >>> print(expand('cat ${{f}} "${{f}}"', {"f": "my $file"}.__getitem__))
        cat 'my $file' "my \\$file"
    """
    if OPEN not in text:
        return text
    from xec_magic.quoting.evaluating import evaluated  # here, as below: most texts have no value in them
    from xec_magic.quoting.fields import split
    from xec_magic.quoting.filling import filled_in

    parts = [part if isinstance(part, str) else evaluated(part, evaluate, family) for part in split(text)]
    return filled_in(parts, family)


def expand_value(text: str, evaluate: Evaluate, joins: str = "") -> str:
    """An option's value with every `${{ expr }}` filled in, unquoted: it is one argument whatever it holds.

    A list is joined by `joins`; where that is empty a list is refused. Where targets are named so, results stand for theirs.

    Raises:
        TemplateError: an expression fails, or its value is no text.

    Example:
        >>> expand_value("/srv/${{name}}.log", {"name": "a b"}.__getitem__)
        '/srv/a b.log'
    """
    if OPEN not in text:
        return text
    from xec_magic.quoting.evaluating import evaluated
    from xec_magic.quoting.fields import split
    from xec_magic.quoting.inserting import Value

    def value_of(source: str) -> Any:
        return targets_of(evaluate(source)) if joins else evaluate(source)

    result = ""
    for part in split(text):
        piece = part if isinstance(part, str) else evaluated(part, value_of, "bash")
        if isinstance(piece, Value):
            if piece.many and joins:
                piece = joins.join(piece.words)
            elif piece.many:
                raise piece.field.error("is a list, but stands for one argument; write ' '.join(…)")
            else:
                piece = piece.words[0]
        result += piece
    return result


def namespace_evaluator(namespace: Mapping[str, Any]) -> Evaluate:
    """A function that gives the value of a Python expression in a namespace, such as a notebook's."""

    def evaluate(source: str) -> Any:
        # A copy: what the expression assigns must not reach the notebook, and comprehensions need the names global.
        scope = {**namespace, "__builtins__": builtins}
        return eval(source, scope)  # noqa: S307 - the user's own expression in the user's own notebook

    return evaluate


def template(text: str, /, **values: Any) -> str:
    """Shell text for bash with `${{ expr }}` filled in from the keyword arguments, quoted for its place.

    Raises:
        TemplateError: see `expand`.

    Example:
        >>> print(template("cat ${{f}}", f="my file"))
        cat 'my file'
    """
    return expand(text, namespace_evaluator(values))


def expand_tstring(tstring: TString, family: str = "bash") -> str:
    """Shell text from a template string of Python 3.14, its values quoted for their place: `t"cat {path}"`.

    Conversions and format specs work as in an f-string; their result is quoted.

    Raises:
        TemplateError: a value cannot stand where it is; nothing has run.
    """
    from xec_magic.quoting.evaluating import interpolated
    from xec_magic.quoting.filling import filled_in

    parts: list[str | Value] = []
    line = 1
    for plain, item in itertools.zip_longest(tstring.strings, tstring.interpolations):
        parts.append(plain)
        line += plain.count("\n")
        if item is not None:
            parts.append(interpolated(item, line, family))
    return filled_in(parts, family)
