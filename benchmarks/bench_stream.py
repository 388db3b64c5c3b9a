"""Output in bulk: chunks, lines and the spool, beside a pipe between C programs and a bare loop of read and write.

A rate is what was printed, divided by the time from the start of the command to its end. All commands write into
pipes; the peers in C are `head -c N /dev/zero | cat` and `seq N | cat`, their output to /dev/null.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from common import Report, arguments, duration, interleave, ratio, size

PIPE_BYTES = 2**20
READ_BYTES = 256 * 1024


def shell(script):
    subprocess.run(["bash", "-c", script], check=True)


def chunks(report, count, rounds):
    """Bytes to a consumer; nothing is kept."""
    import xec_magic as xec

    def ours():
        got = sum(map(len, xec.start(f"head -c {count} /dev/zero", keep=False).chunks()))
        assert got == count, got

    def bare():  # what a loop in Python can do at most: no thread, no command to be stopped
        total = 0
        with subprocess.Popen(["head", "-c", str(count), "/dev/zero"], stdout=subprocess.PIPE) as process:
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            while data := os.read(process.stdout.fileno(), READ_BYTES):
                total += len(data)
        assert total == count, total

    contestants = {
        "`start(keep=False).chunks()`": ours,
        "`head | cat`": lambda: shell(f"head -c {count} /dev/zero | cat >/dev/null"),
        "`os.read` in a loop": bare,
    }
    times = interleave(contestants, rounds, warm_up=0)
    by_median, by_best = (1 / value for value in ratio(times["`start(keep=False).chunks()`"], times["`head | cat`"]))
    report.at_least(
        f"`chunks()`, {size(count)}: rate / `head | cat`", by_median, 0.6, " ×", f" (best turns {by_best:.3g})"
    )
    report.table(
        [f"{size(count)}", "best", "median", "MB/s (median)"],
        [[name, duration(t.best), duration(t.median), f"{count / t.median / 1e6:.0f}"] for name, t in times.items()],
    )


def lines(report, count, rounds):
    """Lines to a consumer, in batches and one by one."""
    import xec_magic as xec

    def batches():
        assert sum(map(len, xec.start(f"seq {count}", keep=False).line_batches())) == count

    def one_by_one():
        got = 0
        for _ in xec.start(f"seq {count}", keep=False).lines():
            got += 1
        assert got == count, got

    async def readline():
        process = await asyncio.create_subprocess_exec("seq", str(slow), stdout=asyncio.subprocess.PIPE)
        got = 0
        while await process.stdout.readline():
            got += 1
        await process.wait()
        assert got == slow, got

    slow = count // 10  # it is so slow that a part must do; rates are compared
    counts = {
        "`line_batches()`": (batches, count),
        "`lines()`": (one_by_one, count),
        "`seq | cat`": (lambda: shell(f"seq {count} | cat >/dev/null"), count),
        "asyncio's `readline`": (lambda: asyncio.run(readline()), slow),
    }
    times = interleave({name: function for name, (function, _) in counts.items()}, rounds)
    rate = {name: (n / times[name].median, n / times[name].best) for name, (_, n) in counts.items()}
    for ours, peer, bound in (
        ("`line_batches()`", "`seq | cat`", 0.3),
        ("`line_batches()`", "asyncio's `readline`", 10),
        ("`lines()`", "`seq | cat`", 0.12),
        ("`lines()`", "asyncio's `readline`", 5),
    ):
        by_median, by_best = (mine / its for mine, its in zip(rate[ours], rate[peer], strict=True))
        report.at_least(
            f"{ours}, {count / 1e6:g} M lines: rate / {peer}", by_median, bound, " ×", f" (best turns {by_best:.3g})"
        )
    report.table(
        ["lines", "how many", "best", "median", "million lines/s (median)"],
        [
            [name, f"{n:,}", duration(times[name].best), duration(times[name].median), f"{rate[name][0] / 1e6:.3g}"]
            for name, (_, n) in counts.items()
        ],
    )


def spool(report, count, rounds):
    """Output that is kept: beyond 8 MiB it goes to a file."""
    import xec_magic as xec
    from xec_magic.engine.spool import cache_root

    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=cache_root()))
    zeros = f"head -c {count} /dev/zero"
    text = f"yes {'x' * 79} | head -c {count}"

    def settled(function):
        """A contestant that begins when the disk has nothing left to do."""

        def turn():
            os.sync()
            return function()

        return turn

    def ours(command):
        with xec.Executor() as executor:
            executor.run("true")  # its helper process lives
            result = executor.run(command, max_output=None)
            assert result.log.size() == count
            return result.duration_s

    def bare(command, pipe_bytes):
        path = folder / "bare"
        begun = time.perf_counter()
        process = subprocess.Popen(["bash", "-c", command], stdout=subprocess.PIPE)
        if pipe_bytes:
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, pipe_bytes)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        while data := os.read(process.stdout.fileno(), READ_BYTES):
            os.write(file, data)
        os.close(file)
        process.wait()
        took = time.perf_counter() - begun
        process.stdout.close()
        path.unlink()
        return took

    contestants = {
        "`run(max_output=None)`": settled(lambda: ours(zeros)),
        "read and write, pipe of 1 MiB": settled(lambda: bare(zeros, PIPE_BYTES)),
        "read and write, pipe of 64 KiB": settled(lambda: bare(zeros, 0)),
        "`run(max_output=None)`, lines of 80 bytes": settled(lambda: ours(text)),
        "read and write, lines of 80 bytes, pipe of 1 MiB": settled(lambda: bare(text, PIPE_BYTES)),
    }
    try:
        times = interleave(contestants, rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    mine, same_pipe, _, lines, same_lines = times.values()
    by_median, by_best = (1 / value for value in ratio(mine, same_pipe))
    report.at_least(
        f"into the spool, {size(count)}: rate / read and write of the same pipe",
        by_median,
        0.8,
        " ×",
        f" (best turns {by_best:.3g})",
    )
    report.table(
        [f"{size(count)} to a file", "best", "median", "MB/s (median)"],
        [[name, duration(t.best), duration(t.median), f"{count / t.median / 1e6:.0f}"] for name, t in times.items()],
    )
    report.say(
        f"Text goes there at {1 / ratio(lines, same_lines)[0]:.3g} × the rate of read and write (best turns {1 / ratio(lines, same_lines)[1]:.3g}): its newlines "
        "are counted on the way, which before Python 3.13 takes as long as to read and write it."
    )
    report.say(
        f"The files lie below `{_shortened(cache_root())}`; before each turn the system's buffers are written out."
    )


def _shortened(path):
    try:
        return "~/" + str(path.relative_to(Path.home()))
    except ValueError:
        return str(path)


def main():
    parser = arguments(__doc__)
    parser.add_argument("--size", type=float, default=0, help="bytes through chunks(), for instance 10e9")
    parser.add_argument("--lines", type=float, default=0, help="lines, for instance 20e6")
    parser.add_argument("--spool", type=float, default=0, help="bytes into the spool, for instance 1e9")
    parser.add_argument("--rounds", type=int, default=0)
    options = parser.parse_args()
    rounds = options.rounds or (3 if options.quick else 5)
    report = Report("stream", "Output in bulk: chunks, lines, the spool.", options)
    chunks(report, int(options.size or (5e8 if options.quick else 10e9)), rounds)
    lines(report, int(options.lines or (2e6 if options.quick else 20e6)), rounds)
    spool(report, int(options.spool or (2e8 if options.quick else 1e9)), rounds)
    report.finish()


if __name__ == "__main__":
    main()
