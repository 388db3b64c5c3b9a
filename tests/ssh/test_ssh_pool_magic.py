"""`%xec_pool` with connections to hosts."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from helpers.waiting import until
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

import xec_magic as xec
from xec_magic import runtime


@pytest.fixture
def run(monkeypatch, tmp_path):
    runtime.close()  # other tests of this process may have sessions on the same server
    monkeypatch.setenv("XEC_UI", "text")
    monkeypatch.chdir(tmp_path)
    InteractiveShell.clear_instance()
    # Its history would be in a home that is gone when the process ends.
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shell.run_line_magic("load_ext", "xec_magic")

    def cell(source):
        with capture_output() as captured:
            result = shell.run_cell(source)
        shown = [output.data.get("text/plain", "") for output in captured.outputs]
        return captured.stdout + "\n".join(shown) + (str(result.error_in_exec) if result.error_in_exec else "")

    yield cell
    shell.run_line_magic("unload_ext", "xec_magic")
    InteractiveShell.clear_instance()


def test_connections_are_listed_with_what_they_saved_also_those_of_a_pool_of_ones_own(run, server):
    for _ in range(2):
        run(f"%xec --on {server.spec} true")
    with xec.ssh_pool(server.spec) as pool:
        pool.run(server.spec, "true")
        # A command is over a moment before its channel is.
        assert until(lambda: not any(row.busy for row in [*pool.rows(), *runtime.current().executor.ssh_rows()]))
        lines = [line.split() for line in run("%xec_pool").splitlines() if line.startswith(server.spec)]
    assert [line[1:3] for line in lines] == [["--on", "idle"], ["ssh_pool", str(pool.number)]]
    assert lines[1][3] == "idle"
    assert lines[0][7:10] == ["2", "commands", "1"]
    assert f"ssh_pool {pool.number}" not in run("%xec_pool")


def test_close_ends_what_nothing_runs_on_and_leaves_a_busy_one_to_its_command(run, world):
    one, other = world.sshd(), world.sshd()
    run(f"%xec --on {one.spec} true")
    with xec.ssh_pool(one.spec) as pool:
        pool.warm()
        assert "[xec] 2 connections closed" in run(f"%xec_pool close {one.spec}")
        assert pool.rows() == []
    slow = xec.start("echo here; sleep 0.7; echo whole", on=other.spec)
    runtime.current().executor.begin(slow)
    assert until(lambda: slow.log.size() > 0)
    assert "[xec] 0 connections closed, 1 when their commands end" in run("%xec_pool close all")
    assert slow.result().lines() == ["here", "whole"]
    assert until(lambda: "nothing is kept ready" in run("%xec_pool"))
    assert str(xec.run("echo again", on=other.spec)) == "again"
    run(f"%xec_pool drain {other.spec}")
    assert "nothing is kept ready" in run("%xec_pool")


def test_a_drain_that_is_interrupted_leaves_the_host_open_to_commands(run, server):
    slow = xec.start("echo here; sleep 60", on=server.spec)
    executor = runtime.current().executor
    executor.begin(slow)
    assert until(lambda: slow.log.size() > 0)
    (book,) = [host.book for host in executor.transports.ssh._hosts.values()]
    interrupting = threading.Thread(target=lambda: until(lambda: book.draining) and os.kill(os.getpid(), signal.SIGINT))
    interrupting.start()
    with pytest.raises(KeyboardInterrupt):
        executor.ssh_call(lambda ssh: ssh.drain())
    interrupting.join()
    assert str(xec.run("echo again", on=server.spec)) == "again"
    slow.cancel()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("close", "name hosts as --on takes them, or write all"),
        ("close bob@127.0.0.1:9", "there is no connection to bob@127.0.0.1:9; there is none"),
        ("clsoe all", "did you mean"),
    ],
)
def test_a_wrong_line_is_refused_in_one_line(run, line, words):
    assert words in run(f"%xec_pool {line}")
