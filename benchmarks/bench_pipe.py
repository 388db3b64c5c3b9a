"""Data from command to command: `run | run` beside the shell's own pipe, and through a Python function for information.

Each way moves the same bytes from `head -c N /dev/zero` to `cat >/dev/null`; lines come from `yes`. The kernel's memory is that
of a fresh process that has run one short command before; it is sampled from outside every 20 ms.
"""

from __future__ import annotations

import subprocess
import sys
import time

from bench_memory import LIMIT_BYTES, Watch
from common import Report, arguments, duration, interleave, ratio, size

MEMORY = """
import sys
import xec_magic as xec
xec.run("true")
str((xec.start("echo a") | (lambda lines: lines) | "cat").result())
print("ready", flush=True)
sys.stdin.readline()
print({code}, flush=True)
sys.stdin.readline()
"""

CHAIN = "(xec.start('head -c {count} /dev/zero') | 'cat | cat' | 'cat >/dev/null').result().ok"
FUNCTION = (
    "(xec.start('head -c {count} /dev/zero').pipe(lambda chunks: chunks, of='chunks') | 'cat >/dev/null').result().ok"
)
SLOW = "(xec.start('yes').pipe(lambda chunks: chunks, of='chunks') | 'head -c 1000000; sleep 3').result().ok"


def copies(report, count, rounds):
    """Bytes from one command to the next."""
    import xec_magic as xec

    source, sink = f"head -c {count} /dev/zero", "cat >/dev/null"

    def shell():
        subprocess.run(["bash", "-c", f"{source} | {sink}"], check=True)

    def apart():  # the floor: a stop reaches all that a command has started because its session is its own
        with (
            subprocess.Popen(["bash", "-c", source], stdout=subprocess.PIPE, start_new_session=True) as first,
            subprocess.Popen(["bash", "-c", sink], stdin=first.stdout, start_new_session=True),
        ):
            first.stdout.close()

    def ours():
        (xec.start(source) | sink).result()

    def function():
        (xec.start(source).pipe(lambda chunks: chunks, of="chunks") | sink).result()

    xec.run("true")  # the helper process lives
    contestants = {
        "the shell's own pipe": shell,
        "the floor: two shells, each in a session of its own": apart,
        "`run | run`": ours,
        "through a Python function (chunks)": function,
    }
    times = interleave(contestants, rounds, warm_up=0)
    by_median, by_best = (1 / value for value in ratio(times["`run | run`"], times["the shell's own pipe"]))
    report.at_least(
        f"`run | run`, {size(count)}: rate / the shell's own pipe", by_median, 0.9, " ×", f" (best turns {by_best:.3g})"
    )
    floor, floor_best = (
        1 / value
        for value in ratio(times["the floor: two shells, each in a session of its own"], times["the shell's own pipe"])
    )
    report.say(
        f"Two shells that share a pipe, each in a session of its own, have {floor:.3g} × the rate of the shell's own pipe "
        f"(best turns {floor_best:.3g}): Linux groups what it schedules by session where `sched_autogroup_enabled` is 1."
    )
    report.table(
        [size(count), "best", "median", "MB/s (median)"],
        [[name, duration(t.best), duration(t.median), f"{count / t.median / 1e6:.0f}"] for name, t in times.items()],
    )


def lines(report, count, rounds):
    """Lines through a Python function, beside what does the same in a process of its own."""
    import xec_magic as xec

    source = f"yes some-line-of-a-log | head -n {count}"
    program = "import sys\nfor line in sys.stdin: sys.stdout.write(line.upper())"

    def ours():
        (xec.start(source).map(str.upper) | "cat >/dev/null").result()

    def process():
        subprocess.run(["bash", "-c", f"{source} | '{sys.executable}' -c '{program}' | cat >/dev/null"], check=True)

    times = interleave({"`map(str.upper)`": ours, "`python -c` in the pipe": process}, rounds)
    report.table(
        [f"{count / 1e6:g} M lines", "best", "median", "million lines/s (median)"],
        [[name, duration(t.best), duration(t.median), f"{count / t.median / 1e6:.3g}"] for name, t in times.items()],
    )


def memory(report, count):
    """The memory of the process that joins them."""
    rows = []
    for name, code in [
        (f"`run | run | run`, {size(count)}", CHAIN.format(count=count)),
        (f"through a function, {size(count)}", FUNCTION.format(count=count)),
        ("a function between `yes` and a reader that waits", SLOW),
    ]:
        process = subprocess.Popen(
            [sys.executable, "-c", MEMORY.format(code=code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout.readline() == "ready\n"
            begun = time.monotonic()
            with Watch(process.pid) as watch:
                process.stdin.write("\n")
                process.stdin.flush()
                assert process.stdout.readline() == "True\n", name
            took = time.monotonic() - begun
            process.stdin.close()
        report.at_most(name, (watch.peak - watch.before) / 2**20, LIMIT_BYTES / 2**20, " MiB")
        rows.append([name, size(watch.before), size(watch.peak), duration(took), watch.samples])
    report.table(["memory", "before", "largest", "took", "samples"], rows)


def main():
    parser = arguments(__doc__)
    parser.add_argument("--size", type=float, default=0, help="bytes from command to command, for instance 10e9")
    parser.add_argument("--lines", type=float, default=0, help="lines through a function, for instance 5e6")
    parser.add_argument("--rounds", type=int, default=0)
    options = parser.parse_args()
    count = int(options.size or (2e9 if options.quick else 10e9))
    rounds = options.rounds or (3 if options.quick else 7)
    report = Report("pipe", "Data from command to command.", options)
    copies(report, count, rounds)
    lines(report, int(options.lines or (5e5 if options.quick else 5e6)), rounds)
    memory(report, count)
    report.finish()


if __name__ == "__main__":
    main()
