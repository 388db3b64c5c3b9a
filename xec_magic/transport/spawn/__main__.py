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
import sys
import time
from collections.abc import Iterable
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # isolated mode leaves it out
import proctree  # type: ignore[import-not-found]  # by path: the package itself is not importable in isolated mode
from grouped import Grouped  # type: ignore[import-not-found]
from reaping import Reaper, Running, has_members  # type: ignore[import-not-found]
from replies import LENGTH, Replies  # type: ignore[import-not-found]

# What Python itself ignores must not stay ignored in a command; what whoever started the kernel ignores must. All others are named
# as well: for each that is not, glibc asks first what is done about it, and then resets it: a tenth of posix_spawn.
SIGNALS_TO_RESET = [
    number
    for number in signal.valid_signals()
    if number in {signal.SIGPIPE, signal.SIGXFSZ}
    or (number not in {signal.SIGKILL, signal.SIGSTOP} and signal.getsignal(number) is not signal.SIG_IGN)
]
CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", None)  # Linux
GRACE_S = 1.0  # a rung of the ladder once the kernel is gone; Jupyter kills what is left of it after 5 s
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
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored, nobody can wait for a child
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    replies, groups = Replies(kernel), Grouped()

    def wake() -> None:
        with contextlib.suppress(BlockingIOError):  # it is about to wake up
            os.write(wake_write, b"\0")

    def give_up() -> None:  # as if the kernel had gone: all is ended
        with contextlib.suppress(OSError):
            kernel.shutdown(socket.SHUT_RDWR)

    reaper = Reaper(replies, groups, wake, proc=proctree.HAS_PROC)
    reaper.start(give_up)
    known: dict[bytes, bytes] = {}  # the environment of the last command with variables of its own besides
    poll = select.poll()
    poll.register(kernel, select.POLLIN)
    poll.register(wake_read, select.POLLIN)
    alive = True
    while alive:
        # A number that names a session of ours can name a stranger's once that session is empty, so empty ones are
        # forgotten soon: numbers do not come round within a second.
        for pid in tuple(reaper.remains):
            if not has_members(pid):
                reaper.remains.discard(pid)
        events = poll.poll(TOLD_MS if replies.since else 1000 if reaper.remains else None)
        for ready, _ in events:
            if ready == wake_read:
                os.read(wake_read, 4096)
            else:
                alive = serve(kernel, replies, reaper, known, groups)
        since = replies.since
        if since and (not events or time.monotonic() > since + TOLD_MS / 1000):
            replies.send()
        with reaper.mutex:
            groups.tidy()
    kernel.close()
    end_all(reaper.running, reaper.remains, marker)
    groups.tidy()
    remove(temporary, marker)


def serve(kernel: socket.socket, replies: Replies, reaper: Reaper, known: dict[bytes, bytes], groups: Grouped) -> bool:
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
    pid = None
    with reaper.mutex:
        if grouped:
            groups.enter(number)
        at = time.monotonic()  # the clock is the same in the kernel
        try:
            if len(descriptors) < sent:  # the system drops those that this process has no room for, and says nothing
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            pid = start(argv, cwd, env, descriptors[:STREAMS])
        except OSError as error:
            name = error.filename.decode("utf-8", "replace") if isinstance(error.filename, bytes) else error.filename
            replies.add(marshal.dumps(("refused", number, error.errno or 0, str(name or ""))), at)
        except (ValueError, TypeError) as error:
            replies.add(marshal.dumps(("refused", number, 0, str(error))), at)
        else:
            replies.add(marshal.dumps(("started", number, pid, at)), at)  # before its end can be reported
            reaper.add(pid, follow(number, pid, descriptors, sent, kept))
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
