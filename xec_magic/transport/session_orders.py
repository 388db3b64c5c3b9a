"""`SessionOrders`: what a session's shell is to be told for a command."""

from __future__ import annotations

import re

from xec_magic.command import Command
from xec_magic.transport.dialects import Order, dialect_of
from xec_magic.transport.dialects.base import Start
from xec_magic.transport.names import Names
from xec_magic.transport.shells import default_shell, script_for

__all__ = ["SessionOrders"]

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class SessionOrders:
    """Makes orders for one shell.

    Args:
        label: What messages call the session.
        command: The first one: its shell and profile are the session's.
        names: Where the shell finds what it opens.

    Attributes:
        control_fd: The descriptor on which the shell answers. It closes it as long as it is busy with a command.
    """

    def __init__(self, label: str, command: Command, names: Names) -> None:
        self.shell = command.shell or default_shell()
        self.login = command.login
        self.rc = command.rc
        self._label = label
        self._names = names
        self._dialect = dialect_of(self.shell)
        self.control_fd = self._dialect.control_fd
        self._last: tuple[Command, Order, bytes | None] | None = None

    def start(self) -> Start:
        """How to start the shell.

        Raises:
            OSError: what it reads cannot be written.
        """
        return self._dialect.start(self.shell, self._names, login=self.login, rc=self.rc)

    def refusal(self, command: Command) -> str:
        """Why the shell cannot run a command; empty when it can. Any thread."""
        last = self._last
        if last is not None and last[0] is command:
            return ""
        shell = command.shell or default_shell()
        if shell != self.shell:
            return f"session {self._label} is a {' '.join(self.shell)}; say --shell {' '.join(self.shell)!r}, or begin anew with --reset"
        if command.login and not self.login:
            return f"session {self._label} has not read the profile; begin anew with --login --reset"
        wrong = [name for name, _ in (*command.env, *command.secret_env) if not _NAME.fullmatch(name)]
        return f"{wrong[0]!r} is no variable that a shell can hold" if wrong else ""

    def of(self, command: Command, *, first: bool, fed: bool) -> bytes:
        """What to write to the shell.

        Args:
            command: One that is not refused.
            first: The session has begun with it, in its directory.
            fed: Its input is something else than `/dev/null`.
        """
        last = self._last
        if last is None or last[0] is not command or first or fed:  # the same one comes again and again
            env = (*command.env, *command.secret_env)
            order = Order(script_for(command), command.strict, env, None if first else command.cwd, fed)
            last = command, order, self._dialect.plain(order)
            self._last = None if first or fed else last
        return self._dialect.order(last[1], self._names) if last[2] is None else last[2]

    def ping(self, number: int) -> bytes:
        """What to write to the shell so that it answers `y NUMBER`."""
        return self._dialect.ping(number, self._names)

    def __repr__(self) -> str:
        return f"<SessionOrders of {' '.join(self.shell)}>"
