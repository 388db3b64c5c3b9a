"""Operations on files by real programs: whole or not at all, whatever the names, in every shell and with BusyBox."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from helpers.interrupts import interrupt_when
from test_quoting import NAUGHTY

import xec_magic as xec
from xec_magic.command import encode_script
from xec_magic.errors import OptionError, RunInterrupted, SomeFailed
from xec_magic.outcome import Outcome

ROOT = os.geteuid() == 0
SHELLS = ["bash", "dash", "zsh -f", "busybox ash", "busybox"]


@pytest.fixture(scope="session")
def busybox(tmp_path_factory):
    """A directory with BusyBox's programs and nothing else."""
    programs = tmp_path_factory.mktemp("busybox")
    subprocess.run(["busybox", "--install", "-s", programs], check=True)
    return programs


@pytest.fixture
def work(tmp_path):
    """An empty directory."""
    made = tmp_path / "work"
    made.mkdir()
    return made


@pytest.fixture(params=SHELLS)
def files(request, work, busybox):
    """`files` in an empty directory: by every shell with the system's programs, and by BusyBox alone."""
    with xec.Executor(cwd=work) as ex:
        if request.param == "busybox":
            path = {"PATH": str(busybox)}
            yield lambda env=None, **options: ex.files(shell=f"{busybox}/ash", env={**path, **(env or {})}, **options)
        else:
            yield lambda **options: ex.files(shell=request.param, **options)


def tree(path):
    """What is below a directory: names to contents, modes of files beside."""
    found = {}
    for root, directories, names in os.walk(path):
        for name in [*directories, *names]:
            at = Path(root, name)
            key = str(at.relative_to(path))
            found[key] = f"-> {os.readlink(at)}" if at.is_symlink() else None if at.is_dir() else at.read_bytes()
    return found


def failure(todo, **how):
    """The only failure of a run, as the text that says what is there now."""
    with pytest.raises(SomeFailed) as caught:
        todo.run(**how)
    return caught.value.results.failed[0].stderr


def test_every_operation_does_what_it_says_and_has_a_result(files, work):
    (work / "a").write_bytes(b"A")
    results = (
        files().mkdir("d/e").copy("a", "b").copy("a", "d/").move("b", "d/e/c").write("w", "text\n", mode=0o640)
        .chmod("u+x", "w").delete("a").copy("d", "f").delete("d").run()
    )  # fmt: skip
    assert results
    assert tree(work) == {"w": b"text\n", "f": None, "f/e": None, "f/a": b"A", "f/e/c": b"A"}
    assert stat.S_IMODE((work / "w").stat().st_mode) == 0o740
    assert [result.plan.title for result in results] == [
        "mkdir d/e", "copy a b", "copy a d/", "move b d/e/c", "write w", "chmod u+x w", "delete a", "copy d f", "delete d",
    ] or results[2].plan.title == "copy a d/a"  # fmt: skip
    assert {result.run_id.split(".")[0] for result in results} == {results.whole.run_id}  # one round trip


def names():
    for text in NAUGHTY:
        raw = encode_script(text)
        if raw and b"/" not in raw and b"\0" not in raw and len(raw) < 200:
            yield text


def test_a_run_of_operations_is_called_by_what_they_do_and_their_number(work):
    todo = xec.files(cwd=work).mkdir("conf")
    assert todo.run().whole.plan.title == "1 operation: mkdir conf"
    assert todo.write("conf/a", "x").run().whole.plan.title == "2 operations: mkdir conf"
    assert xec.batch(["echo a"]).whole.plan.title == "1 command: echo a"
    assert xec.batch(["echo a", "echo b"]).whole.plan.title == "2 commands: echo a …"


def test_names_are_taken_as_they_are(files, work, request):
    todo = files()
    there = [name for name in names() if name not in ("~", ".", "..")]
    if request.node.callspec.params["files"] != "dash":  # quoting is the same in all of them
        there = there[::6]
    for name in there:
        raw = os.fsencode(work) + b"/" + encode_script(name)
        with open(raw, "wb") as file:
            file.write(encode_script(name))
        todo = (
            todo.copy(name, name + "2").move(name, name + "3").chmod(0o600, name + "3").delete(name + "2", force=True)
        )
        todo = todo.write(name + "4", name)
    results = todo.run(keep_going=True)
    assert [(result.plan.title, result.stderr) for result in results.failed] == []
    expected = {encode_script(name) + number: encode_script(name) for name in there for number in (b"3", b"4")}
    found = {}
    for raw in os.listdir(os.fsencode(work)):
        with open(os.fsencode(work) + b"/" + raw, "rb") as file:
            found[raw] = file.read()
    assert found == expected


def test_bytes_and_path_objects_are_names_too(files, work):
    files().write(b"\xff", b"1").copy(b"\xff", work / "x").run()
    assert set(os.listdir(os.fsencode(work))) == {b"\xff", b"x"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        bytes(range(256)),
        b"-n",
        b"--",
        b"%s %d %% \\n \\0 \\\\",
        b"no newline",
        b"\n\n",
        b"'\"`$x\r\n",
        b"\xc3(" * 9,
    ],
    ids=repr,
)
def test_any_bytes_are_written_as_they_are(files, work, content):
    files().write("f", content).run()
    assert (work / "f").read_bytes() == content


def test_the_largest_content_is_written_and_more_is_refused(work):
    data = os.urandom(4 * 2**20)
    xec.files(cwd=work).write("f", data).run()
    assert (work / "f").read_bytes() == data
    with pytest.raises(
        OptionError, match=r"write takes 4.00 MiB at most, and this has 4.00 MiB; give it to a command by stdin="
    ):
        xec.files().write("f", data + b"1")


def test_home_is_meant_by_a_tilde_at_the_begin_and_nothing_else(files, work):
    home = work / "ho me"
    home.mkdir()
    todo = files(env={"HOME": str(home)})
    todo.write("~/a b", "1").write("x~", "2").write("./~", "3").run()
    assert tree(work) == {"ho me": None, "ho me/a b": b"1", "x~": b"2", "~": b"3"}
    files(env={"HOME": str(home)}).delete("./~").run()  # and it needs no force
    assert tree(work) == {"ho me": None, "ho me/a b": b"1", "x~": b"2"}


# -- what is there already ------------------------------------------------------------------------


def test_a_missing_source_fails_by_name_and_what_follows_does_not_begin(files, work):
    (work / "b").write_bytes(b"B")
    with pytest.raises(SomeFailed, match="1 of 3: exit code 1") as caught:
        files().copy("a", "b").delete("b").delete("b").run()
    assert caught.value.results.failed[0].stderr == "./a: no such file or directory\n"
    assert len(caught.value.results.not_started) == 2
    for todo in (files().move("a", "b"), files().delete("a")):
        assert failure(todo) == "./a: no such file or directory\n"
    assert tree(work) == {"b": b"B"}


def test_with_keep_going_the_others_are_done(files, work):
    results = files().copy("a", "b").write("c", "C").delete("d").mkdir("e").run(keep_going=True)
    assert [result.ok for result in results] == [False, True, False, True]
    assert tree(work) == {"c": b"C", "e": None}


def test_a_directory_in_the_place_is_refused_and_one_with_a_slash_is_gone_into(files, work):
    (work / "a").write_bytes(b"A")
    (work / "d").mkdir()
    os.symlink("d", work / "link")
    for todo in (files().copy("a", "d"), files().move("a", "d"), files().move("a", "link"), files().write("d", "x")):
        assert "is a directory; end the name with / to put something into it" in failure(todo)
    assert "./x: no such directory" in failure(files().copy("a", "x/"))
    files().copy("a", "d/").move("a", "link/").run()
    assert tree(work) == {"d": None, "d/a": b"A", "link": "-> d"}


def test_a_file_in_the_place_is_replaced_and_a_directory_never_by_a_file(files, work):
    for name in ("a", "b", "c"):
        (work / name).write_text(name)
    (work / "d").mkdir()
    files().copy("a", "b").move("a", "c").run()
    assert tree(work) == {"b": b"a", "c": b"a", "d": None}
    failure(files().copy("d", "c"))
    assert tree(work) == {"b": b"a", "c": b"a", "d": None}


def test_a_directory_does_not_go_into_itself(files, work):
    (work / "d" / "e").mkdir(parents=True)
    for todo in (files().copy("d", "d/e/f"), files().move("d", "d/e/f"), files().copy(work, "d/x")):
        assert "cannot go into itself" in failure(todo)
    assert tree(work) == {"d": None, "d/e": None}


def test_a_directory_whose_name_ends_with_a_newline_is_no_other(files, work):
    (work / "d\n" / "here").mkdir(parents=True)
    (work / "d").mkdir()
    files().copy("d\n", "d/copy").run()
    with xec.Executor(cwd=work / "d\n" / "here") as ex:
        assert "force=True deletes it" in failure(ex.files().delete("../../d\n"))
        ex.files().delete("../../d").run()
    assert tree(work) == {"d\n": None, "d\n/here": None}


def test_links_are_followed_as_a_source_kept_inside_and_never_written_through(files, work):
    (work / "a").write_bytes(b"A")
    (work / "d").mkdir()
    os.symlink("a", work / "link")
    os.symlink("nowhere", work / "d" / "broken")
    files().copy("link", "b").copy("d", "e").move("link", "f").run()
    assert tree(work) == {
        "a": b"A", "b": b"A", "d": None, "d/broken": "-> nowhere", "e": None, "e/broken": "-> nowhere", "f": "-> a",
    }  # fmt: skip
    assert "is a symbolic link" in failure(files().write("f", "x"))
    files().delete("f").delete("d/broken").run()
    assert (work / "a").read_bytes() == b"A"


def test_a_file_that_is_written_again_keeps_its_mode(files, work):
    for mode in (0o600, 0o444, 0o755):
        (work / "a").write_text("old")
        os.chmod(work / "a", mode)
        files().write("a", "new").run()
        assert stat.S_IMODE((work / "a").stat().st_mode) == mode
        os.unlink(work / "a")


# -- half a step ----------------------------------------------------------------------------------


@pytest.fixture
def other_disk():
    if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == os.stat(tempfile.gettempdir()).st_dev:
        pytest.fail("/dev/shm is no other file system here")
    path = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield path
    shutil.rmtree(path)


def test_a_move_to_another_file_system_is_whole(files, work, other_disk):
    (work / "d" / "e").mkdir(parents=True)
    (work / "d" / "e" / "f").write_bytes(b"F")
    (work / "a").write_bytes(b"A")
    files().move("d", other_disk / "d").move("a", other_disk / "a").run()
    assert tree(work) == {}
    assert tree(other_disk) == {"d": None, "d/e": None, "d/e/f": b"F", "a": b"A"}


def test_a_move_to_another_file_system_that_breaks_off_leaves_the_source_and_nothing_else(files, work, other_disk):
    (work / "d").mkdir()
    (work / "d" / "1").write_bytes(b"small")
    (work / "d" / "2").write_bytes(b"x" * 300_000)
    (other_disk / "there").write_bytes(b"old")
    todo = files().move("d", other_disk / "d")._and("limit", "the size", "")
    limit = type(todo._operations[0])(
        "limit", "ulimit -f 200"
    )  # as a full disk: no file may grow beyond 100 kB or 200 kB
    todo = type(todo)(todo._run, (limit, todo._operations[0]))
    with pytest.raises(SomeFailed) as caught:
        todo.run()
    assert "is still there" in caught.value.results.failed[0].stderr
    assert tree(work) == {"d": None, "d/1": b"small", "d/2": b"x" * 300_000}
    assert tree(other_disk) == {"there": b"old"}


def test_what_does_not_fit_leaves_the_old_file_and_no_part_of_the_new(files, work):
    (work / "a").write_bytes(b"old")
    (work / "big").write_bytes(b"x" * 300_000)
    for todo in (files().copy("big", "a"), files().write("a", "y" * 300_000)):
        limit = type(todo._operations[0])("limit", "ulimit -f 200; trap '' XFSZ")
        with pytest.raises(SomeFailed) as caught:
            type(todo)(todo._run, (limit, *todo._operations)).run()
        assert "./a is as it was" in caught.value.results.failed[0].stderr
        assert tree(work) == {"a": b"old", "big": b"x" * 300_000}


@pytest.mark.skipif(ROOT, reason="nothing is read-only for root; the next test does it as another user")
def test_a_read_only_directory_refuses_and_all_stays_as_it_was(files, work):
    _read_only(files, work)


@pytest.mark.skipif(not ROOT, reason="needs root to become somebody else")
def test_a_read_only_directory_refuses_somebody_else_and_all_stays_as_it_was(work):
    for path in [work, *work.parents][:3]:
        os.chmod(path, 0o755)
    script = str(xec.files().write("d/a", "new").run(dry_run=True))
    (work / "d").mkdir()
    (work / "d" / "a").write_bytes(b"A")
    os.chmod(work / "d", 0o555)
    (work / "locked").mkdir(0o700)
    for call in (
        "xec_copy d/a d/b d d/.t",
        "xec_move d/a d/b d d/.t d",
        "xec_delete d/a ''",
        "xec_mkdir d/e",
        "xec_write d/a d d/.t '' 1 x",
        "xec_copy locked e . .t",
        "xec_move locked e . .t .",
        "xec_delete locked ''",
    ):
        text = script.partition("\n\nxec_step xec_write './d/a'")[0] + "\n" + call
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "dash", "-c", text],
            cwd=work,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 1, call
        said = b"denied" if "locked" not in call else b"locked cannot be entered: nothing was done\n"
        assert said in done.stderr, call
        assert b"cd:" not in done.stderr, call
    assert tree(work) == {"d": None, "d/a": b"A", "locked": None}


def _read_only(files, work):
    (work / "d").mkdir()
    (work / "d" / "a").write_bytes(b"A")
    os.chmod(work / "d", 0o555)
    for todo in (
        files().copy("d/a", "d/b"), files().move("d/a", "d/b"), files().delete("d/a"), files().mkdir("d/e"), files().write("d/a", "x"),
    ):  # fmt: skip
        assert "denied" in failure(todo).lower()
    assert tree(work) == {"d": None, "d/a": b"A"}


# -- what is too much -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "//", "~", "~/", ".", "..", "./", "a/..", "a/.", "/..", "../.."])
def test_deleting_more_than_a_name_needs_force(path):
    with pytest.raises(OptionError, match="would take more than a name; write force=True"):
        xec.files().delete(path)
    assert len(xec.files().delete(path, force=True)) == 1  # not run here


@pytest.mark.parametrize("path", ["*", "/tmp/*.log", "a?", "[ab]", "dir/*/x"])
def test_deleting_a_name_with_a_pattern_in_it_needs_force(path):
    with pytest.raises(OptionError, match="names are taken as they are: nothing is expanded; write force=True"):
        xec.files().delete(path)


def test_force_takes_a_pattern_for_the_name_that_it_is(files, work):
    for name in ("*", "a", "b"):
        (work / name).touch()
    files().delete("*", force=True).run()
    assert set(tree(work)) == {"a", "b"}


def test_home_and_the_working_directory_are_spared_by_whatever_name(files, work):
    (work / "home" / "me").mkdir(parents=True)
    (work / "work" / "here").mkdir(parents=True)
    os.symlink(work / "home", work / "link")
    home = str(work / "home" / "me")
    with xec.Executor(cwd=work / "work" / "here", env={"HOME": home}) as ex:
        for path in (
            home,
            work / "home",
            work / "link" / "me",
            work / "work",
            "../../work",
            "../here",
            "/tmp/../" + str(work),
        ):
            assert "force=True deletes it" in failure(ex.files().delete(path)), path
        assert (work / "home" / "me").is_dir()
        assert (work / "work" / "here").is_dir()
        ex.files().delete(work / "link").run()
        ex.files().delete("../../home", force=True).run()
    assert set(os.listdir(work)) == {"work"}


def test_the_root_of_a_mounted_disk_is_spared(files):
    assert "is where a disk is mounted; force=True deletes it" in failure(files().delete("/dev/shm"))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda f: f.copy("", "b"), "the path is empty"),
        (lambda f: f.delete("", force=True), "the path is empty"),
        (lambda f: f.copy("a\0b", "c"), "holds a NUL character"),
        (lambda f: f.copy(3, "c"), "3 is no path"),
        (lambda f: f.copy("/", "d/"), "has no name that it could have in"),
        (lambda f: f.copy("..", "d/"), "has no name that it could have in"),
        (lambda f: f.write("d/", "x"), "names a directory"),
        (lambda f: f.write("d", 3), "content is text or bytes, not int"),
        (lambda f: f.write("d", "", mode="rwx"), "'rwx' is no mode"),
        (lambda f: f.chmod("-x", "d"), "'-x' is no mode"),
        (lambda f: f.chmod(0o77777, "d"), "is no mode"),
        (lambda f: f.chmod("$(id)", "d"), "is no mode"),
        (lambda f: f.chmod(600, "d"), "600 is the mode 0o1130; write 0o600, or '1130' if that is meant"),
        (lambda f: f.write("d", "", mode=400), "400 is the mode 0o620; write 0o400, or '0620' if that is meant"),
        (lambda f: f.run(), "there is nothing to do"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_runs(make, why):
    with pytest.raises(OptionError, match=why):
        make(xec.files())


@pytest.mark.parametrize(
    "mode", [440, 444, 500, 555, 640, 644, 660, 664, 666, 700, 711, 750, 755, 770, 775, 777, 1777, 2755]
)
def test_a_mode_that_has_lost_its_prefix_is_refused_with_the_one_that_was_meant(mode):
    with pytest.raises(OptionError, match=f"write 0o{mode}, or"):
        xec.files().chmod(mode, "d")


def test_modes_are_set_as_they_are_written(work):
    (work / "d").mkdir()
    modes = [
        0o400,
        0o511,
        0o600,
        0o644,
        0o666,
        0o700,
        0o755,
        0o777,
        0o1777,
        0o2755,
        0o000,
        "600",
        "0620",
        "1130",
        "u=rw,go=",
    ]
    for mode in modes:
        xec.files(cwd=work).chmod(mode, "d").run()
        wanted = 0o600 if mode == "u=rw,go=" else int(mode, 8) if isinstance(mode, str) else mode
        assert os.stat(work / "d").st_mode & 0o1777 == wanted & 0o1777, mode


@pytest.mark.parametrize("name", ["dry_run", "keep_going"])
def test_what_is_for_the_end_of_a_list_is_told_to_be(name):
    with pytest.raises(OptionError, match=rf"{name} is for the end of it: \.run\({name}=…\)"):
        xec.files(**{name: True})


@pytest.mark.parametrize(
    "operation",
    [lambda f: f.write("fifo", "x"), lambda f: f.copy("a", "fifo"), lambda f: f.move("a", "fifo")],
    ids=["write", "copy", "move"],
)
def test_a_pipe_or_a_device_is_not_replaced_by_a_file(work, operation):
    (work / "a").write_bytes(b"A")
    os.mkfifo(work / "fifo")
    with pytest.raises(SomeFailed, match="./fifo is no file but a pipe, a socket or a device"):
        operation(xec.files(cwd=work)).run()
    assert (stat.S_ISFIFO(os.lstat(work / "fifo").st_mode), (work / "a").read_bytes()) == (True, b"A")


def test_input_for_operations_is_refused():
    with pytest.raises(OptionError, match="stdin: operations on files read nothing"):
        xec.files(stdin="x")


def test_a_dry_run_gives_the_script_and_does_nothing(work):
    (work / "a b").write_bytes(b"A")
    script = xec.files(cwd=work).move("a b", "-c").run(dry_run=True)
    assert tree(work) == {"a b": b"A"}
    assert "xec_move './a b' './-c' '.' './.xec-" in script
    subprocess.run(["dash", "-c", script], cwd=work, check=True)
    assert tree(work) == {"-c": b"A"}


def test_a_list_of_operations_is_a_value_that_others_build_on(work):
    base = xec.files(cwd=work).mkdir("d")
    one, other = base.write("d/1", "1"), base.write("d/2", "2")
    assert (len(base), len(one), repr(one)) == (1, 2, "<Files mkdir d; write d/1>")
    one.run()
    assert set(tree(work)) == {"d", "d/1"}
    other.run()


def test_a_time_limit_and_no_shell_are_told_as_for_any_batch(work):
    os.mkfifo(work / "fifo")
    results = (
        xec.files(cwd=work, timeout="300ms", grace="100ms")
        .write("a", "1")
        .copy("/dev/zero", "b")
        .mkdir("c")
        .run(check=False)
    )
    assert [result.outcome for result in results][:2] in ([Outcome.OK, Outcome.TIMED_OUT], [Outcome.OK, Outcome.OK])
    with pytest.raises(OptionError, match="a batch needs a shell"):
        xec.files(shell="python3").mkdir("a").run()


# -- stopped in the middle ------------------------------------------------------------------------

HALF = """#!/bin/sh
for last; do :; done
mkdir "$last" && : >"$last/half"
: >begun
exec sleep 100
"""


def interrupted(work, shell, busybox, todo, programs, *, keep_going=False):
    """What is told of operations that are interrupted when one of these programs has done half of its work."""
    bin_ = work.parent / "bin"
    bin_.mkdir()
    for name, text in programs.items():
        (bin_ / name).write_text(text)
        (bin_ / name).chmod(0o755)
    place = str(busybox) if shell == "busybox" else os.environ["PATH"]
    shell = f"{busybox}/ash" if shell == "busybox" else shell
    with xec.Executor(cwd=work, grace="20s") as ex:
        begun = lambda: (work / "begun").exists() and ex._engine.runs()[-1].state == "running"  # noqa: E731
        with interrupt_when(begun), pytest.raises(RunInterrupted) as caught:
            todo(ex.files(shell=shell, env={"PATH": f"{bin_}:{place}"})).run(keep_going=keep_going)
    (work / "begun").unlink()
    results = caught.value.results
    assert [result.outcome for result in results] == [Outcome.INTERRUPTED, Outcome.NOT_STARTED]
    return results[0].stderr


@pytest.mark.parametrize("keep_going", [False, True])
@pytest.mark.parametrize("shell", SHELLS)
def test_an_interrupted_copy_leaves_nothing_and_says_so(work, busybox, shell, keep_going):
    (work / "a").mkdir()
    told = interrupted(work, shell, busybox, lambda f: f.copy("a", "b").mkdir("c"), {"cp": HALF}, keep_going=keep_going)
    assert told == "not copied: ./b is as it was\n"
    assert tree(work) == {"a": None}


@pytest.mark.parametrize("shell", SHELLS)
def test_an_interrupted_delete_says_that_a_part_may_be_there(work, busybox, shell):
    (work / "half").mkdir()
    for name in "12":
        (work / "half" / name).write_bytes(b"")
    rm = '#!/bin/sh\nfor last; do :; done\nset -- "$last"/*\nunlink "$1"\n: >begun\nexec sleep 100\n'
    told = interrupted(work, shell, busybox, lambda f: f.delete("half").mkdir("c"), {"rm": rm})
    assert told == "./half is still there, all or a part of it\n"
    assert tree(work) == {"half": None, "half/2": b""}


def test_an_interrupted_move_to_another_disk_leaves_the_source_and_nothing_else(work, busybox):
    (work / "a").mkdir()
    df = '#!/bin/sh\nfor last; do :; done\necho head\necho "$last" "$last"\n'
    told = interrupted(work, "dash", busybox, lambda f: f.move("a", "../b").mkdir("c"), {"cp": HALF, "df": df})
    assert told == "not moved: ./a is still there, ../b is as it was\n"
    assert tree(work) == {"a": None}
    assert [path.name for path in work.parent.iterdir() if "xec" in path.name] == []


def test_an_interrupt_when_a_copy_has_got_its_name_says_that_it_is_done(work, busybox):
    (work / "a").write_bytes(b"A")
    mv = f'#!/bin/sh\n{shutil.which("mv")} "$@"\n: >begun\nexec sleep 100\n'
    told = interrupted(work, "dash", busybox, lambda f: f.copy("a", "b").mkdir("c"), {"mv": mv})
    assert told == "stopped when this was done\n"
    assert tree(work) == {"a": b"A", "b": b"A"}


def test_an_interrupt_before_anything_is_done_says_so(work, busybox):
    df = "#!/bin/sh\n: >begun\nexec sleep 100\n"
    (work / "a").write_bytes(b"A")
    told = interrupted(work, "dash", busybox, lambda f: f.move("a", "b").mkdir("c"), {"df": df})
    assert told == "stopped before this was done\n"
    assert tree(work) == {"a": b"A"}
