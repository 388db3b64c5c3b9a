"""What is undone at the end: last in first out, whatever fails, whoever interrupts, and when the kernel ends or is killed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest
from helpers.waiting import until

import xec_magic as xec
from xec_magic import private, runtime
from xec_magic.transport.spawn import proctree


@pytest.fixture(autouse=True)
def _own_temp(tmp_path, monkeypatch):
    """Temporary files of a test lie below its own directory."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    runtime.close()
    yield
    runtime.close()


@pytest.fixture
def done():
    return []


def failing(text="no"):
    raise OSError(text)


# -- order and failures


def test_the_last_deferred_is_done_first_functions_and_commands_alike(tmp_path):
    log = tmp_path / "log"
    with xec.cleanup() as stack:
        stack.defer(f"echo command >>{log}; cat {log}.file >>{log}; rm {log}.file")
        stack.defer(lambda name: (tmp_path / name).write_text("file\n"), "log.file")
        stack.defer("echo $A >>log", cwd=tmp_path, env={"A": "first"})
        assert not log.exists()
    assert log.read_text() == "first\ncommand\nfile\n"


def test_every_failure_is_reported_and_none_keeps_the_rest_from_being_done(done):
    with pytest.raises(xec.CleanupError) as caught, xec.cleanup() as stack:
        stack.defer(done.append, "last")
        stack.defer(failing, "one")
        stack.defer("echo why >&2; exit 3")
        stack.defer(done.append, "first")
    assert done == ["first", "last"]
    lines = str(caught.value).splitlines()
    assert lines[0] == "2 of 4 clean-ups failed"
    assert lines[1].startswith("exit code 3 on local")
    assert lines[2:] == ["why", "failing() raised OSError: one"]
    assert [type(error) for error in caught.value.errors] == [xec.NonZeroExit, OSError]


def test_one_failure_is_one_line():
    with pytest.raises(xec.CleanupError) as caught, xec.cleanup() as stack:
        stack.defer(failing)
    assert str(caught.value) == "clean-up failed: failing() raised OSError: no"
    assert isinstance(caught.value.__cause__, OSError)


def test_the_exception_of_the_block_goes_on_and_names_what_failed(done):
    with pytest.raises(ValueError, match="mine") as caught, xec.cleanup() as stack:
        stack.defer(done.append, "done")
        stack.defer(failing)
        raise ValueError("mine")
    assert done == ["done"]
    assert caught.value.__notes__ == ["clean-up failed: failing() raised OSError: no"]


def test_an_error_of_a_command_shows_the_failures_of_clean_up_in_a_notebook():
    with pytest.raises(xec.NonZeroExit) as caught, xec.cleanup() as stack:
        stack.defer(failing)
        xec.run("exit 3")
    assert caught.value._render_traceback_()[-1] == "clean-up failed: failing() raised OSError: no"


def test_a_deferred_command_that_may_fail_is_no_failure():
    with xec.cleanup() as stack:
        stack.defer("exit 3", check=False)
        stack.defer(xec.run, "exit 3", check=False)


def test_a_deferred_command_is_run_each_time_whatever_is_kept_of_equal_ones(tmp_path):
    log = tmp_path / "log"
    commands = xec.using(cache="60s", persist=True, stale="1h", cwd=tmp_path)
    for _ in range(2):
        with commands.cleanup() as stack:
            stack.defer("echo undo >>log")
    assert log.read_text() == "undo\nundo\n"


def test_a_run_that_a_function_starts_is_waited_for(tmp_path):
    with xec.cleanup() as stack:
        stack.defer(xec.start, f"sleep 0.2; touch {tmp_path}/ended")
    assert (tmp_path / "ended").exists()
    with pytest.raises(xec.CleanupError, match="exit code 3"), xec.cleanup() as stack:
        stack.defer(xec.start, "exit 3")


def test_what_was_taken_back_is_not_done(done):
    with xec.cleanup() as stack:
        undo = stack.defer(done.append, "undone")
        stack.defer(done.append, "kept")
        undo.cancel()
        undo.cancel()
    assert done == ["kept"]


def test_what_is_deferred_during_clean_up_is_done_too(done):
    with xec.cleanup() as stack:
        stack.defer(done.append, "last")
        stack.defer(lambda: stack.defer(done.append, "late"))
    assert done == ["late", "last"]


def test_it_can_be_closed_by_hand_and_used_again(done):
    stack = xec.cleanup()
    stack.defer(done.append, 1)
    stack.close()
    stack.close()
    stack.defer(done.append, 2)
    stack.close()
    assert done == [1, 2]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda stack: stack.defer(3), "a int cannot be deferred"),
        (lambda stack: stack.defer(None), "cannot be deferred"),
        (lambda stack: stack.defer("true", "x"), "no further arguments"),
        (lambda stack: stack.defer("true", tiemout=3), "did you mean timeout?"),
        (lambda stack: stack.defer("true", cwd="/no/such/dir"), "no such directory"),
        (lambda stack: stack.defer("true", cache=60), "cache: what is deferred is always run"),
        (lambda stack: stack.defer("true", persist=True), "persist: what is deferred is always run"),
        (lambda stack: stack.defer(asyncio.sleep), "only `async with xec.cleanup"),
        (lambda stack: stack.temp_file(suffix="/../x"), "no end of a file's name"),
        (lambda stack: stack.temp_file(suffix=3), "no end of a file's name"),
        (lambda stack: stack.temp_dir(suffix="a\0"), "no end of a file's name"),
        (lambda stack: stack.temp_file(content=3), "neither text nor bytes"),
    ],
)
def test_what_is_wrong_is_refused_when_it_is_said(wrong, words):
    with pytest.raises(xec.OptionError) as caught, xec.cleanup() as stack:
        wrong(stack)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_clean_up_serves_one_block_at_a_time():
    with xec.cleanup() as stack, pytest.raises(xec.XecError, match="in use by a block already"), stack:
        pass


# -- files


def test_temporary_files_are_private_unlike_and_removed():
    with xec.cleanup() as stack:
        paths = [stack.temp_file(suffix=".json", content="{}") for _ in range(50)]
        folder = stack.temp_dir(suffix="-work")
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_text("x")
        assert len({path.name for path in paths}) == 50
        assert all(len(path.stem) >= 8 and path.suffix == ".json" and path.read_text() == "{}" for path in paths)
        assert stat.S_IMODE(paths[0].stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
        paths[0].unlink()  # its user may remove it
        shutil.rmtree(folder / "sub")
    assert not any(path.exists() for path in (*paths, folder))


def test_a_directory_that_was_removed_or_locked_up_is_no_failure(tmp_path):
    with xec.cleanup() as stack:
        shutil.rmtree(stack.temp_dir())
    program = """
import os, xec_magic as xec
with xec.cleanup() as stack:
    folder = stack.temp_dir()
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "f").touch()
    os.symlink("/", folder / "link")
    os.chmod(folder / "a" / "b", 0)
    os.chmod(folder / "a", 0)
    os.chmod(folder, 0o500)
print(os.path.exists(folder), os.path.exists("/etc"))
"""
    # Root may do everything; without its privileges it is like anybody else.
    command = [sys.executable, "-c", program]
    if os.getuid() == 0:
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False True", done.stderr


def test_a_file_that_cannot_be_removed_is_named(tmp_path):
    with pytest.raises(xec.CleanupError, match="remove .* raised IsADirectoryError"), xec.cleanup() as stack:
        path = stack.temp_file()
        path.unlink()
        path.mkdir()


def test_a_full_disk_or_no_place_is_said_and_nothing_is_left(monkeypatch):
    made = []
    mkstemp = private.tempfile.mkstemp

    def on_a_full_disk(*args):
        fd, name = mkstemp(*args)
        made.append(name)
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, fd)
        os.close(full)
        return fd, name

    monkeypatch.setattr("tempfile.mkstemp", on_a_full_disk)
    with pytest.raises(xec.XecError, match="cannot make a temporary file: No space left"), xec.cleanup() as stack:
        stack.temp_file(content="x")
    assert not os.path.exists(made[0])
    monkeypatch.setattr("tempfile.mkdtemp", lambda *_: failing("read-only"))
    with pytest.raises(xec.XecError, match="cannot make a temporary directory: read-only"), xec.cleanup() as stack:
        stack.temp_dir()


def test_a_root_that_another_could_write_to_is_not_used(tmp_path):
    usual = private._usual_temp_root()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    usual.symlink_to(elsewhere)
    assert private.temp_root() != usual
    usual.unlink()
    usual.mkdir(mode=0o777)
    usual.chmod(0o777)
    assert private.temp_root() != usual
    usual.chmod(0o700)
    assert private.temp_root() == usual


# -- whose it is


def test_inside_a_block_the_functions_of_the_package_belong_to_the_innermost(done):
    with xec.cleanup():
        outer = xec.temp_file()
        with xec.cleanup():
            inner, folder = xec.temp_file(), xec.temp_dir()
            xec.defer(done.append, "inner")
        assert outer.exists()
        assert not inner.exists()
        assert not folder.exists()
        assert done == ["inner"]
        xec.defer(done.append, "outer")
    assert not outer.exists()
    kept = xec.temp_file()
    with xec.cleanup():
        pass
    assert kept.exists()
    assert done == ["inner", "outer"]


def test_blocks_of_several_threads_and_tasks_do_not_mix(done):
    barrier = threading.Barrier(2, timeout=10)

    def work(name):
        with xec.cleanup():
            barrier.wait()
            xec.defer(done.append, name)
            barrier.wait()
            if name == "b":
                until(lambda: "a" in done)

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == ["a", "b"]

    async def task(name):
        async with xec.cleanup():
            await asyncio.sleep(0)
            xec.defer(done.append, name)
            await asyncio.sleep(0.01 if name == "c" else 0.1)

    async def main():
        await asyncio.gather(task("c"), task("d"))

    asyncio.run(main())
    assert done == ["a", "b", "c", "d"]


# -- coroutines


def test_in_a_coroutine_commands_and_asynchronous_functions_are_awaited(done, tmp_path):
    async def later(word):
        await asyncio.sleep(0.01)
        done.append(word)

    async def main():
        ticks = asyncio.ensure_future(tick())
        async with xec.cleanup() as stack:
            path = stack.temp_file()
            stack.defer(later, "awaited")
            stack.defer(f"sleep 0.3; touch {tmp_path}/ran")
            stack.defer(done.append, "called")
        ticks.cancel()
        return path

    count = 0

    async def tick():
        nonlocal count
        while True:
            await asyncio.sleep(0.01)
            count += 1

    path = asyncio.run(main())
    assert done == ["called", "awaited"]
    assert (tmp_path / "ran").exists()
    assert not path.exists()
    assert count > 3  # the loop went on meanwhile


def test_a_coroutine_reports_failures_and_keeps_its_own_exception():
    async def wrong():
        raise OSError("later")

    async def main(raises):
        async with xec.cleanup() as stack:
            stack.defer(wrong)
            stack.defer("exit 3")
            if raises:
                raise ValueError("mine")

    with pytest.raises(xec.CleanupError, match="2 of 2 clean-ups failed"):
        asyncio.run(main(False))
    with pytest.raises(ValueError, match="mine") as caught:
        asyncio.run(main(True))
    assert "wrong() raised OSError: later" in caught.value.__notes__[0]


def test_a_function_that_gives_a_coroutine_outside_of_one_is_a_failure():
    async def later():
        pass

    with pytest.raises(xec.CleanupError, match="only `async with"), xec.cleanup() as stack:
        stack.defer(lambda: later())


def test_cancelling_a_task_in_its_clean_up_ends_the_command_and_goes_on_with_the_rest(done):
    async def main():
        async with xec.cleanup() as stack:
            stack.defer(done.append, "last")
            stack.defer("sleep 60")

    async def outside():
        task = asyncio.ensure_future(main())
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        return caught.value.__notes__

    assert asyncio.run(outside()) == ["clean-up failed: sleep 60 was interrupted"]
    assert done == ["last"]


# -- interrupts

INTERRUPTED = """
import os, signal, sys, threading, time
import xec_magic as xec
folder, times = sys.argv[1], int(sys.argv[2])
def interrupt():
    for number in range(times):
        while not os.path.exists(f"{folder}/ready{number}"): time.sleep(0.01)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
def nap(number):
    open(f"{folder}/ready{number}", "w").close()
    time.sleep(60)
try:
    try:
        with xec.cleanup() as stack:
            path = stack.temp_file()
            stack.defer(print, "last")
            BODY
    except Exception as error:
        print("swallowed", error)
except KeyboardInterrupt as stop:
    print(type(stop).__name__, "; ".join(getattr(stop, "__notes__", [])), path.exists())
"""


@pytest.mark.parametrize(
    ("body", "times", "printed"),
    [
        ("nap(0)", 1, ["last", "KeyboardInterrupt  False"]),
        ("stack.defer(nap, 0)", 1, ["last", "KeyboardInterrupt clean-up failed: nap() was interrupted False"]),
        (
            "stack.defer(nap, 0); failing",
            1,
            ["last", ("KeyboardInterrupt clean-up failed: nap() was interrupted; the block had raised NameError: name 'failing' is "
             "not defined False")],
        ),
        (
            "stack.defer('touch ready0; sleep 60', cwd=folder)",
            1,
            ["last", "RunInterrupted clean-up failed: touch ready0; sleep 60 was interrupted False"],
        ),
        (
            "stack.defer(nap, 1); stack.defer(nap, 0)",
            2,
            ["KeyboardInterrupt 2 of 4 clean-ups failed", "nap() was interrupted", "nap() was interrupted",
             "not cleaned up, since it was interrupted twice: print() False"],
        ),
        (
            "stack.defer(nap, 1); nap(0)",
            2,
            ["last", "KeyboardInterrupt clean-up failed: nap() was interrupted; the block had raised KeyboardInterrupt False"],
        ),
    ],
)  # fmt: skip
def test_an_interrupt_of_clean_up_is_bounded_loses_nothing_silently_and_is_not_swallowed(
    tmp_path, body, times, printed
):
    program = INTERRUPTED.replace("BODY", body)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), str(times)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == printed, done.stderr


# -- the end of the kernel


def run_program(text, *args, **how):
    return subprocess.run(
        [sys.executable, "-c", text, *map(str, args)], capture_output=True, text=True, timeout=60, **how
    )


def test_what_is_deferred_on_a_host_that_is_not_connected_is_done_when_python_ends(tmp_path):
    program = """
import sys, xec_magic as xec
hosts = xec.demo.fleet(1)
xec.defer(xec.template("touch ${{f}}", f=sys.argv[1]), on="web01")
"""
    done = run_program(program, tmp_path / "done")
    assert (done.stderr, (tmp_path / "done").exists()) == ("", True)


def test_an_alarm_of_the_users_during_clean_up_is_told_as_what_it_is(tmp_path):
    def alarm(*_):
        raise TimeoutError("mine")

    begun = tmp_path / "begun"
    before = signal.signal(signal.SIGALRM, alarm)
    thread = threading.Thread(target=lambda: (until(begun.exists), os.kill(os.getpid(), signal.SIGALRM)))
    try:
        with pytest.raises(xec.CleanupError, match="raised TimeoutError: mine"), xec.cleanup() as stack:
            stack.defer(f"touch {begun}; sleep 60")
            thread.start()
    finally:
        thread.join()
        signal.signal(signal.SIGALRM, before)


def test_at_the_end_of_the_process_all_is_done_open_blocks_and_commands_too(tmp_path):
    program = """
import sys, xec_magic as xec
folder = sys.argv[1]
path = xec.temp_file()
xec.defer(lambda: print("called", xec.run("echo and run").text(), path.exists()))
xec.defer(f"echo command >{folder}/command")
stack = xec.cleanup()
stack.defer(print, "open block")
print(path)
"""
    done = run_program(program, tmp_path)
    path, *rest = done.stdout.splitlines()
    assert rest == ["open block", "called and run True"], done.stderr
    assert (tmp_path / "command").read_text() == "command\n"
    assert not os.path.exists(path)
    assert not os.path.exists(os.path.dirname(path))


def test_failures_at_the_end_of_the_process_are_said_with_secrets_masked(tmp_path):
    program = """
import xec_magic as xec
xec.run("true", secret={"TOKEN": "s3cr3t-value"})
xec.defer("echo $TOKEN >&2; exit 3", secret={"TOKEN": "s3cr3t-value"})
def failing(): raise OSError("holds s3cr3t-value")
xec.defer(failing)
"""
    done = run_program(program)
    assert "[xec] 2 of 2 clean-ups failed" in done.stderr
    assert "failing() raised OSError: holds [secret TOKEN]" in done.stderr
    assert "s3cr3t" not in done.stderr


def test_at_the_end_of_the_process_clean_up_is_bounded_and_others_get_some_time(tmp_path):
    program = """
import sys, time, xec_magic as xec
path = xec.temp_file()
xec.defer(f"touch {sys.argv[1]}/ran")
xec.defer("trap '' INT TERM; while :; do sleep 0.1; done")
print(path)
"""
    begun = time.monotonic()
    done = run_program(program, tmp_path)
    assert time.monotonic() - begun < 30
    assert "clean-up has no more time" in done.stderr
    assert (tmp_path / "ran").exists()
    assert not os.path.exists(done.stdout.strip())


def test_unloading_does_it_too(tmp_path):
    from IPython.core.interactiveshell import InteractiveShell

    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "xec_magic")
    path = xec.temp_file()
    xec.defer(f"touch {tmp_path}/ran")
    shell.run_line_magic("unload_ext", "xec_magic")
    assert (tmp_path / "ran").exists()
    assert not path.exists()
    assert xec.temp_file().exists()  # in a new one
    InteractiveShell.clear_instance()


def test_a_fork_does_not_clean_up_what_is_not_its_own():
    path = xec.temp_file()
    with xec.cleanup() as stack:
        inner = stack.temp_file()
        pid = os.fork()
        if pid == 0:
            stack.close()
            runtime.close()
            os._exit(0)
        os.waitpid(pid, 0)
        assert path.exists()
        assert inner.exists()


KILLED = """
import os, signal, sys, xec_magic as xec
path = xec.temp_dir()
(path / "big").write_text("x")
if sys.argv[1] == "helper":
    xec.run("true")
print(path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_files_of_a_kernel_that_was_killed_are_removed_by_the_helper_that_starts_its_commands():
    done = run_program(KILLED, "helper")
    until(lambda: not os.path.exists(os.path.dirname(done.stdout.strip())))


def test_files_of_a_kernel_that_was_killed_are_removed_by_the_next_that_needs_some():
    done = run_program(KILLED, "none")
    path = done.stdout.strip()
    assert os.path.exists(path)
    living = xec.temp_file()
    assert not os.path.exists(os.path.dirname(path))
    other = run_program("import xec_magic as xec\nprint(xec.temp_file().exists())")
    assert other.stdout.strip() == "True"
    assert living.exists()  # this kernel lives, so nobody has swept its files


def test_deferred_commands_leave_no_process_behind(tmp_path):
    with xec.cleanup() as stack:
        stack.defer("trap '' INT TERM; sleep 60 & wait", timeout="0.2s", grace="0.1s", check=False)
    marker = f"XEC_RUN_ID={runtime.current().executor.kernel_id}.".encode()
    assert proctree.living((), marker) == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
