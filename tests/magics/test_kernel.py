"""The magics in a real kernel: interrupts, kernel ends, headless tools."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from queue import Empty

import nbformat
import papermill
import pytest
from helpers.waiting import until
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

from xec_magic.transport.spawn import proctree

pytestmark = pytest.mark.filterwarnings("default")  # the tools' own

LOAD = "%load_ext xec_magic"


class Kernel:
    def __init__(self, env):
        self.manager, self.client = start_new_kernel(env=env)

    def start(self, source, *, allow_stdin=False):
        return self.client.execute(source, allow_stdin=allow_stdin)

    def finish(self, request, timeout=30):
        """The reply, and all that the cell published."""
        outputs = []
        deadline = time.monotonic() + timeout
        while True:
            message = self.client.get_iopub_msg(timeout=max(0.1, deadline - time.monotonic()))
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
            outputs.append(message)
        while True:
            reply = self.client.get_shell_msg(timeout=10)
            if reply["parent_header"].get("msg_id") == request:
                return reply["content"], outputs

    def run(self, source, **how):
        return self.finish(self.start(source, **how))

    def value(self, expression):
        reply, outputs = self.run(f"print(repr({expression}))")
        assert reply["status"] == "ok", reply
        return "".join(o["content"].get("text", "") for o in outputs).strip()

    def processes(self):
        """What runs and was started by commands of this kernel."""
        kernel_id = self.value("__import__('xec_magic').runtime.current().executor.kernel_id").strip("'")
        self.marker = f"XEC_RUN_ID={kernel_id}.".encode()
        return proctree.living((), self.marker)

    def close(self):
        self.client.stop_channels()
        if self.manager.is_alive():
            self.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel(tmp_path):
    env = dict(os.environ, XDG_CACHE_HOME=str(tmp_path / "cache"), IPYTHONDIR=str(tmp_path / "ipython"))
    made = Kernel(env)
    reply, _ = made.run(LOAD)
    assert reply["status"] == "ok", reply
    yield made
    made.close()


def texts(outputs):
    return [
        o["content"]["data"]["text/plain"]
        for o in outputs
        if o["msg_type"] in ("display_data", "execute_result", "update_display_data")
    ]


def test_a_short_cell_publishes_one_static_display(kernel):
    for _ in range(20):  # on a busy machine even echo can take the 0.2 s after which a widget opens
        reply, outputs = kernel.run("%%xec\necho hi", allow_stdin=True)
        shown = [o for o in outputs if o["msg_type"] not in ("status", "execute_input")]
        if len(shown) == 1:
            break
    assert [o["msg_type"] for o in shown] == ["display_data"]
    assert set(shown[0]["content"]["data"]) == {"text/plain", "text/html"}
    assert reply["status"] == "ok"


def test_a_longer_cell_opens_a_widget_and_leaves_static_html_and_text(kernel):
    _, outputs = kernel.run("%%xec\necho begun; sleep 0.6; echo ended", allow_stdin=True)
    kinds = [o["msg_type"] for o in outputs]
    assert "comm_open" in kinds
    last = [o for o in outputs if o["msg_type"] == "update_display_data"][-1]
    assert set(last["content"]["data"]) == {"text/plain", "text/html"}
    assert "ended" in last["content"]["data"]["text/plain"]


def test_a_tool_that_forbids_questions_gets_one_display_without_times(kernel):
    _, outputs = kernel.run("%%xec\necho begun; sleep 0.6; echo ended", allow_stdin=False)
    assert texts(outputs) == ["begun\nended"]
    assert not any(o["msg_type"].startswith("comm") for o in outputs)


def test_a_result_at_the_end_of_a_cell_is_shown_once(kernel):
    _, outputs = kernel.run("%xec echo once")
    assert "".join(texts(outputs)).count("once") == 1
    _, outputs = kernel.run("import xec_magic as xec\nxec.run('echo shown')")
    assert "".join(texts(outputs)).count("shown") == 1


def test_a_failing_cell_is_an_error_of_one_line(kernel):
    reply, outputs = kernel.run("%%xec\necho why >&2; exit 3")
    assert (reply["status"], reply["ename"]) == ("error", "NonZeroExit")
    error = next(o for o in outputs if o["msg_type"] == "error")
    assert len(error["content"]["traceback"]) == 1
    assert "exit code 3" in error["content"]["traceback"][0]
    assert "why" in error["content"]["evalue"]


def test_a_wrong_option_is_an_error_too(kernel):
    reply, outputs = kernel.run("%%xec --nope\ntrue")
    assert reply["status"] == "error"
    assert "there is no option --nope" in json.dumps([o["content"] for o in outputs], default=str)


def test_an_interrupt_stops_the_tree_keeps_what_came_and_aborts_what_is_queued(kernel, tmp_path):
    script = (
        f"trap 'echo cleaned; exit 1' INT\necho begun\ntouch {tmp_path}/begun\nsleep 70 &\nwhile :; do sleep 0.05; done"
    )
    first = kernel.start(f"%%xec --out r\n{script}")
    second = kernel.start("print('next')")
    until((tmp_path / "begun").exists)
    kernel.manager.interrupt_kernel()
    reply, outputs = kernel.finish(first)
    assert (reply["status"], reply["ename"]) == ("error", "RunInterrupted")
    assert "cleaned" in "".join(texts(outputs))
    aborted, _ = kernel.finish(second)
    assert aborted["status"] == "aborted"
    assert kernel.value("(r.stdout, r.outcome.value)") == "('begun\\ncleaned\\n', 'interrupted')"
    assert kernel.processes() == []


def test_a_second_interrupt_kills_at_once(kernel, tmp_path):
    script = f"trap '' INT TERM\ntouch {tmp_path}/begun\nwhile :; do sleep 0.05; done"
    request = kernel.start(f"%%xec --grace 600 --out r\n{script}")
    until((tmp_path / "begun").exists)
    # Two that come close together are one to the operating system, so this goes on until one more was heard.
    # By the group itself: the manager would leave an open loop behind in each thread that asks it.
    group = kernel.manager.provisioner.pgid
    timers = [threading.Timer(seconds, os.killpg, (group, signal.SIGINT)) for seconds in range(10)]
    for timer in timers:
        timer.start()
    reply, _ = kernel.finish(request, timeout=30)
    for timer in timers:
        timer.cancel()
    assert reply["ename"] == "RunInterrupted"
    assert kernel.value("r.signal") == "9"


@pytest.mark.parametrize(
    "wait",
    [
        "await r",
        "async for line in r.lines():\n    pass",
        "import asyncio\nawait asyncio.gather(r, xec.start('sleep 60'))",
    ],
)
def test_an_interrupt_of_an_awaiting_cell_reads_as_one_and_has_what_came(kernel, tmp_path, wait):
    request = kernel.start(
        f"import sys, xec_magic as xec\nr = xec.start('echo begun; touch {tmp_path}/begun; sleep 60', keep=True)\n{wait}"
    )
    until((tmp_path / "begun").exists)
    kernel.manager.interrupt_kernel()
    reply, outputs = kernel.finish(request, timeout=20)
    assert (reply["status"], reply["ename"]) == ("error", "RunInterrupted")
    error = next(o for o in outputs if o["msg_type"] == "error")
    assert len(error["content"]["traceback"]) == 1
    assert "interrupted on local" in error["content"]["traceback"][0]
    assert kernel.value("(r.wait(20).stdout, r.wait(20).outcome.value)") == "('begun\\n', 'interrupted')"
    # Of several, whose end came first.
    assert "gather" in wait or kernel.value("sys.last_value.result.stdout") == r"'begun\n'"
    until(lambda: kernel.processes() == [])
    kernel.run("import signal")
    assert kernel.value("signal.getsignal(signal.SIGINT) is signal.default_int_handler") == "True"


@pytest.mark.parametrize("wait", ["await r", "async for line in r.lines():\n    pass"])
def test_an_interrupt_of_what_a_cell_computes_before_it_awaits_reads_as_one_too(kernel, wait):
    request = kernel.start(
        "import os, signal, xec_magic as xec\nr = xec.start('sleep 60')\n"
        f"os.kill(os.getpid(), signal.SIGINT)  # the handler of a cell that awaits stops nothing by itself\n{wait}"
    )
    reply, outputs = kernel.finish(request, timeout=20)
    assert (reply["status"], reply["ename"]) == ("error", "RunInterrupted")
    error = next(o for o in outputs if o["msg_type"] == "error")
    assert len(error["content"]["traceback"]) == 1
    request = kernel.start(
        "import asyncio\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n    await xec.start('sleep 60')\n"
        "except xec.RunInterrupted:\n    async with asyncio.timeout(0.05):\n        await xec.start('sleep 60')"
    )
    assert kernel.finish(request, timeout=20)[0]["ename"] == "TimeoutError"


def test_an_awaiting_cell_can_catch_its_interrupt_and_go_on(kernel, tmp_path):
    request = kernel.start(
        f"import xec_magic as xec\ntry:\n    await xec.start('echo begun; touch {tmp_path}/begun; sleep 60')\n"
        "except xec.RunInterrupted as stopped:\n    got = stopped.result.stdout"
    )
    until((tmp_path / "begun").exists)
    kernel.manager.interrupt_kernel()
    reply, _ = kernel.finish(request, timeout=20)
    assert reply["status"] == "ok"
    assert kernel.value("got") == r"'begun\n'"


def test_a_loop_over_cells_stops_at_an_interrupt(kernel, tmp_path):
    cell = f"touch {tmp_path}/begun; sleep 30"
    request = kernel.start(
        f"for n in range(5):\n    try: get_ipython().run_cell_magic('xec', '', '{cell}')\n    except Exception: pass"
    )
    until((tmp_path / "begun").exists)
    kernel.manager.interrupt_kernel()
    reply, _ = kernel.finish(request, timeout=20)
    assert reply["ename"] == "RunInterrupted"
    assert kernel.value("len(__import__('xec_magic').runtime.current().executor.runs())") == "1"


def test_shutting_the_kernel_down_leaves_no_process(kernel):
    kernel.run("%%xec --bg\ntrap '' INT TERM; sleep 71 & while :; do sleep 0.1; done")
    kernel.run("%%xec\n(setsid sleep 72 >/dev/null 2>&1 &)")
    assert len(kernel.processes()) >= 3
    kernel.manager.shutdown_kernel()
    until(lambda: proctree.living((), kernel.marker) == [])


def test_restarting_the_kernel_leaves_no_process(kernel):
    kernel.run("%%xec --bg\nsleep 73")
    until(lambda: kernel.processes())
    kernel.manager.restart_kernel()
    until(lambda: proctree.living((), kernel.marker) == [])


def test_a_killed_kernel_leaves_no_process(kernel):
    kernel.run("%%xec --bg\ntrap '' INT TERM; sleep 74 & while :; do sleep 0.1; done")
    until(lambda: kernel.processes())
    kernel.manager.signal_kernel(signal.SIGKILL)
    until(lambda: proctree.living((), kernel.marker) == [])


def notebook(*sources):
    return nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in sources],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )


def execute(book, **how):
    return NotebookClient(book, timeout=120, kernel_name="python3", **how).execute()


def test_nbclient_sees_output_and_failure(tmp_path):
    book = notebook(
        LOAD, "%%xec\necho fine; sleep 0.4", "%%xec\necho why >&2; exit 3", "%%xec\ntouch " + str(tmp_path / "ran")
    )
    with pytest.raises(CellExecutionError, match="exit code 3"):
        execute(book)
    assert book.cells[1].outputs[0].data["text/plain"] == "fine"
    assert not (tmp_path / "ran").exists()
    wrong = notebook(LOAD, "%%xec --nope\ntrue")
    with pytest.raises(CellExecutionError):
        execute(wrong)


def test_papermill_sees_a_failing_cell_as_failed(tmp_path):
    nbformat.write(notebook(LOAD, "%%xec\nexit 3"), tmp_path / "in.ipynb")
    with pytest.raises(papermill.PapermillExecutionError):
        papermill.execute_notebook(
            tmp_path / "in.ipynb", tmp_path / "out.ipynb", kernel_name="python3", progress_bar=False
        )


def test_two_executions_save_the_same_outputs():
    def outputs():
        book = notebook(LOAD, "%%xec\necho a; sleep 0.3; echo b >&2", "%%xec --no-raise\nexit 4", "%xec seq 3")
        execute(book)
        return [[dict(o.get("data", o)) for o in cell.outputs] for cell in book.cells]

    assert outputs() == outputs()


def test_a_background_run_that_is_waited_for_leaves_its_output_in_its_own_cell():
    book = notebook(LOAD, "%%xec --bg\nsleep 0.7; echo finished", "print('other')", "%xec_runs wait")
    execute(book)
    assert "finished" in json.dumps(book.cells[1].outputs)
    assert "widget" not in json.dumps(book.cells[1].outputs)


def test_fifty_short_runs_add_little_to_the_notebook():
    book = notebook(LOAD, *["%%xec\necho line; date >/dev/null"] * 50)
    before = len(nbformat.writes(book))
    execute(book)
    assert len(nbformat.writes(book)) - before < 1_000_000
    assert "widgets" not in book.metadata


def test_an_exported_page_shows_output_and_runs_nothing():
    book = notebook(
        LOAD,
        "%%xec\nprintf '<script>document.title=\"owned\"</script>\\033]8;;javascript:alert(1)\\033\\\\link\\033]8;;\\033\\\\\\n'",
    )
    execute(book)
    page, _ = HTMLExporter().from_notebook_node(book)
    assert "&lt;script&gt;document.title" in page
    assert "<script>document.title" not in page
    assert 'href="javascript' not in page


def test_a_terminal_gets_plain_text(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--no-banner", "--simple-prompt", "--colors=nocolor", "-c", "%load_ext xec_magic\n%xec echo hi\n%xec false"],
        capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
        env=dict(os.environ, IPYTHONDIR=str(tmp_path), XDG_CACHE_HOME=str(tmp_path)),
    )  # fmt: skip
    assert "hi\n" in done.stdout
    assert "NonZeroExit: exit code 1" in done.stdout + done.stderr
    assert "<" not in done.stdout.replace("<Result", "")


def test_a_kernel_whose_output_nobody_reads_goes_on(kernel):
    kernel.run("%%xec --bg --out r\nfor i in $(seq 20); do echo $i; sleep 0.02; done")
    assert kernel.value("str(r.result()).splitlines()[-1]") == "'20'"
    with pytest.raises(Empty):
        kernel.client.get_iopub_msg(timeout=0.2)
        kernel.client.get_iopub_msg(timeout=0.2)
