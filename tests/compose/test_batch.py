"""Batches in real shells: every command has its own streams and code, whatever it and the others do."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import threading
import time

import pytest
from helpers.waiting import until

import xec_magic as xec
from xec_magic.command import Command
from xec_magic.engine.framing import Framing
from xec_magic.errors import OptionError, RunInterrupted, SomeFailed, SpawnError, TimedOut
from xec_magic.outcome import Outcome
from xec_magic.plan import Batch, Plan
from xec_magic.transport.fake import FakeHost, Refuse

SHELLS = ["bash", "dash", "zsh -f", "busybox ash"]
BOURNE = ["dash", "busybox ash"]


@pytest.fixture
def bash_as_sh(tmp_path):
    """`/bin/sh` as many systems have it."""
    os.symlink(shutil.which("bash"), tmp_path / "sh")
    return str(tmp_path / "sh")


@pytest.fixture
def ex():
    with xec.Executor(grace="100ms") as made:
        yield made


def outputs(results):
    return [(result.stdout, result.stderr) for result in results]


def codes(results):
    return [result.exit_code for result in results]


# -- what a batch is ------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", SHELLS)
def test_each_command_has_its_own_streams_code_and_time(ex, shell):
    results = ex.batch(
        ["echo a", "echo b >&2", "printf no-newline", ":", "sleep 0.05", "exit 7"], shell=shell, check=False
    )
    assert outputs(results) == [("a\n", ""), ("", "b\n"), ("no-newline", ""), ("", ""), ("", ""), ("", "")]
    assert codes(results) == [0, 0, 0, 0, 0, 7]
    assert results[4].duration_s > 0.04
    assert results[0].duration_s < results[4].duration_s
    assert [result.command for result in results][:2] == ["echo a", "echo b >&2"]
    assert results.whole.exit_code == 7


@pytest.mark.parametrize("shell", SHELLS)
def test_directory_variables_functions_and_arguments_carry_over(ex, shell):
    results = ex.batch(["cd /; x=1", 'f() { echo "f $x"; }', "set -- a b", "f; pwd; echo $#"], shell=shell)
    assert results[3].stdout == "f 1\n/\n2\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_nothing_carries_over_between_isolated_commands_and_exit_ends_only_its_own(ex, shell):
    results = ex.batch(
        ["cd /; x=1; exit 3", "echo ${x-unset}; pwd", "exec true", "false; echo no", "echo end"],
        shell=shell, isolated=True, keep_going=True,
    )  # fmt: skip
    assert codes(results) == [3, 0, 0, 1, 0]
    assert results[1].stdout == f"unset\n{os.getcwd()}\n"
    assert results[3].stdout == ""


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize("shell", SHELLS)
def test_the_first_failure_is_the_last_command_and_the_rest_says_why(ex, shell, isolated):
    with pytest.raises(SomeFailed) as caught:
        ex.batch(["echo a", "f() { false; echo no; }; f", "echo c"], shell=shell, isolated=isolated)
    results = caught.value.results
    assert outputs(results) == [("a\n", ""), ("", ""), ("", "")]
    assert [result.outcome for result in results] == [Outcome.OK, Outcome.FAILED, Outcome.NOT_STARTED]
    assert results[2].detail == "not started: command 2 failed"
    assert str(caught.value) == "command 2 of 3: exit code 1: f() { false; echo no; }; f; 1 not started"
    assert caught.value.exit_code == 1


FAILING = [
    ("false; echo no", 1),
    ("for i in 1 2; do for j in 1 2; do false; done; done; echo no", 1),
    ("x=$(exit 4); echo no", 4),
    ("(exit 5); echo no", 5),
    ("no-such-command-here; echo no", 127),
    ("cd /no/such/directory; echo no", None),
    ("f() { g; echo no; }; g() { return 6; }; f; echo no", 6),
    ("true && false", 1),
]


@pytest.mark.parametrize("shell", ["bash", "dash", "zsh -f"])
def test_with_keep_going_a_strict_command_that_fails_ends_itself_and_not_its_shell(ex, shell):
    commands = ["cd /; kept=kept"]
    for command, _ in FAILING:
        commands += [command, "echo $kept; pwd"]
    results = ex.batch(commands, shell=shell, keep_going=True)
    for (command, code), result, after in zip(FAILING, results[1::2], results[2::2], strict=True):
        assert result.outcome is Outcome.FAILED, command
        assert result.stdout == "", command
        assert result.exit_code == code or code is None, command
        assert after.stdout == "kept\n/\n", command


def test_busybox_goes_on_after_plain_statements_and_ends_honestly_after_others(ex):
    results = ex.batch(
        ["x=1; false; echo no", "cd /nowhere\necho no", "echo $x", "for i in 1; do false; done; echo no", "echo never"],
        shell="busybox ash", keep_going=True,
    )  # fmt: skip
    assert [result.stdout for result in results] == ["", "", "1\n", "", ""]
    assert codes(results)[:4] == [1, 2, 0, 1] or codes(results)[:4] == [1, 1, 0, 1]
    assert results[4].detail == "not started: command 4 ended the shell"


FATAL = [
    "echo $no_such_variable; echo no",
    ": ${no_such_variable?gone}; echo no",
    "readonly r=1; r=2; echo no",
    "echo )",
]


@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_what_is_fatal_to_a_shell_does_not_end_the_batch_with_keep_going(ex, shell):
    commands = ["x=kept"]
    for command in FATAL * 2:
        commands += [command, "echo $x"]
    results = ex.batch(commands, shell=shell, keep_going=True)
    assert [result.ok for result in results] == [True, *[False, True] * 2 * len(FATAL)]
    assert {result.stdout for result in results[2::2]} == {"kept\n"}
    assert all(result.stderr for result in results[1::2])


@pytest.mark.parametrize("strict", [True, False])
def test_a_member_of_a_pipe_that_an_expansion_ends_runs_no_further_command(ex, bash_as_sh, strict, tmp_path):
    commands = [
        "echo $((1/0)) | cat; echo after",
        f"echo >>{tmp_path}/times; echo two",
        "echo ${nope?} | cat",
        "echo four",
    ]
    for shell in ("bash", bash_as_sh):
        results = ex.batch(commands, shell=shell, keep_going=True, strict=strict)
        assert [result.stdout for result in results] == [
            "" if strict and shell == "bash" else "after\n",
            "two\n",
            "",
            "four\n",
        ]
        assert results[1].stderr == results[3].stderr == ""
    assert len((tmp_path / "times").read_text()) == 2


@pytest.mark.parametrize("strict", [True, False])
def test_a_syntax_error_in_a_condition_is_none_of_the_next_command(ex, bash_as_sh, strict):
    commands = ["[[ a b ]]", "[[ 1 ]] && echo right", "f() { return 2; }; f", "[[ 1 ]] && echo right"]
    for shell in ("bash", bash_as_sh):
        results = ex.batch(commands, shell=shell, keep_going=True, strict=strict)
        assert [result.exit_code for result in results] == [2, 0, 2, 0]
        assert [result.stdout for result in results] == ["", "right\n", "", "right\n"]
        goes_on = ["command eval '[[ a b ]]' 2>/dev/null || echo no", commands[1]]
        results = ex.batch(goes_on, shell=shell, keep_going=True, strict=strict)
        assert [(result.exit_code, result.stdout) for result in results] == [(0, "no\n"), (0, "right\n")]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_that_was_ended_too_often_ends_the_batch_and_says_so(ex, shell):
    results = ex.batch([": ${nope?}"] * 70, shell=shell, keep_going=True)
    started = len(results) - len(results.not_started)
    assert started in (1, 51)
    assert results[-1].detail == f"not started: command {started} ended the shell"


@pytest.mark.parametrize("shell", SHELLS)
def test_exit_and_exec_end_the_batch_also_with_keep_going(ex, shell):
    for command, code in (("exit 3", 3), ("exit 0", 0), ("exec sh -c 'echo other; exit 4'", 4)):
        results = ex.batch(["false", command, "echo never"], shell=shell, keep_going=True)
        assert codes(results) == [1, code, None], command
        assert results[2].outcome is Outcome.NOT_STARTED
        assert results[2].detail == "not started: command 2 ended the shell"
        assert not results


def test_exit_is_known_for_what_it_is_also_after_the_shell_was_ended_before(ex):
    results = ex.batch(["echo $nope", "echo $nope", "f() { exit 3; }", "f", "echo never"], keep_going=True)
    assert codes(results) == [1, 1, 0, 3, None]


def test_exit_gives_its_code_whatever_ifs_is(ex):
    results = ex.batch(["IFS=$'\\1'", "exit 3"], keep_going=True)
    assert [r.exit_code for r in results] == [0, 3]


@pytest.mark.parametrize("shell", SHELLS)
def test_exit_codes_that_are_accepted_do_not_stop_a_batch(ex, shell):
    results = ex.batch(["echo a | grep b", "exit 1"], shell=shell, ok_codes="0,1")
    assert results
    assert codes(results) == [1, 1]
    results = ex.batch(["echo a | grep b", "echo on"], shell=shell, ok_codes="0,1")
    assert codes(results) == [1, 0]


@pytest.mark.parametrize("shell", SHELLS)
def test_without_strict_a_command_goes_on_and_its_last_status_counts(ex, shell):
    results = ex.batch(["false; echo $nope on", "false", "echo never"], shell=shell, strict=False, check=False)
    assert codes(results) == [0, 1, None]
    assert results[0].stdout.strip() == "on"


def test_pipes_are_strict_in_each_command(ex):
    results = ex.batch(
        ["false | cat; echo no", "yes | head -1", "echo a | { cat; false | true; }", "false || true | cat"],
        keep_going=True,
    )
    assert codes(results) == [1, 0, 1, 0]
    assert results[1].stdout == "y\n"


def test_a_pipe_that_is_not_understood_is_strict_for_its_own_command_only(ex):
    odd = "cat <<-$(true)EOF | tr a b\nEOF\nfalse | true"
    results = ex.batch([odd, "set -o | grep pipefail"], keep_going=True)
    assert "off" in results[1].stdout


# -- frames ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", SHELLS)
def test_all_bytes_in_scripts_and_output_stay_what_they_are(ex, shell):
    data = bytes(range(1, 256)).replace(b"'", b"")
    results = ex.batch(
        [b"printf %s '" + data + b"'", "printf '\\000\\036\\377'", "echo end"], shell=shell, env={"LC_ALL": "C"}
    )
    assert results[0].stdout_bytes == data
    assert results[1].stdout_bytes == b"\0\x1e\xff"
    assert results[2].stdout == "end\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_syntax_error_an_open_quote_and_an_open_here_document_fail_alone(ex, shell):
    commands = ["echo )", "echo 'abc", 'echo "$(', "cat <<END\nbody", "if true", "}", "echo end"]
    results = ex.batch(commands, shell=shell, keep_going=True, isolated=shell == "busybox ash")
    assert [result.ok for result in results] == [False, False, False, True, False, False, True]
    assert results[3].stdout.strip() == "body"
    assert results[6].stdout == "end\n"
    assert all(result.stderr for result in results.failed)


@pytest.mark.parametrize("shell", SHELLS)
def test_output_that_shows_the_script_or_looks_like_a_frame_is_output(ex, shell):
    commands = [
        "set", "typeset -f 2>/dev/null || true", "cat /proc/$$/cmdline", "set -x; echo traced", "echo untraced; set +x",
        "printf '\\036%032d:3:0:1.0\\n' 0", "echo end",
    ]  # fmt: skip
    results = ex.batch(commands, shell=shell)
    assert results
    assert "__xec_next" in results[2].stdout
    assert results[3].stdout == "traced\n"
    assert "echo traced" in results[3].stderr
    assert results[5].stdout_bytes == b"\x1e" + b"0" * 32 + b":3:0:1.0\n"
    assert results[6].stdout == "end\n"


REDEFINED = "; ".join(
    f"{name}() {{ :; }}"
    for name in ("echo", "printf", "exit", "trap", "eval", "set", "builtin", "command", "unset", "kill", "return")
)


@pytest.mark.parametrize("keep_going", [False, True])
@pytest.mark.parametrize("shell", SHELLS)
def test_a_command_may_redefine_everything_that_the_shell_lets_it(ex, shell, keep_going):
    redefined = REDEFINED
    if shell in BOURNE:  # special builtins cannot be
        redefined = "; ".join(f"{name}() {{ :; }}" for name in ("echo", "printf", "command", "kill"))
    elif shell == "zsh -f":  # without unset nothing there removes a function
        redefined = redefined.replace("; unset() { :; }", "")
    results = ex.batch([redefined, "echo a", "cat /dev/null", "/bin/echo b"], shell=shell, keep_going=keep_going)
    assert [result.stdout for result in results] == ["", "", "", "b\n"]
    assert results


def test_aliases_and_options_of_a_command_do_not_reach_the_frames(ex):
    for shell in SHELLS:
        first = "shopt -s expand_aliases; " if shell == "bash" else ""
        commands = [
            first + "alias eval=false while=false case=false printf=false", "IFS=0123456789x", "set -f", "set -a; y=1",
            "set -C", "echo end",
        ]  # fmt: skip
        assert ex.batch(commands, shell=shell)[-1].stdout == "end\n", shell


@pytest.mark.parametrize("shell", SHELLS)
def test_redirections_of_the_shell_last_until_the_end_of_their_command(ex, shell, tmp_path):
    file = tmp_path / "file"
    results = ex.batch(
        [f"exec >{file} 2>&1; echo into", "echo out", "exec >&-; exec 2>&-", "echo out; echo err >&2"], shell=shell
    )
    assert outputs(results) == [("", ""), ("out\n", ""), ("", ""), ("out\n", "err\n")]
    assert file.read_text() == "into\n"


@pytest.mark.parametrize("shell", ["bash", "zsh -f"])
def test_who_goes_on_after_a_fatal_error_never_prints_into_a_commands_file(ex, shell, tmp_path):
    file = tmp_path / "file"
    results = ex.batch([f"exec >{file}; echo into; : ${{nope?}}", "echo later"], shell=shell, keep_going=True)
    assert file.read_text() == "into\n"
    assert (results[1].stdout, results[1].outcome) in [("later\n", Outcome.OK), ("", Outcome.NOT_STARTED)]


CLOSE_ALL = 'for fd in /proc/$$/fd/*; do fd=${fd##*/}; eval "exec $fd>&-" 2>/dev/null; done'
CLOSE_NAMED = (
    "exec 0<&- 1>&- 2>&- 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-"  # BusyBox never ends when it misses one of its own
)


@pytest.mark.parametrize("shell", SHELLS)
def test_nothing_runs_unannounced_after_every_descriptor_was_closed(ex, shell, tmp_path):
    ran = tmp_path / "ran"
    close = CLOSE_NAMED if shell == "busybox ash" else CLOSE_ALL
    results = ex.batch(["echo a", close, f"touch {ran}"], shell=shell, strict=False, check=False)
    assert results[0].stdout == "a\n"
    assert ran.exists() == (results[2].outcome is not Outcome.NOT_STARTED)


def test_standard_descriptors_are_all_that_a_command_inherits(ex):
    for shell in SHELLS:
        ours = ex.batch(["sh -c 'ls /proc/self/fd'"], shell=shell)[0].stdout
        assert ours == ex.run("sh -c 'ls /proc/self/fd'", shell=shell).stdout, shell


@pytest.mark.parametrize("strict", [True, False])
def test_what_a_command_switches_off_costs_a_batch_neither_its_end_nor_a_command_unsaid(ex, strict):
    for name in ("return", "set"):
        first, second = ex.batch([f"enable -n {name}", "echo a"], strict=strict, check=False, timeout=20)
        assert (first.outcome, second.outcome is Outcome.OK) == (Outcome.OK, second.stdout == "a\n"), name
        assert second.ok == (name == "return" or not strict)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_limit_of_descriptors_that_a_command_sets_keeps_no_other_from_running(ex, shell):
    for isolated in (False, True):
        results = ex.batch(["ulimit -Sn 64", "echo a; echo b >&2; exit 3"], shell=shell, isolated=isolated, check=False)
        assert [(r.exit_code, r.stdout, r.stderr) for r in results] == [(0, "", ""), (3, "a\n", "b\n")]


def test_a_lock_on_a_descriptor_of_a_command_is_held_by_the_next(ex, tmp_path):
    results = ex.batch(
        [f"exec 9>{tmp_path}/lock; flock -n 9", f"flock -n {tmp_path}/lock true && echo free || echo held"]
    )
    assert results[1].stdout == "held\n"


def test_ten_megabytes_on_both_streams_of_each_command(ex):
    flood = "head -c 10000000 /dev/zero & head -c 10000000 /dev/zero >&2; wait"
    results = ex.batch([flood, flood, "echo end"])
    assert [(len(r.stdout_bytes), len(r.stderr_bytes)) for r in results] == [(10**7, 10**7)] * 2 + [(4, 0)]
    assert results.whole.log.path is not None


def test_a_character_cut_by_the_end_of_its_command_stays_with_its_bytes(ex):
    results = ex.batch([r"printf '\303'", r"printf '\251'"])
    assert [result.stdout_bytes for result in results] == [b"\xc3", b"\xa9"]


def test_late_output_of_a_child_belongs_to_the_command_in_whose_time_it_comes(ex, tmp_path):
    go = tmp_path / "go"
    os.mkfifo(go)
    results = ex.batch([f"(read x <{go}; echo late) & echo first", f"echo >{go}; wait; echo second"])
    assert [result.stdout for result in results] == ["first\n", "late\nsecond\n"]


def test_a_child_that_holds_the_streams_does_not_hold_the_batch(ex):
    results = ex.batch(["sleep 60 & echo a", "echo b"])
    assert [result.stdout for result in results] == ["a\n", "b\n"]
    assert [process.name for process in results.whole.left_behind] == ["sleep"]


def test_commands_share_one_standard_input(ex):
    results = ex.batch(["read x; echo $x", "cat", "cat"], stdin="one\ntwo\nthree\n")
    assert [result.stdout for result in results] == ["one\n", "two\nthree\n", ""]
    assert ex.batch(["cat", "read x || echo end"])[1].stdout == "end\n"


def test_a_break_outside_of_a_loop_ends_its_command_only(ex):
    for shell in SHELLS:
        results = ex.batch(
            ["echo a; break 9; echo no", "echo b; continue 9; echo no", "echo c"], shell=shell, keep_going=True
        )
        assert [result.stdout.splitlines()[0] for result in results] == ["a", "b", "c"], shell


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("shell", SHELLS)
def test_a_command_begins_as_after_one_that_went_well(ex, shell, strict):
    commands = ["true", "false", "echo $?", "case a in a) exit ;; esac"]
    results = ex.batch(commands, shell=shell, strict=strict, keep_going=True)
    assert codes(results) == [0, 1, 0, 0]
    assert results[2].stdout == "0\n"
    assert ex.batch(["true", "exit"], shell=shell, strict=strict).ok


def test_a_failure_of_a_traced_command_of_zsh_has_its_own_code(ex):
    results = ex.batch(["set -x", "(exit 3)", "echo on"], shell="zsh", keep_going=True)
    assert codes(results) == [0, 3, 0]
    assert "write error" not in results[1].stderr


def test_traps_of_commands_are_theirs(ex):
    results = ex.batch(["trap 'echo bye' EXIT", "trap 'echo failed' ERR", "false", "echo never"], check=False)
    assert results[2].stdout == "failed\nbye\n"
    results = ex.batch(["trap 'echo bye' EXIT", "false", "echo on"], keep_going=True)
    assert [result.stdout for result in results] == ["", "", "on\nbye\n"]


@pytest.mark.parametrize("keep_going", [False, True])
@pytest.mark.parametrize(("shell", "number"), [*((shell, 300) for shell in SHELLS), ("zsh -f", -212)])
def test_a_code_of_more_than_a_byte_is_no_part_of_the_output(ex, shell, number, keep_going):
    commands = ["echo said", f"f() {{ return {'-- ' if number < 0 else ''}{number}; }}; f", "echo next"]
    results = ex.batch(commands, shell=shell, strict=False, keep_going=keep_going, check=False)
    assert codes(results) == [0, 44, 0 if keep_going else None]
    assert outputs(results) == [("said\n", ""), ("", ""), ("next\n" if keep_going else "", "")]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("shell", [*SHELLS, "bash_as_sh"])
def test_a_command_that_begins_with_a_dash_is_no_option(ex, bash_as_sh, shell, strict):
    results = ex.batch(
        ["-x", "- a", "-- b"],
        shell=bash_as_sh if shell == "bash_as_sh" else shell,
        strict=strict,
        keep_going=True,
        check=False,
    )
    assert codes(results) == [127] * 3
    assert all("not found" in result.stderr for result in results)


def test_strict_commands_that_a_failing_trap_on_debug_stops_have_failed(ex):
    setting = "f() { return 42; }; trap f DEBUG; :; echo no"
    commands = [setting, "echo no", "trap - DEBUG 2>/dev/null; exit 3"]
    results = ex.batch(commands, strict=True, keep_going=True, check=False)
    assert [(r.exit_code, r.stdout) for r in results] == [(42, "")] * 3


def test_a_trap_on_failures_that_one_command_sets_runs_once_for_each_failure_of_the_next(ex):
    commands = ["trap 'echo failed' ERR", "false", "f() { return 3; }; f", "true | false"]
    results = ex.batch(commands, strict=False, keep_going=True)
    assert codes(results) == [0, 1, 3, 1]
    assert [result.stdout for result in results] == ["", *["failed\n"] * 3]
    results = ex.batch([commands[0], "set -e", "false; echo no"], strict=False, check=False)
    assert (results[2].exit_code, results[2].stdout) == (1, "failed\n")


@pytest.mark.parametrize("keep_going", [False, True])
@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_that_is_told_to_run_nothing_more_ends_the_batch(ex, shell, keep_going):
    commands = ["echo a", "set -n; echo no", "echo b"]
    results = ex.batch(commands, shell=shell, keep_going=keep_going, check=False, timeout="10s")
    assert results.whole.outcome is not Outcome.TIMED_OUT
    assert [result.stdout for result in results] == ["a\n", "", ""]
    assert results[2].outcome is Outcome.NOT_STARTED


# -- ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep_going", [False, True])
@pytest.mark.parametrize("shell", SHELLS)
def test_a_command_that_kills_its_shell_is_told_by_the_signal(ex, shell, keep_going):
    results = ex.batch(
        ["echo a", "kill -9 $$; sleep 60", "echo never"], shell=shell, keep_going=keep_going, check=False
    )
    assert [result.outcome for result in results] == [Outcome.OK, Outcome.SIGNALLED, Outcome.NOT_STARTED]
    assert results[1].signal == signal.SIGKILL


@pytest.mark.parametrize("shell", SHELLS)
def test_an_isolated_command_whose_shell_is_killed_shows_nothing_of_the_frame(ex, shell):
    kill = "kill -9 $BASHPID" if shell == "bash" else "kill -9 $(exec sh -c 'echo $PPID')"
    results = ex.batch(["echo a >&2", kill, "echo b >&2; pwd"], shell=shell, isolated=True, keep_going=True)
    assert codes(results) == [0, 137, 0]
    assert "SIGKILL" in results[1].verdict()
    assert [results[0].stderr, results[2].stderr] == ["a\n", "b\n"]
    assert results[1].stderr == ("Killed\n" if shell in BOURNE else "")


@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_who_goes_on_for_a_shell_begins_nothing_after_that_was_killed(ex, shell, tmp_path):
    ran = tmp_path / "ran"
    results = ex.batch([": ${nope?}", "kill -9 $$; sleep 0.1", f"touch {ran}"], shell=shell, keep_going=True)
    assert results[2].outcome is Outcome.NOT_STARTED
    assert results.whole.signal == signal.SIGKILL
    until(lambda: ex._engine.transports._local.strays() == [])
    assert not ran.exists()


@pytest.mark.parametrize("command", ["sleep 60", "kill -STOP $$", "trap '' INT TERM; sleep 60"])
def test_at_the_time_limit_what_has_ended_stays_and_the_rest_never_begins(ex, command):
    with pytest.raises(
        SomeFailed, match=r"command 2 of 3: stopped at its time limit of 400 ms.*1 not started"
    ) as caught:
        ex.batch(["echo a", command, "echo never"], timeout="400ms")
    results = caught.value.results
    assert [result.outcome for result in results] == [Outcome.OK, Outcome.TIMED_OUT, Outcome.NOT_STARTED]
    assert results[2].detail == "not started: stopped at its time limit of 400 ms"
    assert results[0].stdout == "a\n"


def test_bash_may_be_the_sh(ex, bash_as_sh, tmp_path):
    commands = [
        "x=1; f() { false; echo no; }",
        "f",
        "echo $nope",
        "echo )",
        "for i in 1; do false; done",
        "echo $x",
        "exit 3",
        "echo",
    ]
    results = ex.batch(commands, shell=bash_as_sh, keep_going=True)
    assert [result.ok for result in results] == [True, False, False, False, False, True, False, False]
    assert [result.stdout for result in results] == ["", "", "", "", "", "1\n", "", ""]
    assert results[7].outcome is Outcome.NOT_STARTED
    results = ex.batch(
        ["echo a", "sleep 60; echo no", f"touch {tmp_path}/ran"], shell=bash_as_sh, keep_going=True, timeout="300ms"
    )
    assert results[1].outcome is Outcome.TIMED_OUT
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_a_stop_lets_nothing_more_begin_with_keep_going(ex, shell, tmp_path):
    ran = tmp_path / "ran"
    with pytest.raises(SomeFailed) as caught:
        ex.batch(
            [": ${nope?}" if shell == "bash" else "false", "sleep 60; echo no", f"touch {ran}"],
            shell=shell,
            keep_going=True,
            check=True,
            timeout="1s",
            grace="5s",
        )
    assert caught.value.results[1].outcome is Outcome.TIMED_OUT
    assert not ran.exists()


def test_an_interrupt_keeps_what_has_ended_and_carries_all_results(ex, tmp_path):
    there = tmp_path / "there"

    def kill():  # the shell can be faster than the word that it has started
        until(lambda: there.exists() and ex._engine.runs()[-1].state == "running")
        os.kill(os.getpid(), signal.SIGINT)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(RunInterrupted) as caught:
        ex.batch(["echo a", f"touch {there}; sleep 60", "echo never"])
    killer.join()
    results = caught.value.results
    assert [result.outcome for result in results] == [Outcome.OK, Outcome.INTERRUPTED, Outcome.NOT_STARTED]
    assert caught.value.result.stdout == "a\n"


def test_a_bound_on_output_stops_the_batch(ex):
    results = ex.batch(["echo a", "yes", "echo never"], max_output="64k", check=False)
    assert [result.outcome for result in results] == [Outcome.OK, Outcome.OUTPUT_LIMIT, Outcome.NOT_STARTED]
    assert results[1].truncated
    assert not results[0].truncated


def test_commands_whose_output_is_beyond_the_bound_are_not_ok_though_they_ended_well(ex):
    with pytest.raises(SomeFailed) as caught:
        ex.batch(["printf 12345678", "printf abcdefgh", "printf x"], max_output=10)
    results = caught.value.results
    assert [result.outcome for result in results[:2]] == [Outcome.OK, Outcome.OUTPUT_LIMIT]
    assert [result.stdout for result in results] == ["12345678", "ab", ""]
    assert [result.truncated for result in results[:2]] == [False, True]
    # The last one has printed before the batch was stopped for the one before it, or was not begun.
    assert (results[2].outcome, results[2].truncated) in ((Outcome.OUTPUT_LIMIT, True), (Outcome.NOT_STARTED, False))


def test_a_batch_that_is_stopped_when_all_its_commands_have_ended_is_not_ok(ex):
    with pytest.raises(TimedOut) as caught:
        ex.batch(["sleep 60 & echo a"], wait=True, timeout=0.2)
    assert [result.outcome for result in caught.value.results] == [Outcome.OK]
    assert caught.value.result.outcome is Outcome.TIMED_OUT


def test_a_shell_that_cannot_start_is_one_error_and_no_command_has_begun(ex):
    host = FakeHost("f")
    host.on(".", Refuse("the fake host is down"))
    with pytest.raises(SpawnError, match="the fake host is down"):
        ex.batch(["echo a"], target=host.target)
    results = ex.batch(["echo a", "echo b"], target=host.target, check=False)
    assert [result.outcome for result in results] == [Outcome.NOT_STARTED] * 2
    assert results[0].detail == "not started: the fake host is down"


def test_a_batch_is_one_process_and_one_run(ex):
    results = ex.batch(["echo $$"] * 3)
    assert len({str(result) for result in results}) == 1
    assert [result.run_id for result in results] == [f"{results.whole.run_id}.{number}" for number in (1, 2, 3)]


def test_a_warm_shell_runs_a_batch_as_a_new_one_does(ex):
    commands = ["x=1; cd /", "echo $x; pwd", "false", "echo $nope", "echo b", "exit 3", "echo c"]
    warm = ex.batch(commands, worker=True, keep_going=True)
    new = ex.batch(commands, keep_going=True)
    assert outputs(warm)[:3] == outputs(new)[:3] == [("", ""), ("1\n/\n", ""), ("", "")]
    assert codes(warm) == codes(new) == [0, 0, 1, 1, 0, 3, None]


def test_ten_thousand_commands_run(ex):
    results = ex.batch([f"echo {number}" for number in range(10_000)])
    assert results
    assert str(results[0]) == "0"
    assert str(results[-1]) == "9999"


# -- what goes with it ----------------------------------------------------------------------------


def test_a_secret_is_masked_also_where_two_commands_print_half_of_it_each(ex, tmp_path):
    tee = tmp_path / "tee"
    results = ex.batch(
        ['echo "$TOKEN"', "printf hunt", "printf er22; echo", "printf hunt", "echo ing"],
        secret={"TOKEN": "hunter22"},
        tee=tee,
    )
    assert [result.stdout for result in results] == ["[secret TOKEN]\n", "[secret TOKEN]", "\n", "hunt", "ing\n"]
    assert results.whole.stdout == tee.read_text() == "[secret TOKEN]\n[secret TOKEN]\nhunting\n"


def test_secrets_that_could_be_a_part_of_a_frame_break_none(ex):
    tokens = {"FRAME": ":2:0:1", "CLOCK": str(time.time())[:5], "END": ":3:0:"}
    results = ex.batch(["echo a", "echo b"], secret=tokens)
    assert [result.stdout for result in results] == ["a\n", "b\n"]


def test_a_mark_is_new_for_each_attempt_and_no_part_of_the_script():
    from xec_magic.redact import Redactor

    plan = Plan(Command("a"), batch=Batch(("a",)))
    marks = set()
    for _ in range(2):
        framing = Framing("1", plan, Redactor(), lambda: 0.0)
        mark = framing._streams["stdout"]._prefix[1:-1].decode()
        assert len(mark) == 32
        assert mark not in framing.command.script
        marks.add(mark)
    assert len(marks) == 2


def test_the_log_of_a_part_travels_without_the_whole(ex):
    results = ex.batch(["echo a", "echo b; echo c >&2", "echo d"])
    again = pickle.loads(pickle.dumps(results))
    assert outputs(again) == outputs(results)
    assert again[1].log.size() == 4
    assert again


@pytest.mark.parametrize("shell", ["bash", "dash", "zsh"])
def test_an_empty_command_does_nothing_and_is_ok_as_in_a_shell_of_its_own(ex, shell):
    for empty in ("", " \n", "# nothing"):
        assert subprocess.run([shell, "-c", empty]).returncode == ex.run(empty, shell=shell).exit_code == 0
        results = ex.batch(["false || :", empty, "echo b"], shell=shell)
        assert [(result.exit_code, result.stdout) for result in results] == [(0, ""), (0, ""), (0, "b\n")]


@pytest.mark.parametrize(
    ("commands", "options", "why"),
    [
        ([], {}, "there is no command in the batch"),
        (["a\0b"], {}, "command 1 of the batch holds a NUL"),
        ("echo a", {}, "batch takes a list of commands"),
        (["a"], {"retries": 2, "retry_codes": 75}, "--retries would run again"),
        (["print(1)"], {"shell": "python3"}, "a batch needs a shell"),
        (["a"], {"keep_going": "yes"}, "keep_going: 'yes' is neither True nor False"),
        (["a"], {"isolate": True}, "isolate"),
    ],
)
def test_what_a_batch_cannot_do_is_refused_and_nothing_runs(ex, commands, options, why):
    with pytest.raises(OptionError, match=why):
        ex.batch(commands, **options)
    assert ex._engine.runs() == []


def test_an_option_of_batches_is_refused_for_one_command(ex):
    with pytest.raises(OptionError, match="keep_going"):
        ex.run("true", keep_going=True)


def test_who_asks_to_go_on_is_told_failures_only_by_the_results_unless_they_ask(ex):
    assert len(ex.batch(["false", "true"], keep_going=True).failed) == 1
    with pytest.raises(SomeFailed, match=r"^command 1 of 2: exit code 1: false$"):
        ex.batch(["false", "true"], keep_going=True, check=True)
    with pytest.raises(SomeFailed):
        ex.using(check=True).batch(["false", "true"], keep_going=True)
