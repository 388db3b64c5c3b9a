"""Many short commands, each with its own streams and code: `xec.batch` beside as many `xec.run`; its cost as they grow.

Peers cannot do the same: `cmd1 && cmd2` in one shell gives one output and one code. It is shown as the floor.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from common import Report, Times, arguments, duration, interleave, ratio, timed

COMMANDS = 100


def beside_runs(report, rounds):
    """A hundred commands by a hundred runs, in one batch, and in one batch with a fork for each."""
    import xec_magic as xec

    commands = [f"echo {number}; echo {number} >&2" for number in range(COMMANDS)]
    joined = " && ".join(f"{{ {command}; }}" for command in commands)

    def by_runs():
        results = [xec.run(command) for command in commands]
        check(results)

    def by_batch(**how):
        results = xec.batch(commands, **how)
        check(results)

    def check(results):
        assert [(result.stdout, result.stderr, result.exit_code) for result in results] == expected

    expected = [(f"{number}\n", f"{number}\n", 0) for number in range(COMMANDS)]
    times = interleave(
        {
            "100 × `xec.run`": by_runs,
            "`xec.batch`": by_batch,
            "`xec.batch`, isolated": lambda: by_batch(isolated=True),
            "`xec.batch` in dash": lambda: by_batch(shell="dash"),
            "the floor: one `bash -c`, joined by `&&`": lambda: subprocess.run(["bash", "-c", joined], capture_output=True, check=True),
        },
        rounds,
    )  # fmt: skip
    runs, shared, isolated, *_ = times.values()
    for name, ours, bound in (("shared", shared, 10), ("isolated", isolated, 2)):
        by_median, by_best = ratio(runs, ours)
        report.at_least(f"100 × `xec.run` / one batch, {name}", by_median, bound, " ×", f" (best turns {by_best:.3g})")
    report.table(
        ["100 commands that print on both streams", "best", "median", "a command"],
        [[name, duration(t.best), duration(t.median), duration(t.median / COMMANDS)] for name, t in times.items()],
    )


def by_functions(command, count):
    """The floor: bash that has read all the commands before it runs them, and keeps nothing apart."""
    names = range(count)
    script = "; ".join([*(f"f{name}() {{ {command}; }}" for name in names), *(f"f{name}" for name in names)])
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        subprocess.run(["bash", file.name], stdout=subprocess.DEVNULL, check=True)


def growth(report, most, rounds):
    """Whether a command costs the same among many as among few."""
    import xec_magic as xec

    cases = {
        "all well": ("echo hi", {}),
        "all fail, `keep_going`": ("false", {"keep_going": True}),
        "with a pipe": ("echo hi | cat", {}),
    }
    few = most // 10
    rows = []
    for name, (command, how) in cases.items():
        times = {count: Times() for count in (few, most)}
        for _ in range(rounds):
            for count, kept in times.items():
                batch = [command] * count
                kept.seconds.append(timed(lambda batch=batch, how=how: xec.batch(batch, **how)) / count)
        rows.append([name, *(duration(t.median) for t in times.values())])
        report.at_most(
            f"a command among {most:,} / among {few:,}, {name}", ratio(times[most], times[few])[0], 1.5, " ×"
        )
    command = cases["with a pipe"][0]
    floor = {count: timed(lambda count=count: by_functions(command, count)) / count for count in (few, most)}
    rows.append(["with a pipe, bash alone with a function each", *map(duration, floor.values())])
    report.table(["a command", f"among {few:,}", f"among {most:,}"], rows)
    report.say(
        "A pipe starts two processes, and to start one takes a shell the longer the more it has read: bash alone, which holds as many commands as functions, "
        f"takes {floor[most] / floor[few]:.2f} × as long for one among {most:,} as among {few:,}."
    )


def files(report, rounds):
    """A hundred copies by a hundred runs, and in one round trip."""
    import xec_magic as xec

    with tempfile.TemporaryDirectory() as work:
        Path(work, "a").write_text("content")
        todo = xec.files(cwd=work)
        for number in range(COMMANDS):
            todo = todo.copy("a", f"b{number}")
        times = interleave(
            {
                "100 × `xec.run('cp a b')`": lambda: [xec.run(f"cp a c{n}", cwd=work) for n in range(COMMANDS)],
                "`xec.files()`, 100 copies": todo.run,
            },
            rounds,
        )
    report.table(
        ["copies", "best", "median"], [[name, duration(t.best), duration(t.median)] for name, t in times.items()]
    )
    report.say(
        "A copy by `xec.files` starts two programs, since it goes by way of a temporary name; one by `cp` starts one, and leaves half a file where it fails."
    )


def main():
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=0)
    options = parser.parse_args()
    rounds = options.rounds or (5 if options.quick else 30)
    report = Report(
        "batch", "Many short commands in one round trip, from the call until all results are there.", options
    )
    beside_runs(report, rounds)
    growth(report, 2_000 if options.quick else 10_000, 1 if options.quick else 3)
    files(report, max(2, rounds // 5))
    report.finish()


if __name__ == "__main__":
    main()
