"""The options for what a command is given: how standard input and secrets are read, and found in the notebook."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from xec_magic.errors import OptionError
from xec_magic.options.files import file_to_read
from xec_magic.optionspec import IDENTIFIER, PAIRS, TEXT, Unit, nearest

if TYPE_CHECKING:
    from xec_magic.command import FileInput
    from xec_magic.options.declared import DeclaredOptions

__all__ = ["SECRETS", "STDIN", "Variable", "input_of", "secrets_of", "secrets_of_python", "stdin_of_python"]


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the notebook whose value is wanted; `RunOptions.plan` looks it up."""

    name: str


def _stdin_of_line(value: Any) -> Variable | FileInput:
    from xec_magic.command import FileInput  # here, as below: loading the extension need not wait for it

    text = TEXT.read(value)
    if text.startswith("@"):
        if text == "@":
            raise OptionError("there is no file behind the @; write @FILE")
        return FileInput(text[1:])
    if not text.isidentifier():
        raise OptionError(f"{text!r} is neither a variable's name nor a file; write NAME, or @FILE for a file")
    return Variable(text)


def stdin_of_python(value: Any) -> bytes | FileInput:
    """`stdin=` takes text, bytes or a file."""
    from xec_magic.command import FileInput

    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, os.PathLike):
        return FileInput(os.fsdecode(value))
    if isinstance(value, FileInput):
        return value
    raise OptionError(
        f"a {type(value).__name__} cannot be given to a command; make it text or bytes, such as '\\n'.join(lines) or "
        "frame.to_csv(), or give a pathlib.Path"
    )


def _secrets_of_line(value: Any) -> tuple[tuple[str, Variable], ...]:
    for text in value:
        name, equals, _ = str(text).partition("=")
        if equals:  # what stands behind it may be the secret: it is not repeated
            raise OptionError(
                f"{name} stands there with a value; write the name of a variable alone, so that its value is on no line"
                if name.isidentifier()
                else "it takes the name of a variable, and no value"
            )
    return tuple((name, Variable(name)) for name in dict.fromkeys(map(IDENTIFIER.read, value)))


def secrets_of_python(value: Any) -> tuple[tuple[str, str], ...]:
    """`secret=` takes names with their values."""
    if not isinstance(value, Mapping):
        raise OptionError("give a dict of names and values, such as {'TOKEN': token}")
    pairs: tuple[tuple[str, str], ...] = PAIRS.read(value)
    for name, text in pairs:
        _check_secret(name, text)
    return pairs


def _check_secret(name: str, value: Any) -> str:
    # The value stands in no message, whatever is wrong with it.
    if not isinstance(value, str):
        raise OptionError(f"{name} must be text, not {type(value).__name__}")
    if not value:
        raise OptionError(f"{name} is empty")
    if "\0" in value:
        raise OptionError(f"{name} holds a NUL character, which no variable can")
    return value


STDIN: Final = Unit("stdin", _stdin_of_line)
SECRETS: Final = Unit("secret", _secrets_of_line)


def input_of(options: DeclaredOptions, namespace: Mapping[str, Any], *, here: bool) -> bytes | FileInput | None:
    """What the command reads.

    Args:
        options: All of them.
        namespace: Has the variables that they name.
        here: The command runs on this machine, so a file is looked for now.

    Raises:
        OptionError: a variable or file that is not there, or is nothing to read.
    """
    given = options.stdin
    if given is None:
        return None
    from xec_magic.command import FileInput

    if isinstance(given, Variable):
        try:
            given = stdin_of_python(_look_up(given, namespace))
        except OptionError as error:
            raise OptionError(f"{options.who('stdin')}: {error}") from None
    if not isinstance(given, FileInput) or not here:
        return given
    return FileInput(file_to_read(given.path, options.who("stdin")))


def secrets_of(options: DeclaredOptions, namespace: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The secret variables of the command's environment, with their values.

    Raises:
        OptionError: a variable that is not there, is no text, or is given openly as well.
    """
    if not options.secret:
        return ()
    secret = tuple((name, _secret(options, name, value, namespace)) for name, value in options.secret)
    both = sorted({name for name, _ in options.env} & {name for name, _ in secret})
    if both:
        raise OptionError(f"{both[0]} is given by env and as a secret; keep one")
    return secret


def _secret(options: DeclaredOptions, name: str, value: str | Variable, namespace: Mapping[str, Any]) -> str:
    if not isinstance(value, Variable):
        return value
    try:
        return _check_secret(name, _look_up(value, namespace))
    except OptionError as error:
        raise OptionError(f"{options.who('secret')}: {error}") from None


def _look_up(variable: Variable, namespace: Mapping[str, Any]) -> Any:
    try:
        return namespace[variable.name]
    except KeyError:
        hint = nearest(variable.name, [name for name in namespace if not name.startswith("_")])
        raise OptionError(
            f"there is no variable {variable.name!r} in the notebook" + (f"; {hint}" if hint else "")
        ) from None
