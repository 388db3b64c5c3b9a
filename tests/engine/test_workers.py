"""Isolated workers: commands in shells that were started ahead, which nobody can tell from others."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import signal
import time

import pytest
from helpers.numbers import Numbers
from helpers.waiting import until

import xec_magic as xec
from xec_magic.engine import undisturbed as undisturbed_module
from xec_magic.errors import OptionError, SpawnError, XecError
from xec_magic.transport import spare as spare_module
from xec_magic.transport import spares as spares_module
from xec_magic.transport.session import PREPARE_S
from xec_magic.transport.spawn import proctree
from xec_magic.transport.spawn.proctree import stat_fields
from xec_magic.transport.umask import current_umask


@pytest.fixture
def ex(monkeypatch):
    for name in ("BASH_ENV", "SHELLOPTS", "BASHOPTS", "POSIXLY_CORRECT"):
        monkeypatch.delenv(name, raising=False)
    with xec.Executor(check=False, worker=True) as made:
        yield made
    assert proctree.living((), f"XEC_RUN_ID={made._engine.kernel_id}.".encode()) == []


class Pool:
    """The spares of an executor, seen from outside."""

    def __init__(self, ex):
        self.ex = ex
        self.spares = ex._engine.transports.workers.spares

    def ready(self, number=1, **options):
        """Wait for spares for a command with these options. In the test itself: pytest changes the environment before it."""
        self.ex.run("true", **options)
        until(lambda: len(self.fitting(options)) >= number and not self.spares._starting)

    def fitting(self, options):
        env = tuple((options.get("env") or {}).items())
        directory = str(options.get("cwd") or os.getcwd())
        here = dict(os.environb), env, directory, current_umask()
        return [
            spare
            for spare in self.spares.idle
            if (spare.kind.environ, spare.kind.env, spare.kind.directory, spare.kind.umask) == here
        ]

    @property
    def served(self):
        return self.spares.served


@pytest.fixture
def pool(ex):
    return Pool(ex)


def test_nothing_leaks_from_one_command_to_the_next(ex, pool):
    pool.ready()
    ex.run(
        "x=1; cd /; f() { :; }; export E=1; umask 077; shopt -s nullglob; exec 3</dev/null; trap 'echo no' EXIT; alias a=b"
    )
    pool.ready()
    r = ex.run(
        "echo ${x-none} ${E-none} $(umask); pwd; declare -F; trap; alias; shopt nullglob; ls /proc/$$/fd | wc -w",
        strict=False,
    )
    assert r.lines()[0].split() == ["none", "none", ex.run("umask", worker=False).text()]
    assert r.lines()[1] == os.getcwd()
    assert "on" not in r.stdout.partition("nullglob")[2]
    assert "declare" not in r.stdout


def test_it_is_a_process_of_its_own_with_its_own_session(ex, pool):
    pool.ready()
    served = pool.served
    r = ex.run("echo $$ $BASHPID; ps -o pid=,pgid=,sid= -p $$")
    assert len(set(r.stdout.split())) == 1
    assert pool.served == served + 1


def test_it_is_used_for_strict_scripts_with_pipes_as_well(ex, pool):
    pool.ready()
    served = pool.served
    r = ex.run("yes | head -1; false | true; echo no")
    assert (r.stdout, r.exit_code) == ("y\n", 1)
    assert pool.served == served + 1


@pytest.fixture
def mask():
    """What the kernel's umask is; as it was before, afterwards."""

    def read():
        now = os.umask(0o077)
        os.umask(now)
        return now

    before = read()
    yield read
    os.umask(before)


@pytest.mark.parametrize(
    "change",
    [
        lambda m, p: m.setenv("ADDED", "1"),
        lambda m, p: m.chdir(p),
        lambda m, p: m.setenv("PATH", os.environ["PATH"] + ":/nowhere"),
        lambda m, p: os.umask(0o037),
    ],
)
def test_a_change_of_the_kernels_surroundings_is_seen_at_once(change, ex, pool, mask, monkeypatch, tmp_path):
    script = "echo ${ADDED-none}; pwd; echo $PATH; umask"
    pool.ready()
    change(monkeypatch, tmp_path)
    r = ex.run(script)
    assert r.lines() == [os.environ.get("ADDED", "none"), os.getcwd(), os.environ["PATH"], f"{mask():04o}"]
    pool.ready()
    served = pool.served
    assert ex.run(script).stdout == r.stdout
    assert pool.served == served + 1


def test_a_directory_that_was_made_anew_is_the_new_one(ex, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    Pool(ex).ready(cwd=place)
    place.rmdir()
    place.mkdir()
    (place / "file").touch()
    assert ex.run("ls", cwd=place).text() == "file"


def test_variables_of_the_call_have_spares_of_their_own(ex, pool):
    pool.ready()
    for _ in range(2):
        assert ex.run("echo $A", env={"A": "it's"}).text() == "it's"
        pool.ready(env={"A": "it's"})
    assert ex.run("echo ${A-none}").text() == "none"


def test_a_secret_never_lies_in_a_spare(ex, pool):
    pool.ready()
    assert ex.run("echo ${#TOKEN}", secret={"TOKEN": "s3same-value"}).text() == "12"
    pool.ready()
    time.sleep(0.1)
    for spare in pool.spares.idle:
        with open(f"/proc/{spare.spawned.pid}/environ", "rb") as file:
            assert b"s3same" not in file.read()


def test_input_goes_to_a_plain_start_and_is_the_same(ex, pool, tmp_path):
    pool.ready()
    assert ex.run("cat", stdin="data").text() == "data"
    assert (ex.start("echo a") | ex.start("tr a b")).result().text() == "b"


@pytest.mark.parametrize("name", ["BASH_ENV", "SHELLOPTS", "POSIXLY_CORRECT"])
def test_where_the_environment_changes_bashs_own_begin_it_is_started_as_any_other(name, ex, tmp_path, monkeypatch):
    (tmp_path / "env").write_text("echo from BASH_ENV\n")
    monkeypatch.setenv(name, {"BASH_ENV": str(tmp_path / "env"), "SHELLOPTS": "xtrace", "POSIXLY_CORRECT": "1"}[name])
    # No pipe: the members of one trace themselves in any order.
    warm = [ex.run("echo hi; set -o") for _ in range(2)]
    plain = ex.run("echo hi; set -o", worker=False)
    assert {(r.stdout, r.stderr) for r in warm} == {(plain.stdout, plain.stderr)}
    assert Pool(ex).served == 0


def test_a_long_script_is_started_as_any_other(ex, pool):
    pool.ready()
    served = pool.served
    assert ex.run("x=" + "a" * 20_000 + "; echo ${#x}").text() == "20000"
    assert pool.served == served
    assert ex.run("x=" + "a" * 15_000 + "; echo ${#x}").text() == "15000"
    assert pool.served == served + 1


def test_a_spare_that_was_killed_is_not_used(ex, pool):
    pool.ready()
    killed = list(pool.spares.idle)
    for spare in killed:
        os.kill(spare.spawned.pid, signal.SIGKILL)
    until(lambda: not any(spare.waits for spare in killed))
    assert ex.run("echo hi").text() == "hi"


def state_of(pid):
    return stat_fields(pid)[0]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
def test_a_spare_that_gets_a_signal_right_before_its_command_is_not_used(ex, pool, number):
    for _ in range(5):
        pool.ready()
        for spare in list(pool.spares.idle):
            os.kill(spare.spawned.pid, number)
            until(lambda pid=spare.spawned.pid: number != signal.SIGSTOP or state_of(pid) == b"T")
        assert ex.run("echo hi", timeout=20).text() == "hi"


def test_where_no_memory_can_be_written_commands_start_as_others_do(ex, monkeypatch):
    def forbidden(pid, address):
        raise PermissionError

    monkeypatch.setattr(spare_module, "_prepared", forbidden)
    for _ in range(3):
        assert ex.run("echo $-; exit 3").exit_code == 3
        time.sleep(0.05)
    pool = Pool(ex)
    until(lambda: pool.spares._proven == {b"bash": False})
    assert (pool.served, pool.spares.idle) == (0, [])


def test_a_shell_that_does_not_wait_for_its_script_is_found_out_and_not_used(ex, tmp_path):
    # It looks at its script before it reads BASH_ENV, as one that is set-user-id would.
    shell = tmp_path / "bash"
    shell.write_text('#!/bin/sh\nunset BASH_ENV\nexec bash "$@"\n')
    shell.chmod(0o755)
    for _ in range(3):
        assert ex.run("echo right", shell=str(shell)).text() == "right"
        time.sleep(0.1)
    pool = Pool(ex)
    until(lambda: pool.spares._proven == {os.fsencode(shell): False})
    assert pool.served == 0


def test_where_spares_end_by_themselves_no_more_are_started(ex, tmp_path):
    # It passes the trial, since bash takes over the argument that was changed, but it has left its memory behind.
    (tmp_path / "profile").write_text("")
    shell = tmp_path / "bash"
    shell.write_text('#!/bin/sh\nif [ "$XEC_WAIT" ]; then exec bash "$@"; fi\nexit 1\n')
    shell.chmod(0o755)
    pool = Pool(ex)
    pool.spares._proven[os.fsencode(shell)] = True
    ex.run("true", shell=str(shell))
    until(lambda: not pool.spares._proven[os.fsencode(shell)])
    until(lambda: not pool.spares._starting and pool.spares.idle == [])


def test_what_it_leaves_is_named_and_stopped(ex, pool):
    pool.ready()
    r = ex.run("sleep 60 & echo left")
    assert (r.text(), [process.name for process in r.left_behind]) == ("left", ["sleep"])


@pytest.mark.parametrize("shell", ["dash", "zsh", "sh"])
def test_other_shells_start_as_they_do_and_do_the_same(shell, ex):
    for script in ("echo $0; echo a; nosuch", "set -x; echo b", "echo ${x?wanted}"):
        warm, plain = ex.run(script, shell=shell), ex.run(script, shell=shell, worker=False)
        assert (warm.stdout, warm.stderr, warm.exit_code) == (plain.stdout, plain.stderr, plain.exit_code)


def test_at_most_so_many_wait_and_they_end_when_nobody_comes(ex, pool, monkeypatch):
    for number in range(8):
        ex.run("true", env={"N": str(number)})
    until(lambda: not pool.spares._starting)
    assert len(pool.spares.idle) <= 8
    engine = ex._engine
    engine.ask(engine.transports.end_idle())
    assert pool.spares.idle == []


# -- run by the thread that waits -------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        "echo out; echo err >&2; exit 3",
        "printf 'a\\377b'; kill -9 $$",
        "head -c 300000 /dev/zero | tr '\\0' x",
        "echo a; exec >&- 2>&-; sleep 0.05; exit 4",
        "sleep 0.05; echo late",
    ],
)
def test_a_command_that_its_waiting_thread_reads_ends_as_any_other(script, ex, pool):
    pool.ready()
    served = pool.served
    warm, plain = ex.run(script), ex.run(script, worker=False)
    assert pool.served == served + 1
    assert (warm.stdout, warm.stderr, warm.outcome, warm.exit_code, warm.signal) == (
        plain.stdout, plain.stderr, plain.outcome, plain.exit_code, plain.signal,
    )  # fmt: skip
    assert warm.usage.system_s + warm.usage.user_s > 0
    assert warm.usage.written_bytes >= len(warm.stdout) > 0


@pytest.mark.parametrize("script", ["echo short", "echo begun; sleep 30"])
def test_an_interrupt_while_a_spare_is_taken_leaves_nothing_behind(script, ex, pool, monkeypatch):
    pool.ready()
    release = spare_module.Spare.release

    def interrupted(spare, text):
        monkeypatch.undo()
        signal.raise_signal(signal.SIGINT)  # it has been taken, and nobody has it in hand yet
        return release(spare, text)

    monkeypatch.setattr(spare_module.Spare, "release", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ex.run(script)
    last = ex._engine.runs()[-1].snapshot()
    assert (last.plan.command.script, last.outcome.value in ("ok", "interrupted")) == (script, True)
    assert ex.run("echo again").text() == "again"


@pytest.mark.parametrize("how", [{"worker": True}, {"session": "s"}], ids=["worker", "session"])
def test_an_interrupt_while_a_command_that_takes_long_is_handed_to_the_loop_ends_it(how, ex, pool, monkeypatch):
    pool.ready()
    ex.run("true", **how)
    pool.ready()
    engine = ex._engine
    engine._portal.call(asyncio.sleep(2 * PREPARE_S))  # by then the session is prepared, and can be lent
    post = engine._portal.post

    def interrupted(callback, *args):
        if callback == engine.take_over:
            monkeypatch.setattr(engine._portal, "post", post)
            signal.raise_signal(signal.SIGINT)  # the waiting thread has let go, and the loop does not have it yet
        post(callback, *args)

    monkeypatch.setattr(engine._portal, "post", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        ex.run("echo begun; sleep 30", **how)
    assert isinstance(caught.value, xec.RunInterrupted)
    assert caught.value.result.stdout == "begun\n"
    assert not any(run.state == "running" for run in engine.runs())
    assert ex.run("echo again", **how).text() == "again"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_spare_runs_its_command_also_while_a_fork_of_the_kernel_lives(ex, pool):
    pool.ready()
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    try:
        served = pool.served
        assert ex.run("echo here", timeout=20).text() == "here"
        assert pool.served == served + 1
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_an_alarm_while_a_spare_is_taken_ends_it(ex, pool, monkeypatch):
    pool.ready()
    spares = list(pool.spares.idle)
    release = spare_module.Spare.release

    def alarmed(spare, text):
        release(spare, text)
        raise TimeoutError("the user's own")

    monkeypatch.setattr(spare_module.Spare, "release", alarmed)
    with pytest.raises(TimeoutError, match="the user's own"):
        ex.run("sleep 30")
    monkeypatch.undo()
    until(lambda: any(spare.spawned.exit.done() for spare in spares))


@pytest.mark.parametrize("at", [1, 2], ids=["begin", "end"])
def test_an_alarm_at_the_border_of_an_undisturbed_block_leaves_interrupts_as_they_were(at, ex, pool, monkeypatch):
    pool.ready()
    handler = signal.getsignal(signal.SIGINT)
    handle, calls = undisturbed_module.handle, iter([1, 2])

    def alarmed(number, wanted):
        turn = next(calls, 0)
        if turn != at or at == 1:
            handle(number, wanted)
        if turn == at:  # behind the first, and before the second does anything
            raise TimeoutError("the user's own")

    monkeypatch.setattr(undisturbed_module, "handle", alarmed)
    with pytest.raises(TimeoutError, match="the user's own"):
        ex.run("echo here")
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, handler)
    assert ex.run("echo again").text() == "again"


def test_the_helper_process_is_lost_while_a_thread_waits(ex, pool):
    pool.ready()
    r = ex.run("exec >&- 2>&-; kill -9 $PPID; sleep 30")
    assert (r.outcome.value, "helper process" in r.detail) == ("lost", True)


@pytest.mark.parametrize("given", [False, True], ids=["it waits", "it has a command"])
def test_a_shell_that_outlives_the_helper_process_reads_nothing_from_what_its_numbers_name_next(
    ex, pool, tmp_path, given
):
    hold, stolen = tmp_path / "hold", tmp_path / "stolen"
    rc = f"trap '' INT TERM; while [ -e {hold} ]; do sleep 0.01; done"
    ex.run(f"touch {hold}", rc=rc)
    until(lambda: [one for one in pool.spares.idle if one.kind.rc] and not pool.spares._starting)
    spare = next(one for one in reversed(pool.spares.idle) if one.kind.rc)
    numbers = Numbers(f"touch {stolen}\n".encode())
    ex._engine.post(spare.spawned.exit.add_done_callback, numbers.take)
    run = ex.start("echo never", rc=rc) if given else None
    if run is not None:
        until(lambda: spare.released)
    os.kill(ex._engine.transports._local.spawner.helper.process.pid, signal.SIGKILL)
    until(lambda: numbers.taken)
    assert set(spare.keep) <= numbers.taken
    hold.unlink()
    until(lambda: not proctree.living((), spare.marker))
    assert (numbers.robbed(), stolen.exists()) == ([], False)
    assert run is None or (run.wait().outcome.value, run.wait().text()) == ("lost", "")


def test_a_shell_that_a_lost_helper_process_has_begun_untold_reads_nothing_from_what_its_numbers_name_next(
    ex, pool, tmp_path, monkeypatch
):
    hold, stolen = tmp_path / "hold", tmp_path / "stolen"
    numbers = Numbers(f"touch {stolen}\n".encode())
    spawner = ex._engine.transports._local.spawner
    dispatch, start_spare = spawner._dispatch, spares_module.start_spare
    lost = []

    def is_spare(pid):  # the command that makes `hold` may itself be told of when that is there
        spares = proctree.living((), f"XEC_RUN_ID={ex._engine.kernel_id}.w".encode())
        return pid in [one.pid for one in spares]

    def untold(message):
        if not lost and hold.exists() and message[0] == "started" and is_spare(message[2]):
            lost.append(message[2])
            os.kill(spawner.helper.process.pid, signal.SIGKILL)
        else:
            dispatch(message)

    async def watched(*args):
        try:
            return await start_spare(*args)
        except SpawnError:  # its descriptors are closed
            if not numbers.taken:
                numbers.take()
            raise

    monkeypatch.setattr(spawner.helper, "_heard", untold)
    monkeypatch.setattr(spares_module, "start_spare", watched)
    pool.ready()
    ex.run(f"touch {hold}", rc=f"while [ -e {hold} ]; do sleep 0.01; done")  # spares for its like follow
    until(lambda: numbers.taken)
    hold.unlink()
    until(lambda: not proctree.living(lost))
    assert (numbers.robbed(), stolen.exists(), len(lost)) == ([], False, 1)


@pytest.mark.parametrize(
    "at_once_ms", [1, 1000]
)  # so that it does not hang on the machine which of the two looks sees it
@pytest.mark.parametrize("rest_s", [0, 0.005, 0.1])
@pytest.mark.parametrize(
    ("closed", "stdout", "stderr"), [(">&-", "out\n", "late\n"), ("2>&-", "out\nlate\n", ""), (">&- 2>&-", "out\n", "")]
)
def test_streams_that_end_before_the_command_does(ex, pool, monkeypatch, at_once_ms, rest_s, closed, stdout, stderr):
    monkeypatch.setattr("xec_magic.transport.here.HereRun.at_once_ms", at_once_ms)
    pool.ready()
    served = pool.served
    late = "true" if ">&- 2>&-" in closed else "echo late >&2" if closed == ">&-" else "echo late"
    r = ex.run(f"echo out; exec {closed}; sleep {rest_s}; {late}; exit 3", strict=False)
    assert (r.stdout, r.stderr, r.exit_code, pool.served) == (stdout, stderr, 3, served + 1)


def test_two_threads_never_get_the_same_spare(ex, pool):
    pool.ready()
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda number: ex.run(f"echo {number} $$").text().split(), range(120)))
    assert [int(number) for number, _ in results] == list(range(120))
    assert len({pid for _, pid in results}) == 120


def test_an_executor_that_is_closed_leaves_no_descriptor_of_its_spares_open(monkeypatch):
    for name in ("BASH_ENV", "SHELLOPTS", "BASHOPTS", "POSIXLY_CORRECT"):
        monkeypatch.delenv(name, raising=False)
    counts = []
    for _ in range(3):
        with xec.Executor(worker=True) as ex:
            Pool(ex).ready(2)
        counts.append(len(os.listdir("/proc/self/fd")))
    assert counts == counts[:1] * 3


# -- xec.workers -----------------------------------------------------------------------------------


def test_workers_are_ready_before_the_first_command_and_go_with_the_block(ex):
    with ex.workers(size=3) as w:
        pool = Pool(ex)
        until(lambda: len(pool.spares.idle) >= 3)
        served = pool.served
        assert [w.run(f"echo {number}").text() for number in range(3)] == ["0", "1", "2"]
        assert pool.served == served + 3
        assert w.start("echo started").result().text() == "started"
    until(lambda: len(pool.spares.idle) <= 2)


def test_a_shell_that_is_still_being_started_when_the_block_ends_is_not_one_too_many(ex, monkeypatch):
    with ex.workers(size=3) as w:
        spares = Pool(ex).spares
        until(lambda: len(spares.idle) >= 3 and not spares._starting)
        make = spares._make

        async def late(kind):
            await asyncio.sleep(0.2)
            return await make(kind)

        monkeypatch.setattr(spares, "_make", late)
        w.run("true")
        until(lambda: spares._starting)
    until(lambda: not spares._starting and len(spares.idle) <= 2, within_s=5.0)


def test_a_start_up_text_is_run_once_and_what_it_set_is_there_in_each_command(ex, tmp_path):
    rc = tmp_path / "a start.sh"
    rc.write_text(
        f"echo x >>'{tmp_path}/count'\nexport E=$'1\\n2'\na=(1 '2 3')\nreadonly r=9\ngreet() {{ echo hello $1; }}\nshopt -s nullglob\n"
        "umask 027\ntrap 'echo bye' EXIT\nPATH=$PATH:/added\nunset HOME\n"
    )
    with ex.workers(size=2, rc=rc) as w:
        for _ in range(5):
            r = w.run(
                'greet ann; echo "$E" "${a[1]}" $r ${PATH##*:} ${HOME-none}; shopt nullglob; umask; echo $$ $SHLVL'
            )
            assert r.lines()[:3] == ["hello ann", "1", "2 2 3 9 /added none"]
            assert r.lines()[3:5] == ["nullglob       \ton", "0027"]
            assert r.lines()[6] == "bye"
        assert w.run("greet bob; false").exit_code == 1
        assert w.run("greet s", session="s").text() == "hello s"
    assert (tmp_path / "count").read_text() == "x\nx\n"  # once for all workers, once for the session


def test_a_start_up_text_that_ends_its_shell_is_told_at_the_begin_of_the_block(ex):
    for rc, words in [("exit 3", "exit code 3"), ("echo oops >&2; exec false", "oops"), ("echo )", "syntax error")]:
        with pytest.raises(XecError, match="rc: the start-up text ended its shell") as caught, ex.workers(rc=rc):
            pass
        assert words in str(caught.value)


def test_wrong_sizes_and_texts_are_refused(ex, tmp_path):
    for size in (0, 65, True, "4"):
        with pytest.raises(OptionError, match="size"):
            ex.workers(size=size)
    for rc, words in [(3, "pathlib.Path"), (tmp_path / "none", "no file"), ("a\0b", "NUL")]:
        with pytest.raises(OptionError, match=words), ex.workers(rc=rc):
            pass
    with pytest.raises(OptionError, match="zsh reads no start-up text"):
        ex.workers(rc="x=1", shell="zsh").run("true")


async def _block(ex):
    async with ex.workers(size=1) as w:
        return await w.start("echo in a coroutine")


def test_it_serves_coroutines(ex):
    import asyncio

    assert asyncio.run(_block(ex)).text() == "in a coroutine"


def test_commands_of_workers_can_run_at_once(ex):
    with ex.workers(size=3) as w:
        runs = [w.start(f"sleep 0.3; echo {number}") for number in range(6)]
        for run in runs:
            run.begin()
        assert [run.result().text() for run in runs] == [str(number) for number in range(6)]
