from __future__ import annotations

import concurrent.futures
import pickle

import pytest

from xec_magic import errors
from xec_magic.command import Command
from xec_magic.events import Cause, Exited, LeftBehind, Note, Output, ProcessInfo, Retrying, Started
from xec_magic.fold import fold
from xec_magic.outcome import Outcome
from xec_magic.plan import Limits, Plan, StopPolicy
from xec_magic.verdict import explain_exit


def events(*printed, exit_code=0, signal=None, cause=None, detail="", start=True, **more):
    yield from ([Started("r.1", 1.0, 0.0, 42)] if start else [])
    for stream, data in printed:
        yield Output("r.1", 1.5, stream, data)
    yield Exited("r.1", 3.0, exit_code, signal, cause, detail, **more)


def result(*printed, command="cmd", **how):
    return fold(events(*printed, **how), command if isinstance(command, Plan) else Command(command))


def test_success_is_true_and_reads_like_a_command_substitution():
    r = result(("stdout", b"hi\n\n"), ("stderr", b"warn\n"))
    assert r
    assert (r.ok, r.outcome, r.exit_code, r.signal, r.duration_s) == (True, Outcome.OK, 0, None, 2.0)
    assert (str(r), r.stdout, r.stderr, r.output) == ("hi", "hi\n\n", "warn\n", "hi\n\nwarn\n")
    assert r.check() is r


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ({"exit_code": 127}, errors.NonZeroExit, "exit code 127 (command not found)"),
        # each program's own: of ls a file that is missing, of grep one that cannot be read
        ({"exit_code": 2}, errors.NonZeroExit, "exit code 2 on local"),
        ({"exit_code": 137}, errors.NonZeroExit, "out of memory"),
        ({"exit_code": None, "signal": 9}, errors.Signalled, "SIGKILL (often: out of memory)"),
        ({"exit_code": None, "signal": 15, "cause": Cause.TIMEOUT}, errors.TimedOut, "time limit of 5 s"),
        ({"exit_code": None, "signal": 2, "cause": Cause.CANCEL}, errors.Cancelled, "cancelled"),
        ({"exit_code": None, "signal": 2, "cause": Cause.OUTPUT_LIMIT}, errors.OutputLimit, "--max-output"),
        ({"exit_code": None, "signal": 2, "cause": Cause.INTERRUPT}, errors.RunInterrupted, "interrupted"),
        (
            {"exit_code": None, "cause": Cause.SPAWN, "detail": "cannot start nosh", "start": False},
            errors.SpawnError,
            "cannot start nosh: cmd",
        ),
        ({"exit_code": None, "cause": Cause.LOST, "detail": "gone"}, errors.TransportError, "gone"),
    ],
)
def test_each_bad_end_has_its_error_with_the_cause_in_its_first_line(how, kind, words):
    r = result(
        ("stderr", b"the reason\n"),
        command=Plan(Command("cmd"), stop=StopPolicy(timeout_s=5), limits=Limits(1024)),
        **how,
    )
    assert not r
    with pytest.raises(kind) as caught:
        r.check()
    first, *rest = str(caught.value).splitlines()
    assert words in first
    assert "cmd" in first
    if how.get("cause") not in (Cause.SPAWN, Cause.LOST):
        assert rest == ["the reason"]
        assert caught.value.result is r
        assert caught.value.exit_code == r.exit_code
        assert pickle.loads(pickle.dumps(caught.value)).result.outcome is r.outcome


def test_an_interrupt_is_no_exception_that_a_handler_swallows():
    assert not issubclass(errors.RunInterrupted, Exception)
    assert issubclass(errors.RunInterrupted, KeyboardInterrupt)


def test_the_tail_of_stderr_is_short_whatever_its_size():
    r = result(("stderr", b"x" * 100_000 + b"\n" + b"\n".join(b"line %d" % n for n in range(50)) + b"\n"), exit_code=1)
    tail = r.stderr_tail().splitlines()
    assert len(tail) == 10
    assert tail[-1] == "line 49"


def test_a_grep_that_finds_nothing_gets_advice():
    assert "--ok-codes 0,1" in explain_exit(1, "cat log | grep ERROR")
    assert "--ok-codes 0,1" in explain_exit(1, "cd /\nls | grep -v 'a;b' 2>&1")
    for other in ("make", "grep ERROR log; make", "zgrep a b", "f() { grep x f; }; f"):
        assert explain_exit(1, other) == ""


def test_bytes_that_are_no_text_are_kept():
    r = result(("stdout", b"\xff\x00ok"))
    assert r.stdout == "\ufffd\x00ok"
    assert r.stdout_bytes == b"\xff\x00ok"


def test_a_character_cut_between_two_reads_arrives_whole():
    data = "größe €".encode()
    r = result(*(("stdout", data[n : n + 1]) for n in range(len(data))))
    assert r.stdout == "größe €"


def test_only_a_newline_ends_a_line():
    assert result(("stdout", "a\rb\x0bc\u2028d\ne".encode())).lines() == ["a\rb\x0bc\u2028d", "e"]


def test_every_attempt_is_kept():
    retried = [
        Started("r", 0.0, 0.0, 1), Output("r", 0.0, "stdout", b"first"), Exited("r", 1.0, 75, None),
        Retrying("r", 1.0, 2, "exit code 75", 0.5), Started("r", 2.0, 0.0, 2, 2), Output("r", 2.0, "stdout", b"second"),
        Exited("r", 3.0, 0, None),
    ]  # fmt: skip
    r = fold(retried, Command("cmd"))
    assert (r.ok, r.stdout, r.duration_s) == (True, "second", 1.0)
    assert [(a.exit_code, a.stdout) for a in r.attempts] == [(75, "first")]


def test_notes_and_what_was_left_behind_are_on_the_result():
    happened = [
        Started("r", 0.0, 0.0, 1),
        Note("r", 0.1, "disk full"),
        LeftBehind("r", 0.2, (ProcessInfo(7, "sleep"),)),
        Exited("r", 1.0, 0, None, truncated=True),
    ]
    r = fold(happened, Command("cmd"))
    assert r.notes == ("disk full",)
    assert [str(p) for p in r.left_behind] == ["sleep (pid 7)"]
    assert r.truncated


def test_it_pickles():
    r = pickle.loads(pickle.dumps(result(("stdout", b"hi\n"))))
    assert (r.ok, r.stdout, r.command) == (True, "hi\n", "cmd")


def test_its_repr_is_one_line_without_secrets():
    plan = Plan(Command("deploy", secret_env=(("TOKEN", "s3cr3t-value"),)))
    r = fold(events(), plan)
    assert "s3cr3t" not in repr(r)
    assert "\n" not in repr(r)


def test_what_an_error_quotes_does_nothing_to_a_terminal():
    hostile = b"\x1b[31mred\x1b[0m \x1b[2J\x1b]52;c;ZXZpbA==\x07 \x9b2J\xe2\x80\xae\tend\n"
    failed = result(("stderr", hostile), exit_code=1, command="printf '\x1b[2J'").error()
    first, *more = failed._render_traceback_()
    assert first.startswith("NonZeroExit: exit code 1")
    assert "\x1b" not in first
    assert more == ["red ␛[2J␛]52;c;ZXZpbA==␇ \ufffd2J\ufffd\tend"]
    assert "\x1b[31mred" in str(failed)  # data stays as it is


def test_an_error_shows_no_frames_of_what_was_waited_with():
    waited = concurrent.futures.Future()
    waited.set_exception(errors.TunnelError("port 80 is in use"))
    with pytest.raises(errors.TunnelError) as caught:
        waited.result()
    assert caught.value._render_traceback_() == ["TunnelError: port 80 is in use"]
