"""What watching costs: a sample of a tree of 20 processes, a second of watching at 4 Hz; and how right the figures are.

Known loads are run once each under `--monitor`, /usr/bin/time, psrecord and hyperfine, and compared with what the loads say of themselves.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import psutil
from common import Report, arguments, duration, interleave, ratio, size

import xec_magic as xec
from xec_magic.transport.sampling import tree_reader
from xec_magic.transport.ssh.reading import machine_line, tree_line
from xec_magic.transport.ssh.remote import Begun

TREE = "for i in $(seq 19); do sleep 600 & done; echo ready; wait"
PYTHON = f"{sys.executable} -ISc"
BUSY = "import time\nwhile time.process_time()<{seconds}: pass\nprint(time.process_time())"
HOLD = 'import time\nx=bytearray({count})\ntime.sleep(0.2)\nprint([l for l in open("/proc/self/status") if "VmHWM" in l][0].split()[1])'

TOGETHER = 'import time\nx=bytearray({count})\ntime.sleep(0.2)\nprint([l for l in open("/proc/self/status") if "RssAnon" in l][0].split()[1])'


@contextlib.contextmanager
def tree():
    process = subprocess.Popen(["bash", "-c", TREE], start_new_session=True, stdout=subprocess.PIPE)
    process.stdout.readline()
    time.sleep(0.3)
    try:
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def times(count, function):
    def run():
        begun = time.thread_time()
        for _ in range(count):
            function()
        return (time.thread_time() - begun) / count

    return run


def psutil_sample(process):
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.Error), one.oneshot():
            total += one.cpu_times().user + one.memory_info().rss + one.io_counters().read_chars + one.num_threads()
    return total


def costs(report, quick):
    with tree() as pid:
        reader, process = tree_reader(pid, b"XEC_RUN_ID=bench0000000.1\0"), psutil.Process(pid)
        count = 20 if quick else 100
        found = interleave(
            {
                "ours": times(count, lambda: reader.read("r")),
                "psutil": times(count, lambda: psutil_sample(process)),
            },
            rounds=5 if quick else 15,
        )
        reader.close()
    ours, theirs = found["ours"], found["psutil"]
    report.at_most("CPU of one sample of 20 processes", ours.median * 1e3, 0.6, " ms")
    report.at_most("sampling 20 processes at 4 Hz, of one core", 4 * ours.median * 100, 1, " %")
    report.at_most("a sample, of psutil's", ratio(ours, theirs)[0], 0.25)
    report.table(
        ["a sample by", "median", "best"], [[name, duration(t.median), duration(t.best)] for name, t in found.items()]
    )
    seconds = 3 if quick else 15
    run = xec.start(TREE, monitor=True, rate=4, check=False)
    time.sleep(2)  # it begins by itself; its start is not its watching
    begun = psutil.Process().cpu_times()
    time.sleep(seconds)
    used = psutil.Process().cpu_times()
    run.cancel(now=True)
    run.result()
    share = (used.user + used.system - begun.user - begun.system) / seconds
    report.at_most("this process while it watches that tree at 4 Hz, of one core", 100 * share, 1, " %")


class Loop:
    """The loop that a host is told to run, run here: what it costs there."""

    def __init__(self, launch, programs=None, shell=("/bin/sh", "-c")):
        self.process = subprocess.Popen(
            [*shell, launch.line], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={"PATH": programs or os.environ["PATH"]},
        )  # fmt: skip
        self.process.stdout.readline()

    def ask(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def cpu_s(self):
        """CPU seconds of the loop with all that it has started."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def close(self):
        with self.process:
            self.process.stdin.close()


def there(report, quick):
    rows = []
    with tree() as pid, tempfile.TemporaryDirectory() as folder:
        born = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        lines = {"20 processes": tree_line(Begun(pid, born, True), "bench.1.ssh"), "the host": machine_line()}
        flavours = {"sh and awk of this machine": {}}
        if busybox := shutil.which("busybox"):
            for name in ("awk", "cat", "grep"):
                Path(folder, name).symlink_to(busybox)
            flavours["BusyBox"] = {"programs": folder, "shell": (busybox, "sh", "-c")}
        for what, launch in lines.items():
            for flavour, how in flavours.items():
                loop = Loop(launch, **how)
                loop.ask()
                count, begun, most = (40 if quick else 200), loop.cpu_s(), 0
                for _ in range(count):
                    time.sleep(0.05)
                    most = max(most, len(loop.ask()))
                cost = (loop.cpu_s() - begun) / count
                loop.close()
                report.at_most(f"on a host with {flavour}: {what} once a second, of one core", 100 * cost, 1, " %")
                report.at_most(f"{what} with {flavour}: a sample on the wire", most, 600, " bytes")
                rows.append([what, flavour, duration(cost), f"{most} bytes"])
    report.table(["on a host, of", "with", "CPU there of one sample", "at most"], rows)


def timed(command):
    """CPU seconds and peak bytes by GNU time; None where it is not."""
    if not shutil.which("time", path="/usr/bin"):
        return None, None
    done = subprocess.run(["/usr/bin/time", "-v", "bash", "-c", command], capture_output=True, text=True, check=True)
    found = {
        name: re.search(rf"{name}.*: ([\d.]+)", done.stderr)[1]
        for name in ("User time", "System time", "Maximum resident")
    }
    return float(found["User time"]) + float(found["System time"]), int(found["Maximum resident"]) * 1024


def recorded(command, folder):
    """CPU seconds by psrecord's curve and its peak bytes; None where it is not installed."""
    program = Path(sys.executable).parent / "psrecord"
    if not program.exists():
        return None, None
    log = Path(folder) / "log"
    subprocess.run(
        [program, "--include-children", "--interval", "0.25", "--log", log, f'bash -c "{command}"'],
        capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    rows = [line.split() for line in log.read_text().splitlines() if not line.startswith("#")]
    if len(rows) < 2:
        return None, None
    cpu = sum(float(b[1]) / 100 * (float(b[0]) - float(a[0])) for a, b in pairwise(rows))
    return cpu, max(float(row[2]) for row in rows) * 2**20


def benched(command, folder):
    """CPU seconds and peak bytes by hyperfine; None where it is not installed."""
    if not shutil.which("hyperfine"):
        return None, None
    found = Path(folder) / "hyperfine.json"
    subprocess.run(
        ["hyperfine", "--runs", "2", "--shell", "none", "--style", "none", "--export-json", found, f"bash -c {shlex.quote(command)}"],
        check=True, capture_output=True,
    )  # fmt: skip
    entry = json.loads(found.read_text())["results"][0]
    return entry["user"] + entry["system"], max(entry.get("memory_usage_byte") or [0]) or None


def accuracy(report, quick):
    rows = []
    with tempfile.TemporaryDirectory() as folder:

        def write(name, text):
            path = f"{folder}/{name}.py"
            Path(path).write_text(text)
            return f"{PYTHON.removesuffix('c')} {path}"

        busy = write("busy", BUSY.format(seconds=0.5 if quick else 3))
        r = xec.run(f"exec {busy}", monitor=True)
        truth = float(r.stdout)
        report.at_most("CPU seconds of one busy core, off by", abs(r.usage.cpu_s / truth - 1) * 100, 2, " %")
        rows.append(
            [
                "one busy core: CPU s",
                f"{truth:.3f}",
                f"{r.usage.cpu_s:.3f}",
                f"{r.timeline.samples[-1].cpu_s:.3f}",
                *(_cpu(x) for x in (timed(busy)[0], recorded(busy, folder)[0], benched(busy, folder)[0])),
            ]
        )
        short = write("short", BUSY.format(seconds=0.02))
        count = 20 if quick else 200
        r = xec.run(f"for i in $(seq {count}); do {short}; done; times", monitor=True)
        own = [60 * float(m) + float(s) for m, s in re.findall(r"(\d+)m([\d.]+)s", "\n".join(r.lines()[-2:]))]
        truth = sum(own)
        report.at_most(
            f"CPU seconds of {count} children of 20 ms, off by",
            abs(r.usage.cpu_s / truth - 1) * 100,
            2,
            " %",
            " from what the shell's `times` says",
        )
        loop = f"for i in $(seq {count}); do {short}; done"
        rows.append(
            [
                f"{count} children of 20 ms: CPU s",
                f"{truth:.3f}",
                f"{r.usage.cpu_s:.3f}",
                f"{r.timeline.samples[-1].cpu_s:.3f}",
                *(_cpu(x) for x in (timed(loop)[0], recorded(loop, folder)[0], benched(loop, folder)[0])),
            ]
        )
        hold = write("hold", HOLD.format(count=300 * 2**20))
        r = xec.run(f"exec {hold}", monitor=True)
        truth = int(r.stdout) * 1024
        report.at_most("peak memory of one process, off by", abs(r.usage.peak_rss_bytes / truth - 1) * 100, 3, " %")
        rows.append(
            [
                "300 MiB for 0.2 s: peak",
                size(truth),
                size(r.usage.peak_rss_bytes),
                size(r.timeline.peak.rss_bytes),
                *(size(x) if x else "—" for x in (timed(hold)[1], recorded(hold, folder)[1], benched(hold, folder)[1])),
            ]
        )
        hold = write("together", TOGETHER.format(count=150 * 2**20))
        r = xec.run(f"{hold} & {hold}; wait", monitor=True)
        truth = sum(map(int, r.lines())) * 1024
        counted = r.usage.tree_peak_bytes
        if counted is not None:
            report.at_most("peak memory of two processes together, off by", abs(counted / truth - 1) * 100, 3, " %")
        else:
            report.say("No control group can be made here: the peak of a tree is sampled, and so at least.")
        rows.append(
            [
                "twice 150 MiB for 0.2 s: peak of both",
                size(truth),
                "—" if counted is None else size(counted),
                size(r.timeline.peak.rss_bytes),
                *(size(x) if x else "—" for x in (None, recorded(f"{hold} & {hold}; wait", folder)[1], None)),
            ]
        )
        amount = 20_000_000 if quick else 200_000_000
        r = xec.run(f"head -c {amount} /dev/zero > {folder}/out", monitor=True)
        report.at_most("bytes written, off by", abs(r.usage.written_bytes / amount - 1) * 100, 2, " %")
        rows.append(
            [
                f"{size(amount)} written",
                size(amount),
                size(r.usage.written_bytes),
                size(r.timeline.samples[-1].written_bytes or 0) if len(r.timeline) else "—",
                "—",
                "—",
                "—",
            ]
        )
    report.table(["load", "by itself", "`usage`", "last sample", "/usr/bin/time", "psrecord", "hyperfine"], rows)


def _cpu(value):
    return "—" if value is None else f"{value:.3f}"


def main():
    options = arguments(__doc__).parse_args()
    report = Report("monitor", "Watching a process tree: what it costs, and how right it is.", options)
    costs(report, options.quick)
    there(report, options.quick)
    accuracy(report, options.quick)
    report.finish()


if __name__ == "__main__":
    main()
