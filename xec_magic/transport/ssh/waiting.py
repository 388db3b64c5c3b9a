"""Shells that wait on a host, each for one command: what `--worker` is there.

Such a shell has come as far as any command's: the server has opened its channel, the login shell has read its files and has become `sh`.
There it reads from its input what a command's line would say, and goes on as that would: so the command gets a process, streams, signals
and an end of its own, on a channel of its own, and nothing of it has to be told from another's.

A profile (`--login`) and a start-up text (`rc`) are read by the command's own shell. There it is bash that waits, and then evaluates the script.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from xec_magic.command import Command
from xec_magic.transport.dialects.base import one_line
from xec_magic.transport.shells import family_of
from xec_magic.transport.ssh.kept.ducts import CHATTER_BYTES, Duct
from xec_magic.transport.ssh.process import SSHProcess
from xec_magic.transport.ssh.remote import Launch, fresh_mark

__all__ = ["ROOM_BYTES", "Kind", "WaitingShell", "kind_of", "waiting_line"]

ROOM_BYTES: Final = 16 * 1024  # a shell reads its command byte by byte; a longer one is started as any other

_READ: Final = """
while IFS= LC_ALL=C read -r x_l; do
  [ "$x_l" != . ] || break
  x_t="$x_t${x_l#:}$x_n"
done
[ "$x_l" = . ] || exit 0
"""
_PLAIN: Final = f"""
x_n='
'; echo $x_m; x_t=
{_READ}
eval "$x_t"
"""
# On one line, so that the script's first line is line 1 for the shell as well.
_INSIDE: Final = one_line(r"""
x_t=$1; set --; \builtin eval "$x_t" </dev/null; x_n=$'\n'; \builtin echo "$x_m"; x_t=;
while IFS= LC_ALL=C \builtin read -r x_l; do [[ $x_l != . ]] || \builtin break; x_t+=${x_l#:}$x_n; done; [[ $x_l == . ]] || \builtin exit 0;
\builtin eval "$x_t"; \builtin unset -v x_n x_m x_t x_l x_b; \builtin eval "$BASH_EXECUTION_STRING"
""")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a waiting shell cannot change any more. Without a shell it waits before that, and serves any command."""

    shell: tuple[str, ...] = ()
    login: bool = False
    rc: str = ""


def kind_of(command: Command, *, has_bash: bool) -> Kind:
    """Which waiting shells a command can use."""
    is_bash = family_of(command.shell) == "bash" if command.shell else has_bash
    if is_bash and (command.login or command.rc):
        return Kind(command.shell or ("bash",), command.login, command.rc)
    return Kind()


def waiting_line(kind: Kind) -> Launch:
    """The line for the login shell."""
    mark = fresh_mark()
    if not kind.shell:
        return Launch(f"x_m={mark}\n{_PLAIN}", [], mark.encode())
    argv = [part.encode("utf-8", "surrogateescape") for part in kind.shell]
    argv += [b"-l"] * kind.login + [b"-c", f"x_m={mark}; {_INSIDE}".encode(), argv[0]]
    arguments = [*argv, kind.rc.encode("utf-8", "surrogateescape")]
    return Launch('SHLVL=2; export SHLVL; exec "$@"', arguments, mark.encode())


class WaitingShell(Duct):
    """One of them. When it has a process, it is that process's channel."""

    def __init__(self, number: int, kind: Kind, launch: Launch) -> None:
        super().__init__(launch)
        self.number = number
        self.kind = kind
        self.born_at = time.monotonic()
        self.cut = False  # with its connection
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._said = b""
        self._process: SSHProcess | None = None

    def give(self, process: SSHProcess, text: bytes) -> None:
        """Give it its command."""
        self._process = process
        if self.lease is not None:
            self.lease.connection.commands += 1
        self.write(text)
        process.connection_made(self.channel)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Output; before it is ready, of the login."""
        if self._process is not None:
            self._process.data_received(data, datatype)
            return
        self._chatter = (self._chatter + data)[-CHATTER_BYTES:]
        if not datatype:
            self._said = (self._said + data)[-CHATTER_BYTES:]
            if self._launch.mark + b"\n" in self._said and not self._ready.done():
                self._ready.set_result(None)

    def exit_status_received(self, status: int) -> None:
        """It has exited."""
        if self._process is not None:
            self._process.exit_status_received(status)

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """A signal has ended it."""
        if self._process is not None:
            self._process.exit_signal_received(signal, core_dumped, msg, lang)

    def eof_received(self) -> bool:
        """Nobody can write to its streams any more."""
        return self._process.eof_received() if self._process is not None else False

    def pause_writing(self) -> None:
        """The host takes no more input now."""
        if self._process is not None:
            self._process.pause_writing()

    def resume_writing(self) -> None:
        """It takes input again."""
        if self._process is not None:
            self._process.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed."""
        self.cut = exc is not None
        if self._process is not None:
            self._process.connection_lost(exc)
        super().connection_lost(exc)
        if not self._over.done():
            self._over.set_result(None)

    async def closed(self) -> None:
        """Wait until its channel is closed."""
        await asyncio.shield(self._over)
