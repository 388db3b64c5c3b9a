"""A command of 20 ms measured by `xec.profile` and by hyperfine in turns: do both find the same?"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from common import Report, arguments, duration

import xec_magic as xec
from xec_magic.profiles.stats import ratio_interval, summary

COMMAND = "{python} -ISc 'import time; end = time.perf_counter() + 0.02\nwhile time.perf_counter() < end: pass'"


def by_hyperfine(command, runs):
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        subprocess.run(
            ["hyperfine", "--warmup", "1", "--runs", str(runs), "--shell", "bash", "--style", "none", "--export-json", file.name, command],
            check=True, capture_output=True,
        )  # fmt: skip
        return json.loads(Path(file.name).read_text())["results"][0]["times"]


def main():
    options = arguments(__doc__).parse_args()
    report = Report("profile", "50 runs of a command of 20 ms, beside hyperfine.", options)
    if shutil.which("hyperfine") is None:
        report.target("ratio to hyperfine", "hyperfine is not installed", "95 % interval contains 1", met=None)
        report.finish()
        return
    command = COMMAND.format(python=sys.executable)
    ours, theirs, starts = [], [], []
    for turn in range(10 if options.quick else 50):  # one run a turn: what slows the machine for a while slows both
        for who in ("ours", "theirs") if turn % 2 == 0 else ("theirs", "ours"):
            if who == "ours":
                profile = xec.profile("x", command, runs=1, shell="bash", strict=False)
                ours += profile.times(0)
                starts.append(profile.startup.wall_s)
            else:
                theirs += by_hyperfine(command, 1)
    value, low, high = ratio_interval(ours, theirs)
    words = f"{value:.3f} ({low:.3f} to {high:.3f})"
    report.target("ratio to hyperfine's, 95 % interval", words, "contains 1", met=low <= 1 <= high)
    report.at_most("half width of that interval", (high - low) / 2 * 100, 5, " %")
    rows = [
        [name, len(times), duration(s.median), duration(s.mean), duration(s.sd or 0)]
        for name, times in (("xec.profile", ours), ("hyperfine", theirs))
        for s in [summary(times)]
    ]
    report.table(["by", "runs", "median", "mean", "sd"], rows)
    report.say(f"The shell's start, which both take off: {duration(summary(starts).median)} by ours.")
    report.finish()


if __name__ == "__main__":
    main()
