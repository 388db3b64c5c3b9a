"""What a run costs, compared with what its processes say of themselves; and what can go wrong while it is watched."""

import asyncio
import contextlib
import math
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from helpers.waiting import until

import xec_magic as xec
from xec_magic.engine.executor import Executor
from xec_magic.engine.marks import MOST_MARKS, MarkFinder
from xec_magic.engine.monitor import watch
from xec_magic.engine.watching import Watch
from xec_magic.errors import OptionError
from xec_magic.events import Sample
from xec_magic.transport.fake import Exit, FakeHost, FakeProcess, Say, Use, Wait

PYTHON = f"{sys.executable} -ISc"
BUSY = "import time\nwhile time.process_time()<{seconds}: pass\nprint(time.process_time())"


def held(tmp_path, script, start=xec.start, **options):
    """The result of a command that has done its work and been sampled afterwards, however late that comes."""
    gate = tmp_path / f"gate{len(os.listdir(tmp_path))}"
    os.mkfifo(gate)
    opened = os.open(gate, os.O_RDWR)  # neither end waits for the other
    try:
        run = start(f"{script}; touch {gate}.done; read -r line < {gate}", **options)
        count = None
        while not run.done():
            samples = run.timeline.samples if run.timeline else []
            if count is None and os.path.exists(f"{gate}.done"):
                count = len(samples)
            if count is not None and len(samples) > count + 1:
                os.write(opened, b"go\n")
                break
            time.sleep(0.005)
        return run.result(60)
    finally:
        os.close(opened)


def seen(run):
    """A run's samples until now."""
    return run.timeline.samples if run.timeline else []


def names(samples):
    return {part.name for sample in samples for part in sample.parts}


# -- accuracy ------------------------------------------------------------------------------------


def test_cpu_seconds_are_those_that_the_process_counts_itself():
    r = xec.run(f"exec {PYTHON} '{BUSY.format(seconds=0.4)}'", monitor=True, rate=20)
    assert r.usage.cpu_s == pytest.approx(float(r.stdout), rel=0.02, abs=0.02)  # and its end
    assert r.timeline.samples[-1].cpu_s == pytest.approx(r.usage.cpu_s, rel=0.02, abs=0.02)  # ticks of 10 ms


def test_the_curve_of_one_busy_core_is_one():
    r = xec.run(f"exec {PYTHON} '{BUSY.format(seconds=0.5)}'", monitor=True, rate=10)
    cores = [value for value in r.timeline.curves().cpu_cores if not math.isnan(value)]
    assert max(cores) > 0.1
    assert statistics.median(cores) < 1.2  # on a busy machine a single step may be shorter than what it counts


def test_short_children_are_all_in_the_totals(tmp_path):
    work = BUSY.format(seconds=0.02)
    r = held(tmp_path, f"for i in 1 2 3 4 5 6 7 8 9 10; do {PYTHON} '{work}'; done; echo", monitor=True, rate=4)
    used = sum(float(line) for line in r.lines() if line)
    assert r.usage.cpu_s == pytest.approx(used, rel=0.02, abs=0.15)  # ten ends, and the shell's forks
    assert r.timeline.samples[-1].cpu_s == pytest.approx(r.usage.cpu_s, rel=0.02, abs=0.1)


def test_bytes_written_and_read_are_exact(tmp_path):
    r = xec.run(f"head -c 20000000 /dev/zero > {tmp_path}/f; cat {tmp_path}/f > /dev/null", monitor=True)
    assert r.usage.written_bytes == pytest.approx(40_000_000, rel=0.001)
    assert r.usage.read_bytes == pytest.approx(40_000_000, rel=0.02)


def test_peak_memory_is_what_the_process_itself_knows():
    hold = 'x=bytearray(120*2**20)\nprint([l for l in open("/proc/self/status") if "VmHWM" in l][0].split()[1])'
    r = xec.run(f"exec {PYTHON} '{hold}'")
    assert r.usage.peak_rss_bytes == pytest.approx(int(r.stdout) * 1024, rel=0.03)


# -- courses -------------------------------------------------------------------------------------


def test_a_command_that_ends_before_the_first_sample_has_its_totals_and_says_so():
    r = xec.run("true", monitor=True, rate=0.2)
    assert len(r.timeline) == 0
    assert r.usage.cpu_s > 0
    assert len(r.samples) == 0
    assert "time_s" in r.samples
    with pytest.raises(OptionError, match="ended before the first sample"):
        r.plot()


def test_a_run_that_nobody_watches_has_no_curves():
    r = xec.run("true")
    assert r.timeline is None
    assert len(r.samples) == 0
    with pytest.raises(OptionError, match="monitor=True"):
        r.plot()


@pytest.mark.parametrize("rate", [0, -1, 1000, "fast", float("nan")])
def test_a_rate_that_makes_no_sense_is_refused(rate):
    with pytest.raises(OptionError, match="rate"):
        xec.run("true", monitor=True, rate=rate)
    with pytest.raises((OptionError, ValueError)):
        xec.monitor(rate=rate)


def test_options_that_would_do_nothing_are_refused():
    with pytest.raises(OptionError, match="belongs to monitor=True"):
        xec.run("true", rate=3)
    with pytest.raises(OptionError, match="belongs to monitor=True"):
        xec.run("true", mark="x")


def test_lines_that_match_are_marked_also_those_printed_at_once():
    r = xec.run("echo step one; echo no; sleep 0.1; echo step two; printf 'step three'", monitor=True, mark="^step")
    assert [mark.text for mark in r.timeline.marks] == ["step one", "step two", "step three"]
    assert r.timeline.marks[1].at - r.timeline.started_at > 0.09


def test_two_runs_at_once_each_have_their_own_curves():
    one = xec.start(f"exec {PYTHON} 'x=bytearray(90*2**20)\nimport time\ntime.sleep(600)'", monitor=True, rate=20)
    other = xec.start("sleep 600", monitor=True, rate=20)
    until(lambda: seen(one) and seen(one)[-1].rss_bytes > 90 * 2**20)
    count = len(seen(other))
    until(lambda: len(seen(other)) > count + 1)  # both lived all the while
    for run in (one, other):
        run.cancel()
        with contextlib.suppress(xec.Cancelled):
            run.result(20)
    assert one.timeline.peak.rss_bytes > 90 * 2**20
    assert other.timeline.peak.rss_bytes < 40 * 2**20


def test_five_thousand_children_are_watched_and_waited_for():
    r = xec.run("for i in $(seq 5000); do : & done; wait", shell="dash", monitor=True, rate=20, timeout=60)
    assert r.ok
    assert all(len(sample.parts) <= 8 for sample in r.timeline.samples)


def test_a_daemon_does_not_hold_the_watched_run_and_nothing_watches_on():
    r = xec.run("(setsid sleep 321 > /dev/null 2>&1 < /dev/null &) ; echo ok", monitor=True, rate=20)
    try:
        assert r.ok
        assert not [thread for thread in threading.enumerate() if "xec-sample" in thread.name and not thread.is_alive()]
    finally:
        for process in xec.runtime.current().executor.transports._local.strays():
            os.kill(process.pid, signal.SIGKILL)


def test_watching_that_fails_ends_with_a_note_and_the_command_goes_on(monkeypatch):
    host = FakeHost("box")
    host.on("work", Use(0.1, 10), Wait(0.1), Say("done\n"), Exit(0))

    def use(self):
        raise OSError("the disk of /proc is full")

    monkeypatch.setattr(FakeProcess, "use", use)
    r = xec.run("work", target=host.target, monitor=True, rate=20)
    assert r.ok
    assert r.stdout == "done\n"
    assert r.notes == ("not monitored: the disk of /proc is full",)


def test_a_target_that_cannot_be_sampled_gives_totals_and_no_curves(monkeypatch):
    host = FakeHost("box")
    host.on("work", Wait(0.1), Exit(0))
    monkeypatch.setattr(FakeProcess, "sampler", lambda self, rate_hz: None)
    r = xec.run("work", target=host.target, monitor=True)
    assert r.ok
    assert len(r.timeline) == 0
    assert r.notes == ("not monitored: what a command on box uses cannot be read",)


def test_a_warm_shell_is_watched(tmp_path):
    for _ in range(2):
        assert len(held(tmp_path, "true", worker=True, monitor=True, rate=20).timeline) > 1


def test_a_command_of_a_session_is_counted_without_what_the_shell_has_used_before(tmp_path):
    s = xec.using(session="watched", cwd=tmp_path, monitor=True, rate=20)
    s.run(f"{PYTHON} '{BUSY.format(seconds=0.4)}'; head -c 50000000 /dev/zero > big")
    idle = held(tmp_path, "true", s.start)
    last = idle.timeline.samples[-1]
    assert len(idle.timeline) >= 2
    assert last.cpu_s < 0.1
    assert last.written_bytes < 1_000_000
    busy = held(tmp_path, f"{PYTHON} '{BUSY.format(seconds=0.4)}'; head -c 30000000 /dev/zero > big", s.start)
    assert abs(busy.timeline.samples[-1].cpu_s - float(busy.stdout)) < 0.15
    assert 30_000_000 <= busy.usage.written_bytes < 31_000_000
    assert busy.timeline.samples[-1].written_bytes == busy.usage.written_bytes
    assert "bash" in names(busy.timeline.samples)


def test_jobs_that_earlier_commands_have_left_do_not_count(tmp_path):
    s = xec.using(session="jobs", monitor=True, rate=20)
    left = s.run(f"{PYTHON} '{BUSY.format(seconds=30)}' >/dev/null 2>&1 &")
    r = held(tmp_path, "sleep 0.5", s.start)
    s.run("kill %1", check=False)
    assert left.ok
    assert r.timeline.samples[-1].cpu_s < 0.15
    assert names(r.timeline.samples) <= {"bash", "sleep", "touch"}


def test_a_job_that_was_started_only_just_before_does_not_count_either(monkeypatch, tmp_path):
    os.mkfifo(tmp_path / "go")
    monkeypatch.setattr("xec_magic.transport.session.PREPARE_S", 60)  # the next command always comes sooner
    monkeypatch.setattr("xec_magic.transport.session_process.start_ticks", lambda pid: None)  # the clock is too coarse
    s = xec.using(session="justbefore", monitor=True, rate=20)
    s.run("sleep 61 >/dev/null 2>&1 &")
    started = s.start(f"exec 9<> {tmp_path}/go; read -u 9")
    until(lambda: seen(started))
    (tmp_path / "go").write_text("\n")
    r = started.result(20)
    s.run("kill %1", check=False)
    assert {part.name for sample in r.timeline.samples for part in sample.parts} == {"bash"}


def test_each_attempt_has_curves_of_its_own(tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    opened = os.open(gate, os.O_RDWR)
    run = xec.start(
        f"read -r line < {gate}; test -e {tmp_path}/f || {{ touch {tmp_path}/f; exit 75; }}", monitor=True, rate=20,
        retries=1, retry_codes=75, backoff=0,
    )  # fmt: skip
    try:
        first = None
        while not run.done():  # each attempt goes on when it has been sampled
            if run.timeline and run.timeline.samples and run.timeline is not first:
                os.write(opened, b"go\n")
                first = run.timeline
            time.sleep(0.005)
    finally:
        os.close(opened)
    r = run.result()
    assert len(r.attempts) == 1
    assert r.attempts[0].timeline is not r.timeline
    assert r.timeline.samples[0].at > r.attempts[0].timeline.samples[-1].at


def test_cancelling_a_watched_run_ends_the_watching():
    run = xec.start("sleep 60", monitor=True, rate=20)
    until(lambda: seen(run))
    run.cancel()
    with pytest.raises(xec.Cancelled):
        run.result(20)
    count = len(run.timeline.samples)
    other = xec.start("sleep 60", monitor=True, rate=20)
    until(lambda: len(seen(other)) > 3)  # three beats later
    other.cancel()
    assert len(run.timeline.samples) == count


def test_a_suspended_kernel_leaves_a_gap_and_no_burst():
    program = (
        "import xec_magic as xec, math, time\n"
        "run = xec.start('sleep 60', monitor=True, rate=20, check=False)\n"
        "def until(count):\n"
        "    while run.timeline is None or len(run.timeline) < count: time.sleep(0.01)\n"
        "until(5); at = [sample.at for sample in run.timeline.samples]\n"
        "print(max(b - a for a, b in zip(at, at[1:])), flush=True); input(); until(len(run.timeline) + 5); run.cancel()\n"
        "c = run.result().timeline.curves()\n"
        "print(sum(map(math.isnan, c.rss_bytes[:-1])), len(c.time_s), c.time_s[-1])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        # Longer than the shortest gap that is shown, also where a busy machine samples slowly.
        pause_s = max(1.5, 8 * float(process.stdout.readline()))
        process.send_signal(signal.SIGSTOP)
        assert until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        time.sleep(pause_s)
        process.send_signal(signal.SIGCONT)
        gaps, rows, end_s = map(float, process.communicate("\n", timeout=60)[0].split())
    finally:
        process.kill()
        process.wait()
    assert gaps >= 1
    assert rows <= (end_s - pause_s) * 20 + 4


# -- the beat ------------------------------------------------------------------------------------


class Sampler:
    def __init__(self, count, cost_s=0.0, before=lambda: None):
        self.share, self.size = 0.05, None
        self.left, self.cost_s, self.before, self.times = count, cost_s, before, []

    async def sample(self):
        if not self.left:
            return None
        self.left -= 1
        self.times.append(asyncio.get_running_loop().time())
        self.before()
        return Sample("r", self.times[-1])

    def close(self):
        pass


def beats(sampler, rate=20):
    asyncio.run(watch(sampler, rate, lambda sample: None))
    return [b - a for a, b in zip(sampler.times, sampler.times[1:], strict=False)]


def test_missed_samples_are_not_made_up_for():
    late = iter([0.3, 0, 0, 0])
    steps = beats(Sampler(4, before=lambda: time.sleep(next(late))))
    assert min(steps[1:]) > 0.03  # no two at once after the pause


def test_a_tree_that_is_dear_to_read_is_read_less_often():
    assert min(beats(Sampler(3, cost_s=0.02), rate=20)) > 0.3  # a twentieth of a core


# -- marks ---------------------------------------------------------------------------------------


def marks(patterns, *pieces):
    found = []
    finder = MarkFinder(patterns, found.append)
    for stream, data in pieces:
        finder.feed(stream, data)
    finder.end()
    return found


def test_a_marked_line_may_be_cut_anywhere():
    assert marks(["two"], ("stdout", b"one\ntw"), ("stderr", b"two err\n"), ("stdout", b"o\n")) == ["two err", "two"]


def test_each_expression_has_its_own_flags():
    assert marks(["(?i)error", "^Step"], ("stdout", b"ERROR 1\nstep\nStep\n")) == ["ERROR 1", "Step"]


def test_marks_are_bounded_and_so_is_their_text():
    assert len(marks(["x"], ("stdout", b"x\n" * 5000))) == MOST_MARKS
    assert len(marks(["x"], ("stdout", b"x" * 100_000))[0]) == 200


def open_files():
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{fd}"))
    return found


# -- machines and kernels --------------------------------------------------------------------------


@pytest.fixture
def executor():
    with Executor() as made:
        yield made


def test_a_watch_keeps_its_history_when_it_is_started_again(executor):
    one = Watch(executor, "kernel", 20)
    one.start()
    one.start()
    assert one.wait_for(2, 10)
    one.stop()
    count = len(one.timeline)
    one.start()
    assert one.wait_for(count + 1, 10)
    one.stop()
    assert not one.running


def test_an_alert_marks_the_curves_and_warns_once(executor):
    one = Watch(executor, "kernel", 20, ("mem > 1MB", "mem > 900TB"))
    one.start()
    assert one.wait_for(4, 10)
    one.stop()
    assert len(one.warnings) == 1
    assert one.warnings[0].startswith("kernel: mem > 1MB: ")
    assert len(one.timeline.marks) == 1


def test_a_closing_executor_does_not_wait_for_what_it_watches():
    made = Executor()
    one = Watch(made, "kernel", 20)
    one.start()
    assert one.wait_for(1, 20)
    held = [f"/proc/{os.getpid()}/stat"]
    assert open_files() >= set(held)
    made.close()  # it would not come back while the watch goes on
    until(lambda: not open_files() & set(held))  # they are closed by the thread that reads them, which nobody waits for
    with pytest.raises(xec.XecError, match="closed"):
        Watch(made, "kernel").start()


def test_what_cannot_be_watched_is_refused(executor):
    with pytest.raises(OptionError, match="machine and kernel"):
        Watch(executor, "moon")


def test_a_monitor_gives_peaks_and_means():
    with xec.monitor("kernel", rate=20) as m:
        held = bytearray(80_000_000)
    assert m.peak.rss_bytes > 80_000_000
    assert m.average.rss_bytes <= m.peak.rss_bytes
    assert m.peak.received_rate is None
    assert len(m.samples) == len(m.timeline) >= 2
    del held
