"""How a connection uses TCP."""

from __future__ import annotations

import logging
import socket

import asyncssh
import pytest

import xec_magic as xec
from xec_magic.transport.ssh.wire import acknowledging


class Connection:
    """As much of one as is asked."""

    def __init__(self, sock):
        self.sock, self.taken = sock, []

    def get_extra_info(self, name):
        return {"socket": self.sock}[name]

    def data_received(self, data, datatype=None):
        self.taken.append(data)


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="Linux alone has it")
def test_what_arrives_in_the_block_is_acknowledged_at_once():
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as sock:
        connection = Connection(sock)
        with acknowledging(connection):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
            connection.data_received(b"keys")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK)
        assert connection.data_received == Connection.data_received.__get__(connection)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        connection.data_received(b"later")
        assert not sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK)
        assert connection.taken == [b"keys", b"later"]


def test_a_connection_without_a_tcp_socket_is_left_alone():
    here, there = socket.socketpair()
    with here, there:
        for sock in (None, here):
            connection = Connection(sock)
            with acknowledging(connection):
                connection.data_received(b"x")
            assert connection.taken == [b"x"]


def test_after_the_first_command_a_connection_reads_and_writes_as_before(server):
    with xec.Executor() as ex:
        assert [str(ex.run(f"echo {number}", on=server.spec)) for number in range(2)] == ["0", "1"]
        (host,) = ex._engine.transports.ssh._hosts.values()
        (connection,) = host.links.connections.values()
        assert "data_received" not in vars(connection.asyncssh)
        assert type(connection.asyncssh._transport).__name__ == "_Gathering"


def test_the_first_commands_of_a_connection_may_be_several(server):
    with xec.Executor() as ex:
        runs = [ex.start(f"echo {number}", on=server.spec) for number in range(3)]
        for run in runs:
            ex._engine.begin(run)
        assert [str(run.result()) for run in runs] == ["0", "1", "2"]
        (host,) = ex._engine.transports.ssh._hosts.values()
        assert all("data_received" not in vars(each.asyncssh) for each in host.links.connections.values())


@pytest.mark.parametrize("cipher", ["aes128-gcm@openssh.com", "aes128-ctr", "aes128-cbc"])
def test_empty_packets_are_sent_only_where_the_cipher_needs_them(world, config, cipher, caplog):
    server = world.sshd(Ciphers=cipher)
    config(f"Host *\n Ciphers {cipher}\n")
    with caplog.at_level(logging.DEBUG, "asyncssh"), xec.Executor() as ex:
        asyncssh.set_debug_level(3)
        try:
            assert str(ex.run("echo in", on=server.spec)) == "in"
        finally:
            asyncssh.set_debug_level(1)
    assert "MSG_CHANNEL_REQUEST" in caplog.text
    assert ("MSG_IGNORE" in caplog.text) is cipher.endswith("cbc")
