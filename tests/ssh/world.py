"""A world of real OpenSSH servers on loopback for tests: own host keys, accounts, configuration and known_hosts."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from helpers.loginshells import LoginShells
from helpers.ports import free_port
from helpers.waiting import until

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
IS_ROOT = os.getuid() == 0


def generate_key(path: Path, passphrase: str = "", kind: str = "ed25519") -> Path:
    path.unlink(missing_ok=True)  # of the same test, which is run once more: it would be asked for
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", path], check=True)
    return path


def public_key(path: Path) -> str:
    return " ".join(path.with_name(path.name + ".pub").read_text().split()[:2])


def fingerprint(path: Path) -> str:
    listing = subprocess.run(
        ["ssh-keygen", "-l", "-f", path.with_name(path.name + ".pub")], check=True, capture_output=True, text=True
    )
    return listing.stdout.split()[1]


def children(pid: int) -> list[int]:
    """All living descendants of a process."""
    found, todo = [], [pid]
    while todo:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{(parent := todo.pop())}/task"):
                kids = Path(f"/proc/{parent}/task/{task}/children").read_text().split()
                found += map(int, kids)
                todo += map(int, kids)
    return found


def _name_of(pid: int) -> str:
    """What a process is called; nothing when it has gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text()
    return ""


def environ_has(text: str) -> list[int]:
    """Processes with `text` in their environment."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with contextlib.suppress(OSError):
                if text.encode() in Path(f"/proc/{entry}/environ").read_bytes():
                    found.append(int(entry))
    return found


class Sshd:
    """One sshd on a loopback address.

    Args:
        world: Where it is.
        also: Further addresses; sshd listens on 16 at most.
        settings: For `sshd_config`.
    """

    def __init__(self, world: World, also: Sequence[str] = (), **settings: object) -> None:
        self.world = world
        self.address = str(settings.pop("ListenAddress", "127.0.0.1"))
        self.port = int(settings.pop("Port", 0) or free_port())
        self.host_key = Path(str(settings.pop("HostKey", world.host_key)))
        self.config = world.dir / f"sshd_{self.port}"
        values = {
            "Port": self.port, "ListenAddress": self.address, "HostKey": self.host_key, "PidFile": "none",
            "AuthorizedKeysFile": world.authorized, "StrictModes": "no", "PermitRootLogin": "yes",
            "PasswordAuthentication": "no", "KbdInteractiveAuthentication": "no", "UsePAM": "no", "UseDNS": "no",
            "PrintMotd": "no", "LogLevel": "ERROR", "MaxStartups": "500:30:1000", "Subsystem": "sftp internal-sftp",
            **settings,
        }  # fmt: skip
        lines = [*values.items(), *(("ListenAddress", address) for address in also)]
        self.config.write_text("".join(f"{name} {value}\n" for name, value in lines))
        self.start()

    def start(self) -> None:
        self.log = open(self.config.with_suffix(".log"), "ab")
        self.process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", self.config], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )
        until(self.answers, why=lambda: self.config.with_suffix(".log").read_text())

    def answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self.address, self.port), 1) as link:
            return link.recv(4) == b"SSH-"
        return False

    @property
    def spec(self) -> str:
        return f"{self.world.user}@{self.address}:{self.port}"

    def sessions(self) -> list[int]:
        """Its session processes and what they run."""
        return children(self.process.pid)

    def kill_connections(self, *, daemon: bool = False) -> None:
        """Kill what serves its connections, with `daemon` the daemon as well, and nothing of what the commands are."""
        # All are stopped before one is killed: none is told of another's end and leaves by itself, and none is made meanwhile.
        os.kill(self.process.pid, signal.SIGSTOP)
        family = [pid for pid in self.sessions() if _name_of(pid).startswith("sshd")]
        for sign in (signal.SIGSTOP, signal.SIGKILL):
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, sign)
        os.kill(self.process.pid, signal.SIGKILL if daemon else signal.SIGCONT)
        if daemon:
            self.process.wait()

    def stop(self) -> None:
        """End the daemon, its sessions and what they run, by pid."""
        family = [self.process.pid, *self.sessions()]
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()


class World:
    """Keys, an account and servers; everything ends with `close`."""

    def __init__(self, directory: Path) -> None:
        self.dir = directory
        self.dir.chmod(0o755)
        self.host_key = generate_key(directory / "host_ed25519")
        self.key = generate_key(directory / "id_ed25519")
        self.authorized = directory / "authorized_keys"
        self.authorized.write_text(public_key(self.key) + "\n")
        self.zeros = directory / "zeros"  # what anybody may read; some machines keep /dev/zero for root
        with self.zeros.open("wb") as file:
            file.truncate(300_000_000)
        self.zeros.chmod(0o644)
        self.home = directory / "home"  # of who connects
        (self.home / ".ssh").mkdir(parents=True, mode=0o700)
        shutil.copy(self.key, self.home / ".ssh" / "id_ed25519")
        shutil.copy(f"{self.key}.pub", self.home / ".ssh" / "id_ed25519.pub")
        self.known_hosts = self.home / ".ssh" / "known_hosts"
        self.known_hosts.write_text("")
        self.config = self.home / ".ssh" / "config"
        self.config.write_text("")
        self.accounts: list[str] = []
        self.servers: list[Sshd] = []
        self.me = pwd.getpwuid(os.getuid()).pw_name
        if IS_ROOT:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.user = self.account() if IS_ROOT else self.me

    def account(self, shell: str = "/bin/bash") -> str:
        """A throw-away account with a home of its own; its password cannot be used, its keys can."""
        name = f"xect{secrets.token_hex(4)}"
        home = self.dir / name
        subprocess.run(["useradd", "-M", "-d", home, "-s", shell, "-p", "*", name], check=True)
        self.accounts.append(name)
        home.mkdir(mode=0o700)
        entry = pwd.getpwnam(name)
        os.chown(home, entry.pw_uid, entry.pw_gid)
        return name

    def sshd(self, *, known: bool = True, also: Sequence[str] = (), **settings: object) -> Sshd:
        server = Sshd(self, also, **settings)
        self.servers.append(server)
        if known:
            self.know(server)
        return server

    def know(self, server: Sshd, key: Path | None = None) -> None:
        with self.known_hosts.open("a") as file:
            file.write(f"[{server.address}]:{server.port} {public_key(key or server.host_key)}\n")

    def close(self) -> None:
        for server in self.servers:
            server.stop()
        for name in self.accounts:
            for _ in range(20):
                done = subprocess.run(["userdel", "-f", name], capture_output=True)
                if done.returncode == 0:
                    break
                time.sleep(0.1)


class Link:
    """A TCP proxy to a server that can be delayed, go silent without a word, or be cut.

    Args:
        to: Address and port that it leads to.
        one_way_s: How long each piece travels.
    """

    def __init__(self, to: tuple[str, int], one_way_s: float = 0.0) -> None:
        self.to = to
        self.one_way_s = one_way_s
        self.silent = threading.Event()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self.to, 5)
            except OSError:
                near.close()
                continue
            for each in (near, far):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets += [near, far]
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if self.one_way_s:
                    time.sleep(self.one_way_s)
                if self.silent.is_set():
                    continue  # as a cut cable: nothing arrives and nobody is told
                sink.sendall(data)
        except OSError:
            pass
        if not self.silent.is_set():
            for each in (source, sink):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """End all connections that lead through it."""
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._sockets.clear()

    def close(self) -> None:
        self._listener.close()
        self.cut()


class Dropbear:
    """A dropbear on loopback. It looks for keys in the accounts' homes only, and wants those to be nobody else's."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.port = free_port()
        key = world.dir / f"dropbear_{self.port}"
        subprocess.run(["dropbearkey", "-t", "ed25519", "-f", key], check=True, capture_output=True)
        shown = subprocess.run(["dropbearkey", "-y", "-f", key], check=True, capture_output=True, text=True).stdout
        public = next(line for line in shown.splitlines() if line.startswith("ssh-ed25519"))
        with world.known_hosts.open("a") as file:
            file.write(f"[127.0.0.1]:{self.port} {' '.join(public.split()[:2])}\n")
        self._log = (world.dir / "dropbear.log").open("ab")
        self._shells = LoginShells()
        self.process = subprocess.Popen(
            [shutil.which("dropbear") or "dropbear", "-F", "-E", "-r", key, "-p", f"127.0.0.1:{self.port}", "-s", "-P", ""],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._log,
        )  # fmt: skip
        until(self._answers, why=lambda: (world.dir / "dropbear.log").read_text())

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as link:
            return link.recv(4) == b"SSH-"
        return False

    def account(self, shell: str) -> str:
        """An account that it lets in."""
        self._shells.add(shell)  # with another one nobody is let in
        user = self.world.account(shell)
        entry = pwd.getpwnam(user)
        directory = Path(entry.pw_dir) / ".ssh"
        directory.mkdir(mode=0o700)
        keys = directory / "authorized_keys"
        keys.write_text(self.world.authorized.read_text())
        keys.chmod(0o600)
        for path in (directory, keys):
            os.chown(path, entry.pw_uid, entry.pw_gid)
        return user

    def stop(self) -> None:
        for pid in [self.process.pid, *children(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self._log.close()
        self._shells.close()
