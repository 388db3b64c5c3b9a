"""A short command in a warm shell, through the public functions: a session and an isolated worker beside `bash -c`, and beside
the node tools xec, zx and execa; the same where a start-up file takes 150 ms; and many commands one right after the other."""

from __future__ import annotations

import json
import marshal
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from common import Peer, PeerError, Report, Times, arguments, duration, interleave, ratio

SCRIPT = "echo hello"
BASH = ["bash", "-c", SCRIPT]
RC_S = 0.15
PEERS = {"@xec-sh/core": "xec", "zx": "zx", "execa": "execa"}
REST_S = 0.02  # between two commands; a person's pace is slower still
TURN = 10  # commands of one contestant in a row
IN_A_ROW = 4  # as many as wait in a pool of that size
INSTALL_S = 300  # for each of them to be installed

# Each tool runs the same command, and says how long that took, in seconds, one number a line.
NODE = """
const tools = {
  xec: async () => { const { $ } = await import("@xec-sh/core"); return () => $`echo hello`; },
  zx: async () => { const { $ } = await import("zx"); $.verbose = false; return () => $`echo hello`; },
  execa: async () => { const { execa } = await import("execa"); return () => execa("echo hello", { shell: true }); },
};
const { createInterface } = await import("node:readline");
const run = await tools[process.argv[2]]();
await run();
console.log("ready");
for await (const _ of createInterface({ input: process.stdin })) {
  const begun = process.hrtime.bigint();
  await run();
  console.log(Number(process.hrtime.bigint() - begun) / 1e9);
}
"""


def node_tools(directory):
    """The node tools that could be installed, by name; and why others could not."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        return {}, "npm is not there, so the node tools were not measured."
    Path(directory, "package.json").write_text(json.dumps({"private": True, "type": "module"}))
    Path(directory, "bench.mjs").write_text(NODE)
    tools, missing = {}, []
    for package, name in PEERS.items():
        try:
            subprocess.run(
                ["npm", "install", "--no-audit", "--no-fund", "--silent", package],
                cwd=directory, capture_output=True, timeout=INSTALL_S, check=True,
            )  # fmt: skip
            tools[name] = Peer(["node", "bench.mjs", name], cwd=directory)
        except (subprocess.SubprocessError, PeerError) as error:
            missing.append(f"{name} ({error})")
    listing = ["npm", "ls", "--depth=0"]
    versions = subprocess.run(
        listing, cwd=directory, capture_output=True, text=True, timeout=INSTALL_S, check=False
    ).stdout
    installed = ", ".join(line.split()[-1] for line in versions.splitlines()[1:] if line.strip())
    return tools, f"Node tools: {installed or 'none'}." + "".join(f" Not measured: {why}." for why in missing)


class BareShell:
    """The floor: a bash that evaluates lines and keeps nothing apart: no streams of a command's own, no state, no stops."""

    def __init__(self):
        self._process = subprocess.Popen(
            ["bash", "-c", 'while IFS= read -r line; do eval "$line"; echo "s $?"; done'],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
        )  # fmt: skip

    def __call__(self):
        self._process.stdin.write(f"{SCRIPT}\n".encode())
        answer = b""
        while not answer.endswith(b"s 0\n"):
            answer += os.read(self._process.stdout.fileno(), 4096)

    def close(self):
        self._process.kill()
        self._process.wait()


class WaitingShell:
    """The floor of an isolated worker: a bash that was started before, is told what to do by a pipe, and is waited for by its parent."""

    def __init__(self):
        self._go = -1
        self._prepare()

    def _prepare(self):
        read, self._go = os.pipe()
        self._process = subprocess.Popen(
            ["bash", "-c", "exit 96"], env={**os.environ, "BASH_ENV": f"/proc/{os.getpid()}/fd/{read}"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, start_new_session=True,
        )  # fmt: skip
        self._read = read

    def __call__(self):
        """Run the command, and start the next shell in time that is not counted."""
        process = self._process
        begun = time.perf_counter()
        os.write(self._go, f"{SCRIPT}; exit\n".encode())
        os.close(self._go)
        for stream in (process.stdout, process.stderr):
            while os.read(stream.fileno(), 4096):
                pass
        process.wait()
        took = time.perf_counter() - begun
        self._let_go()
        self._prepare()
        return took

    def _let_go(self):
        os.close(self._read)
        self._process.stdout.close()
        self._process.stderr.close()

    def close(self):
        self._process.kill()
        self._process.wait()
        os.close(self._go)
        self._let_go()


HELPER = """
import marshal, os, socket, sys
kernel = socket.socket(fileno=int(sys.argv[1]))
while True:
    data, streams, _, _ = socket.recv_fds(kernel, 1 << 20, 3)
    if not data:
        break
    argv, environ = marshal.loads(data)
    pid = os.posix_spawnp(
        "bash", argv, environ, setsid=True,
        file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(streams)],
    )
    for fd in streams:
        os.close(fd)
    kernel.send(marshal.dumps(pid))
    counters = os.open(f"/proc/{pid}/io", os.O_RDONLY)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    through = os.read(counters, 256)
    os.close(counters)
    _, status, usage = os.wait4(pid, 0)
    kernel.send(marshal.dumps((status, usage.ru_utime, usage.ru_stime, usage.ru_maxrss, through)))
"""


class ReportedShell:
    """The same, started by a process beside, which tells how it ended and what it used: the kernel is not its parent."""

    argument = b"exit 96"

    def __init__(self):
        self._kernel, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-I", "-S", "-c", HELPER, str(theirs.fileno())]
            self._helper = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        self._prepare()

    def _prepare(self):
        self._read, self._go = os.pipe()
        self._streams, theirs = [], [os.open(os.devnull, os.O_RDONLY)]
        for _ in ("stdout", "stderr"):
            read, write = os.pipe()
            self._streams.append(read)
            theirs.append(write)
        environ = {**os.environb, b"BASH_ENV": b"/proc/%d/fd/%d" % (os.getpid(), self._read)}
        socket.send_fds(self._kernel, [marshal.dumps(([b"bash", b"-c", self.argument], environ))], theirs)
        for fd in theirs:
            os.close(fd)
        self._pid = marshal.loads(self._kernel.recv(4096))

    def __call__(self):
        """Run the command, and have the next shell started in time that is not counted."""
        begun = time.perf_counter()
        os.write(self._go, f"{SCRIPT}; exit\n".encode())
        os.close(self._go)
        marshal.loads(self._kernel.recv(4096))
        for fd in self._streams:
            while os.read(fd, 4096):
                pass
        took = time.perf_counter() - begun
        self._let_go()
        self._prepare()
        return took

    def _let_go(self):
        for fd in (self._read, *self._streams):
            os.close(fd)

    def close(self):
        os.close(self._go)  # the shell then ends by itself
        self._kernel.recv(4096)
        self._let_go()
        self._kernel.close()
        self._helper.wait()


class Answer(NamedTuple):
    """What comes of a command."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    usage: tuple
    started_at: datetime
    duration_s: float


class WholeShell(ReportedShell):
    """The same with what no worker can leave out: the floor of one that is written in Python.

    Before: whether what the command was planned in is still so (the environment, the directory, the mask of modes, the files of
    standing defaults), and whether the shell waits and nothing has stopped it. The shell gets the strict script as the argument
    that `ps` shows, and as variables that a script can ask for. At the end there is one object with all of it. There is no choice
    among several shells here, no planning, no secrets to mask, no interrupt to be held off, no record, and no second thread.
    """

    script = f"set -eu; shopt -s inherit_errexit 2>/dev/null || :; {SCRIPT}".encode()
    argument = b"exit 96".ljust(16 * 1024)  # a place for the script
    starting = 0.005  # seconds until it waits

    def __init__(self):
        self._environ, self._directory, self._umask = dict(os.environ._data), os.getcwd(), os.umask(0o22)
        os.umask(self._umask)
        self._missing = [f"{Path.home()}/.config/xec-magic/config.toml", f"{self._directory}/xec.toml"]
        self._file = f"{self._directory}/pyproject.toml"
        self._stamp = self._stamped()
        quoted = self.script.replace(b"'", b"'\\''")
        self._order = b"\\unset -v BASH_ENV; BASH_EXECUTION_STRING='%s'; \\: bash\n" % quoted
        super().__init__()

    def _stamped(self):
        try:
            status = os.stat(self._file)
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _prepare(self):
        super()._prepare()
        time.sleep(self.starting)
        self._state = os.open(f"/proc/{self._pid}/stat", os.O_RDONLY)
        self._memory = os.open(f"/proc/{self._pid}/mem", os.O_RDWR)
        self._place = int(self._fields()[46]) - len(self.argument) - 1  # arg_end of proc_pid_stat(5)
        os.pwrite(self._memory, b"exit 96".ljust(len(self.argument), b"\0"), self._place)

    def _fields(self):
        stat = os.pread(self._state, 1024, 0)
        return stat[stat.rindex(b")") + 2 :].split()

    def _ready(self):
        """It would be planned the same way now, and the shell waits."""
        if os.environ._data != self._environ or os.getcwd() != self._directory or os.umask(self._umask) != self._umask:
            return False
        if any(os.access(file, os.F_OK) for file in self._missing) or self._stamped() != self._stamp:
            return False
        fields = self._fields()
        return fields[0] in (b"S", b"R") and not int(fields[28])

    def __call__(self):
        """As for the others."""
        begun = time.perf_counter()
        if not self._ready():
            raise SystemExit("what the command was planned in has changed, or its shell has gone")
        os.pwrite(self._memory, self.script + b"\0", self._place)
        os.write(self._go, self._order)
        os.close(self._go)
        os.close(self._memory)
        os.close(self._state)
        status, *usage = marshal.loads(self._kernel.recv(4096))
        stdout, stderr = (b"".join(iter(lambda fd=fd: os.read(fd, 4096), b"")) for fd in self._streams)
        took = time.perf_counter() - begun
        started = datetime.fromtimestamp(time.time() - took, UTC)
        answer = Answer(os.waitstatus_to_exitcode(status), stdout, stderr, tuple(usage), started, took)
        took = time.perf_counter() - begun
        if answer[:3] != (0, b"hello\n", b""):
            raise SystemExit(f"not what it prints: {answer}")
        self._let_go()
        self._prepare()
        return took

    def close(self):
        os.close(self._memory)
        os.close(self._state)
        super().close()


def rested(function):
    """A function that begins after a rest, and times itself."""

    def run():
        time.sleep(REST_S)
        begun = time.perf_counter()
        own = function()
        return own if isinstance(own, float) else time.perf_counter() - begun

    return run


def commands(report, rounds, tools):
    """A builtin, beside what people use: one command right after the other, then each after a rest."""
    import xec_magic as xec

    bare, waiting, reported, whole = BareShell(), WaitingShell(), ReportedShell(), WholeShell()
    contestants = {
        "session": lambda: xec.run(SCRIPT, session="bench"),
        "isolated worker": lambda: xec.run(SCRIPT, worker=True),
        "plain `xec.run`": lambda: xec.run(SCRIPT),
        "`bash -c`": lambda: subprocess.run(BASH, capture_output=True, check=True),
        "a bare bash, lines in and out": bare,
        **{name: tool.ask for name, tool in tools.items()},
    }
    # Who comes after a rest finds cold caches, so either all have one or nobody has; isolated workers need one.
    at_once = interleave(
        {name: do for name, do in contestants.items() if name != "isolated worker"}, rounds // TURN, 2, TURN
    )
    contestants["a bare bash that waits, used once"] = waiting
    contestants["the same, started and reported by a process beside"] = reported
    contestants["the same, with what a worker must do"] = whole
    every = {name: rested(do) for name, do in contestants.items()}
    after_rest = interleave(every, rounds // 2 // TURN, 2, TURN)
    after_others = interleave(
        {name: every[name] for name in ("session", "isolated worker", "`bash -c`", *tools)}, rounds // 4
    )
    bare.close()
    waiting.close()
    reported.close()
    whole.close()
    for name, tool in tools.items():
        if tool.failure:
            report.say(f"{name} was not measured: {tool.failure}.")
            del at_once[name], after_rest[name]
    for ours, least, times in (("session", 6, at_once), ("isolated worker", 2.5, after_rest)):
        by_median, by_best = ratio(times["`bash -c`"], times[ours])
        how = ", each after a rest" if times is after_rest else ""
        report.at_least(f"`bash -c` / {ours}{how}", by_median, least, " ×", f" (best turns {by_best:.3g})")
    for floor, what, whose in (
        ("the same, with what a worker must do", "the smallest worker in Python", "the floor of the row above"),
        (
            "the same, started and reported by a process beside",
            "a bare bash that waits, reported by a process beside", "its floor in any language",
        ),
    ):  # fmt: skip
        by_median, by_best = ratio(after_rest["`bash -c`"], after_rest[floor])
        report.target(f"`bash -c` / {what}", f"{by_median:.3g} × (best turns {by_best:.3g})", whose, met=None)
    for name in tools.keys() & at_once.keys():
        by_median, by_best = ratio(at_once[name], at_once["session"])
        report.at_least(f"{name} / session", by_median, 12, " ×", f" (best turns {by_best:.3g})")
    for title, times in (
        (f"{TURN} in a row, one right after the other", at_once),
        (f"{TURN} in a row, each after a rest of {duration(REST_S)}", after_rest),
        ("each after a rest and after a command of another row", after_others),
    ):
        report.table(
            [f"`echo hello`, {title}", "best", "median", "`bash -c` by the median takes"],
            [
                [name, duration(t.best), duration(t.median), f"{ratio(times['`bash -c`'], t)[0]:.2f} × as long"]
                for name, t in times.items()
            ],
        )


def from_a_pool(report, rounds):
    """As many isolated workers as wait, one right after the other; then time for the next ones to start, which is not counted."""
    import xec_magic as xec

    def each(function):
        time.sleep(IN_A_ROW * REST_S)
        begun = time.perf_counter()
        for _ in range(IN_A_ROW):
            function()
        return (time.perf_counter() - begun) / IN_A_ROW

    with xec.workers(size=IN_A_ROW) as w:
        times = interleave(
            {
                "isolated worker": lambda: each(lambda: w.run(SCRIPT)),
                "`bash -c`": lambda: each(lambda: subprocess.run(BASH, capture_output=True, check=True)),
            },
            rounds,
            warm_up=5,
        )
    by_median, by_best = ratio(times["`bash -c`"], times["isolated worker"])
    report.at_least(
        f"`bash -c` / isolated worker, {IN_A_ROW} in a row from a pool of {IN_A_ROW}",
        by_median,
        2.5,
        " ×",
        f" (best turns {by_best:.3g})",
    )
    report.table(
        [f"{IN_A_ROW} in a row after a pause, each", "best", "median"],
        [[name, duration(t.best), duration(t.median)] for name, t in times.items()],
    )


def start_up(report, rounds):
    """With a start-up file that takes its time."""
    import xec_magic as xec

    with tempfile.NamedTemporaryFile("w", suffix=".sh") as rc:
        rc.write(f"sleep {RC_S}\ngreet() {{ echo hello; }}\n")
        rc.flush()
        cold = {**os.environ, "BASH_ENV": rc.name}
        with xec.workers(size=4, rc=Path(rc.name)) as w:
            contestants = {
                "session": lambda: w.run("greet", session="slow"),
                "isolated worker": lambda: w.run("greet"),
                "`bash -c`": lambda: subprocess.run(["bash", "-c", "greet"], capture_output=True, check=True, env=cold),
            }
            times = interleave(contestants, rounds, warm_up=3)
            tight = Times()
            for _ in range(3 * rounds):
                begun = time.perf_counter()
                w.run("greet")
                tight.seconds.append(time.perf_counter() - begun)
    for ours in ("session", "isolated worker"):
        by_median, by_best = ratio(times["`bash -c`"], times[ours])
        report.at_least(
            f"with a start-up file of 150 ms: `bash -c` / {ours}", by_median, 100, " ×", f" (best turns {by_best:.3g})"
        )
    report.table(
        ["with a start-up file of 150 ms", "best", "median"],
        [
            *([name, duration(t.best), duration(t.median)] for name, t in times.items()),
            ["isolated workers, one right after the other", duration(tight.best), duration(tight.median)],
        ],
    )


def in_a_row(report, turns):
    """Many, one right after the other: there is no time to start further shells ahead."""
    import xec_magic as xec

    def each(function):
        begun = time.perf_counter()
        for _ in range(turns):
            function()
        return (time.perf_counter() - begun) / turns

    times = interleave(
        {
            "session": lambda: each(lambda: xec.run(SCRIPT, session="bench")),
            "isolated worker": lambda: each(lambda: xec.run(SCRIPT, worker=True)),
            "`bash -c`": lambda: each(lambda: subprocess.run(BASH, capture_output=True, check=True)),
        },
        3,
    )
    report.table([f"{turns} in a row, each", "median"], [[name, duration(t.median)] for name, t in times.items()])
    report.say(
        "A spare is used once, and to start the next one takes as long as `bash -c` itself. Isolated workers are for commands with time between them, for scripts "
        "with a slow start-up, and for several at once; sessions are for many small ones."
    )


def main():
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=0)
    options = parser.parse_args()
    rounds = options.rounds or (40 if options.quick else 400)
    report = Report("worker", "One short command in a warm shell, from the call until its result is there.", options)
    with tempfile.TemporaryDirectory() as directory:
        tools, note = ({}, "") if options.quick else node_tools(directory)
        try:
            commands(report, rounds, tools)
        finally:
            for tool in tools.values():
                tool.close()
    if note:
        report.say(note)
    from_a_pool(report, rounds // 4)
    start_up(report, max(5, rounds // 20))
    in_a_row(report, 20 if options.quick else 100)
    report.finish()


if __name__ == "__main__":
    main()
