"""Bash started ahead: real `bash -c` processes that wait, and are given their script at the last moment.

A spare *is* `bash -c SCRIPT`: the same `$$`, `$-`, messages, line numbers, `set -x`, exit status, signals and rusage, since
nothing stands between it and the script. Two things make that possible:

* It is started as `bash -c PLACEHOLDER` with `BASH_ENV` naming a pipe. Bash reads that file to its end before it looks at
  the script, so it has done all work of its own, and waits, until the pipe is closed.
* The placeholder is a long argument, and Linux lets a process write into the memory of a child that it has started
  (proc_pid_mem(5)): the script replaces the placeholder where it stands, in the argument vector. `ps` shows the script, as
  for any other `bash -c`.

Whether both work here is tried once for each shell; where they do not, and for scripts, variables and options that a spare
cannot have, a command is started as a plain run is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import time
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from xec_magic.errors import SpawnError
from xec_magic.transport import unforked
from xec_magic.transport.base import ExitStatus, StartRequest
from xec_magic.transport.dialects.base import quoted
from xec_magic.transport.localprocess import LocalProcess
from xec_magic.transport.reader import readers_of
from xec_magic.transport.sampling.threads import SamplingThreads
from xec_magic.transport.spawn.proctree import stat_fields
from xec_magic.transport.spawned import Spawned
from xec_magic.transport.spawner import Spawner

__all__ = ["ROOM_BYTES", "Kind", "Order", "Spare", "start_spare"]

ROOM_BYTES: Final = 16 * 1024  # the placeholder's length; a longer script is started as a plain run is
PLACEHOLDER: Final = b"exit 96".ljust(ROOM_BYTES)
EMPTY: Final = b"exit 96".ljust(ROOM_BYTES, b"\0")  # what then stands there until it gets its script
STATE: Final = 0  # field 3 of proc_pid_stat(5), counted behind the process's name
FLAGS: Final = 6  # field 9
PENDING: Final = 28  # field 31: signals that it has not yet heard; one that ends it shows there as KILL
ARG_END: Final = 46  # field 49
STAT_BYTES: Final = 1024
ARGUMENT_TRIES: Final = 100
ARGUMENT_PAUSE_S: Final = 0.005
_WAITING: Final = (b"S", b"R", b"D")
_KILL: Final = 1 << (signal.SIGKILL - 1)
_EXITING: Final = 4  # PF_EXITING of linux/sched.h


@dataclass(frozen=True, eq=False)
class Kind:
    """What a spare cannot change any more: commands that agree in it can use the same spares."""

    number: int
    argv: tuple[bytes, ...]
    rc: str
    directory: str
    environ: dict[bytes, bytes]
    env: tuple[tuple[str, str], ...]
    umask: int


class Order(NamedTuple):
    """What a spare is given.

    Attributes:
        script: What stands in its arguments.
        text: What it reads before that.
    """

    script: bytes
    text: bytes

    @classmethod
    def of(cls, script: bytes, kind: Kind) -> Order:
        """What makes a spare of a kind run a script."""
        text = b"\\unset -v BASH_ENV; BASH_EXECUTION_STRING=%s; " % quoted(script)
        if b"SECONDS" in script:
            text += b"SECONDS=0; "  # not the time for which it has waited
        return cls(script, text + b"\\: %s\n" % quoted(kind.environ.get(b"_", kind.argv[0])))  # for $_


@dataclass(frozen=True)
class Place:
    """Where a waiting shell is reached.

    Attributes:
        memory: Descriptor of its memory.
        address: Where in it the place for its script begins.
        stat: Descriptor of what the system says of it.
        directory: What its directory is known by.
    """

    memory: int
    address: int
    stat: int
    directory: tuple[int, int]

    def put(self, script: bytes) -> bool:
        """Put a script there; False when the shell has gone."""
        return os.pwrite(self.memory, script + b"\0", self.address) == len(script) + 1

    def close(self) -> None:
        """It is not needed any more."""
        os.close(self.memory)
        os.close(self.stat)


@dataclass(eq=False)
class Spare:
    """A shell that waits for its command.

    Attributes:
        place: Where its script goes; None where nothing can be put there.
        go: Our end of the pipe that it waits for.
        keep: Descriptors that it opens by name; closed when it has ended.
        stdout, stderr: Ends of pipes, to be read without blocking.
        report: The end of a pipe where the helper process says how it ended.
        released: It has been given its script, or should have been.
        spoilt: It could not be given its script.
    """

    number: int
    kind: Kind
    spawned: Spawned
    marker: bytes
    place: Place | None
    go: int
    keep: tuple[int, ...]
    stdout: int
    stderr: int
    report: int
    spoilt: bool = False
    born_at: float = field(default_factory=time.monotonic)
    released: bool = False

    @property
    def waits(self) -> bool:
        """It has not ended, by an error in its profile or from outside."""
        return not self.spawned.exit.done()

    def is_alive(self) -> bool:
        """Nothing has ended or stopped it, of which its end has not been told yet."""
        if self.place is None:
            return False
        try:
            stat = os.pread(self.place.stat, STAT_BYTES, 0)
            fields = stat[stat.rindex(b")") + 2 :].split()
            ending = int(fields[PENDING]) & _KILL or int(fields[FLAGS]) & _EXITING
            return fields[STATE] in _WAITING and not ending
        except (OSError, ValueError, IndexError):
            return False

    def is_where_it_should(self) -> bool:
        """Its directory still is what its path names: a directory may have been removed and made anew."""
        try:
            return self.place is not None and _identity(self.kind.directory) == self.place.directory
        except OSError:
            return False

    @property
    def fits(self) -> bool:
        """The place for its script has been found."""
        return self.place is not None

    def forget_names(self, exit: asyncio.Future[ExitStatus]) -> None:  # noqa: A002 - the word for it
        """It has ended, and opens nothing by name any more. Where nobody can say that, it is made sure of: by a number that soon is
        another command's pipe it would take that one's output, and run it.
        """
        if exit.result().lost and self.keep and not self._has_begun():
            self.spawned.end()
        self.close_names()

    def close_names(self) -> None:
        """It is ended, or opens nothing by name any more. On the loop's thread; a second call does nothing."""
        keep, self.keep = self.keep, ()
        for fd in keep:
            os.close(fd)

    def _has_begun(self) -> bool:
        """It has opened the pipe that it waits for, and read what is there for it."""
        poll = select.poll()
        poll.register(self.keep[0], select.POLLIN)
        return self.go < 0 and not any(event & select.POLLIN for _, event in poll.poll(0))

    def let_go(self) -> None:
        """End it, when nobody will use it."""
        if self.waits:
            with contextlib.suppress(OSError):
                os.killpg(self.spawned.pid, signal.SIGKILL)
        self.close_streams()
        self._close_place()

    def close_streams(self) -> None:
        """Nobody reads them any more."""
        for fd in (self.stdout, self.stderr, self.report):
            os.close(fd)

    def _close_place(self) -> None:
        go, self.go = self.go, -1
        if go >= 0:
            unforked.close(go)  # first: the shell goes on when that is closed
        place, self.place = self.place, None
        if place is not None:
            place.close()

    def process(self, request: StartRequest, sampling: SamplingThreads) -> LocalProcess:
        """The command that it has become. On the loop's thread."""
        os.close(self.report)  # the spawner says the same to the loop
        readers = readers_of(self.stdout, self.stderr, request.sink, request.changed)
        return LocalProcess(self.spawned, request, self.marker, readers, None, sampling)

    def release(self, order: Order) -> bool:
        """Give it its script and let it go on; False when it cannot have it. The descriptors for that are closed."""
        self.released = True
        try:
            given = self.place is not None and self.place.put(order.script)
            if given:
                os.write(self.go, order.text)
        except OSError:
            given = False
        self._close_place()
        self.spoilt = not given
        return given


async def start_spare(spawner: Spawner, kind: Kind, number: int, mark: str, preamble: str) -> Spare:
    """Start a spare, and find the place for its script.

    Args:
        spawner: Starts it.
        kind: What it is for.
        number: Its number among the spares.
        mark: Its `XEC_RUN_ID`.
        preamble: A file that it runs first; empty for none.

    Raises:
        SpawnError: it cannot be started.
    """
    ours: list[int] = []
    theirs: list[int] = []
    try:
        wait, go = os.pipe()
        unforked.note(go)
        ours += [go, wait]
        theirs.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        for _ in ("stdout", "stderr", "report"):
            read, write = os.pipe()
            os.set_blocking(read, False)
            ours.append(read)
            theirs.append(write)
        env = dict(kind.environ)
        env.update((os.fsencode(name), os.fsencode(value)) for name, value in kind.env)
        env[b"XEC_RUN_ID"] = mark.encode()
        env[b"BASH_ENV"] = _name(wait)
        keep: tuple[int, ...] = (wait,)
        if preamble:
            first = os.memfd_create("xec-start", os.MFD_CLOEXEC)
            ours.append(first)
            os.write(first, b". '%s'\n. %s\n" % (os.fsencode(preamble), _name(wait)))
            env[b"BASH_ENV"] = _name(first)
            keep = (wait, first)
        spawned = await spawner.spawn([*kind.argv, PLACEHOLDER], kind.directory, env, theirs, kind.umask)
    except OSError as error:
        for fd in ours:
            unforked.close(fd)
        raise SpawnError(f"cannot start a shell ahead: {error.strerror}") from error
    except BaseException:
        for fd in ours:
            unforked.close(fd)
        raise
    finally:
        for fd in theirs:
            os.close(fd)
    try:
        place = await _place_in(spawned.pid)
    except BaseException:  # nobody will have it
        with contextlib.suppress(OSError):
            os.killpg(spawned.pid, signal.SIGKILL)
        for fd in ours:
            unforked.close(fd)
        raise
    marker = b"XEC_RUN_ID=" + mark.encode() + b"\0"
    stdout, stderr, report = ours[2:5]
    spare = Spare(number, kind, spawned, marker, place, go, keep, stdout, stderr, report)
    spawned.exit.add_done_callback(spare.forget_names)
    return spare


def _name(fd: int) -> bytes:
    """How another process of this user can open a descriptor of this process."""
    return b"/proc/%d/fd/%d" % (os.getpid(), fd)


async def _place_in(pid: int) -> Place | None:
    """Where the script of a shell that has been started goes; None where nothing can be put there."""
    for _ in range(ARGUMENT_TRIES):
        try:
            end = int(stat_fields(pid)[ARG_END])
            if end and (place := _prepared(pid, end - len(PLACEHOLDER) - 1)):
                return place
        except (PermissionError, FileNotFoundError, ValueError, IndexError):
            break
        except OSError:
            pass
        # Its start is reported when the old program has gone; the new one's arguments may not be in place yet.
        await asyncio.sleep(ARGUMENT_PAUSE_S)
    return None


def _prepared(pid: int, address: int) -> Place | None:
    """The place at an address, made empty; None when the placeholder is not there.

    Raises:
        OSError: there is nothing yet, or it is not allowed.
    """
    with contextlib.ExitStack() as unless_prepared:

        def opened(name: str, flags: int) -> int:
            fd = os.open(f"/proc/{pid}/{name}", flags | os.O_CLOEXEC)
            unless_prepared.callback(os.close, fd)
            return fd

        memory, stat = opened("mem", os.O_RDWR), opened("stat", os.O_RDONLY)
        if os.pread(memory, ROOM_BYTES, address) != PLACEHOLDER or os.pwrite(memory, EMPTY, address) != ROOM_BYTES:
            return None
        directory = _identity(f"/proc/{pid}/cwd")
        unless_prepared.pop_all()
        return Place(memory, address, stat, directory)


def _identity(directory: str) -> tuple[int, int]:
    """What tells a directory from all others that there are."""
    found = os.stat(directory)
    return found.st_ino, found.st_dev
