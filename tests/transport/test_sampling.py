"""Samples of real processes, compared with what the processes say of themselves."""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys

import pytest
from helpers.waiting import until

from xec_magic.transport import sampling
from xec_magic.transport.sampling import gpu, procfs, tree_reader
from xec_magic.transport.sampling.ledger import Counters, Ledger
from xec_magic.transport.sampling.machine import MachineReader
from xec_magic.transport.sampling.portable import PortableReader

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc")

MARKER = b"XEC_RUN_ID=feedc0ffee12.7\0"


@contextlib.contextmanager
def session(script, **env):
    """A bash in a session of its own; it says `ready` when it is to be looked at. The whole session is ended."""
    process = subprocess.Popen(
        ["bash", "-c", script], start_new_session=True, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True,
        env={**os.environ, **env},
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def names(taken):
    return sorted(part.name for part in taken.parts)


@pytest.fixture(params=["proc", "psutil"])
def reader(request):
    """Makes a reader of either kind, closed at the end."""
    made = []

    def make(pid, marker=b"", **how):
        made.append(tree_reader(pid, marker, **how) if request.param == "proc" else PortableReader(pid, **how))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_tree_is_counted_with_its_processes_threads_and_memory(reader):
    with session("sleep 60 & sleep 60 & echo ready; wait") as process:
        process.stdout.readline()
        one = reader(process.pid)
        taken = until(lambda: (got := one.read("r")) and names(got) == ["bash", "sleep", "sleep"] and got)
    assert taken.processes == 3
    assert taken.threads == 3
    assert taken.rss_bytes == sum(part.rss_bytes for part in taken.parts) > 500_000


def test_children_that_lived_between_two_samples_are_in_the_total(reader):
    work = "import time,os\nwhile time.process_time()<0.06: pass\nprint(time.process_time())"
    with session(f"for i in 1 2 3 4 5; do {sys.executable} -ISc '{work}'; done; echo ready; read x") as process:
        first = reader(process.pid)
        first.read("r")  # before most of them lived
        used = sum(float(process.stdout.readline()) for _ in range(5))
        process.stdout.readline()
        total = first.read("r").cpu_s
    assert total == pytest.approx(used, rel=0.02, abs=0.06)  # their start and end, and ticks of 10 ms


def test_bytes_through_calls_are_exact(reader):
    with session("head -c 3000000 /dev/zero | cat > /dev/null; echo ready; read x") as process:
        process.stdout.readline()
        taken = reader(process.pid).read("r")
    assert taken.written_bytes == pytest.approx(6_000_000, abs=2000)
    assert taken.read_bytes == pytest.approx(6_000_000, abs=200_000)  # and the programs themselves


def test_a_total_never_shrinks_while_processes_come_and_go(reader):
    with session(
        "for i in $(seq 30); do head -c 300000 /dev/urandom | sort > /dev/null; done; echo ready; read x"
    ) as process:
        one = reader(process.pid)
        totals = [one.read("r")]
        while not select.select([process.stdout], [], [], 0.002)[0]:
            totals.append(one.read("r"))
    cpu = [taken.cpu_s for taken in totals]
    assert cpu == sorted(cpu)
    written = [taken.written_bytes for taken in totals]
    assert written == sorted(written)


def test_nothing_is_read_of_what_is_gone(reader):
    with session("exit 0") as process:
        process.wait()
        assert reader(process.pid).read("r") is None


def test_alone_a_process_is_read_without_its_children(reader):
    with session("sleep 60 & echo ready; wait") as process:
        process.stdout.readline()
        assert reader(process.pid, alone=True).read("r").processes == 1


def test_a_daemon_that_left_its_parent_and_its_session_is_found_by_its_environment():
    with session(
        "(setsid sleep 987 < /dev/null > /dev/null 2>&1 &); echo ready; read x", XEC_RUN_ID="feedc0ffee12.7"
    ) as process:
        process.stdout.readline()
        one = tree_reader(process.pid, MARKER)
        try:
            taken = until(lambda: (got := _scanned(one)) and "sleep" in {part.name for part in got.parts} and got)
        finally:
            for part in taken.parts:
                if part.name == "sleep":
                    os.kill(part.pid, signal.SIGKILL)
            one.close()
    assert {part.name for part in taken.parts} == {"bash", "sleep"}


def _scanned(one):
    one._scan_at = 0.0
    return one.read("r")


def test_a_process_of_somebody_else_is_looked_at_once(monkeypatch):
    with session("echo ready; read x") as process:
        process.stdout.readline()
        one = tree_reader(process.pid, MARKER)
        looked = []
        monkeypatch.setattr(one, "_belongs", lambda entry: looked.append(entry) or False)
        _scanned(one)
        first = len(looked)
        _scanned(one)
        one.close()
    assert first > 1
    assert len(looked) - first < first / 2  # only those that are new


def test_of_many_processes_all_are_counted_some_are_kept_and_few_files_stay_open():
    with session("for i in $(seq 150); do sleep 60 & done; echo ready; wait") as process:
        process.stdout.readline()
        before = len(os.listdir("/proc/self/fd"))
        one = tree_reader(process.pid)
        taken = until(lambda: (got := one.read("r")).processes == 151 and got)
        assert len(taken.parts) == procfs.PARTS
        assert len(os.listdir("/proc/self/fd")) - before <= 3 * procfs.KEPT_FILES
        one.close()
        assert len(os.listdir("/proc/self/fd")) <= before


def test_what_another_user_hides_is_absent_and_so_is_every_total_with_it(monkeypatch):
    def read(self, name, real=procfs._Process.read):
        if name == "io":
            raise PermissionError
        return real(self, name)

    monkeypatch.setattr(procfs._Process, "read", read)
    taken = tree_reader(os.getpid(), alone=True).read("r")
    assert taken.read_bytes is taken.written_bytes is taken.storage_read_bytes is None
    assert taken.cpu_s > 0


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root")
def test_a_command_that_changes_its_user_is_still_counted():
    with session("echo ready; exec setpriv --reuid 65534 --clear-groups sleep 60") as process:
        process.stdout.readline()
        one = tree_reader(process.pid)
        taken = until(lambda: (got := one.read("r")) and got.parts[0].name == "sleep" and got)
        one.close()
    assert taken.processes == 1


def test_a_number_that_names_another_process_now_is_not_taken_for_the_old_one():
    with session("echo ready; read x") as process:
        process.stdout.readline()
        one = tree_reader(process.pid, alone=True)
        one.read("r")
        one._known[process.pid].started -= 1  # as if this were a later process of that number
        assert one.read("r") is None
        one.close()


# -- the ledger --------------------------------------------------------------------------------------


def counters(cpu_s, io=0):
    return Counters(cpu_s, io, io, io, io)


def test_an_orphan_that_ends_keeps_what_it_had_used():
    book = Ledger()
    book.total({10: (1, counters(1.0)), 20: (1, counters(5.0, 50))})  # 20's parent is init, a stranger
    total = book.total({10: (1, counters(1.5))})
    assert (total.cpu_s, total.read) == (6.5, 50)


def test_a_child_that_its_parent_waited_for_is_not_counted_twice():
    book = Ledger()
    book.total({10: (1, counters(1.0)), 20: (10, counters(5.0))})
    assert book.total({10: (1, counters(6.0))}).cpu_s == 6.0


def test_a_child_between_its_end_and_its_parents_wait_does_not_make_the_total_shrink():
    book = Ledger()
    book.total({10: (1, counters(1.0)), 20: (10, counters(5.0))})
    assert book.total({10: (1, counters(1.0))}).cpu_s == 6.0


def test_what_is_unknown_of_one_is_unknown_of_all():
    book = Ledger()
    total = book.total({10: (1, counters(1.0, 7)), 20: (10, Counters(1.0, None, None, None, None))})
    assert total.read is None


# -- graphics processors, machines --------------------------------------------------------------------


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """Puts an `nvidia-smi` on the path that prints what it is told."""

    def put(body):
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        return gpu.GpuReader()

    return put


def test_memory_on_graphics_processors_is_that_of_the_commands_processes(smi):
    one = smi("printf '11, 100\\n12, 50\\n99, 7\\n'")
    assert until(lambda: one.used({11, 12})) == 150 * 2**20
    one.close()


def test_a_driver_that_cannot_say_is_not_zero(smi):
    one = smi("echo 'No devices were found'")
    one.used({1})
    until(lambda: one._asking is None or one._asking.poll() is not None)
    assert one.used({1}) is None
    one.close()


def test_a_driver_that_hangs_is_given_up_and_leaves_no_process(smi):
    one = smi("exec sleep 60")
    one.used({1})
    asking = one._asking
    one._asked_at -= gpu.PATIENCE_S + 1
    assert one.used({1}) is None
    assert asking.returncode is not None
    assert one.used({1}) is None
    assert one._asking is None


def test_without_a_driver_nothing_is_asked(monkeypatch):
    monkeypatch.setattr(gpu.shutil, "which", lambda _: None)
    assert gpu.GpuReader().used({1}) is None


def test_a_machine_has_memory_in_use_and_counts_on():
    one = MachineReader()
    first, second = one.read(""), one.read("")
    assert 0 < first.rss_bytes < sampling.machine.size_of_machine()[1]
    assert second.cpu_s >= first.cpu_s > 0
