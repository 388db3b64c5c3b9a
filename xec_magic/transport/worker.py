"""`WorkerTransport`: commands in warm shells: isolated ones in spares, sessions in kept shells; else as plain runs."""

from __future__ import annotations

import asyncio
import itertools
import os
import shlex
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from xec_magic.command import Command
from xec_magic.errors import SpawnError, map_errors
from xec_magic.transport.base import Process, StartRequest
from xec_magic.transport.here import HereRun
from xec_magic.transport.local import LocalTransport
from xec_magic.transport.localprocess import LocalProcess
from xec_magic.transport.names import names_for
from xec_magic.transport.session import Session
from xec_magic.transport.spares import Spares
from xec_magic.transport.spawn import proctree

__all__ = ["MAKE_WAY_PAUSE_S", "PoolEntry", "WorkerTransport"]

LENT_PAUSE_S: Final = 0.001
LENT_MOST_S: Final = 5.0  # a thread that has borrowed a session gives it back, or its command to the loop, in much less
MAKE_WAY_PAUSE_S: Final = 0.02  # between two looks whether the command has begun that is to be ended
STOP_S: Final = 1.0  # between TERM and KILL, when a session is stopped
SPARES: Final = 8  # idle shells at once; some 3 MB of memory each, most of it shared


# What reads a snapshot keeps the shell's own marks; much in it cannot be set again, which is no matter.
_ADOPT: Final = b"\\unset -v BASH_ENV\n. %s >/dev/null 2>&1\n"


@dataclass(frozen=True, slots=True)
class PoolEntry:
    """One thing that is kept ready.

    Attributes:
        kind: `worker`, `session`; other transports have others.
        name: What it can be stopped by; empty when it has no name of its own.
        what: The shell, or where it leads.
        pid: Its process here, if it is one.
        state: `idle`, `busy`, `starting`.
        served: Commands that it has run.
        age_s: Seconds since it was started.
        idle_s: Seconds since it was used last; None while it is busy.
    """

    kind: str
    name: str
    what: str
    pid: int | None
    state: str
    served: int
    age_s: float
    idle_s: float | None


class WorkerTransport:
    """Runs commands of this machine in shells that are there already.

    All methods run on the loop's thread.

    Args:
        local: Starts what no warm shell can run.
        kernel_id: Unlike that of any other executor.
        directory: Gives a directory of mode 0700.
    """

    def __init__(self, local: LocalTransport, kernel_id: str, directory: Callable[[], str]) -> None:
        self._local = local
        self._kernel_id = kernel_id
        self._directory = directory
        self._numbers = itertools.count(1)
        self._turns: dict[str, asyncio.Lock] = {}
        self._lost: dict[str, str] = {}
        self.sessions: dict[str, Session] = {}
        self._texts: dict[str, str] = {}  # start-up texts to their files
        self._preambles: dict[str, str] = {}  # and to their snapshots
        self.spares = Spares(local.spawner, kernel_id, self._preamble, SPARES, local.sampling)

    def start_now(self, request: StartRequest) -> Process | None:
        """Start a command without any waiting; None where that is not possible, and `start` is needed."""
        command = request.command
        if not command.session:
            return self.spares.take(request)
        session = self.sessions.get(command.session)
        if session is None or command.reset or session.refusal(command) or not session.claim():
            return None
        return session.run(request, first=False)

    def lend(self, command: Command) -> HereRun | None:
        """Begin a command in a warm shell, from any thread but the loop's; None when that must be the loop's business."""
        if not command.session:
            return self.spares.lend(command)
        if command.reset or command.cwd is not None:
            return None
        session, turn = self.sessions.get(command.session), self._turns.get(command.session)
        return session.lend(command) if session is not None and turn is not None and not turn.locked() else None

    def turn(self, command: Command) -> asyncio.Lock | None:
        """What a command must hold while it runs: a session runs one at a time."""
        return self._turns.setdefault(command.session, asyncio.Lock()) if command.session else None

    async def start(self, request: StartRequest) -> Process:
        """Start a command.

        Raises:
            SpawnError: it cannot be started; the message says why.
        """
        process = self.start_now(request)
        if process is not None:
            return process
        command = request.command
        if command.session:
            return await self._start_in_session(request)
        if command.rc:
            command = replace(command, env=(*command.env, ("BASH_ENV", self._preamble(command.rc))))
        process = await self._local.start(replace(request, command=command))
        assert isinstance(process, LocalProcess)
        process.call_at_exit(self.spares.look_soon)
        return process

    async def _start_in_session(self, request: StartRequest) -> Process:
        command = request.command
        lent_since: float | None = None
        try:
            while True:
                session, first = await self._session_for(command, request.note)
                refusal = session.refusal(command)
                if refusal:
                    raise SpawnError(refusal)
                if session.claim():
                    break
                command = replace(command, reset=False)
                lent_since = (lent_since or time.monotonic()) if session.current is None else None
                if lent_since is not None and time.monotonic() > lent_since + LENT_MOST_S:
                    raise SpawnError(
                        f"session {command.session} is in the hands of a thread that does not go on: a finalizer, or the handler of a"
                        " signal, cannot run a command in the session whose command it has broken into"
                    )
                await asyncio.sleep(LENT_PAUSE_S)  # lent to a thread, for a moment; or it has just ended
        except BaseException:
            for fd in (request.stdin_fd, request.stdout_fd):
                if fd is not None:
                    os.close(fd)
            raise
        return session.run(request, first=first)

    async def _session_for(self, command: Command, note: Callable[[str], None]) -> tuple[Session, bool]:
        """The session that a command names, made now if it is not there; and whether it is new."""
        name = command.session
        session = self.sessions.get(name)
        if session is not None and command.reset:
            del self.sessions[name]
            session.end("it was reset")
            session = None
        if session is not None:
            return session, False
        mark = f"{self._kernel_id}.s{next(self._numbers)}"
        with map_errors(OSError, to=SpawnError, what="cannot prepare a session"):
            session = self.sessions[name] = self._new_session(command, mark)
        why = self._lost.pop(name, "")
        if why and not command.reset:
            note(f"session {name} was lost while it was idle ({why}): its variables are gone, and this is a new one")
        try:
            await session.open(self._local.spawner)
        except BaseException:
            if self.sessions.get(name) is session:
                del self.sessions[name]
            raise
        return session, True

    def _new_session(self, command: Command, mark: str) -> Session:
        names = names_for(self._directory)
        try:
            return Session(command.session, command, names, mark, self._session_ended, self._local.sampling)
        except BaseException:
            names.close()
            raise

    def _session_ended(self, session: Session) -> None:
        if self.sessions.get(session.label) is session:
            del self.sessions[session.label]
            if session.current is None:
                self._lost[session.label] = session.ended_because

    # -- what is kept ready ---------------------------------------------------------------------------

    def pool(self) -> list[PoolEntry]:
        """The sessions by name, then the shells that wait."""
        now = time.monotonic()
        entries = [
            PoolEntry(
                "session", name, " ".join(session.shell), session.shells.pid or None, session.state, session.served,
                now - session.born_at, None if session.current else now - session.used_at,
            )
            for name, session in sorted(self.sessions.items())
        ]  # fmt: skip
        for spare in self.spares.idle:
            words = [os.fsdecode(word) for word in spare.kind.argv if word != b"-c"]
            age_s = now - spare.born_at
            entries.append(PoolEntry("worker", "", " ".join(words), spare.spawned.pid, "idle", 0, age_s, age_s))
        return entries

    async def stop(self, name: str) -> None:
        """End a session and what its commands have left: TERM, then KILL. Its running command ends with it."""
        await self._end_with_all(self.sessions.pop(name), "it was stopped")

    async def make_way(self, name: str) -> None:
        """End what runs in a session now, or is about to, and with it the session; until it is cancelled, where nothing does."""
        known = self.sessions.get(name)
        while True:
            session = self.sessions.get(name)
            if known is not None and session is not known:
                return None  # it has ended meanwhile
            if session is not None and session.current is not None:
                del self.sessions[name]
                ending = asyncio.ensure_future(self._end_with_all(session, "it was reset"))
                return await asyncio.shield(ending)  # to its end, also when nobody waits for that any more
            await asyncio.sleep(MAKE_WAY_PAUSE_S)

    @staticmethod
    async def _end_with_all(session: Session, why: str) -> None:
        session.end(why)
        begun = time.monotonic()
        told: set[tuple[int, str]] = set()
        while (now := time.monotonic()) < begun + 2 * STOP_S:
            over = session.shells.have_ended  # asked first: what they were about to start is there by now
            left = session.shells.living()
            if over and not left:
                break
            if now > begun + STOP_S:
                proctree.send(signal.SIGKILL, (), left)
            else:
                # A child that has not become its program yet may lose the signal: the program gets one of its own.
                proctree.send(signal.SIGTERM, (), [one for one in left if (one.pid, one.name) not in told])
                told.update((one.pid, one.name) for one in left)
            await asyncio.sleep(0.02)

    # -- start-up texts -------------------------------------------------------------------------------

    def snapshot_files(self, rc: str) -> tuple[str, str]:
        """Paths of a start-up text, and of an empty file of mode 0600 for its snapshot.

        Raises:
            SpawnError: they cannot be written.
        """
        text = self._text_file(rc)
        snapshot = text + ".snapshot"
        _write_private(snapshot, b"")
        return text, snapshot

    def adopt_snapshot(self, rc: str, file: str) -> None:
        """From now on read this file instead of the start-up text."""
        ready = self._text_file(rc) + ".ready"
        _write_private(ready, _ADOPT % os.fsencode(shlex.quote(file)))
        self._preambles[rc] = ready

    def _preamble(self, rc: str) -> str:
        """What a shell has to read for a start-up text: a file for BASH_ENV."""
        return self._preambles.get(rc) or self._text_file(rc)

    def _text_file(self, rc: str) -> str:
        path = self._texts.get(rc)
        if path is None or not os.path.exists(path):
            path = os.path.join(self._directory(), f"start-{len(self._texts)}.sh")
            _write_private(path, b"\\unset -v BASH_ENV\n" + rc.encode("utf-8", "surrogateescape") + b"\n")
            self._texts[rc] = path
        return path

    async def close(self, within_s: float) -> None:  # noqa: ARG002 - nothing here takes time
        """End all shells."""
        self.spares.close()
        for session in list(self.sessions.values()):
            session.end("its executor was closed")
            session.close()
        self.sessions.clear()

    def __repr__(self) -> str:
        return f"<WorkerTransport {len(self.spares.idle)} waiting>"


def _write_private(path: str, data: bytes) -> None:
    with (
        map_errors(OSError, to=SpawnError, what="cannot write the start-up text to a file"),
        open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file,
    ):
        file.write(data)
