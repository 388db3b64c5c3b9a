"""`--if`: cells that run only under a condition."""

from __future__ import annotations

import pytest
from IPython.utils.capture import capture_output

import xec_magic as xec


@pytest.fixture
def run(shell):
    def run_cell(source):
        with capture_output() as captured:
            done = shell.run_cell(source)
        shown = [output.data.get("text/plain", "") for output in captured.outputs]
        return captured.stdout + "\n".join(shown) + captured.stderr, done.error_before_exec or done.error_in_exec

    return run_cell


def test_a_cell_whose_condition_holds_runs(run, shell):
    shell.user_ns["n"] = 5
    assert run("%%xec --if 'n > 3'\necho ran") == ("ran\n", None)


def test_a_cell_whose_condition_does_not_hold_says_so_in_one_line_and_nothing_runs(run, shell, tmp_path):
    shell.user_ns["n"] = 2
    printed, error = run(f"%%xec --if 'n > 3' --out r\ntouch {tmp_path}/ran")
    assert (printed.strip(), error) == ("[xec] skipped: n > 3 is false", None)
    r = shell.user_ns["r"]
    assert (r.outcome, r.ok, r.stdout, r.check()) == (xec.Outcome.SKIPPED, False, "", r)
    assert xec.last is r
    assert not (tmp_path / "ran").exists()
    assert "skipped" in run("%xec_runs")[0]


@pytest.mark.parametrize("mode", ["static", "widget"])
def test_what_a_page_shows_of_a_skipped_cell_is_one_quiet_line(run, shell, monkeypatch, mode):
    monkeypatch.setenv("XEC_UI", mode)
    with capture_output() as captured:
        shell.run_cell("%%xec --if '\"<b>\" == 0'\necho")
    (output,) = captured.outputs
    assert output.data["text/plain"] == '[xec] skipped: "<b>" == 0 is false'
    assert set(output.data) == {"text/plain", "text/html"}
    assert "<b>" not in output.data["text/html"]
    assert output.data["text/html"].count("skipped") == 1


def test_the_command_of_a_skipped_cell_is_not_looked_at(run, shell):
    assert run("%%xec --if 0 --cwd /no/such/dir --stdin nothing --secret NOTHING\necho ${{missing}}")[1] is None


def test_a_skipped_line_gives_its_result_and_form_and_background_change_nothing(run, shell):
    run("r = %xec --if 'not 1' echo hi")
    assert shell.user_ns["r"].outcome == "skipped"
    run("%%xec --if 'not 1' --as json --out r\necho 1")
    assert shell.user_ns["r"].outcome == "skipped"
    printed, _ = run("%%xec --if 'not 1' --bg --out job\necho 1")
    assert printed.strip() == "[xec] skipped: not 1 is false"
    assert shell.user_ns["job"].result().outcome == "skipped"
    assert run("%%xec -q --if 0\necho 1") == ("", None)


def test_a_condition_sees_names_of_functions_and_cannot_change_the_notebook(run, shell):
    shell.user_ns["n"] = 1
    run("def f(m):\n    return get_ipython().run_line_magic('xec', '--if m>2 echo ran')")
    assert run("assert f(3).ok and not f(1).ok")[1] is None
    run("%%xec --if '(n := 7)'\ntrue")
    assert shell.user_ns["n"] == 1


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("'n ='", "'n =' is no Python expression: invalid syntax"),
        ("''", "'' is no Python expression"),
        ("'import os'", "no Python expression"),
        ("1/0", "--if 1/0: ZeroDivisionError: division by zero"),
        ("hosst", "--if hosst: NameError: name 'hosst' is not defined; did you mean host?"),
        ("naughty", "--if naughty: ValueError: neither true nor false"),
        ("'${{host}}'", "it is Python already"),
        ("later()", "--if later(): TypeError: it is asynchronous, and nobody awaits it"),
    ],
)
def test_a_condition_that_cannot_be_told_is_refused_in_one_line_and_nothing_runs(
    run, shell, tmp_path, condition, words
):
    class Naughty:
        def __bool__(self):
            raise ValueError("neither true nor false")

    async def later():
        return False

    shell.user_ns.update(host="web1", naughty=Naughty(), later=later, n=1)
    printed, error = run(f"%%xec --if {condition}\ntouch {tmp_path}/ran")
    assert type(error).__name__ == "UsageError"
    (line,) = printed.strip().splitlines()
    assert words in line
    assert not (tmp_path / "ran").exists()


def test_a_condition_without_value_and_as_a_standing_default_are_refused(run, monkeypatch):
    assert "--if needs a value, EXPR" in run("%%xec --if\ntrue")[0]
    with pytest.raises(xec.OptionError, match="only a line has --if"):
        xec.run("true", condition="1")
