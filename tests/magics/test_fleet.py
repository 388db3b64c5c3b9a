"""`%%xec --on` with several targets: what a cell shows, keeps and raises; its questions in a real kernel."""

from __future__ import annotations

import os
import time
from queue import Empty

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from jupyter_client.manager import start_new_kernel

import xec_magic as xec


@pytest.fixture(scope="module")
def hosts():
    with xec.demo.fleet(6) as made:
        yield made


@pytest.fixture
def shell(monkeypatch, tmp_path):
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance()
    made.history_manager.enabled = False  # its database may be locked by other shells, which it says on the page
    monkeypatch.setenv("XEC_UI", "static")
    monkeypatch.chdir(tmp_path)
    made.run_line_magic("load_ext", "xec_magic")
    yield made
    made.run_line_magic("unload_ext", "xec_magic")
    InteractiveShell.clear_instance()


def said(shell, source):
    with capture_output() as captured:
        result = shell.run_cell(source, store_history=True)
    shown = [output.data.get("text/plain", "") for output in captured.outputs]
    return "\n".join([captured.stdout, *shown, captured.stderr]).strip(), result


def test_a_cell_shows_the_groups_and_keeps_results(hosts, shell):
    text, result = said(shell, "%%xec --on @web --out r\napp version")
    assert text == "[xec] web[01-06] (6): ok\n2.4.0\n[xec] all 6 targets ok"
    assert result.result is None
    assert isinstance(shell.user_ns["r"], xec.Results)
    _, result = said(shell, "%xec --on web[01-02] app version")
    assert repr(result.result) == "<Results 2 ok>"


def test_results_that_the_line_has_just_shown_are_not_shown_again_and_others_as_groups(hosts, shell):
    text, _ = said(shell, "r = get_ipython().run_line_magic('xec', '--on web[01-02] app version')\nr")
    assert text.count("[xec] all 2 targets ok") == 1
    assert "<Results 2 ok>" in text
    text, _ = said(shell, "r")
    assert "[xec] web[01-02] (2): ok\n2.4.0\n[xec] all 2 targets ok" in text


def test_the_list_of_runs_says_where_each_is_unless_all_are_here(hosts, shell):
    said(shell, "%xec true")
    first, *rows = said(shell, "%xec_runs")[0].splitlines()
    assert first.split()[:2] == ["id", "state"]
    assert [row.split()[1] for row in rows] == ["ok"]
    said(shell, "%xec --on web[01-02] app version")
    first, *rows = said(shell, "%xec_runs")[0].splitlines()
    assert first.split()[:2] == ["id", "on"]
    assert [row.split()[1] for row in rows] == ["local", "web01", "web02"]


def test_a_session_is_kept_on_each(hosts, shell):
    said(shell, "%%xec --on web[01-02] --session deploy\ncd etc; who=$HOSTNAME")
    text, _ = said(shell, "%%xec --on web[01-02] --session deploy\nbasename $PWD; echo $who")
    assert text.splitlines()[1:3] == ["etc", "{host}"], text


def test_a_failing_cell_keeps_its_results_and_they_can_be_given_to_on(hosts, shell):
    hosts.spoil("web[02,04]")
    try:
        text, result = said(shell, "%%xec --on @web --out r\napp status")
    finally:
        hosts.heal()
    assert type(result.error_in_exec).__name__ == "SomeFailed"
    assert "[xec] failed: web[02,04]" in text
    for again in ("r.failed.targets", "r.failed"):
        text, _ = said(shell, f"%%xec --on ${{{{{again}}}}}\napp version")
        assert text.startswith("[xec] web[02,04] (2): ok")
    r = shell.user_ns["r"]
    assert xec.map("app version", r.failed).targets == ["web02", "web04"]
    assert xec.copy(__file__, (r.failed, "got/")).targets == ["web02", "web04"]
    text, result = said(shell, "%xec --on ${{r.not_started}} app version")
    assert "names no target" in str(result.error_in_exec)


def test_one_target_gives_a_result_unless_it_is_asked_for_as_several(hosts, shell):
    said(shell, "%%xec --on web01 --out one\ntrue")
    said(shell, "%%xec --on web01 --canary 1 --out many\ntrue")
    assert isinstance(shell.user_ns["one"], xec.Result)
    assert isinstance(shell.user_ns["many"], xec.Results)


def test_outputs_become_one_table_or_a_table_of_results(hosts, shell):
    pytest.importorskip("pandas")
    said(shell, "%%xec --on web[01-02] --out t --as table\necho 'A  B'; echo \"1  $HOSTNAME\"")
    assert shell.user_ns["t"].to_numpy().tolist() == [["web01", 1, "web01"], ["web02", 1, "web02"]]
    text, _ = said(shell, "%%xec --on web[01-02] --as df\nhostname")
    assert "exit_code" in text
    assert "[xec]" not in text


def test_values_secrets_and_quiet_are_as_with_one(hosts, shell):
    shell.user_ns["token"] = "s3cr3t-value"
    text, _ = said(
        shell,
        "word = 'a b'\nget_ipython().run_cell_magic('xec', '--on web[01-02] --secret token --show', 'echo ${{word}} $token')",
    )
    assert "$ echo 'a b' $token" in text
    assert "s3cr3t-value" not in text
    assert "a b [secret token]" in text
    text, _ = said(shell, "%%xec --on web[01-02] --quiet\necho loud")
    assert text == ""


def test_a_condition_that_does_not_hold_skips_all(hosts, shell):
    text, _ = said(shell, "%%xec --on @web --if False\ntouch $HOME/ran")
    assert "False is false" in text
    assert not (hosts["web01"].home / "ran").exists()


class Kernel:
    """A kernel that may ask, and a user who answers."""

    def __init__(self, tmp_path):
        env = dict(
            os.environ, XDG_CACHE_HOME=str(tmp_path / "cache"), IPYTHONDIR=str(tmp_path / "ipython"), XEC_UI="static"
        )
        self.manager, self.client = start_new_kernel(env=env)

    def run(self, source, answers=None, timeout=60):
        """What the cell printed and raised, and what it asked; answers of None forbid questions."""
        request = self.client.execute(source, allow_stdin=answers is not None)
        questions, text, error = [], [], ""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                asked = self.client.get_stdin_msg(timeout=0)
                questions.append(asked["content"]["prompt"])
                self.client.input(answers.pop(0))
            except Empty:
                pass
            try:
                message = self.client.get_iopub_msg(timeout=0.1)
            except Empty:
                continue
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            if message["msg_type"] == "stream":
                text.append(content["text"])
            elif message["msg_type"] in ("display_data", "update_display_data"):
                text.append(content["data"]["text/plain"])
            elif message["msg_type"] == "error":
                error = f"{content['ename']}: {content['evalue']}"
            elif message["msg_type"] == "status" and content["execution_state"] == "idle":
                return "\n".join(text), error, questions
        raise TimeoutError(source)

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.mark.filterwarnings("default")
def test_confirm_asks_in_the_notebook_between_waves_and_is_refused_where_nobody_can_be_asked(tmp_path):
    kernel = Kernel(tmp_path)
    try:
        kernel.run("%load_ext xec_magic\nimport xec_magic as xec\nf = xec.demo.fleet(4, name='ask')")
        cell = "%%xec --on @ask --wave 2 --confirm\ntouch ran; echo done"
        text, _, _ = kernel.run(cell)
        assert "UsageError: confirm: nobody can be asked here, so nothing has run; --yes (in Python yes=True)" in text
        assert kernel.run("print([(h.home / 'ran').exists() for h in f])")[0].strip() == str([False] * 4)
        text, error, questions = kernel.run(cell, ["y", "n"])
        assert [question.partition(":")[0] for question in questions] == [
            "begin wave 1 of 2, 2 of 4 targets (ask01, ask02)",
            "begin wave 2 of 2, 2 of 4 targets (ask03, ask04); so far 2 ok, 0 failed",
        ]
        assert "[xec] not started: ask[03-04] (you said no)" in text
        assert error.startswith("SomeFailed: 2 of 4 not started: you said no")
        assert kernel.run("print([(h.home / 'ran').exists() for h in f])")[0].strip() == "[True, True, False, False]"
        text, error, questions = kernel.run(cell.replace("--confirm", "--confirm --yes"))
        assert (error, questions) == ("", [])
        kernel.run("f.close()")
    finally:
        kernel.close()
