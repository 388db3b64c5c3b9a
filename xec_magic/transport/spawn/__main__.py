"""The spawner: starts commands for the kernel, reports how they end, and ends them when the kernel is gone.

Why a process of its own:

* The kernel is never forked, whatever it holds, and its loop never waits for an exec.
* The peak memory that wait4(2) reports begins at the size of the process that called exec (Linux carries
  `hiwater_rss` over): started from a kernel of 300 MB, `true` seems to have used 300 MB. This one is small.
* When the kernel is killed, its end of the socket closes, and everything it had started is ended from here; then its
  temporary files are removed.

Messages are marshal'd tuples behind four bytes of length, little-endian. To the spawner:
`(number, argv, cwd, environ, own, umask, grouped, sent, kept)`, with `sent` descriptors. Two are stdout and stderr, of a command whose stdin is
empty; three begin with stdin; a fourth is a pipe that gets, besides, what the kernel is told of its end, without the length. The last `kept` of two or
three stay open here until the command has ended. `own` are variables besides `environ`, which is then remembered: None stands for the one of the
last such message. From it: `("started", number, pid, at)`,
`("refused", number, errno, text)`,
`("exited", number, pid, status, user_s, system_s, peak, in_blocks, out_blocks, read_bytes, written_bytes, tree_peak)`.
"""

from __future__ import annotations

import array
import contextlib
import errno
import functools
import marshal
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # isolated mode leaves it out
import proctree  # type: ignore[import-not-found]  # by path: the package itself is not importable in isolated mode

# What Python itself ignores must not stay ignored in a command.
SIGNALS_TO_RESET = [signal.SIGPIPE, signal.SIGXFSZ]
CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", None)  # Linux
GRACE_S = 1.0  # a rung of the ladder once the kernel is gone; Jupyter kills what is left of it after 5 s
LENGTH = struct.Struct("<I")
STREAMS = 3
TOLD_MS = 1  # so long the word of a start waits for another one to go with, where it can wait; what is printed meanwhile is read already


def main(descriptor: int, marker: bytes, temporary: str) -> None:
    os.set_inheritable(descriptor, False)  # a command that held it would hide the kernel's end from us
    kernel = socket.socket(fileno=descriptor)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    # Handlers, not SIG_IGN: an ignored signal would stay ignored in every command.
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    replies = Replies(kernel)
    running: dict[int, Running] = {}
    remains: set[int] = set()
    groups = Grouped()
    known: dict[bytes, bytes] = {}  # the environment of the last command with variables of its own besides
    poll = select.poll()
    poll.register(kernel, select.POLLIN)
    poll.register(wake_read, select.POLLIN)
    while True:
        alive = True
        # A number that names a session of ours can name a stranger's once that session is empty, so empty ones are
        # forgotten soon: numbers do not come round within a second.
        if remains:
            remains -= {pid for pid in remains if not has_members(pid)}
        events = poll.poll(TOLD_MS if replies.since else 1000 if remains else None)
        for ready, _ in events:
            if ready == wake_read:
                os.read(wake_read, 4096)
                reap(replies, running, remains, groups)
            else:
                alive = serve(kernel, replies, running, known, groups)
        if replies.since and (not events or time.monotonic() > replies.since + TOLD_MS / 1000):
            replies.send()
        groups.tidy()
        if not alive:
            break
    kernel.close()
    end_all(running, remains, marker)
    groups.tidy()
    remove(temporary, marker)


class Running(NamedTuple):
    """A command that has not ended."""

    number: int
    kept: list[int]  # descriptors that are open until then
    report: int = -1  # a pipe that gets a copy of what is said of its end; -1 for none
    counters: int = -1  # where the bytes that it reads and writes are counted; -1 where that is opened at its end


class Grouped:
    """The control groups of commands that asked for one."""

    def __init__(self) -> None:
        self._groups: Any = None
        self._of: dict[int, str] = {}
        self._entered = ""

    def enter(self, number: int) -> None:
        """Be in a group of its own while the command is started, where there can be one."""
        if self._groups is None:
            import grouping  # type: ignore[import-not-found]  # here: few commands ask for it

            self._groups = grouping.Groups()
        self._entered = self._groups.make(number)

    def leave(self, pid: int | None) -> None:
        """Come back; what was started is in it."""
        group, self._entered = self._entered, ""
        if group:
            self._groups.leave()
            if pid is None:
                self._groups.read(group)
            else:
                self._of[pid] = group

    def read(self, pid: int) -> tuple[int | None, float | None, float | None]:
        """The peak of a command that has ended, and its seconds."""
        group = self._of.pop(pid, "")
        return self._groups.read(group) if group else (None, None, None)

    def tidy(self) -> None:
        """Remove groups that have become empty."""
        if self._groups is not None:
            self._groups.tidy()


class Replies:
    """What the kernel is told. Several in one go wake it once.

    Attributes:
        since: When the oldest was added that it has not been told; 0 when there is none.
    """

    def __init__(self, kernel: socket.socket) -> None:
        self.since = 0.0
        self._kernel = kernel
        self._untold = b""

    def add(self, message: bytes) -> None:
        """Something to tell."""
        self._untold += LENGTH.pack(len(message)) + message
        self.since = self.since or time.monotonic()

    def send(self) -> None:
        """Tell all of it."""
        if self._untold:
            with contextlib.suppress(OSError):  # the kernel has gone; the main loop notices
                self._kernel.sendall(self._untold)
            self._untold, self.since = b"", 0.0


def serve(
    kernel: socket.socket, replies: Replies, running: dict[int, Running], known: dict[bytes, bytes], groups: Grouped
) -> bool:
    """Start one command; False when the kernel has gone."""
    try:
        head, descriptors = receive_descriptors(kernel)
        if not head:
            return False
        head += receive(kernel, LENGTH.size - len(head))
        body = receive(kernel, LENGTH.unpack(head)[0])
        number, argv, cwd, environ, own, umask, grouped, sent, kept = marshal.loads(body)
    except (OSError, EOFError):
        return False
    env = environ
    if own is not None:
        if environ is not None:
            known.clear()
            known.update(environ)
        env = {**known, **own}
    os.umask(umask)
    if grouped:
        groups.enter(number)
    at = time.monotonic()  # the clock is the same in the kernel
    pid = None
    try:
        if len(descriptors) < sent:  # the system drops those that this process has no room for, and says nothing
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        pid = start(argv, cwd, env, descriptors[:STREAMS])
    except OSError as error:
        name = error.filename.decode("utf-8", "replace") if isinstance(error.filename, bytes) else error.filename
        replies.add(marshal.dumps(("refused", number, error.errno or 0, str(name or ""))))
    except (ValueError, TypeError) as error:
        replies.add(marshal.dumps(("refused", number, 0, str(error))))
    else:
        running[pid] = follow(number, pid, descriptors, sent, kept)
        replies.add(marshal.dumps(("started", number, pid, at)))
    groups.leave(pid)
    for descriptor in descriptors:
        os.close(descriptor)
    if pid is None or not kept:
        replies.send()
    os.chdir("/")  # keep no directory busy
    return True


def follow(number: int, pid: int, descriptors: list[int], sent: int, kept: int) -> Running:
    """A command that has been started; what of its descriptors stays open is taken from them."""
    if sent <= STREAMS:
        first = sent - kept
        command = Running(number, descriptors[first:])
        del descriptors[first:]
        return command
    # A thread waits for its end: what can be done before is done before.
    try:
        counters = os.open(f"/proc/{pid}/io", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        counters = -1
    return Running(number, [], descriptors.pop(), counters)


def start(argv: list[bytes], cwd: str, env: dict[bytes, bytes], descriptors: list[int]) -> int:
    """Start a command as the leader of a session of its own; gives its process id.

    posix_spawn(3) costs half of what subprocess.Popen does. It has no working directory, so this process, which has
    one thread, goes there itself. All other descriptors of it are closed on exec.
    """
    os.chdir(cwd)
    path = find(argv[0], env)
    actions: list[tuple[Any, ...]] = [
        (os.POSIX_SPAWN_DUP2, descriptor, number)
        for number, descriptor in enumerate(descriptors, STREAMS - len(descriptors))
    ]
    if len(descriptors) < STREAMS:
        actions.append((os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0))
    return os.posix_spawn(path, argv, env, file_actions=actions, setsid=True, setsigdef=SIGNALS_TO_RESET, setsigmask=())


def find(name: bytes, env: dict[bytes, bytes]) -> bytes:
    """The program that a name means in an environment.

    Raises:
        FileNotFoundError: no such program.
    """
    if b"/" in name:
        return name
    for path in candidates(name, env.get(b"PATH", os.defpath.encode())):
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


@functools.lru_cache(maxsize=16)
def candidates(name: bytes, search: bytes) -> list[bytes]:
    """Where a program may be, in the order of a search path."""
    return [(directory or b".") + b"/" + name for directory in search.split(b":")]


def reap(replies: Replies, running: dict[int, Running], remains: set[int], groups: Grouped) -> None:
    """Report every child that has ended."""
    unit = 1 if sys.platform == "darwin" else 1024
    awaited = False
    while running and (ended := collected(running)) is not None:
        pid, status, usage, through = ended
        command = running.pop(pid, None)
        if command is None:
            continue
        for descriptor in command.kept:  # before the word of its end: the kernel finds all of it at once
            os.close(descriptor)
        peak = usage.ru_maxrss * unit
        tree_peak, user_s, system_s = groups.read(pid)
        exited = marshal.dumps((
            "exited", command.number, pid, status, max(usage.ru_utime, user_s or 0.0), max(usage.ru_stime, system_s or 0.0),
            peak if peak > own_peak() else None, usage.ru_inblock, usage.ru_oublock, *through, tree_peak,
        ))  # fmt: skip
        if command.report >= 0:  # first: a thread waits for it
            with contextlib.suppress(OSError):  # or did
                os.write(command.report, exited)
            os.close(command.report)
        replies.add(exited)
        if has_members(pid):
            remains.add(pid)  # the shell has gone, children of it are still there
        awaited = awaited or command.report < 0
    if (
        awaited
    ):  # by the loop; it would only be in the way of a thread that has the report, and hears of it a moment later
        replies.send()


def collected(running: dict[int, Running]) -> tuple[int, int, Any, tuple[int | None, int | None]] | None:
    """A child that has ended: its number, how, what it used, and the bytes that it read and wrote; None when there is none."""
    through: tuple[int | None, int | None] = (None, None)
    try:
        if proctree.HAS_PROC:  # look before it is collected: then its counters are gone
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                return None
            pid = ended.si_pid
            through = io_of(pid, running[pid].counters if pid in running else -1)
            pid, status, usage = os.wait4(pid, 0)
        else:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, status, usage, through) if pid else None


def io_of(pid: int, file: int) -> tuple[int | None, int | None]:
    """Bytes that an ended child, and the children that it had waited for, read and wrote through calls.

    Args:
        file: Where they are counted, closed afterwards; -1 where that is not open yet.
    """
    try:
        if file < 0:
            file = os.open(f"/proc/{pid}/io", os.O_RDONLY | os.O_CLOEXEC)  # open() asks for more than is used here
        try:
            words = os.read(file, 256).split()
        finally:
            os.close(file)
        return int(words[1]), int(words[3])
    except (OSError, ValueError, IndexError):  # no /proc, or it had become another user
        return None, None


_own_peak = [0]


def own_peak() -> int:
    """This process's peak memory in bytes, below which a child's cannot be told."""
    if not _own_peak[0]:
        _own_peak[0] = 16 * 2**20
        with (
            contextlib.suppress(OSError, ValueError),
            open("/proc/self/status", encoding="ascii", errors="replace") as file,
        ):
            for line in file:
                if line.startswith("VmHWM:"):
                    _own_peak[0] = int(line.split()[1]) * 1024 + 2**18  # a little above: it may still grow
    return _own_peak[0]


def end_all(running: Iterable[int], remains: set[int], marker: bytes) -> None:
    """The stop ladder for all that is left, then the end of this process."""
    sessions = set(running) | remains
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        collect()
        alive = proctree.living(sessions, marker)
        if not alive:
            return
        proctree.send(number, sessions, alive)
        deadline = time.monotonic() + GRACE_S
        while alive and time.monotonic() < deadline:
            time.sleep(0.02)
            collect()
            alive = proctree.living(sessions, marker)
            if number == signal.SIGKILL:
                proctree.send(number, sessions, alive)  # what was forked meanwhile


def remove(temporary: str, marker: bytes) -> None:
    """Remove the kernel's temporary files, which a kernel that was killed has left behind."""
    kernel_id = os.fsdecode(marker).partition("=")[2].rstrip(".")
    if not kernel_id or os.path.basename(temporary) != kernel_id or not os.path.isfile(f"{temporary}/lock"):
        return  # nothing is there, or it is none of ours
    import shutil  # here: it would make this process larger all the time

    shutil.rmtree(temporary, ignore_errors=True)


def has_members(session: int) -> bool:
    try:
        os.killpg(session, 0)
    except OSError:
        return False
    return True


def collect() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def receive_descriptors(kernel: socket.socket) -> tuple[bytes, list[int]]:
    """The begin of a message, and its descriptors: no command inherits them, it gets copies as 0, 1, 2 and nothing else.

    socket.recv_fds does the same, but passes no flag on.
    """
    found = array.array("i")
    data, ancillary, _, _ = kernel.recvmsg(
        LENGTH.size, socket.CMSG_LEN((STREAMS + 1) * found.itemsize), CLOSE_ON_EXEC or 0
    )
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(content[: len(content) - len(content) % found.itemsize])
    if CLOSE_ON_EXEC is None:
        for descriptor in found:
            os.set_inheritable(descriptor, False)
    return data, list(found)


def receive(kernel: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = kernel.recv(min(size - len(data), 1 << 20))
        if not part:
            raise EOFError
        data += part
    return data


if __name__ == "__main__":
    if "--portable" in sys.argv:
        proctree.HAS_PROC = False
    main(int(sys.argv[1]), os.fsencode(sys.argv[2]), sys.argv[3])
