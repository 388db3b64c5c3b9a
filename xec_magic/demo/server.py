"""The demonstration's own process: SSH servers on 127.0.0.1, one a host, that take one key and run real shells.

It is a process of its own so that the kernel neither forks nor shares its loop with forty servers. Orders come as lines of JSON on
standard input, each is answered by one on standard output; when the input ends, everything ends, and the directory goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, Final

import asyncssh

HERE: Final = "127.0.0.1"
MARK: Final = "XEC_DEMO"  # in the environment of every command: what strays is found by it at the end
PIPES_S: Final = 0.5  # so long the status waits for what a shell's streams still hold
BACKLOG: Final = 128


class Site:
    """What all hosts of one fleet share.

    Attributes:
        directory: Of the whole; each host has its own in it.
        user: Who may log in.
        key: With which key.
    """

    def __init__(self, directory: Path, user: str) -> None:
        self.directory = directory
        self.user = user
        self.key = asyncssh.generate_private_key("ssh-ed25519", comment="a throw-away key of a demonstration")
        self.public = self.key.convert_to_public()
        self.shell = shutil.which("bash") or "/bin/sh"
        self._ends: dict[int, tuple[subprocess.Popen[bytes], asyncio.Future[int]]] = {}

    def ended(self, child: subprocess.Popen[bytes]) -> asyncio.Future[int]:
        """The exit status of a shell, when it has one: asyncio would wait for its pipes as well, which others may hold."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._ends[child.pid] = child, future
        self.reap()
        return future

    def reap(self) -> None:
        """See who has ended; at every SIGCHLD."""
        for pid, (child, future) in [*self._ends.items()]:
            status = child.poll()
            if status is not None:
                del self._ends[pid]
                if not future.done():
                    future.set_result(status)

    def end_commands(self) -> None:
        """Kill what runs, and on Linux what has strayed from it."""
        for pid in self._ends:
            with contextlib.suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
        mark = f"{MARK}={self.directory}\0".encode()
        with contextlib.suppress(OSError):
            for entry in os.listdir("/proc"):
                if entry.isdigit() and int(entry) != os.getpid():
                    with contextlib.suppress(OSError):
                        if mark in Path(f"/proc/{entry}/environ").read_bytes():
                            os.kill(int(entry), signal.SIGKILL)

    def write_keys(self, hosts: Iterable[Host]) -> None:
        """The key to log in with, and the keys by which the hosts are known."""
        path = self.directory / "id_ed25519"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(self.key.export_private_key("openssh"))
        lines = (f"[{HERE}]:{host.port} {host.key.export_public_key('openssh').decode().strip()}" for host in hosts)
        (self.directory / "known_hosts").write_text("\n".join(lines) + "\n")


class Login(asyncssh.SSHServer):
    """Who may come in: the one user with the one key, from this machine."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """A connection begins."""
        self._connection = conn
        if conn.get_extra_info("peername", ("",))[0] != HERE:
            conn.abort()
        self._host.connections.add(conn)

    def connection_lost(self, _exc: Exception | None) -> None:
        """It is over."""
        self._host.connections.discard(self._connection)

    def begin_auth(self, _username: str) -> bool:
        """Everybody has to log in."""
        return True

    def public_key_auth_supported(self) -> bool:
        """By a key."""
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """By the one key."""
        return username == self._host.site.user and key == self._host.site.public

    def connection_requested(self, dest_host: str, _dest_port: int, _orig_host: str, _orig_port: int) -> bool:
        """A tunnel may lead to this machine only."""
        return dest_host in (HERE, "localhost")

    def server_requested(self, listen_host: str, _listen_port: int) -> bool:
        """So may one the other way round."""
        return listen_host in (HERE, "localhost")


class Files(asyncssh.SFTPServer):
    """SFTP with the same paths as the host's shell; what is outside of the host's directory is refused."""

    home = b""

    def map_path(self, path: bytes) -> bytes:
        """The path itself, if it lies in the host's directory."""
        full = os.path.normpath(os.path.join(self.home, path))
        if full == os.path.dirname(self.home):
            return self.home  # a listing names what is above, too
        parent = os.path.realpath(os.path.dirname(full))
        if self.home not in (full, parent) and not parent.startswith(self.home + b"/"):
            raise asyncssh.SFTPPermissionDenied(f"{os.fsdecode(path)} is outside of this demonstration's host")
        return full


class Host:
    """One host: its server, its directory, what is wrong with it."""

    def __init__(self, site: Site, name: str) -> None:
        self.site = site
        self.name = name
        self.home = site.directory / name
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.port = 0
        self.slow_s = 0.0
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self._listener: asyncio.AbstractServer | asyncssh.SSHAcceptor | None = None
        self._held: socket.socket | None = None  # its port while nobody listens, which must not become another server's

    async def serve(self) -> None:
        """Listen, on the port of before if there was one."""
        files = type("FilesHere", (Files,), {"home": os.fsencode(self.home)})
        where: dict[str, Any] = (
            {"sock": self._socket()} if self.port else {"host": HERE, "port": 0, "reuse_address": True}
        )
        self._listener = acceptor = await asyncssh.listen(
            **where, server_factory=lambda: Login(self), server_host_keys=[self.key], process_factory=self._run,
            sftp_factory=files, encoding=None, config=[], line_editor=False, agent_forwarding=False, x11_forwarding=False,
            gss_host=None, compression_algs=None, backlog=BACKLOG,
        )  # fmt: skip
        self.port = acceptor.get_port()

    async def close(self) -> None:
        """Nobody listens any more, and who was connected is cut off."""
        for connection in [*self.connections]:
            connection.abort()
        if self._listener is not None:
            listener, self._listener = self._listener, None
            listener.close()
            self._held = self._socket()
            await listener.wait_closed()

    def _socket(self) -> socket.socket:
        """One with this host's port, which it keeps: who connects is refused as long as nobody listens."""
        held, self._held = self._held, None
        if held is None:
            held = socket.socket()
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind((HERE, self.port))
        return held

    async def hang(self) -> None:
        """Take connections, and never say a word."""
        await self.close()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while await reader.read(65536):
                    pass
            writer.close()

        self._listener = await asyncio.start_server(silent, sock=self._socket())

    async def heal(self) -> None:
        """As new."""
        self.slow_s = 0.0
        if not isinstance(self._listener, asyncssh.SSHAcceptor):
            await self.close()
            await self.serve()

    # -- commands ------------------------------------------------------------------------------------

    async def _run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """What sshd does: the login shell reads the line; its status is the answer."""
        if process.command is None:
            process.stderr.write(b"this host runs commands, and no login without one\n")
            process.exit(1)
            return
        await asyncio.sleep(self.slow_s)
        try:
            child = subprocess.Popen(  # noqa: ASYNC220 - quick, in a small process of its own
                [self.site.shell, "-c", process.command], cwd=self.home, env=self._environment(), start_new_session=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
            )  # fmt: skip
        except OSError as error:
            process.stderr.write(f"cannot start a shell: {error}\n".encode())
            process.exit(126)
            return
        ended = self.site.ended(child)
        with contextlib.suppress(OSError, asyncssh.Error):
            # A connection that goes away leaves the command alone, as with sshd, until somebody ends it.
            await self._attend(process, child, ended)

    async def _attend(
        self, process: asyncssh.SSHServerProcess[bytes], child: subprocess.Popen[bytes], ended: asyncio.Future[int]
    ) -> None:
        """Carry the streams until the shell has ended, and a moment longer for what holds them."""
        assert child.stdin is not None and child.stdout is not None and child.stderr is not None  # noqa: PT018
        feeding = asyncio.create_task(_feed(process.stdin, child.stdin))
        reading = [
            asyncio.create_task(_pour(child.stdout, process.stdout)),
            asyncio.create_task(_pour(child.stderr, process.stderr)),
        ]
        gone = asyncio.create_task(process.channel.wait_closed())
        try:
            first: list[asyncio.Future[Any]] = [ended, gone]
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                await asyncio.wait(reading, timeout=PIPES_S)
                status = ended.result()
                if status >= 0:
                    # As sshd: the status at once, the end of the channel when nobody holds the streams, or who asked has closed it.
                    process.channel._send_request(b"exit-status", asyncssh.packet.UInt32(status))
                    over: list[asyncio.Future[Any]] = [asyncio.gather(*reading, return_exceptions=True), gone]
                    await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
                    process.channel.close()
                else:
                    process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
        finally:
            for task in (feeding, *reading, gone):
                task.cancel()
            await asyncio.gather(feeding, *reading, gone, return_exceptions=True)

    def _environment(self) -> dict[str, str]:
        """A login's own, and nothing of whoever has started the demonstration."""
        bins = f"{self.home}/bin:{self.site.directory}/bin:"
        return {
            "HOME": str(self.home), "USER": self.site.user, "LOGNAME": self.site.user, "SHELL": self.site.shell,
            "HOSTNAME": self.name, "TMPDIR": str(self.home / "tmp"), "PATH": bins + os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8", MARK: str(self.site.directory),
        }  # fmt: skip


async def _pour(source: IO[bytes], sink: asyncssh.SSHWriter[bytes]) -> None:
    """Carry bytes from a pipe to a channel until the pipe's end; the pipe fills where the channel is full."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
    try:
        while data := await reader.read(65536):
            sink.write(data)
            await sink.drain()
    except (OSError, asyncssh.Error):
        pass  # nobody listens any more
    finally:
        transport.close()


async def _feed(source: asyncssh.SSHReader[bytes], sink: IO[bytes]) -> None:
    """Carry bytes from a channel to a pipe until the channel's end."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sink)
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    try:
        while data := await source.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
    except (OSError, asyncssh.Error):
        pass  # the command reads no further
    finally:
        transport.close()


async def _obey(hosts: dict[str, Host], order: dict[str, Any]) -> dict[str, Any]:
    chosen = [hosts[name] for name in order["names"]]
    for host in chosen:
        match order["do"]:
            case "kill":
                await host.close()
            case "hang":
                await host.hang()
            case "slow":
                host.slow_s = float(order["seconds"])
            case "heal":
                await host.heal()
            case other:
                return {"error": f"there is no order {other!r}"}
    return {"ok": True}


async def _serve(begin: dict[str, Any], orders: asyncio.StreamReader) -> None:
    site = Site(Path(begin["directory"]), begin["user"])
    hosts = {name: Host(site, name) for name in begin["names"]}
    asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, site.reap)
    try:
        for host in hosts.values():
            await host.serve()
        site.write_keys(hosts.values())
        _say({"ports": {host.name: host.port for host in hosts.values()}})
        while line := await orders.readline():
            try:
                _say(await _obey(hosts, json.loads(line)))
            except OSError as error:
                _say({"error": str(error)})
    finally:
        site.end_commands()


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def _main() -> None:
    orders = asyncio.StreamReader(limit=2**24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    begin = json.loads(await orders.readline() or b"{}")
    if begin:
        try:
            await _serve(begin, orders)
        finally:
            shutil.rmtree(begin["directory"], ignore_errors=True)
            os._exit(0)  # and with it all sockets; to close each of hundreds in order takes seconds


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGHUP):  # they are the kernel's; this ends when the kernel does
        signal.signal(number, lambda *_: None)  # and not SIG_IGN, which commands would inherit
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else max(soft, 65536), hard))
    asyncio.run(_main())
