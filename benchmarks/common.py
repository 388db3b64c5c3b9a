"""What the benchmark scripts share: interleaved timing, kernels to measure in, tables, and the file of results.

All scripts work alike. Contestants take turns inside one run, so that whatever else the machine does hits all of
them; the figure that counts is a ratio of two medians from the same run. Times are shown and never judged, but for
the few targets that are times. A missed target is reported, and the script still ends with exit code 0.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import math
import os
import platform
import queue
import re
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "RESULTS.md"
SECTIONS = [
    "load",
    "spawn",
    "worker",
    "batch",
    "cache",
    "tasks",
    "stream",
    "pipe",
    "memory",
    "page",
    "copy",
    "monitor",
    "chart",
    "profile",
    "ssh",
]  # in this order in the file of results
PACKAGES = ["ipython", "ipykernel", "jupyterlab", "jupyter_client", "anywidget", "ipywidgets", "psutil", "asyncssh"]


# -- timing ---------------------------------------------------------------------------------------


@dataclass
class Times:
    """Seconds of one contestant, one entry a turn."""

    seconds: list[float] = field(default_factory=list)

    @property
    def best(self):
        return min(self.seconds)

    @property
    def median(self):
        return statistics.median(self.seconds)


def timed(function):
    """Seconds that a call takes."""
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def interleave(contestants, rounds, warm_up=1, in_a_row=1):
    """Let contestants take turns; their `Times` by name.

    A contestant is a function without arguments. It is timed from outside, unless it gives a number: then it has
    timed itself, in seconds; NaN is no turn. Every second round goes backwards, so that nobody always comes after the same one.
    With `in_a_row`, each is called so often whenever it is its turn, and each call is timed.
    """
    times = {name: Times() for name in contestants}
    for number in range(-warm_up, rounds):
        order = list(contestants.items())
        for name, function in order if number % 2 == 0 else reversed(order):
            for _ in range(in_a_row):
                begun = time.perf_counter()
                own = function()
                seconds = own if isinstance(own, float) else time.perf_counter() - begun
                if number >= 0 and not math.isnan(seconds):
                    times[name].seconds.append(seconds)
    return times


def ratio(ours, theirs):
    """How many times as long ours takes: by the medians, and by the best turns."""
    return ours.median / theirs.median, ours.best / theirs.best


# -- a kernel to measure in -----------------------------------------------------------------------


class Kernel:
    """A real ipykernel in a process of its own, asked through jupyter_client.

    Args:
        env: Further environment variables for it.
        allow_stdin: What the requests say of questions: notebook pages allow them, tools that run notebooks do not.
    """

    def __init__(self, env=None, allow_stdin=True):
        from jupyter_client.manager import KernelManager

        self.allow_stdin = allow_stdin
        self._manager = KernelManager(kernel_name="python3")
        self._manager.kernel_cmd = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        # As where it is installed: byte code is kept, whatever this shell says of it.
        environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", **(env or {})}
        self._manager.start_kernel(env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=60)
        self.pid = int(self.ask("import os; print(os.getpid())"))

    def ask(self, code, timeout=600):
        """Run a cell to its end; what it printed.

        Raises:
            RuntimeError: the cell failed.
        """
        printed = []

        def take(message):
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])

        answer = self._client.execute_interactive(
            code, allow_stdin=self.allow_stdin, output_hook=take, timeout=timeout, stdin_hook=lambda _: None
        )
        if answer["content"]["status"] != "ok":
            raise RuntimeError(f"{code!r} failed: {answer['content'].get('evalue')}")
        return "".join(printed)

    def value(self, code, expression, timeout=600):
        """Run code, then give an expression's value, by way of JSON."""
        text = self.ask(f"{code}\nimport json\nprint('\\n' + json.dumps({expression}))", timeout)
        return json.loads(text.rstrip().rpartition("\n")[2])

    def close(self):
        """End the kernel."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=False)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


# -- other tools ----------------------------------------------------------------------------------


PEER_S = 30.0  # within which another tool has to answer


class PeerError(Exception):
    """Another tool does not run, or has not answered in time."""


class Peer:
    """Another tool in a process of its own: asked by a line, it answers by a line with seconds.

    Once it has not answered in time it is ended, `failure` says so, and every answer is NaN: the others go on.

    Args:
        argv: Its command. It says `ready` when it is.
        within_s: Seconds for each answer.
        **popen: As for `subprocess.Popen`.

    Raises:
        PeerError: it does not begin.
    """

    def __init__(self, argv, within_s=PEER_S, **popen):
        self.failure = ""
        self._within_s = within_s
        self._answers = queue.SimpleQueue()
        try:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **popen
            )
        except OSError as error:
            raise PeerError(f"{argv[0]}: {error.strerror}") from error
        threading.Thread(target=self._read, daemon=True).start()
        if self._line() != "ready":
            self.close()
            raise PeerError(self.failure or "it does not run")

    def _read(self):
        for line in self._process.stdout:
            self._answers.put(line.strip())
        self._answers.put("")

    def _line(self):
        try:
            line = self._answers.get(timeout=self._within_s)
        except queue.Empty:
            line, self.failure = "", f"no answer within {self._within_s:g} s"
        if not line:
            self.failure = self.failure or "it ended"
            self._process.kill()
        return line

    def ask(self, line=""):
        """Seconds that it has taken; NaN when it does not answer any more."""
        if self.failure:
            return math.nan
        with contextlib.suppress(OSError):  # it has ended; so says the missing answer
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        return float(self._line() or "nan")

    def close(self):
        """End it."""
        self._process.kill()
        self._process.wait()


# -- words ----------------------------------------------------------------------------------------


def duration(seconds):
    """A time for a table: three figures and a unit."""
    for unit, factor in (("s", 1), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1 or unit == "µs":
            return f"{seconds * factor:.3g} {unit}" if seconds * factor < 1000 else f"{seconds * factor:.0f} {unit}"
    raise AssertionError


def size(count):
    """Bytes for a table, in powers of 1000."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f} B"


def table(head, rows):
    """A table in Markdown, its columns aligned for reading as text."""
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in [head, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def machine():
    """Where this runs, in one line each: processor, system, versions, load."""
    model = ""
    with contextlib.suppress(OSError):
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        model = found[1] if found else ""
    system = platform.system()
    with contextlib.suppress(OSError):
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    versions = []
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions.append(f"{name} {version(name)}")
    return [
        f"{model or platform.machine()}, {os.cpu_count()} cores; {system}, {platform.system()} {platform.release()}",
        f"Python {platform.python_version()}, xec_magic {_revision()}, {', '.join(versions)}",
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC, load average {_load()}",
    ]


def _load():
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


def _revision():
    import xec_magic

    git = ["git", "-C", str(Path(xec_magic.__file__).parent)]
    try:
        commit = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain", "-uno", "."], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return xec_magic.__version__
    return f"{xec_magic.__version__} at {commit}{' with local changes' if changed.strip() else ''}"


# -- a section of the results ---------------------------------------------------------------------


class Report:
    """What one script has found: texts, tables, and how the figures compare with the targets.

    Args:
        name: One of `SECTIONS`.
        title: What it is about, in a few words.
        options: The script's parsed arguments.
    """

    def __init__(self, name, title, options):
        self.name, self.title, self.options = name, title, options
        self._machine = machine()  # now: what is measured may have changed by the end
        self._parts = []
        self._targets = []
        print(f"{name}: {title}", flush=True)

    def say(self, text):
        """Add a paragraph."""
        self._parts.append(text)

    def table(self, head, rows):
        """Add a table."""
        self._parts.append(table(head, rows))

    def target(self, what, ours, target, *, met):
        """Add a comparison with a target; `met` is None when it could not be decided."""
        word = {True: "met", False: "**missed**", None: "not decided"}[met]
        self._targets.append((what, ours, target, word))
        print(f"  {what}: {ours}; target {target}: {word.strip('*')}", flush=True)

    def at_most(self, what, value, bound, unit="", note=""):
        """The figure must not exceed a bound."""
        self.target(what, f"{value:.3g}{unit}{note}", f"≤ {bound:g}{unit}", met=value <= bound)

    def at_least(self, what, value, bound, unit="", note=""):
        """The figure must reach a bound."""
        self.target(what, f"{value:.3g}{unit}{note}", f"≥ {bound:g}{unit}", met=value >= bound)

    def finish(self):
        """Print the section; write it to the file of results, unless asked not to."""
        parts = [
            f"## {self.name}",
            self.title,
            "\n".join(
                f"- {line}" for line in [f"`{_command()}`", *self._machine, f"load average at the end {_load()}"]
            ),
        ]
        if self._targets:
            parts.append(table(["target", "measured", "must be", ""], self._targets))
        section = "\n\n".join([*parts, *self._parts]) + "\n"
        print("\n" + section, flush=True)
        if self.options.write:
            _write(self.name, section)


def _command():
    return " ".join(["python", "benchmarks/" + Path(sys.argv[0]).name, *sys.argv[1:]])


def _write(name, section):
    """Replace one section of the file of results, or put it in its place."""
    text = RESULTS.read_text() if RESULTS.exists() else ""
    sections = {part.split("\n", 1)[0]: "## " + part for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]}
    sections[name] = section
    ordered = sorted(sections, key=lambda one: SECTIONS.index(one) if one in SECTIONS else len(SECTIONS))
    head = (
        "# Results\n\nWritten by the scripts beside this file, each its own section; `README.md` says what they measure.\n"
        "Times depend on the machine and on what else it did; ratios come from one run with the contestants taking turns.\n"
    )
    RESULTS.write_text("\n".join([head, *(sections[one].rstrip() + "\n" for one in ordered)]))


def arguments(description):
    """A parser with what all scripts take."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds; nothing is written")
    parser.add_argument("--write", action="store_true", help="replace this script's section of RESULTS.md")
    return parser
