"""Sessions: what is kept from command to command, also after failures and stops, and what is said when it is not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from helpers.interrupts import interrupt_when
from helpers.numbers import Numbers
from helpers.waiting import until

import xec_magic as xec
from xec_magic.errors import OptionError, SpawnError, XecError
from xec_magic.outcome import Outcome
from xec_magic.transport import session_doubt, session_orders
from xec_magic.transport.dialects.base import Order
from xec_magic.transport.session import PREPARE_S, Session
from xec_magic.transport.session_shells import SessionShells
from xec_magic.transport.spawn import proctree


@pytest.fixture
def ex():
    with xec.Executor(check=False) as made:
        yield made
    assert proctree.living((), f"XEC_RUN_ID={made._engine.kernel_id}.".encode()) == []


@pytest.fixture(params=["bash", "zsh", "dash"])
def each(request, ex):
    """Commands in a session of each shell."""
    return ex.using(session="s", shell=request.param)


@pytest.fixture
def bash(ex):
    return ex.using(session="s")


@pytest.fixture
def bash_as_sh(tmp_path):
    """`/bin/sh` as many systems have it."""
    os.symlink(shutil.which("bash"), tmp_path / "sh")
    return str(tmp_path / "sh")


def session_of(ex, name="s"):
    return ex._engine.transports.workers.sessions[name]


# -- what is kept ---------------------------------------------------------------------------------


def test_directory_variables_functions_and_environment_carry_over(each):
    each.run("cd /usr; x=5; f() { echo in f $1; }; export Y=6; umask 077; exec 4</dev/null")
    r = each.run("pwd; echo $x; f a; sh -c 'echo $Y'; umask; cat <&4")
    assert r.lines()[:4] == ["/usr", "5", "in f a", "6"]
    assert int(r.lines()[4], 8) == 0o77
    assert r.ok


FAILURES = {
    "a command that fails": "x=2; false; x=3",
    "in a function": "f() { false; x=3; }; x=2; f; x=3",
    "in a subshell": "x=2; (false; true); x=3",
    "in a substitution": "x=2; z=$(false; echo no); x=3",
    "a pipe": "x=2; true | false; x=3",
    "an unset variable": "x=2; echo $NOT_SET_ANYWHERE; x=3",
    "a syntax error": "x=2\necho )",
    "an open quote": "x=2\necho 'abc",
    "division by zero": "x=2; echo $((1/0)); x=3",
    "a readonly variable": "x=2; readonly r=1; r=2; x=3",
    "a command that is not there": "x=2; nosuchcommand; x=3",
    "a death by signal": "x=2; sh -c 'kill -9 $$'; x=3",
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failing_script_returns_and_what_it_has_set_survives(name, each):
    each.run("x=1; y=1; f() { :; }; cd /usr")
    r = each.run(FAILURES[name])
    assert not r.ok
    assert r.notes == ()
    after = each.run("echo $y $PWD; echo $x")
    assert after.lines()[0] == "1 /usr"
    # Where nothing of the script was run, as for a syntax error that is found before, it is what it was.
    assert after.lines()[1] == (
        "1" if name in ("a syntax error", "an open quote") and each._defaults["shell"] == "zsh" else "2"
    )


@pytest.mark.parametrize(
    "script", ["x=2; echo ${nope?wanted}; x=3", "x=2; exec nosuchprogram; x=3", "x=2; : ${nope:?wanted}"]
)
def test_in_bash_and_dash_what_ends_a_shell_does_not_end_the_session(script, ex):
    for shell in ("bash", "dash"):
        commands = ex.using(session=shell, shell=shell)
        commands.run("y=1")
        r = commands.run(script)
        assert (r.ok, r.notes) == (False, ())
        assert commands.run("echo $x $y").text() == "2 1"


@pytest.mark.parametrize("shell", ["dash", "sh"])
def test_a_failure_in_a_script_that_names_exit_keeps_a_session_of_sh(ex, bash_as_sh, shell):
    session = ex.using(session="s", shell=bash_as_sh if shell == "sh" else shell, timeout=10)
    session.run("x=1")
    for script, code in (
        ("x=2; kill -INT $$; exit 3", 130),
        ("[ -e / ] || exit 4; x=2; false", 1),
        ("x=3; (exit 5)", 5),
        ("x=4; echo ${nope?wanted}; exit 6", 2 if shell == "dash" else 1),
    ):
        r = session.run(script)
        assert (r.exit_code, r.notes) == (code, ())
    assert session.run("echo $x; alias").text() == "4"
    for script in ("x=6; exit 9", "f() { exit 9; }; f", "trap 'exit 9' USR2; kill -USR2 $$", "eval '{ exit 9; }'"):
        session.run("x=1", reset=True)
        r = session.run(script)
        assert (r.exit_code, len(r.notes)) == (9, 1)
        assert session.run("echo ${x-gone}").text() == "gone"


@pytest.mark.parametrize("made", ["readonly", "declare -u"])
def test_a_script_runs_itself_whatever_has_become_of_the_variable_that_shows_it(bash, made):
    bash.run(f"x=1; {made} BASH_EXECUTION_STRING; : exit", strict=False)
    for _ in range(2):
        r = bash.run('echo "a$x"; (exit 3)')
        assert (r.stdout, r.exit_code) == ("a1\n", 3)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("shell", ["bash", "dash", "sh"])
def test_exit_in_a_function_of_an_earlier_command_ends_the_command_and_not_the_session(ex, bash_as_sh, shell, strict):
    c = ex.using(session="s", shell=bash_as_sh if shell == "sh" else shell, strict=strict)
    c.run("die() { echo died; exit 3; }; x=5")
    r = c.run("die; echo not reached")
    assert (r.stdout, r.exit_code, r.notes) == ("died\n", 3, ())
    assert c.run("echo $x").text() == "5"


def test_exit_gives_its_code_whatever_ifs_is(bash):
    bash.run("IFS=$'\\1'")
    assert bash.run("(exit 3)").exit_code == 3
    assert bash.run("exit 4").exit_code == 4


def test_everything_that_bash_knows_survives_a_fatal_error(bash):
    bash.run(
        "a=(1 '2 3'); declare -A m=([k]=v); declare -i n=3; readonly r=9; export E=$'x\\ny'; declare -n ref=n\n"
        "f() { echo \"f $1\"; }; export -f f; g() { local inner=1; false; }; set -- p 'q r'; pushd / >/dev/null\n"
        "shopt -s extglob; alias ll='ls -l'; trap 'echo usr1' USR1; exec 5</dev/null; umask 027; x='it'\\''s \"$q\"'"
    )
    before = bash.run(
        'declare -p a m n r E x; declare -f f g; echo $# "$2"; dirs; shopt extglob; alias; trap -p USR1; umask; echo $$',
        strict=False,
    )
    assert not bash.run("inner=outer; g").ok  # fatal in a function
    after = bash.run(
        'declare -p a m n r E x; declare -f f g; echo $# "$2"; dirs; shopt extglob; alias; trap -p USR1; umask; echo $$',
        strict=False,
    )
    assert after.stdout == before.stdout
    assert bash.run("n=4; echo $ref; bash -c 'f x'; echo $inner; cat <&5; kill -USR1 $$").lines() == [
        "4",
        "f x",
        "outer",
        "usr1",
    ]


def test_a_trap_on_exit_is_for_the_scripts_end_and_the_session_goes_on(each):
    each.run("x=1")
    r = each.run("trap 'echo \"bye $? $x\"' EXIT; x=2; echo begun; false; x=3")
    assert (r.lines(), r.ok, r.notes) == (["begun", "bye 1 2"], False, ())
    assert each.run("trap 'echo bye' EXIT; for i in 1 2; do break; done; trap - EXIT; trap 'echo $x' EXIT").lines() == [
        "2"
    ]
    assert each.run("echo $x; trap | grep -c bye || true").lines() == ["2", "0"]


def test_strict_is_for_one_command_and_the_shells_own_options_come_back(each):
    each.run("true", strict=True)
    assert each.run("false; echo $NOT_SET_ANYWHERE; echo on", strict=False).text() == "\non"
    each.run("set -u; true", strict=False)
    each.run("false", strict=True)
    assert not each.run("echo $NOT_SET_ANYWHERE; echo on", strict=False).ok


def test_options_that_a_script_sets_itself_stay(bash):
    bash.run("shopt -s nullglob; set -f")
    assert bash.run("shopt nullglob; echo $-").text().count("f") >= 1
    assert "nullglob       \ton" in bash.run("shopt nullglob", strict=False).stdout


PADDING = f"# {'x' * 200}"


@pytest.mark.parametrize("strict", [True, False])
def test_whatever_options_a_script_leaves_the_next_one_is_what_runs(strict, bash):
    bash.run(f"echo earlier {PADDING}", strict=not strict)
    bash.run("shopt -s nocasematch", strict=not strict)
    for script in ("echo short", f"echo long {PADDING}"):
        assert bash.run(script, strict=strict).text() == script.split()[1]


@pytest.mark.parametrize(
    ("before", "script", "said"),
    [
        ("set -o posix", "echo said; (exit 3)", ["said"]),
        ("set -o posix", "/bin/true exit", []),
        ("exit() { echo mine $1; }", "exit 3; type -t exit; false", ["mine 3", "function"]),
        ("trap() { echo mine $1; }", "trap said EXIT; type -t trap; false", ["mine said", "function"]),
        ("local() { :; }", "trap 'echo bye' EXIT; echo said", ["said", "bye"]),
        ("set -k", "trap 'echo bye' EXIT; echo said", ["said", "bye"]),
        ("IFS=", "trap 'echo bye' EXIT; /bin/true exit", ["bye"]),
        ("trap 'echo back' RETURN", "echo said; false", ["said"]),
    ],
)
def test_what_earlier_scripts_have_made_of_the_shell_counts_and_costs_nothing(before, script, said, bash):
    bash.run(f"x=1; {before}", strict=False)
    code = {"(exit 3)": 3, "false": 1}.get(script.rsplit("; ")[-1], 0)
    for _ in range(2):
        r = bash.run(script)
        assert (r.lines(), r.exit_code, r.stderr, r.notes) == (said, code, "", ())
    own = [before.partition("(")[0]] if "(" in before else []
    assert bash.run("echo $x; compgen -A function").lines() == ["1", "__xec_is", *own]


ENDS_A_MEMBER = ["echo $((1/0))", "echo ${nope?}", "set -u; echo $nope"]


@pytest.mark.parametrize("script", ENDS_A_MEMBER)
def test_a_member_of_a_pipe_that_an_expansion_ends_is_not_taken_for_the_shell(script, ex, tmp_path):
    os.symlink(shutil.which("bash"), tmp_path / "sh")
    for name, shell in (("bash", "bash"), ("sh", str(tmp_path / "sh"))):
        session = ex.using(session=name, shell=shell, strict=False)
        number = session.run("x=1; echo $BASHPID").text()
        r = session.run(f"{script} | cat; echo after $?")
        assert (r.text(), r.exit_code, r.notes) == ("after 0", 0, ())
        assert session.run("echo $x $BASHPID").text() == f"1 {number}"


@pytest.mark.parametrize(
    "broken", ["[[ a b ]]", "echo no; [[ -f ]]", "f() {\n[[ a\n}", "trap 'echo bye' EXIT; [[ a b ]]"]
)
@pytest.mark.parametrize("strict", [True, False])
def test_a_syntax_error_in_a_condition_is_no_fault_of_the_next_script(broken, strict, bash):
    bash.run("x=1")
    for _ in range(2):
        assert bash.run(broken, strict=strict).exit_code == 2
        r = bash.run("[[ $x == 1 ]] && echo right", strict=strict)
        assert (r.text(), r.stderr, r.notes) == ("right", "", ())
        assert bash.run("f() { return 2; }; f", strict=strict).exit_code == 2  # no syntax error
        assert bash.run("[[ $x == 1 ]] && echo right", strict=strict).text() == "right"


@pytest.mark.parametrize(
    "goes_on",
    [
        "eval '[[ a b ]]' || :",
        ". ./broken || :",
        "x='a b' . ./broken || :",
        "if ! . ./broken; then :; fi",
        "true &&\n\t\\. ./broken || :",
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_a_syntax_error_in_a_condition_that_a_script_goes_on_behind_is_no_fault_of_the_next_one(
    goes_on, strict, bash, tmp_path
):
    (tmp_path / "broken").write_text("[[ a b ]]\n")
    bash.run(f"cd {tmp_path}")
    assert bash.run(goes_on, strict=strict).exit_code == 0
    for given in (strict, not strict):
        r = bash.run("[[ a == a ]] && echo right", strict=given)
        assert (r.text(), r.stderr, r.notes) == ("right", "", ())


def test_a_dot_among_the_operands_of_a_command_reads_no_text():
    for script in ("find . -name x", "du -s . | sort", "grep -r 'a b' . >x", "cd . && git add ."):
        assert not Order(script.encode()).reads_texts(), script


def test_a_directory_for_one_script_is_left_also_after_a_syntax_error_in_a_condition(bash, tmp_path):
    bash.run("cd /usr")
    assert bash.run("[[ a b ]]", cwd=tmp_path, strict=False).exit_code == 2
    assert bash.run("pwd").text() == "/usr"


def test_a_trap_on_exit_is_no_failure_for_a_trap_on_err(bash, tmp_path):
    trapped = f"trap 'echo >>{tmp_path}/failures' ERR; trap 'echo bye $?' EXIT; "
    r = bash.run(trapped + "false", strict=True)
    assert (r.text(), r.exit_code) == ("bye 1", 1)
    assert len((tmp_path / "failures").read_text()) == 1


@pytest.mark.parametrize("script", ["{}", "{}; false", "{}; echo ${{nope?}}", "{}; trap 'echo bye' EXIT", "eval '{}'"])
@pytest.mark.parametrize("shell", ["dash", "sh"])
def test_a_function_called_command_lasts_as_long_as_its_script_which_runs_once(ex, bash_as_sh, tmp_path, shell, script):
    session = ex.using(session="s", shell=bash_as_sh if shell == "sh" else shell, timeout=10)
    session.run("x=1")
    r = session.run(script.format(f"command() {{ :; }}; echo ran >>{tmp_path}/log"))
    assert ((tmp_path / "log").read_text(), r.notes) == ("ran\n", ())
    assert session.run("echo $x; command -v echo").lines() == ["1", "echo"]


@pytest.mark.parametrize("strict", [False, True])
def test_a_trap_on_err_that_stays_runs_once_for_each_failure_of_a_later_script(bash, tmp_path, strict):
    log = tmp_path / "failures"
    bash.run(f"trap 'echo >>{log}' ERR")
    for number, (script, code) in enumerate(
        [("false", 1), ("(exit 3)", 3), ("A=1; f() { return 5; }; f", 5), (f"cd {tmp_path}; time false 2>&1", 1),
         ("trap 'false' EXIT; true", 0), ("set -e; false; true", 1)], 1,
    ):  # fmt: skip
        assert bash.run(script, strict=strict).exit_code == (code or int(strict)), script
        assert len(log.read_text()) == number, script


@pytest.mark.parametrize("script", ["f() { false; }; f", "f() { echo ${nope?}; false; }; set +u; nope=1; f"])
def test_a_trap_on_err_of_functions_does_not_hear_what_the_session_does_after_a_failure(bash, tmp_path, script):
    bash.run(f"set -Eeuo pipefail; trap 'echo >>{tmp_path}/failures' ERR; {script}", strict=False)
    assert len((tmp_path / "failures").read_text()) == 1


@pytest.mark.parametrize("options", [{}, {"env": {"A": "1"}}])
def test_what_time_says_of_a_command_that_ends_the_script_is_heard(bash, options):
    for script in ("time -p false", "f() { time -p sh -c 'exit 3'; }; f", "time -p { false; true; }"):
        r = bash.run(script, **options)
        assert (r.ok, r.stderr.count("real")) == (False, 1), script


def test_set_x_does_not_show_what_the_session_does_after_a_failure(bash):
    for script in ("set -x; false", "echo ${nope?}", "echo )"):
        assert "SHELLOPTS" not in (r := bash.run(script)).stderr
        assert len(r.stderr.splitlines()) < 5, r.stderr
    assert "+ echo traced" in bash.run("echo traced").stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "dash", "sh"])
def test_a_script_that_begins_with_a_dash_is_no_option(ex, bash_as_sh, shell):
    session = ex.using(session="s", shell=bash_as_sh if shell == "sh" else shell)
    for script in ("-x", "-- echo", "- a"):
        for options in ({}, {"env": {"A": "1"}}, {"strict": False}, {"env": {"A": "1"}, "strict": False}):
            r = session.run(script, **options)
            assert (r.exit_code, r.stderr.count("not found")) == (127, 1), (script, r.stderr)


def test_a_failure_in_a_function_with_variables_for_the_call_says_no_more_than_elsewhere(bash):
    for script in ("set -e; f() { false; }; f", "f() { exit 3; }; (f)", "exit 1 & wait $!"):
        r = bash.run(script, env={"A": "1"}, strict=False)
        assert (r.ok, r.stderr) == (False, "")


def test_variables_of_a_call_come_back_as_they_were(bash):
    before = "declare -p A N L M 2>&1; echo ${NEW-none}"
    bash.run("A=own; declare -i N=5; L=(1 '2 3'); declare -A M=([x]=1); readonly R=1")
    kept = bash.run(before).text()
    variables = {"A": "1", "N": "7", "L": "list", "M": "map", "NEW": "n"}
    for script in ("sh -c 'echo $A $N $L $M $NEW'", "A=2; unset L; false", "exit 0 | false", "echo ${nope?}"):
        r = bash.run(script, env=variables)
        assert r.text() in ("", "1 7 list map n")
        assert bash.run(before).text() == kept, script
    r = bash.run("echo ran", env={"R": "2"})
    assert (r.exit_code, r.stdout, "R: readonly variable" in r.stderr) == (1, "", True)


@pytest.mark.parametrize(("script", "code"), [("f() { return 300; }; f", 44), ("f() { return 256; }; f", 0)])
@pytest.mark.parametrize("strict", [False, True])
def test_a_code_of_more_than_a_byte_is_the_one_that_a_shell_ends_with(ex, each, script, code, strict):
    assert each.run("true").ok
    assert each.run(script, strict=strict).exit_code == code
    zsh = ex.using(session="z", shell="zsh")
    assert [zsh.run("f() { return -- -1; }; f", strict=strict).exit_code for _ in range(2)] == [255, 255]


@pytest.mark.parametrize("reset", ["trap EXIT", "trap 0", "trap -- EXIT", "trap - EXIT", "trap - exit INT", "trap 0 2"])
@pytest.mark.parametrize("strict", [False, True])
def test_a_script_that_takes_its_trap_on_exit_back_keeps_the_session(bash, reset, strict):
    bash.run("x=1")
    r = bash.run(f"trap 'echo bye' EXIT; {reset}; trap -- : USR1; trap -- USR1; trap; echo said; false", strict=strict)
    assert (r.text(), r.exit_code, r.notes) == ("said", 1, ())
    r = bash.run(f"{reset}; (trap 'echo sub' EXIT; {reset}; trap); trap 'echo bye' EXIT; trap -p EXIT", strict=strict)
    assert (r.lines(), r.notes) == (["trap -- 'echo bye' EXIT", "bye"], ())
    assert bash.run("echo $x").text() == "1"


@pytest.mark.parametrize("end", ["", "set -e; false"])
@pytest.mark.parametrize("kind", ["ERR", "DEBUG"])
def test_a_script_with_a_trap_on_exit_takes_its_other_traps_back(ex, bash, kind, end):
    script = f"trap 'echo heard' {kind}; trap 'echo bye' EXIT; trap - {kind}; ! true; (exit 3); trap; echo said; {end}"
    plain, r = ex.run(script, strict=False), bash.run(script, strict=False)
    assert (r.stdout, r.exit_code) == (plain.stdout, plain.exit_code)
    assert bash.run("(exit 3)\ntrap -p\ntrue", strict=False).text() == ""


@pytest.mark.parametrize("strict", [False, True])
def test_after_code_2_of_a_condition_the_next_command_runs(bash, strict):
    assert bash.run("x=1; set -e" if not strict else "x=1", strict=False).ok
    for _ in range(2):
        assert bash.run("ls /no/such/directory && echo found", strict=strict).exit_code == 2
        assert bash.run("echo $x", strict=strict).text() == "1"
    assert bash.run("echo $-", strict=False).text().count("e") == (not strict)


def test_a_directory_to_return_to_that_is_gone_costs_no_command(each, tmp_path):
    each.run(f"mkdir {tmp_path}/d; cd {tmp_path}/d; x=1")
    each.run("set -e", strict=False)
    for _ in range(2):
        assert each.run(f"rm -rf {tmp_path}/d", cwd="/", strict=False).ok
        assert each.run("echo $x $PWD", strict=False).text() == "1 /"


def test_a_first_shell_that_goes_while_its_copy_answers_ends_the_session_and_no_later_command_waits(ex):
    session = ex.using(session="s", shell="dash", timeout="10s")
    session.run("true")
    session.run("kill -INT $$")  # a copy goes on
    session.run("kill -USR1 $$", strict=False)
    runs = [session.run("/bin/echo on"), session.run("exit 2", cwd="/usr"), session.run("/bin/echo on")]
    assert Outcome.TIMED_OUT not in [
        r.outcome for r in runs
    ]  # which of them says that it was lost is a matter of moments


def test_a_coprocess_serves_later_commands_and_may_end_in_one(bash):
    bash.run("x=1; coproc cat", strict=False)
    assert bash.run("echo hi >&${COPROC[1]}; read -r -t 20 y <&${COPROC[0]}; echo $y", strict=False).text() == "hi"
    assert bash.run("kill $COPROC_PID; wait $COPROC_PID; echo ended", strict=False).text() == "ended"
    assert [bash.run("echo $x").text() for _ in range(2)] == ["1", "1"]


def test_a_trap_on_exit_of_a_subshell_that_a_failure_ends_may_set_traps(bash):
    r = bash.run("(trap 'trap - EXIT; echo bye $?' EXIT; set -e; false); echo $?", strict=False)
    assert r.lines() == ["bye 0", "1"]


def test_exit_in_posix_mode_gives_its_own_code_and_the_session_lives_on(bash):
    bash.run("x=1")
    for _ in range(2):
        r = bash.run("set -o posix; f() { exit 5; }; f", strict=False)
        assert (r.exit_code, r.notes) == (5, ())
        assert bash.run("echo $x; set +o posix").text() == "1"


@pytest.mark.parametrize("mode", ["POSIXLY_CORRECT=1", "export POSIXLY_CORRECT=1", "export SHELLOPTS; set -o posix"])
@pytest.mark.parametrize("strict", [False, True])
def test_posix_mode_that_the_environment_hands_on_costs_no_session(bash, mode, strict):
    bash.run("a-b() { echo mine; }; declare() { echo mine; }; kept=1")
    assert bash.run(f"{mode}; exit 4", strict=strict).exit_code == 4
    assert bash.run("a-b; echo $kept; shopt -o posix").stdout == "mine\n1\nposix          \ton\n"
    if "export P" in mode:
        assert bash.run("sh -c 'echo $POSIXLY_CORRECT'").text() == "1"


def test_a_session_begins_in_posix_mode_where_the_kernel_is_told_so(bash, monkeypatch):
    monkeypatch.setenv("POSIXLY_CORRECT", "1")
    assert [bash.run("shopt -o posix; exit 4", strict=False).exit_code for _ in range(2)] == [4, 4]
    assert bash.run("shopt -o posix").stdout == "posix          \ton\n"


def test_the_file_that_bash_env_names_is_read_when_a_session_begins_and_a_start_up_text_stands_for_it(
    ex, bash, tmp_path, monkeypatch
):
    (tmp_path / "env").write_text("reads=$((${reads-0} + 1))\n")
    monkeypatch.setenv("BASH_ENV", str(tmp_path / "env"))
    assert bash.run("echo $reads; bash -c 'echo $reads'").stdout == "1\n1\n"
    bash.run("${nope?}")
    assert bash.run("echo $reads; bash -c 'echo $reads'").stdout == "1\n1\n"
    for _ in range(2):
        assert (
            ex.run("echo $x ${reads-none} ${BASH_ENV-none}; ${nope?}", session="rc", rc="x=1").stdout == "1 none none\n"
        )


@pytest.mark.parametrize(
    ("shell", "before"),
    [
        ("dash", "read() { :; }; cd() { :; }"),
        ("dash", "alias eval=: cd=:"),
        ("dash", "IFS=0"),
        ("zsh", "emulate sh"),
        ("zsh", "setopt() { :; }; unsetopt() { :; }"),
        ("zsh", "alias builtin=: setopt=: unsetopt=:"),
        ("zsh", "trap() { print mine $1; }"),
    ],
)
def test_in_other_shells_too_what_earlier_scripts_have_made_of_the_shell_costs_nothing(shell, before, ex, tmp_path):
    session = ex.using(session="s", shell=shell)
    session.run(f"x=1; {before}; echo once >>{tmp_path}/times", strict=False)
    r = session.run("/bin/echo $A; /bin/pwd; /bin/echo | sed -n q3; /bin/echo no", env={"A": "a"}, cwd=tmp_path)
    assert (r.lines(), r.exit_code, r.notes) == (["a", str(tmp_path)], 3, ())
    r = session.run("trap '/bin/echo bye' EXIT; /bin/echo said", env={"A": "a"}, strict=False)
    assert r.lines() == (["mine /bin/echo bye", "said"] if "trap" in before else ["said", "bye"])
    assert (r.exit_code, r.stderr, r.notes) == (0, "", ())
    r = session.run("/bin/echo $x; type trap", strict=False)
    assert (r.lines()[0], "function" in r.text()) == ("1", "trap" in before)
    assert (tmp_path / "times").read_text() == "once\n"


def test_a_trap_on_exit_runs_at_the_end_of_the_script_and_the_session_goes_on(bash, tmp_path):
    r = bash.run(f"t={tmp_path}/t; touch $t; trap 'rm $t; echo bye' EXIT; x=1; ls $t")
    assert r.lines()[-1] == "bye"
    assert list(tmp_path.iterdir()) == []
    r = bash.run("trap 'echo bye again' EXIT; x=2; false; x=3")
    assert (r.exit_code, r.text(), r.notes) == (1, "bye again", ())
    assert bash.run("echo $x").text() == "2"


def test_what_a_trap_on_exit_says_after_a_failure_names_the_shell_and_its_line(ex, bash):
    script = "trap 'cd /none || echo $LINENO' EXIT\nset -e\nfalse"
    plain, r = ex.run(script, strict=False), bash.run(script, strict=False)
    assert (r.stdout, r.stderr, r.exit_code) == (plain.stdout, plain.stderr, 1)


@pytest.mark.parametrize("strict", [False, True])
def test_a_function_trapexit_of_zsh_is_for_the_scripts_end_as_a_trap_on_exit_is(ex, strict):
    zsh = ex.using(session="s", shell="zsh", strict=strict)
    r = zsh.run("TRAPEXIT() { echo bye $? $x $1 }; x=2; (exit 3)")
    assert (r.text(), r.exit_code, r.notes) == ("bye 3 2 0", 3, ())
    r = zsh.run("TRAPEXIT() { return 4 }; true")
    assert (r.exit_code, r.notes) == (4, ())
    assert zsh.run("echo $x ${+functions[TRAPEXIT]}").text() == "2 0"


@pytest.mark.parametrize("shell", ["zsh", "dash"])
@pytest.mark.parametrize(
    "script",
    ["f() { return 42; }; trap f EXIT; true", "f() { return 42; }; trap f EXIT; false", "trap 'echo $((1/0))' EXIT; true",
     "trap 'echo $((1/0))' EXIT; false", "trap 'false; echo never' EXIT; echo said", "trap 'echo $?; (false) # ' EXIT; true"],
)  # fmt: skip
def test_what_ends_a_trap_on_exit_gives_the_code_of_a_strict_script(ex, shell, script):
    session = ex.using(session="s", shell=shell)
    session.run("x=1")
    plain, r = ex.run(script, shell=shell), session.run(script)
    assert (r.stdout, r.exit_code, r.notes) == (plain.stdout, plain.exit_code, ())
    assert session.run("echo $x").text() == "1"


def test_a_background_process_goes_on_and_can_be_waited_for(bash):
    bash.run("sleep 0.2 >/dev/null 2>&1 & pid=$!")
    assert bash.run("wait $pid; echo $?").text() == "0"


# -- input, environment, directory, secrets --------------------------------------------------------


def test_input_is_for_one_command(each, tmp_path):
    (tmp_path / "in").write_text("from a file\n")
    data = os.urandom(300_000)
    assert each.run("cat", stdin=data).stdout_bytes == data
    assert each.run("cat", stdin=tmp_path / "in").text() == "from a file"


def test_of_equal_commands_each_has_the_input_that_it_was_given(ex, each):
    given = [b"one", None, b"two", None, None, b"three"]
    assert [each.run("cat", stdin=data).stdout_bytes for data in given] == [data or b"" for data in given]
    assert (ex.start("echo a") | each.start("cat")).result().text() == "a"
    assert each.run("cat").text() == ""


def test_input_and_output_that_a_script_takes_by_exec_end_with_it(each, tmp_path):
    (tmp_path / "in").write_text("from a file")
    each.run(f"exec <{tmp_path}/in >{tmp_path}/out 2>&1; echo hidden")
    r = each.run("cat; echo out; echo err >&2")
    assert (r.stdout, r.stderr) == ("out\n", "err\n")
    assert each.run("cat").stdout == ""
    assert each.run("cat\necho after").text() == "after"


def test_variables_of_a_call_are_for_that_command(each):
    each.run("export A=own; B=own2")
    assert each.run("echo $A $B; env | grep -c '^[AC]='", env={"A": "1", "B": "2", "C": 'it\'s "3"'}).lines() == [
        "1 2",
        "2",
    ]
    assert each.run("echo $A $B ${C-unset}").text() == "own own2 unset"
    each.run("false", env={"A": "1", "C": "3"})
    assert each.run("echo $A $B ${C-unset}").text() == "own own2 unset"


def test_the_directory_of_a_call_is_left_again_unless_the_script_goes_elsewhere(each):
    each.run("cd /usr")
    assert each.run("pwd", cwd="/etc").text() == "/etc"
    assert each.run("pwd").text() == "/usr"
    each.run("cd /", cwd="/etc")
    assert each.run("pwd").text() == "/"


def test_a_directory_that_is_gone_meanwhile_is_a_failure_and_nothing_has_run(bash, tmp_path, monkeypatch):
    place = tmp_path / "place"
    place.mkdir()
    bash.run("cd /usr")
    run = bash.start("echo ran", cwd=place)
    place.rmdir()
    r = run.wait()
    assert (r.ok, r.stdout) == (False, "")
    assert "place" in r.stderr
    assert bash.run("pwd").text() == "/usr"


def test_a_variable_that_no_shell_can_hold_is_refused(bash):
    bash.run("true")
    with pytest.raises(SpawnError, match="'a-b' is no variable"):
        bash.run("true", env={"a-b": "1"}, check=True)


def test_a_secret_is_there_for_its_command_and_nowhere_afterwards(each):
    r = each.run("echo $TOKEN; echo ${#TOKEN}; env | grep -c TOKEN=", secret={"TOKEN": "s3same-value"})
    assert r.lines() == ["[secret TOKEN]", "12", "1"]
    each.run("false", secret={"TOKEN": "s3same-value"})
    r = each.run("set; env; echo ${TOKEN-gone}", strict=False)
    assert "s3same" not in r.stdout
    assert "[secret" not in r.stdout
    assert r.lines()[-1] == "gone"


def test_long_scripts_arrive_whole(each):
    assert each.run("x=" + "a" * 300_000 + "; echo ${#x}").text() == "300000"
    assert each.run("echo '" + "é\n" * 3000 + "' | wc -l").text().strip() == "3001"


# -- the end of a session --------------------------------------------------------------------------


def lost(result):
    return [note for note in result.notes if "was lost" in note]


def test_exit_ends_the_session_and_that_is_said(each):
    each.run("x=1")
    r = each.run("echo before; exit 3")
    assert (r.exit_code, r.text()) == (3, "before")
    assert len(lost(r)) == 1
    assert "the next command starts a new one" in r.notes[0]
    after = each.run("echo ${x-new}")
    assert (after.text(), after.notes) == ("new", ())


@pytest.mark.parametrize(
    ("script", "signal_number", "exit_code"),
    [("kill -9 $$", 9, None), ("exec sh -c 'exit 7'", None, 7), ("exec sh -c 'kill -TERM $$'", 15, None)],
)
def test_what_else_ends_the_shell_is_said_with_the_command_that_did_it(script, signal_number, exit_code, each):
    r = each.run(script)
    assert (r.signal, r.exit_code) == (signal_number, exit_code)
    assert len(lost(r)) == 1
    assert each.run("echo on").text() == "on"


@pytest.mark.parametrize(
    "script",
    [
        "set -n; echo not said",
        "eval 'bu''iltin() { :; }'; echo said",
        'echo said; for f in /proc/$$/fd/*; do n=${f##*/}; [ $n -gt 2 ] && eval "exec $n>&-"; done; true',
    ],
)
def test_a_shell_that_no_longer_answers_is_ended_and_nothing_hangs(script, bash):
    r = bash.run(script)
    assert r.stdout in ("said\n", "")
    assert r.notes == () or len(lost(r)) == 1
    if r.notes:  # that its shell was killed says nothing of the command
        assert (r.outcome, r.signal, r.exit_code) == (Outcome.LOST, None, None)
        assert r.verdict() == "how it ended is not known: the session's shell no longer answers"
    assert bash.run("/bin/echo on", reset=not r.notes).text() == "on"


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("builtin() { :; }; x=2; false", 1),
        ("function builtin { :; }; x=2; /bin/echo said", 0),
        ("builtin() { :; }; x=2; trap '/bin/echo said' EXIT; cd /none", 1),
        ("eval() { :; }; x=2; exit 3", 3),
        ("eval 'e''val() { :; }'; x=2", 0),
        ("echo() { :; }; builtin() { :; }; printf() { :; }; trap() { :; }; unset() { :; }; x=2; /bin/echo said", 0),
        ("shopt -s expand_aliases; shopt -u inherit_errexit; builtin() { :; }; x=2; sh -c 'exit 4'", 4),
    ],
)
def test_functions_named_as_words_of_the_session_last_as_long_as_their_script(script, code, strict, bash):
    before = bash.run("shopt -s expand_aliases; shopt -p", strict=False).text()
    r = bash.run(script, strict=strict)
    assert (r.exit_code, r.text(), r.notes) == (code, "said" if "said" in script else "", ())
    r = bash.run("/bin/echo $x $y; type -t eval builtin", env={"y": "7"}, strict=False)
    assert (r.lines(), r.notes) == (["2 7", "builtin", "builtin"], ())
    assert bash.run("unset -f echo printf; shopt -p", strict=False).text() == before


@pytest.mark.parametrize("strict", [False, True])
def test_a_shell_that_may_not_open_its_descriptors_any_more_ends_and_that_is_said(strict, each):
    r = each.run("ulimit -n 6", strict=strict, timeout=10)
    assert r.outcome is not Outcome.TIMED_OUT
    assert len(lost(r)) == 1
    assert len(r.stderr.splitlines()) < 10
    assert each.run("echo on").text() == "on"


def test_a_shell_that_is_killed_between_two_commands_is_told_with_the_next(ex, bash):
    bash.run("x=1")
    os.kill(session_of(ex).shells.pid, signal.SIGKILL)
    until(lambda: "s" not in ex._engine.transports.session_names())
    r = bash.run("echo ${x-new}")
    assert r.text() == "new"
    assert "was lost while it was idle (its shell ended: signal 9)" in r.notes[0]


def test_a_shell_that_is_stopped_and_a_command_in_it_are_ended_at_the_time_limit(ex, bash):
    bash.run("true")
    os.kill(session_of(ex).shells.pid, signal.SIGSTOP)
    r = bash.run("echo hi", timeout=0.5, grace=0.1)
    assert r.outcome is Outcome.TIMED_OUT
    assert bash.run("echo on").text() == "on"


def test_an_order_that_its_shell_does_not_read_holds_up_nothing_else(ex, bash):
    bash.run("true")
    pid = session_of(ex).shells.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        stuck = bash.start("echo ${#A}", env={"A": "v" * 300_000})
        stuck.begin()
        until(lambda: session_of(ex).current)
        assert ex.start("echo other").result(20).text() == "other"
    finally:
        os.kill(pid, signal.SIGCONT)
    assert stuck.result(20).text() == "300000"
    assert bash.run("echo ${A-gone}", env={"B": "v" * 300_000}).text() == "gone"


def test_failures_in_a_session_cost_no_descriptors(each):
    def after(count):
        for _ in range(count):
            each.run("false")
        return len(os.listdir("/proc/self/fd"))

    before = after(10)
    assert after(20) < before + 10


def test_a_shell_that_answers_twice_after_a_signal_is_brought_into_step(ex, each):
    each.run("true")
    control = session_of(ex)._names.path("ctl")
    twice = f"trap 'echo s 0 >{control}; sleep 0.2' INT; x=5; sleep 60"
    assert each.run(twice, timeout=0.3, grace=0.5).outcome is Outcome.TIMED_OUT
    r = each.run("trap - INT; echo $x")
    assert (r.text(), r.notes) == ("5", ())
    assert each.run("(exit 3)", check=False).exit_code == 3


def test_a_shell_that_says_nothing_after_a_signal_is_replaced(ex, bash, monkeypatch):
    monkeypatch.setattr(session_doubt, "IN_STEP_S", 0.3)
    bash.run("true")
    session = session_of(ex)
    control = session._names.path("ctl")
    # The shell answers, and never comes to its next order.
    stuck = f"trap 'echo s 0 >{control}; while :; do :; done' INT; sleep 60"
    assert bash.run(stuck, timeout=0.3, grace=0.5).outcome is Outcome.TIMED_OUT
    r = bash.run("echo on", timeout=20)
    assert r.text() == "on"
    assert "lost while it was idle (its shell no longer answers)" in r.notes[0]
    assert session_of(ex) is not session


@pytest.mark.parametrize("script", ["trap '' INT TERM; sleep 60", "trap '' INT TERM; while :; do sleep 60; done"])
def test_when_only_kill_ends_what_a_script_has_started_the_session_that_then_ends_by_itself_is_kept(each, script):
    each.run("x=1")
    r = each.run(script, timeout=0.3, grace=0.1)
    assert (r.outcome, r.notes) == (Outcome.TIMED_OUT, ())
    r = each.run("echo ${x-none}")
    assert (r.text(), r.notes) == ("1", ())


def test_reset_begins_anew(each):
    each.run("x=1; cd /usr")
    assert each.run("echo ${x-new}; pwd", reset=True).lines() == ["new", os.getcwd()]
    assert each.run("echo $x", strict=False).text() == ""


@pytest.mark.parametrize("begun", [True, False])
def test_reset_ends_what_runs_in_the_session_and_does_not_wait_for_it(begun, ex, each):
    each.run("x=1")
    running = each.start("echo begun; sleep 60")
    running.begin()
    if begun:
        until(lambda: running.log.size())
    assert each.run("echo ${x-new}", reset=True, timeout=20).text() == "new"
    r = running.wait(20)
    assert (r.outcome, len(lost(r))) == (Outcome.SIGNALLED, 1)
    assert "it was reset" in r.notes[0]
    assert not r.left_behind
    assert each.run("echo on").text() == "on"


@pytest.mark.parametrize("seen", [False, True])
def test_what_a_shell_starts_in_the_instant_of_its_end_is_ended_with_it(seen, ex, bash, monkeypatch):
    looks, signals = [], []

    def too_early(shells):
        looks.append(shells)
        found = living(shells)
        return found if len(looks) > 1 else [each._replace(name="bash") for each in found] if seen else []

    def at_first_lost(number, groups, alive):
        signals.append(number)
        if len(signals) > 1:
            send(number, groups, alive)

    living, send = SessionShells.living, proctree.send
    running = bash.start("echo begun; sleep 60")
    until(lambda: running.log.size())
    monkeypatch.setattr(SessionShells, "living", too_early)
    monkeypatch.setattr(proctree, "send", at_first_lost)
    ex._engine._portal.call(ex._engine.transports.workers.stop("s"))
    assert not running.wait(20).left_behind
    assert signal.SIGKILL not in signals


def test_a_session_is_of_one_shell(ex, bash):
    bash.run("true")
    with pytest.raises(SpawnError, match="session s is a bash; say --shell 'bash', or begin anew with --reset"):
        bash.run("true", shell="zsh", check=True)
    assert bash.run("echo $ZSH_NAME", shell="zsh", reset=True).text() == "zsh"


def test_options_that_contradict_are_refused(ex):
    for options, words in [
        ({"session": "a b"}, "no name for a session"),
        ({"session": "s", "worker": True}, "keeps nothing"),
        ({"reset": True}, "no session to reset"),
        ({"session": "s", "shell": "python3"}, "python3 cannot be kept ready"),
        ({"worker": True, "shell": "python3"}, "python3 cannot be kept ready"),
        ({"rc": "x=1"}, "worker=True or session=NAME"),
    ]:
        with pytest.raises(OptionError, match=words):
            ex.run("true", **options)


def test_a_profile_that_ends_the_shell_is_told(ex, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".bash_profile").write_text("exit 4\n")
    r = ex.run("true", session="s", login=True)
    assert r.outcome is Outcome.NOT_STARTED
    assert "session s was not ready yet: its shell ended: exit code 4" in r.detail


def test_a_start_up_text_is_read_once(ex, tmp_path):
    rc = f"echo x >>{tmp_path}/count; greet() {{ echo hello $1; }}"
    assert ex.run("greet ann", session="s", rc=rc).text() == "hello ann"
    assert ex.run("greet bob", session="s", rc=rc).text() == "hello bob"
    assert (tmp_path / "count").read_text() == "x\n"


# -- stops ----------------------------------------------------------------------------------------

LONG = {
    "a child": "x=2; echo go; sleep 60; x=3",
    "a pipe of children": "x=2; echo go; sleep 60 | cat; x=3",
    "a loop of builtins": "x=2; echo go; while :; do :; done",
    "in a function": "f() { local x=7; echo go; while :; do :; done; }; x=2; f",
    "in a subshell": "x=2; echo go; (sleep 60; true); x=3",
    "in a substitution": "x=2; echo go; y=$(sleep 60); x=3",
}


@pytest.mark.parametrize("how", ["timeout", "cancel", "interrupt"])
@pytest.mark.parametrize("name", LONG)
def test_a_stop_ends_the_command_and_keeps_the_session(name, how, bash):
    bash.run("x=1; y=1")
    run = bash.start(LONG[name], timeout=1.0 if how == "timeout" else None)
    run.begin()
    until(lambda: run.log.size())
    until(lambda: "sleep" not in LONG[name] or [p for p in run.process.alive() if p.name == "sleep"])
    if how == "cancel":
        run.cancel()
    elif how == "interrupt":
        from xec_magic.events import Cause

        run.request_stop(cause=Cause.INTERRUPT)
    r = run.wait(20)
    assert r.outcome in (Outcome.TIMED_OUT, Outcome.CANCELLED, Outcome.INTERRUPTED)
    assert r.notes == ()
    assert bash.run("echo $x $y").text() == "2 1"


@pytest.mark.parametrize("shell", ["zsh", "dash"])
def test_a_stop_keeps_the_session_in_other_shells(shell, ex):
    commands = ex.using(session="s", shell=shell)
    commands.run("y=1")
    r = commands.run("x=2; sleep 60; x=3", timeout=0.3)
    assert (r.outcome, r.notes) == (Outcome.TIMED_OUT, ())
    assert commands.run("echo $x $y").text() == "2 1"


def test_a_command_that_ignores_everything_costs_the_session_and_that_is_said(bash):
    bash.run("x=1")
    r = bash.run("trap '' INT TERM; while :; do :; done", timeout=0.3, grace=0.1)
    assert (r.outcome, len(lost(r))) == (Outcome.TIMED_OUT, 1)
    assert bash.run("echo ${x-new}").text() == "new"


def test_children_that_ignore_everything_are_killed_and_the_session_stays(bash):
    bash.run("x=1")
    r = bash.run("sh -c 'trap \"\" INT TERM; echo go; while :; do sleep 0.05; done'", timeout=0.5, grace=0.2)
    assert (r.outcome, r.notes) == (Outcome.TIMED_OUT, ())
    assert bash.run("echo $x").text() == "1"


def test_output_beyond_the_bound_stops_the_command_and_keeps_the_session(bash):
    bash.run("x=1")
    r = bash.run("yes", max_output=100_000)
    assert (r.outcome, len(r.stdout)) == (Outcome.OUTPUT_LIMIT, 100_000)
    assert bash.run("echo $x").text() == "1"


@pytest.mark.parametrize("after_s", [0.0, 0.005, 0.3])
def test_the_kernels_interrupt_ends_the_command_and_keeps_the_session(after_s, bash, tmp_path):
    begun = tmp_path / "begun"
    bash.run("x=1")
    with pytest.raises(xec.RunInterrupted) as caught, interrupt_when(begun.exists, after_s):
        bash.run(f"x=2; : >{begun}; sleep 60")
    assert caught.value.result.outcome is Outcome.INTERRUPTED
    assert bash.run("echo $x").text() == "2"


# -- one after the other ---------------------------------------------------------------------------


def test_commands_of_one_session_run_one_after_the_other_and_those_behind_are_queued(bash):
    bash.run("n=0")
    first = bash.start("sleep 0.5; n=$((n+1)); echo $n")
    second = bash.start("n=$((n+1)); echo $n")
    third = bash.start("n=$((n+1)); echo $n")
    for run in (first, second, third):
        run.begin()
    until(lambda: (second.state, third.state) == ("queued", "queued"))
    assert [run.result().text() for run in (first, second, third)] == ["1", "2", "3"]


def test_a_queued_command_can_be_stopped_and_the_queue_goes_on(bash):
    first = bash.start("sleep 0.6; echo first")
    second = bash.start("echo second")
    third = bash.start("echo third")
    for run in (first, second, third):
        run.begin()
    until(lambda: second.state == "queued")
    second.cancel()
    r = second.wait(0.5)
    assert (r.outcome, r.stdout) == (Outcome.CANCELLED, "")
    assert not first.done()
    assert third.result().text() == "third"


def test_the_time_in_the_queue_does_not_count_against_the_time_limit(bash):
    first = bash.start("sleep 0.8")
    first.begin()
    until(lambda: first.state == "running")
    assert bash.run("echo ok", timeout=0.5).ok


def test_sessions_run_beside_each_other(ex):
    a = ex.start("sleep 0.5; echo a", session="a")
    b = ex.start("sleep 0.5; echo b", session="b")
    begun = time.monotonic()
    for run in (a, b):
        run.begin()
    until(lambda: (a.state, b.state) == ("running", "running"))
    assert time.monotonic() - begun < 0.5 or a.done()
    assert (a.result().text(), b.result().text()) == ("a", "b")


def test_many_threads_in_one_session_get_each_their_own_output(bash):
    bash.run("n=0")
    results = {}

    def work(number):
        for turn in range(20):
            results[number, turn] = bash.run(f"n=$((n+1)); echo {number}.{turn}; echo {number}.{turn} >&2")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(r.stdout == r.stderr == f"{number}.{turn}\n" for (number, turn), r in results.items())
    assert bash.run("echo $n").text() == "80"


def test_two_commands_of_one_session_cannot_be_piped_but_one_can_be_a_member(ex, bash):
    bash.run("up() { tr a-z A-Z; }")
    with pytest.raises(XecError, match="two commands of session s"):
        bash.start("echo a") | bash.start("cat")
    assert (ex.start("echo into") | bash.start("up")).result().text() == "INTO"
    assert (bash.start("echo out") | "tr a-z A-Z").result().text() == "OUT"
    assert bash.run("echo on").text() == "on"


# -- short and long commands -----------------------------------------------------------------------


def test_a_short_command_takes_no_turn_of_the_loop(ex, bash, monkeypatch):
    monkeypatch.setattr("xec_magic.engine.here.PATIENCE_S", 30.0)  # short it is however slow the machine is
    bash.run("true")
    engine = ex._engine
    engine._portal.call(asyncio.sleep(2 * PREPARE_S))  # by then the session is prepared, and can be lent
    posted = []
    original = engine._portal.post
    engine._portal.post = lambda *args: (posted.append(args), original(*args))
    r = bash.run("echo here; echo err >&2; (exit 3)", strict=False)
    engine._portal.post = original
    assert (r.stdout, r.stderr, r.exit_code) == ("here\n", "err\n", 3)
    assert posted == []
    assert r in [run.snapshot() for run in engine.runs()]


@pytest.mark.parametrize(
    ("script", "size"),
    [
        ("sleep 0.1; seq 10000", 48894),
        ("seq 20000", 108894),
        ("head -c 3000000 /dev/zero", 3_000_000),
        ("seq 5; sleep 0.05; seq 5", 20),
    ],
)
def test_what_takes_longer_or_prints_more_goes_on_on_the_loop(script, size, bash):
    bash.run("true")
    assert len(bash.run(script).stdout) == size
    assert bash.run("echo on").text() == "on"


def test_a_short_command_leaves_children_as_others_do(bash):
    bash.run("true")
    r = bash.run("sleep 20 & echo left")
    assert (r.text(), [process.name for process in r.left_behind]) == ("left", ["sleep"])


def test_ten_megabytes_on_both_streams_at_once(each):
    r = each.run("yes | head -c 10000000 & yes | head -c 10000000 >&2; wait")
    assert (len(r.stdout), len(r.stderr)) == (10_000_000, 10_000_000)


def test_a_slow_reader_makes_the_command_wait(bash):
    run = bash.start("head -c 60000000 /dev/zero", keep=False)
    size = 0
    for chunk in run.chunks():
        size += len(chunk)
        if size == len(chunk):
            time.sleep(0.3)
            assert run.full_channels == 1
    assert size == 60_000_000


def test_usage_is_measured_for_long_commands_and_absent_for_short_ones(bash):
    bash.run("true")
    assert bash.run("true").usage is None
    r = bash.run("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done")
    assert r.usage.cpu_s > 0.05
    assert r.usage.peak_rss_bytes is None


def test_a_command_that_would_have_ended_its_shell_has_its_use_all_the_same(each):
    each.run("true")
    r = each.run(
        "head -c 3000000 /dev/zero | cat >/dev/null; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; sleep 0.1; false"
    )
    assert r.exit_code == 1
    assert r.usage.cpu_s > 0.05
    assert r.usage.written_bytes >= 3_000_000


def test_a_command_that_ends_its_shell_has_not_what_others_before_it_have_used(each):
    first = each.run("head -c 5000000 /dev/zero | cat > /dev/null; i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done")
    r = each.run("exec sh -c 'i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; exec head -c 1000000 /dev/zero'")
    assert len(r.stdout) == 1_000_000
    assert "was lost" in r.notes[0]
    assert r.usage.cpu_s < first.usage.cpu_s
    assert 1_000_000 <= r.usage.written_bytes < 1_100_000
    assert r.usage.peak_rss_bytes is None


def test_a_batch_in_a_session_is_refused_and_the_session_goes_on(bash):
    bash.run("x=1")
    with pytest.raises(OptionError, match="a batch has a shell of its own"):
        bash.batch(["x=2", "echo $x"])
    assert bash.run("echo $x").text() == "1"


# -- the kernel's end ------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["kill", "exit"])
def test_with_the_kernel_every_shell_ends_and_what_it_has_left(end):
    program = """
import os, sys, time
import xec_magic as xec
from xec_magic import runtime
xec.run("sleep 70 >/dev/null 2>&1 & setsid sleep 71 >/dev/null 2>&1 & x=1", session="a")
xec.run("trap '' INT TERM; x=1", session="b", shell="dash")
xec.run("x=1", session="c", shell="zsh")
xec.run("true", worker=True)
while not runtime.current().executor.transports.workers.spares.idle: time.sleep(0.01)
busy = xec.start("trap '' INT TERM; while :; do sleep 0.1; done", session="d")
busy.begin()
while busy.state != "running": time.sleep(0.01)
print(runtime.current().executor.kernel_id, flush=True)
sys.stdin.readline()
"""
    kernel = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        marker = f"XEC_RUN_ID={kernel.stdout.readline().strip()}.".encode()
        assert len(proctree.living((), marker)) >= 7
    finally:
        if end == "kill":
            kernel.kill()
        else:
            kernel.stdin.write("\n")
            kernel.stdin.flush()
        kernel.wait(20)
        kernel.stdin.close()
        kernel.stdout.close()
    until(lambda: proctree.living((), marker) == [], 15)


# -- run by the thread that waits -------------------------------------------------------------------


@pytest.mark.parametrize("script", ["echo short", "echo begun; sleep 30"])
def test_an_interrupt_while_a_session_is_borrowed_leaves_it_in_order(script, ex, bash, monkeypatch):
    bash.run("true")
    make = session_orders.SessionOrders.of

    def interrupted(*args, **options):
        monkeypatch.undo()
        signal.raise_signal(signal.SIGINT)  # when the session has been taken, and nobody has it in hand yet
        return make(*args, **options)

    monkeypatch.setattr(session_orders.SessionOrders, "of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bash.run(script)
    until(lambda: session_of(ex).state == "idle")
    assert bash.run("echo again").text() == "again"
    assert [run.outcome for run in (r.snapshot() for r in ex._engine.runs())][1] in (Outcome.OK, Outcome.INTERRUPTED)


def test_a_small_bound_on_output_holds_in_a_session_too(bash):
    bash.run("true")
    r = bash.run("echo hello world", max_output=3)
    assert (r.outcome, r.stdout) == (Outcome.OUTPUT_LIMIT, "hel")


def test_a_short_command_in_a_session_has_no_place_that_others_wait_for():
    with xec.Executor(max_running=1, check=False) as ex:
        ex.run("true", session="s")
        until(lambda: session_of(ex).state == "idle")
        long = ex.start("sleep 30")
        until(lambda: long.state == "running")
        short = ex.start("true", session="s")
        threading.Timer(0.3, long.cancel).start()
        assert ex.run("echo after", session="s").text() == "after"
        assert long.done()
        assert short.result().ok


def test_a_shell_that_outlives_the_helper_process_opens_nothing_that_its_numbers_name_next(each, ex, monkeypatch):
    each.run("true")
    shell = session_of(ex).shells.pid
    numbers = Numbers(b"of another command")
    gone = Session._gone

    def watched(self, status):
        gone(self, status)
        numbers.take()

    monkeypatch.setattr(Session, "_gone", watched)
    os.kill(shell, signal.SIGSTOP)
    run = each.start("trap '' INT TERM; cat; echo foreign; echo foreign >&2")
    until(lambda: session_of(ex).state == "busy")
    os.kill(ex._engine.transports._local.spawner.helper.process.pid, signal.SIGKILL)
    r = run.wait()
    until(lambda: numbers.taken)
    with contextlib.suppress(ProcessLookupError):
        os.kill(shell, signal.SIGCONT)
    until(lambda: not proctree.living({shell}))
    assert (r.outcome.value, r.stdout, numbers.robbed()) == ("lost", "", [])


def _open_descriptors():
    return {int(name) for name in os.listdir("/proc/self/fd")}


def test_a_session_that_finds_no_free_descriptor_is_refused_in_words_and_leaves_none_open(caplog):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with xec.Executor() as ex:
        ex.run("true", session="s")
    before = _open_descriptors()
    with xec.Executor(check=False) as ex:
        ex.run("true")  # the helper process lives
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(_open_descriptors()) + 200, limits[1]))
        refused = 0
        try:
            for room in range(150):
                held = []
                with contextlib.suppress(OSError):
                    while True:
                        held.append(os.open(os.devnull, os.O_RDONLY))
                for fd in held[:room]:
                    os.close(fd)
                r = ex.run("echo begun", session="s")
                for fd in held[room:]:
                    os.close(fd)
                if r.ok:
                    break
                assert (r.outcome, r.stdout) == (Outcome.NOT_STARTED, "")
                assert "too many open files" in r.detail.lower()
                refused += 1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert (r.text(), refused > 5) == ("begun", True)
    assert caplog.records == []
    assert _open_descriptors() <= before
