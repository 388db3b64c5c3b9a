"""The first words of a server: one that is full is tried again, one that speaks no SSH is named at once."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest
from helpers.waiting import until

import xec_magic as xec
from xec_magic.transport.ssh import connect as connect_module
from xec_magic.transport.ssh.greeting import Greeting

HTTP = b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n<html>"


@contextlib.contextmanager
def speaking(words, *, closes):
    """A port that says this to everybody, once it was told something, and then closes or keeps the connection; and how many came."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=20)
    met = []

    def serve():
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            met.append(link)
            with contextlib.suppress(OSError):
                link.recv(1000)
                link.sendall(words)
                if closes:
                    link.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1], met
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for link in met:
            link.close()


def hold(server, places):
    """Connections that take so many places of a server and say nothing."""
    held = []
    while len(held) < places:
        link = socket.create_connection((server.address, server.port), 10)
        if link.recv(4) == b"SSH-":
            held.append(link)
        else:  # who came just before is not gone yet
            link.close()
    return held


@pytest.fixture
def tries(monkeypatch):
    """Counts what is tried; without pauses between the tries."""
    counted = []
    connect = connect_module.asyncssh.connect

    def counting(**arguments):
        counted.append(arguments["host"])
        return connect(**arguments)

    monkeypatch.setattr(connect_module.asyncssh, "connect", counting)
    monkeypatch.setattr(connect_module, "RETRY_S", 0.001)
    monkeypatch.setattr(connect_module, "RETRY_MOST_S", 0.02)
    return counted


@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (HTTP, "says 'HTTP/1.1 400 Bad Request'"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "sends what is no text"),  # what answers is TLS
        (b"220 mail ESMTP\r\n", "says '220 mail ESMTP'"),
        (bytes(range(128, 256)) * 8, "sends what is no text"),
        (b"hello \x1b[31m\r\n", r"says|sends what is no text"),
    ],
)
def test_what_speaks_no_ssh_is_named_and_not_tried_again(ex, closes, words, said):
    with speaking(words, closes=closes) as (port, met):
        with pytest.raises(xec.ConnectError, match=f"u@127.0.0.1:{port}: .* is no SSH server: it ({said})") as caught:
            ex.run("true", on=f"u@127.0.0.1:{port}")
        assert len(met) == 1
    assert len(str(caught.value).splitlines()) == 1
    assert "\x1b" not in str(caught.value)
    assert ex._engine.ssh_rows() == []


@contextlib.contextmanager
def greeting(world, server, pieces, user):
    """A host named `greeting`, which says this to one connection and then what the server says."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        near, _ = listener.accept()
        far = socket.create_connection((server.address, server.port))
        for piece in pieces:
            near.sendall(piece)

        def pump(source, sink):
            with contextlib.suppress(OSError):
                while data := source.recv(65536):
                    sink.sendall(data)
            for each in (source, sink):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

        pumps = [threading.Thread(target=pump, args=way) for way in ((near, far), (far, near))]
        for each in pumps:
            each.start()
        for each in pumps:
            each.join()
        near.close()
        far.close()

    thread = threading.Thread(target=serve)
    thread.start()
    port = listener.getsockname()[1]
    world.config.write_text(
        f"Host greeting\n HostName 127.0.0.1\n Port {port}\n User {user}\n HostKeyAlias [{server.address}]:{server.port}\n"
    )
    try:
        yield
    finally:
        world.config.write_text("")
        listener.close()
        thread.join()


def test_lines_before_the_version_are_no_fault(world, server):
    """A server may greet before it says its version, in as many pieces as it likes."""
    with greeting(world, server, [b"Welc", b"ome\r\nSSH or nothing\r\n"], world.user), xec.Executor() as own:
        assert str(own.run("echo in", on="greeting")) == "in"


def test_a_server_that_says_that_it_is_full_and_then_refuses_the_login_is_not_asked_again(world, server, tries):
    with greeting(world, server, [b"Exceeded MaxStartups\r\n"], "nobody-there"), xec.Executor() as own:
        with pytest.raises(xec.AuthError):
            own.run("true", on="greeting")
        assert len(tries) == 1


def test_the_time_limit_of_a_login_is_as_it_was_when_the_version_has_come():
    told = []

    class Connection:
        _inpbuf = b""

        def __init__(self):
            self._recv_handler = self._recv_version

        def _recv_version(self):
            line, _, self._inpbuf = self._inpbuf.partition(b"\n")
            if line.startswith(b"SSH-"):
                self._recv_handler = lambda: False
            return bool(self._inpbuf)

    connection, greeting = Connection(), Greeting(told.append)
    greeting.listen(connection)
    connection._inpbuf = b"hello\r\nSSH-2.0-x\r\n\0\0\1"
    assert connection._recv_handler()
    assert told == [True]
    assert connection._recv_handler()
    assert told == [True, False]
    assert greeting.words == ""


def test_a_server_that_is_full_is_tried_until_there_is_a_place(ex, world, tries):
    server = world.sshd(MaxStartups="2:100:2")
    held = hold(server, 2)
    run = ex.start("echo in", on=server.spec)
    ex._engine.begin(run)
    assert until(lambda: len(tries) > connect_module.TRIES + 3)
    for link in held:
        link.close()
    assert str(run.result(30)) == "in"


def test_a_server_that_stays_full_is_named_with_its_own_words(ex, world, tries, monkeypatch):
    monkeypatch.setattr(connect_module, "FULL_S", 0.1)
    server = world.sshd(MaxStartups="2:100:2")
    held = hold(server, 2)
    with pytest.raises(
        xec.ConnectError, match=r"no further connection now \(MaxStartups\): it says 'Exceeded MaxStartups', for 0.1 s"
    ):
        ex.run("true", on=server.spec)
    for link in held:
        link.close()
    assert str(ex.run("echo in", on=server.spec)) == "in"
