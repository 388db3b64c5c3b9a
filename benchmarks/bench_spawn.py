"""What a short command costs: `xec.run` beside `subprocess.run`, `%%xec` beside `%%bash` and `!`, and in a large kernel.

Cells run in a real ipykernel and are timed twice: in it, from IPython's `pre_run_cell` to its `post_run_cell`, and at the
client, from the request to the answer and the kernel's idle message.
"""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import threading
from functools import partial
from pathlib import Path

from common import Kernel, Report, Times, arguments, duration, interleave, ratio

from xec_magic.transport.strict import strict_script

BASH = ["bash", "-c", "true"]
BALLAST = 2**30

WARM_UP = 3
STAMP = """
import time as _time
_cells = []
def _before(info):
    _before.at = _time.perf_counter()
def _after(result):
    _cells.append((result.info.raw_cell, _time.perf_counter() - _before.at))
get_ipython().events.register("pre_run_cell", _before)
get_ipython().events.register("post_run_cell", _after)
_before.at = 0
"""

FLOOR = (
    f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\nfrom bench_spawn import Floor\n_floor = Floor()"
)
SHOW = 'display({"text/plain": "[xec] ok, no output", "text/html": "<div>ok · no output</div>"}, raw=True)'

LOOP = """
def _loop(turns):
    begun = time.perf_counter()
    for _ in range(turns):
        xec.run("true")
    return (time.perf_counter() - begun) / turns
"""


class Floor:
    """What no plain `xec.run` can do without: the same strict script in a session of its own with a pipe for each stream, started
    by posix_spawn, and a change of thread there and back, since another thread than the caller's has to see how it ends."""

    def __init__(self):
        self._asked, self._answered = queue.SimpleQueue(), queue.SimpleQueue()
        self._bash = shutil.which("bash")
        self._argv = ["bash", "-c", strict_script("true", "bash")]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            self._asked.get()
            self._answered.put(self._run())

    def _run(self):
        pipes = [os.pipe(), os.pipe()]
        actions = [(os.POSIX_SPAWN_DUP2, write, number) for number, (_, write) in enumerate(pipes, 1)]
        pid = os.posix_spawn(self._bash, self._argv, os.environ, file_actions=actions, setsid=True)
        for read, write in pipes:
            os.close(write)
            while os.read(read, 4096):
                pass
            os.close(read)
        return os.wait4(pid, 0)[1]

    def __call__(self):
        self._asked.put(None)
        assert self._answered.get() == 0


def functions(report, rounds):
    """The Python function beside the standard library's."""
    import xec_magic as xec

    times = interleave(
        {
            'xec.run("true")': lambda: xec.run("true"),
            'subprocess.run(["bash", "-c", "true"])': lambda: subprocess.run(BASH, capture_output=True, check=True),
            # With what xec.run gives as well: a session of its own, so that everything in it can be ended.
            "the same, start_new_session=True": lambda: subprocess.run(BASH, capture_output=True, check=True, start_new_session=True),
            "the floor: posix_spawn, two pipes, a session, two changes of thread": Floor(),
        },
        rounds, warm_up=20,
    )  # fmt: skip
    ours, theirs, _, floor = times.values()
    by_median, by_best = ratio(ours, theirs)
    report.at_most("`xec.run` / `subprocess.run`", by_median, 1.3, " ×", f" (best turns {by_best:.3g})")
    report.table(
        ["function", "best", "median"],
        [[f"`{name}`", duration(t.best), duration(t.median)] for name, t in times.items()],
    )
    report.say(
        f"`xec.run` takes {ratio(ours, floor)[0]:.3g} × as long as the floor (best turns {ratio(ours, floor)[1]:.3g}), which itself takes "
        f"{ratio(floor, theirs)[0]:.3g} × as long as `subprocess.run` (best turns {ratio(floor, theirs)[1]:.3g}). Between the two lie the helper process that starts "
        "commands, so that the kernel is never forked and what it started is ended with it, the readers of the streams, and what is measured of the command."
    )


def processor_time(report, turns):
    """Where the time of a command goes, as the system counts it: the same whatever else the machine does."""
    import psutil

    import xec_magic as xec

    if not Path("/proc/self/schedstat").exists():
        return
    floor = Floor()
    xec.run("true")
    helper = next(
        child.pid for child in psutil.Process().children() if any("spawn" in word for word in child.cmdline())
    )

    def used():
        tasks = {task.name: ran(task / "schedstat") for task in Path("/proc/self/task").iterdir()}
        own = tasks.pop(str(threading.get_native_id()))
        return own, sum(tasks.values()), ran(Path(f"/proc/{helper}/schedstat"))

    rows = []
    for name, function in (
        ("`xec.run`", lambda: xec.run("true")),
        ("the floor", floor),
        ("`subprocess.run`", lambda: subprocess.run(BASH, capture_output=True, check=True)),
    ):
        batches = []
        for _ in range(10):
            before = used()
            for _ in range(turns):
                function()
            batches.append([(after - start) / turns for start, after in zip(before, used(), strict=True)])
        parts = [min(column) for column in zip(*batches, strict=True)]
        rows.append([name, *(duration(part) for part in (*parts, sum(parts)))])
    report.table(
        [
            "processor time a command, without the command's own",
            "calling thread",
            "other threads",
            "helper process",
            "together",
        ],
        rows,
    )


def ran(schedstat):
    """Seconds of processor time that a task has had."""
    return int(schedstat.read_text().split()[0]) / 1e9


def cells(report, rounds):
    """Cells in kernels that show results statically and on a page with widgets."""
    with (
        Kernel({"XEC_UI": "static"}, allow_stdin=False) as static,
        Kernel({"XEC_UI": "auto"}) as page,
        Kernel() as plain,
    ):
        for kernel in (static, page, plain):
            kernel.ask("%load_ext xec_magic")
            kernel.ask("import xec_magic as xec\nfrom IPython.display import display")
            kernel.ask(STAMP)
        plain.ask(FLOOR)
        contestants = {
            "`%%xec`, shown statically": (static, "%%xec\ntrue"),
            "`%%xec`, as on a page": (page, "%%xec\ntrue"),
            "`%%bash`": (plain, "%%bash\ntrue"),
            "`!`": (plain, "!true"),
            "a part of it: a cell with `xec.run`": (static, 'r = xec.run("true")'),
            "a part of it: a cell that shows a line": (static, SHOW),
            "the floor: `posix_spawn` in another thread, and a line shown": (plain, f"_floor()\n{SHOW}"),
            "a cell with `pass`": (plain, "pass"),
        }
        inside = {name: Times() for name in contestants}
        turns = {name: partial(kernel.ask, cell) for name, (kernel, cell) in contestants.items()}
        outside = interleave(turns, rounds, WARM_UP)
        for kernel in (static, page, plain):
            seconds = kernel.value("", "_cells")
            for name, cell in [(name, cell) for name, (where, cell) in contestants.items() if where is kernel]:
                inside[name].seconds = [took for source, took in seconds if source == cell][WARM_UP:]
    names = list(contestants)
    for ours in names[:2]:
        for peer, bound in ((names[2], 0.7), (names[3], 0.03)):
            by_median, by_best = ratio(inside[ours], inside[peer])
            report.at_most(f"{ours} / {peer}", by_median, bound, " ×", f" (best turns {by_best:.3g})")
    report.table(
        ["cell with `true`", "in the kernel: best", "median", "at the client: best", "median"],
        [[name, *(duration(f) for t in (inside[name], outside[name]) for f in (t.best, t.median))] for name in names],
    )
    ran, shown, floor, nothing = (inside[name] for name in names[4:])
    report.say(
        f"To run the command and to show a line take {parts_of(ran, shown, nothing, 'median', inside[names[2]])} as long as `%%bash`, which shows nothing "
        f"(best turns {parts_of(ran, shown, nothing, 'best', inside[names[2]])}): no `%%xec` is below that, whatever reading, planning and the record cost. To show anything, a kernel first lets two streams "
        "reach the page, each by another thread and back."
    )
    to_bash, to_bang = ratio(floor, inside[names[2]]), ratio(floor, inside[names[3]])
    above = ratio(inside[names[0]], floor)
    report.say(
        f"The floor, which has nothing of this package in it but the text of the strict script, takes {to_bash[0]:.3g} × as long as `%%bash` (best turns {to_bash[1]:.3g}) and "
        f"{to_bang[0]:.3g} × as long as `!` (best turns {to_bang[1]:.3g}): it starts the script in a session of its own, reads two pipes in another thread, and shows one line. "
        f"`%%xec`, shown statically, takes {above[0]:.3g} × as long as the floor (best turns {above[1]:.3g})."
    )
    report.say(
        "The ratios are of the times in the kernel. What the client sees has the messages between the two processes on top, "
        "the same for every cell: see the one with `pass`."
    )


def parts_of(ran, shown, nothing, figure, peer):
    """What two cells take together, their own begin and end counted once, in units of a peer."""
    took = getattr(ran, figure) + getattr(shown, figure) - getattr(nothing, figure)
    return f"{took / getattr(peer, figure):.3g} ×"


def large_kernel(report, rounds, turns):
    """The same function in a kernel that holds much memory."""
    with Kernel() as empty, Kernel() as large:
        for kernel in (empty, large):
            kernel.ask("import time\nimport xec_magic as xec\n" + LOOP + "_loop(20)")
        large.ask(f"ballast = bytearray({BALLAST})\nballast[::4096] = b'x' * len(ballast[::4096])")
        held = large.value("import psutil", "psutil.Process().memory_info().rss")
        times = {"empty": Times(), "large": Times()}
        for _ in range(rounds):
            for name, kernel in (("empty", empty), ("large", large)):
                times[name].seconds.append(kernel.value("", f"_loop({turns})"))
    by_median, by_best = ratio(times["large"], times["empty"])
    report.at_most(
        "`xec.run` in a kernel of 1 GiB / in an empty one", by_median, 1.3, " ×", f" (best turns {by_best:.3g})"
    )
    report.table(
        ["kernel", "best", "median"], [[name, duration(t.best), duration(t.median)] for name, t in times.items()]
    )
    report.say(
        f"The large kernel's resident memory: {held / 2**20:.0f} MiB; means of {turns} commands, {rounds} rounds."
    )


def main():
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=0)
    options = parser.parse_args()
    rounds = options.rounds or (60 if options.quick else 500)
    report = Report("spawn", "One short command, `true`, from its start until its result is there.", options)
    functions(report, rounds)
    processor_time(report, max(10, rounds // 10))
    cells(report, max(5, rounds // 10))
    large_kernel(report, max(5, rounds // 25), 20)
    report.finish()


if __name__ == "__main__":
    main()
