"""A host without room, or whose temporary directory runs no programs: what cannot be done says so, and nothing is done by half."""

from __future__ import annotations

import subprocess

import pytest
from helpers.marks import needs_root
from helpers.waiting import until

import xec_magic as xec
from xec_magic.transport.ssh.kept import session as session_module

pytestmark = needs_root

LONG = "# " + "x" * 1000 + "\n"
HUGE = LONG * 400  # by far more than there is room


@pytest.fixture
def small(world, monkeypatch):
    """Makes a file system with these options, where sessions have their directories; umounted in the end."""
    mounted = []

    def make(options):
        place = world.dir / f"small{len(mounted)}"
        place.mkdir(mode=0o777)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"mode=777,{options}", "tmpfs", place], capture_output=True, text=True
        )
        if done.returncode:
            place.rmdir()
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
        mounted.append(place)
        monkeypatch.setattr(session_module, "KEEPER_DIR", f"{place}/xec-")
        return place

    yield make
    for place in mounted:
        # What has just ended there may hold it for a moment.
        until(lambda: subprocess.run(["umount", place], capture_output=True).returncode == 0)  # noqa: B023 - called at once
        place.rmdir()


@pytest.mark.parametrize("shell", ["bash", "sh", "zsh"])
def test_a_session_whose_disk_is_full_runs_no_part_of_a_script_and_goes_on(world, server, small, shell):
    place = small("size=256k")
    ran = world.dir / world.user / "ran"
    with xec.Executor() as ex:
        session = ex.using(session="s", shell=shell, on=server.spec)
        session.run("a=5")
        with (place / "fill").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))
        for options in ({}, {"env": {"B": "1"}}, {"stdin": "input"}):
            with pytest.raises(xec.NonZeroExit, match="exit code 126") as caught:
                session.run(f": >{ran}\n{HUGE}echo end", **options)
            assert caught.value.result.stdout == ""
            assert caught.value.result.stderr == (
                f"xec: not run: session s on {server.spec} has no room for the script in {place} (disk full?)\n"
            )
        assert not ran.exists()
        (place / "fill").unlink()
        assert session.run(f"{LONG}echo again $a").stdout == "again 5\n"
        assert session.run("cat", stdin="input").stdout == "input"
    assert until(lambda: not list(place.iterdir()))


@pytest.mark.parametrize("options", [{}, {"worker": True}, {"session": "s"}, {"session": "s", "shell": "sh"}])
def test_where_a_temporary_directory_runs_no_programs_all_works(ex, world, small, options):
    place = small("noexec")
    server = world.sshd(SetEnv=f"TMPDIR={place}")
    assert ex.run("cat; echo out", on=server.spec, stdin="in ", **options).stdout == "in out\n"
    assert ex.run(f"{LONG}{HUGE}echo out", on=server.spec, **options).stdout == "out\n"
    ex._engine.ssh_call(lambda ssh: ssh.close(1))
    assert until(lambda: not list(place.iterdir()))


@pytest.mark.parametrize("checksum", [False, True])
def test_a_tree_that_finds_no_room_leaves_whole_files_only(world, server, small, checksum):
    place = small("size=256k")
    source = world.dir / "source"
    source.mkdir()
    for number in range(40):
        (source / f"f{number}").write_bytes(b"%d" % (number % 10) * 8000)
    (source / "big").write_bytes(b"b" * 10_000_000)  # of such a size a part is kept otherwise
    try:
        with pytest.raises(xec.CopyError, match=f"{server.spec}: {place}/.*: no space left on device") as caught:
            xec.copy(str(source), f"{server.spec}:{place}/", checksum=checksum)
        assert len(str(caught.value).splitlines()) == 1
        for path in [path for path in place.rglob("*") if path.is_file()]:
            assert path.read_bytes() == (source / path.name).read_bytes()
    finally:
        subprocess.run(["rm", "-r", source], check=True)
