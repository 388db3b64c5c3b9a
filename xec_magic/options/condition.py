"""`--if`: whether a line's condition holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from xec_magic.callables import refuse_awaitable
from xec_magic.errors import OptionError
from xec_magic.optionspec import nearest

__all__ = ["holds"]


def holds(expression: str, evaluate: Callable[[str], Any], names: Mapping[str, Any]) -> bool:
    """Whether the value of an expression counts as true.

    Args:
        expression: What `--if` says.
        evaluate: Gives the value of an expression.
        names: What it may have meant where a name is unknown.

    Raises:
        OptionError: it raises, or its value is neither true nor false; nothing has run.

    Example:
        >>> holds("n > 3", lambda text: eval(text, {"n": 5}), {"n": 5})
        True
    """
    try:
        value = evaluate(expression)
        refuse_awaitable(value, "nobody awaits it; await it in a cell before, and name its value")
        return bool(value)
    except Exception as error:  # noqa: BLE001 - whatever it raises, the line is refused in one line
        text = str(error).strip().partition("\n")[0]
        if isinstance(error, NameError) and error.name:
            hint = nearest(error.name, [name for name in names if not name.startswith("_")])
            text += f"; {hint}" if hint and "did you mean" not in text.lower() else ""
        reason = type(error).__name__ + (f": {text}" if text else "")
        raise OptionError(f"--if {expression}: {reason}") from None
