"""What a shell opens by name: in /proc, and as FIFOs."""

import os
import subprocess

import pytest

from xec_magic.transport import names


@pytest.fixture(params=["proc", "fifo"])
def slots(request, tmp_path):
    made = names.ProcNames() if request.param == "proc" else names.FifoNames(lambda: str(tmp_path))
    yield made
    made.close()
    assert os.listdir(tmp_path) == []


def sh(script):
    return subprocess.run(["sh", "-c", script], stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout


def test_what_is_written_under_a_name_arrives_and_ends(slots):
    read = slots.output("out")
    sh(f"echo hello >{slots.path('out')}")
    slots.shut("out")
    assert (os.read(read, 100), os.read(read, 100)) == (b"hello\n", b"")
    os.close(read)


def test_a_name_stays_and_means_a_new_pipe_each_time(slots):
    first = slots.output("out")
    os.set_blocking(first, True)
    path = slots.path("out")
    with subprocess.Popen(["sh", "-c", f"exec >{path}; echo a; read x; echo late"], stdin=subprocess.PIPE) as late:
        assert os.read(first, 100) == b"a\n"
        second = slots.output("out")
        os.set_blocking(second, True)
        assert slots.path("out") == path
        late.communicate(b"\n")
        sh(f"echo b >{path}")
        assert os.read(second, 100) == b"b\n"  # and nothing of the late one
        assert os.read(first, 100) == b"late\n"
    os.close(first)
    os.close(second)


def test_a_place_whose_name_needs_quotes_is_not_used(tmp_path, monkeypatch):
    (place := tmp_path / "it's a place").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = names.FifoNames(lambda: str(place))
    made.write("file", b"content\n")
    assert sh(f"cat {made.path('file')}") == b"content\n"
    made.close()
    assert os.listdir(tmp_path) == [place.name]


def test_orders_are_read(slots):
    write = slots.orders("feed")
    os.write(write, b"a line\n")
    assert sh(f"read x <{slots.path('feed')}; echo $x") == b"a line\n"
    os.close(write)


def test_a_file_is_read_from_its_begin_and_can_be_replaced(slots):
    slots.write("file", b"long content\n")
    assert sh(f"cat {slots.path('file')}; cat {slots.path('file')}") == b"long content\n" * 2
    slots.write("file", b"short\n")
    assert sh(f"cat {slots.path('file')}") == b"short\n"


def test_input_is_dev_null_until_something_is_given(slots, tmp_path):
    slots.read("in", None)
    assert sh(f"cat {slots.path('in')}") == b""
    given = os.memfd_create("given", os.MFD_CLOEXEC)
    os.write(given, b"data")
    os.lseek(given, 0, os.SEEK_SET)
    slots.read("in", given)
    assert sh(f"cat {slots.path('in')}") == b"data"
    slots.read("in", None)
    assert sh(f"cat {slots.path('in')}") == b""


def test_fifos_and_files_are_for_their_owner_alone(tmp_path):
    made = names.FifoNames(lambda: str(tmp_path))
    os.close(made.output("out"))
    made.write("file", b"x")
    [directory] = tmp_path.iterdir()
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}
    made.close()


def test_where_proc_is_not_ours_there_are_fifos(monkeypatch, tmp_path):
    assert isinstance(names.names_for(lambda: str(tmp_path)), names.ProcNames)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    made = names.names_for(lambda: str(tmp_path))
    assert isinstance(made, names.FifoNames)
    made.close()
