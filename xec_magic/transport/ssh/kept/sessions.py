"""`FarSessions`: the sessions of one executor on hosts, by host and name."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, Final

from xec_magic.command import Command, Target
from xec_magic.errors import SpawnError, TransportError
from xec_magic.transport.base import StartRequest
from xec_magic.transport.shells import family_of
from xec_magic.transport.ssh.hosts import Host
from xec_magic.transport.ssh.kept.command import KeptProcess
from xec_magic.transport.ssh.kept.session import FarSession
from xec_magic.transport.worker import MAKE_WAY_PAUSE_S, PoolEntry

__all__ = ["FarSessions"]

STOP_S: Final = 1.0  # between TERM and KILL, when a session is stopped, and so long again after KILL
STOP_PAUSE_S: Final = 0.05  # between two looks at what still lives
Key = tuple[Target, str]


class FarSessions:
    """All sessions on hosts. All methods run on the loop's thread.

    Args:
        kernel_id: Unlike that of any other executor.
    """

    def __init__(self, kernel_id: str) -> None:
        self._kernel_id = kernel_id
        self._numbers = itertools.count(1)
        self._turns: dict[Key, asyncio.Lock] = {}
        self._lost: dict[Key, str] = {}
        self._sessions: dict[Key, FarSession] = {}

    def turn(self, command: Command) -> asyncio.Lock:
        """What a command must hold while it runs: a session runs one at a time."""
        return self._turns.setdefault((command.target, command.session), asyncio.Lock())

    async def start(self, host: Host, request: StartRequest) -> KeptProcess:
        """Run a command in its session, which is made if it is not there.

        Raises:
            SpawnError: it cannot be started; the message says why.
            TransportError: the host cannot be reached.
        """
        command = request.command
        try:
            while True:
                session, first = await self._session_for(host, request)
                refusal = session.refusal(command)
                if refusal:
                    raise SpawnError(refusal)
                if await session.in_step():
                    break
        except BaseException:
            request.close_fds()
            raise
        return await session.run(request, first=first)

    async def _session_for(self, host: Host, request: StartRequest) -> tuple[FarSession, bool]:
        command = request.command
        key = (command.target, command.session)
        session = self._sessions.get(key)
        if session is not None and (command.reset or session.ended_because):  # the latter while it is being stopped
            session.end("it was reset")
            session = None
        if session is not None:
            return session, False
        if command.shell and family_of(command.shell) == "other":
            raise SpawnError(f"{command.shell[0]} cannot be kept ready; bash, dash, sh and zsh can")
        shell = command.shell or (("bash",) if await host.knows_bash() else ("sh",))
        mark = f"{self._kernel_id}.h{next(self._numbers)}"
        session = FarSession(command.session, replace(command, shell=shell), host, mark, self._ended)
        why = self._lost.pop(key, "")
        if why and not command.reset:
            request.note(
                f"session {command.session} on {host.target} was lost while it was idle ({why}): its variables are gone, and this is a "
                "new one"
            )
        self._sessions[key] = session
        await session.open()
        return session, True

    def _ended(self, session: FarSession) -> None:
        key = (session.host.target, session.label)
        if self._sessions.get(key) is session:
            del self._sessions[key]
            if (
                session.shells
                and session.current is None
                and session.ended_because not in ("it was reset", "it was stopped")
            ):
                self._lost[key] = session.ended_because

    # -- what is kept ready ---------------------------------------------------------------------------

    def pool(self) -> list[PoolEntry]:
        """The sessions, by name and host."""
        now = time.monotonic()
        found = sorted(self._sessions.values(), key=lambda session: (session.label, str(session.host.target)))
        return [
            PoolEntry(
                "session", session.label, f"{' '.join(session.shell)} on {session.host.target}", None, session.state, session.served,
                now - session.born_at, None if session.current else now - session.used_at,
            )
            for session in found
        ]  # fmt: skip

    def names(self) -> set[str]:
        """Those that there are; any thread may ask."""
        return {name for _, name in [*self._sessions]}

    async def stop(self, name: str) -> None:
        """End the sessions of this name on all hosts, and what their commands have left: TERM, then KILL."""
        await asyncio.gather(*(self._stop(session) for (_, each), session in [*self._sessions.items()] if each == name))

    async def make_way(self, command: Command) -> None:
        """End what runs in a session now, or is about to, and with it the session; until it is cancelled, where nothing does."""
        key = (command.target, command.session)
        known = self._sessions.get(key)
        while True:
            session = self._sessions.get(key)
            if known is not None and session is not known:
                return None  # it has ended meanwhile
            if session is not None and session.current is not None:
                return await asyncio.shield(asyncio.ensure_future(self._stop(session, "it was reset")))
            await asyncio.sleep(MAKE_WAY_PAUSE_S)

    async def _stop(self, session: FarSession, why: str = "it was stopped") -> None:
        session.ended_because = why
        if session.current is not None:
            session.current.ends_with_session(
                f"session {session.label} on {session.host.target} {why.removeprefix('it ')}"
            )
        try:
            # Once more after KILL as well: what a shell starts while its processes are looked for is not among them.
            for signals, again in (["TERM"], []), (["KILL"], ["KILL"]):
                left = await session.kin.stop_all(signals)
                until = time.monotonic() + STOP_S
                while left and time.monotonic() < until:
                    await asyncio.sleep(STOP_PAUSE_S)
                    left = await session.kin.stop_all(again)
                if not left:
                    break
        except TransportError:
            pass  # its host is gone
        session.end(why)

    async def end_idle(self, targets: Sequence[Target]) -> None:
        """End the sessions on these hosts, each when its running command is over."""
        for key, session in [*self._sessions.items()]:
            if key[0] in targets:
                async with self._turns.setdefault(key, asyncio.Lock()):
                    session.end("its connection was closed")

    def ending(self) -> list[Coroutine[Any, Any, Any]]:
        """What kills the commands that run in sessions."""
        return [session.kin.stop_all(["KILL"]) for session in self._sessions.values() if session.current is not None]

    def close(self) -> None:
        """End all of them."""
        for session in [*self._sessions.values()]:
            session.close()
        self._sessions.clear()
