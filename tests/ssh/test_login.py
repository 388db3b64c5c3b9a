"""The login: what is asked of the server, and what is read here for it."""

from __future__ import annotations

import logging
import os
import re

import pytest
from helpers.waiting import until
from world import generate_key, public_key

import xec_magic as xec
from xec_magic.transport.ssh import config as reader


@pytest.fixture(scope="module")
def server(world):
    """One that says what it is asked for."""
    return world.sshd(LogLevel="DEBUG1")


@pytest.fixture
def asked(server):
    """The ways to log in that have been asked for since, and what was said of keys."""
    file = server.config.with_suffix(".log")
    before = file.stat().st_size

    def read():
        text = file.read_bytes()[before:].decode()
        methods = re.findall(r" service ssh-connection method (\S+)", text)
        return methods, text.count("Postponed publickey")

    return read


def test_a_key_that_is_at_hand_is_used_at_once(ex, server, asked):
    assert str(ex.run("echo in", on=server.spec)) == "in"
    assert until(lambda: asked()[0])
    assert asked() == (["publickey"], 0)


def test_a_key_that_the_server_does_not_know_gives_way_to_the_next(ex, world, server, asked, config):
    other = generate_key(world.dir / "unknown_key")
    config(
        f"Host two-keys\n HostName {server.address}\n Port {server.port}\n IdentityFile {other}\n IdentityFile {world.key}\n"
    )
    assert str(ex.run("echo in", on=f"{world.user}@two-keys")) == "in"
    assert asked()[0] == ["publickey"] * 3  # signed; asked for, then signed
    config(f"Host two-keys\n HostName {server.address}\n Port {server.port}\n IdentityFile {other}\n")
    with xec.Executor() as again, pytest.raises(xec.AuthError, match=f"tried: {other}"):
        again.run("true", on=f"{world.user}@two-keys")


def test_where_no_key_may_sign_the_server_is_asked_as_ever(ex, world, server, asked, config):
    config(f"Host strict\n HostName {server.address}\n Port {server.port}\n CASignatureAlgorithms rsa-sha2-512\n")
    with pytest.raises(xec.AuthError, match="does not let"):
        ex.run("true", on=f"{world.user}@strict")
    assert until(lambda: asked()[0] == ["none"])


def test_a_key_file_that_has_changed_is_read_again(ex, world, server, config):
    path = world.dir / "changing_key"
    generate_key(path)
    config(f"Host changing\n HostName {server.address}\n Port {server.port}\n IdentityFile {path}\n")
    with pytest.raises(xec.AuthError):
        ex.run("true", on=f"{world.user}@changing")
    path.with_suffix(".pub").unlink()
    path.unlink()
    generate_key(path)
    known = world.authorized.read_text()
    world.authorized.write_text(f"{known}{public_key(path)}\n")
    try:
        assert str(ex.run("echo in", on=f"{world.user}@changing")) == "in"
    finally:
        world.authorized.write_text(known)


def test_a_configuration_that_has_changed_is_read_again(tmp_path):
    file = tmp_path / "config"
    file.write_text("# first\n\nPort 1\n")
    assert reader._lines(str(file)) == [(3, "Port 1")]
    assert reader._lines(str(file)) is reader._lines(str(file))
    file.write_text("Port 23\n")
    assert reader._lines(str(file)) == [(1, "Port 23")]
    read, write = os.pipe()
    os.write(write, b"Port 7\n")
    os.close(write)
    assert reader._lines(f"/proc/self/fd/{read}") == [(1, "Port 7")]
    os.close(read)


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("Host executive\n Port 3\n", False),
        ("Match host x exec true\n", True),
        ("include more\n", True),
        ("Match host x\n", False),
    ],
)
def test_it_is_known_whether_to_read_a_configuration_may_start_a_program(tmp_path, text, may):
    (tmp_path / "config").write_text(text)
    assert reader.may_run_programs([str(tmp_path / "config")]) is may


def test_who_wants_to_read_what_asyncssh_does_can(ex, server, caplog):
    with caplog.at_level(logging.INFO, "asyncssh"):
        ex.run("true", on=server.spec)
    assert f"Auth for user {server.world.user} succeeded" in caplog.text
