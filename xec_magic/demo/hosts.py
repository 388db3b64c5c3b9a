"""`fleet`: make the hosts of a demonstration, name them for `--on`, and spoil some of them on purpose."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from xec_magic.errors import OptionError, SpawnError
from xec_magic.inventory import Inventory, TargetFile, register, unregister
from xec_magic.inventory.nodeset import resolve
from xec_magic.inventory.sshconfig import read_aliases

__all__ = ["DemoHost", "Fleet", "fleet"]

MOST_HOSTS: Final = 1000  # each has a listening socket and some files
START_S: Final = 60.0  # forty are there in half a second; a busy machine takes longer
ANSWER_S: Final = 15.0
USER: Final = "demo"
SERVER: Final = Path(__file__).with_name("server.py")

# What makes hosts look like some: it stands before the machine's own commands, and reads the host's own files.
_PROGRAMS: Final = {
    "hostname": 'echo "$HOSTNAME"\n',
    "uname": 'if [ "$*" = -n ]; then echo "$HOSTNAME"; else exec "$(command -pv uname)" "$@"; fi\n',
    "app": """\
case "$1" in
version) cat "$HOME/etc/app.version" ;;
status)
    if [ -s "$HOME/etc/broken" ]; then
        echo "app on $HOSTNAME: $(cat "$HOME/etc/broken")" >&2
        exit 3
    fi
    echo "app $(cat "$HOME/etc/app.version") on $HOSTNAME: running" ;;
deploy)
    [ -n "$2" ] || { echo "usage: app deploy VERSION" >&2; exit 64; }
    for step in fetch unpack restart; do echo "$step $2"; sleep 0.1; done
    echo "$2" >"$HOME/etc/app.version"
    exec "$0" status ;;
*) echo "usage: app version | status | deploy VERSION" >&2; exit 64 ;;
esac
""",
}
_FILES: Final = {
    "etc/app.version": "2.4.0\n",
    "etc/app.conf": "workers = 4\nlog_level = info\nmax_connections = 200\n",
    "var/log/app.log": "".join(f"2024-03-01T0{hour}:00:00Z INFO batch {hour} done\n" for hour in range(10)),
}


class DemoHost:
    """One host of a demonstration.

    Attributes:
        name: As `--on` takes it.
        home: Its directory, where its commands start.
        port: Of 127.0.0.1.
    """

    def __init__(self, name: str, home: Path, port: int) -> None:
        self.name = name
        self.home = home
        self.port = port

    def __repr__(self) -> str:
        return f"<DemoHost {self.name} on 127.0.0.1:{self.port}>"


class Fleet:
    """Hosts of a demonstration, alive until `close`; a context manager.

    Args:
        hosts: How many; they are called `web01`, `web02` and so on.
        name: What they are called, and their group.
        connect_timeout: Seconds to wait for a host that does not answer.

    Raises:
        OptionError: the number or the name is wrong, or such names are known already.
        SpawnError: the servers cannot be started.
    """

    def __init__(self, hosts: int = 40, name: str = "web", connect_timeout: float = 15.0) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._file: TargetFile | None = None
        self._mutex = threading.Lock()
        self.name = name
        names = _names(hosts, name)
        self._directory = Path(os.path.realpath(tempfile.mkdtemp(prefix="xec-demo-")))
        try:
            for each in names:
                _furnish(self._directory / each, each)
            _programs(self._directory / "bin")
            ports = self._start(names)
        except BaseException:
            self.close()
            raise
        self.hosts = {each: DemoHost(each, self._directory / each, ports[each]) for each in names}
        self._file = TargetFile("the demonstration", self._document(connect_timeout), own=True)
        register(self._file)

    def _document(self, connect_timeout: float) -> dict[str, Any]:
        common = {
            "host": "127.0.0.1", "user": USER, "key": str(self._directory / "id_ed25519"), "jump": "none",
            "known_hosts": str(self._directory / "known_hosts"), "connect_timeout": connect_timeout,
        }  # fmt: skip
        targets = {host.name: {**common, "port": host.port} for host in self.hosts.values()}
        return {"targets": targets, "groups": {self.name: [*targets]}}

    # -- the servers ---------------------------------------------------------------------------------

    def _start(self, names: list[str]) -> dict[str, int]:
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise SpawnError(f"cannot start the hosts of the demonstration: {error.strerror}") from error
        begin = {"directory": str(self._directory), "user": USER, "names": names}
        ports: dict[str, int] = self._asked(begin, START_S)["ports"]
        return ports

    def _asked(self, order: dict[str, Any], within_s: float = ANSWER_S) -> dict[str, Any]:
        """Tell the servers something and wait for their answer."""
        process = self._process
        if process is None:
            raise OptionError("the demonstration is over; make a new one by xec.demo.fleet()")
        assert process.stdin is not None and process.stdout is not None  # noqa: PT018
        with self._mutex:
            try:
                process.stdin.write(json.dumps(order).encode() + b"\n")
                process.stdin.flush()
                line = _line(process.stdout.fileno(), within_s)
            except OSError as error:
                raise SpawnError("the hosts of the demonstration are gone; close it and make a new one") from error
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SpawnError(f"the demonstration: {answer['error']}")
        return answer

    # -- spoiling ------------------------------------------------------------------------------------

    def kill(self, hosts: str) -> None:
        """Take hosts down: connections to them are refused, those that were there are cut.

        Args:
            hosts: A node set, as `--on` takes it: `web07`, `web[07,12-14]`.

        Raises:
            OptionError: it names a host that is not here.
        """
        self._asked({"do": "kill", "names": self._named(hosts)})

    def hang(self, hosts: str) -> None:
        """Let hosts take connections and never answer; see `kill`."""
        self._asked({"do": "hang", "names": self._named(hosts)})

    def slow(self, hosts: str, seconds: float = 2.0) -> None:
        """Let each command on these hosts begin so much later; see `kill`."""
        if not 0 <= seconds <= 3600:
            raise OptionError(f"seconds must lie between 0 and 3600, not {seconds:g}")
        self._asked({"do": "slow", "names": self._named(hosts), "seconds": seconds})

    def spoil(self, hosts: str, why: str = "no space left on device") -> None:
        """Let `app status` and `app deploy` fail on these hosts, with exit code 3 and these words; see `kill`."""
        for name in self._named(hosts):
            (self.hosts[name].home / "etc/broken").write_text(why + "\n")

    def heal(self, hosts: str = "") -> None:
        """Undo `kill`, `hang`, `slow` and `spoil`, on all hosts unless some are named."""
        names = self._named(hosts) if hosts else [*self.hosts]
        for name in names:
            (self.hosts[name].home / "etc/broken").unlink(missing_ok=True)
        self._asked({"do": "heal", "names": names})

    def _named(self, hosts: str) -> list[str]:
        names = resolve(hosts, lambda group: [*self.hosts] if group in (self.name, "all") else [f"@{group}"])
        wrong = [name for name in names if name not in self.hosts]
        if wrong or not names:
            raise OptionError(f"{wrong[0] if wrong else hosts!r} is none of the hosts {self._span()}")
        return names

    # -- as a collection --------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> DemoHost:
        return self.hosts[self._named(name)[0]]

    def __len__(self) -> int:
        return len(self.hosts)

    def __iter__(self) -> Iterator[DemoHost]:
        return iter(self.hosts.values())

    # -- the end -----------------------------------------------------------------------------------------

    def close(self) -> None:
        """End all hosts with all that runs on them, and remove their files. A second call does nothing."""
        if self._file is not None:
            unregister(self._file)
            self._file = None
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]
            try:
                process.wait(ANSWER_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()  # type: ignore[union-attr]
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Fleet:
        return self

    async def __aexit__(self, *exc: object) -> None:
        import asyncio

        await asyncio.to_thread(self.close)

    def __repr__(self) -> str:
        return f"<Fleet of {len(self)} hosts, {self._span()}, {'alive' if self._process else 'closed'}>"

    def _span(self) -> str:
        names = [*self.hosts]
        return f"{names[0]} to {names[-1]}"


def fleet(hosts: int = 40, *, name: str = "web", connect_timeout: float = 15.0) -> Fleet:
    """Hosts on this machine to try things on, known to `--on` until they are closed.

    Each runs real commands of yours, in a directory of its own that is its home. They need no SSH server and no account, listen on
    127.0.0.1 only, and take no key but one that is made for them. A program `app` is there to be looked at: `app status`,
    `app version`, `app deploy VERSION`.

    Args:
        hosts: How many.
        name: `web` makes web01, web02, … and the group `@web`.
        connect_timeout: Seconds to wait for one that does not answer.

    Raises:
        OptionError: the number or the name is wrong, or such names are known already.
        SpawnError: the servers cannot be started.

    Example:
        >>> import xec_magic as xec
        >>> with xec.demo.fleet(2) as hosts:
        ...     str(xec.run("hostname; app version", on="web02"))
        'web02\\n2.4.0'
    """
    return Fleet(hosts, name, connect_timeout)


def _names(hosts: int, name: str) -> list[str]:
    if not isinstance(hosts, int) or isinstance(hosts, bool) or not 1 <= hosts <= MOST_HOSTS:
        raise OptionError(f"hosts must be a number from 1 to {MOST_HOSTS}, not {hosts!r}")
    if not name.isascii() or not name.isalpha():
        raise OptionError(f"name: {name!r} is no name for hosts; it is made of letters")
    width = max(2, len(str(hosts)))
    names = [f"{name}{number:0{width}}" for number in range(1, hosts + 1)]
    _refuse_known(name, names)
    return names


def _refuse_known(name: str, names: list[str]) -> None:
    """What is tried on a demonstration must never reach hosts of the same name, neither now nor when it is over."""
    from xec_magic import runtime  # only here: who imports the package for its values need not have a runtime

    inventory: Inventory = runtime.current().settings.inventory()
    known = {*inventory.names(), *read_aliases().names}
    both = [each for each in (*names, f"@{name}") if each in known]
    if both:
        raise OptionError(
            f"{both[0]} is known already, and a demonstration must not be taken for real hosts; give it another name: "
            f"xec.demo.fleet({len(names)}, name='demo')"
        )


def _furnish(home: Path, name: str) -> None:
    for path, text in {**_FILES, "etc/hostname": name + "\n"}.items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(text)
    for path in ("bin", "tmp"):
        (home / path).mkdir()


def _programs(directory: Path) -> None:
    directory.mkdir()
    for name, text in _PROGRAMS.items():
        path = directory / name
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)


def _line(fd: int, within_s: float) -> bytes:
    """One line from a pipe.

    Raises:
        OSError: it does not come in time, or the other side is gone.
    """
    line, end = b"", time.monotonic() + within_s
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while not line.endswith(b"\n"):
        if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
            raise TimeoutError("no answer")
        data = os.read(fd, 65536)
        if not data:
            raise BrokenPipeError("its end is closed")
        line += data
    return line
