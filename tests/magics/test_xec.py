from __future__ import annotations

import os
import re
import threading
import time

import pytest
from helpers.cells import refusal
from helpers.waiting import until
from IPython.utils.capture import capture_output

import xec_magic as xec
from xec_magic.errors import NonZeroExit, ParseError, RunInterrupted, TimedOut
from xec_magic.magics import runs


def test_a_cell_shows_what_its_commands_print_on_the_right_stream(run):
    cell = run("%%xec\necho out\necho err >&2")
    assert (cell.out, cell.err) == ("out\n", "err\n")
    assert run("%%xec\necho a \\").out == "a\n", "a backslash at the end goes with the newline"


def test_a_line_gives_its_result_and_does_not_show_it_twice(run, shell):
    assert run("%xec echo once").out.splitlines()[0] == "once"
    assert run("%xec printf 'o%s' nce").out.count("once") == 1
    run("r = %xec echo kept")
    assert str(shell.user_ns["r"]) == "kept"


def test_the_rest_of_a_line_reaches_the_shell_byte_for_byte(run, shell):
    shell.user_ns.update(x="not this x", HOME="not this home")  # IPython would put them in
    run(r"""r = %xec -t 5 printf '%s|' $HOME "{x}" {a,b} '  two  blanks' \\ `echo sub` # comment""")
    assert shell.user_ns["r"].stdout == f"{os.environ['HOME']}|{{x}}|a|b|  two  blanks|\\|sub|"
    run('r = %xec echo $HOME "{x}"  # nothing here that would stop IPython')
    assert shell.user_ns["r"].stdout == f"{os.environ['HOME']} {{x}}\n"


def test_a_value_is_quoted_and_cannot_run(run, shell):
    shell.user_ns["name"] = "a b; echo INJECTED"
    assert run("%%xec\nprintf '[%s]' ${{name}} \"${{name}}\"").out.strip() == "[a b; echo INJECTED]" * 2


def test_a_value_of_a_function_that_calls_a_magic_is_found(run):
    assert run("def f(name):\n    %xec echo ${{name}}\nf('local')").out == "local\n"


def test_values_stand_in_options_too(run, shell, tmp_path):
    (tmp_path / "a b").mkdir()
    shell.user_ns["where"] = tmp_path / "a b"
    run("%%xec --cwd ${{where}} --out r\npwd")
    assert str(shell.user_ns["r"]) == str(tmp_path / "a b")


def test_a_value_that_cannot_be_had_is_refused_before_anything_runs(run, shell, tmp_path):
    class Naughty:
        def __str__(self):
            raise RuntimeError("no text for you")

    shell.user_ns["naughty"] = Naughty()
    assert "no text for you" in refusal(run(f"%%xec\ntouch {tmp_path}/ran\necho ${{{{naughty}}}}"))
    assert "missing" in refusal(run(f"%%xec\ntouch {tmp_path}/ran\necho ${{{{missing}}}}"))
    assert not (tmp_path / "ran").exists()


def test_a_failing_cell_raises_with_cause_and_tail_and_keeps_the_result(run, shell):
    shell.user_ns["r"] = "an old value"
    cell = run("%%xec --out r\necho begun\nls /no/such/file\necho never")
    assert isinstance(cell.error, NonZeroExit)
    assert cell.error.exit_code == 2
    assert "/no/such/file" in str(cell.error)
    assert "Traceback" not in cell.out + cell.err
    assert shell.user_ns["r"].stdout == "begun\n"
    assert xec.last is shell.user_ns["r"]


def test_no_raise_gives_the_failed_result(run, shell):
    assert run("%%xec --no-raise --out r\nexit 3").error is None
    assert shell.user_ns["r"].exit_code == 3
    assert run("%%xec --ok-codes 0,3\nexit 3").error is None


@pytest.mark.parametrize(
    ("form", "command", "value"),
    [
        ("text", "printf 'a\\nb\\n'", "a\nb"),
        ("lines", "printf 'a\\nb\\n'", ["a", "b"]),
        ("json", "echo '{\"a\": [1]}'", {"a": [1]}),
        ("jsonl", "printf '1\\n2\\n'", [1, 2]),
        ("csv", "printf 'n,v\\na,1\\n'", [{"n": "a", "v": "1"}]),
        ("bytes", "printf '\\377'", b"\xff"),
    ],
)
def test_each_form_gives_its_value(run, shell, form, command, value):
    run(f"%%xec --as {form} --out v\n{command}")
    assert shell.user_ns["v"] == value
    run(f"w = %xec --as {form} {command}")
    assert shell.user_ns["w"] == value


def test_tables_and_frames_of_real_tools(run, shell):
    run("%%xec --as table --out disks\ndf -P")
    disks = shell.user_ns["disks"]
    assert list(disks.columns) == ["Filesystem", "1024-blocks", "Used", "Available", "Capacity", "Mounted on"]
    disks["pct"] = disks["Capacity"].str.rstrip("%")
    run("%%xec --as df --out processes\nps aux")
    assert {"PID", "COMMAND"} <= set(shell.user_ns["processes"].columns)


def test_what_does_not_parse_shows_the_line_and_the_raw_text_stays(run, shell):
    cell = run("%%xec --as json --out v\necho '{\"a\": 1,}'")
    assert isinstance(cell.error, ParseError)
    assert '{"a": 1,}' in str(cell.error)
    assert shell.user_ns["v"].stdout == '{"a": 1,}\n'


def test_a_form_without_a_name_shows_the_value(run):
    cell = run("%%xec --as lines\nseq 2")
    assert cell.out.strip() == "['1', '2']"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("%%xec --tmeout 5\ntrue", "did you mean --timeout?"),
        ("%%xec --timeout\ntrue", "--timeout needs a value"),
        ("%%xec --timeout soon\ntrue", "'soon' is no duration"),
        ("%%xec --out not-an-identifier\ntrue", "no Python name"),
        ("%%xec --cwd /no/such/dir\ntrue", "no such directory"),
        ("%%xec --cwd /etc/passwd\ntrue", "is no directory"),
        ("%%xec --shell nosuchshell\ntrue", "there is no command 'nosuchshell'"),
        ("%%xec --stdin nothing\ncat", "no variable 'nothing'"),
        ("%%xec --stdin @/no/such/file\ncat", "no such file"),
        ("%%xec --retries 3\ntrue", "--read-only"),
        ("%%xec --as xml\ntrue", "not among"),
        ("%%xec --bg --as json\ntrue", "--bg"),
        ("%%xec --quiet --show\ntrue", "one of them"),
        ("%%xec --login --shell python3\npass", "no shell that has a profile"),
        ("%%xec --out get_ipython\ntrue", "IPython itself uses that name"),
        ("%%xec stray\ntrue", "is no option"),
        ("%%xec\n   \n", "there is no command"),
        ("%xec", "there is no command"),
        ("%xec -t 5", "there is no command"),
        ("%%xec\nprintf 'a\0b'", "NUL"),
        ("%%xec --max-output lots\ntrue", "no size"),
        ("%%xec --ok-codes 300\ntrue", "between 0 and 255"),
        ("%%xec --env NOVALUE\ntrue", "no = in it"),
        ("%%xec --tee /no/such/dir/file\ntrue", "no such directory"),
        ("%xec --secret TOKEN=hunter2 true", "TOKEN stands there with a value; write the name of a variable alone"),
        ("%xec --secret 'hun ter2=' true", "it takes the name of a variable, and no value"),
        ("%xec_tunnel --frob", "there is no option --frob; there are --local, --remote, --socks"),
        ("%xec_copy --frob", "there is no option --frob; a file that begins with a dash goes behind --"),
        ("%xec_runs stop 99", "there is no run '99'"),
        ("%xec_runs stopp 1", "did you mean stop?"),
        ("%xec_runs log", "name a run"),
    ],
)
def test_a_wrong_cell_is_refused_in_one_line_and_nothing_runs(run, source, words):
    assert words in refusal(run(source))
    assert xec.last is None or xec.last.command != "true"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("run(None)", "a script is text, bytes or a template string, not NoneType"),
        ("run('true', timeout=0)", "timeout must be more than 0 seconds"),
        ("using(cache=60).batch(['true'])", "cache: a batch is not kept"),
    ],
)
def test_a_wrong_call_is_refused_in_one_line(run, call, words):
    cell = run(f"import xec_magic as xec\nxec.{call}")
    shown = (cell.out + cell.err).rstrip("\n").split("\n")
    assert len(shown) == 1, shown
    assert shown[0].startswith(f"OptionError: {words}")


def test_an_unknown_form_of_the_page_is_refused(run, monkeypatch):
    monkeypatch.setenv("XEC_UI", "fancy")
    assert "XEC_UI" in refusal(run("%%xec\ntrue"))


def test_input_comes_from_a_variable_or_a_file(run, shell, tmp_path):
    shell.user_ns["text"] = "from a variable\n"
    assert run("%%xec --stdin text\ncat").out == "from a variable\n"
    (tmp_path / "f").write_text("from a file\n")
    assert run(f"%%xec --stdin @{tmp_path}/f\ncat").out == "from a file\n"


def test_without_input_a_command_that_asks_fails_at_once(run):
    cell = run("%%xec\nread -r answer")
    assert isinstance(cell.error, NonZeroExit)


def test_a_secret_reaches_the_command_and_nothing_else(run, shell):
    shell.user_ns["TOKEN"] = "hunter2-hunter2"
    cell = run("%%xec --secret TOKEN --show --out r\necho \"[$TOKEN]\" ${#TOKEN}; tr '\\0' ' ' </proc/$$/cmdline")
    assert cell.out.count("hunter2") == 0
    assert "[[secret TOKEN]] 15" in cell.out
    r = shell.user_ns["r"]
    assert "hunter2" not in repr(r) + r.stdout + r.command
    assert "hunter2" not in run("%xec_runs").out
    assert "every user of this machine" in refusal(run("%%xec\necho ${{TOKEN}}"))
    assert "hunter2" not in str(run("%%xec --secret TOKEN\necho $TOKEN >&2; exit 1").error)
    assert "hunter2" not in refusal(run("%xec --secret TOKEN=hunter2 true"))


def test_show_prints_the_command_as_it_ran(run, shell):
    shell.user_ns["f"] = "a b"
    assert "echo 'a b'" in run("%%xec --show\necho ${{f}}").out


def test_quiet_shows_nothing_unless_it_fails(run):
    assert run("%%xec -q\necho out; echo err >&2").out == ""
    assert "the reason" in str(run("%%xec -q\necho the reason >&2; exit 1").error)


def test_the_tee_file_gets_the_output_too(run, tmp_path):
    assert run("%%xec --tee copy.log\necho a").out == "a\n"
    assert (tmp_path / "copy.log").read_text() == "a\n"


def test_an_environment_variable_is_added(run):
    assert run("%%xec --env A=1 --env 'B=x y'\necho $A $B").out == "1 x y\n"


def test_another_interpreter_runs_its_own_language(run):
    assert run("%%xec --shell python3\nimport sys\nprint(sys.version_info.major)").out == "3\n"
    assert run("%%xec --shell dash\necho $0").out == "dash\n"


def test_a_standing_default_holds_until_the_line_says_otherwise(run, shell):
    run("%config XecMagics.timeout = '300ms'")
    assert isinstance(run("%%xec\nsleep 20").error, TimedOut)
    assert run("%%xec --timeout 20s\nsleep 0.5").error is None
    run("%config XecMagics.timeout = None")
    assert run("%%xec\nsleep 0.5").error is None


def test_an_interpreter_can_be_a_standing_default(run):
    run("%config XecMagics.shell = 'dash'")
    assert run("%%xec\necho $0").out == "dash\n"
    run("%config XecMagics.shell = ''")


def test_a_wrong_standing_default_is_refused(run, caplog):
    run("%config XecMagics.timeout = 'soon'")  # traitlets logs the refusal
    assert "'soon' is no duration" in caplog.text


def test_the_help_lists_every_option(run):
    shown = run("%xec --help").out
    for option in ("--timeout", "--out", "--as", "--secret", "--max-output", "--read-only"):
        assert option in shown


def test_in_the_background_the_cell_returns_at_once_and_wait_brings_the_end(run, shell):
    begun = time.monotonic()
    run("%%xec --bg --out r\nsleep 0.6; echo finished")
    assert time.monotonic() - begun < 0.5
    assert not shell.user_ns["r"].done()
    assert "finished" in run("%xec_runs wait").out
    assert "finished" in run("%xec_runs log " + shell.user_ns["r"].run_id).out


def test_a_background_failure_is_raised_by_wait(run):
    run("%%xec --bg\nexit 9")
    assert isinstance(run("%xec_runs wait all").error, NonZeroExit)


def test_a_background_failure_is_raised_by_its_result(run):
    run("%%xec --bg --out r\nexit 9")
    assert isinstance(run("r.result()").error, NonZeroExit)


def test_a_background_failure_that_may_happen_is_raised_by_nobody(run, shell):
    run("%%xec --bg --out r --no-raise\nexit 9")
    assert run("%xec_runs wait all").error is None
    assert run("code = r.result().exit_code").error is None
    assert shell.user_ns["code"] == 9


@pytest.mark.parametrize(
    "source",
    [
        "%%xec --show\ntrue ${{v}}",
        "%%xec --bg --label ${{v}}\ntrue",
        "%%xec --label ${{v}}\ntrue\n%xec_runs wait",
        "%%xec --cwd ${{v}}\ntrue",
        "%xec --quiet --label ${{v}} true\n%xec_runs",
        "%xec_runs show ${{v}}",
    ],
)
def test_nothing_that_a_command_or_a_label_quotes_acts_on_a_terminal(run, shell, source):
    shell.user_ns["v"] = "\x1b]0;title\x07\x1b[2J\u202ehidden"
    said = ""
    for part in source.split("\n%"):
        said += run(part if part.startswith("%") else f"%{part}").said
    assert not re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", said), ascii(said)


def test_the_table_of_runs_has_colours_of_its_own_in_every_cell(shell):
    shell.run_cell("r = %xec true")
    with capture_output() as captured:
        shell.run_cell("%xec_runs")
    cells = re.findall(r"<t[dh] [^>]*>", captured.outputs[0].data["text/html"])
    assert cells
    assert all("background:" in cell and ";color:" in cell for cell in cells)


def test_in_the_table_of_runs_what_failed_stands_out_and_a_long_one_opens_at_its_end(run, shell):
    for line in ("%xec true", "%xec --no-raise --label failed false", "%xec --no-raise kill -9 $$"):
        assert run(line).error is None
    page = run("%xec_runs").bundles[0]["text/html"]
    assert re.findall(r"<td [^>]*color:#b3261e[^>]*>([^<]*)", page) == ["failed", "signalled"]
    assert page.count(">failed</td>") == 2  # the other one is a name
    assert "flex-direction:column-reverse" in page


def test_a_cell_run_again_while_its_last_run_lives_gives_two_runs_that_both_end(run, shell):
    run("%%xec --bg --out a\nsleep 0.4; echo one")
    run("%%xec --bg --out b\nsleep 0.4; echo two")
    assert (str(shell.user_ns["a"].result()), str(shell.user_ns["b"].result())) == ("one", "two")


def test_of_two_runs_of_one_cell_the_first_can_be_stopped_and_the_second_goes_on(run, shell, tmp_path):
    cell = f"%%xec --bg --out r\necho begun; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo done"
    run(cell)
    first = shell.user_ns["r"]
    run(cell)
    second = shell.user_ns["r"]
    deadline = time.monotonic() + 10
    while not (first.log.size() and second.log.size()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    run(f"%xec_runs stop {first.run_id}")
    assert first.wait(10).outcome == "cancelled"
    (tmp_path / "go").touch()
    assert second.result(10).stdout == "begun\ndone\n"


def test_runs_are_listed_and_stopped(run, shell):
    run("%%xec --bg --out r\nsleep 60")
    deadline = time.monotonic() + 10
    while "running" not in (listed := run("%xec_runs").out):
        assert time.monotonic() < deadline, listed
    assert "sleep 60" in listed
    run(f"%xec_runs stop {shell.user_ns['r'].run_id}")
    assert shell.user_ns["r"].wait(10).outcome == "cancelled"
    assert "cancelled" in run("%xec_runs").out


def test_an_interrupt_keeps_the_output_and_stops_everything(run, shell):
    def interrupt():
        import signal

        from xec_magic import runtime

        until(lambda: [run for run in runtime.current().executor.runs()[-1:] if run.log.size()], within_s=100)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    cell = run("%%xec --grace 60s --out r\ntrap 'echo cleaned; exit 130' INT\necho begun\nwhile :; do sleep 0.05; done")
    thread.join()
    assert isinstance(cell.error, RunInterrupted)
    assert isinstance(cell.error, KeyboardInterrupt)
    assert shell.user_ns["r"].stdout == "begun\ncleaned\n"
    assert xec.last is shell.user_ns["r"]


def test_unloading_ends_all_runs_and_takes_the_magics_away(run, shell):
    run("%%xec --bg --out r\ntrap '' INT TERM; while :; do sleep 0.1; done")
    run("%unload_ext xec_magic")
    assert shell.user_ns["r"].done()
    assert "not found" in run("%xec true").err + run("%xec true").out
    run("%load_ext xec_magic")
    assert run("%%xec\necho again").out == "again\n"


def test_loading_twice_changes_nothing(run, shell):
    run("%config XecMagics.timeout = '300ms'")
    run("%%xec --bg --out r --timeout 20s\nsleep 0.3; echo kept")
    run("%load_ext xec_magic")
    xec.load_ipython_extension(shell)
    assert isinstance(run("%%xec\nsleep 20").error, TimedOut)
    assert str(shell.user_ns["r"].result()) == "kept"
    assert "kept" in run(f"%xec_runs show {shell.user_ns['r'].run_id}").out
    run("%config XecMagics.timeout = None")
    assert run("%%xec\necho once").out == "once\n"


def test_a_magic_before_its_extension_is_loaded_is_unknown_and_known_afterwards(run):
    run("%unload_ext xec_magic")
    cell = run("%xec echo early")
    assert "not found" in cell.out + cell.err
    run("%load_ext xec_magic")
    assert run("%%xec\necho late").out == "late\n"


def test_reloading_while_a_run_lives_ends_it_and_works_again(run, shell):
    run("%%xec --bg --out r\nsleep 60")
    run("%reload_ext xec_magic")
    assert shell.user_ns["r"].done()
    assert run("%%xec\necho new").out == "new\n"


def test_a_body_of_ten_megabytes_runs(run, shell):
    shell.user_ns["big"] = "x" * 10_000_000
    assert run("%%xec\nprintf %s ${{big}} | wc -c").out.strip() == "10000000"


def test_a_read_only_home_does_not_matter(run, monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "/proc/nowhere")
    run("%reload_ext xec_magic")
    assert run("%%xec --out r -q\nhead -c 20000000 /dev/zero").error is None
    assert os.path.exists(xec.last.log_path)


def test_in_the_table_of_runs_a_long_command_gives_way_on_a_narrow_page():
    html = runs._bundle([("1", "local", "ok", "1 s", "2 B", "echo " + "x" * 60)])["text/html"]
    number, *_, command = re.findall(r'<td style="([^"]*)"', html)
    assert ("overflow-wrap" in number, "overflow-wrap:anywhere" in command) == (False, True)
