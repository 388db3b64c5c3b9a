"""Files to a host and from it: `xec.copy` beside asyncssh's own SFTP client and OpenSSH's `sftp`, near and 20 ms away.

The server is an sshd of its own on loopback. All have a connection that is open already: asyncssh in a loop of this process, `sftp` by
ControlMaster. Far is a proxy that delays each way by 10 ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from common import Report, arguments, duration, interleave, ratio, size

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "tests" / "ssh"), str(HERE.parent / "tests")]

ONE_WAY_MS = 10
FAR_FILES = 200
PEER_S = 120  # for one turn; who takes longer hangs


@contextlib.contextmanager
def delayed(port):
    """A port that leads to another one, later."""
    command = [sys.executable, HERE / "delayed.py", "127.0.0.1", str(port), str(ONE_WAY_MS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield int(process.stdout.readline())
        process.stdin.close()


class Asyncssh:
    """Its own SFTP client, on a connection that is kept."""

    def __init__(self, world, port):
        self.runner = asyncio.Runner()
        self.connection = self.runner.run(self._connect(world, port))

    async def _connect(self, world, port):
        import asyncssh

        # The cipher that ours asks for, too: what is compared is SFTP.
        return await asyncssh.connect(
            "127.0.0.1", port, username=world.user, client_keys=str(world.key), known_hosts=str(world.known_hosts),
            encryption_algs="^aes128-gcm@openssh.com",
        )  # fmt: skip

    def call(self, name, *args, **kwargs):
        async def go():
            async with self.connection.start_sftp_client() as client:
                await getattr(client, name)(*map(str, args), **kwargs)

        self.runner.run(asyncio.wait_for(go(), PEER_S))

    def close(self):
        self.connection.abort()
        self.runner.close()


class Sftp:
    """OpenSSH's program, over a connection that ControlMaster keeps."""

    def __init__(self, world, port):
        # ssh takes the home of the account, and not $HOME.
        options = [
            "-F",
            "none",
            "-i",
            world.key,
            "-o",
            f"UserKnownHostsFile={world.known_hosts}",
            "-o",
            f"User={world.user}",
        ]
        self.options = [*options, "-o", f"ControlPath={world.dir}/control-%p", "-o", "Ciphers=aes128-gcm@openssh.com"]
        self.port = port
        subprocess.run(["ssh", *self.options, "-p", str(port), "-fN", "-M", "127.0.0.1"], check=True, timeout=PEER_S)

    def call(self, *words):
        batch = " ".join(map(str, words)) + "\n"
        command = ["sftp", "-q", *map(str, self.options), "-P", str(self.port), "-b", "-", "127.0.0.1"]
        subprocess.run(command, input=batch, text=True, check=True, stdout=subprocess.DEVNULL, timeout=PEER_S)

    def close(self):
        subprocess.run(
            ["ssh", *self.options, "-p", str(self.port), "-O", "exit", "127.0.0.1"],
            check=True,
            stderr=subprocess.DEVNULL,
            timeout=PEER_S,
        )


def measure(report, world, port, where, options):
    """All ways over one port."""
    import xec_magic as xec

    host = f"{world.user}@127.0.0.1:{port}"
    peers, program = Asyncssh(world, port), Sftp(world, port)
    # The peers need a round trip or more for each step of each file, one after the other: far, fewer files show the same.
    files = options.files if where == "near" else min(options.files, FAR_FILES)
    big, many = world.dir / "big", world.dir / f"many-{files}"
    got = world.dir / "got"
    xec.run("true", on=host)
    try:
        for what, verb in (("a large file there", "put"), ("a large file back", "get")):
            if verb == "put":
                ours = (big, f"{host}:big")
                theirs = (big, "big.asyncssh")
                words = ("put", big, "big.sftp")
            else:
                ours = (f"{host}:big", got)
                theirs = ("big.asyncssh", f"{got}.asyncssh")
                words = ("get", "big.sftp", f"{got}.sftp")
            contestants = {
                "`xec.copy`": lambda ours=ours: xec.copy(*ours, force=True),
                "asyncssh": lambda verb=verb, theirs=theirs: peers.call(verb, *theirs),
                "`sftp`": lambda words=words: program.call(*words),
            }
            times = interleave(contestants, options.rounds if where == "near" else min(3, options.rounds))
            by_median, by_best = (1 / value for value in ratio(times["`xec.copy`"], times["asyncssh"]))
            report.at_least(f"{what}, {where}: rate / asyncssh", by_median, 0.9, " ×", f" (best turns {by_best:.3g})")
            rows = [
                [name, duration(t.best), duration(t.median), f"{options.size / t.median / 1e6:.0f}"]
                for name, t in times.items()
            ]
            report.table([f"{what}, {size(options.size)}, {where}", "best", "median", "MB/s (median)"], rows)
        contestants = {
            "`xec.copy`": lambda: xec.copy(many, f"{host}:{many.name}", force=True),
            "asyncssh": lambda: peers.call("put", many, f"{many.name}.asyncssh", recurse=True),
            "`sftp`": lambda: program.call("put", "-R", many, f"{many.name}.sftp"),
        }
        peers.call("makedirs", f"{many.name}.asyncssh", exist_ok=True)
        times = interleave(contestants, min(3, options.rounds) if where == "near" else 1, warm_up=0)
        by_median, by_best = (1 / value for value in ratio(times["`xec.copy`"], times["asyncssh"]))
        bound = 0.8 if where == "near" else 5
        report.at_least(
            f"{files:,} small files, {where}: rate / asyncssh",
            by_median,
            bound,
            " ×",
            f" (best turns {by_best:.3g})",
        )
        rows = [[name, duration(t.best), duration(t.median)] for name, t in times.items()]
        report.table([f"{files:,} files of 1 kB there, {where}", "best", "median"], rows)
    finally:
        peers.close()
        program.close()


def main():
    parser = arguments(__doc__)
    parser.add_argument("--size", type=float, default=0, help="bytes of the large file, for instance 1e9")
    parser.add_argument("--rounds", type=int, default=0)
    options = parser.parse_args()
    options.size = int(options.size or (100e6 if options.quick else 128e6))
    options.rounds = options.rounds or (3 if options.quick else 5)
    options.files = 200 if options.quick else 1000
    report = Report("copy", "Files to a host and from it, over connections that are open already.", options)
    from world import World

    directory = Path(tempfile.mkdtemp(prefix="xec-ssh-bench-"))
    world = World(directory)
    os.environ["HOME"] = str(world.home)
    try:
        server = world.sshd()
        (directory / "big").write_bytes(os.urandom(2**20) * (options.size // 2**20))
        for files in {options.files, min(options.files, FAR_FILES)}:
            (directory / f"many-{files}").mkdir()
            for number in range(files):
                (directory / f"many-{files}" / f"{number}").write_bytes(os.urandom(1000))
        options.size = (directory / "big").stat().st_size
        measure(report, world, server.port, "near", options)
        with delayed(server.port) as port:
            with world.known_hosts.open("a") as file:
                file.write(f"[127.0.0.1]:{port} {world.known_hosts.read_text().split(' ', 1)[1]}")
            measure(report, world, port, f"{2 * ONE_WAY_MS} ms away", options)
    finally:
        from xec_magic import runtime

        runtime.close()
        world.close()
        shutil.rmtree(directory, ignore_errors=True)
    report.finish()


if __name__ == "__main__":
    main()
