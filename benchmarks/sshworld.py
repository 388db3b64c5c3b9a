"""Servers, keys and links for `bench_ssh.py`: real sshd in a network namespace of its own, where there is nothing but loopback.

One sshd answers on every address of 127.0.0.0/8 there, so it plays hundreds of hosts, and nobody outside can reach it. Behind a
link of `delayed.py` each of them is as far away as is asked for.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "tests" / "ssh"), str(HERE.parent / "tests")]

from world import World, generate_key, public_key  # noqa: E402 - behind its path

INSIDE = "XEC_BENCH_SSH_INSIDE"


def enter():
    """Go on in a network namespace of one's own; needs root, `unshare` and `ip`."""
    if os.environ.get(INSIDE):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    if os.getuid() or not shutil.which("unshare") or not shutil.which("ip"):
        sys.exit("bench_ssh.py needs root, unshare and ip: it plays hundreds of hosts in a network of its own")
    sys.stdout.flush()
    os.execvpe("unshare", ["unshare", "--net", sys.executable, *sys.argv], {**os.environ, INSIDE: "1"})


class Far:
    """A link to a port that delays; all addresses of loopback lead through it.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, to, rtt_ms):
        self.process = subprocess.Popen(
            [sys.executable, HERE / "delayed.py", "0.0.0.0", str(to), str(rtt_ms / 2)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.port = int(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


class Echo:
    """What measures how long a round trip really takes, through a link of the same kind."""

    def __init__(self, rtt_ms):
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()
        self._link = Far(self._listener.getsockname()[1], rtt_ms)
        self._socket = socket.create_connection(("127.0.0.1", self._link.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _serve(self):
        near, _ = self._listener.accept()
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := near.recv(100):
            near.sendall(data)

    def trip(self):
        begun = time.perf_counter()
        self._socket.sendall(b"x")
        self._socket.recv(1)
        return time.perf_counter() - begun

    def close(self):
        self._socket.close()
        self._listener.close()
        self._link.close()


class Bench:
    """All of it, for a `with` block."""

    def __enter__(self):
        self._dir = tempfile.mkdtemp(prefix="xec-bench-ssh-")
        self.world = World(Path(self._dir))
        self.key = str(self.world.key)
        self.user = self.world.user  # root's own start-up files may be slow, and would be all that is measured
        everywhere = {"ListenAddress": "0.0.0.0"}
        self.server = self.world.sshd(known=False, MaxStartups="2000:30:4000", **everywhere)
        self.strict = self.world.sshd(known=False, MaxStartups="10:30:100", **everywhere)
        self.links = {0: self.server.port}
        self._far = []
        self.config = str(self.world.config)
        self.world.config.write_text(
            f"Host *\n User {self.user}\n IdentityFile {self.key}\n IdentitiesOnly yes\n UserKnownHostsFile {self.world.known_hosts}\n"
            " StrictHostKeyChecking yes\n LogLevel ERROR\n"
        )
        self._know(self.server.port, self.strict.port)
        self._home, os.environ["HOME"] = os.environ.get("HOME", "/root"), str(self.world.home)
        os.environ.pop("SSH_AUTH_SOCK", None)
        return self

    def _know(self, *ports):
        with self.world.known_hosts.open("a") as file:
            for port in ports:
                file.write(f"[127.*]:{port} {public_key(self.world.host_key)}\n")

    def port(self, rtt_ms):
        """Where to connect, so that a round trip takes so long."""
        if rtt_ms not in self.links:
            link = Far(self.server.port, rtt_ms)
            self._far.append(link)
            self.links[rtt_ms] = link.port
            self._know(link.port)
        return self.links[rtt_ms]

    def other_key(self):
        return generate_key(self.world.dir / f"key_{time.monotonic_ns()}")

    def __exit__(self, *exc):
        for link in self._far:
            with contextlib.suppress(OSError):
                link.close()
        self.world.close()
        os.environ["HOME"] = self._home
        shutil.rmtree(self._dir, ignore_errors=True)


def addresses(count):
    """Loopback addresses, each a host."""
    return [f"127.7.{number // 250}.{number % 250 + 1}" for number in range(count)]
