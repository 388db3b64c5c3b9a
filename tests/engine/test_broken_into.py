"""A finalizer, or the handler of a signal, calls xec in a thread that is in the midst of it: neither of the two waits for the other."""

from __future__ import annotations

import concurrent.futures
import gc
import os
import signal
import sys
import threading
from unittest.mock import Mock

import pytest
from helpers.tracing import make_traceable
from helpers.waiting import until

import xec_magic as xec
from xec_magic import output, private, redact, runtime
from xec_magic.engine import brieflock, cache, diskplace, diskwriter, memory, secretsweep, spool
from xec_magic.output import OutputLog
from xec_magic.profiles import session
from xec_magic.transport import spare
from xec_magic.transport import spawner as spawner_module
from xec_magic.transport import worker as worker_module
from xec_magic.transport.spawn import proctree

WITHIN_S = 20


@pytest.fixture(autouse=True)
def _traceable():
    make_traceable()


@pytest.fixture
def ex():
    with xec.Executor(check=False) as made:
        made.run("true")  # the helper process lives
        yield made
    assert proctree.living((), f"XEC_RUN_ID={made._engine.kernel_id}.".encode()) == []


def _plain(ex, text):
    return ex.run(f"echo {text}").text()


def _worker(ex, text):
    return ex.run(f"echo {text}", worker=True).text()


def _started(ex, text):
    return ex.start(f"echo {text}").result().text()


def _kept(ex, text):
    return ex.run("echo kept", cache="5m").text().replace("kept", text)


def _looked_for(ex, text):
    return ex.run(f"echo {text}", cache="5m", persist=True).text()


def _listed(ex, text):
    ex.run(f"echo {text}", cache="5m", persist=True)
    return {one.command: text for one in ex._engine.cache.entries()}[f"echo {text}"]


def _hidden(ex, text):
    ex.run("echo kept", cache="5m", persist=True)
    return ex.run("true", secret={"SECRET": f"hidden-{text}"}).text() or text


def _not_kept(ex, text):
    return ex.run(f"echo {text}", cache="5m").text()


class Break:
    """Calls something before the n-th line of a module, or of one function of it, that a thread comes to."""

    def __init__(self, module, number, call, function=""):
        self.module = module.__file__
        self.function = function
        self.left = number
        self.call = call
        self.where = ""

    def __call__(self, frame, event, arg):
        if self.left <= 0 or frame.f_code.co_filename != self.module:
            return None
        if self.function not in ("", frame.f_code.co_name):
            return None
        if event == "line":
            self.left -= 1
            if not self.left:
                self.where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                self.call()
        return self


@pytest.mark.parametrize(
    ("outer", "inner", "module"),
    [
        (_plain, _plain, spawner_module),
        (_plain, _worker, spawner_module),
        (_worker, _plain, spare),
        (_kept, _not_kept, memory),
        (_kept, _not_kept, cache),
        (_looked_for, _looked_for, diskplace),
        (_listed, _listed, diskwriter),
        (_hidden, _hidden, secretsweep),
        (_started, _started, spool),
    ],
)
def test_a_command_that_breaks_into_any_line_of_another_runs_and_so_does_that(outer, inner, module, ex, monkeypatch):
    monkeypatch.setattr(brieflock, "MOST_S", 0.02)
    monkeypatch.setattr(diskplace, "MOST_S", 0.02)
    for number, call in enumerate((outer, inner)):  # what is imported at the first use is there
        call(ex, f"warm{number}")
    got = {}
    number = 0

    def break_in():
        got["inner"] = inner(ex, f"inner{number}")

    def course():
        sys.settrace(broken)
        try:
            got["outer"] = outer(ex, f"outer{number}")
        finally:
            sys.settrace(None)

    while True:
        number += 1
        got.clear()
        broken = Break(module, number, break_in)
        thread = threading.Thread(target=course, daemon=True)
        thread.start()
        thread.join(WITHIN_S)
        assert not thread.is_alive(), f"they wait for each other, after a break before {broken.where}"
        if broken.left:  # it has fewer lines
            break
        assert got == {"outer": f"outer{number}", "inner": f"inner{number}"}, broken.where
    assert number > 3


def test_who_breaks_into_the_first_use_of_the_disk_begins_no_second_writer():
    number = 0
    while True:
        number += 1
        done = []
        writer = diskwriter.Writer(Mock(), Mock(), lambda db, jobs: [job.do(db) for job in jobs])
        before = set(threading.enumerate())
        broken = Break(diskwriter, number, lambda writer=writer, done=done: writer.post(done.append), "_put")
        sys.settrace(broken)
        try:
            writer.post(done.append)
        finally:
            sys.settrace(None)
        begun = [thread for thread in threading.enumerate() if thread not in before and thread.name == "xec-cache"]
        writer.close(WITHIN_S)
        assert (len(begun), len(done)) == (1, 1 if broken.left else 2), broken.where
        if broken.left:
            break
    assert number > 3


def test_a_secret_that_is_registered_while_another_one_is_is_masked_as_well():
    number, left = 0, 0
    while not left:
        number += 1
        redactor = redact.Redactor()
        broken = Break(redact, number, lambda one=redactor: one.register("INNER", "inner-s3cret"), "register")
        tracer = sys.gettrace()
        sys.settrace(broken)
        try:
            redactor.register("OUTER", "outer-s3cret")
        finally:
            sys.settrace(tracer)
        left = broken.left
        expected = "[secret OUTER] [secret INNER]" if not left else "[secret OUTER] inner-s3cret"
        assert redactor.mask("outer-s3cret inner-s3cret") == expected, broken.where
    assert number > 3


def _at_each_line(module, outer, inner):
    """Have something done before each line of a module that something else comes to; what has come of the two, each time."""
    number, left = 0, 0
    while not left:
        number += 1
        done = []
        broken = Break(module, number, lambda done=done: done.append(inner()))

        def course(broken=broken, done=done):
            sys.settrace(broken)
            try:
                done.append(outer())
            finally:
                sys.settrace(None)

        thread = threading.Thread(target=course, daemon=True)
        thread.start()
        thread.join(WITHIN_S)
        assert not thread.is_alive(), broken.where
        left = broken.left
        if not left:
            yield done
    assert number > 3


def test_a_log_can_be_read_while_its_own_thread_reads_it():
    log = OutputLog()
    log.append("stdout", b"text")
    for done in _at_each_line(output, lambda: log.read(0, 4), lambda: log.read(0, 2)):
        assert done == [b"te", b"text"]


def test_the_record_of_a_session_takes_what_comes_while_it_takes_others(ex):
    result = ex.run("true")
    count = 0

    def record():
        profiler.record([(result, 0.0)], lambda plan: "name")

    profiler = session.Profiler()
    for _ in _at_each_line(session, record, record):
        count += 2
        assert profiler.report().runs == count

    def usual():
        return profiler.usual_s(result.plan.command)

    # Nor does who records, as the loop's thread does, wait for one that was broken into.
    for _ in _at_each_line(session, usual, lambda: _in_another_thread(record)):
        pass
    assert profiler.report().runs > 3


def test_a_directory_that_is_there_is_given_to_others_while_it_is_asked_for(tmp_path):
    directory = private.KernelDirectory(lambda: tmp_path, "kernel")
    path = directory.path()
    for done in _at_each_line(private, directory.path, lambda: _in_another_thread(directory.path)):
        assert done == [path, path]
    directory.close()


def test_the_first_use_of_a_kernel_can_be_broken_into_by_another_one():
    def use():
        return runtime.current()

    for inner, outer in _at_each_line(runtime, use, use):
        assert inner is outer is runtime.current()
        assert outer.executor.is_open
        runtime.close()


def test_a_fork_in_the_midst_of_a_kernels_first_use_has_one_of_its_own():
    def fork():
        pid = os.fork()
        if not pid:
            signal.alarm(WITHIN_S)  # ends it, if it hangs
            runtime.current()
            os._exit(0)
        return os.waitpid(pid, 0)[1]

    for status, _ in _at_each_line(runtime, runtime.current, lambda: _in_another_thread(fork)):
        assert status == 0
        runtime.close()


def _in_another_thread(call):
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        return threads.submit(call).result(WITHIN_S)


@pytest.fixture
def breaking(monkeypatch):
    """Lets something happen, once, in the midst of what a thread asks the helper process."""

    def at(call):
        umask, loop = spawner_module.current_umask, threading.current_thread()

        def hook():
            nonlocal call
            if call is not None and threading.current_thread() is loop:
                told, call = call, None
                told()
            return umask()

        monkeypatch.setattr(spawner_module, "current_umask", hook)

    return at


def test_one_that_is_too_large_to_go_beside_another_is_refused_in_words(ex, breaking, monkeypatch):
    monkeypatch.setattr(spawner_module, "SEND_TIMEOUT_S", 0.1)
    inner = []
    breaking(lambda: inner.append(ex.run("echo inner", env={"BIG": "x" * 100_000})))
    assert ex.run("echo outer").text() == "outer"
    assert (inner[0].outcome.value, "less than 32 KiB" in inner[0].detail) == ("not started", True)
    assert ex.run("echo $BIG", env={"BIG": "x" * 100_000}).text() == "x" * 100_000


def test_a_helper_process_that_is_lost_in_the_midst_of_a_start_holds_nobody_up(ex, breaking):
    spawner = ex._engine.transports._local.spawner
    lost = spawner.helper.socket
    inner = []

    def lose():
        os.kill(spawner.helper.process.pid, signal.SIGKILL)
        until(lambda: not spawner.lives)
        inner.append(ex.run("echo inner $A", env={"A": "a"}).text())

    breaking(lose)
    assert (ex.run("echo outer").text(), inner) == ("outer", ["inner a"])
    assert lost.fileno() == -1
    assert ex.run("echo again; echo ${HOME:+home}").lines() == ["again", "home"]
    gc.collect()


def test_one_for_the_session_that_it_has_broken_into_is_refused_in_words(ex, monkeypatch):
    monkeypatch.setattr(worker_module, "LENT_MOST_S", 0.1)
    ex.run("true", session="s")
    inner = []
    settle = ex._engine.settle

    def break_into():
        if not inner:
            inner.append(None)
            inner[0] = ex.run("echo inner", session="s")
        settle()

    monkeypatch.setattr(ex._engine, "settle", break_into)
    assert ex.run("echo outer", session="s").text() == "outer"
    assert (inner[0].outcome.value, "session s is in the hands" in inner[0].detail) == ("not started", True)
    assert ex.run("echo again", session="s").text() == "again"
