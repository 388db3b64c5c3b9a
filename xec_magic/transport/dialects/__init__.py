"""What is said to the shells of sessions; one file for each shell.

A session's shell is not interactive, so that everything in a script is as in `bash -c`: messages with line numbers, what ends a
script, what `$-` and aliases are. It evaluates scripts one by one, each with streams that belong to that command alone,
opened by name, and says on a pipe of its own how each ended. A script is data, so no quote or here-document in it can swallow
what follows.

Orders come through a pipe of the shell's own. Frames are its answers, one a line:

- `r PID`: ready.
- `s CODE`: the command has ended.
- `k CODE PID`: the command was fatal to the shell, and its state lives on, in the process `PID`.
- `x CODE`: the script calls `exit`; the shell ends.
"""

from __future__ import annotations

from pathlib import PurePath

from xec_magic.transport.dialects import bash, sh, zsh
from xec_magic.transport.dialects.base import Dialect, Order

__all__ = ["Dialect", "Order", "dialect_of"]


def dialect_of(shell: tuple[str, ...]) -> Dialect:
    """How a shell is spoken to.

    Example:
        >>> dialect_of(("/bin/zsh",)).name
        'zsh'
    """
    name = PurePath(shell[0]).name
    dialects: dict[str, Dialect] = {"bash": bash.BASH, "zsh": zsh.ZSH}
    return dialects.get(name, sh.SH)
