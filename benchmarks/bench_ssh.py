"""Commands on hosts, beside plain asyncssh, `ssh` with and without ControlMaster, parallel-ssh, ClusterShell and Ansible.

Real OpenSSH servers on loopback, without delay and with 20 ms for a round trip. A round trip is what a byte takes through a link of the
same kind, measured in turn with the commands. The peers come with `pip install 'xec-magic[bench]'`; who is not there is left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import sshworld
from common import Report, Times, arguments, duration, interleave, ratio, size

RTT_MS = 20
PROGRAMS = Path(sys.executable).parent
FAN = 100  # connections that the others open at once
PEER_S = 90  # a peer that takes longer is left out: it hangs, or is not worth waiting for


def found(program):
    """A peer's program, where it is installed."""
    path = PROGRAMS / program
    return str(path) if path.exists() else shutil.which(program)


class Plain:
    """asyncssh by itself, on a loop that is kept."""

    def __init__(self, bench):
        import asyncssh

        self._asyncssh, self._bench = asyncssh, bench
        self._loop = asyncio.new_event_loop()

    def do(self, coroutine):
        return self._loop.run_until_complete(asyncio.wait_for(coroutine, PEER_S))

    async def connect(self, host, port):
        return await self._asyncssh.connect(
            host, port, username=self._bench.user, client_keys=[self._bench.key], known_hosts=str(self._bench.world.known_hosts),
            config=None, agent_path=None,
        )  # fmt: skip

    def close(self):
        self._loop.close()


class Everywhere:
    """A command on many hosts by plain asyncssh, over connections that are kept."""

    def __init__(self, plain, hosts, port, command="echo hello"):
        self.plain, self._hosts, self._port, self._command = plain, hosts, port, command
        self._kept = {}

    def run(self):
        self.plain.do(self._run())

    async def _run(self):
        gate = asyncio.Semaphore(FAN)

        async def one(host):
            async with gate:
                if host not in self._kept:
                    self._kept[host] = await self.plain.connect(host, self._port)
                await self._kept[host].run(self._command)

        await asyncio.gather(*map(one, self._hosts))

    def close(self):
        async def end():
            for connection in self._kept.values():
                connection.close()
            await asyncio.gather(*(connection.wait_closed() for connection in self._kept.values()))

        self.plain.do(end())
        self._kept.clear()


def our_line():
    """What a host is told by xec for `echo hello`: a shell of its own for each command, whatever the login's."""
    from xec_magic.command import Command
    from xec_magic.transport.ssh.remote import launch

    return launch(Command("echo hello"), "bench", has_bash=None).line.decode()


def on_channel_ahead(plain, connection):
    """Seconds for `echo hello` by asyncssh alone on a channel that was opened before: what no way with a channel a command can beat."""
    from xec_magic.transport.ssh.ahead import open_ahead, run_on
    from xec_magic.transport.ssh.helper import Collector

    channel = plain.do(open_ahead(connection))

    async def run():
        collector = Collector()
        await run_on(channel, collector, "echo hello")
        assert (await collector.done).stdout == b"hello\n"

    return timed(lambda: plain.do(run()))


def floor(report, what, value, unit=""):
    """What limits a figure, from the same run; nothing is asked of it."""
    report.target(what, f"{value:.3g}{unit}", "the floor of the row above", met=None)


def ssh_line(bench, host, port, *options):
    return ["ssh", "-F", bench.config, "-p", str(port), *options, host]


# -- rows -------------------------------------------------------------------------------------------------


def connects(report, bench, rounds):
    """Connect, run a command, close."""
    import xec_magic as xec

    for rtt in (0, RTT_MS):
        port = bench.port(rtt)
        plain = Plain(bench)
        with xec.ssh_pool(f"{bench.user}@127.0.0.1:{port}") as pool:

            def ours(pool=pool, port=port):
                pool.run(f"{bench.user}@127.0.0.1:{port}", "true")
                pool.drain()

            async def once(plain=plain, port=port):
                async with await plain.connect("127.0.0.1", port) as connection:
                    await connection.run("true")

            contestants = {
                "xec": ours,
                "asyncssh": lambda plain=plain, once=once: plain.do(once()),
                "ssh": lambda port=port: subprocess.run(
                    [*ssh_line(bench, "127.0.0.1", port), "true"], check=True, timeout=PEER_S
                ),
            }
            times = interleave(contestants, rounds)
        plain.close()
        note = f" (best turns {ratio(times['xec'], times['asyncssh'])[1]:.3g})"
        report.at_most(
            f"ssh-connect, {rtt} ms: xec / asyncssh", ratio(times["xec"], times["asyncssh"])[0], 1.1, " ×", note
        )
        bound = 0.7 if not rtt else 0.75
        note = f" (best turns {ratio(times['xec'], times['ssh'])[1]:.3g})"
        report.at_most(f"ssh-connect, {rtt} ms: xec / ssh", ratio(times["xec"], times["ssh"])[0], bound, " ×", note)
        show(report, f"connect, a command, close; {rtt} ms", times)


def commands(report, bench, rounds):
    """A command on a connection that is kept."""
    import xec_magic as xec

    for rtt in (0, RTT_MS):
        port = bench.port(rtt)
        on = f"{bench.user}@127.0.0.1:{port}"
        plain, echo = Plain(bench), sshworld.Echo(rtt)
        connection = plain.do(plain.connect("127.0.0.1", port))
        master = [*ssh_line(bench, "127.0.0.1", port, "-S", str(bench.world.dir / f"m{port}"))]
        subprocess.run([*master[:-1], "-MNf", master[-1]], check=True, timeout=PEER_S)
        with xec.Executor() as ex, contextlib.ExitStack() as stack:
            contestants = {
                "a round trip": echo.trip,
                "xec": lambda ex=ex, on=on: timed(lambda: ex.run("echo hello", on=on)),
                "xec, --session": lambda ex=ex, on=on: timed(lambda: ex.run("echo hello", on=on, session="s")),
                "asyncssh": lambda plain=plain, connection=connection: timed(
                    lambda: plain.do(connection.run("echo hello"))
                ),
                "asyncssh, channel opened ahead": lambda plain=plain, connection=connection: on_channel_ahead(
                    plain, connection
                ),
                "ssh, ControlMaster": lambda master=master: timed(
                    lambda: subprocess.run(
                        [*master, "echo hello"], check=True, stdout=subprocess.DEVNULL, timeout=PEER_S
                    )
                ),
            }
            client = parallel(bench, ["127.0.0.1"], port)
            if client is not None:
                contestants["parallel-ssh"] = lambda client=client: timed(
                    lambda: drained(lambda: client.run_command("echo hello"))
                )
                stack.callback(lambda client=client: client.disconnect() if hasattr(client, "disconnect") else None)
            times = interleave(contestants, rounds, warm_up=4)
        subprocess.run([*master[:-1], "-O", "exit", master[-1]], check=True, capture_output=True, timeout=PEER_S)
        connection.close()
        plain.do(connection.wait_closed())
        plain.close()
        echo.close()
        if rtt:
            trip = times["a round trip"]
            for name, bound in (("xec", 1.35), ("xec, --session", 1.2)):
                note = f" (best turns {times[name].best / trip.best:.3g})"
                report.at_most(f"ssh-command, {name}: round trips", times[name].median / trip.median, bound, "", note)
                if name == "xec":
                    bare = times["asyncssh, channel opened ahead"].median / trip.median
                    floor(report, "ssh-command, asyncssh alone on a channel opened ahead: round trips", bare)
        show(report, f"`echo` on a kept connection; {rtt} ms", times)


def bursts(report, bench, count, connects_at_once):
    """Many commands at once on one host; many connections at once to one server that drops some."""
    import xec_magic as xec
    from xec_magic.command import Target

    on = f"{bench.user}@127.0.0.1:{bench.port(0)}"
    with xec.Executor() as ex:
        begun = time.perf_counter()
        runs = [ex.start(f"echo {number}", on=on) for number in range(count)]
        for run in runs:
            ex._engine.begin(run)
        wrong = sum(str(run.result(PEER_S)) != str(number) for number, run in enumerate(runs))
        report.at_most(f"ssh-burst: {count} commands at once, all through after", time.perf_counter() - begun, 4, " s")
        report.at_most("ssh-burst: refusals shown", wrong, 0)
    hosts = [
        Target("ssh", f"h{number}", "127.0.0.1", bench.user, bench.strict.port) for number in range(connects_at_once)
    ]
    with xec.ssh_pool(hosts) as pool:
        begun = time.perf_counter()
        results = pool.run_all("true")
        took = time.perf_counter() - begun
    report.at_most(
        f"ssh-burst: {connects_at_once} connects at once, MaxStartups 10:30:100, all in after", took, 4, " s"
    )
    report.at_most("ssh-burst: connections refused", sum(not result.ok for result in results), 0)


def fleet(report, bench, count, rounds):
    """One command on many hosts, over fresh connections and over kept ones."""
    import psutil

    import xec_magic as xec

    hosts = sshworld.addresses(count)
    for rtt in (0, RTT_MS):
        port = bench.port(rtt)
        bare = Everywhere(Plain(bench), hosts, port)
        same = Everywhere(bare.plain, hosts, port, our_line())
        memory = psutil.Process()
        # What is slow takes its turn on the first hundred where they are far away, beside xec on the same ones.
        few = hosts if not rtt else hosts[:FAN]

        targets = [f"{bench.user}@{host}:{port}" for host in hosts]
        fresh, again, on_few = {}, {}, {}
        with xec.ssh_pool(targets) as pool:
            pool.run_all("true")
            pool.drain()
            for _ in range(rounds):
                before = memory.memory_info().rss
                add(fresh, "xec", timed(lambda pool=pool: all_well(pool.run_all("echo hello"))))
                grown = memory.memory_info().rss - before
                add(again, "xec", timed(lambda pool=pool: all_well(pool.run_all("echo hello"))))
                pool.drain()
                add(fresh, "asyncssh", timed(bare.run))
                add(again, "asyncssh", timed(bare.run))
                bare.close()
                add(fresh, "asyncssh, the same shells", timed(same.run))
                add(again, "asyncssh, the same shells", timed(same.run))
                same.close()
        for name, command in (("asyncssh, kept", "echo hello"), ("asyncssh, the same shells, kept", our_line())):
            on_them = Everywhere(bare.plain, few, port, command)
            on_them.run()
            add(on_few, name, timed(on_them.run))
            on_them.close()
        bare.plain.close()
        with xec.ssh_pool(targets[: len(few)]) as pool:
            add(on_few, "xec", timed(lambda pool=pool: all_well(pool.run_all("echo hello"))))
            add(on_few, "xec, kept", timed(lambda pool=pool: all_well(pool.run_all("echo hello"))))
        for name, (job, slow) in others(bench, hosts, few, port).items():
            try:
                add(on_few if slow else fresh, name, timed(job))
            except (subprocess.TimeoutExpired, TooSlow):
                report.say(
                    f"{name} had not finished on {len(few if slow else hosts)} hosts after {PEER_S} s; {rtt} ms."
                )
        for name, bound, those in (
            ("asyncssh", 1.15, fresh), ("parallel-ssh", 1 / 1.7, fresh), ("clush", 1 / 3.5, on_few), ("ansible", 1 / 5, on_few),
        ):  # fmt: skip
            if name in those:
                value = ratio(those["xec"], those[name])
                note = f" (best turns {value[1]:.3g})"
                on = count if those is fresh else len(few)
                report.at_most(f"fleet of {on}, {rtt} ms: xec / {name}", value[0], round(bound, 3), " ×", note)
            if name == "asyncssh":
                value = ratio(fresh["asyncssh, the same shells"], fresh["asyncssh"])[0]
                floor(report, f"fleet of {count}, {rtt} ms: asyncssh with our shells / asyncssh", value, " ×")
            elif name == "parallel-ssh" and name in fresh:
                value = ratio(fresh["asyncssh"], fresh[name])[0]
                floor(report, f"fleet of {count}, {rtt} ms: asyncssh / parallel-ssh", value, " ×")
        if "clush" in on_few:
            value = on_few["clush"].median / on_few["xec, kept"].median
            report.at_least(f"fleet of {len(few)}, {rtt} ms, kept: clush / xec", value, 20, " ×")
            for name in ("asyncssh", "asyncssh, the same shells"):
                value = on_few["clush"].median / on_few[f"{name}, kept"].median
                floor(report, f"fleet of {len(few)}, {rtt} ms, kept: clush / {name}", value, " ×")
        if not rtt:
            report.at_most("fleet: memory a connection", grown / count / 1000, 80, " kB")
        show(report, f"`echo` on {count} hosts, fresh; {rtt} ms", fresh)
        show(report, f"the same over kept connections; {rtt} ms", again)
        show(report, f"`echo` on {len(few)} hosts, fresh but where kept; {rtt} ms", on_few)


def others(bench, hosts, few, port):
    """What else runs a command on many hosts, and whether it does so on few of them."""
    jobs = {}
    if parallel(bench, hosts[:1], port) is not None:
        jobs["parallel-ssh"] = lambda: drained(lambda: parallel(bench, hosts, port).run_command("echo hello")), False
    if found("clush"):
        options = f"-F {bench.config} -p {port}"
        jobs["clush"] = (
            lambda: quietly([found("clush"), "-f", "64", "-o", options, "-w", ",".join(few), "echo hello"]),
            True,
        )
    if found("ansible"):
        inventory = bench.world.dir / f"inventory_{port}"
        inventory.write_text("".join(f"{host} ansible_port={port} ansible_user={bench.user}\n" for host in few))
        extra = f"--ssh-common-args=-F {bench.config}"
        command = [found("ansible"), "-i", inventory, "-f", "50", extra, "all", "-m", "raw", "-a", "echo hello"]
        jobs["ansible"] = lambda: quietly(command), True
    return jobs


def bulk(report, bench, count, rounds):
    """Much output of one command; the kernel's memory meanwhile."""
    import psutil

    import xec_magic as xec

    script = f"head -c {count} /dev/zero"
    for rtt in (0, RTT_MS):
        port = bench.port(rtt)
        on = f"{bench.user}@127.0.0.1:{port}"
        cipher = "-caes128-gcm@openssh.com"
        with xec.Executor() as ex:
            ex.run("true", on=on)
            memory = psutil.Process()
            sizes = [memory.memory_info().rss]

            def ours(ex=ex, on=on, sizes=sizes, memory=memory):
                total = 0
                for number, chunk in enumerate(ex.start(script, on=on, keep=False).chunks()):
                    total += len(chunk)
                    if number % 256 == 0:
                        sizes.append(memory.memory_info().rss)
                assert total == count

            def ssh(port=port, cipher=cipher):
                command = [*ssh_line(bench, "127.0.0.1", port, cipher), script]
                with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
                    bound = threading.Timer(PEER_S, child.kill)
                    bound.start()
                    total = 0
                    while piece := child.stdout.read1(1 << 18):
                        total += len(piece)
                    bound.cancel()
                assert total == count

            times = interleave({"xec": ours, "ssh -c aes128-gcm": ssh}, rounds, warm_up=0)
        by_median, by_best = (1 / value for value in ratio(times["xec"], times["ssh -c aes128-gcm"]))
        report.at_least(
            f"ssh-bulk, {size(count)}, {rtt} ms: rate / ssh", by_median, 0.9, " ×", f" (best turns {by_best:.3g})"
        )
        report.at_most(f"ssh-bulk, {rtt} ms: memory grows by", (max(sizes) - sizes[0]) / 2**20, 48, " MiB")
        report.table(
            [f"{size(count)} of output; {rtt} ms", "best", "median", "MB/s (median)"],
            [
                [name, duration(t.best), duration(t.median), f"{count / t.median / 1e6:.0f}"]
                for name, t in times.items()
            ],
        )


def batches(report, bench, count, rounds):
    """Many commands in one round trip, beside one after the other."""
    import xec_magic as xec

    on = f"{bench.user}@127.0.0.1:{bench.port(RTT_MS)}"
    scripts = [f"echo {number}" for number in range(count)]
    with xec.Executor() as ex:
        ex.run("true", on=on)

        def alone():
            for script in scripts:
                ex.run(script, on=on)

        times = interleave({"one batch": lambda: ex.batch(scripts, on=on), "one by one": alone}, rounds, warm_up=1)
    by_median, by_best = (1 / value for value in ratio(times["one batch"], times["one by one"]))
    report.at_least(
        f"batch of {count} on a host, {RTT_MS} ms: xec.run / batch", by_median, 30, " ×", f" (best turns {by_best:.3g})"
    )
    show(report, f"{count} × `echo` on a host; {RTT_MS} ms", times)


def faults(report, bench):
    """A silent link is noticed; a stop reaches the whole tree there."""
    import xec_magic as xec

    link = sshworld.Far(bench.server.port, 0)
    bench._know(link.port)
    config = Path(bench.config)
    before = config.read_text()
    config.write_text("Host *\n ServerAliveInterval 1\n ServerAliveCountMax 3\n ConnectTimeout 1\n" + before)
    with xec.Executor() as ex:
        run = ex.start("echo ready; exec sleep 60", on=f"{bench.user}@127.0.0.1:{link.port}", grace=0.1, check=False)
        ex._engine.begin(run)
        wait_for(lambda: run.log.size() > 0)
        link.process.send_signal(signal.SIGSTOP)
        begun = time.perf_counter()
        wait_for(lambda: run.process.exit is not None)
        report.at_most("faults: silent link noticed after", time.perf_counter() - begun, 5, " s")
        outcome = run.wait(30).outcome.value
        report.target("faults: a command on a silent link is", outcome, "lost, never ok", met=outcome == "lost")
        link.process.send_signal(signal.SIGCONT)
        with contextlib.suppress(ProcessLookupError):
            os.kill(run.process.pid, signal.SIGKILL)
    link.close()
    config.write_text(before)
    tree = "(setsid sleep 60 & sleep 60 & wait) & (sleep 60 | cat) & echo ready; wait"
    for who in (bench.user, "root"):
        with xec.Executor() as ex:
            ex.run("true", on=f"{who}@127.0.0.1:{bench.port(0)}")
            run = ex.start(tree, on=f"{who}@127.0.0.1:{bench.port(0)}", grace=0.1, check=False)
            ex._engine.begin(run)
            wait_for(lambda run=run: run.log.size() > 0)
            time.sleep(0.2)
            begun = time.perf_counter()
            run.cancel()
            run.wait(30)
            took = time.perf_counter() - begun
            kind = "root" if who == "root" else "a user"
            report.at_most(f"faults: remote tree of {kind} gone after", took, 1, " s")


# -- helpers ----------------------------------------------------------------------------------------------


def timed(job):
    begun = time.perf_counter()
    job()
    return time.perf_counter() - begun


def add(times, name, seconds):
    times.setdefault(name, Times()).seconds.append(seconds)


def all_well(results):
    assert all(result.ok for result in results), [result.detail for result in results if not result.ok][:3]


def wait_for(condition, within_s=30):
    end = time.perf_counter() + within_s
    while not condition():
        assert time.perf_counter() < end, "it did not happen in time"
        time.sleep(0.005)


def quietly(command):
    env = {
        **os.environ,
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_PYTHON_INTERPRETER": "auto_silent",
        "LC_ALL": "C.UTF-8",
    }
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=env, start_new_session=True) as child:
        try:
            code = child.wait(PEER_S)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)  # it has started many others
            raise
    assert code == 0, f"{command[0]} ended with {code}"


def parallel(bench, hosts, port):
    """parallel-ssh's client; None where it is not installed."""
    try:
        from pssh.clients import ParallelSSHClient
    except ImportError:
        return None
    return ParallelSSHClient(hosts, user=bench.user, port=port, pkey=bench.key, pool_size=FAN)


class TooSlow(Exception):
    """A peer had its time."""


def drained(run):
    """What parallel-ssh's run gives, read to its end."""
    import gevent

    with gevent.Timeout(PEER_S, TooSlow):
        for output in run():
            list(output.stdout)
            assert output.exit_code == 0


def show(report, what, times):
    report.table([what, "best", "median"], [[name, duration(t.best), duration(t.median)] for name, t in times.items()])


ROWS = ("connect", "command", "burst", "batch", "bulk", "faults", "fleet")


def main():
    parser = arguments(__doc__)
    parser.add_argument("--only", nargs="*", choices=ROWS, default=[], help="these rows")
    options = parser.parse_args()
    sshworld.enter()
    report = Report("ssh", "Commands on hosts, without delay and at 20 ms for a round trip.", options)
    quick = options.quick
    with sshworld.Bench() as bench:
        jobs = {
            "connect": lambda: connects(report, bench, 4 if quick else 20),
            "command": lambda: commands(report, bench, 15 if quick else 100),
            "burst": lambda: bursts(report, bench, 300, 100),
            "batch": lambda: batches(report, bench, 100, 1 if quick else 5),
            "bulk": lambda: bulk(report, bench, 2**26 if quick else 2**30, 2 if quick else 3),
            "faults": lambda: faults(report, bench),
            "fleet": lambda: fleet(report, bench, 40 if quick else 500, 1 if quick else 2),
        }
        for name, job in jobs.items():
            if not options.only or name in options.only:
                job()
    missing = [name for name, there in (("clush", found("clush")), ("ansible", found("ansible"))) if not there]
    if missing:
        report.say(f"Not installed, so not beside it: {', '.join(missing)}.")
    report.finish()


if __name__ == "__main__":
    main()
