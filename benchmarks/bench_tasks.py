"""Tasks: what scheduling costs a task, and a thousand times `true` beside doit, dask and xargs.

Scheduling is the difference between two ways to run the same plans on a scripted host, where a command takes no time: as
tasks, and by the executor alone, each started when another has ended; for the chain one at a time, as it has to be. Both keep
all results. CPU seconds of the whole process count, since nothing here waits for anything. The building of the tasks is not in
it, the checks of the graph are.
"""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from common import Report, arguments, duration, interleave, ratio

from xec_magic.transport.strict import strict_script

JOBS = 4
PEER_S = 300  # within which another tool has to be through
SHAPES = {
    "independent": lambda _: [],
    "a tree": lambda number: [f"t{(number - 1) // 2}"] if number else [],
    "one chain": lambda number: [f"t{number - 1}"] if number else [],
}
DODO = """
def task_true():
    for number in range({count}):
        yield {{"name": str(number), "actions": ["true"]}}
"""
DASK = """
import subprocess
from dask.threaded import get
def run(): subprocess.run("true", shell=True, executable="/bin/bash", check=True)
names = [f"t{{number}}" for number in range({count})]
get({{name: (run,) for name in names}}, names, num_workers={jobs})
"""


def as_tasks(count, shape):
    """CPU seconds that a graph of tasks takes."""
    import xec_magic as xec
    from xec_magic.transport.fake import Exit, FakeHost

    host = FakeHost("bench")
    host.on("", Exit(0))
    with xec.Executor() as executor:
        executor.run("warm", target=host.target)
        tasks = executor.tasks(target=host.target)
        for number in range(count):
            tasks.add(f"t{number}", "true", needs=SHAPES[shape](number))
        gc.collect()
        begun = time.process_time()
        assert tasks.run(jobs=JOBS).ok
        return time.process_time() - begun


def by_the_executor(count, jobs):
    """CPU seconds that the same plans take without a graph."""
    from dataclasses import replace

    from xec_magic.command import Command
    from xec_magic.engine.executor import Executor
    from xec_magic.plan import Plan
    from xec_magic.transport.fake import Exit, FakeHost

    host = FakeHost("bench")
    host.on("", Exit(0))
    plan = Plan(Command("true", target=host.target))
    plans = iter([replace(plan, label=f"t{number}") for number in range(count)])
    results, over = [], threading.Event()

    def start():
        following = next(plans, None)
        if following is not None:
            run = executor.plan_run(following, check=False)
            executor.begin(run)
            run.add_done_callback(ended)

    def ended(result):
        results.append(result)
        start()
        if len(results) == count:
            over.set()

    with Executor() as executor:
        executor.start(plan).wait()
        gc.collect()
        begun = time.process_time()
        executor.post(lambda: [start() for _ in range(jobs)])
        over.wait()
        return time.process_time() - begun


def scheduling(report, counts, rounds):
    """Microseconds a task, for two sizes."""
    contestants = {}
    for count in counts:
        for name, jobs in (("executor alone", JOBS), ("executor alone, one at a time", 1)):
            contestants[f"{name}, {count:,}"] = lambda count=count, jobs=jobs: by_the_executor(count, jobs) / count
        for shape in SHAPES:
            contestants[f"{shape}, {count:,}"] = lambda count=count, shape=shape: as_tasks(count, shape) / count
    times = interleave(contestants, rounds, warm_up=0)
    cost = {}
    for count in counts:
        for shape in SHAPES:
            alone = times[f"executor alone{', one at a time' if shape == 'one chain' else ''}, {count:,}"]
            cost[shape, count] = 1e6 * (times[f"{shape}, {count:,}"].best - alone.best)
    for shape in SHAPES:
        report.at_most(f"scheduling of {counts[-1]:,} no-op tasks, {shape}", cost[shape, counts[-1]], 50, " µs a task")
    for shape in SHAPES:
        few, many = (times[f"{shape}, {count:,}"].best for count in (counts[0], counts[-1]))
        report.at_most(
            f"{shape}: a task of {counts[-1]:,} / a task of {counts[0]:,}, command included", many / few, 1.5, " ×"
        )
    report.table(
        ["no-op tasks", "CPU a task: best", "median", "of it scheduling (best - best)"],
        [
            [name, duration(t.best), duration(t.median), f"{cost[key]:.0f} µs" if key in cost else ""]
            for name, t in times.items()
            for key in [(name.rpartition(", ")[0], int(name.rpartition(", ")[2].replace(",", "")))]
        ],
    )


def bare(count):
    """The floor: the same shells, each in a session of its own with two pipes, by one thread that does nothing else."""
    bash, argv = shutil.which("bash"), ["bash", "-c", strict_script("true", "bash")]
    waiting, pids = select.epoll(), {}
    begun = ended = 0
    while ended < count:
        while begun < count and len(pids) < JOBS:
            begun += 1
            pipes = [os.pipe(), os.pipe()]
            actions = [(os.POSIX_SPAWN_DUP2, write, number) for number, (_, write) in enumerate(pipes, 1)]
            pid = os.posix_spawn(bash, argv, os.environ, file_actions=actions, setsid=True)
            pids[end := os.pidfd_open(pid)] = pid
            for fd in (end, *(read for read, _ in pipes)):
                waiting.register(fd, select.EPOLLIN)
            for _, write in pipes:
                os.close(write)
        for fd, _ in waiting.poll():
            pid = pids.pop(fd, None)
            if pid is not None:
                assert os.wait4(pid, 0)[1] == 0
                ended += 1
            elif os.read(fd, 65536):
                continue
            waiting.unregister(fd)
            os.close(fd)
    waiting.close()


class Helped:
    """The floor with the package's own parts: its loop, the helper process and two pipes a command; no runs, results, records."""

    def __init__(self):
        from xec_magic.transport.local import LocalTransport

        self.loop = asyncio.new_event_loop()
        self.transport = LocalTransport(secrets.token_hex(6), tempfile.gettempdir)
        self(1)  # starts the helper process

    def __call__(self, count):
        self.loop.run_until_complete(self._all(count))

    async def _all(self, count):
        from xec_magic.command import Command
        from xec_magic.transport.base import StartRequest

        numbers, left, over = iter(range(count)), count, self.loop.create_future()

        def start():
            number = next(numbers, None)
            if number is None:
                return
            there = []

            def changed():
                nonlocal left
                if there and there[0].exit is not None and not there[0].streams_open:
                    assert there.pop().exit.exit_code == 0
                    left -= 1
                    start()
                    if not left:
                        over.set_result(None)

            def started(process):
                there.append(process)
                changed()

            self.transport.post(StartRequest(Command("true"), str(number), lambda *_: None, changed), started)

        for _ in range(JOBS):
            start()
        await over

    def close(self):
        self.loop.run_until_complete(self.transport.close(5))
        self.loop.close()


def commands(report, count, rounds):
    """`true`, so many times, four at a time."""
    import xec_magic as xec

    executor = xec.Executor()
    executor.run("true")
    tasks = executor.tasks()
    for number in range(count):
        tasks.add(f"t{number}", "true")
    helped = Helped()
    numbers = "\n".join(map(str, range(count))).encode()
    folder = Path(tempfile.mkdtemp())
    (folder / "dodo.py").write_text(DODO.format(count=count))

    def shell(argv, given=None):
        subprocess.run(
            argv,
            input=given,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            timeout=PEER_S,
        )

    doit = [sys.executable, "-m", "doit", "-n", str(JOBS), "-P", "thread", "--db-file", str(folder / "db")]
    contestants = {
        "`xec.tasks`": lambda: tasks.run(jobs=JOBS),
        "the floor: posix_spawn of the same, one thread": lambda: bare(count),
        "our loop and helper process alone": lambda: helped(count),
        "`xargs -P 4`, each by `bash -c`": lambda: shell(
            ["xargs", "-P", str(JOBS), "-n", "1", "bash", "-c", "true"], numbers
        ),
        "`xargs -P 4`, the program alone": lambda: shell(["xargs", "-P", str(JOBS), "-n", "1", "true"], numbers),
        "doit, threads": lambda: shell(doit),
        "dask, threads": lambda: shell([sys.executable, "-c", DASK.format(count=count, jobs=JOBS)]),
    }
    times = interleave(contestants, rounds)
    executor.close()
    helped.close()
    shutil.rmtree(folder)
    ours, floor, alone, same, program, doit_times, dask_times = times.values()
    report.at_most(
        "tasks / xargs with `bash -c`, which starts the same processes",
        ratio(ours, same)[0],
        1.2,
        " ×",
        f" (best turns {ratio(ours, same)[1]:.3g})",
    )
    report.at_most(
        "tasks / xargs with the program alone, which starts no shell",
        ratio(ours, program)[0],
        1.2,
        " ×",
        f" (best turns {ratio(ours, program)[1]:.3g})",
    )
    report.target("tasks / doit", f"{ratio(ours, doit_times)[0]:.3g} ×", "< 1 ×", met=ratio(ours, doit_times)[0] < 1)
    report.target("tasks / dask", f"{ratio(ours, dask_times)[0]:.3g} ×", "< 1 ×", met=ratio(ours, dask_times)[0] < 1)
    report.table(
        [f"{count:,} × `true`, {JOBS} at a time", "best", "median", "a task (best)"],
        [[name, duration(t.best), duration(t.median), duration(t.best / count)] for name, t in times.items()],
    )
    report.say(
        f"`xec.tasks` takes {ratio(ours, floor)[0]:.3g} × as long as the floor (best turns {ratio(ours, floor)[1]:.3g}): one thread that starts the same shells, each in "
        "a session with two pipes, and does nothing else. "
        f"Our loop and helper process alone take {ratio(alone, floor)[0]:.3g} × as long as that (best turns {ratio(alone, floor)[1]:.3g}) and {ratio(alone, same)[0]:.3g} × as long as "
        f"`xargs` with `bash -c` (best turns {ratio(alone, same)[1]:.3g}): a process of its own starts the commands, so that the kernel is never forked; runs, results and "
        f"records come on top of it, {ratio(ours, alone)[0]:.3g} × in all (best turns {ratio(ours, alone)[1]:.3g}). "
        "A task is a script, so each needs a shell, a session of its own and two pipes; the program alone needs none of them. "
        "doit and dask are whole programs, their start (about half a second) included; they capture less or nothing."
    )


def main():
    options = arguments(__doc__).parse_args()
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="bench-tasks-")
    report = Report("tasks", "Tasks that need each other: scheduling, and many short commands.", options)
    scheduling(report, [1000, 3000] if options.quick else [1000, 10_000], 2 if options.quick else 5)
    commands(report, 200 if options.quick else 1000, 2 if options.quick else 5)
    report.finish()
    shutil.rmtree(os.environ["XDG_CACHE_HOME"])


if __name__ == "__main__":
    main()
