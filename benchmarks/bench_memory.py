"""The kernel's memory while a command prints without end: consumed, kept in the spool, or read slowly.

Each case has a fresh ipykernel that has run one short command before. Its resident memory is sampled every
20 ms by psutil from here; what counts is the largest sample above the one before the case. The command itself and its
helper process are not in it; pages of files that the system caches are in nobody's.
"""

from __future__ import annotations

import os
import shutil
import threading
import time

import psutil
from common import Kernel, Report, arguments, duration, size

LIMIT_BYTES = 32 * 2**20
SAMPLE_S = 0.02

CONSUMER = "print(sum(map(len, xec.start('head -c {count} /dev/zero', keep=False).chunks())))"
LINES = "print(sum(1 for _ in xec.start('yes 0123456789 | head -c {count}', keep=False).lines()))"
SPOOL = "print(xec.run('yes 0123456789 | head -c {count}', max_output=None).log.size())"
CELL = "%%xec --max-output none\nyes 0123456789 | head -c {count}"
SLOW = """
got, until = 0, time.monotonic() + {seconds}
for piece in xec.start('yes', keep=False).chunks():
    got += len(piece)
    time.sleep(len(piece) / 50e6)
    if time.monotonic() > until:
        break
print(got)
"""


class Watch:
    """Samples the resident memory of a process in a thread."""

    def __init__(self, pid):
        self._process = psutil.Process(pid)
        self.before = self.peak = self._process.memory_info().rss
        self.samples = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def _sample(self):
        while not self._over.wait(SAMPLE_S):
            self.peak = max(self.peak, self._process.memory_info().rss)
            self.samples += 1

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._over.set()
        self._thread.join()


def case(code):
    """What the watch saw while a fresh kernel ran a cell, and how long that took."""
    with Kernel() as kernel:
        kernel.ask("import time\nimport xec_magic as xec\n%load_ext xec_magic")
        kernel.ask("%%xec\nsleep 0.3")  # long enough for a live view: what it imports stays
        time.sleep(0.5)
        begun = time.monotonic()
        with Watch(kernel.pid) as watch:
            kernel.ask(code, timeout=3600)
        return watch, time.monotonic() - begun


def main():
    parser = arguments(__doc__)
    parser.add_argument("--size", type=float, default=0, help="bytes that a command prints, for instance 10e9")
    parser.add_argument("--seconds", type=float, default=0, help="how long the slow reader reads")
    options = parser.parse_args()
    count = int(options.size or (3e8 if options.quick else 10e9))
    seconds = options.seconds or (3 if options.quick else 20)
    # The spool may have a tenth of what is free on its disk.
    kept = min(count, shutil.disk_usage(os.path.expanduser("~")).free // 10)
    report = Report("memory", "Resident memory of the kernel while a command prints.", options)
    rows = []
    cases = [
        (f"`keep=False`, chunks of {size(count)}", CONSUMER, count),
        (f"`keep=False`, lines of {size(count // 5)}", LINES, count // 5),
        (f"`run(max_output=None)`, {size(kept)} into the spool", SPOOL, kept),
        (f"`%%xec` shown live, {size(kept)} into the spool", CELL, kept),
        (f"a reader of 50 MB/s, for {seconds:g} s", SLOW, 0),
    ]
    for name, code, printed in cases:
        watch, took = case(code.format(count=printed, seconds=seconds))
        grown = watch.peak - watch.before
        report.at_most(name, grown / 2**20, LIMIT_BYTES / 2**20, " MiB")
        rows.append([name, size(watch.before), size(watch.peak), duration(took), watch.samples])
    report.table(["case", "before", "largest", "took", "samples"], rows)
    if kept < count:
        report.say(f"The disk allowed {size(kept)} into the spool, not {size(count)}.")
    report.finish()


if __name__ == "__main__":
    main()
