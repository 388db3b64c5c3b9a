"""What a kernel, and a fork of it, keeps of its runs."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import weakref

import pytest
from helpers.waiting import until

import xec_magic as xec
from xec_magic import runtime


@pytest.fixture
def executor():
    runtime.close()
    xec.run("true")
    yield runtime.current().executor
    runtime.close()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore::ResourceWarning")
def test_a_forked_process_has_an_executor_of_its_own(executor):
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        with contextlib.suppress(BaseException):
            signal.alarm(10)
            said = str(xec.run("echo from there")), runtime.current().executor is not executor
            os.write(write, repr(said).encode())
            runtime.close()
            code = 0
        os._exit(code)
    os.close(write)
    with open(read, "rb") as file:
        assert file.read() == b"('from there', True)"
    assert os.waitpid(pid, 0)[1] == 0
    assert str(xec.run("echo here")) == "here"


def test_many_are_listed_within_the_bound(executor, monkeypatch):
    monkeypatch.setattr("xec_magic.engine.history.HISTORY_RUNS", 5)
    monkeypatch.setattr("xec_magic.engine.history.FORGET_RUNS", 5)
    for _ in range(40):
        executor.runs()
        xec.run("true", session="s")
    until(lambda: len(executor.runs()) <= 12)


def test_runs_that_are_over_are_forgotten_one_for_one(executor, monkeypatch):
    monkeypatch.setattr("xec_magic.engine.history.HISTORY_RUNS", 5)
    for _ in range(20):
        xec.start("true").result()
    until(lambda: len(executor.runs()) <= 6)


def test_a_run_of_which_something_lives_is_not_forgotten_for_others(executor, monkeypatch):
    monkeypatch.setattr("xec_magic.engine.history.HISTORY_RUNS", 5)
    xec.run("sleep 60 & echo $!")
    left = next(run for run in executor.runs() if "sleep" in run.plan.command.script)
    for _ in range(20):
        xec.run("true")
    assert left in executor.runs()
    os.kill(int(left.snapshot().text()), signal.SIGKILL)


def test_a_command_that_has_ended_is_freed_without_the_garbage_collector(executor):
    run = xec.start("true")
    run.result()
    process = weakref.ref(run.process)
    gc.collect()
    gc.disable()
    try:
        run.process = None
        until(lambda: process() is None)
    finally:
        gc.enable()
