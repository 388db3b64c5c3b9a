"""Ports forwarded through real servers, and the magic that opens, lists and closes them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import socketserver
import struct
import threading

import pytest
from helpers.cells import said
from helpers.ports import free_port
from helpers.waiting import until
from IPython.core.completer import provisionalcompleter

import xec_magic as xec
from xec_magic import runtime
from xec_magic.display.tunnels import render_tunnels
from xec_magic.forward import read_forward

pytestmark = pytest.mark.usefixtures("own_runtime")


@pytest.fixture(autouse=True)
def _no_tunnel_is_left():
    yield
    from xec_magic.tunnels import close_tunnels, tunnels

    close_tunnels(["all"])
    assert tunnels() == []


class Shout(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(1000):
            self.request.sendall(data.upper())


@pytest.fixture(scope="module")
def service():
    """A port of this machine, which is the host as well, whose service answers in capitals."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Shout)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def said_through(port, text=b"hello", address="127.0.0.1"):
    with socket.create_connection((address, port), 10) as link:
        link.sendall(text)
        return link.recv(1000)


def said_through_socks(port, service):
    with socket.create_connection(("127.0.0.1", port), 10) as link:
        link.sendall(b"\x05\x01\x00")
        assert link.recv(2) == b"\x05\x00"
        link.sendall(b"\x05\x01\x00\x03\x09localhost" + struct.pack(">H", service))
        assert link.recv(100)[:2] == b"\x05\x00"
        link.sendall(b"hello")
        return link.recv(100)


def refuses(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return True
    return False


def test_a_local_port_leads_through_the_host_and_is_closed_with_its_block(server, service):
    with xec.tunnel(server.spec, f"0:localhost:{service}") as tunnel:
        assert said_through(tunnel.port) == b"HELLO"
        assert said_through(tunnel.port, b"again") == b"AGAIN"
        assert (tunnel.state, tunnel.connections, tunnel.kind, tunnel.bind) == ("open", 2, "local", "127.0.0.1")
        assert repr(tunnel) == (
            f"<Tunnel {server.spec}:{tunnel.port}: 127.0.0.1:{tunnel.port} → {server.spec} localhost:{service}, open>"
        )
    assert tunnel.state == "closed"
    assert until(lambda: refuses(tunnel.port))
    tunnel.close()


@pytest.mark.parametrize("ends", ["close", "runtime"])
def test_what_goes_through_is_cut_when_it_closes(server, service, ends):
    tunnel = xec.tunnel(server.spec, f"0:localhost:{service}")
    with socket.create_connection(("127.0.0.1", tunnel.port), 10) as link:
        link.sendall(b"a")
        assert link.recv(10) == b"A"
        tunnel.close() if ends == "close" else runtime.close()
        link.settimeout(10)
        with contextlib.suppress(ConnectionError):
            assert link.recv(10) == b""
    assert until(lambda: refuses(tunnel.port))
    assert tunnel.state == "closed"


def test_a_remote_port_leads_here(server, service):
    with xec.tunnel(server.spec, remote=f"0:127.0.0.1:{service}") as tunnel:
        assert tunnel.port
        script = f"exec 3<>/dev/tcp/127.0.0.1/{tunnel.port}; echo hello >&3; head -1 <&3"
        assert xec.run(script, on=server.spec).lines() == ["HELLO"]
        assert tunnel.connections is None
        assert tunnel.way == f"{server.spec} localhost:{tunnel.port} → 127.0.0.1:{service}"
    assert until(lambda: refuses(tunnel.port))


def test_a_socks_proxy_leads_wherever_its_user_says(server, service):
    with xec.tunnel(server.spec, socks=0) as tunnel:
        assert said_through_socks(tunnel.port, service) == b"HELLO"
        assert tunnel.connections == 1


async def test_it_is_an_asynchronous_context_manager_too(server, service):
    async with xec.tunnel(server.spec, f"0:localhost:{service}") as tunnel:
        assert tunnel.state == "open"
    assert tunnel.state == "closed"


test_it_is_an_asynchronous_context_manager_too = pytest.mark.anyio(test_it_is_an_asynchronous_context_manager_too)


def test_a_lost_connection_is_shown_and_the_port_listens_no_more(world, service):
    other = world.sshd()
    tunnel = xec.tunnel(other.spec, f"0:localhost:{service}")
    assert said_through(tunnel.port) == b"HELLO"
    for pid in other.sessions():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert until(lambda: tunnel.state == "lost")
    assert until(lambda: refuses(tunnel.port))
    assert "lost" in render_tunnels([tunnel])["text/plain"]
    again = xec.tunnel(other.spec, f"0:localhost:{service}", name=tunnel.name)  # the name is free again
    assert said_through(again.port) == b"HELLO"


@pytest.mark.parametrize("kind", ["local", "socks"])
def test_who_cuts_his_connection_before_it_is_through_leaves_none_on_the_host(world, service, kind):
    other = world.sshd()
    tunnel = xec.tunnel(other.spec, **({"local": f"0:localhost:{service}"} if kind == "local" else {"socks": 0}))

    def held():
        """What the host holds open for the tunnel."""
        return max(len(os.listdir(f"/proc/{pid}/fd")) for pid in other.sessions())

    before = held()
    hello = b"\x05\x01\x00\x05\x01\x00\x03\x09localhost" + struct.pack(">H", service) if kind == "socks" else b"hello"
    for _ in range(20):
        link = socket.create_connection(("127.0.0.1", tunnel.port), 10)
        link.sendall(hello)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # cut, not ended
        link.close()
    if kind == "local":
        assert until(lambda: tunnel.connections == 20)
    # Behind all of them: a tunnel that closes while Python 3.11 takes connections leaves those to the garbage collector, which warns.
    assert (said_through(tunnel.port) if kind == "local" else said_through_socks(tunnel.port, service)) == b"HELLO"
    assert until(lambda: held() <= before)
    assert tunnel.state == "open"


def test_a_port_in_use_is_told_on_either_side(server, service):
    with pytest.raises(
        xec.TunnelError, match=rf"^port {service} of 127\.0\.0\.1 is in use; choose another one, or 0 for any"
    ):
        xec.tunnel(server.spec, f"{service}:localhost:80")
    taken = xec.tunnel(server.spec, remote=f"0:127.0.0.1:{service}")
    with pytest.raises(
        xec.TunnelError, match=f"the server does not listen on its port {taken.port}: it is in use there, or"
    ):
        xec.tunnel(server.spec, remote=f"{taken.port}:localhost:80")
    with pytest.raises(xec.TunnelError, match=r"192\.0\.2\.1 is no address of this machine"):
        xec.tunnel(server.spec, "192.0.2.1:0:localhost:80")
    assert xec.run("echo fine", on=server.spec).lines() == ["fine"]


def test_a_server_that_forwards_nothing_is_told(world, service):
    other = world.sshd(AllowTcpForwarding="no")
    tunnel = xec.tunnel(other.spec, f"0:localhost:{service}")
    with contextlib.suppress(ConnectionError):
        assert said_through(tunnel.port) == b""
    assert until(lambda: tunnel.trouble)
    assert tunnel.trouble == f"localhost:{service}: the server does not allow it (AllowTcpForwarding, PermitOpen)"
    with pytest.raises(xec.TunnelError, match="AllowTcpForwarding"):
        xec.tunnel(other.spec, remote=f"0:localhost:{service}")


def test_a_place_where_nobody_listens_is_told(server):
    port = free_port()
    tunnel = xec.tunnel(server.spec, f"0:localhost:{port}")
    with contextlib.suppress(ConnectionError):
        assert said_through(tunnel.port) == b""
    assert until(lambda: tunnel.trouble)
    assert f"localhost:{port}: " in tunnel.trouble
    assert tunnel.state == "open"


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        ("local", "no", "local: 'no' names no ports; write PORT, or"),
        ("local", "1:2", "names no ports"),
        ("local", 70000, "there is no port 70000"),
        ("local", 0, "a free port needs a place to lead to"),
        ("socks", "1080:host:80", "says where it leads to, which its user does"),
        ("remote", True, "True is no port"),
        ("local", "80:host:99999", "there is no port 99999"),
    ],
)
def test_a_wrong_forward_is_refused_in_one_line(kind, given, words):
    with pytest.raises(xec.OptionError, match=words):
        read_forward(kind, given)


def test_it_must_be_clear_what_to_forward():
    for options in ({}, {"local": 1, "socks": 2}):
        with pytest.raises(xec.OptionError, match="say what to forward by one of local, remote and socks"):
            xec.tunnel("u@h", **options)
    with pytest.raises(xec.OptionError, match="a tunnel leads through a host, which local is not"):
        xec.tunnel("local", 80)


def test_the_magic_opens_lists_and_closes(shell, server, service):
    assert said(shell, "%xec_tunnel")[0] == "[xec] no tunnel is open"
    _, done = said(shell, f"t = %xec_tunnel {server.spec} -L 0:localhost:{service} --name web --out kept")
    assert done.success
    tunnel = shell.user_ns["t"]
    assert shell.user_ns["kept"] is tunnel
    assert said_through(tunnel.port) == b"HELLO"
    listed, _ = said(shell, "%xec_tunnel")
    way = f"127.0.0.1:{tunnel.port} → {server.spec} localhost:{service}"
    assert re.split(r"  +", listed.splitlines()[1]) == ["web", "local", way, "open", "1"]
    with provisionalcompleter():
        for text, found in [("close w", ["web"]), ("--so", ["--socks"]), ("clo", ["close"])]:
            line = f"%xec_tunnel {text}"
            assert [each.text for each in shell.Completer.completions(line, len(line))] == found
    assert said(shell, "%xec_tunnel close web")[0] == "[xec] closed web"
    assert tunnel.state == "closed"
    said(shell, f"%xec_tunnel {server.spec} --socks 0\n%xec_tunnel {server.spec} --remote 0:localhost:{service}")
    assert said(shell, "%xec_tunnel close all")[0].count("[xec] closed") == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("close", "name a tunnel, or write all"),
        ("close nope", "there is no tunnel 'nope'; there is none"),
        ("list now", "takes no options and nothing more"),
        ("u@h", "say what to forward by one of"),
        ("u@h 80 81", "takes a host and one port, but '81' stands there, too"),
        ("u@h 80 --local 81", "the port stands there twice"),
        ("u@h --lokal 81", r"there is no option --lokal; did you mean --local\?"),
        ("nohost 80", "there is no target 'nohost'"),
        ("u@h 80 --out _", "IPython itself uses that name"),
    ],
)
def test_a_wrong_line_is_refused_in_one_line(shell, line, words):
    text, done = said(shell, f"%xec_tunnel {line}")
    assert type(done.error_in_exec).__name__ == "UsageError"
    assert re.search(words, text), text
