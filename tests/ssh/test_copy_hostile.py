"""Copies from and to servers that lie, spoil or refuse: asyncssh's server, scripted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

import asyncssh
import pytest
from scripted import serving

import xec_magic as xec
from xec_magic import runtime
from xec_magic.display.copyview import copy_bundle
from xec_magic.engine.partfiles import KEEP_BYTES

NAUGHTY = b"\x1b[2J<script>alert(1)\xe2\x80\xae"


LIE = object()


class Lying(asyncssh.SFTPServer):
    """Lists whatever the test wants below `/lies`, and has a file behind every name."""

    lies: ClassVar[list[tuple[bytes, str]]] = []
    spoils = full = False
    links: ClassVar[dict[bytes, bytes]] = {}
    more_than_asked = False

    def _attrs(self, kind):
        kinds = {
            "file": asyncssh.FILEXFER_TYPE_REGULAR,
            "directory": asyncssh.FILEXFER_TYPE_DIRECTORY,
            "link": asyncssh.FILEXFER_TYPE_SYMLINK,
        }
        modes = {"file": 0o100644, "directory": 0o040755, "link": 0o120777}
        return asyncssh.SFTPAttrs(type=kinds[kind], size=4, permissions=modes[kind], atime=1, mtime=1)

    def _kind(self, path):
        if not path.startswith(b"/lies"):
            return None
        if path.rstrip(b"/") == b"/lies" or path.endswith(b"folder"):
            return "directory"
        return "link" if os.path.basename(path) in self.links else "file"

    def lstat(self, path):
        kind = self._kind(path)
        return self._attrs(kind) if kind else super().lstat(path)

    def stat(self, path):
        kind = self._kind(path)
        return self._attrs(kind) if kind else super().stat(path)

    async def scandir(self, path):
        if path.rstrip(b"/") == b"/lies":
            for name, kind in self.lies:
                yield asyncssh.SFTPName(name, b"", self._attrs(kind))
        elif path.startswith(b"/lies"):
            yield asyncssh.SFTPName(b"inside", b"", self._attrs("file"))
        else:
            async for name in super().scandir(path):
                yield name

    def readlink(self, path):
        return self.links.get(os.path.basename(path)) or super().readlink(path)

    def open(self, path, pflags, attrs):
        return LIE if path.startswith(b"/lies") else super().open(path, pflags, attrs)

    def close(self, file):
        return None if file is LIE else super().close(file)

    def read(self, file, offset, size):
        if file is LIE:
            return (b"evil" * (4 if self.more_than_asked else 1))[offset:]
        return super().read(file, offset, size)

    def write(self, file, offset, data):
        if self.full:
            raise asyncssh.SFTPFailure("Failure")
        return super().write(file, offset, bytes([data[0] ^ 1]) + data[1:] if self.spoils else data)

    def statvfs(self, path):
        if not self.full:
            return super().statvfs(path)
        return asyncssh.SFTPVFSAttrs(bsize=4096, frsize=4096, blocks=10, bfree=0, bavail=0, files=9, ffree=9, favail=9)


@pytest.fixture(scope="module")
def liar(world):
    """`HOST` of a server whose SFTP is `Lying`, in a loop of its own."""
    with serving(world, sftp_factory=Lying) as host:
        yield host
        runtime.close()


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "victim").mkdir()
    for name, value in [("lies", []), ("spoils", False), ("full", False), ("links", {}), ("more_than_asked", False)]:
        monkeypatch.setattr(Lying, name, value)


def below(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))


def test_names_that_lead_out_of_the_destination_are_not_written(liar, tmp_path):
    bad = [b"../victim/a", b"/etc/xec-evil", b"..", b".", b"", b"a/b", b"good/../../victim/b", b"n\0ul"]
    Lying.lies = [
        *((name, "file") for name in bad),
        (b"..", "directory"),
        (b"../victim/folder", "directory"),
        (b"good", "file"),
    ]
    done = xec.copy(f"{liar}:/lies", "in/got", check=False)
    assert below(tmp_path) == ["in", "in/got", "in/got/good", "victim"]
    assert not Path("/etc/xec-evil").exists()
    reasons = {trouble.reason for trouble in done[0].failures}
    assert reasons == {"no file can have this name, so it is not written"}
    assert len(done[0].failures) == len(bad) - 2 + 1  # `.` and `..` are in each listing
    Lying.lies = [(b"q/../../victim/x1", "file"), (b"x2", "file")]
    xec.copy(f"{liar}:/lies/*", "in/pattern/")
    assert below(tmp_path / "in" / "pattern") == ["x2"]
    assert below(tmp_path / "victim") == []


def test_a_link_that_becomes_a_directory_is_no_way_out(liar, tmp_path):
    Lying.links = {b"xfolder": os.fsencode(tmp_path / "victim")}
    Lying.lies = [(b"xfolder", "link"), (b"xfolder", "directory")]
    done = xec.copy(f"{liar}:/lies", "in/got", check=False)
    assert [trouble.reason for trouble in done[0].failures] == ["the host names it twice"]
    assert below(tmp_path / "victim") == []
    assert os.readlink(tmp_path / "in/got/xfolder") == str(tmp_path / "victim")
    Lying.lies = [(b"xfolder", "directory")]  # the next call, and now it is a directory
    done = xec.copy(f"{liar}:/lies", "in/got", check=False)
    assert "a link is there, where a directory is to be" in str(done[0].failures[0])
    assert below(tmp_path / "victim") == []


def test_hostile_names_do_nothing_in_what_is_shown(liar):
    Lying.lies = [(NAUGHTY + b"/", "file"), (NAUGHTY, "file"), (NAUGHTY, "file")]
    done = xec.copy(f"{liar}:/lies", "in/got", check=False)
    with pytest.raises(xec.CopyError) as caught:
        done.check()
    bundle = copy_bundle(done)
    for text in (str(caught.value), bundle["text/plain"], repr(done)):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "<script>" not in bundle["text/html"]
    assert "\\x1b[2J&lt;script&gt;" in bundle["text/html"]


def test_more_than_was_asked_for_is_not_written(liar):
    Lying.lies, Lying.more_than_asked = [(b"a", "file")], True
    with pytest.raises(xec.CopyError, match="the host sent more than was asked for"):
        xec.copy(f"{liar}:/lies/a", "in/a")
    assert below("in") == []


def test_what_arrives_spoilt_does_not_get_its_name_when_digests_are_compared(liar, tmp_path):
    (tmp_path / "a").write_text("right")
    Lying.spoils = True
    with pytest.raises(
        xec.CopyError, match="/a on this machine: what has arrived has another digest, so it is not kept"
    ):
        xec.copy("a", f"{liar}:{tmp_path}/victim/a", checksum=True)
    assert below("victim") == []
    xec.copy("a", f"{liar}:{tmp_path}/victim/a")
    assert (tmp_path / "victim/a").read_text() == "sight"


@pytest.mark.parametrize("size", [1000, KEEP_BYTES + 1000])
def test_a_full_disk_is_asked_for_where_the_protocol_has_no_word_for_it(liar, tmp_path, size):
    (tmp_path / "a").write_bytes(b"x" * size)
    Lying.full = True
    with pytest.raises(xec.CopyError, match="victim/a: no space left on device$"):
        xec.copy("a", f"{liar}:{tmp_path}/victim/a")
    assert below("victim") == []


def test_a_server_that_cannot_replace_at_once_does_it_in_two_steps(liar, tmp_path, monkeypatch):
    async def unsupported(self, old, new):
        raise asyncssh.SFTPOpUnsupported("POSIX rename not supported")

    monkeypatch.setattr(asyncssh.sftp.SFTPClientHandler, "posix_rename", unsupported)
    (tmp_path / "a").write_text("new")
    (tmp_path / "victim" / "a").write_text("old")
    for _ in range(2):
        xec.copy("a", f"{liar}:{tmp_path}/victim/a", force=True)
    assert (tmp_path / "victim" / "a").read_text() == "new"
    assert below("victim") == ["a"]


def test_from_host_to_host_it_is_clear_on_which_of_them_something_is_wrong(liar, server):
    with pytest.raises(xec.CopyError, match=f"{server.spec}:nope: no such file or directory"):
        xec.copy(f"{server.spec}:nope", f"{liar}:/tmp/x")
    with pytest.raises(xec.CopyError, match=f"{liar}:/no/such: no such directory"):
        xec.copy(f"{server.spec}:/etc/passwd", f"{liar}:/no/such/x")


def test_times_that_the_protocol_cannot_say_are_as_near_as_it_can(liar, tmp_path):
    (tmp_path / "old").write_text("x")
    os.utime(tmp_path / "old", (-5, -5))
    xec.copy("old", f"{liar}:{tmp_path}/victim/old")
    assert (tmp_path / "victim" / "old").stat().st_mtime == 0
