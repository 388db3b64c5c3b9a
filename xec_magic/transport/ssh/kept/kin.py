"""`Kin`: the processes of a session on a host: how they are signalled, listed and watched."""

from __future__ import annotations

from collections.abc import Callable

from xec_magic.errors import TransportError
from xec_magic.events import ProcessInfo, Sample
from xec_magic.transport.base import Sampler
from xec_magic.transport.ssh.hosts import Host
from xec_magic.transport.ssh.kept.command import KeptProcess
from xec_magic.transport.ssh.kept.lines import Spare, session_line
from xec_magic.transport.ssh.living import read_living
from xec_magic.transport.ssh.reading import tree_line
from xec_magic.transport.ssh.remote import Begun, Launch
from xec_magic.transport.ssh.sampler import HostSampler

__all__ = ["Kin"]


class Kin:
    """All that a session has started, its shell included.

    Args:
        host: Where they are.
        mark: Begins their `XEC_RUN_ID`.
        directory: Of the session.
        control_fd: The descriptor on which the shell answers.

    Attributes:
        shells: The shell's processes: the copies that went on in its place come behind it.
    """

    def __init__(self, host: Host, mark: str, directory: str, control_fd: int) -> None:
        self.shells: list[int] = []
        self._control_fd = control_fd
        self._host = host
        self._mark = mark
        self._directory = directory

    def run_mark(self, number: int) -> str:
        """Value of `XEC_RUN_ID` for what a command starts."""
        return f"{self._mark}.{number}."

    async def control(
        self, process: KeptProcess, signals: list[str], spare: Spare, *, latest: bool
    ) -> list[ProcessInfo]:
        """Signal what a command has started; what of it lives then.

        Args:
            process: The command.
            signals: Names; none only lists.
            spare: See `session_line`.
            latest: No later command has begun: what the shell has now, and had not before, is of this one.

        Raises:
            TransportError: the host cannot be asked.
        """
        busy = process.exit is None
        known = process.older is not None and latest
        return await self._asked(
            session_line(
                self._mark, process.number, self._directory, self.shells, control_fd=self._control_fd, busy=busy, signals=signals,
                spare=spare, shell=(process.pid or 0) if known else 0, older=(process.older or ()) if known else (),
            )
        )  # fmt: skip

    async def stop_all(self, signals: list[str]) -> list[ProcessInfo]:
        """Signal all that the session has started, its shell included; what lives then.

        Raises:
            TransportError: the host cannot be asked.
        """
        return await self._asked(
            session_line(
                self._mark, None, self._directory, self.shells, control_fd=self._control_fd, busy=True, signals=signals
            )
        )

    async def _asked(self, line: Launch) -> list[ProcessInfo]:
        done = await self._host.helper(line)
        found = read_living(done.stdout, line.mark)
        if found is None:
            raise TransportError(f"{self._host.target}: it did not say what still runs")
        return found

    def watcher(self, process: KeptProcess, before: Callable[[], Sample | None]) -> Sampler | None:
        """What reads the use of a command; None where the shell's number is not known."""
        if not process.pid:
            return None
        line = tree_line(Begun(process.pid, "", has_bash=False), self.run_mark(process.number))
        return HostSampler(self._host, line, process.run_id, process.started_at, before=before)
