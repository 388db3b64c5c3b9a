"""`Workers`: shells that are kept ready for a block of code, with a start-up text that they need not read each time."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from xec_magic.command import Command
from xec_magic.engine.executor import Executor
from xec_magic.engine.run import Run
from xec_magic.errors import OptionError, XecError
from xec_magic.paths import absolute
from xec_magic.plan import Plan
from xec_magic.result import Result
from xec_magic.transport.shells import family_of
from xec_magic.transport.snapshot import END_MARK, snapshot_script

__all__ = ["Workers", "start_text", "with_start_text"]

MOST: Final = 64  # as many as may run at once


class Workers:
    """Shells that are kept ready, for `with` and `async with`; without a block it works as well, only not as soon.

    Args:
        run: Runs a script in one of them.
        start: Starts a script in one of them.
        surroundings: Gives the executor and a command like those that will come.
        size: So many are kept ready.

    Attributes:
        run: Run a script in one of them and wait for it; takes what `xec.run` takes.
        start: Start a script in one of them; takes what `xec.start` takes.
    """

    def __init__(
        self,
        run: Callable[..., Result],
        start: Callable[..., Run],
        surroundings: Callable[[], tuple[Executor, Command]],
        size: int,
    ) -> None:
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MOST:
            raise OptionError(f"size: {size!r} is no number of workers; write one between 1 and {MOST}")
        self._surroundings = surroundings
        self._size = size
        self._kept: tuple[Executor, Command] | None = None
        self.run = run
        self.start = start

    def __enter__(self) -> Workers:
        executor, command = self._surroundings()
        if command.rc and command.target.kind != "ssh":
            self._read_once(executor, command)
        _reserve(executor, command, self._size)
        self._kept = executor, command
        return self

    def __exit__(self, *exc: object) -> None:
        if self._kept is None:
            return
        (executor, command), self._kept = self._kept, None
        with contextlib.suppress(XecError):  # closed meanwhile, and its shells with it
            _reserve(executor, command, -self._size)

    async def __aenter__(self) -> Workers:
        import asyncio

        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(self, *exc: object) -> None:
        import asyncio

        await asyncio.to_thread(self.__exit__, *exc)

    @staticmethod
    def _read_once(executor: Executor, command: Command) -> None:
        """Run the start-up text, and keep what it does for all shells to come.

        Raises:
            XecError: it ends the shell, or cannot be read.
        """
        if family_of(command.shell) != "bash":
            return
        text, file = executor.ask(executor.transports.snapshot_files(command.rc))
        once = replace(command, script=snapshot_script(text, file), strict=False, worker=False, rc="")
        result = executor.start(Plan(once, label="start-up text of the workers"), check=False).wait()
        if not _is_complete(file):
            tail = result.stderr_tail()
            raise XecError(
                f"rc: the start-up text ended its shell ({result.verdict()})" + (f"\n{tail}" if tail else "")
            )
        executor.ask(executor.transports.adopt_snapshot(command.rc, file))

    def __repr__(self) -> str:
        return f"<Workers {self._size} {'kept ready' if self._kept else 'not begun'}>"


def _reserve(executor: Executor, command: Command, size: int) -> None:
    """Keep so many more shells ready where the command would run.

    Raises:
        TransportError: that is a host, and it cannot be reached.
    """
    if command.target.kind == "ssh":
        executor.ssh_call(lambda ssh: ssh.workers.reserve(ssh.host(command.target), command, size))
    else:
        executor.ask(executor.transports.reserve(command, size))


def start_text(rc: object, *, here: bool = True) -> str:
    """The start-up text for `rc`: itself if it is text, a command that reads it if it is a path.

    Args:
        rc: What was given.
        here: Who reads it is on this machine; a host gets the text of a file.

    Raises:
        OptionError: it is neither, or there is no such file.
    """
    if rc is None:
        return ""
    if isinstance(rc, str):
        if "\0" in rc:
            raise OptionError("rc: the text holds a NUL character, which no shell can read; remove it")
        return rc
    if not isinstance(rc, os.PathLike):
        raise OptionError(f"rc: give the start-up text, or a pathlib.Path of its file, not a {type(rc).__name__}")
    path = absolute(os.fsdecode(rc))
    if not os.path.isfile(path):
        raise OptionError(f"rc: there is no file {path}")
    if not here:
        try:
            return start_text(Path(path).read_text("utf-8", "surrogateescape"))
        except OSError as error:
            raise OptionError(f"rc: cannot read {path}: {error.strerror}") from error
    return f". {shlex.quote(path)}"


def with_start_text(command: Command, rc: str) -> Command:
    """The command with a start-up text.

    Raises:
        OptionError: nothing would run the text.
    """
    if not (command.worker or command.session):
        raise OptionError(
            "rc is for shells that are kept ready; add worker=True or session=NAME, or begin the script with it"
        )
    if command.worker and family_of(command.shell) != "bash":
        raise OptionError(f"rc: {command.shell[0]} reads no start-up text as a worker; use bash, or a session")
    return replace(command, rc=rc)


def _is_complete(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read().endswith(f"\n{END_MARK}\n".encode())
    except OSError:
        return False
